"""Copies of a run that go on from its past, and replays that play it back and do nothing new."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pegboard import Agent, Pegboard, RunContext, RunResult, ToolContext, hookimpl, tool, views
from pegboard.errors import JournalDivergedError, RunBusyError, RunNotFoundError, ToolUnsafeUnknownError
from pegboard.events import Event
from pegboard.journal import Journal
from pegboard.memory import MemoryStore
from pegboard.types import ModelRequest, RunState, to_json, tool_result
from pegboard_replay import FunctionModel, Gate, ScriptedModel, call
from pegboard_testing import FakeTool

CALLS: list[int] = []


class LastingStore(MemoryStore):
    """A store that says it outlives the process, so that requests are recorded."""

    durable = True


@tool(effect="idempotent", inline=True)
def act(n: int) -> int:
    """Do something that is counted."""
    CALLS.append(n)
    return n


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


def worker(*answers: Any) -> Agent:
    return Agent("worker", model=ScriptedModel(list(answers)), tools=[act])


async def done(board: Pegboard, *answers: Any) -> RunResult:
    return await board.run(worker(*answers), "go", run="first")


# --- forks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False], ids=["store", "memory"])
async def test_a_copy_goes_on_before_a_step(kept: bool) -> None:
    """What was recorded before the step is read back; the step and all after it are done anew, under the new id."""
    async with Pegboard(store=LastingStore() if kept else None) as board:
        await done(board, call("act", n=1), "one", "two")
        copy = await board.fork("first", before="model.request#2")
        result = await board.resume(copy)

        assert (result.run, result.output, CALLS) == (copy, "two", [1])
        assert (await board.replay("first")).output == "one"


async def test_a_copy_of_all_has_the_same_answer() -> None:
    """Nothing is left to do."""
    async with Pegboard() as board:
        first = await done(board, call("act", n=1), "one")
        copy = await board.resume(await board.fork("first"))

    assert (copy.output, len(CALLS)) == (first.output, 1)


async def test_a_copy_says_where_it_comes_from() -> None:
    """Its events are its own, numbered without a gap, and tell of the fork."""
    store = LastingStore()
    async with Pegboard(store=store) as board:
        await done(board, "one")
        copy = await board.fork("first")
        row, events, _ = await store.load(copy)

    assert [event.seq for event in events] == list(range(len(events)))
    assert (events[-1].kind, events[-1].data["forked_from"], row.state) == ("run.forked", "first", "paused")
    assert {event.run for event in events} == {copy}


class Payment(FakeTool):
    """An effect that nobody wants twice; its first life is cut off after it happened."""

    def __init__(self) -> None:
        super().__init__("pay", effect="unsafe")
        self.gate = Gate()
        self.times = 0

    async def execute(self, args: Any, ctx: ToolContext) -> Any:
        self.times += 1
        if self.times == 1:
            await self.gate.wait()
        return tool_result(ctx.call.id, "paid anew")


def payer(pay: Payment) -> Agent:
    def answer(request: ModelRequest) -> Any:
        return call("pay") if len(request.messages) == 1 else request.messages[-1].parts[0].content[0].text  # type: ignore[union-attr]  # a tool's result

    return Agent("payer", model=FunctionModel(answer), tools=[pay])


async def paid_and_cut_off(board: Pegboard, pay: Payment) -> None:
    running = asyncio.create_task(board.run(payer(pay), "go", run="first", check=False))
    await pay.gate.reached()
    await board.cancel("first")
    await running


async def test_a_copy_does_not_repeat_what_may_have_happened() -> None:
    """A copy whose past has an unsafe step without an outcome is refused; one from before that step is not."""
    async with Pegboard(store=LastingStore()) as board:
        await paid_and_cut_off(board, pay := Payment())
        with pytest.raises(ToolUnsafeUnknownError) as caught:
            await board.fork("first")
        copy = await board.fork("first", before="tool.call:pay#1")
        result = await board.resume(copy)

    assert caught.value.hint == "peg runs resolve first tool.call:pay#1 done"
    assert (result.output, pay.times) == ("paid anew", 2)


# --- what a person knows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "told", "times"),
    [(to_json(tool_result("call_1", "paid already")), "paid already", 1), (None, "paid anew", 2)],
    ids=["done", "redo"],
)
async def test_a_person_says_what_became_of_a_step(result: Any, told: str, times: int) -> None:
    """Its result is read back, or it is done again; until then the run waits, and copies of it can go on as well."""
    store, pay = LastingStore(), Payment()
    async with Pegboard(store=store) as board:
        await paid_and_cut_off(board, pay)
    _, events, _ = await store.load("first")
    assert views.unresolved(events) == ("tool.call:pay#1",)
    journal = await Journal.load(store, "first", board.clock)

    journal.reconcile("tool.call:pay#1", result, outcome="said")
    await journal.flush(barrier=True)

    row, events, _ = await store.load("first")
    assert (row.state, views.unresolved(events)) == ("paused", ())
    async with Pegboard(store=store, agents=[payer(pay)]) as board:
        copy = await board.fork("first")
        assert ((await board.resume("first")).output, pay.times) == (told, times)
        assert (await board.resume(copy)).output == told


async def test_of_a_step_that_is_not_in_doubt_nothing_is_said() -> None:
    """The message names those that are."""
    store = LastingStore()
    async with Pegboard(store=store) as board:
        await paid_and_cut_off(board, Payment())
    journal = await Journal.load(store, "first", board.clock)

    with pytest.raises(RunNotFoundError, match=r"steps in doubt: `tool\.call:pay#1`"):
        journal.reconcile("model.request#1", None)


async def test_a_step_that_is_not_there_is_said() -> None:
    """The hint shows those that are."""
    async with Pegboard() as board:
        await done(board, "one")
        with pytest.raises(RunNotFoundError, match="no step `model") as caught:
            await board.fork("first", before="model.request#9")

    assert caught.value.hint == "peg runs show first"


# --- replays -----------------------------------------------------------------------------------------------------


async def test_a_replay_asks_nobody() -> None:
    """Same answer, no call, nothing stored."""
    store = LastingStore()
    async with Pegboard(store=store) as board:
        await done(board, call("act", n=1), "one")
        again = await board.replay("first")
        kept = [row.run for row in await store.runs()]

    assert (again.output, CALLS, kept) == ("one", [1], ["first"])


async def test_a_plugin_knows_that_a_run_is_only_read_back() -> None:
    """`replaying` is false live and true throughout a replay, so that nobody is told of it a second time."""
    seen: list[bool] = []

    class Notifier:
        @hookimpl
        async def execution(self, ctx: RunContext, state: RunState, call_next: Any) -> RunState:
            state = await call_next(state)
            seen.append(ctx.replaying)
            return state

    async with Pegboard(plugins=[Notifier()], store=LastingStore()) as board:
        await done(board, call("act", n=1), "one")
        await board.replay("first")

    assert seen == [False, True]


async def test_a_replay_of_what_was_not_recorded_is_refused() -> None:
    """A missing recording is a loud difference, never a live call."""
    async with Pegboard(store=LastingStore()) as board:
        await done(board, call("act", n=1), "one")
        copy = await board.fork("first", before="model.request#2")
        result = await board.replay(copy)

    assert isinstance(result.error, JournalDivergedError)
    assert "nothing was recorded" in result.error.message


async def test_an_id_is_started_once() -> None:
    """A second run under it would be taken for the first."""
    async with Pegboard() as board:
        await done(board, "one")
        with pytest.raises(RunBusyError, match="was started before"):
            await done(board, "two")


# --- requests ----------------------------------------------------------------------------------------------------


async def recorded(store: MemoryStore, run: str) -> list[Event]:
    _, events, _ = await store.load(run)
    return list(events)


async def test_each_request_can_be_read_as_it_was_sent() -> None:
    """Only what is new is recorded; put together it is the whole."""
    store, model = LastingStore(), ScriptedModel([call("act", n=1), "one"])
    async with Pegboard(store=store) as board:
        await board.run(Agent("worker", model=model, tools=[act], instructions="be terse"), "go", run="first")
    events = await recorded(store, "first")
    first, second = views.requests(events)

    assert [len(sent["messages"]) for sent in (first, second)] == [1, 3]
    assert second["instructions"] == "be terse"
    assert [len(e.data["messages"]) for e in events if e.kind == "model.requested"] == [1, 2]


async def test_without_a_lasting_store_no_request_is_recorded() -> None:
    """Nobody could read it later."""
    async with Pegboard() as board:
        result = await done(board, "one")

    assert [event for event in result.events if event.kind == "model.requested"] == []


async def test_the_row_says_what_it_came_to() -> None:
    """So that a list of runs reads no events."""
    store = LastingStore()
    async with Pegboard(store=store) as board:
        await done(board, "one")
    (row,) = await store.runs()

    assert row.summary is not None
    assert (row.task, row.state, row.summary["end_reason"], row.summary["turns"]) == ("go", "done", "completed", 1)
    assert row.ended_at is not None
    assert row.ended_at >= row.at


async def test_a_journal_of_another_process_is_replayed() -> None:
    """With nothing but what the store has."""
    store = LastingStore()
    async with Pegboard(store=store, agents=[worker(call("act", n=1), "one")]) as board:
        await board.run("worker", "go", run="first")
    async with Pegboard(store=store, agents=[worker()]) as other:
        assert (await other.replay("first")).output == "one"
    assert (await Journal.load(store, "first", other.clock)).row.run == "first"
