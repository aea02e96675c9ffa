"""pegboard in the peer benchmark: the seven functions that the harness asks of an adapter, and nothing that helps.

Run by `peers.py`, with the folder of the harness on the path. `BENCH_PLUGINS` is `none`, `stream` (one transformer
of streams) or `default` (every installed plugin, the console writing to nowhere, and one that watches events);
`BENCH_TOOL` is `inline`, or `thread` for a plain function that may block. `TOOL=async` is the harness' own switch.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import common  # type: ignore[import-not-found]  # of the harness
from pegboard import Agent, Message, ModelBase, Pegboard, hookimpl, tool
from pegboard.events import Event
from pegboard.history import MessageLog
from pegboard.interfaces import RunContext
from pegboard.types import Finish, ModelChunk, ModelRequest, StreamEvent, Usage

USAGE = Usage(1, 1, 0, 0, 0, 1, "provider")
PLUGINS = os.environ.get("BENCH_PLUGINS", "none")
ADD = tool(effect="pure", inline=os.environ.get("BENCH_TOOL", "inline") == "inline")(common.add)


class Scripted(ModelBase):
    """Answers at once with what the harness' script says."""

    provider, name = "bench", "scripted"

    def __init__(self, script: Any) -> None:
        self.script = script

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        script = self.script
        if script.sleep:
            await asyncio.sleep(script.sleep)
        if script.mode == "stream":
            for _ in range(common.N_DELTAS):
                yield ModelChunk(text="tok ")
            yield ModelChunk(finish=Finish("stop", USAGE))
            return
        calls = script.next(request.messages[-1].role == "tool")
        for _ in range(calls):
            # Other arguments each time: the same call again and again would be refused as a stuck loop, unexecuted.
            id = script.call_id()
            yield ModelChunk(call_delta=(id, "add", f'{{"a": 1, "b": {script.n}}}'))
        if not calls:
            yield ModelChunk(text=common.TEXT)
        yield ModelChunk(finish=Finish("tool_calls" if calls else "stop", USAGE))


class Watching:
    """Sees every event."""

    def __init__(self) -> None:
        self.seen = 0

    @hookimpl
    def on_event(self, event: Event) -> None:
        self.seen += 1


class Transforming:
    """Passes a stream on."""

    @hookimpl
    async def transform_stream(
        self, ctx: RunContext, stream: AsyncIterator[StreamEvent]
    ) -> AsyncGenerator[StreamEvent, None]:
        async for event in stream:
            yield event


def _board() -> Pegboard:
    if PLUGINS == "default":
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  # as long as the process
        return Pegboard(autoload=True, plugins=[Watching()])
    return Pegboard(plugins=[Transforming()] if PLUGINS == "stream" else [])


BOARD = _board()
SYNC_BOARD = _board()
"""For `run_sync` a board of its own, since a board belongs to the event loop that it was opened on."""


def build(mode: str, k: int, sleep: float) -> Agent:
    return Agent(model=Scripted(common.Script(mode, k, sleep)), tools=[ADD], instructions=common.SYSTEM)


async def run(agent: Agent) -> Any:
    await BOARD.start()
    return (await BOARD.run(agent, common.PROMPT)).output


def run_sync(agent: Agent) -> Any:
    return SYNC_BOARD.run_sync(agent, common.PROMPT).output


async def stream(agent: Agent) -> int:
    await BOARD.start()
    seen = 0
    async for event in BOARD.stream(agent, common.PROMPT):
        if event.type == "text":
            seen += 1
    return seen


def history(count: int) -> Sequence[Message]:
    """A conversation as a run hands it back, which is a view of its log; a plain list would be checked each time."""
    make = (Message.user, Message.assistant)
    return MessageLog([make[i % 2](f"message number {i} of the conversation") for i in range(count)]).view()


async def run_hist(agent: Agent, messages: Sequence[Message]) -> Any:
    await BOARD.start()
    return (await BOARD.run(agent, common.PROMPT, history=messages)).output


def fresh(agent: Agent) -> Agent:
    return agent


if __name__ == "__main__":
    common.main(sys.modules[__name__])
