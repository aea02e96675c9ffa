"""A process is killed in the middle of an unsafe step of a child run: a person is told, and the parent goes on."""

from __future__ import annotations

import shlex
import signal
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="without signals")

JOBS = """
import os, signal
from pathlib import Path
from pegboard import Agent, ToolContext, tool
from pegboard.types import evolve
from pegboard_replay import FunctionModel, call
from pegboard_workflow import Flow


@tool(effect="unsafe")
def pay() -> str:
    "Pay, and in the first life be killed before that is recorded."
    first = not Path("paid").exists()
    with open("paid", "a") as file:
        file.write("once\\n")
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
    return "paid again"


def once(name, last):
    def answer(request):
        return last(request.messages[-1]) if any(message.tool_calls for message in request.messages) else call(name)

    return FunctionModel(answer)


payer = Agent("payer", model=once("pay", lambda said: f"payer: {said.parts[0].text}"), tools=[pay])


@tool(effect="pure")
async def delegate(ctx: ToolContext) -> str:
    "Have it paid."
    return str((await ctx.run.call_agent(payer, "pay")).output)


class Careless(Agent):
    async def execute(self, ctx, state, turns):
        return evolve(state, output=(await ctx.call_agent(payer, "pay", required=False)).output)


by_tool = Agent("by_tool", model=once("delegate", lambda said: said.parts[0].text), tools=[delegate])
careless = Careless("careless")

flow = Flow("by_node")
flow.add("paying", agent=payer, inputs="pay")
by_node = flow.agent()

flow = Flow("by_deep_node")
flow.add("paying", agent=by_tool, inputs="pay", required=False)
by_deep_node = flow.agent()
"""


@pytest.mark.parametrize("parent", ["by_tool", "careless", "by_node", "by_deep_node"])
def test_a_doubt_inside_a_child_is_told_and_settled(place: Place, parent: str) -> None:
    """The error names run and step, its hint is the command that settles it, and then the parent comes to its end."""
    (place.work / "jobs.py").write_text(JOBS, encoding="utf-8")
    everything = {"PEGBOARD_DISABLE_PLUGINS": ""}

    killed = place.peg("run", f"jobs:{parent}", "go", **everything)
    (run,) = [row["run"] for row in place.json("runs", "list", **everything)["data"]["runs"]]
    stopped = place.json("runs", "resume", run, **everything)
    error = stopped["error"]
    peg, *resolve = shlex.split(error["hint"])
    child, step = resolve[-3:-1]
    settled = place.peg(*resolve, "--result", '"it was paid"', **everything)
    ended = place.peg("runs", "resume", run, **everything)

    assert killed.returncode == -signal.SIGKILL
    assert (error["code"], error["exit_code"]) == ("tool.unsafe_unknown", 7)
    assert child.startswith(f"{run}.")
    assert f"step `{step}` of run `{child}`" in error["message"]
    assert (peg, settled.returncode) == ("peg", 0)
    assert settled.stdout.endswith(f"next: peg runs resume {run}\n")
    assert (ended.returncode, "payer: it was paid" in ended.stdout) == (0, True)
    assert (place.work / "paid").read_text() == "once\n"
