"""Lives of one run that are cut short, each at another moment, and what the next life makes of it.

`python store_lives.py FOLDER KIND FIRST LAST [STRIDE]` prints `{"tried": …, "killed": …, "problems": […]}`. A life is a
process of its own, forked from this one since that costs milliseconds, and dies by

* `point`: SIGKILL right before the n-th statement that SQLite executes, sync, removal, opened lock or effect;
* `bytes`: the system's limit on the size of a file, in the midst of the write that would go beyond;
* `time`: a timer after n microseconds.

A run has ten steps of tools, each of which adds a line to a file. Every other tool is `unsafe` and can find out whether
its line is there, so each of its lines must be there once; a line of the others is there twice only when the life ended
between the line and its record.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pegboard import Agent, Pegboard, tool
from pegboard.errors import RunNotFoundError
from pegboard.types import ModelRequest, ToolResult
from pegboard_replay import FunctionModel, call
from pegboard_sqlite import SqliteStore, schema

STEPS = 10
RUN = "run"
Cut = Callable[[], None]


# --- the run -----------------------------------------------------------------------------------------------------


class Place:
    """The folder of one run: the store, and the lines that its tools wrote."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.store = folder / "store.db"
        self.lines = folder / "lines"

    def write(self, number: int) -> None:
        """What a tool does to the world."""
        at_point()
        descriptor = os.open(self.lines, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, f"{number}\n".encode())
        os.close(descriptor)
        at_point()

    def written(self) -> Counter[int]:
        """How often each step's line is there."""
        return Counter(map(int, self.lines.read_text().split())) if self.lines.exists() else Counter()


class Unsafe:
    """A tool that must not be repeated, and can say whether it was done."""

    def __init__(self, place: Place, like: Any) -> None:
        self._place = place
        self._like = like

    def __getattr__(self, name: str) -> Any:
        return getattr(self._like, name)

    async def reconcile(self, key: str, args: Mapping[str, Any]) -> ToolResult | str:
        """Look into the file."""
        if self._place.written()[args["number"]]:
            return ToolResult(call_id=key.rpartition("/")[2])
        return "not_done"


def agent_at(place: Place) -> Agent:
    """Ten calls, one after another."""

    @tool(effect="idempotent", inline=True)
    def note(number: int) -> str:
        """Write a line."""
        place.write(number)
        return str(number)

    @tool(effect="unsafe", inline=True)
    def send(number: int) -> str:
        """Write a line that must be there once."""
        place.write(number)
        return str(number)

    def answer(request: ModelRequest) -> Any:
        number = sum(len(message.tool_calls) for message in request.messages) + 1
        return "done" if number > STEPS else call("send" if number % 2 else "note", number=number)

    return Agent("worker", model=FunctionModel(answer), tools=[note, Unsafe(place, send)])


async def life(place: Place) -> str:
    """Begin the run or go on with it; how it ended."""
    async with (
        aclosing(SqliteStore(place.store)) as store,
        Pegboard(store=store, agents=[agent_at(place)]) as board,
    ):
        try:
            result = await board.resume(RUN, check=False)
        except RunNotFoundError:
            result = await board.run("worker", "go", run=RUN, check=False)
        return f"{result.end_reason} {result.output} {result.error or ''}".strip()


# --- how a life ends ---------------------------------------------------------------------------------------------

_left: int | None = None


def at_point(*_: Any) -> None:
    """A moment at which a life may end."""
    global _left
    if _left is not None:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def cut_at_point(number: int) -> None:
    """End before the n-th point from now on."""
    global _left
    _left = number
    for name in ("fsync", "fdatasync", "unlink"):
        setattr(os, name, _counted(getattr(os, name)))
    connect = schema._connect

    def traced(path: Path, patience_s: float) -> sqlite3.Connection:
        connection = connect(path, patience_s)
        connection.set_trace_callback(at_point)
        return connection

    schema._connect = traced


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **options: Any) -> Any:
        at_point()
        return function(*args, **options)

    return counted


def cut_at_byte(number: int) -> None:
    """End in the write that makes a file longer than this."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))


def cut_at_time(number: int) -> None:
    """End after so many microseconds, whatever is being done."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, number / 1e6)


CUTS: Mapping[str, Callable[[int], None]] = {"point": cut_at_point, "bytes": cut_at_byte, "time": cut_at_time}


def forked(work: Callable[[], str]) -> str | None:
    """What a process of its own has to say, or `None` where it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            said = work()
        except BaseException as error:
            said = f"raised {error!r}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else said


# --- what must hold ----------------------------------------------------------------------------------------------


def tried(place: Place, cut: Cut) -> tuple[bool, list[str]]:
    """A life that is cut, a look at what it left, a life that is not; whether it was killed, and what was wrong."""

    def cut_life() -> str:
        cut()
        return asyncio.run(life(place))

    said = forked(cut_life)
    if said is not None:
        return False, [] if said == "completed done" else [f"was not killed and ended with: {said}"]
    between, lines = look(place), place.written()
    problems = [*between["problems"], *unrecorded(between, lines)]
    ended = forked(lambda: asyncio.run(life(place)))
    if ended != "completed done":
        problems.append(f"the next life ended with: {ended}")
    after = look(place)
    problems += after["problems"]
    if after["events"][: len(between["events"])] != between["events"]:
        problems.append("events were lost")
    if after["state"] != "done" or len(after["done"]) != 2 * STEPS + 1:
        problems.append(f"state {after['state']}, {len(after['done'])} steps done")
    return True, problems + repeated(between, lines, place.written())


def look(place: Place) -> dict[str, Any]:
    """What is in the store, by a process that ends before the next one begins."""
    said = forked(lambda: json.dumps(asyncio.run(_looked(place))))
    assert said is not None
    found: dict[str, Any] = json.loads(said) if not said.startswith("raised") else _nothing(said)
    return found


async def _looked(place: Place) -> dict[str, Any]:
    async with aclosing(SqliteStore(place.store)) as store:
        problems = list(await store.check())
        try:
            row, events, steps = await store.load(RUN)
        except RunNotFoundError:
            return {**_nothing(), "problems": problems}
        done = [step.step for step in steps if step.state == "done"]
        return {"state": row.state, "events": [event.id for event in events], "done": done, "problems": problems}


def _nothing(*problems: str) -> dict[str, Any]:
    return {"state": "", "events": [], "done": [], "problems": list(problems)}


def unrecorded(between: Mapping[str, Any], lines: Counter[int]) -> list[str]:
    """Steps are one after another: all before the one that wrote the last line must be recorded."""
    begun = max(lines, default=0)
    lost = [number for number in range(1, begun) if _name(number) not in between["done"]]
    return [f"steps {lost} are lost"] if lost else []


def repeated(between: Mapping[str, Any], lines: Counter[int], after: Counter[int]) -> list[str]:
    """What was done twice and must not have been, and what was not done at all."""
    problems = [f"line {number} is missing" for number in range(1, STEPS + 1) if not after[number]]
    for number, count in after.items():
        recorded = _name(number) in between["done"]
        if count > (lines[number] if recorded else lines[number] + 1) or (number % 2 and count > 1):
            problems.append(f"line {number} is there {count} times")
    return problems


def _name(number: int) -> str:
    """The step of a call; steps are counted for each operation."""
    return f"tool.call:{'send' if number % 2 else 'note'}#{(number + 1) // 2}"


async def _warm(place: Place) -> None:
    """Import what is imported on first use, once and not in every life."""
    async with Pegboard() as board:
        await board.run(agent_at(place), "go")


def main(folder: str, kind: str, *bounds: str) -> None:
    """Try one life for each number."""
    asyncio.run(_warm(Place(Path(folder, "warm"))))
    count, killed, problems = 0, 0, []
    for number in range(*map(int, bounds)):
        count += 1
        place = Place(Path(folder, str(number)))
        was_killed, found = tried(place, lambda number=number: CUTS[kind](number))  # type: ignore[misc]  # bound at once
        killed += was_killed
        problems += [f"{kind} {number}: {problem}" for problem in found]
    print(json.dumps({"tried": count, "killed": killed, "problems": problems}))


if __name__ == "__main__":
    main(*sys.argv[1:])
