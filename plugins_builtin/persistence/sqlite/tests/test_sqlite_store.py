"""One file that outlives the process, and who may write to a run in it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pegboard import Event
from pegboard.errors import JournalUnserializableError, RunBusyError, RunNotFoundError
from pegboard.interfaces import ConversationStore, RunRow, StepRecord, Store, StoreControl
from pegboard_sqlite import SqliteStore
from pegboard_sqlite.retention import Retention

OpenStore = Callable[..., SqliteStore]
HOLDER = """
import asyncio, sys
from pegboard import Event
from pegboard.interfaces import RunRow
from pegboard_sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    await store.append(RunRow(run="r1", root="r1"), [Event(id="r1.0", run="r1", seq=0, kind="k", at=0)], [])
    print("holds", flush=True)
    sys.stdin.read()
    await store.append(RunRow(run="r1", root="r1"), [Event(id="r1.1", run="r1", seq=1, kind="k", at=0)], [])

asyncio.run(main())
"""
ADDER = """
import asyncio, sys
from pegboard import Event
from pegboard.interfaces import RunRow
from pegboard_sqlite import SqliteStore

async def main(path, run):
    store = SqliteStore(path, patience_s=60)
    for seq in range(100):
        event = Event(id=f"{run}.{seq}", run=run, seq=seq, kind="k", at=0)
        await store.append(RunRow(run=run, root=run), [event], [], barrier=seq % 10 == 0)
    await store.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


def row(run: str, state: str = "running", *, root: str | None = None, at: float = 1.0, input: Any = None) -> RunRow:
    return RunRow(run=run, root=root or run, agent="a", state=state, at=at, input=input)  # type: ignore[arg-type]  # one of the states


def event(run: str, seq: int, **data: Any) -> Event:
    return Event(id=f"{run}.{seq}", run=run, seq=seq, kind="step.done", at=1.5, data=data)


def step(run: str, number: int, result: Any = "x") -> StepRecord:
    return StepRecord(run=run, step=f"tool.call:x#{number}", op="tool.call:x", result=result)


def names(folder: Path) -> list[str]:
    return [found.name for found in folder.iterdir()]


@contextmanager
def other_process(path: Path, code: str = HOLDER) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that does `code`, from when it has said something."""
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_it_is_what_core_asks_for(store: SqliteStore) -> None:
    """All three protocols, and durable."""
    stored: Store = store

    assert isinstance(stored, StoreControl)
    assert isinstance(stored, ConversationStore)
    assert stored.durable


async def test_nothing_is_opened_before_the_first_use(open_store: OpenStore, tmp_path: Path) -> None:
    """A board that keeps nothing leaves no file."""
    await open_store().aclose()

    assert names(tmp_path) == []


async def test_what_was_added_is_there_after_a_new_start(open_store: OpenStore) -> None:
    """Input, events, steps, blobs."""
    first = open_store()
    ref = await first.put_blob(b"x" * 10_000)
    await first.append(row("r1", input={"a": [1]}), [event("r1", 0, n=1)], [step("r1", 1, {"x": "ü"})])
    await first.aclose()

    second = open_store()
    assert await second.load("r1") == (
        row("r1", input={"a": [1]}),
        [event("r1", 0, n=1)],
        [step("r1", 1, {"x": "ü"})],
    )
    assert await second.get_blob(ref) == b"x" * 10_000


async def test_a_closed_store_opens_again(store: SqliteStore) -> None:
    """For a host program that keeps it over several boards."""
    await store.append(row("r1"), [event("r1", 0)], [])
    await store.aclose()
    await store.append(row("r1"), [event("r1", 1)], [])

    assert len(await store.events("r1")) == 2


async def test_a_newer_input_replaces_the_older(open_store: OpenStore) -> None:
    """Also when another process wrote the older one."""
    await open_store().append(row("r1", "done", input="old"), [], [])
    await open_store().append(row("r1", "done", input="new"), [], [])

    assert (await open_store().load("r1"))[0].input == "new"


async def test_steps_without_events_find_their_place(open_store: OpenStore) -> None:
    """Before, between and after events, and after a new start."""
    for first in (0, 2):
        store = open_store()
        for seq in (first, first + 1):
            await store.append(row("r1"), [], [step("r1", 10 * seq)])
            await store.append(row("r1"), [], [step("r1", 10 * seq + 1)])
            await store.append(row("r1"), [event("r1", seq)], [step("r1", 10 * seq + 2)])
        await store.append(row("r1"), [], [step("r1", 10 * first + 13)])
        await store.aclose()

    _, events, steps = await open_store().load("r1")
    assert [found.seq for found in events] == [0, 1, 2, 3]
    numbers = [10 * seq + place for seq in range(4) for place in range(4 if seq % 2 else 3)]
    assert [found.step for found in steps] == [f"tool.call:x#{number}" for number in numbers]


async def test_a_slice_is_read_without_the_rest(store: SqliteStore) -> None:
    """As Python slices, also beyond the end."""
    ref = await store.put_blob(bytes(range(256)) * 4096)

    assert await store.get_blob(ref, 1_000_000, 3) == bytes(range(64, 67))
    assert await store.get_blob(ref, 2**20 - 2, 10) == b"\xfe\xff"
    assert await store.get_blob(ref, 2**21, 10) == b""


async def test_what_is_not_json_is_said(store: SqliteStore) -> None:
    """A text that is no Unicode cannot be stored; nothing of the addition is."""
    with pytest.raises(JournalUnserializableError):
        await store.append(row("r1"), [event("r1", 0, text="\ud800")], [])

    with pytest.raises(RunNotFoundError):
        await store.load("r1")


# --- who drives a run --------------------------------------------------------------------------------------------


async def test_two_stores_cannot_drive_one_run(open_store: OpenStore) -> None:
    """Not even within one process, and not even with the right offset."""
    await open_store().append(row("r1"), [event("r1", 0)], [])

    with pytest.raises(RunBusyError) as caught:
        await open_store().append(row("r1"), [event("r1", 1)], [])
    assert caught.value.run_id == "r1"


@pytest.mark.parametrize("state", ["done", "failed", "cancelled", "paused", "parked", "dead"])
async def test_a_run_that_nobody_drives_is_free(open_store: OpenStore, state: str) -> None:
    """Once it has ended or waits, whoever comes first goes on with it."""
    first, second = open_store(), open_store()
    await first.append(row("r1"), [event("r1", 0)], [])
    await first.append(row("r1", state), [event("r1", 1)], [])

    await second.append(row("r1"), [event("r1", 2)], [])

    with pytest.raises(RunBusyError):
        await first.append(row("r1"), [event("r1", 3)], [])


async def test_a_run_of_a_living_process_is_busy_and_of_a_killed_one_free(open_store: OpenStore, path: Path) -> None:
    """No time passes in between: the system frees the lock with the process."""
    store = open_store()
    with other_process(path) as (process, _):
        with pytest.raises(RunBusyError):
            await store.append(row("r1"), [event("r1", 1)], [])
        process.kill()
        process.wait()
        await store.append(row("r1"), [event("r1", 1)], [])

    assert len(names(path.parent / "owners")) == 1


async def test_a_stopped_process_keeps_its_runs(open_store: OpenStore, path: Path) -> None:
    """It may go on at any time, and nobody wrote to its run meanwhile."""
    store = open_store()
    with other_process(path) as (process, _):
        process.send_signal(19)  # SIGSTOP
        with pytest.raises(RunBusyError):
            await store.append(row("r1"), [event("r1", 1)], [])
        process.send_signal(18)  # SIGCONT
        process.communicate("go", timeout=20)
        assert process.returncode == 0

    assert [found.seq for found in await store.events("r1")] == [0, 1]


async def test_who_only_reads_leaves_no_lock(open_store: OpenStore, path: Path) -> None:
    """A list of runs is not in anybody's way."""
    assert await open_store().runs() == []
    assert not (path.parent / "owners").exists()


async def test_a_closed_store_leaves_no_lock(open_store: OpenStore, path: Path) -> None:
    """Its runs are free, also those that did not end."""
    store = open_store()
    await store.append(row("r1"), [event("r1", 0)], [])
    await store.aclose()

    assert names(path.parent / "owners") == []
    await open_store().append(row("r1"), [event("r1", 1)], [])


def test_processes_share_a_file(path: Path) -> None:
    """Each addition of each is there once, although they stand in each other's way."""
    processes = [subprocess.Popen([sys.executable, "-c", ADDER, str(path), f"r{number}"]) for number in range(3)]

    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    asyncio.run(each_is_there_once(path, 100))


async def each_is_there_once(path: Path, count: int) -> None:
    async with aclosing(SqliteStore(path)) as store:
        for number in range(3):
            assert [found.seq for found in await store.events(f"r{number}")] == list(range(count))
        assert await store.check() == []


# --- how it is written -------------------------------------------------------------------------------------------


async def statements(store: SqliteStore) -> list[str]:
    """The statements that are executed from now on."""
    seen: list[str] = []
    opened: Any = await store._open()
    opened.connection.set_trace_callback(seen.append)
    return seen


async def test_what_is_added_in_one_tick_is_committed_once(store: SqliteStore) -> None:
    """Many runs at once cost one commit."""
    seen = await statements(store)

    await asyncio.gather(*(store.append(row(f"r{number}"), [event(f"r{number}", 0)], []) for number in range(20)))

    assert [text for text in seen if text == "commit"] == ["commit"]


async def test_a_refused_addition_does_not_hinder_others(store: SqliteStore) -> None:
    """Of those that are committed together."""
    await store.append(row("r1"), [event("r1", 0)], [])

    wrong = store.append(row("r1"), [event("r1", 5)], [])
    right = [store.append(row(f"s{number}"), [event(f"s{number}", 0)], []) for number in range(3)]
    outcomes = await asyncio.gather(wrong, *right, return_exceptions=True)

    assert isinstance(outcomes[0], RunBusyError)
    assert outcomes[1:] == [None] * 3
    assert len(await store.runs()) == 4


async def test_a_small_addition_is_committed_without_a_thread(store: SqliteStore) -> None:
    """A hand-over costs several times as much as the commit; a large one is another matter."""
    opened: Any = await store._open()
    threads: list[str] = []
    opened.connection.set_trace_callback(lambda text: threads.append(threading.current_thread().name))

    await store.append(row("r1"), [event("r1", 0)], [])
    assert set(threads) == {"MainThread"}
    threads.clear()
    await store.append(row("r1"), [event("r1", 1, text="x" * 1_000_000)], [])
    assert "MainThread" not in threads


@pytest.mark.parametrize(
    ("options", "barrier", "syncs"), [({}, False, 0), ({}, True, 1), ({"synchronous": "full"}, False, 1)]
)
async def test_a_barrier_is_synced(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], barrier: bool, syncs: int
) -> None:
    """And with `full` everything is one."""
    store = open_store(**options)
    await store._open()
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", synced.append)

    await store.append(row("r1"), [event("r1", 0)], [], barrier=barrier)

    assert len(synced) == syncs


async def test_the_log_does_not_grow_for_ever(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """It is moved into the file and begun anew, also while it is written to without a pause."""
    monkeypatch.setattr("pegboard_sqlite.writer.CHECKPOINT_PAGES", 100)
    log = Path(f"{path}-wal")
    await store.append(row("r1"), [event("r1", 0)], [])
    first = salts_of(log)
    seq = 0

    while salts_of(log) == first and seq < 100_000:
        seq += 1
        await store.append(row("r1"), [event("r1", seq, text="x" * 500)], [])

    assert salts_of(log) != first
    assert len(await store.events("r1")) == seq + 1


def salts_of(log: Path) -> bytes:
    """What changes in the header of a log each time it is begun anew (sqlite.org/fileformat2.html, section 4.1)."""
    with log.open("rb") as file:
        return file.read(24)[16:]


async def test_whoever_gave_up_waiting_leaves_the_others_alone(store: SqliteStore) -> None:
    """An addition whose caller was cancelled is made all the same."""
    await store._open()
    task = asyncio.ensure_future(store.append(row("r1"), [event("r1", 0)], []))
    other = asyncio.ensure_future(store.append(row("r2"), [event("r2", 0)], []))
    await asyncio.sleep(0)
    task.cancel()
    await other

    assert [found.seq for found in await store.events("r1")] == [0]


# --- how long it is kept -----------------------------------------------------------------------------------------


async def ended(store: SqliteStore, run: str, *, at: float = 1.0, state: str = "done", root: str | None = None) -> None:
    await store.append(row(run, state, at=at, root=root), [event(run, 0)], [])


async def test_old_runs_are_forgotten_at_the_first_addition(open_store: OpenStore) -> None:
    """With their child runs, by age; not one that waits for somebody."""
    day = 24 * 60 * 60
    clock = Clock(now=100 * day)
    before = open_store()
    await ended(before, "old", at=10.0 * day)
    await ended(before, "old.child", at=99.0 * day, root="old")
    await ended(before, "waiting", at=10.0 * day, state="paused")
    await ended(before, "young", at=99.0 * day)
    await before.aclose()

    store = open_store(retention=Retention(keep_days=30), clock=clock)
    await ended(store, "new", at=100.0 * day)
    await store.aclose()

    assert {found.run for found in await open_store().runs()} == {"new", "young", "waiting"}


async def test_only_the_newest_runs_are_kept(open_store: OpenStore) -> None:
    """Child runs do not count; one that is being driven stays."""
    before = open_store()
    await before.append(row("driven"), [event("driven", 0)], [])
    for number in range(4):
        await ended(before, f"r{number}")
        await ended(before, f"r{number}.child", root=f"r{number}")

    store = open_store(retention=Retention(keep_runs=2))
    await ended(store, "new")
    await store.aclose()

    assert {found.run for found in await open_store().runs()} == {"driven", "r3", "r3.child", "new"}


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def test_a_blob_of_a_killed_process_is_forgotten_in_the_end(open_store: OpenStore, path: Path) -> None:
    """What it had put and never mentioned goes with the next removal, and not while it lives."""
    code = (
        "import asyncio, os, sys\nfrom pegboard_sqlite import SqliteStore\n"
        "print(asyncio.run(SqliteStore(sys.argv[1]).put_blob(b'x')), flush=True)\nsys.stdin.read()\nos.abort()\n"
    )
    store = open_store()
    with other_process(path, code) as (_, ref):
        await store.remove([])
        assert await store.get_blob(ref) == b"x"
    await store.remove([])

    with pytest.raises(RunNotFoundError):
        await store.get_blob(ref)


async def test_removing_gives_room_back(store: SqliteStore) -> None:
    """To the disk, and not only to what comes later."""
    ref = await store.put_blob(b"x" * 5_000_000)
    await store.append(row("r1", "done"), [event("r1", 0, see=ref)], [])
    before = await store.size_bytes()

    freed = await store.remove(["r1"])

    assert freed >= 5_000_000
    assert await store.size_bytes() <= before - 5_000_000
