"""What stands between a call and its effect: gates, approvals, labels, audit, redaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, Message, RunResult, ToolContext, tool
from pegboard.calls import by_default
from pegboard.errors import ModelServerError
from pegboard.types import (
    Action,
    Allow,
    Approval,
    ApprovalRequest,
    Ask,
    AuditRecord,
    Deny,
    Effect,
    Fallback,
    Json,
    Origin,
    RunState,
    ToolCall,
    ToolResult,
    Verdict,
    evolve,
    tool_result,
)
from pegboard_replay import Gate, ScriptedModel, call, turn

if TYPE_CHECKING:
    from core.tests.conftest import Bench

VERDICTS: dict[str, Verdict | None] = {"deny": Deny("no"), "ask": Ask("sure?"), "allow": Allow(), "none": None}


@pytest.fixture
def done() -> list[Any]:
    """What the tools of this module did."""
    return []


@pytest.fixture
def deploy(done: list[Any]) -> Any:
    """A tool with an effect that nobody wants twice."""

    @tool(inline=True)
    def deploy(target: str) -> str:
        """Deploy."""
        done.append(target)
        return f"deployed {target}"

    return deploy


def says(verdict: Verdict | None) -> Callable[[Action], Verdict | None]:
    def authorize(action: Action) -> Verdict | None:
        return verdict

    return authorize


def grants(answer: bool = True, **more: Any) -> Callable[[ApprovalRequest], Approval]:
    def request_approval(request: ApprovalRequest) -> Approval:
        return Approval(id=more.get("id", request.id), granted=answer, by="ann", reason=more.get("reason", ""))

    return request_approval


ONE_CALL: list[Any] = [call("deploy", target="prod"), "ok"]


# --- verdicts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", VERDICTS)
@pytest.mark.parametrize("second", VERDICTS)
async def test_deny_beats_ask_beats_allow(bench: Bench, done: list[Any], deploy: Any, first: str, second: str) -> None:
    """Whatever the order of the plugins, the strictest opinion holds."""
    bench.plug("a", authorize=says(VERDICTS[first]))
    bench.plug("b", authorize=says(VERDICTS[second]))
    bench.plug("person", request_approval=grants(False))
    result = await bench.run(ScriptedModel(ONE_CALL), tools=[deploy])

    strictest = next(v for v in ("deny", "ask", "allow", "none") if v in (first, second))
    expected = {"deny": "denied: no", "ask": "denied: ann said no"}.get(strictest, "deployed prod")
    assert bench.results(result)[0].text == expected
    assert bool(done) is (expected == "deployed prod")


async def test_a_denied_call_does_not_end_the_run(bench: Bench, done: list[Any], deploy: Any) -> None:
    """The model is told, and goes on."""
    bench.plug(authorize=says(Deny("not in prod")))
    result = await bench.run(ScriptedModel(ONE_CALL), tools=[deploy])

    (answer,) = bench.results(result)
    assert (answer.status, answer.code, answer.text) == ("denied", "approval.denied", "denied: not in prod")
    assert (result.output, done) == ("ok", [])


async def test_a_deny_without_words_has_some(bench: Bench, deploy: Any) -> None:
    """The model reads that a policy forbids it."""
    bench.plug(authorize=says(Deny()))

    assert bench.results(await bench.run(ScriptedModel(ONE_CALL), tools=[deploy]))[0].text == (
        "denied: a policy forbids it"
    )


async def test_a_gate_that_fails_denies(make_bench: type[Bench], done: list[Any], deploy: Any) -> None:
    """An error of a gate never lets an effect through."""
    bench = make_bench(strict=False)

    def authorize(action: Action) -> Verdict:
        raise RuntimeError("broken")

    bench.plug("broken", authorize=authorize)
    bench.plug("easy", authorize=says(Allow()))
    result = await bench.run(ScriptedModel(ONE_CALL), tools=[deploy])

    assert bench.results(result)[0].status == "denied"
    assert done == []


async def test_an_ask_with_nobody_to_ask_ends_the_run(bench: Bench, done: list[Any], deploy: Any) -> None:
    """The end reason is `needs_approval`, and the history has a result for every call of the turn."""
    bench.plug(authorize=lambda action: Ask("sure?") if action.arguments["target"] == "prod" else Allow())
    script: list[Any] = [
        turn(call("deploy", target="test"), call("deploy", target="prod"), call("deploy", target="dev"))
    ]
    result = await bench.run(ScriptedModel(script), tools=[deploy])

    assert result.end_reason == "needs_approval"
    assert [(r.status, r.code) for r in bench.results(result)] == [
        ("ok", None),
        ("denied", "approval.needed"),
        ("ok", None),
    ]
    assert "sure?" in str(result.error)
    assert bench.events(result, "approval.requested")[0]["resource"] == "deploy"
    (failed,) = [data for data in bench.events(result, "step.failed") if data["op"] == "tool.call:deploy"]
    assert "sure?" in failed["message"]


async def test_an_approval_that_came_later_lets_the_run_go_on(bench: Bench, done: list[Any], deploy: Any) -> None:
    """Resumed with somebody to ask, the call that waited is made, and those that were made are not repeated."""
    bench.plug(authorize=lambda action: Ask() if action.arguments["target"] == "prod" else Allow())
    script: list[Any] = [turn(call("deploy", target="test"), call("deploy", target="prod")), "ok"]
    paused = await bench.run(ScriptedModel(script[:1]), tools=[deploy])
    bench.plug("person", request_approval=grants())
    result = await bench.resume(paused, ScriptedModel(script[1:]), tools=[deploy])

    assert (done, result.output) == (["test", "prod"], "ok")
    assert bench.events(result, "approval.decided")[0]["by"] == "ann"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param({"answer": False}, "denied: ann said no", id="no"),
        pytest.param({"answer": False, "reason": "too late"}, "denied: too late", id="no, and why"),
        pytest.param({"id": "other"}, "denied: the answer was for another call", id="for another call"),
    ],
)
async def test_only_a_yes_to_this_call_lets_it_pass(
    bench: Bench, done: list[Any], deploy: Any, answer: dict[str, Any], says: str
) -> None:
    """An answer is bound to the id of the request."""
    bench.plug(authorize=lambda: Ask(), request_approval=grants(**answer))
    result = await bench.run(ScriptedModel(ONE_CALL), tools=[deploy])

    assert bench.results(result)[0].text == says
    assert done == []


async def test_an_approval_is_bound_to_the_arguments(bench: Bench, deploy: Any) -> None:
    """The id of a request holds the call and a digest of resource and arguments, equal for equal arguments."""
    asked: list[ApprovalRequest] = []

    def request_approval(request: ApprovalRequest) -> Approval:
        asked.append(request)
        return Approval(id=request.id, granted=True)

    bench.plug(authorize=lambda: Ask("a?"), request_approval=request_approval)
    bench.plug("other", authorize=lambda: Ask("b?"))
    script: list[Any] = [turn(*(call("deploy", target=target) for target in ("x", "y", "x"))), "ok"]
    await bench.run(ScriptedModel(script), tools=[deploy])

    digests = [request.action.digest for request in asked]
    assert digests[0] == digests[2] != digests[1]
    assert [request.id for request in asked] == [f"call_{n}:{d}" for n, d in zip((1, 2, 3), digests, strict=True)]
    assert asked[0].prompts == ("b?", "a?")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_parallel_approvals_are_not_mixed_up(bench: Bench, done: list[Any], order: tuple[int, ...]) -> None:
    """Three calls wait for three people; each answer reaches the call that it was given for."""
    answers: dict[str, asyncio.Future[bool]] = {name: asyncio.Future() for name in "abc"}
    all_asked = asyncio.Event()
    asked: list[str] = []

    @tool(resources=())
    async def deploy(target: str) -> str:
        """Deploy."""
        done.append(target)
        return "deployed"

    async def request_approval(request: ApprovalRequest) -> Approval:
        asked.append(request.action.arguments["target"])
        if len(asked) == 3:
            all_asked.set()
        return Approval(id=request.id, granted=await answers[request.action.arguments["target"]])

    bench.plug(authorize=lambda: Ask(), request_approval=request_approval)
    script: list[Any] = [turn(*(call("deploy", target=target) for target in "abc")), "ok"]
    task = asyncio.create_task(bench.run(ScriptedModel(script), tools=[deploy]))
    await all_asked.wait()
    for index in order:
        answers["abc"[index]].set_result("abc"[index] != "b")
        await asyncio.sleep(0)
    result = await task

    assert [r.status for r in bench.results(result)] == ["ok", "denied", "ok"]
    assert sorted(done) == ["a", "c"]


# --- what is judged ----------------------------------------------------------------------------------------------


async def test_what_a_layer_changed_is_judged(bench: Bench, done: list[Any], deploy: Any) -> None:
    """Gates stand innermost, so nothing can be changed after it was allowed."""

    async def tool_call(call: ToolCall, call_next: Any) -> ToolResult:
        return await call_next(evolve(call, arguments={"target": "prod"}))  # type: ignore[no-any-return]  # a result

    bench.plug("sly", tool_call=tool_call)
    bench.plug("policy", authorize=lambda action: Deny("no") if action.arguments["target"] == "prod" else Allow())
    result = await bench.run(ScriptedModel([call("deploy", target="test"), "ok"]), tools=[deploy])

    assert (bench.results(result)[0].status, done) == ("denied", [])


async def test_a_layer_may_answer_itself(bench: Bench, done: list[Any], deploy: Any) -> None:
    """Without `call_next` there is no effect; the result is that of the call, whatever id it had."""

    async def tool_call(call: ToolCall, call_next: Any) -> ToolResult:
        return tool_result("other", "from the cache")

    bench.plug(tool_call=tool_call)
    result = await bench.run(ScriptedModel(ONE_CALL), tools=[deploy])

    assert [(r.call_id, r.text) for r in bench.results(result)] == [("call_1", "from the cache")]
    assert done == []


async def test_a_layer_may_send_a_call_to_another_tool(bench: Bench, done: list[Any], deploy: Any) -> None:
    """The other tool is looked up, judged and executed."""

    @tool(effect="pure", inline=True)
    def pretend(target: str) -> str:
        """Do nothing."""
        return f"would deploy {target}"

    async def tool_call(call: ToolCall, call_next: Any) -> ToolResult:
        return await call_next(evolve(call, name="pretend"))  # type: ignore[no-any-return]  # a result

    bench.plug(tool_call=tool_call)
    result = await bench.run(ScriptedModel(ONE_CALL), tools=[deploy, pretend])

    assert bench.results(result)[0].text == "would deploy prod"
    assert done == []


async def test_arguments_that_do_not_fit_are_never_judged(bench: Bench, deploy: Any) -> None:
    """The schema is checked first, so a gate sees only what could be called."""
    seen: list[Action] = []

    def authorize(action: Action) -> None:
        seen.append(action)

    bench.plug(authorize=authorize)
    await bench.run(ScriptedModel([call("deploy", wrong=1), "ok"]), tools=[deploy])

    assert seen == []


async def test_an_action_says_what_is_about_to_happen(bench: Bench, deploy: Any) -> None:
    """Verb, resource, arguments, effect, permissions and owner."""
    seen: list[Action] = []

    @tool(effect="keyed", permissions={"net": ("example.org",)}, inline=True)
    def pay(amount: int) -> str:
        """Pay."""
        return "paid"

    def authorize(action: Action) -> Verdict:
        seen.append(action)
        return Allow()

    bench.owners["pay"] = "bank"
    bench.plug(authorize=authorize)
    await bench.run(ScriptedModel([call("pay", amount=3), "ok"]), tools=[pay])

    assert seen == [
        Action(
            verb="tool.call",
            resource="pay",
            arguments={"amount": 3},
            effect="keyed",
            permissions={"net": ("example.org",)},
            owner="bank",
        )
    ]


# --- without a policy --------------------------------------------------------------------------------------------

WORKSPACE = {"fs_write": ("workspace",)}


@pytest.mark.parametrize(
    ("owner", "effect", "permissions", "verdict"),
    [
        pytest.param(None, "unsafe", {}, Allow, id="the host program, unsafe"),
        pytest.param(None, "pure", {}, Allow, id="the host program, pure"),
        pytest.param("p", "pure", {"net": ("x",)}, Allow, id="a plugin, pure"),
        pytest.param("p", "idempotent", {}, Allow, id="a plugin, idempotent"),
        pytest.param("p", "idempotent", WORKSPACE, Allow, id="a plugin, idempotent in the workspace"),
        pytest.param("p", "idempotent", {"fs_write": ("home",)}, Ask, id="a plugin, idempotent outside"),
        pytest.param("p", "idempotent", {"net": ("x",)}, Ask, id="a plugin, idempotent with net"),
        pytest.param("p", "idempotent", {"exec": ("git",)}, Ask, id="a plugin, idempotent with programs"),
        pytest.param("p", "keyed", {}, Ask, id="a plugin, keyed"),
        pytest.param("p", "unsafe", {}, Ask, id="a plugin, unsafe"),
    ],
)
def test_without_a_policy_origin_and_effect_decide(
    owner: str | None, effect: Effect, permissions: Mapping[str, tuple[str, ...]], verdict: type
) -> None:
    """What the host program gave is allowed; of plugins, what cannot do harm; anything else is asked for."""
    action = Action(verb="tool.call", resource="x", effect=effect, permissions=permissions, owner=owner)

    assert isinstance(by_default(action), verdict)


@pytest.mark.parametrize(("owner", "end"), [(None, "completed"), ("shell", "needs_approval")])
async def test_the_default_holds_in_a_run(bench: Bench, deploy: Any, owner: str | None, end: str) -> None:
    """An unsafe tool of the program runs; the same of a plugin needs a person."""
    if owner:
        bench.owners["deploy"] = owner
    result = await bench.run(ScriptedModel(ONE_CALL), tools=[deploy])

    assert result.end_reason == end
    assert (owner is None) or "of plugin `shell` has effect `unsafe`" in str(result.error)


# --- every path --------------------------------------------------------------------------------------------------


async def _plain(bench: Bench, tools: Sequence[Any]) -> RunResult:
    return await bench.run(ScriptedModel(ONE_CALL), tools=tools)


async def _streamed(bench: Bench, tools: Sequence[Any]) -> RunResult:
    result: RunResult = (await bench.stream(ScriptedModel(ONE_CALL), tools=tools))[-1].content
    return result


async def _parallel(bench: Bench, tools: Sequence[Any]) -> RunResult:
    @tool(effect="pure")
    async def other() -> None:
        """Do something else."""

    model = ScriptedModel([turn(call("other"), call("deploy", target="prod")), "ok"])
    return await bench.run(model, tools=[*tools, other])


async def _child(bench: Bench, tools: Sequence[Any]) -> RunResult:
    bench.models["m"] = ScriptedModel(ONE_CALL)

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            return evolve(state, output=await ctx.call_agent(Agent("child", model="m", tools=tools), "go"))

    result: RunResult = (await bench.run(None, agent=Parent("parent"))).output
    return result


async def _child_of_a_tool(bench: Bench, tools: Sequence[Any]) -> RunResult:
    bench.models["m"] = ScriptedModel(ONE_CALL)
    found: list[RunResult] = []

    @tool(effect="pure")
    async def delegate(ctx: ToolContext) -> str:
        """Delegate."""
        found.append(await ctx.run.call_agent(Agent("child", model="m", tools=tools), "go"))
        return "done"

    await bench.run(ScriptedModel([call("delegate"), "ok"]), tools=[delegate])
    return found[0]


async def _higher_tier(bench: Bench, tools: Sequence[Any]) -> RunResult:
    bench.tiers["deploy"] = "toolbelt"
    return await bench.run(ScriptedModel([call("toolbelt.deploy", target="prod"), "ok"]), tools=tools)


async def _resumed(bench: Bench, tools: Sequence[Any]) -> RunResult:
    gate = Gate()
    task = asyncio.create_task(bench.run(ScriptedModel([turn(ONE_CALL[0], gate)]), tools=tools))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    before: RunResult = caught.value.run  # type: ignore[attr-defined]  # where a cancelled run leaves its result
    return await bench.resume(before, ScriptedModel(ONE_CALL), tools=tools)


async def _of_a_computing_agent(bench: Bench, tools: Sequence[Any]) -> RunResult:
    class Computing(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            return await turns(ctx, state)  # type: ignore[no-any-return]  # a state

    bench.models["m"] = ScriptedModel(ONE_CALL)
    return await bench.run(None, agent=Computing("c", model="m", tools=tools))


async def _after_recovery(bench: Bench, tools: Sequence[Any]) -> RunResult:
    bench.plug("doctor", recover=lambda failure: Fallback(target="agent:other"))
    bench.models["m"] = ScriptedModel(ONE_CALL)
    bench.agents["other"] = Agent("other", model="m", tools=tools)
    return await bench.run(ScriptedModel([ModelServerError("down")]))


async def _of_a_module(bench: Bench, tools: Sequence[Any]) -> RunResult:
    class Kit:
        name = "kit"
        description = "Tools."

        def tools(self) -> Sequence[Any]:
            return tools

        async def initialize(self, ctx: Any) -> None: ...

        async def cleanup(self) -> None: ...

    return await bench.run(ScriptedModel(ONE_CALL), agent=Agent("a", modules=[Kit()]))


PATHS: dict[str, Callable[[Bench, Sequence[Any]], Awaitable[RunResult]]] = {
    "direct": _plain,
    "streaming": _streamed,
    "parallel": _parallel,
    "child run": _child,
    "child run of a tool": _child_of_a_tool,
    "higher tier": _higher_tier,
    "resumed": _resumed,
    "computing agent": _of_a_computing_agent,
    "fallback to an agent": _after_recovery,
    "module": _of_a_module,
}


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_leads_through_authorize(bench: Bench, done: list[Any], deploy: Any, path: str) -> None:
    """Whatever called it, no tool runs that the gate denies."""
    bench.plug(authorize=lambda action: Deny("no") if action.resource == "deploy" else Allow())
    result = await PATHS[path](bench, [deploy])

    assert done == []
    denied = [r for r in bench.results(result) if r.status == "denied"]
    assert [r.text for r in denied] == ["denied: no"]
    assert result.output == "ok"


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_leads_to_the_effect(bench: Bench, done: list[Any], deploy: Any, path: str) -> None:
    """The same paths without a policy do call the tool, once."""
    result = await PATHS[path](bench, [deploy])

    assert (done, result.output) == (["prod"], "ok")


# --- tiers -------------------------------------------------------------------------------------------------------


async def test_a_higher_tier_is_asked_for_by_prefix(bench: Bench, deploy: Any) -> None:
    """The call runs without its prefix, and from the next turn on the tools of the tier are offered."""
    bench.tiers["deploy"] = "toolbelt"
    model = ScriptedModel([call("toolbelt.deploy", target="x"), "ok"])
    result = await bench.run(model, tools=[deploy])

    assert [len(request.tools) for request in model.requests] == [0, 1]
    assert bench.events(result, "tool.tier")[0]["to"] == "toolbelt"
    assert bench.events(result, "step.started")[1]["op"] == "tool.call:deploy"


async def test_a_tool_that_is_not_found_asks_for_the_next_tier(bench: Bench, deploy: Any) -> None:
    """The next tier that holds any tools is switched on, since the tool may be there."""
    bench.tiers["deploy"] = "toolbelt"
    model = ScriptedModel([call("unknown"), "ok"])
    result = await bench.run(model, tools=[deploy])

    assert [len(request.tools) for request in model.requests] == [0, 1]
    assert bench.events(result, "tool.tier") == [{"from": "core", "to": "toolbelt", "reason": "asked for"}]


async def test_raising_the_tier_passes_the_gate(bench: Bench, done: list[Any], deploy: Any) -> None:
    """A denied tier stays off, and a call by its prefix is denied with it."""
    bench.tiers["deploy"] = "toolbelt"
    bench.plug(authorize=lambda action: Deny("no tiers") if action.verb == "tier.raise" else Allow())
    model = ScriptedModel([call("toolbelt.deploy", target="x"), "ok"])
    result = await bench.run(model, tools=[deploy])

    assert [len(request.tools) for request in model.requests] == [0, 0]
    assert (bench.events(result, "tool.tier"), done) == ([], [])
    assert bench.results(result)[0].text == "denied: no tiers"


async def test_an_agent_reaches_only_its_tiers(bench: Bench, deploy: Any) -> None:
    """A tier beyond those of the agent is not switched on, and the result says so."""
    bench.tiers["deploy"] = "toolchain"

    async def tool_transition_evaluation(state: RunState, call_next: Any) -> RunState:
        return evolve(state, tier="toolbelt")

    bench.plug(tool_transition_evaluation=tool_transition_evaluation)
    script: list[Any] = [*(call("deploy", target=str(n)) for n in range(3)), "ok"]
    result = await bench.run(ScriptedModel(script), agent=Agent("a", tools=[deploy], tiers=("core", "toolchain")))

    assert ("tool tier `toolbelt`", "the agent does not reach it") in [(e.what, e.why) for e in result.degraded]


async def test_a_plugin_is_asked_for_the_tier_every_third_turn(bench: Bench) -> None:
    """And it may wrap the activation of a tier."""
    turns: list[int] = []
    activated: list[tuple[str, ...]] = []

    @tool(effect="pure", inline=True)
    def step(n: int) -> int:
        """Take a step."""
        return n

    async def tool_transition_evaluation(state: RunState, call_next: Any) -> RunState:
        turns.append(state.turn)
        raised: RunState = evolve(await call_next(state), tier="toolchain")
        return raised

    async def toolbelt_activation(state: RunState, call_next: Any) -> RunState:
        state = await call_next(state)
        activated.append(state.tools)
        return state

    bench.tiers["step"] = "toolchain"
    bench.plug(tool_transition_evaluation=tool_transition_evaluation, toolbelt_activation=toolbelt_activation)
    model = ScriptedModel([*(call("nothing", n=n) for n in range(7)), "ok"])
    await bench.run(model, agent=Agent("a", tools=[step], tiers=("core", "toolchain")))

    assert activated == [("step",)]
    assert 3 in turns


# --- labels, audit, redaction ------------------------------------------------------------------------------------


async def test_arguments_are_labelled_before_they_are_judged(bench: Bench, deploy: Any) -> None:
    """A gate sees the labels of every plugin; results are labelled too."""
    origins: list[tuple[str, str, Any]] = []
    seen: list[frozenset[str]] = []

    def label(origin: Origin, value: Json) -> frozenset[str]:
        origins.append((origin.kind, origin.name, value))
        return frozenset({"tainted"})

    def authorize(action: Action) -> None:
        seen.append(action.labels)

    bench.plug(label=label, authorize=authorize)
    bench.plug("other", label=lambda: frozenset({"secret"}))
    await bench.run(ScriptedModel(ONE_CALL), tools=[deploy])

    assert seen == [frozenset({"tainted", "secret"})]
    assert origins == [("model", "", {"target": "prod"}), ("tool", "deploy", "deployed prod")]


async def test_an_effect_is_audited_before_and_after(bench: Bench, deploy: Any) -> None:
    """Intent and outcome are one record each, with who it was for."""
    records: list[AuditRecord] = []

    def audit(record: AuditRecord) -> bool:
        records.append(record)
        return True

    bench.plug(audit=audit)
    await bench.run(ScriptedModel(ONE_CALL), tools=[deploy])

    assert [(r.stage, r.outcome, r.action.resource, r.principal.id) for r in records] == [
        ("intent", None, "deploy", "local"),
        ("outcome", "ok", "deploy", "local"),
    ]


async def test_what_cannot_be_audited_does_not_happen(make_bench: type[Bench], done: list[Any], deploy: Any) -> None:
    """A trail that refuses, or fails, denies the effect."""
    for answer in (False, RuntimeError("disk full")):
        bench = make_bench(strict=False)

        def audit(record: AuditRecord, answer: Any = answer) -> bool:
            if isinstance(answer, Exception):
                raise answer
            return bool(answer)

        bench.plug(audit=audit)
        result = await bench.run(ScriptedModel(ONE_CALL), tools=[deploy])

        assert (bench.results(result)[0].status, bench.results(result)[0].code) == ("denied", "audit.refused")
    assert done == []


async def test_what_has_no_effect_is_not_audited(bench: Bench) -> None:
    """Reading leaves no trail."""
    records: list[AuditRecord] = []

    @tool(effect="pure", inline=True)
    def look() -> str:
        """Look."""
        return "seen"

    def audit(record: AuditRecord) -> bool:
        records.append(record)
        return True

    bench.plug(audit=audit)
    await bench.run(ScriptedModel([call("look"), "ok"]), tools=[look])

    assert records == []


async def test_the_model_sees_only_what_was_redacted(bench: Bench) -> None:
    """The history keeps the whole; what is sent does not hold it."""
    bench.plug(redact=lambda value, sink: _masked(value) if sink == "model" else value)
    model = ScriptedModel(["ok"])
    result = await bench.run(model, "my key is hunter2")

    assert model.requests[0].messages[0].text == "my key is ***"
    assert result.messages[0].text == "my key is hunter2"


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("hunter2", "***")
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, (list, tuple)) else value


async def test_a_redaction_that_fails_shows_the_model_nothing(make_bench: type[Bench]) -> None:
    """A marker stands for the whole history: closed, and not open."""
    bench = make_bench(strict=False)

    def redact(value: Json, sink: str) -> Json:
        raise RuntimeError("broken")

    bench.plug(redact=redact)
    model = ScriptedModel(["ok"])
    await bench.runner(model).get_response(Agent("a"), "my key is hunter2")

    assert [message.text for message in model.requests[0].messages] == ["[redaction failed]"]
    assert "hunter2" not in str(model.requests)


async def test_redaction_keeps_calls_and_results(bench: Bench, deploy: Any) -> None:
    """Messages go through JSON and come back as what they were."""
    bench.plug(redact=lambda value: value)
    model = ScriptedModel(ONE_CALL)
    result = await bench.run(model, tools=[deploy])

    assert list(model.requests[1].messages) == list(result.messages[:3])
    assert isinstance(result.messages[0], Message)


async def test_a_tool_that_fails_says_so_in_the_log(bench: Bench) -> None:
    """The step of the call has the code and the beginning of the text; one that went well has neither."""

    @tool(effect="pure")
    def broken() -> str:
        """Do nothing well."""
        raise ValueError("no disk" + "!" * 500)

    result = await bench.run(ScriptedModel([call("broken"), "done"]), tools=[broken])
    (told,) = [data for data in bench.events(result, "step.done") if data["op"] == "tool.call:broken"]

    assert (told["status"], told["code"]) == ("error", "tool.failed")
    assert "no disk" in told["message"]
    assert len(told["message"]) <= 200
