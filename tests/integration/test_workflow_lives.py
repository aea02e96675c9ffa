"""A workflow out of a file, in processes of their own: interrupted, gone on with, played back, copied, refused."""

from __future__ import annotations

import re
import signal

import pytest

from tests.integration.conftest import DEADLINE_S, MakePlace, Place, wait_until

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


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    """A place of its own, with agents and a workflow that uses one."""
    return make_place({"crew.py": AGENTS, "odd.yaml": FILE})


def interrupt(place: Place, *arguments: str) -> None:
    """Begin a run that Ctrl-C ends while an agent waits; whatever waits later is let go."""
    process = place.start(*arguments)
    wait_until(lambda: (place.folder / "waits").exists() or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 130, process.communicate()
    (place.folder / "go").touch()


@pytest.mark.parametrize("started", [("workflow", "run", "odd.yaml"), ("run", "crew:in_python")])
def test_an_interrupted_workflow_goes_on_in_another_process(place: Place, started: tuple[str, ...]) -> None:
    """Whether its graph is a file or an object: resumed, played back, copied."""
    interrupt(place, *started, "it")

    assert place.peg("runs", "resume", "latest")[:2] == (0, "it waited")
    assert place.peg("runs", "replay", "latest")[:2] == (0, "it waited")
    assert place.peg("runs", "fork", "latest", "--run")[:2] == (0, "it waited")


@pytest.mark.parametrize("change", ["written", "gone"])
def test_a_run_goes_on_with_the_workflow_that_it_began_with(place: Place, change: str) -> None:
    """What became of the file meanwhile is another workflow; that it was written is said."""
    interrupt(place, "workflow", "run", "odd.yaml", "it")
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
