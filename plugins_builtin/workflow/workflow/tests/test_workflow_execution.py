"""How a workflow runs: what starts when, what becomes of failures, what is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from pegboard import Agent, Pegboard, RunResult
from pegboard.errors import PegboardError
from pegboard.memory import MemoryStore
from pegboard.types import evolve
from pegboard_testing import FakeClock, MakeBoard
from pegboard_workflow import (
    Flow,
    Repeat,
    Retry,
    Workflow,
    WorkflowAgent,
    WorkflowFailedError,
    workflow_of,
)
from pegboard_workflow.plugin import Plugin

Answer = Callable[[Any], Any]


class Computed(Agent):
    """An agent that answers with what a function makes of its input."""

    __slots__ = ("answer", "seen")

    def __init__(self, name: str, answer: Answer, **config: Any) -> None:
        super().__init__(name, **config)
        self.answer = answer
        self.seen: list[Any] = []

    async def execute(self, ctx: Any, state: Any, turns: Any) -> Any:
        self.seen.append(ctx.input)
        value = self.answer(ctx.input)
        return evolve(state, output=await value if asyncio.iscoroutine(value) else value)


class Fault(PegboardError):
    """Something went wrong."""

    code = "test.fault"


def failing(name: str = "failing", times: int | None = None, then: Any = "at last") -> Computed:
    """An agent that fails, always or so many times."""

    def answer(_: Any) -> Any:
        if times is None or len(agent.seen) <= times:
            raise Fault("it broke")
        return then

    agent = Computed(name, answer)
    return agent


class Gate:
    """Something to wait for, and to know that somebody does."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.cancelled = False

    async def hold(self, *_: Any, **__: Any) -> str:
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "through"


Run = Callable[..., Awaitable[RunResult]]


@pytest.fixture
async def board(make_board: MakeBoard) -> Pegboard:
    """A board with the plugin and nothing else."""
    return await make_board(plugins=[Plugin()])


@pytest.fixture
def run(board: Pegboard) -> Run:
    """Runs a flow, a workflow or data, with agents that it may name."""

    async def work(given: Any, inputs: Any = "go", *, agents: Sequence[Agent] = (), **options: Any) -> RunResult:
        for agent in agents:
            await board.add_agent(agent)
        options.setdefault("check", False)
        return await board.run(agent_of(given), inputs, **options)

    return work


def agent_of(given: Any) -> WorkflowAgent:
    """The agent of whatever describes a workflow."""
    if isinstance(given, Flow):
        return given.agent()
    return WorkflowAgent(given if isinstance(given, Workflow) else workflow_of(given))


def states(result: RunResult) -> dict[str, list[str]]:
    """The states that each node went through."""
    found: dict[str, list[str]] = {}
    for event in result.events:
        if event.kind == "workflow.node":
            found.setdefault(event.data["node"], []).append(event.data["state"])
    return found


def last_states(result: RunResult) -> dict[str, str]:
    """The state in which each node ended."""
    return {node: passed[-1] for node, passed in states(result).items()}


async def double(n: int) -> int:
    return n * 2


async def test_data_flows_along_references(run: Run) -> None:
    """A node is given what others gave, by path, and text is put together of parts."""
    flow = Flow("flow")
    numbers = flow.add("numbers", run=lambda: {"list": [3, 4]}, inputs={}, inline=True)
    twice = flow.add("twice", run=double, inputs={"n": numbers["list"][1]})
    flow.output = {"twice": twice, "text": f"{numbers['list']} of {flow.input}"}

    assert (await run(flow)).output == {"twice": 8, "text": "[3,4] of go"}


async def test_output_is_that_of_the_last_node(run: Run) -> None:
    """Without a mapping the output is that of the one node that nothing follows, or of several each by its name."""
    assert (await run({"nodes": {"a": {"transform": "text"}}}, "hi")).output == "hi"
    several = {"nodes": {"a": {"transform": "text"}, "b": {"transform": "count"}}}
    assert (await run(several, "hi")).output == {"a": "hi", "b": 2}


async def test_a_node_starts_as_soon_as_its_needs_are_met(run: Run) -> None:
    """Not level by level: what follows a quick node does not wait for a slow one beside it."""
    gate, order = Gate(), list[str]()

    async def note(name: str) -> None:
        order.append(name)
        if name == "after quick":
            gate.open.set()

    flow = Flow("flow")
    slow = flow.add("slow", run=gate.hold, inputs={})
    quick = flow.add("quick", run=note, inputs={"name": "quick"})
    flow.add("after_quick", run=note, inputs={"name": "after quick"}, needs=[quick])
    flow.add("after_slow", run=note, inputs={"name": "after slow"}, needs=[slow])

    assert (await run(flow)).ok
    assert order == ["quick", "after quick", "after slow"]


async def test_no_more_than_the_cap_at_once(run: Run) -> None:
    """The cap holds, and is used to the full."""
    now, most = 0, 0

    async def work() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        now -= 1

    flow = Flow("flow", parallel=3)
    for number in range(12):
        flow.add(f"n{number}", run=work, inputs={})

    assert (await run(flow)).ok
    assert most == 3


async def test_the_urgent_go_first(run: Run) -> None:
    """Where not all can start, priority decides, then the order in which they were written."""
    order: list[str] = []

    async def note(name: str) -> None:
        order.append(name)

    flow = Flow("flow", parallel=1)
    for name, priority in (("low", -1), ("first", 0), ("second", 0), ("high", 5)):
        flow.add(name, run=note, inputs={"name": name}, priority=priority)
    await run(flow)

    assert order == ["high", "first", "second", "low"]


async def test_a_plain_function_runs_in_a_thread(run: Run) -> None:
    """The loop goes on meanwhile, unless the node says that the function returns at once."""
    here = threading.get_ident()
    flow = Flow("flow")
    flow.add("thread", run=threading.get_ident, inputs={})
    flow.add("inline", run=threading.get_ident, inputs={}, inline=True)
    output = (await run(flow)).output

    assert output["thread"] != here
    assert output["inline"] == here


async def test_a_function_may_ask_for_the_run(run: Run) -> None:
    """A parameter `ctx` is the run."""

    async def who(ctx: Any) -> str:
        return str(ctx.agent.name)

    flow = Flow("flow")
    flow.add("who", run=who, inputs={})

    assert (await run(flow)).output == "flow"


async def test_an_agent_is_a_child_run(run: Run) -> None:
    """It has its inputs as its input, and text as its task."""
    agent = Computed("echo", lambda given: given)
    data = {"nodes": {"a": {"agent": "echo", "inputs": {"x": "$input"}}, "b": {"agent": "echo"}}}
    result = await run(data, agents=[agent])

    assert result.output == {"a": {"x": "go"}, "b": "go"}
    assert {event.data["op"] for event in result.events if event.kind == "step.done"} >= {"agent.call:echo"}


async def test_nested_workflows(run: Run) -> None:
    """A node may be a workflow: in place, by the name of an agent, or as a value."""
    inner = {"nodes": {"twice": {"transform": ["text", "lines"]}}}
    await run({"name": "named", "nodes": {"x": {"transform": "count"}}}, "")
    named = agent_of({"name": "named", "nodes": {"x": {"transform": "count"}}})
    data = {"nodes": {"place": {"agent": inner}, "name": {"agent": "named"}}}

    assert (await run(data, "ab", agents=[named])).output == {"place": ["ab"], "name": 2}


# --- conditions --------------------------------------------------------------------------------------------------


async def test_a_condition_skips_a_node_and_what_needs_it(run: Run) -> None:
    """That is no degradation: nobody wanted it."""
    data = {
        "nodes": {
            "long": {"transform": "text", "when": "$input == 'long'"},
            "after": {"transform": "text", "inputs": "$nodes.long"},
            "either": {"transform": "compact", "inputs": {"long": "$nodes.after?", "input": "$input"}},
        }
    }
    result = await run(data, "short")

    assert result.output == {"input": "short"}
    assert last_states(result) == {"long": "skipped", "after": "skipped", "either": "done"}
    assert result.degraded == ()


async def test_a_condition_is_judged_early_and_frees_what_nobody_wants(run: Run) -> None:
    """As soon as what it asks about is known; a slow node that only the skipped one wanted is cancelled."""
    gate = Gate()

    async def judge() -> bool:
        await gate.entered.wait()
        return False

    flow = Flow("flow")
    slow = flow.add("slow", run=gate.hold, inputs={})
    wanted = flow.add("wanted", run=judge, inputs={})
    after = flow.add("after", run=double, inputs={"n": slow}, when=f"{wanted!s}")
    flow.output = {"after": after.or_none()}
    result = await run(flow)

    assert result.output == {"after": None}
    assert gate.cancelled
    assert last_states(result) == {"slow": "cancelled", "wanted": "done", "after": "skipped"}


# --- failures ----------------------------------------------------------------------------------------------------


async def test_a_failed_optional_node_is_absent_downstream(run: Run) -> None:
    """What needs it is absent too, what can do without it runs, and the result says so."""
    data = {
        "nodes": {
            "broken": {"agent": "failing", "required": False},
            "needs": {"transform": "text", "inputs": "$nodes.broken"},
            "further": {"transform": "text", "inputs": "$nodes.needs"},
            "can": {"transform": "text", "inputs": {"broken": "$nodes.broken?"}},
            "marked": {"agent": "echo", "inputs": {"broken": "$nodes.broken"}, "accepts_absent": True},
        },
        "output": {"can": "$nodes.can", "marked": "$nodes.marked"},
    }
    result = await run(data, agents=[failing(), Computed("echo", lambda given: given)])

    mark = {"absent": True, "node": "broken", "reason": "it broke"}
    assert result.output == {"can": '{"broken":null}', "marked": {"broken": mark}}
    assert last_states(result) == {
        "broken": "failed", "needs": "absent", "further": "absent", "can": "done", "marked": "done"
    }  # fmt: skip
    assert [part.what for part in result.degraded] == ["node `broken`", "node `needs`", "node `further`"]


async def test_what_only_comes_after_an_absent_node_is_absent_too(run: Run) -> None:
    """`needs` means needs, also where no data flows; what else it would have waited for is cancelled at once."""
    gate = Gate()

    async def breaks() -> None:
        await gate.entered.wait()
        raise Fault("no luck")

    flow = Flow("flow")
    broken = flow.add("broken", run=breaks, inputs={}, required=False)
    slow = flow.add("slow", run=gate.hold, inputs={})
    after = flow.add("after", run=double, inputs={"n": slow}, needs=[broken])
    flow.output = {"after": after.or_none()}
    result = await run(flow)

    assert (result.output, gate.cancelled) == ({"after": None}, True)
    assert last_states(result) == {"broken": "failed", "slow": "cancelled", "after": "absent"}


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        ({"type": ["string", "null"]}, {"x": None}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"x": None}),
        ({"type": "object", "properties": {"absent": {"type": "boolean"}}}, "mark"),
        ({"type": "string"}, {}),
    ],
    ids=["null", "any-of", "mark", "omit"],
)
async def test_the_schema_says_what_an_agent_takes_in_place_of_an_absent_input(
    run: Run, schema: dict[str, Any], given: Any
) -> None:
    """The mark where it names `absent`, null where it takes null, nothing where the input is not required."""
    agent = Computed("taker", lambda value: value, input_schema={"type": "object", "properties": {"x": schema}})
    data = {
        "nodes": {
            "broken": {"agent": "failing", "required": False},
            "taker": {"agent": "taker", "inputs": {"x": "$nodes.broken"}},
        }
    }
    result = await run(data, agents=[failing(), agent])

    mark = {"x": {"absent": True, "node": "broken", "reason": "it broke"}}
    assert result.output == (mark if given == "mark" else given)


async def test_a_required_input_that_is_absent_makes_its_node_absent(run: Run) -> None:
    """An agent whose schema takes nothing in its place is not called."""
    schema = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
    agent = Computed("taker", lambda value: value, input_schema=schema)
    data = {
        "nodes": {
            "broken": {"agent": "failing", "required": False},
            "taker": {"agent": "taker", "inputs": {"x": "$nodes.broken"}},
        },
        "output": {"taker": "$nodes.taker?"},
    }
    result = await run(data, agents=[failing(), agent])

    assert (result.output, agent.seen) == ({"taker": None}, [])
    assert last_states(result)["taker"] == "absent"


async def test_an_output_that_is_absent_fails_the_workflow(run: Run) -> None:
    """Nobody takes nothing for a result, unless the output says that it can do without."""
    result = await run({"nodes": {"broken": {"agent": "failing", "required": False}}}, agents=[failing()])

    assert isinstance(result.error, WorkflowFailedError)
    assert "the output needs `broken`: it broke" in result.error.message


async def test_a_failed_required_node_fails_the_workflow(board: Pegboard, run: Run) -> None:
    """What was finished is kept, what goes on is cancelled, and the cause is there."""
    gate = Gate()

    async def breaks() -> None:
        await gate.entered.wait()
        raise Fault("no luck")

    flow = Flow("flow")
    flow.add("fine", run=double, inputs={"n": 1})
    broken = flow.add("broken", run=breaks, inputs={})
    flow.add("slow", run=gate.hold, inputs={})
    flow.add("never", run=double, inputs={"n": broken})

    with pytest.raises(WorkflowFailedError, match="node `broken` failed: no luck") as caught:
        await board.run(flow.agent())

    error = caught.value
    assert error.run is not None
    assert (error.node, error.finished, error.run.output) == ("broken", {"fine": 2}, {"fine": 2})
    assert isinstance(error.__cause__, Fault)
    assert gate.cancelled
    assert last_states(error.run) == {"fine": "done", "broken": "failed", "slow": "cancelled", "never": "cancelled"}


async def test_fallbacks_are_tried_in_order(run: Run) -> None:
    """The first that answers is taken, and the result says that it was not the one that was meant."""
    agents = [failing("one"), failing("two"), Computed("three", lambda _: "three"), Computed("four", lambda _: "four")]
    data = {"nodes": {"a": {"agent": "one", "fallback": ["two", "three", "four"]}}}
    result = await run(data, agents=agents)

    assert result.output == "three"
    assert agents[3].seen == []
    assert [part.why for part in result.degraded] == ["fell back to `three`: it broke"]


async def test_retries_wait_longer_each_time(make_board: MakeBoard) -> None:
    """So many attempts, with a delay that grows; the clock is the board's."""
    clock = FakeClock()
    board = await make_board(plugins=[Plugin()], clock=clock)
    agent = failing(times=2)
    flow = Flow("flow")
    flow.add("a", agent=agent, retry=Retry(attempts=3, delay_s=10, backoff=3))
    running = asyncio.create_task(board.run(flow.agent(), "go"))
    await clock.sleeping(1)
    clock.advance(10)
    await clock.sleeping(1)
    clock.advance(29)
    await asyncio.sleep(0)
    assert len(agent.seen) == 2
    clock.advance(1)

    assert (await running).output == "at last"


async def test_a_node_that_hangs_reaches_its_limit(run: Run) -> None:
    """It is cancelled, with its child run, and fails with a code of its own."""
    gate = Gate()
    flow = Flow("flow")
    flow.add("a", agent=Computed("hangs", gate.hold), timeout_s=0.01)
    result = await run(flow)

    assert gate.cancelled
    assert result.error is not None
    assert getattr(result.error.__cause__, "code", None) == "workflow.timeout"


async def test_a_function_that_exits_does_not_end_the_host(run: Run) -> None:
    """It fails its node."""

    async def leave() -> None:
        raise SystemExit(3)

    flow = Flow("flow")
    flow.add("leave", run=leave, inputs={})

    assert isinstance((await run(flow)).error, WorkflowFailedError)


async def test_a_reference_to_what_is_missing_fails_its_node(run: Run) -> None:
    """The message says what there is; `?` makes nothing of it."""
    given = {"transform": "text", "inputs": "$input.x"}
    data = {"nodes": {"a": {"transform": "keys", "inputs": {"k": 1}}, "b": given}}
    result = await run(data, {"y": 1})
    assert "`$input.x`: `.x` is not there; there is `y`" in str(result.error)

    given["inputs"] = "$input.x?"
    assert (await run(data, {"y": 1})).output == {"a": ["k"], "b": ""}


# --- items and rounds --------------------------------------------------------------------------------------------


async def test_foreach_gives_the_results_in_the_order_of_the_items(run: Run) -> None:
    """So many at once, each item in its place."""
    now, most = 0, 0

    async def work(item: int, index: int) -> list[int]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(5 - item):
            await asyncio.sleep(0)
        now -= 1
        return [item, index]

    flow = Flow("flow")
    flow.add(
        "each", run=work, foreach=flow.input["items"], inputs={"item": flow.item, "index": flow.index}, concurrency=2
    )

    assert (await run(flow, {"items": [4, 3, 2]})).output == [[4, 0], [3, 1], [2, 2]]
    assert most == 2


async def test_an_item_of_an_optional_node_may_fail(run: Run) -> None:
    """A mark stands in its place, and it is listed by its position."""

    def answer(item: int) -> int:
        if item == 2:
            raise Fault("not two")
        return item

    data = {"nodes": {"each": {"agent": "picky", "foreach": "$input", "required": False}}}
    result = await run(data, [1, 2], agents=[Computed("picky", answer)])

    assert result.output == [1, {"absent": True, "node": "each", "reason": "not two"}]
    assert [part.what for part in result.degraded] == ["node `each[1]`"]


async def test_an_item_of_a_required_node_fails_all(run: Run) -> None:
    """Items that go on are cancelled."""
    gate = Gate()

    async def answer(item: int) -> Any:
        if item == 2:
            await gate.entered.wait()
            raise Fault("not two")
        return await gate.hold()

    data = {"nodes": {"each": {"agent": "picky", "foreach": "$input"}}}
    result = await run(data, [1, 2], agents=[Computed("picky", answer)])

    assert "not two" in str(result.error)
    assert gate.cancelled


@pytest.mark.parametrize(
    ("given", "message"),
    [("text", "goes over a list, and got text"), ({"a": 1}, "got a mapping"), (list(range(10_001)), "10001 items")],
    ids=["text", "mapping", "too many"],
)
async def test_foreach_takes_a_list_of_a_bounded_length(run: Run, given: Any, message: str) -> None:
    """Anything else fails the node, and says why."""
    result = await run({"nodes": {"each": {"transform": "text", "foreach": "$input"}}}, given)

    assert message in str(result.error)


async def test_foreach_over_ten_thousand_items(run: Run) -> None:
    """As many as are allowed by default; none is lost."""
    flow = Flow("flow")
    flow.add("each", run=double, foreach=flow.input, inputs={"n": flow.item}, concurrency=8)
    result = await run(flow, list(range(10_000)))

    assert result.output == [2 * n for n in range(10_000)]


async def test_repeat_until(run: Run) -> None:
    """Each round sees what the one before gave, and the condition sees the output."""
    data = {
        "nodes": {
            "grow": {
                "agent": "grower",
                "inputs": {"last": "$last", "round": "$round"},
                "repeat": {"until": "$output.size >= 3", "at_most": 5},
            }
        }
    }
    agent = Computed("grower", lambda given: {"size": ((given["last"] or {}).get("size", 0)) + 1, **given})
    result = await run(data, agents=[agent])

    assert result.output["size"] == 3
    assert [given["round"] for given in agent.seen] == [1, 2, 3]


async def test_repeat_ends_at_its_bound(run: Run) -> None:
    """It fails, or takes the last output and says so."""
    flow = Flow("flow")
    flow.add("a", agent=Computed("no", lambda _: "no"), repeat=Repeat(until="$output == 'yes'", at_most=2))
    assert getattr((await run(flow)).error.__cause__, "code", None) == "workflow.repeat"  # type: ignore[union-attr]

    flow = Flow("flow")
    repeat = Repeat(until="$output == 'yes'", at_most=2, at_limit="last")
    flow.add("a", agent=Computed("no", lambda _: "no"), repeat=repeat)
    result = await run(flow)
    assert (result.output, len(result.degraded)) == ("no", 1)


# --- cancellation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pauses", range(0, 24, 3))
async def test_a_run_can_be_cancelled_at_any_moment(board: Pegboard, pauses: int) -> None:
    """It ends as cancelled, no child run goes on, and every node that began has an end in the log."""
    gate = Gate()
    flow = Flow("flow", parallel=2)
    first = flow.add("first", run=double, inputs={"n": 1})
    flow.add("agent", agent=Computed("holds", gate.hold), needs=[first])
    flow.add("each", agent=Computed("holds", gate.hold), foreach=[1, 2, 3], needs=[first])
    agent = flow.agent()
    running = asyncio.create_task(board.run(agent, "go", run="r", check=False))
    for _ in range(pauses):
        await asyncio.sleep(0)
    if "r" not in board.running:
        await gate.entered.wait()
    await board.cancel("r", "enough")
    result = await running

    assert result.end_reason == "cancelled"
    assert board.running == ()
    assert all(passed[-1] in ("done", "cancelled") for passed in states(result).values())


async def test_a_task_around_the_run_is_cancelled(board: Pegboard) -> None:
    """Cancelling the caller's own task goes up as a cancellation, and ends what runs."""
    gate = Gate()
    flow = Flow("flow")
    flow.add("agent", agent=Computed("holds", gate.hold))
    running = asyncio.create_task(board.run(flow.agent()))
    await gate.entered.wait()
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert gate.cancelled
    assert board.running == ()


async def test_a_resumed_run_does_not_repeat_what_is_done(board: Pegboard) -> None:
    """Nodes that had ended are read back, with what was degraded; the first that had not is done."""
    calls: list[str] = []
    broken = failing(times=1)

    async def note(name: str) -> str:
        calls.append(name)
        return name

    flow = Flow("flow")
    first = flow.add("first", run=note, inputs={"name": "first"})
    flow.add("optional", agent=failing("never"), required=False)
    second = flow.add("second", agent=broken, needs=[first])
    flow.add("third", run=note, inputs={"name": second})
    agent = flow.agent()
    before = await board.run(agent, "go", run="r", check=False)
    after = await board.resume("r")

    assert not before.ok
    assert after.output == {"optional": after.output["optional"], "third": "at last"}
    assert calls == ["first", "at last"]
    assert [part.what for part in after.degraded] == ["node `optional`"]


async def test_another_process_goes_on_from_the_store(make_board: MakeBoard) -> None:
    """With nothing but what is stored: finished items and rounds are not repeated, what was absent stays absent."""
    store = MemoryStore()
    calls: list[Any] = []
    broken = failing("breaks", times=1)

    async def note(item: Any) -> Any:
        calls.append(item)
        return {"item": item}

    def flow() -> Flow:
        flow = Flow("flow")
        each = flow.add("each", run=note, foreach=[1, 2], inputs={"item": flow.item})
        lost = flow.add("lost", agent=failing("lost", times=1), required=False)
        rounds = flow.add("rounds", run=note, inputs={"item": 3}, repeat=Repeat(until="$round == 2", at_most=2))
        last = flow.add("last", agent=broken, needs=[each, rounds])
        flow.output = {"each": each, "rounds": rounds, "lost": lost.or_none(), "last": last}
        return flow

    first = await make_board(plugins=[Plugin()], store=store)
    agent = flow().agent()
    await first.add_agent(agent)
    assert not (await first.run("flow", "go", run="r", check=False)).ok
    second = await make_board(plugins=[Plugin()], store=store)
    await second.add_agent(flow().agent())
    result = await second.resume("r")

    assert result.output == {"each": [{"item": 1}, {"item": 2}], "rounds": {"item": 3}, "lost": None, "last": "at last"}
    assert sorted(calls) == [1, 2, 3, 3]
    assert [part.what for part in result.degraded] == ["node `lost`"]


@pytest.mark.parametrize("kind", ["foreach", "repeat"])
async def test_finished_items_and_rounds_are_not_repeated(make_board: MakeBoard, kind: str) -> None:
    """A node that was cut off in the middle goes on at the item, or the round, that had not ended."""
    store = MemoryStore()
    calls: list[int] = []

    async def note(n: int) -> int:
        calls.append(n)
        if calls.count(3) == 1 and n == 3:
            raise Fault("three is hard")
        return n

    flow = Flow("flow")
    if kind == "foreach":
        flow.add("a", run=note, foreach=[1, 2, 3, 4], inputs={"n": flow.item}, concurrency=1)
    else:
        flow.add("a", run=note, inputs={"n": "$round"}, repeat=Repeat(until="$output == 4", at_most=9))
    for resumed in (False, True):
        board = await make_board(plugins=[Plugin()], store=store)
        await board.add_agent(flow.agent())
        result = await (board.resume("r") if resumed else board.run("flow", "go", run="r", check=False))

    assert result.ok
    assert calls == [1, 2, 3, 3, 4]


@pytest.mark.parametrize("stop_at", range(1, 9))
async def test_a_run_that_is_cut_off_anywhere_comes_to_the_same_end(make_board: MakeBoard, stop_at: int) -> None:
    """Whatever was under way when it was cancelled: no finished node runs twice, and the output is the same."""
    store = MemoryStore()
    first = await make_board(plugins=[Plugin()], store=store)
    done: list[int] = []
    began = 0

    async def work(n: int, ctx: Any) -> int:
        nonlocal began
        began += 1
        if began == stop_at:
            asyncio.ensure_future(first.cancel("r"))  # noqa: RUF006  # the run ends with it
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        done.append(n)
        return n + 1

    flow = Flow("flow", parallel=2)
    last = flow.add("n0", run=work, inputs={"n": 0})
    for number in range(1, 6):
        flow.add(f"side{number}", run=work, inputs={"n": number * 100}, needs=[last])
        last = flow.add(f"n{number}", run=work, inputs={"n": last})
    agent = flow.agent()
    await first.add_agent(agent)
    before = await first.run("flow", "go", run="r", check=False)
    again = await make_board(plugins=[Plugin()], store=store)
    await again.add_agent(agent)
    after = await again.resume("r")

    assert before.end_reason == "cancelled"
    assert after.output["n5"] == 6
    assert len(done) == len(set(done)) == 11


# --- events ------------------------------------------------------------------------------------------------------


async def test_the_graph_is_told_once_before_its_nodes(run: Run) -> None:
    """A display draws it before anything moves."""
    result = await run({"name": "x", "nodes": {"a": {"transform": "text"}, "b": {"transform": "text", "needs": ["a"]}}})
    kinds = [event.kind for event in result.events if event.kind.startswith("workflow.")]

    assert kinds[0] == "workflow.graph"
    assert kinds.count("workflow.graph") == 1
    graph = next(event.data for event in result.events if event.kind == "workflow.graph")
    assert graph == {
        "name": "x",
        "nodes": [{"id": "a", "needs": [], "agent": "text"}, {"id": "b", "needs": ["a"], "agent": "text"}],
    }
    assert states(result) == {"a": ["running", "done"], "b": ["running", "done"]}
