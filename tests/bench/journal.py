"""What a durable step costs, beside a raw commit of the same bytes and beside LangGraph in the same run.

    python tests/bench/journal.py [--rounds 7] [--harness HARNESS --environments ENVIRONMENTS] [--folder FOLDER]
        [--write]

Rows are taken in turn within a round, so that a busy machine slows all of them alike; what counts is the median over
the rounds of the ratio within one round. `HARNESS` and `ENVIRONMENTS` are those of `peers.py`; without them there is no
peer. The files are made in `FOLDER`, else where temporary files are: on a disk, or syncing costs nothing. The exit code
is 1 when an aim is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, Literal, NamedTuple

import msgspec
import performance_page
from pegboard import Agent, Event, Pegboard, RunContext
from pegboard.clock import SYSTEM_CLOCK
from pegboard.interfaces import RunRow, StepRecord
from pegboard.journal import Journal
from pegboard.types import RunState
from pegboard_sqlite import SqliteStore

STEPS = 10
"""Of one run, as in the peer's chain of nodes."""
RUNS = {"normal": 40, "full": 8}
CROWD = 50
EVENTS = 100_000
RESULT = {"text": "x" * 1000}
TIE = 1.3
"""An aim missed by less than this is a tie: rounds differ by as much."""

Taken = tuple[float, float]
"""Microseconds for a step: wall and CPU of the whole process."""
Row = Callable[[], Awaitable[Taken]]
Synchronous = Literal["normal", "full"]


class Aim(NamedTuple):
    """The most that one row may be of another: in CPU time where nothing is waited for, else in wall time."""

    title: str
    row: str
    of: str
    at_most: float
    cpu: bool = False


AIMS = (
    Aim("a step in the store, normal, CPU", "store, normal", "raw, normal", 2.0, cpu=True),
    Aim("a step in the store, full", "store, full", "raw, full", 1.3),
    Aim("a step of a journal, normal, CPU", "journal, normal", "raw, normal", 2.0, cpu=True),
    Aim("a step of a journal, full", "journal, full", "raw, full", 1.3),
    Aim("50 runs at once, full", "crowd, full", "raw, full", 1.3),
    Aim("a run of 10 steps, each, CPU", "run, normal", "langgraph", 0.15, cpu=True),
)
LISTING_AIM_S = 1.0
GROWTH_AIM = 1.2
"""The room of an event in a long log, of that in a log a tenth as long."""


# --- what is written ---------------------------------------------------------------------------------------------


def added(run: str, number: int) -> tuple[list[Event], list[StepRecord]]:
    """What one step adds: two events and its record, with a result of about a kilobyte."""
    seq, step = 2 * number, f"plugin:work#{number + 1}"
    events = [
        Event(id=f"{run}.{seq}", run=run, seq=seq, kind="step.started", at=1.5, agent="a", data={"step": step}),
        Event(id=f"{run}.{seq + 1}", run=run, seq=seq + 1, kind="step.done", at=1.5, agent="a", data={"step": step}),
    ]
    digest = "0" * 32
    return events, [StepRecord(run=run, step=step, op="plugin:work", params_digest=digest, result=RESULT, at=1.5)]


def raw_bytes() -> bytes:
    """The same as bytes."""
    return b"".join(msgspec.json.Encoder().encode_lines(part) for part in added("r0123456789abcdef", 5))


# --- rows --------------------------------------------------------------------------------------------------------


class Bench:
    """Files in a folder, and the rows that write to them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._stores: dict[str, SqliteStore] = {
            level: SqliteStore(folder / f"{level}.db", synchronous=level) for level in ("normal", "full")
        }

    def rows(self) -> dict[str, Row]:
        """Every row by its name."""
        levels: tuple[Synchronous, ...] = ("normal", "full")
        rows = {}
        for level in levels:
            rows[f"raw, {level}"] = self._raw(level)
            rows[f"store, {level}"] = self._store(level)
            rows[f"journal, {level}"] = self._journal(level)
            rows[f"crowd, {level}"] = self._crowd(level)
        rows["run, normal"] = self._run("normal")
        return rows

    async def close(self) -> None:
        """Let go of the files."""
        for store in self._stores.values():
            await store.aclose()

    def _raw(self, level: Synchronous) -> Row:
        connection = sqlite3.connect(self._folder / f"raw-{level}.db", isolation_level=None)
        for pragma in ("journal_mode = wal", f"synchronous = {level}", "wal_autocheckpoint = 4000"):
            connection.execute(f"pragma {pragma}")
        connection.execute("create table step (number integer primary key, data blob)")
        data = raw_bytes()

        async def row() -> Taken:
            began = _now()
            for _ in range(RUNS[level] * STEPS):
                connection.execute("begin")
                connection.execute("insert into step (data) values (?)", (data,))
                connection.execute("commit")
            return _taken(began, RUNS[level] * STEPS)

        return row

    def _store(self, level: Synchronous) -> Row:
        store = self._stores[level]

        async def row() -> Taken:
            total = (0.0, 0.0)
            for _ in range(RUNS[level]):
                run = self._new_run()
                await store.append(run, [], [], barrier=True)
                work = [added(run.run, number) for number in range(STEPS)]
                began = _now()
                for events, steps in work:
                    await store.append(run, events, steps)
                total = _sum(total, _taken(began, RUNS[level] * STEPS))
                await store.append(_ended(run), [], [])
            return total

        return row

    def _journal(self, level: Synchronous) -> Row:
        store = self._stores[level]

        async def row() -> Taken:
            total = (0.0, 0.0)
            for _ in range(RUNS[level]):
                journal = Journal(self._new_run(), SYSTEM_CLOCK, store=store)
                await journal.begin()
                began = _now()
                for number in range(STEPS):
                    await journal.step("plugin:work", number, _work)
                total = _sum(total, _taken(began, RUNS[level] * STEPS))
                await store.append(_ended(journal.row), [], [])
            return total

        return row

    def _crowd(self, level: Synchronous) -> Row:
        store = self._stores[level]

        async def steps(journal: Journal) -> None:
            for number in range(STEPS):
                await journal.step("plugin:work", number, _work)

        async def row() -> Taken:
            journals = [Journal(self._new_run(), SYSTEM_CLOCK, store=store) for _ in range(CROWD)]
            await asyncio.gather(*(journal.begin() for journal in journals))
            began = _now()
            await asyncio.gather(*map(steps, journals))
            taken = _taken(began, CROWD * STEPS)
            await asyncio.gather(*(store.append(_ended(journal.row), [], []) for journal in journals))
            return taken

        return row

    def _run(self, level: Synchronous) -> Row:
        async def row() -> Taken:
            async with Pegboard(autoload=False, store=self._stores[level]) as board:
                agent = _Chain("chain")
                await board.run(agent, "go")
                began = _now()
                for _ in range(RUNS[level]):
                    await board.run(agent, "go")
                return _taken(began, RUNS[level] * STEPS)

        return row

    def _new_run(self) -> RunRow:
        self._count += 1
        run = f"r{self._count:015x}"
        return RunRow(run=run, root=run, agent="a", input={"inputs": "go"}, at=1.5)


class _Chain(Agent):
    """Ten steps, one after another, as the peer's ten nodes."""

    async def execute(self, ctx: RunContext, state: RunState, turns: Any) -> RunState:
        x = 0
        for _ in range(STEPS):
            x = (await ctx.step("add", {"x": x}, partial(_added, x)))["x"]
        return msgspec.structs.replace(state, output=str(x))


async def _added(x: int) -> dict[str, int]:
    return {"x": x + 1}


async def _work() -> Mapping[str, str]:
    return RESULT


def _ended(run: RunRow) -> RunRow:
    return msgspec.structs.replace(run, state="done")


def _now() -> Taken:
    return perf_counter(), process_time()


def _taken(began: Taken, steps: int) -> Taken:
    wall, cpu = _now()
    return (wall - began[0]) / steps * 1e6, (cpu - began[1]) / steps * 1e6


def _sum(one: Taken, other: Taken) -> Taken:
    return one[0] + other[0], one[1] + other[1]


# --- the peer ----------------------------------------------------------------------------------------------------


def peer(harness: Path, environments: Path, folder: Path) -> Row:
    """A node of LangGraph whose SQLite saver writes before the next one begins."""
    command = [str(environments / "langgraph" / "bin" / "python"), str(harness / "durable.py"), "langgraph"]

    async def row() -> Taken:
        found = _printed(command, {"BENCH_TMP": str(folder), "PYTHONWARNINGS": "ignore"})
        return found["h_langgraph_sqlite_sync_us_wall"], found["h_langgraph_sqlite_sync_us_cpu"]

    return row


def _printed(command: Sequence[str], environment: Mapping[str, str]) -> Any:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# --- long logs ---------------------------------------------------------------------------------------------------


async def long_logs(folder: Path) -> list[dict[str, Any]]:
    """How long a long log takes to list, how its room grows, and what blobs have to do with it."""
    short, long = [await _filled(folder / f"long-{count}.db", count) for count in (EVENTS // 10, EVENTS)]
    store, size = long
    took, events = await _timed(store.events("r"))
    assert len(events) == EVENTS
    tail, _ = await _timed(store.events("r", after=EVENTS - 10))
    loaded, _ = await _timed(store.load("r"))
    growth = (size / EVENTS) / (short[1] / (EVENTS // 10))
    before = loaded
    for number in range(20):
        await store.put_blob(bytes([number]) * 5_000_000)
    loaded, _ = await _timed(store.load("r"))
    for each, _ in (short, long):
        await each.aclose()
    return [
        _figure(f"{EVENTS:,} events listed, s", took, LISTING_AIM_S),
        _figure("the last ten of them, s", tail, None),
        _figure("room of an event, of that in a tenth", growth, GROWTH_AIM),
        _figure("bytes of an event", size / EVENTS, None),
        _figure("a run loaded beside 100 MB of blobs, of that without", loaded / before, 1.3),
    ]


async def _filled(path: Path, count: int) -> tuple[SqliteStore, int]:
    store = SqliteStore(path)
    row = RunRow(run="r", root="r")
    for number in range(count // 2):
        events, _ = added("r", number)
        await store.append(row, events, [])
    await store.append(_ended(row), [], [])
    await store.aclose()  # with it the log is moved into the file
    return store, await store.size_bytes()


async def _timed(work: Awaitable[Any]) -> tuple[float, Any]:
    began = perf_counter()
    value = await work
    return perf_counter() - began, value


# --- judging -----------------------------------------------------------------------------------------------------


async def measure(rows: Mapping[str, Row], rounds: int) -> dict[str, list[Taken]]:
    """Every row in each round, in an order that rotates; a first round warms up and does not count."""
    names = list(rows)
    taken: dict[str, list[Taken]] = {name: [] for name in names}
    for number in range(-1, rounds):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            figures = await rows[name]()
            if number >= 0:
                taken[name].append(figures)
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return taken


def judged(taken: Mapping[str, list[Taken]]) -> list[dict[str, Any]]:
    """Each aim beside what came out: the median of the ratios within the rounds."""
    figures = []
    for aim in AIMS:
        if aim.of not in taken:
            continue
        which = int(aim.cpu)
        pairs = zip(taken[aim.row], taken[aim.of], strict=True)
        ratio = median(own[which] / other[which] for own, other in pairs)
        own, other = (median(each[which] for each in taken[name]) for name in (aim.row, aim.of))
        title = f"{aim.title}: {own:.0f} µs; {aim.of}: {other:.0f} µs"
        figures.append(_figure(title, ratio, aim.at_most))
    return figures


def _figure(title: str, value: float, aim: float | None) -> dict[str, Any]:
    verdict = "" if aim is None else "met" if value <= aim else "tie" if value <= aim * TIE else "missed"
    return {"name": title, "value": round(value, 4), "aim": aim, "verdict": verdict}


async def bench(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, list[Taken]], list[dict[str, Any]]]:
    """All figures."""
    own = Bench(folder)
    rows = own.rows()
    if arguments.harness and arguments.environments:
        rows["langgraph"] = peer(arguments.harness, arguments.environments.resolve(), folder)
    try:
        taken = await measure(rows, arguments.rounds)
    finally:
        await own.close()
    return taken, [*judged(taken), *await long_logs(folder)]


def write(taken: Mapping[str, list[Taken]], figures: Sequence[Mapping[str, Any]], rounds: int) -> None:
    """The section of the page."""
    short, table = performance_page.short, performance_page.table
    steps = [(name, *(short(median(each[which] for each in rows)) for which in (0, 1))) for name, rows in taken.items()]
    aims = [
        (each["name"], short(each["value"]), f"<= {each['aim']:g}" if each["aim"] else "", each["verdict"])
        for each in figures
    ]
    said = performance_page.conditions(
        "journal",
        f"{performance_page.rounds(rounds)}, medians; ratios are medians of those within a round",
        performance_page.load(),
        f"SQLite {sqlite3.sqlite_version}",
    )
    performance_page.write(
        "journal",
        "## A durable step",
        table(("a step", "µs", "µs of CPU"), steps),
        table(("compared", "ratio, or as named", "aim", ""), aims),
        said,
    )


def main() -> int:
    """Measure, print, and say whether the aims hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--harness", type=Path, help="folder with the peer's script `durable.py`")
    parser.add_argument("--environments", type=Path, help="folder with the peer's environment `langgraph`")
    parser.add_argument("--folder", type=Path, help="where the files are made, on a disk")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    performance_page.add_option(parser)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="journal-", dir=arguments.folder))
    try:
        taken, figures = asyncio.run(bench(arguments, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        print(json.dumps({"v": 1, "python": sys.version.split()[0], "rows": figures}))
    else:
        for name, rounds in taken.items():
            wall, cpu = (median(each[which] for each in rounds) for which in (0, 1))
            print(f"{name:20} {wall:8.1f} µs  {cpu:8.1f} µs CPU")
        for figure in figures:
            aim = f"aim {figure['aim']:g}" if figure["aim"] else ""
            print(f"{figure['name']:70} {figure['value']:9.3f}  {aim:10} {figure['verdict']}")
    if arguments.write:
        write(taken, figures, arguments.rounds)
    return performance_page.exit_code(arguments, met=all(figure["verdict"] != "missed" for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
