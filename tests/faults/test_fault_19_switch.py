"""Scenario 19: plugins are switched on and off, in mid-call too, or do not want to go. The host stays as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

BYTES_A_ROUND = 2500
"""The board keeps its own log, with an event for each of the four changes of state."""
SLACK_BYTES = 100_000
WAITING = """
import asyncio
from pathlib import Path
from pegboard import hookimpl, tool


@tool(name="slow.tool", effect="pure")
async def slow() -> str:
    \"\"\"Wait until it may go on.\"\"\"
    Path("began").touch()
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    return "finished"


class Plugin:
    @hookimpl
    def provide_tools(self):
        return [slow]

    @hookimpl
    async def tool_call(self, call, call_next):
        return await call_next(call)
"""
OPENING = """
class Plugin:
    def activate(self, ctx):
        self.file = open(__file__)
        ctx.undo(self.file.close)
"""
STUBBORN = {
    "thread": "class Plugin:\n    def deactivate(self, ctx):\n        threading.Event().wait()\n",
    "coroutine": "class Plugin:\n    async def deactivate(self, ctx):\n        await asyncio.Event().wait()\n",
}
START = {"activation": ["onStartup"], "startup_reason": "to be met"}


@pytest.mark.parametrize("times", [50, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["tools", "blocking hook", "undo"])
def test_on_and_off_again(place: Place, kind: str, times: int) -> None:
    """Threads, tasks and descriptors are as many as before, and memory grows by no more than the log of it."""
    if kind == "tools":
        place.sound()
    elif kind == "blocking hook":
        place.hooking("sound", "def authorize(self, action):\n    return None", blocking=True)
    else:
        place.plugin({"id": "sound"}, {"plugin.py": OPENING})

    held = place.host(["switch", "sound", 20, times])["did"][0]

    for what in ("threads", "tasks", "descriptors"):
        before, after = held[what]
        assert after == before, what
    before, after = held["memory_bytes"]
    assert after - before < times * BYTES_A_ROUND + SLACK_BYTES


def test_disabled_in_the_middle_of_a_call(place: Place) -> None:
    """The call comes to its end with its result; the next one finds nobody."""
    tools = {"tools": [{"name": "slow.tool", "effect": "pure"}]}
    place.plugin(
        {"id": "slow", "hooks": {"provide_tools": {}, "tool_call": {}}, "contributes": tools}, {"plugin.py": WAITING}
    )

    told = place.host(["disable_during_call", "slow", "slow.tool"], ["run", ["slow.tool", {}]])

    assert told["did"][0]["results"] == [["ok", "finished"]]
    assert told["states"]["slow"] == "disabled(host)"
    [[status, text]] = told["did"][1]["results"]
    assert (status, "there is no tool `slow.tool`" in text) == ("error", True)
    assert told["faults"] == []


@pytest.mark.parametrize("way", STUBBORN)
def test_one_that_does_not_want_to_go(place: Place, way: str) -> None:
    """After 5 s it is left behind: the others are told to go, what it wanted undone is undone, and the process ends."""
    head = "import asyncio, threading\n\n\n"
    undo = "    def activate(self, ctx):\n        ctx.undo(lambda: print('undone', flush=True))\n"
    place.plugin({"id": "broken", **START}, {"plugin.py": head + STUBBORN[way] + undo})
    place.plugin(
        {"id": "afar", **START},
        {"plugin.py": "class Plugin:\n    def deactivate(self, ctx):\n        print('told to go', flush=True)\n"},
    )

    done = place.try_host(["disable", "broken"], speed=20)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "undone"
    assert "told to go" in done.stdout
    assert "plugin.timeout" in done.stdout


def test_switching_by_command_is_for_the_next_start(place: Place) -> None:
    """`peg plugins disable` during a run does not reach into it; the next one goes without."""
    place.sound()

    told = place.host(["run", place.sound_call])
    place.peg("plugins", "disable", "sound")
    later = place.host(["run", place.sound_call])

    assert told["did"][0]["results"] == [place.sound_result]
    assert later["did"][0]["results"][0][0] == "error"
    assert later["states"]["sound"] == "disabled(user)"
