"""A workflow out of a file, in processes of their own: interrupted, gone on with, played back, copied, refused."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

AGENTS = """
import asyncio
from pathlib import Path
from pegboard import Agent
from pegboard.types import evolve
from pegboard_replay import FunctionModel
from pegboard_workflow import Flow


class Waits(Agent):
    async def execute(self, ctx, state, turns):
        async def call():
            Path("waits").touch()
            while not Path("go").exists():
                await asyncio.sleep(0.01)
            return f"{ctx.input} waited"

        return evolve(state, output=await ctx.step("wait", None, call))


waits = Waits("waits")
asks = Agent("asks", model=FunctionModel(lambda request: "answered"))


async def opened(text):
    Path("notes").write_text(text)
    return text


flow = Flow("in_python")
first = flow.add("first", run=opened, inputs={"text": flow.input})
flow.add("then", agent=waits, inputs=first)
in_python = flow.agent()
"""
FILE = """\
nodes:
  first: {transform: text}
  then: {agent: "crew:waits", inputs: $nodes.first}
"""
DEADLINE_S = 30.0


class Place:
    """A folder with agents and a workflow that uses one, and `peg` in processes that share one home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        (self.folder / "crew.py").write_text(AGENTS)
        (self.folder / "odd.yaml").write_text(FILE)
        self._home = folder / "home"
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A process that goes on."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PEGBOARD")}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pegboard", *arguments],
            cwd=self.folder,
            env={**environment, "PEGBOARD_HOME": str(self._home), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def peg(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a process that ends."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=DEADLINE_S)
        return process.returncode, out.strip(), err

    def interrupted(self, *arguments: str) -> None:
        """A run that Ctrl-C ends while an agent waits; whatever waits later is let go."""
        process = self.start(*arguments)
        deadline = time.monotonic() + DEADLINE_S
        while not (self.folder / "waits").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        (self.folder / "go").touch()

    def stop(self) -> None:
        """End what still goes on."""
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.stop()


@pytest.mark.parametrize("started", [("workflow", "run", "odd.yaml"), ("run", "crew:in_python")])
def test_an_interrupted_workflow_goes_on_in_another_process(place: Place, started: tuple[str, ...]) -> None:
    """Whether its graph is a file or an object: resumed, played back, copied."""
    place.interrupted(*started, "it")

    assert place.peg("runs", "resume", "latest")[:2] == (0, "it waited")
    assert place.peg("runs", "replay", "latest")[:2] == (0, "it waited")
    assert place.peg("runs", "fork", "latest", "--run")[:2] == (0, "it waited")


@pytest.mark.parametrize("change", ["written", "gone"])
def test_a_run_goes_on_with_the_workflow_that_it_began_with(place: Place, change: str) -> None:
    """What became of the file meanwhile is another workflow; that it was written is said."""
    place.interrupted("workflow", "run", "odd.yaml", "it")
    file = place.folder / "odd.yaml"
    file.unlink()
    if change == "written":
        file.write_text("nodes: {other: {transform: count}}")
    code, said, told = place.peg("runs", "resume", "latest")

    assert (code, said) == (0, "it waited")
    assert ("odd.yaml` was written since" in told) == (change == "written")


@pytest.mark.parametrize("command", ["prompt", "context", "explain"])
def test_who_asked_a_model_is_named_where_the_workflow_did_not(place: Place, command: str) -> None:
    """With the id under which to look at what was sent."""
    (place.folder / "asking.yaml").write_text('nodes: {one: {agent: "crew:asks"}, two: {transform: text}}')
    assert place.peg("workflow", "run", "asking.yaml", "it")[0] == 0
    _, said, told = place.peg("runs", command, "latest")
    child = re.search(r"sent nothing to a model; its child runs did: `(\S+)` \(asks\)", said + told)

    assert child is not None
    assert place.peg("runs", command, child[1])[0] == 0


def test_what_a_function_of_the_user_opens_is_no_plugins_doing(place: Place) -> None:
    """A workflow calls it, and it is the user's all the same."""
    (place.folder / "go").touch()
    code, _, told = place.peg("run", "crew:in_python", "it")

    assert code == 0
    assert "without permission" not in told
