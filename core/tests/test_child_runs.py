"""Child runs: steps of their parent, under its policy and budget, seen in its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, RunResult, ToolContext, tool
from pegboard.errors import ApprovalDeniedError, ModelServerError
from pegboard.events import Event
from pegboard.types import (
    Action,
    AgentCall,
    Allow,
    BudgetRequest,
    Deny,
    Principal,
    RunState,
    Settlement,
    Usage,
    evolve,
)
from pegboard_replay import FunctionModel, Gate, ScriptedModel, call, turn

if TYPE_CHECKING:
    from core.tests.conftest import Bench

CHILD = Agent("child", model="m")


def parent(body: Callable[[Any], Any]) -> Agent:
    """An agent whose output is what `body(ctx)` gives."""

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            return evolve(state, output=await body(ctx))

    return Parent("parent")


def answers(bench: Bench, *script: Any) -> None:
    bench.models["m"] = ScriptedModel(script)


async def test_a_child_is_a_step_of_its_parent(bench: Bench) -> None:
    """It has a run of its own, whose id follows from the step; its result is what the parent gets."""
    answers(bench, turn("hello", usage=Usage(3, 2)))
    found: list[RunResult] = []

    async def body(ctx: Any) -> str:
        found.append(await ctx.call_agent(CHILD, "hi"))
        return str(found[0].output)

    result = await bench.run(None, agent=parent(body))
    (child,) = found

    assert (result.output, child.agent, child.output) == ("hello", "child", "hello")
    assert child.run == f"{result.run}.agent.call:child#1"
    assert bench.events(result, "step.started")[0]["step"] == "agent.call:child#1"
    assert {event.parent for event in child.events} == {result.run}
    assert bench.events(child, "run.started")[0]["root"] == result.run
    assert (result.usage, result.unpriced_models) == (Usage(3, 2), ("scripted:script",))


async def test_an_agent_may_be_called_by_name(bench: Bench) -> None:
    """The registry of the board knows it."""
    answers(bench, "hello")
    bench.agents["child"] = CHILD

    assert (await bench.run(None, agent=parent(lambda ctx: ctx.call_agent("child", "hi")))).output.output == "hello"


async def test_a_child_may_get_structured_input(bench: Bench) -> None:
    """`inputs` stand in the place of the task."""
    answers(bench, "hello")
    await bench.run(None, agent=parent(lambda ctx: ctx.call_agent(CHILD, "hi", inputs={"city": "x"})))

    model = bench.models["m"]
    assert isinstance(model, ScriptedModel)
    assert model.requests[0].messages[0].text == '{"city":"x"}'


async def test_what_a_child_inherits(bench: Bench) -> None:
    """Principal and workspace are those of the parent, and so is explaining."""
    seen: list[Any] = []

    def model_request_seen(ctx: Any, action: Action) -> None:
        seen.append((ctx.principal.id, ctx.workspace, ctx.explain, ctx.parent is not None))

    bench.plug(authorize=model_request_seen)

    @tool(effect="pure", inline=True)
    def look() -> str:
        """Look."""
        return "seen"

    answers(bench, call("look"), "done")
    child = Agent("child", model="m", tools=[look])
    await bench.run(
        None,
        agent=parent(lambda ctx: ctx.call_agent(child, "hi")),
        principal=Principal(id="ann"),
        workspace="/w",
        explain=True,
    )

    assert seen == [("ann", "/w", True, False), ("ann", "/w", True, True)]


async def test_a_required_child_that_fails_fails_its_parent(bench: Bench) -> None:
    """Its error is the error of the parent; an error text is never taken for an answer."""
    answers(bench, ModelServerError("down"))
    result = await bench.run(None, agent=parent(lambda ctx: ctx.call_agent(CHILD, "hi")))

    assert (result.end_reason, result.output) == ("unavailable", None)
    assert isinstance(result.error, ModelServerError)
    assert bench.events(result, "step.failed")[0]["code"] == "model.server_error"


async def test_a_child_that_is_not_required_may_fail(bench: Bench) -> None:
    """The parent gets the result that says so, and its own result lists it."""
    answers(bench, ModelServerError("down"))

    async def body(ctx: Any) -> str:
        child = await ctx.call_agent(CHILD, "hi", required=False)
        return f"without {child.agent}: {child.end_reason}"

    result = await bench.run(None, agent=parent(body))

    assert (result.end_reason, result.output) == ("completed", "without child: unavailable")
    assert [(e.what, e.why, e.code) for e in result.degraded] == [
        ("agent `child`", "ended with unavailable", "model.server_error")
    ]


async def test_a_child_passes_the_gate(bench: Bench) -> None:
    """`agent.call` is an action like any other; a denied child never begins."""
    answers(bench, "never")
    bench.plug(authorize=lambda action: Deny("no children") if action.verb == "agent.call" else Allow())
    result = await bench.run(None, agent=parent(lambda ctx: ctx.call_agent(CHILD, "hi")))

    assert isinstance(result.error, ApprovalDeniedError)
    assert "no children" in str(result.error)
    assert bench.children == {}


async def test_layers_stand_around_a_child(bench: Bench) -> None:
    """They may change the call, send it to another agent, or answer it."""
    answers(bench, "from the other")
    bench.agents["other"] = Agent("other", model="m")

    async def agent_call(call: AgentCall, call_next: Any) -> RunResult:
        result: RunResult = await call_next(evolve(call, agent="other", task=f"{call.task}!"))
        return evolve(result, output=result.output.upper())

    bench.plug(agent_call=agent_call)
    result = await bench.run(None, agent=parent(lambda ctx: ctx.call_agent(CHILD, "hi")))

    assert (result.output.agent, result.output.output) == ("other", "FROM THE OTHER")
    model = bench.models["m"]
    assert isinstance(model, ScriptedModel)
    assert model.requests[0].messages[0].text == "hi!"


async def test_the_budget_of_a_child_is_reserved_and_settled(bench: Bench) -> None:
    """Plugins are asked before and told after."""
    asked: list[BudgetRequest] = []
    told: list[Settlement] = []

    def reserve_budget(request: BudgetRequest) -> Allow:
        asked.append(request)
        return Allow()

    answers(bench, turn("hello", usage=Usage(3, 2)))
    bench.plug(reserve_budget=reserve_budget, settle_budget=lambda settlement: told.append(settlement))
    await bench.run(None, agent=parent(lambda ctx: ctx.call_agent(CHILD, "hi")))

    assert [(request.kind, request.resource) for request in asked] == [
        ("agent", "child"),
        ("model", "scripted:script"),
    ]
    assert [(s.request.kind, s.tokens) for s in told] == [("model", 5), ("agent", 5)]


@pytest.mark.parametrize(("priced", "cost"), [(True, 7.0), (False, None)])
async def test_the_cost_of_children_is_part_of_the_cost(bench: Bench, priced: bool, cost: float | None) -> None:
    """Where one of them is unknown, the whole is."""
    bench.price("scripted:script", input=1_000_000, output=1_000_000)
    bench.models["m"] = ScriptedModel([turn("hello", usage=Usage(3, 2))], name="script" if priced else "other")
    bench.models["own"] = ScriptedModel([turn("hi", usage=Usage(1, 1))])

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            await ctx.call_agent(CHILD, "hi")
            return await turns(ctx, state)  # type: ignore[no-any-return]  # a state

    result = await bench.run(None, agent=Parent("parent", model="own"))

    assert (result.cost_usd, result.unpriced_models) == (cost, () if priced else ("scripted:other",))


async def test_parallel_children_are_steps_of_their_own(bench: Bench) -> None:
    """Ids follow the order in which they were asked for."""
    bench.models["m"] = FunctionModel(lambda request: request.messages[0].text)

    async def body(ctx: Any) -> list[str]:
        results = await asyncio.gather(*(ctx.call_agent(CHILD, str(n)) for n in range(5)))
        return [result.output for result in results]

    result = await bench.run(None, agent=parent(body))

    assert result.output == list("01234")
    assert sorted(bench.children) == [f"{result.run}.agent.call:child#{n}" for n in range(1, 6)]
    for child in bench.children.values():
        bench.check(child.result())


async def test_children_of_parallel_tools_keep_their_ids(bench: Bench) -> None:
    """A child belongs to the call that asked for it, however the calls interleave."""
    bench.models["m"] = FunctionModel(lambda request: request.messages[0].text)

    @tool(effect="pure")
    async def delegate(n: int, ctx: ToolContext) -> str:
        """Delegate."""
        for _ in range(5 - n):
            await asyncio.sleep(0)
        return str((await ctx.run.call_agent(CHILD, str(n))).output)

    script: list[Any] = [turn(*(call("delegate", n=n) for n in range(3))), "ok"]
    result = await bench.run(ScriptedModel(script), tools=[delegate])

    assert [r.text for r in bench.results(result)] == ["0", "1", "2"]
    assert {run.task: name.removeprefix(result.run) for name, run in bench.children.items()} == {
        str(n): f".tool.call:delegate#{n + 1}/agent.call:child#1" for n in range(3)
    }


async def test_no_event_of_a_child_is_missing(bench: Bench) -> None:
    """One watcher sees the whole tree, each event with its run and parent, in order for every run."""
    seen: list[Event] = []

    def on_event(event: Event) -> None:
        seen.append(event)

    bench.plug(on_event=on_event)
    answers(bench, "hello")
    result = await bench.run(None, agent=parent(lambda ctx: ctx.call_agent(CHILD, "hi")))
    child: RunResult = result.output

    assert [event for event in seen if event.run == result.run] == list(result.events)
    assert [event for event in seen if event.run == child.run] == list(child.events)
    assert seen[0].kind == "run.started"
    assert seen[-1] == result.events[-1]


async def test_cancelling_the_parent_cancels_the_child(bench: Bench) -> None:
    """Both close, the child first."""
    gate = Gate()
    answers(bench, turn("half", gate))
    closed: list[str] = []

    async def cleanup(ctx: Any, state: RunState, call_next: Any) -> RunState:
        closed.append(ctx.agent.name)
        return await call_next(state)  # type: ignore[no-any-return]  # a state

    bench.plug(cleanup=cleanup)
    run = bench.prepare(None, agent=parent(lambda ctx: ctx.call_agent(CHILD, "hi")))
    task = asyncio.ensure_future(bench.runner().drive(run))
    await gate.reached()
    run.cancel.cancelled, run.cancel.reason = True, "enough"
    task.cancel()
    result = await task

    assert closed == ["child", "parent"]
    assert result.end_reason == "cancelled"
    assert "enough" in str(result.error)
    (child,) = bench.children.values()
    assert child.result().events[-1].data["end_reason"] == "cancelled"


async def test_children_of_children_end_somewhere(bench: Bench) -> None:
    """An agent that calls itself meets a limit before Python does."""
    depths: list[int] = []

    class Endless(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            depths.append(len(depths))
            await ctx.call_agent(self, "again")
            return state

    result = await bench.run(None, agent=Endless("endless"))

    assert (result.end_reason, len(depths)) == ("limit", 33)
    assert "deep inside one another" in str(result.error)


async def test_a_child_has_its_own_limits_of_turns(bench: Bench) -> None:
    """Reaching one ends the child with `limit`."""
    bench.models["m"] = FunctionModel(lambda request: call("nothing", n=len(request.messages)))
    child = Agent("child", model="m", max_turns=2)
    result = await bench.run(None, agent=parent(lambda ctx: ctx.call_agent(child, "hi", required=False)))

    assert result.output.end_reason == "limit"
