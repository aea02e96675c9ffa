"""A host program for the failure scenarios: opens a board, does what its argument says, and tells what came of it.

`python host.py ORDER` with an order as JSON, `{"board": {…}, "do": [[verb, argument…]…]}`, prints one JSON object as
its last line. What is not caught here ends the process, as it would end the program of a person; and nothing is done to
make the process end, so that what a plugin left behind could keep it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import resource
import sys
import threading
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

from pegboard import Agent, Pegboard, PegboardError, RunResult, tool
from pegboard.types import ToolResult
from pegboard_replay import ScriptedModel, call, turn


@tool(effect="pure", inline=True)
def add(a: int, b: int) -> int:
    """Add two integers: what a host program of somebody gives its agents."""
    return a + b


class FastClock:
    """A clock that goes faster than others, so that long limits can be tried for real."""

    def __init__(self, speed: float) -> None:
        self.speed = speed

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic() * self.speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)


class Lines(logging.Handler):
    """Keeps what pegboard logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Session:
    """One open board and the verbs of an order."""

    def __init__(self, board: Pegboard) -> None:
        self.board = board

    async def run(self, *calls: Any, **options: Any) -> dict[str, Any]:
        """A run whose model makes these calls, turn by turn, and then says `done`.

        Each is `[name, arguments]`, or a list of such for a turn of several.
        """
        turns: list[Any] = [*map(_turn, calls), "done"]
        agent = Agent("tester", model=ScriptedModel(turns), tools=[add], tiers=("core", "toolchain", "toolbelt"))
        return _told(await self.board.run(agent, "go", check=False, **options))

    async def run_out(self) -> dict[str, Any]:
        """A run whose model fails."""
        return _told(await self.board.run(Agent("tester", model=ScriptedModel([])), "go", check=False))

    async def run_sync(self) -> dict[str, Any]:
        """What a person tries who does not know that a loop is running."""
        return _told(self.board.run_sync("go"))

    async def runs(self, count: int, *calls: Any) -> dict[str, int]:
        """Many runs; how often each outcome came."""
        found = Counter([str((await self.run(*calls))["results"]) for _ in range(count)])
        return dict(found)

    async def activate(self, plugin: str) -> str:
        await self.board.plugins.activate(plugin)
        return self.board.plugins.state(plugin)

    async def disable(self, plugin: str) -> str:
        await self.board.plugins.disable(plugin)
        return self.board.plugins.state(plugin)

    async def enable(self, plugin: str) -> str:
        await self.board.plugins.enable(plugin)
        return self.board.plugins.state(plugin)

    async def pass_s(self, seconds: float) -> None:
        """Let time of the board pass."""
        await self.board.clock.sleep(seconds)

    async def disable_during_call(self, plugin: str, name: str) -> dict[str, Any]:
        """Disable a plugin while a tool of it runs, from when the file `began` is there until there is `go`."""
        running = asyncio.create_task(self.run([name, {}]))
        await asyncio.to_thread(_wait_for, Path("began"))
        await self.board.plugins.disable(plugin)
        await asyncio.to_thread(Path("go").touch)
        return await running

    async def beside_another_board(self, plugin: str, *calls: Any) -> list[dict[str, Any]]:
        """Runs on this board and on another one in this process, on which a plugin is then disabled; and once more."""
        async with Pegboard(autoload=True) as board:
            other = Session(board)
            found = [await self.run(*calls), await other.run(*calls)]
            await other.disable(plugin)
            return [*found, await self.run(*calls), await other.run(*calls)]

    async def write(self, path: str, text: str) -> None:
        """Change a file, as an upgrade under a running process does."""
        await asyncio.to_thread(Path(path).write_text, text, encoding="utf-8")

    async def order(self, hook: str) -> list[str]:
        return [row.plugin for row in self.board.plugins.dispatcher.order(hook)]

    async def switch(self, plugin: str, warm_up: int, times: int) -> dict[str, list[float]]:
        """Enable and disable again and again: what the process holds after `warm_up` rounds and `times` rounds more."""
        for _ in range(warm_up):
            await self._once(plugin)
        tracemalloc.start()
        before = _held()
        for _ in range(times):
            await self._once(plugin)
        after = _held()
        return {name: [before[name], after[name]] for name in before}

    async def _once(self, plugin: str) -> None:
        await self.board.plugins.enable(plugin)
        await self.board.plugins.activate(plugin)
        await self.board.plugins.disable(plugin)


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def _turn(calls: list[Any]) -> Any:
    if isinstance(calls[0], str):
        return call(calls[0], **calls[1])
    return turn(*(call(name, **arguments) for name, arguments in calls))


def _held() -> dict[str, float]:
    gc.collect()
    return {
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "memory_bytes": tracemalloc.get_traced_memory()[0],
    }


def _told(result: RunResult) -> dict[str, Any]:
    results = [part for message in result.messages for part in message.parts if isinstance(part, ToolResult)]
    return {
        "output": result.output,
        "end": result.end_reason,
        "error": _error(result.error) if result.error else None,
        "results": [[part.status, part.text] for part in results],
        "undeclared": [
            [event.plugin, event.data["what"], event.data["target"]]
            for event in result.events
            if event.kind == "plugin.undeclared"
        ],
        "degraded": [[entry.plugin, entry.why, entry.code] for entry in result.degraded],
    }


def _error(error: BaseException) -> dict[str, Any]:
    if isinstance(error, PegboardError):
        return {**error.to_json(), "run": None}
    return {"code": type(error).__name__, "message": str(error)}


async def _do(session: Session, verb: str, arguments: list[Any]) -> Any:
    try:
        return await getattr(session, verb)(*arguments)
    except PegboardError as error:
        return {"error": _error(error)}


async def main(order: dict[str, Any], log: Lines) -> dict[str, Any]:
    """Open the board, obey, and tell."""
    clock = {"clock": FastClock(order["speed"])} if order["speed"] != 1 else {}
    async with Pegboard(**{"autoload": True, **clock, **order.get("board", {})}) as board:
        session = Session(board)
        did = [await _do(session, verb, arguments) for verb, *arguments in order["do"]]
        pegs = {peg.id: peg for peg in board.plugins.records()}
        return {
            "did": did,
            "states": {id: f"{peg.state}({peg.reason})" if peg.reason else peg.state for id, peg in pegs.items()},
            "why": {id: peg.message for id, peg in pegs.items()},
            "fix": {id: peg.hint for id, peg in pegs.items()},
            "faults": [
                [fault.record.plugin, fault.record.hook, fault.record.outcome, fault.record.error_code]
                for fault in board.plugins.faults.kept
            ],
            "fault_count": board.plugins.faults.count,
            "owners": sorted({f"{fault.record.dist} {fault.record.version}" for fault in board.plugins.faults.kept}),
            "events": [[event.kind, event.plugin, event.data] for event in board.log],
            "modules": sorted(name for name in sys.modules if name.startswith("pegboard_")),
            "log": log.lines,
            "most_memory_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }


if __name__ == "__main__":
    lines = Lines()
    logging.getLogger("pegboard").addHandler(lines)
    told = asyncio.run(main(json.loads(sys.argv[1]), lines))
    print(json.dumps(told, default=repr), flush=True)
