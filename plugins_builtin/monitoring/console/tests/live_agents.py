"""Agents for the tests of the live display. They wait at gates, which are named pipes in the working folder."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import Any

import msgspec
from pegboard import Agent, tool
from pegboard_replay import ScriptedModel, call
from pegboard_replay.turns import turn


class Gate:
    """Waits until the test lets it pass."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        descriptor = os.open(self.name, os.O_RDWR | os.O_NONBLOCK)
        passed: asyncio.Future[None] = loop.create_future()

        def pass_on() -> None:
            if not passed.done():
                passed.set_result(None)

        loop.add_reader(descriptor, pass_on)
        try:
            await passed
        finally:
            loop.remove_reader(descriptor)
            with suppress(BlockingIOError):
                os.read(descriptor, 1)
            os.close(descriptor)


@tool(effect="pure")
async def look(gate: str) -> str:
    """Look for something."""
    await Gate(gate).wait()
    return "seen"


@tool(effect="pure")
async def shout() -> str:
    """Write to stderr, as a library might."""
    print("a warning of somebody", file=sys.stderr)
    return "said"


looker = Agent(
    "looker",
    model=ScriptedModel(
        [
            turn("Let me look.", Gate("begin"), call("look", gate="one"), call("look", gate="two")),
            turn("I have\nseen ", Gate("text"), "it ", Gate("more"), "all."),
        ]
    ),
    tools=[look],
)
talker = Agent(
    "talker",
    model=ScriptedModel([call("shout"), call("look", gate="one"), turn(("word " * 40).strip(), Gate("text"), " end")]),
    tools=[look, shout],
)


class Asks(Agent):
    """Calls another agent."""

    async def execute(self, ctx: Any, state: Any, turns: Any) -> Any:
        """Two children at once, one of which fails."""
        await asyncio.gather(
            ctx.call_agent(looker_two, "a"), ctx.call_agent("live_missing", "b", required=False), return_exceptions=True
        )
        return msgspec.structs.replace(state, output="all done")


looker_two = Agent("looker-two", model=ScriptedModel([call("look", gate="one"), "child text"]), tools=[look])
parent = Asks("parent")


class Nodes(Agent):
    """Tells of the nodes of a workflow, as `pegboard-workflow` does."""

    async def execute(self, ctx: Any, state: Any, turns: Any) -> Any:
        """Thirty nodes: some done, some failed, two running."""
        ids = [f"node-{number}" for number in range(30)]
        emit = ctx.emit
        emit("workflow.graph", {"name": "big", "nodes": [{"id": i, "needs": [], "agent": i} for i in ids]})
        for position, id in enumerate(ids[:12]):
            emit("workflow.node", {"node": id, "state": "running", "agent": id})
            if position not in (3, 5):
                more = {"state": "failed", "reason": "no disk"} if position == 7 else {"state": "done"}
                emit("workflow.node", {"node": id, "agent": id, **more})
        await Gate("one").wait()
        return msgspec.structs.replace(state, output="all nodes")


nodes = Nodes("nodes")


class Modules(Agent):
    """Tells what is loaded."""

    async def execute(self, ctx: Any, state: Any, turns: Any) -> Any:
        """The modules of the live display, and rich."""
        found = sorted(name for name in sys.modules if name.partition(".")[0] == "rich" or name in LIVE)
        return msgspec.structs.replace(state, output=f"loaded: {found}")


LIVE = {f"pegboard_console.{name}" for name in ("live", "screen", "footer", "state")}
asker = Agent("asker", model=ScriptedModel([call("dev.act"), call("look", gate="one"), "end"]), tools=["dev.act", look])
modules = Modules("modules")
fails = Agent("fails", model=ScriptedModel([RuntimeError("no")]))


@tool(effect="pure")
async def stay(gate: str) -> str:
    """Stay, whoever cancels."""
    while True:
        try:
            await Gate(gate).wait()
            return "gone"
        except asyncio.CancelledError:
            continue


stubborn = Agent("stubborn", model=ScriptedModel([call("stay", gate="one"), "end"]), tools=[stay])


class Degrades(Agent):
    """Leaves something out."""

    async def execute(self, ctx: Any, state: Any, turns: Any) -> Any:
        """Say so."""
        ctx.degrade("the picture", "no room")
        return msgspec.structs.replace(state, output="without")


degraded = Degrades("degraded")
