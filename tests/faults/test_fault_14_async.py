"""Scenario 14: async where it must not be, sync where it must not be, or something that nobody awaits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

ADD = ["add", {"a": 1, "b": 2}]
KINDS = {
    "async on_event": ("async def on_event(self, event):\n    pass", "must be a plain `def` that does not wait"),
    "sync around": ("def tool_call(self, call, call_next):\n    pass", "must be `async def`"),
    "generator": ("async def label(self, value):\n    yield frozenset()", "must not be an async generator"),
    "no generator": ("async def transform_stream(self, stream):\n    return stream", "must be an async generator"),
}


@pytest.mark.parametrize("case", KINDS)
def test_the_wrong_kind_of_function_is_refused(place: Place, case: str) -> None:
    """When the plugin is activated, with what the hook asks for; the others run."""
    function, told = KINDS[case]
    place.sound()
    place.hooking("broken", function)

    host = place.host(["activate", "broken"], ["run", place.sound_call])

    assert host["states"]["broken"] == "rejected(kind)"
    assert told in host["did"][0]["error"]["message"]
    # What it would have labelled counts as the worst; that is no reason not to call a tool.
    assert host["did"][1]["results"] == [place.sound_result]


RETURNED = {
    "coroutine": ("asyncio.sleep(0)", "returned a coroutine that nobody awaits"),
    "async generator": ("(x async for x in self.many())", "returned `async_generator`, which nobody awaits"),
    "future": ("asyncio.get_running_loop().create_future()", "returned `Future`, which nobody awaits"),
}


@pytest.mark.parametrize("case", RETURNED)
@pytest.mark.parametrize("hook", ["next_phase(self, proposed)", "authorize(self, action)"], ids=["first", "gate"])
def test_what_nobody_awaits_is_refused(place: Place, hook: str, case: str) -> None:
    """Isolated as the kind demands, in words that say what is wrong, and without a warning of Python about it."""
    returned, told = RETURNED[case]
    many = "\n\nasync def many(self):\n    yield 1"
    place.hooking("broken", f"def {hook}:\n    return {returned}{many}")

    host = place.host(["run", ADD], PYTHONWARNINGS="error")

    assert host["did"][0]["end"] == "completed"
    assert host["did"][0]["results"][0][0] == ("denied" if "authorize" in hook else "ok")
    assert told in host["log"][0]
    assert host["owners"] == ["pegboard-broken 1.0.0"]


def test_the_sync_api_in_a_running_loop(place: Place) -> None:
    """Refused at once instead of waiting for ever, with what to write instead."""
    host = place.host(["run_sync"])

    error = host["did"][0]["error"]
    assert error["code"] == "board.running_loop"
    assert error["hint"] == "await board.run(…)"


def test_a_plugin_that_uses_the_sync_api_in_a_hook(place: Place) -> None:
    """The same, and the fault is the plugin's: the run goes on."""
    place.hooking(
        "broken",
        "async def tool_call(self, call, call_next):\n    from pegboard import Pegboard\n"
        "    with Pegboard() as board:\n        board.run_sync('hello')\n    return await call_next(call)",
    )

    host = place.host(["run", ADD])

    assert host["did"][0]["results"] == [["ok", "3"]]
    assert host["faults"] == [["broken", "tool_call", "error", "board.running_loop"]]
