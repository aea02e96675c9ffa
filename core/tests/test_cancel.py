"""Cancellation at every await: the history stays valid, the run can be resumed, and nothing unsafe happens twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pegboard import Agent, Pegboard, RunResult, ToolContext, tool
from pegboard.errors import RunCancelledError
from pegboard.history import settled
from pegboard.journal import Journal
from pegboard.memory import MemoryStore
from pegboard.model import ModelBase
from pegboard.run import Run
from pegboard.types import (
    Allow,
    Approval,
    Ask,
    Finish,
    ModelChunk,
    ModelRequest,
    RunState,
    StreamEvent,
    ToolCall,
    ToolResult,
    Usage,
)
from pegboard_replay import ScriptedModel, call

if TYPE_CHECKING:
    from core.tests.conftest import Bench

How = Literal["task", "board"]


class Points:
    """The places where something waits; at one of them the run is cancelled."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.seen = 0
        self.cancel: Callable[[], None] = lambda: None

    async def wait(self) -> None:
        self.seen += 1
        if self.seen == self.at:
            self.cancel()
        await asyncio.sleep(0)


class SlowStore(MemoryStore):
    """A store that takes its time, so that a run may be cancelled while it is written."""

    async def append(self, *args: Any, **options: Any) -> None:
        await asyncio.sleep(0)
        await super().append(*args, **options)
        await asyncio.sleep(0)


class Ledger:
    """What the tools really did, over all lives of a run."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done: list[str] = []


SCRIPT: list[list[ToolCall] | str] = [
    [ToolCall(id="a", name="look", arguments={"n": 1}), ToolCall(id="b", name="pay", arguments={"n": 1})],
    [ToolCall(id="c", name="pay", arguments={"n": 2})],
    [ToolCall(id="d", name="delegate"), ToolCall(id="e", name="look", arguments={"n": 2})],
    "done",
]
CHILD: list[list[ToolCall] | str] = [[ToolCall(id="f", name="pay", arguments={"n": 3})], "from the child"]


class Stepping(ModelBase):
    """Answers by how much was said already, so that it goes on where a history ends, and waits between chunks."""

    provider = "stepping"

    def __init__(self, points: Points, script: list[list[ToolCall] | str], name: str) -> None:
        self.name = name
        self._points = points
        self._script = script

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        answers = sum(message.role == "assistant" for message in request.messages)
        await self._points.wait()
        answer = self._script[answers]
        for item in [answer] if isinstance(answer, str) else answer:
            yield ModelChunk(text=item) if isinstance(item, str) else ModelChunk(tool_call=item)
            await self._points.wait()
        yield ModelChunk(finish=Finish("stop", Usage(1, 1)))


def equipped(bench: Bench, points: Points, ledger: Ledger) -> Agent:
    """An agent whose tools, model and plugins wait at every turn."""

    @tool(effect="pure")
    async def look(n: int) -> str:
        """Look."""
        await points.wait()
        return f"seen {n}"

    @tool(effect="unsafe")
    async def pay(n: int) -> str:
        """Pay."""
        ledger.begun.append(f"pay {n}")
        await points.wait()
        ledger.done.append(f"pay {n}")
        await points.wait()
        return f"paid {n}"

    @tool(effect="pure")
    async def delegate(ctx: ToolContext) -> str:
        """Delegate."""
        child = Agent("child", model="child", tools=[pay])
        return str((await ctx.run.call_agent(child, "go")).output)

    async def phase(state: RunState, call_next: Callable[[RunState], Awaitable[RunState]]) -> RunState:
        await points.wait()
        state = await call_next(state)
        await points.wait()
        return state

    async def tool_call(call: ToolCall, call_next: Callable[[ToolCall], Awaitable[ToolResult]]) -> ToolResult:
        await points.wait()
        result = await call_next(call)
        await points.wait()
        return result

    async def authorize(action: Any) -> Any:
        await points.wait()
        return Ask() if action.arguments == {"n": 2} else Allow()

    async def request_approval(request: Any) -> Approval:
        await points.wait()
        return Approval(id=request.id, granted=True)

    bench.models["child"] = Stepping(points, CHILD, "child")
    phases = ("initialization", "execution", "task_initiation", "execution_phase", "state_cleanup", "cleanup")
    bench.plug(
        **dict.fromkeys(phases, phase), tool_call=tool_call, authorize=authorize, request_approval=request_approval
    )
    return Agent("a", tools=[look, pay, delegate])


def canceller(how: How, run: Run, task: asyncio.Future[Any]) -> Callable[[], None]:
    """What cancels a run: the task around it, or the board by the run's name."""

    def cancel() -> None:
        if how == "board":
            if run.cancel.cancelled:
                return
            run.cancel.cancelled = True
        task.cancel()

    return cancel


async def life(bench: Bench, run: Run, how: How, points: Points) -> RunResult:
    """One life of a run, with its result also when it was cancelled."""
    task = asyncio.ensure_future(bench.runner().drive(run))
    points.cancel = canceller(how, run, task)
    try:
        return await task
    except asyncio.CancelledError as error:
        assert how == "task"
        assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]  # in a test there is one
        result: RunResult = error.run  # type: ignore[attr-defined]  # where a cancelled run leaves its result
        return result


def check(bench: Bench, result: RunResult) -> None:
    bench.check(result)
    assert settled(list(result.messages)) == list(result.messages)


async def finish(bench: Bench, before: RunResult, ledger: Ledger, agent: Agent) -> None:
    """The next life completes the run, unless an effect is in doubt; either way nothing unsafe happened twice."""
    points = Points()
    bench.models["child"] = Stepping(points, CHILD, "child")
    journal = before.journal.again()
    if bench.store is not None:  # as in another process
        bench.children.clear()
        journal = await Journal.load(bench.store, before.run, bench.clock)
    run = bench.prepare(Stepping(points, SCRIPT, "m"), agent=agent, run=before.run, journal=journal)
    result = await life(bench, run, "task", points)
    check(bench, result)
    in_doubt = result.end_reason == "needs_approval"
    assert result.output == ("done" if not in_doubt else None), (result.end_reason, result.error)
    assert sorted(ledger.begun) == sorted(set(ledger.begun))
    if not in_doubt:
        assert sorted(ledger.done) == ["pay 1", "pay 2", "pay 3"]


async def count_points(make_bench: type[Bench]) -> int:
    bench, points, ledger = make_bench(), Points(), Ledger()
    agent = equipped(bench, points, ledger)
    result = await bench.run(Stepping(points, SCRIPT, "m"), agent=agent)
    assert (result.output, ledger.done) == ("done", ["pay 1", "pay 2", "pay 3"])
    return points.seen


@pytest.mark.parametrize("how", ["task", "board"])
@pytest.mark.parametrize("store", [False, True], ids=["memory", "store"])
async def test_cancelled_wherever_something_waits(make_bench: type[Bench], how: How, store: bool) -> None:
    """Model, tools, gates, layers, phases and child runs: cancelled at the n-th wait, for every n."""
    total = await count_points(make_bench)
    assert total > 50
    for at in range(1, total + 1):
        bench = make_bench(store=SlowStore() if store else None)
        points, ledger = Points(at), Ledger()
        agent = equipped(bench, points, ledger)
        run = bench.prepare(Stepping(points, SCRIPT, "m"), agent=agent)
        result = await life(bench, run, how, points)
        check(bench, result)
        assert result.end_reason == "cancelled" or (result.output == "done" and at > total - 4), at
        if how == "board" and result.end_reason == "cancelled":
            assert isinstance(result.error, RunCancelledError)
        if not result.ok:
            await finish(bench, result, ledger, agent)


@pytest.mark.parametrize("how", ["task", "board"])
async def test_cancelled_at_every_step_of_the_loop(make_bench: type[Bench], how: How) -> None:
    """Also where core itself waits: cancelled after every number of passes of the event loop."""
    passes = 0
    while True:
        bench = make_bench(store=SlowStore())
        points, ledger = Points(), Ledger()
        agent = equipped(bench, points, ledger)
        run = bench.prepare(Stepping(points, SCRIPT, "m"), agent=agent)
        task = asyncio.ensure_future(bench.runner().drive(run))
        for _ in range(passes):
            await asyncio.sleep(0)
        if task.done():
            break
        canceller(how, run, task)()
        try:
            result = await task
        except asyncio.CancelledError as error:
            if not hasattr(error, "run"):  # it had not even begun
                passes += 1
                continue
            result = error.run
        check(bench, result)
        if result.end_reason == "cancelled":
            await finish(bench, result, ledger, agent)
        passes += 1
    assert passes > 100


async def test_closed_at_every_event_of_its_stream(make_bench: type[Bench]) -> None:
    """Whoever stops reading cancels the run, with the same promises."""
    bench, points, ledger = make_bench(), Points(), Ledger()
    agent = equipped(bench, points, ledger)
    whole = [e async for e in bench.runner(Stepping(points, SCRIPT, "m")).stream_response(agent, "go")]
    for after in range(1, len(whole)):
        bench, points, ledger = make_bench(), Points(), Ledger()
        agent = equipped(bench, points, ledger)
        run = bench.prepare(Stepping(points, SCRIPT, "m"), agent=agent)
        seen: list[StreamEvent] = []
        async with aclosing(bench.runner().stream(run)) as events:
            async for event in events:
                seen.append(event)
                if len(seen) == after:
                    break
        result = run.result(end_reason="cancelled")
        check(bench, result)
        await finish(bench, result, ledger, agent)


async def test_cancelled_twice(make_bench: type[Bench]) -> None:
    """A second cancellation while the first one is being served leaves a valid history too."""
    total = await count_points(make_bench)
    for at in range(1, total + 1, 3):
        bench, points, ledger = make_bench(), Points(at), Ledger()
        agent = equipped(bench, points, ledger)
        run = bench.prepare(Stepping(points, SCRIPT, "m"), agent=agent)
        task = asyncio.ensure_future(bench.runner().drive(run))

        def cancel(task: asyncio.Future[Any] = task) -> None:
            task.cancel()
            asyncio.get_running_loop().call_soon(task.cancel)

        points.cancel = cancel
        await asyncio.wait({task})
        if not task.cancelled():
            continue
        check(bench, run.result(end_reason="cancelled"))
        await finish(bench, run.result(end_reason="cancelled"), ledger, agent)


async def test_a_cancelled_run_leaves_no_task_behind(make_bench: type[Bench]) -> None:
    """Everything that was started for it has ended when it has."""
    total = await count_points(make_bench)
    before = asyncio.all_tasks()
    for at in range(1, total + 1, 5):
        bench, points, ledger = make_bench(), Points(at), Ledger()
        agent = equipped(bench, points, ledger)
        await life(bench, bench.prepare(Stepping(points, SCRIPT, "m"), agent=agent), "task", points)
        assert asyncio.all_tasks() == before


async def test_a_tool_in_a_thread_may_ask_whether_to_stop(bench: Bench) -> None:
    """A plain function cannot be cancelled; it can look."""
    started, seen = threading.Event(), threading.Event()

    @tool(effect="pure")
    def work(ctx: ToolContext) -> None:
        """Work until told to stop."""
        started.set()
        while not ctx.run.cancel.cancelled:
            pass
        seen.set()

    points = Points()
    run = bench.prepare(Stepping(points, [[ToolCall(id="a", name="work")], "done"], "m"), tools=[work])
    task = asyncio.ensure_future(bench.runner().drive(run))
    assert await asyncio.to_thread(started.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await asyncio.to_thread(seen.wait, 5)


@pytest.mark.parametrize(("durable", "hint"), [(True, "peg runs resume r1"), (False, None)])
async def test_a_later_resume_is_promised_only_where_it_is_possible(durable: bool, hint: str | None) -> None:
    """The command in the hint is of no use with a store that forgets with the process."""
    started, store = asyncio.Event(), MemoryStore()
    store.durable = durable

    @tool(effect="pure")
    async def wait() -> None:
        """Wait for ever."""
        started.set()
        await asyncio.Event().wait()

    async with Pegboard(store=store) as board:
        agent = Agent("a", model=ScriptedModel([call("wait")]), tools=[wait])
        running = asyncio.create_task(board.run(agent, "go", run="r1", check=False))
        await started.wait()
        await board.cancel("r1")
        error = (await running).error

    assert isinstance(error, RunCancelledError)
    assert error.hint == hint
