"""Scenario 7: a hook never returns. The run ends, with the name of whose fault it is, and so can the process."""

from __future__ import annotations

import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

FOREVER = {
    "never settles": "async def {head}:\n    await asyncio.Event().wait()",
    "swallows its cancel": (
        "async def {head}:\n    while True:\n        try:\n            await asyncio.Event().wait()\n"
        "        except asyncio.CancelledError:\n            pass"
    ),
    "gives way": "async def {head}:\n    while True:\n        await asyncio.sleep(0)",
}
"""Ways in which a coroutine does not come to its end."""
HEADS = {
    "around": "tool_call(self, call, call_next)",
    "gate": "authorize(self, action)",
    "first": "next_phase(self, proposed)",
    "notify": "settle_budget(self, settlement)",
}
LIMIT_S = 0.2
HOLDS = """
async def initialization(self, state, call_next):
    import logging
    noticed = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: noticed.set()
    logging.getLogger("pegboard.plugins").addHandler(handler)
    noticed.wait(60)
    return await call_next(state)
"""
"""Holds the loop until the log says so."""


@pytest.mark.parametrize("way", FOREVER)
@pytest.mark.parametrize("kind", HEADS)
def test_a_coroutine_that_hangs(place: Place, kind: str, way: str) -> None:
    """After its limit it is left behind; the kind says what holds instead, and the run says whose fault it is."""
    place.sound()
    place.hooking("broken", FOREVER[way].format(head=HEADS[kind]), timeout_s=LIMIT_S)

    told = place.host(["run", place.sound_call])

    [run] = told["did"]
    assert run["end"] == "completed"
    assert run["results"][0][0] == ("denied" if kind == "gate" else "ok")
    assert run["degraded"][0][::2] == ["broken", "hook.timeout"]
    assert told["faults"][0] == ["broken", HEADS[kind].partition("(")[0], "timeout", "hook.timeout"]


@pytest.mark.parametrize("body", ["time.sleep(3600)", "threading.Event().wait()"], ids=["sleep", "lock"])
def test_a_blocking_function_that_hangs(place: Place, body: str) -> None:
    """A plain function that says it blocks has a thread of its own, which is left behind; the process ends."""
    place.sound()
    place.hooking("broken", f"def next_phase(self, proposed):\n    {body}", timeout_s=LIMIT_S, blocking=True)

    told = place.host(["run", place.sound_call])

    assert told["did"][0]["results"] == [place.sound_result]
    assert told["faults"][0] == ["broken", "next_phase", "timeout", "hook.timeout"]


def test_a_thread_that_computes_for_ever(place: Place) -> None:
    """It takes its share of the interpreter, and neither the run nor the end of the process."""
    place.sound()
    place.hooking(
        "broken", "def next_phase(self, proposed):\n    while True:\n        pass", timeout_s=LIMIT_S, blocking=True
    )

    told = place.host(["run", place.sound_call])

    assert told["did"][0]["results"] == [place.sound_result]
    assert told["faults"][0][:2] == ["broken", "next_phase"]


def test_two_timeouts_are_enough(place: Place) -> None:
    """The third run does not wait for it any more."""
    place.hooking("broken", FOREVER["never settles"].format(head=HEADS["around"]), timeout_s=LIMIT_S)

    told = place.host(["runs", 5, ["add", {"a": 1, "b": 2}]])

    assert told["did"] == [{"[['ok', '3']]": 5}]
    assert told["fault_count"] == 2
    assert sum("is not asked in hook `tool_call`" in line for line in told["log"]) == 1


def test_a_function_that_holds_the_loop_is_named(place: Place) -> None:
    """Nothing can interrupt it; the watchdog says whose it is while it lasts, and it is not asked again afterwards."""
    place.hooking(
        "broken",
        HOLDS,
    )
    add = ["add", {"a": 1, "b": 2}]

    told = place.host(["run", add], ["pass_s", 0.1], ["run", add])

    assert [run["results"] for run in told["did"][::2]] == [[["ok", "3"]]] * 2
    line = next(line for line in told["log"] if "held the event loop" in line)
    assert line.startswith("plugin `broken` held the event loop")
    assert "in `initialization`" in line
    assert told["faults"] == [["broken", "initialization", "timeout", "hook.timeout"]]


@pytest.mark.parametrize("body", ["threading.Event().wait()", "while True: pass"], ids=["blocks", "computes"])
def test_ctrl_c_twice_ends_a_program_whose_loop_is_held(place: Place, body: str) -> None:
    """The person is told which plugin holds it; two interrupts end the process, whatever it does."""
    place.hooking("broken", f"def next_phase(self, proposed):\n    {body}")

    with place.start("-u", "-P", "-m", "pegboard", "run", "-m", "scripted:demo", "hello") as process:
        guard = threading.Timer(30, process.kill)  # or a failure would hang as the plugin does
        guard.start()
        wait_for(process, "plugin `broken` held the event loop")
        process.send_signal(signal.SIGINT)
        wait_for(process, "once more to stop now")
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate()
        guard.cancel()

    assert process.returncode == 130
    assert "stopped now" in rest


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read what a process says, up to the line with this text."""
    assert process.stderr is not None
    assert any(text in line for line in process.stderr)
