"""Resume: recorded steps are read back, the first missing one is done, and nothing happens twice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, Message, ModelBase, RunResult, ToolContext, hookimpl, tool
from pegboard.errors import JournalDivergedError, ModelServerError, StorageExhaustedError, ToolUnsafeUnknownError
from pegboard.interfaces import Call, RunRow
from pegboard.journal import BLOB_AT_BYTES, Journal
from pegboard.memory import MemoryStore
from pegboard.runs import inputs_of
from pegboard.types import (
    Abort,
    Alternative,
    Approval,
    Ask,
    Fallback,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    ModelSettings,
    Principal,
    ResourceLimits,
    Retry,
    RunState,
    Usage,
    evolve,
    tool_result,
)
from pegboard_replay import Gate, ScriptedModel, call, turn
from pegboard_testing import FakeClock, FakeTool, MakeBoard

if TYPE_CHECKING:
    from core.tests.conftest import Bench


PROMPT_READ = ModelChunk(usage=Usage(1, 0, source="provider"))
"""What a provider counts before an answer that is stopped."""


async def interrupted(bench: Bench, gate: Gate, model: ScriptedModel | None, **options: Any) -> RunResult:
    """The result of a run that was cancelled at a gate."""
    task = asyncio.create_task(bench.run(model, **options))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    result: RunResult = caught.value.run  # type: ignore[attr-defined]  # where a cancelled run leaves its result
    bench.check(result)
    return result


async def stored(bench: Bench, before: RunResult, model: ScriptedModel | None, **options: Any) -> RunResult:
    """Another life of a run, with nothing but what the store has of it."""
    assert bench.store is not None
    journal = await Journal.load(bench.store, before.run, bench.clock)
    return await bench.run(model, run=before.run, journal=journal, **options)


class Counter(FakeTool):
    """Counts how often it was really called."""

    def __init__(self, name: str = "act", **options: Any) -> None:
        super().__init__(name, **options)


# --- reading back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["memory", "store"])
async def test_recorded_steps_are_not_repeated(make_bench: type[Bench], how: str) -> None:
    """Requests and calls that were done are read back; the model is asked for what is missing only."""
    bench = make_bench(store=MemoryStore() if how == "store" else None)
    gate, act = Gate(), Counter()
    before = await interrupted(bench, gate, ScriptedModel([call("act", n=1), turn("half", gate)]), tools=[act])
    model = ScriptedModel(["whole"])
    life = stored(bench, before, model, tools=[act]) if how == "store" else bench.resume(before, model, tools=[act])
    result = await life

    assert (result.output, len(act.calls), len(model.requests)) == ("whole", 1, 1)
    assert [message.role for message in result.messages] == ["user", "assistant", "tool", "assistant"]
    assert result.run == before.run


async def test_another_life_goes_on_in_the_same_log(bench: Bench) -> None:
    """Events are numbered on, and say where the run was taken up."""
    gate = Gate()
    before = await interrupted(bench, gate, ScriptedModel([turn("half", gate)]))
    length = len(before.events)
    result = await bench.resume(before, ScriptedModel(["whole"]))

    assert bench.events(result, "run.resumed") == [{"at": length}]
    assert bench.kinds(result, "run.") == [
        "run.started",
        "run.cancelled",
        "run.finished",
        "run.resumed",
        "run.finished",
    ]
    assert [event.seq for event in result.events] == list(range(len(result.events)))


async def test_usage_and_cost_count_over_all_lives(bench: Bench) -> None:
    """What was used before is part of the result, also that of child runs."""
    gate = Gate()
    bench.price("scripted:script", input=1_000_000, output=0)
    bench.models["m"] = ScriptedModel([turn("child", usage=Usage(5, 0))])

    @tool(effect="pure")
    async def delegate(ctx: ToolContext) -> str:
        """Delegate."""
        return str((await ctx.run.call_agent(Agent("child", model="m"), "hi")).output)

    script: list[Any] = [turn(call("delegate"), usage=Usage(3, 0)), turn(PROMPT_READ, gate)]
    before = await interrupted(bench, gate, ScriptedModel(script), tools=[delegate])
    result = await bench.resume(before, ScriptedModel([turn("whole", usage=Usage(2, 0))]), tools=[delegate])

    assert result.output == "whole"
    assert bench.results(result)[0].text == "child"
    assert (result.usage.input_tokens, result.usage.requests, result.cost_usd) == (11, 4, 11.0)


async def test_the_usage_of_a_child_that_is_read_back_counts(make_bench: type[Bench]) -> None:
    """A recorded child has cost what it did, whether its result is still in memory or comes from a store."""
    for store in (None, MemoryStore()):
        bench = make_bench(store=store)
        gate = Gate()
        bench.models["m"] = ScriptedModel([turn("child", usage=Usage(5, 0, source="provider"))])
        own = [turn(PROMPT_READ, gate), turn("whole", usage=Usage(2, 0, source="provider"))]
        bench.models["own"] = ScriptedModel(own)

        class Parent(Agent):
            async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
                await ctx.call_agent(Agent("child", model="m"), "hi")
                return await turns(ctx, state)  # type: ignore[no-any-return]  # a state

        agent = Parent("parent", model="own")
        before = await interrupted(bench, gate, None, agent=agent)
        result = await (stored(bench, before, None, agent=agent) if store else bench.resume(before, None, agent=agent))

        assert (result.usage.input_tokens, result.usage.requests) == (8, 3)


async def test_a_child_that_is_read_back_says_what_it_did_without(make_bench: type[Bench]) -> None:
    """Its degradations and its confidence come back with its output."""
    bench, gate, told = make_bench(store=MemoryStore()), Gate(), list[Any]()
    bench.models["own"] = ScriptedModel([turn("half", gate), "whole"])

    class Child(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            ctx.degrade("pictures", "no room")
            return evolve(state, output="child")

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            result = await ctx.call_agent(Child("child"), "hi")
            told.append((result.degraded, result.confidence, result.findings))
            return await turns(ctx, state)  # type: ignore[no-any-return]  # a state

    agent = Parent("parent", model="own")
    await stored(bench, await interrupted(bench, gate, None, agent=agent), None, agent=agent)

    assert told[0] == told[1]
    assert [entry.what for entry in told[1][0]] == ["pictures"]


@pytest.mark.parametrize("kept", ["in memory", "in a store"])
async def test_what_children_inside_a_step_used_counts(make_bench: type[Bench], kept: str) -> None:
    """A step that is read back brings along what its child runs used, failed ones too."""
    bench = make_bench(store=MemoryStore() if kept == "in a store" else None)
    gate = Gate()
    bench.price("scripted:script", input=1_000_000, output=0)
    failing: list[Any] = [turn(call("act", n=1), usage=Usage(4, 0)), ModelServerError("down")]
    bench.models |= {"m": ScriptedModel([turn("child", usage=Usage(5, 0))]), "failing": ScriptedModel(failing)}
    bench.models["own"] = ScriptedModel([turn(PROMPT_READ, gate), turn("whole", usage=Usage(2, 0))])

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            async def node() -> str:
                other = Agent("other", model="failing", tools=[Counter()])
                await ctx.call_agent(other, "hi", required=False)
                return str(await ctx.step("item", None, lambda: item(ctx)))

            await ctx.step("node", None, node)
            return await turns(ctx, state)  # type: ignore[no-any-return]  # a state

    async def item(ctx: Any) -> str:
        return str((await ctx.call_agent(Agent("child", model="m"), "hi")).output)

    agent = Parent("parent", model="own")
    before = await interrupted(bench, gate, None, agent=agent)
    result = await (stored if bench.store else type(bench).resume)(bench, before, None, agent=agent)

    assert (result.usage.input_tokens, result.usage.requests, result.cost_usd) == (12, 4, 12.0)


async def test_a_budget_counts_over_all_lives(bench: Bench) -> None:
    """What an earlier life used is used: resuming is no way around a limit."""
    gate, act = Gate(), Counter()
    limits = ResourceLimits(requests=3, tool_calls=1)
    script: list[Any] = [call("act", n=1), turn("half", gate)]
    before = await interrupted(bench, gate, ScriptedModel(script), tools=[act], limits=limits)
    model = ScriptedModel([call("act", n=2)])
    result = await bench.resume(before, model, tools=[act], limits=limits)

    assert (result.end_reason, len(act.calls)) == ("budget", 1)


async def test_a_run_that_ended_is_read_back_whole(bench: Bench) -> None:
    """Nothing is missing, so nobody is asked."""
    act = Counter()
    before = await bench.run(ScriptedModel([call("act"), "done"]), tools=[act])
    result = await bench.resume(before, ScriptedModel([]), tools=[act])

    assert (result.output, len(act.calls)) == ("done", 1)
    assert list(result.messages) == list(before.messages)


async def test_observers_stay_silent_while_steps_are_read_back(bench: Bench) -> None:
    """`replaying` is true until the first missing step."""
    gate, seen = Gate(), list[bool]()

    def authorize(ctx: Any) -> None:
        seen.append(ctx.replaying)

    async def task_initiation(ctx: Any, state: RunState, call_next: Any) -> RunState:
        seen.append(ctx.replaying)
        return await call_next(state)  # type: ignore[no-any-return]  # a state

    bench.plug(authorize=authorize, task_initiation=task_initiation)
    act = Counter()
    before = await interrupted(bench, gate, ScriptedModel([turn("half", gate)]), tools=[act])
    await bench.resume(before, ScriptedModel([call("act"), "ok"]), tools=[act])

    assert seen == [False, True, False]


async def test_a_step_of_a_plugin_that_is_missing_ends_the_silence(bench: Bench) -> None:
    """Whatever kind of step comes first that is not recorded, from there on things happen."""
    gate, seen, lives = Gate(), list[bool](), list[int]()

    async def look(ctx: Any) -> str:
        seen.append(ctx.replaying)
        return "seen"

    async def task_initiation(ctx: Any, state: RunState, call_next: Any) -> RunState:
        lives.append(1)
        await ctx.step("look", None, lambda: look(ctx))
        if len(lives) > 1:  # the second life comes to a step that the first had not
            await ctx.step("more", None, lambda: look(ctx))
        return await call_next(state)  # type: ignore[no-any-return]  # a state

    bench.plug(task_initiation=task_initiation)
    before = await interrupted(bench, gate, ScriptedModel([turn("half", gate)]))
    await bench.resume(before, ScriptedModel(["ok"]))

    assert seen == [False, False]


async def test_another_request_than_the_recorded_one_parks_the_run(bench: Bench) -> None:
    """A changed agent asks for something else, and that is never papered over by asking again."""
    before = await bench.run(ScriptedModel(["done"]), agent=Agent("a", instructions="Be kind."))
    model = ScriptedModel(["never"])
    result = await bench.resume(before, model, agent=Agent("a", instructions="Be rude."))

    assert isinstance(result.error, JournalDivergedError)
    assert (result.end_reason, model.requests) == ("failed", [])


async def test_large_results_come_back_from_the_store(make_bench: type[Bench]) -> None:
    """What was kept as a blob is whole again."""
    bench = make_bench(store=MemoryStore())
    bench.offload_over_tokens = 10**9
    gate, text = Gate(), "x" * (BLOB_AT_BYTES + 1)
    act = Counter(returns=text)
    before = await interrupted(bench, gate, ScriptedModel([call("act"), turn("half", gate)]), tools=[act])
    result = await stored(bench, before, ScriptedModel(["ok"]), tools=[act])

    assert bench.results(result)[0].text == text
    assert len(act.calls) == 1


async def test_what_a_run_began_with_is_in_the_store(make_bench: type[Bench]) -> None:
    """Input, history and options are enough to begin another life in another process."""
    store = MemoryStore()
    bench = make_bench(store=store)
    limits, principal = ResourceLimits(requests=5), Principal(id="ann", tenant="t", roles=())
    options: dict[str, Any] = {"principal": principal, "limits": limits, "workspace": "/w", "conversation": "c"}
    history = [Message.user("hi"), Message.assistant("hello")]
    for given in ("go", {"city": "x"}, [Message.user("one"), Message.user("two")]):
        result = await bench.run(ScriptedModel(["ok"]), given, history=history, **options)
        row, _, _ = await store.load(result.run)

        inputs, found = inputs_of(row)
        assert inputs == given
        assert found == {"history": history, **options, "explain": False, "target": None, "model": None}
        assert isinstance(row, RunRow)
        assert (row.state, row.agent) == ("done", "agent")


@pytest.mark.parametrize(
    ("script", "options", "state"),
    [
        pytest.param(["ok"], {}, "done", id="completed"),
        pytest.param([ModelServerError("x")], {}, "failed", id="failed"),
        pytest.param(["never"], {"limits": ResourceLimits(requests=0)}, "failed", id="budget"),
    ],
)
async def test_the_store_knows_how_a_run_ended(
    make_bench: type[Bench], script: Sequence[Any], options: Mapping[str, Any], state: str
) -> None:
    """The row has the state of the run."""
    store = MemoryStore()
    result = await make_bench(store=store).run(ScriptedModel(script), **options)

    assert (await store.load(result.run))[0].state == state


# --- what happened in between ------------------------------------------------------------------------------------


async def test_messages_that_were_queued_come_again_at_their_turn(bench: Bench) -> None:
    """Steering is part of what was asked, so it is read back too."""
    gate, runs = Gate(), list[Any]()

    def steer(args: Any) -> str:
        runs[0].inbox.append(Message.user("in blue"))
        return "done"

    act = Counter(returns=steer)
    run = bench.prepare(ScriptedModel([call("act"), turn("half", gate)]), tools=[act])
    runs.append(run)
    task = asyncio.ensure_future(bench.runner().drive(run))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    model = ScriptedModel(["whole"])
    result = await bench.resume(run.result(), model, tools=[act])

    assert [message.text for message in model.requests[0].messages] == ["go", "", "", "in blue"]
    assert result.output == "whole"


@pytest.mark.parametrize(
    "decision",
    [
        pytest.param(Retry(delay_s=5), id="retry"),
        pytest.param(Alternative(instructions="Be brief.", settings={"seed": 1}), id="alternative"),
        pytest.param(Fallback(target="spare"), id="fallback"),
    ],
)
async def test_decisions_of_recovery_are_taken_again(make_bench: type[Bench], decision: Any) -> None:
    """Another life asks nobody and waits for nothing: it does at each step what was decided there."""
    clock = FakeClock()
    bench = make_bench(clock=clock)
    asked: list[str] = []

    def recover(failure: Any) -> Any:
        asked.append(failure.code)
        return decision

    gate = Gate()
    bench.plug(recover=recover)
    script: list[Any] = [ModelServerError("down"), call("nothing"), turn("half", gate)]
    bench.models["spare"] = ScriptedModel(script[1:], name="spare")
    task = asyncio.create_task(interrupted(bench, gate, ScriptedModel(script)))
    if isinstance(decision, Retry):
        await clock.sleeping()
        clock.advance(5)
    before = await task
    last = ScriptedModel(["whole"])
    bench.models["spare"] = ScriptedModel(["whole"], name="spare")
    result = await bench.resume(before, last)

    assert (result.output, asked) == ("whole", ["model.server_error"])
    assert result.turns == 2


async def test_a_run_that_was_given_up_may_be_taken_up(bench: Bench) -> None:
    """An abort is no decision for the next life: the step that failed is tried again."""
    bench.plug(recover=lambda failure: Abort(reason="enough"))
    before = await bench.run(ScriptedModel([ModelServerError("down")]))
    result = await bench.resume(before, ScriptedModel(["whole"]))

    assert (before.end_reason, result.output) == ("unavailable", "whole")
    assert [data["attempt"] for data in bench.events(result, "step.started")] == [1, 2]


async def test_an_end_that_could_not_be_stored_is_a_failure(make_bench: type[Bench]) -> None:
    """Nobody takes a run for kept that is not; the output is there all the same."""

    class Full(MemoryStore):
        async def append(self, row: RunRow, *args: Any, **options: Any) -> None:
            if row.state == "done":
                raise StorageExhaustedError("disk full")
            await super().append(row, *args, **options)

    bench = make_bench(store=Full())
    result = await bench.run(ScriptedModel(["done"]))

    assert (result.end_reason, result.output) == ("failed", "done")
    assert isinstance(result.error, StorageExhaustedError)


async def test_a_child_run_goes_on_where_it_was(bench: Bench) -> None:
    """What an interrupted child did is not done again."""
    gate, act = Gate(), Counter()
    bench.models["m"] = ScriptedModel([call("act", n=1), turn("half", gate)])
    child = Agent("child", model="m", tools=[act])

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            return evolve(state, output=(await ctx.call_agent(child, "hi")).output)

    before = await interrupted(bench, gate, None, agent=Parent("parent"))
    bench.models["m"] = ScriptedModel(["whole"])
    result = await bench.resume(before, None, agent=Parent("parent"))

    assert (result.output, len(act.calls)) == ("whole", 1)


async def test_steps_of_plugins_are_not_repeated(bench: Bench) -> None:
    """Also those inside a call that is read back, and those after it keep their numbers."""
    gate, drawn = Gate(), list[str]()

    async def draw(name: str) -> str:
        drawn.append(name)
        return name

    async def tool_call(ctx: Any, call: Any, call_next: Any) -> Any:
        await ctx.step("draw", call.arguments, lambda: draw(f"call {call.arguments['n']}"))
        return await call_next(call)

    async def idle(ctx: Any, state: RunState, call_next: Any) -> RunState:
        return state

    async def task_initiation(ctx: Any, state: RunState, call_next: Any) -> RunState:
        await ctx.step("draw", "task", lambda: draw("task"))
        return await call_next(state)  # type: ignore[no-any-return]  # a state

    bench.plug(tool_call=tool_call, task_initiation=task_initiation, idle=idle)
    act = Counter()
    script: list[Any] = [call("act", n=1), turn("half", gate)]
    before = await interrupted(bench, gate, ScriptedModel(script), tools=[act])
    result = await bench.resume(before, ScriptedModel([call("act", n=2), "ok"]), tools=[act])

    assert result.output == "ok"
    assert drawn == ["task", "call 1", "call 2"]


async def test_an_approval_is_asked_for_once(bench: Bench) -> None:
    """A call that was approved and interrupted is not asked for again."""
    gate, asked = Gate(), list[str]()

    @tool(effect="idempotent")
    async def act(n: int) -> str:
        """Act."""
        if n == 2 and gate.arrivals == 0:
            await gate.wait()
        return "done"

    def request_approval(request: Any) -> Any:
        asked.append(request.id)
        return Approval(id=request.id, granted=True)

    bench.plug(authorize=lambda: Ask(), request_approval=request_approval)
    script = turn(call("act", n=1), call("act", n=2))
    before = await interrupted(bench, gate, ScriptedModel([script]), tools=[act])
    result = await bench.resume(before, ScriptedModel(["ok"]), tools=[act])

    assert (result.output, len(asked)) == ("ok", 2)


# --- effects -----------------------------------------------------------------------------------------------------


class Payment(FakeTool):
    """An effect that nobody wants twice; it can be interrupted after it happened."""

    def __init__(self, effect: Any = "unsafe") -> None:
        super().__init__("pay", effect=effect)
        self.gate = Gate()
        self.keys: list[str] = []

    async def execute(self, args: Any, ctx: ToolContext) -> Any:
        self.keys.append(ctx.idempotency_key)
        if self.gate.arrivals == 0:
            await self.gate.wait()
        return tool_result(ctx.call.id, "paid")


async def test_an_unsafe_effect_without_outcome_is_never_repeated(bench: Bench) -> None:
    """It is not known what came of it, so the run waits for a person."""
    pay = Payment()
    before = await interrupted(bench, pay.gate, ScriptedModel([call("pay")]), tools=[pay])
    result = await bench.resume(before, ScriptedModel(["never"]), tools=[pay])

    assert (len(pay.keys), result.end_reason) == (1, "needs_approval")
    assert isinstance(result.error, ToolUnsafeUnknownError)
    assert [r.status for r in bench.results(result)] == ["unknown"]


@pytest.mark.parametrize("effect", ["pure", "idempotent", "keyed"])
async def test_other_effects_are_repeated_with_the_same_key(bench: Bench, effect: str) -> None:
    """Who knows keys tells a repeat from a new wish."""
    pay = Payment(effect)
    before = await interrupted(bench, pay.gate, ScriptedModel([call("pay")]), tools=[pay])
    result = await bench.resume(before, ScriptedModel(["ok"]), tools=[pay])

    assert result.output == "ok"
    assert pay.keys == [f"{result.run}/tool.call:pay#1/call_1"] * 2


@pytest.mark.parametrize(
    ("outcome", "times", "end", "text"),
    [
        pytest.param("not_done", 2, "completed", "paid", id="it did not happen"),
        pytest.param("unknown", 1, "needs_approval", None, id="nobody knows"),
        pytest.param(tool_result("x", "it was paid"), 1, "completed", "it was paid", id="it happened"),
    ],
)
async def test_a_tool_may_find_out_what_happened(
    bench: Bench, outcome: Any, times: int, end: str, text: str | None
) -> None:
    """`reconcile` is asked with the key and the arguments of the call."""
    asked: list[Any] = []

    class Reconciling(Payment):
        async def reconcile(self, key: str, args: Mapping[str, Any]) -> Any:
            asked.append((key, dict(args)))
            return outcome

    pay = Reconciling()
    before = await interrupted(bench, pay.gate, ScriptedModel([call("pay", amount=3)]), tools=[pay])
    result = await bench.resume(before, ScriptedModel(["ok"]), tools=[pay])

    assert (len(pay.keys), result.end_reason) == (times, end)
    assert asked == [(pay.keys[0], {"amount": 3})]
    if text is not None:
        assert bench.results(result)[0].text == text
        assert bench.results(result)[0].call_id == "call_1"


async def test_finished_calls_of_an_interrupted_turn_survive(bench: Bench) -> None:
    """Of parallel calls only the one that was cut off is in doubt."""
    pay, act = Payment("keyed"), Counter()
    act_done = asyncio.Event()

    async def acted(args: Any) -> str:
        act_done.set()
        return "acted"

    act = Counter(returns=acted)
    script: list[Any] = [turn(call("act"), call("pay"))]
    task = asyncio.create_task(interrupted(bench, pay.gate, ScriptedModel(script), tools=[act, pay]))
    await act_done.wait()
    before = await task
    assert [r.status for r in bench.results(before)] == ["ok", "cancelled"]
    result = await bench.resume(before, ScriptedModel(["ok"]), tools=[act, pay])

    assert (len(act.calls), len(pay.keys), result.output) == (1, 2, "ok")


# --- what came to nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["in memory", "in a store"])
async def test_what_was_stopped_counts_in_the_next_life(make_bench: type[Bench], kept: str) -> None:
    """A request that nobody waited for may have to be paid: unknown stays unknown, and is not 0."""
    bench = make_bench(store=MemoryStore() if kept == "in a store" else None)
    gate = Gate()
    before = await interrupted(bench, gate, ScriptedModel([turn("half", gate)]))
    model = ScriptedModel([turn("whole", usage=Usage(2, 1, source="provider"))])
    result = await (stored if bench.store else type(bench).resume)(bench, before, model)

    assert (before.usage.requests, before.usage.input_tokens) == (1, None)
    assert (result.usage.requests, result.usage.input_tokens, result.cost_usd) == (2, None, None)


async def test_failed_attempts_are_counted_against_the_budget_of_each_life(make_bench: type[Bench]) -> None:
    """Resuming again and again is no way to spend a budget again and again."""
    bench = make_bench(store=MemoryStore())
    limits = ResourceLimits(tokens=5000)
    used = ModelServerError("cut", usage=Usage(2000, 1000, source="provider"), stream_started=True)
    before = await bench.run(ScriptedModel([used]), limits=limits)
    model = ScriptedModel([used, "never"])
    second = await stored(bench, before, model, limits=limits)
    third = await stored(bench, second, model, limits=limits)

    assert [result.usage.total_tokens for result in (before, second, third)] == [3000, 6000, 6000]
    assert (third.end_reason, len(model.requests)) == ("budget", 1)


async def test_what_nobody_counted_stands_as_reserved_in_each_life(make_bench: type[Bench]) -> None:
    """An answer without counts that is read back takes from the budget what was set aside for it."""
    bench = make_bench(store=MemoryStore())
    limits = ResourceLimits(tokens=1500)
    settings = ModelSettings(max_output_tokens=600)
    agent = Agent("agent", tools=[Counter()], settings=settings)
    before = await bench.run(ScriptedModel([call("act"), ModelServerError("down")]), agent=agent, limits=limits)
    model = ScriptedModel([call("act"), "never"])
    result = await stored(bench, before, model, agent=agent, limits=limits)

    assert (result.end_reason, len(model.requests)) == ("budget", 1)


async def test_a_run_goes_on_under_other_limits(make_board: MakeBoard) -> None:
    """Where the first ones are used up; what it has used counts against them."""
    used = Usage(400, 100, source="provider")
    model = ScriptedModel([turn(call("act"), usage=used), turn("done", usage=used)])
    board = await make_board(store=MemoryStore())
    agent = Agent("agent", model=model, tools=[FakeTool("act")])
    ended = await board.run(agent, "go", run="r1", limits=ResourceLimits(tokens=600), check=False)
    short = await board.resume("r1", limits=ResourceLimits(tokens=700), check=False)
    result = await board.resume("r1", limits=ResourceLimits(tokens=5000))

    assert (ended.end_reason, short.end_reason, result.output) == ("budget", "budget", "done")
    assert result.usage.total_tokens == 1000


async def test_a_stopped_answer_is_estimated_where_a_limit_holds(bench: Bench) -> None:
    """What was read of it, and what was asked: so that a budget is not used up by what it reserved."""
    gate = Gate()
    limits = ResourceLimits(tokens=5000)
    before = await interrupted(bench, gate, ScriptedModel([turn("x" * 400, gate)]), limits=limits)

    assert (before.usage.output_tokens, before.usage.source) == (100, "estimated")
    assert 0 < (before.usage.input_tokens or 0) < 50


async def test_what_was_never_sent_costs_nothing(bench: Bench) -> None:
    """A run that is stopped while something stands before its model."""
    gate = Gate()

    async def model_request(request: ModelRequest, call_next: Call) -> ModelResponse:
        await gate.wait()
        return await call_next(request)  # type: ignore[no-any-return]

    bench.plug(model_request=model_request)
    before = await interrupted(bench, gate, ScriptedModel(["never"]))

    assert (before.usage.requests, before.usage.total_tokens, before.cost_usd) == (0, 0, 0.0)


async def test_a_run_that_cannot_be_taken_up_is_what_it_was(make_bench: type[Bench]) -> None:
    """A run that is done stays done, where its agent is another one by now."""
    bench = make_bench(store=MemoryStore())
    done = await bench.run(ScriptedModel(["ok"]), agent=Agent("agent", instructions="Be kind."))
    again = await stored(bench, done, ScriptedModel(["no"]), agent=Agent("agent", instructions="Be brief."))

    assert isinstance(again.error, JournalDivergedError)
    assert bench.store is not None
    row = (await bench.store.load(done.run))[0]
    assert (row.state, row.summary["end_reason"]) == ("done", "completed")  # type: ignore[index]


# --- the model ---------------------------------------------------------------------------------------------------


class Named:
    """Two providers; whichever is first is ready."""

    def __init__(self, *order: str) -> None:
        self.made = {name: ScriptedModel(["half", "whole"] * 3, name=name) for name in ("a", "b")}
        self._order = order

    @hookimpl
    def provide_model(self, name: str) -> ModelBase | None:
        found = self.made.get(self._order[0] if name == "auto" else name.partition(":")[2])
        if found is not None:
            found.provider = "named"
        return found


@pytest.mark.parametrize("asked", [None, "named:a"])
async def test_a_run_goes_on_with_the_model_it_began_with(make_board: MakeBoard, asked: str | None) -> None:
    """Also in another process where another one is ready by now: nobody else is told of the task."""
    store = MemoryStore()
    first, second = Named("a"), Named("b")
    first.made["a"] = ScriptedModel([call("act"), ModelServerError("down")], name="a")
    board = await make_board(plugins=[first], store=store)
    options: Any = {"model": asked} if asked else {}
    agent = await board.add_agent(Agent("agent", tools=[FakeTool("act")]))
    await board.run(agent, "secret", run="r1", check=False, **options)
    other = await make_board(plugins=[second], store=store)
    await other.add_agent(Agent("agent", tools=[FakeTool("act")]))
    result = await other.resume("r1")

    assert result.output == "half"
    assert [len(model.requests) for model in second.made.values()] == [1, 0]


async def test_the_model_of_a_run_leads(make_board: MakeBoard) -> None:
    """Over that of its agent, and for child runs whose agents name none."""
    named = Named("b")

    @tool(effect="pure")
    async def delegate(ctx: ToolContext) -> str:
        """Delegate."""
        return str((await ctx.run.call_agent(Agent("child"), "hi")).output)

    named.made["a"] = ScriptedModel([call("delegate"), "of the child", "done"], name="a")
    board = await make_board(plugins=[named])
    result = await board.run(Agent("agent", model="named:b", tools=[delegate]), "go", model="named:a")

    assert result.output == "done"
    assert [len(model.requests) for model in named.made.values()] == [3, 0]
