"""The journal: step ids, records, what is read back, and the store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from pegboard.errors import (
    JournalDivergedError,
    JournalUnserializableError,
    RunBusyError,
    RunNotFoundError,
    StorageExhaustedError,
)
from pegboard.events import Event, EventLog
from pegboard.interfaces import RunRow, StepRecord
from pegboard.journal import BLOB_AT_BYTES, OPERATIONS, Journal, code_of, decode, digest_of
from pegboard.memory import MemoryStore, blob_ref
from pegboard.types import (
    ContextBuild,
    Degradation,
    Message,
    ModelRequest,
    ModelResponse,
    Opaque,
    Part,
    RunResult,
    Text,
    Thinking,
    ToolCall,
    Usage,
    tool_result,
)
from pegboard_testing import FakeClock

ROW = RunRow(run="r1", root="r1")


def journal(store: MemoryStore | None = None, watch: Any = None, scrub: Any = None) -> Journal:
    log = Journal(ROW, FakeClock(), store=store)
    log.attach(watch, scrub)
    return log


async def number(n: int = 1) -> int:
    return n


async def broken() -> int:
    raise ValueError("no")


# --- ids ---------------------------------------------------------------------------------------------------------


def test_operation_names_are_data() -> None:
    """They stand in stores, so the list changes only on purpose."""
    assert OPERATIONS == ("model.request", "tool.call:", "agent.call:", "context.build", "approval:", "plugin:")


def test_steps_are_counted_by_operation() -> None:
    """An id is the operation and how often it came so far."""
    log = journal()

    assert [log.open(op, None).id for op in ("a", "b", "a")] == ["a#1", "b#1", "a#2"]


async def test_steps_inside_a_step_are_counted_apart() -> None:
    """What happens inside a step that is read back does not move the numbers of what follows it."""
    log = journal()
    outer = log.open("tool.call:x", None)
    log.start(outer)
    inner = log.open("plugin:y", None)
    log.start(inner)
    log.finish(inner, 1)
    log.finish(outer, 1)
    after = log.open("plugin:y", None)

    assert [step.id for step in (outer, inner, after)] == ["tool.call:x#1", "tool.call:x#1/plugin:y#1", "plugin:y#1"]


async def test_parallel_steps_keep_what_is_inside_them() -> None:
    """However two tasks interleave, each counts by itself."""
    log = journal()
    ids: list[str] = []

    async def one(step: Any) -> None:
        log.start(step)
        for _ in range(2):
            await asyncio.sleep(0)
            ids.append(log.open("plugin:y", None).id)
        log.finish(step, 1)

    await asyncio.gather(*(one(log.open("tool.call:x", n)) for n in range(2)))

    assert sorted(ids) == [f"tool.call:x#{n}/plugin:y#{m}" for n in (1, 2) for m in (1, 2)]


async def test_a_repeated_step_begins_with_its_first_inner_step() -> None:
    """What an attempt did before it failed is read back in the next one."""
    log = journal()
    done: list[int] = []

    async def draw() -> int:
        done.append(1)
        return 1

    async def attempt(fails: bool) -> None:
        step = log.open("model.request", None)
        log.start(step)
        await log.step("plugin:draw", None, draw)
        if fails:
            log.fail(step, ValueError("x"))
            log.reopen(step)
        else:
            log.finish(step, 1)

    await attempt(True)
    await attempt(False)

    assert len(done) == 1


# --- steps -------------------------------------------------------------------------------------------------------


async def test_a_step_is_done_once() -> None:
    """Another life reads the result back."""
    log = journal()
    assert await log.step("plugin:x", {"a": 1}, number) == 1

    again = log.again()
    assert await again.step("plugin:x", {"a": 1}, lambda: number(2)) == 1
    assert await again.step("plugin:x", {"a": 1}, lambda: number(3)) == 3


async def test_a_step_without_result_is_done_once_too() -> None:
    """`None` is a result."""
    log = journal()
    calls: list[int] = []

    async def nothing() -> None:
        calls.append(1)

    await log.step("plugin:x", None, nothing)
    await log.again().step("plugin:x", None, nothing)

    assert calls == [1]


async def test_a_failed_step_is_tried_again() -> None:
    """Its error was recorded, and the next life makes another attempt, also with other parameters."""
    log = journal()
    with pytest.raises(ValueError, match="no"):
        await log.step("plugin:x", 1, broken)

    again = log.again()
    step = again.open("plugin:x", 2)
    assert (step.id, step.attempt, step.recorded) == ("plugin:x#1", 2, None)


async def test_other_parameters_are_a_divergence() -> None:
    """A replay that asks for something else is stopped; nothing is papered over."""
    log = journal()
    await log.step("plugin:x", {"a": 1}, number)

    with pytest.raises(JournalDivergedError, match=r"run `r1`, step `plugin:x#1`: recorded with other parameters"):
        log.again().open("plugin:x", {"a": 2})


async def test_other_parameters_are_noticed_by_their_digest() -> None:
    """Also where only a store knows what was recorded."""
    store = MemoryStore()
    await journal(store=store).step("plugin:x", {"a": 1}, number)
    again = await Journal.load(store, "r1", FakeClock())

    with pytest.raises(JournalDivergedError):
        again.open("plugin:x", {"a": 2})


def test_a_digest_does_not_depend_on_the_run() -> None:
    """The same request of another run has the same digest; keys may come in any order."""
    messages = (Message.user("hi"),)
    one, other = (ModelRequest(model="m", messages=messages, run=run) for run in ("a", "b"))

    assert digest_of(one) == digest_of(other)
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of(one) != digest_of(ModelRequest(model="n", messages=messages))


async def test_an_intent_without_outcome_stays_one() -> None:
    """A failure after the intent does not say whether the effect happened."""
    log = journal()
    step = log.open("tool.call:x", None, "unsafe")
    log.start(step)
    await log.intend(step, "key")
    log.fail(step, asyncio.CancelledError())

    again = log.again().open("tool.call:x", None, "unsafe")
    assert again.recorded is not None
    assert again.recorded.state == "intent"
    assert [e.data["code"] for e in log.events if e.kind == "step.failed"] == ["cancelled"]


async def test_an_intent_is_in_the_store_before_the_effect() -> None:
    """It is flushed as a barrier; the outcome is written after."""
    barriers: list[list[str]] = []

    class Watching(MemoryStore):
        async def append(
            self, row: RunRow, events: Sequence[Event], steps: Sequence[StepRecord], *, barrier: bool = False
        ) -> None:
            if barrier:
                barriers.append([record.state for record in steps])
            await super().append(row, events, steps, barrier=barrier)

    log = journal(store=Watching())
    step = log.open("tool.call:x", None, "unsafe")
    log.start(step)
    await log.intend(step, "key")
    assert barriers == [["intent"]]

    log.finish(step, tool_result("c", "done"))
    assert [e.kind for e in log.events][-2:] == ["effect.done", "step.done"]


# --- records as json ---------------------------------------------------------------------------------------------

BOUND = Opaque(provider="p", model="m", kind="k", data={"x": 1})


@pytest.mark.parametrize(
    ("op", "value"),
    [
        pytest.param(
            "model.request",
            ModelResponse(
                parts=(Text("a"), Thinking("b", bound=BOUND), ToolCall(id="1", name="x", bound=BOUND), BOUND),
                finish="tool_calls",
                usage=Usage(1, 2, source="provider"),
                model="p:m",
            ),
            id="model",
        ),
        pytest.param("tool.call:x", tool_result("c", "text", status="error", code="x"), id="tool"),
        pytest.param(
            "context.build",
            ContextBuild(
                parts=(Part(id="a", owner="o", kind="k", text="t", tokens=1),),
                degraded=(Degradation(what="a", why="b"),),
                used=1,
            ),
            id="context",
        ),
        pytest.param(
            "agent.call:x",
            RunResult(run="c", agent="x", output={"a": 1}, turns=2, usage=Usage(1, 2), cost_usd=0.5),
            id="agent",
        ),
        pytest.param("plugin:x", {"a": [1, None]}, id="plugin"),
    ],
)
async def test_results_survive_the_store(op: str, value: Any) -> None:
    """What another process reads back is what was recorded."""
    store = MemoryStore()
    log = journal(store=store)
    step = log.open(op, None)
    log.start(step)
    log.finish(step, value)
    await log.flush()

    again = await Journal.load(store, "r1", FakeClock())
    assert again.result(again.open(op, None)) == value


async def test_a_large_result_is_kept_as_a_blob() -> None:
    """The record holds a handle, and another life gets the whole."""
    store = MemoryStore()
    log = journal(store=store)
    text = "x" * (BLOB_AT_BYTES + 1)
    step = log.open("plugin:x", None)
    log.start(step)
    log.finish(step, text)
    await log.flush()
    _, events, (record,) = await store.load("r1")
    assert (record.result, record.artifact is not None) == (None, True)

    again = await Journal.load(store, "r1", FakeClock())
    assert again.result(again.open("plugin:x", None)) == text
    assert len(events) == 2


async def test_a_result_that_is_not_json_fails_at_once() -> None:
    """With a store it cannot be recorded, and that is said where it happened."""
    log = journal(store=MemoryStore())

    async def odd() -> object:
        return object()

    with pytest.raises(JournalUnserializableError, match=r"step `plugin:x#1` is not JSON"):
        await log.step("plugin:x", None, odd)


async def test_without_a_store_live_values_are_kept() -> None:
    """Nothing is encoded, so anything may be a result."""
    value = object()

    async def odd() -> object:
        return value

    log = journal()
    await log.step("plugin:x", None, odd)

    assert await log.again().step("plugin:x", None, odd) is value


def test_an_unknown_operation_is_plain_json() -> None:
    """Plugins get back what they gave."""
    assert decode("plugin:x", [1]) == [1]


# --- the store ---------------------------------------------------------------------------------------------------


async def test_what_is_new_is_handed_over_once() -> None:
    """Each flush gives the events and steps since the last one."""
    store = MemoryStore()
    log = journal(store=store)
    log.emit("run.started", {})
    await log.step("plugin:x", None, number)
    await log.flush()
    await log.end("done", RunResult(run="r1", turns=2))
    row, events, steps = await store.load("r1")

    assert [event.seq for event in events] == [0, 1, 2]
    assert [record.step for record in steps] == ["plugin:x#1"]
    assert (row.state, log.durable, log.flushes) == ("done", False, True)
    assert row.summary is not None
    assert (row.summary["turns"], row.ended_at is not None) == (2, True)


async def test_flushes_do_not_overtake_one_another() -> None:
    """Parallel calls may flush at once; the events arrive in order and once."""

    class Slow(MemoryStore):
        async def append(self, *args: Any, **options: Any) -> None:
            await asyncio.sleep(0)
            await super().append(*args, **options)

    store = Slow()
    log = journal(store=store)

    async def one(n: int) -> None:
        log.emit("x.y", {"n": n})
        await log.flush()

    await asyncio.gather(*(one(n) for n in range(9)))
    assert [event.data["n"] for event in (await store.load("r1"))[1]] == list(range(9))


async def test_those_who_flush_in_one_tick_share_a_write() -> None:
    """A thousand nodes may end at once, and what is new is not put together anew for each of them."""
    taken: list[tuple[int, bool]] = []

    class Counting(MemoryStore):
        async def append(self, row: Any, events: Any, steps: Any, *, barrier: bool = False) -> None:
            taken.append((len(events), barrier))

    log = journal(store=Counting())

    async def one(number: int) -> None:
        log.emit("a.b", {"number": number})
        await log.flush(barrier=number == 500)

    await asyncio.gather(*map(one, range(1000)))
    log.emit("a.b", {})
    await log.flush()

    assert taken == [(1000, True), (1, False)]


async def test_a_second_writer_is_refused() -> None:
    """Two lives of one run at once would corrupt it."""
    store = MemoryStore()
    one, other = journal(store=store), journal(store=store)
    one.emit("run.started", {})
    other.emit("run.started", {})
    await one.flush()

    with pytest.raises(RunBusyError, match="written by somebody else"):
        await other.flush()


async def test_what_could_not_be_stored_is_not_forgotten() -> None:
    """After a failure of the store the next flush hands everything over."""

    class Full(MemoryStore):
        full = True

        async def append(self, *args: Any, **options: Any) -> None:
            if self.full:
                raise StorageExhaustedError("disk full")
            await super().append(*args, **options)

    store = Full()
    log = journal(store=store)
    with pytest.raises(StorageExhaustedError):
        await log.step("plugin:x", None, number)
    store.full = False
    await log.flush()
    _, events, steps = await store.load("r1")

    assert ([record.step for record in steps], len(events)) == (["plugin:x#1"], 2)


async def test_a_memory_store_keeps_a_number_of_runs() -> None:
    """The oldest is forgotten first; runs are listed newest first, by tree if wanted."""
    store = MemoryStore(keep=2)
    for name, root in (("a", "a"), ("b", "b"), ("c", "b")):
        await store.append(RunRow(run=name, root=root), [], [])

    assert [row.run for row in await store.runs()] == ["c", "b"]
    assert [row.run for row in await store.runs(root="b", limit=1)] == ["c"]
    with pytest.raises(RunNotFoundError, match="no run `a`"):
        await store.load("a")


async def test_blobs_are_named_by_their_content() -> None:
    """The same bytes have one handle, and may be read in slices."""
    store = MemoryStore()
    ref = await store.put_blob(b"hello")

    assert ref == blob_ref(b"hello") == await store.put_blob(b"hello")
    assert (await store.get_blob(ref, 1), await store.get_blob(ref, 1, 3)) == (b"ello", b"ell")
    with pytest.raises(RunNotFoundError, match="no blob `x`"):
        await store.get_blob("x")


# --- events ------------------------------------------------------------------------------------------------------


def test_watchers_see_each_event_at_once() -> None:
    """Without redaction nothing waits for a flush."""
    seen: list[Event] = []
    log = journal(watch=seen.append)
    log.emit("run.started", {"a": 1}, "plugin")

    assert [(event.kind, event.data, event.plugin, event.seq) for event in seen] == [
        ("run.started", {"a": 1}, "plugin", 0)
    ]


async def test_redaction_comes_before_watchers_and_store() -> None:
    """What is taken out is nowhere: not in the log, not at a watcher, not in the store."""

    async def scrub(value: Any) -> Any:
        return dict.fromkeys(value, "***") if isinstance(value, dict) else "***"

    seen: list[Event] = []
    store = MemoryStore()
    log = journal(store=store, watch=seen.append, scrub=scrub)
    log.emit("run.started", {"key": "hunter2"})
    assert seen == []
    await log.step("plugin:x", None, lambda: _text("hunter2"))
    row, events, steps = await store.load("r1")

    assert "hunter2" not in repr((row, events, steps, seen, list(log.events)))
    assert [event.seq for event in seen] == [0, 1, 2]
    assert events == seen


async def _text(text: str) -> str:
    return text


async def test_without_a_store_redacted_events_are_shown_at_the_flush() -> None:
    """Watchers get them in order, once."""

    async def scrub(value: Any) -> Any:
        return value

    seen: list[int] = []
    log = journal(watch=lambda event: seen.append(event.seq), scrub=scrub)
    log.emit("a.b", {})
    await log.flush()
    log.emit("a.b", {})
    await log.flush()

    assert seen == [0, 1]


async def test_a_marker_stands_for_what_could_not_be_redacted() -> None:
    """Event data stays an object."""

    async def scrub(value: Any) -> Any:
        return "[redaction failed]"

    log = journal(scrub=scrub)
    log.emit("a.b", {"key": "hunter2"})
    await log.flush()

    assert log.events[0].data == {"redacted": "[redaction failed]"}
    assert isinstance(log.events, EventLog)


class ProviderError(Exception):
    """Of a library that numbers its errors."""

    code = 401


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RunBusyError("x"), "run.busy"),
        (asyncio.CancelledError(), "cancelled"),
        (ValueError("x"), "unknown"),
        (ProviderError("x"), "unknown"),
        (SystemExit(3), "unknown"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_codes_are_ours_alone(error: BaseException, code: str) -> None:
    """A `code` that a foreign error has means something else, and need not even be a text."""
    log = journal()

    log.fail(log.open("plugin:x", {}), error)

    assert code_of(error) == code
    assert [event.data["code"] for event in log.events if event.kind == "step.failed"] == [code]
