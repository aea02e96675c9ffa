"""The disk is full or the file may not be written: the run says so, and goes on when that was mended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="without limits and forks")

# A run of ten steps with results of 30 kB, in a process whose files may be so long; zero is no limit.
PROGRAM = """
import asyncio, json, resource, sys
from contextlib import aclosing
from pathlib import Path
from pegboard import Agent, Pegboard, tool
from pegboard.errors import RunNotFoundError
from pegboard_replay import FunctionModel, call
from pegboard_sqlite import SqliteStore

folder, limit = Path(sys.argv[1]), int(sys.argv[2])


@tool(effect="idempotent", inline=True)
def work(number: int) -> str:
    "Write a line."
    with (folder / "lines").open("a") as lines:
        lines.write(f"{number}\\n")
    return str(number) * 10_000


def answer(request):
    made = sum(len(message.tool_calls) for message in request.messages)
    return "done" if made == 10 else call("work", number=made)


async def main():
    agent = Agent("worker", model=FunctionModel(answer), tools=[work])
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    async with aclosing(SqliteStore(folder / "store.db")) as store, Pegboard(store=store, agents=[agent]) as board:
        try:
            result = await board.resume("run", check=False)
        except RunNotFoundError:
            result = await board.run("worker", "go", run="run", check=False)
        error = result.error
        print(json.dumps([result.end_reason, getattr(error, "code", ""), int(getattr(error, "exit_code", 0))]))
        print(json.dumps(list(await store.check())))


asyncio.run(main())
"""


def run(folder: Path, limit: int = 0) -> list[str]:
    """End reason with code and exit code, then what is wrong with the file."""
    command = [sys.executable, "-c", PROGRAM, str(folder), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("limit", [100_000, 200_000, 300_000])
def test_a_run_without_room_goes_on_when_there_is_room(tmp_path: Path, limit: int) -> None:
    """It fails with `storage.exhausted`; of the steps that were recorded none is done again."""
    assert run(tmp_path, limit) == ['["failed", "storage.exhausted", 6]', "[]"]
    before = (tmp_path / "lines").read_text().split()

    assert run(tmp_path) == ['["completed", "", 0]', "[]"]
    lines = (tmp_path / "lines").read_text().split()
    assert lines[: len(before)] == before
    assert set(lines) == set(map(str, range(10)))
    assert len(lines) <= 11  # the step that could not be recorded
