"""Two processes, one run: one of them drives it, and the other takes it over once the first is gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="without signals")

# Begins or goes on with a run of two steps; `hold` waits in the second one for a line on stdin.
PROGRAM = """
import asyncio, sys
from contextlib import aclosing
from pathlib import Path
from pegboard import Agent, Pegboard, tool
from pegboard.errors import RunNotFoundError
from pegboard_replay import FunctionModel, call
from pegboard_sqlite import SqliteStore

folder, hold = Path(sys.argv[1]), sys.argv[2] == "hold"


def write(name):
    with (folder / "lines").open("a") as lines:
        lines.write(f"{name}\\n")


@tool(effect="idempotent", inline=True)
def first() -> str:
    "Write a line."
    write("first")
    return "ok"


@tool(effect="idempotent")
def second() -> str:
    "Write a line, perhaps much later."
    if hold:
        print("holding", flush=True)
        sys.stdin.readline()
    write("second")
    return "ok"


def answer(request):
    made = sum(len(message.tool_calls) for message in request.messages)
    return ["done", call("second"), call("first")][2 - made]


async def main():
    agent = Agent("worker", model=FunctionModel(answer), tools=[first, second])
    async with aclosing(SqliteStore(folder / "store.db")) as store, Pegboard(store=store, agents=[agent]) as board:
        try:
            result = await board.resume("run", check=False)
        except RunNotFoundError:
            result = await board.run("worker", "go", run="run", check=False)
        print(result.end_reason, getattr(result.error, "code", ""), flush=True)


asyncio.run(main())
"""


@contextmanager
def holding(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the second step of the run."""
    command = [sys.executable, "-c", PROGRAM, str(folder), "hold"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        try:
            yield process
        finally:
            process.kill()


def driven(folder: Path) -> str:
    """How the run ends that another process goes on with."""
    command = [sys.executable, "-c", PROGRAM, str(folder), "go"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def lines(folder: Path) -> list[str]:
    return (folder / "lines").read_text().split()


def test_a_run_that_is_driven_is_busy(tmp_path: Path) -> None:
    """The second process does nothing and says so; the first one comes to its end."""
    with holding(tmp_path) as first:
        said = driven(tmp_path)
        told, _ = first.communicate("go\n", timeout=60)

    assert (said, told.strip()) == ("failed run.busy", "completed")
    assert lines(tmp_path) == ["first", "second"]


def test_a_run_whose_driver_was_killed_is_taken_over(tmp_path: Path) -> None:
    """At once, from the step that was not recorded."""
    with holding(tmp_path) as first:
        first.kill()
        first.wait()
        said = driven(tmp_path)

    assert said == "completed"
    assert lines(tmp_path) == ["first", "second"]
