"""Scenario 8: a hook fails again and again. It is asked a bounded number of times, logged a bounded number of times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

ADD = ["add", {"a": 1, "b": 2}]
FAILS = "    raise RuntimeError(f'failure {time.monotonic()}')"
LAYER = f"async def tool_call(self, call, call_next):\n{FAILS}"
GATE = f"async def authorize(self, action):\n{FAILS}"
CALLS = [100, pytest.param(1000, marks=pytest.mark.slow)]
SPEED = 60.0
"""The pause of 30 s takes half a second."""
THREE_HOOKS = """
    @hookimpl
    async def tool_call(self, call, call_next):
        raise RuntimeError('x')
    @hookimpl
    async def model_request(self, request, call_next):
        raise RuntimeError('x')
    @hookimpl
    def next_phase(self, proposed):
        raise RuntimeError('x')
"""


@pytest.mark.parametrize("calls", CALLS)
def test_a_layer_is_asked_three_times(place: Place, calls: int) -> None:
    """Every call gets its result; the log has a line per new text and one for the opening, not one per call."""
    place.hooking("broken", LAYER)

    told = place.host(["runs", calls, ADD])

    assert told["did"] == [{"[['ok', '3']]": calls}]
    assert told["fault_count"] == 3
    assert len(told["log"]) == 4
    assert "plugin `broken` is not asked in hook `tool_call` for 30 s: it failed" in told["log"][-1]


@pytest.mark.parametrize("calls", CALLS)
def test_a_gate_is_asked_three_times_and_denies_always(place: Place, calls: int) -> None:
    """Not being asked does not open it."""
    place.hooking("broken", GATE)

    told = place.host(["runs", calls, ADD])

    assert sum(told["did"][0].values()) == calls
    assert all("denied" in outcome and "`broken`" in outcome for outcome in told["did"][0])
    assert told["fault_count"] == 3


def test_it_recovers_after_the_pause(place: Place) -> None:
    """After 30 s it is asked again, and one success ends the matter; a failure makes the pause longer."""
    place.hooking(
        "broken",
        "async def authorize(self, action):\n    self.calls = getattr(self, 'calls', 0) + 1\n"
        "    if self.calls < 5:\n        raise RuntimeError('not yet')",
    )

    told = place.host(["runs", 5, ADD], ["pass_s", 31], ["run", ADD], ["pass_s", 61], ["runs", 3, ADD], speed=SPEED)

    first, _, probe, _, later = told["did"]
    assert all("denied" in outcome for outcome in first)
    assert probe["results"][0][0] == "denied"
    assert later == {"[['ok', '3']]": 3}
    assert told["fault_count"] == 4
    assert "answers in hook `authorize` again; it failed 4 times" in told["log"][-1]


def test_three_openings_are_a_quarantine(place: Place) -> None:
    """Off on this board, off at the next start without an import; an upgrade is a new chance, and so is a person."""
    code = THREE_HOOKS.strip().removeprefix("@hookimpl\n    ")
    manifest = {"id": "broken", "hooks": {"tool_call": {}, "model_request": {}, "next_phase": {}}}
    files = {"plugin.py": f"from pegboard import hookimpl\n\n\nclass Plugin:\n    @hookimpl\n    {code}"}
    made = place.plugin(manifest, files)

    told = place.host(["runs", 3, ADD], ["pass_s", 0.1])
    row = place.rows()["broken"]
    again = place.host(["runs", 3, ADD])
    made.remove()
    place.plugin(manifest, files, version="1.0.1")

    assert told["states"]["broken"] == "quarantined(breaker)"
    assert (row["state"], row["fix"]) == ("quarantined", "peg plugins enable broken --test")
    assert again["fault_count"] == 0
    assert "pegboard_broken" not in again["modules"]
    assert place.state() == "ready"


def test_a_person_lets_it_out(place: Place) -> None:
    """`enable --test` tries it first, in a process of its own: what can be activated is on again."""
    code = THREE_HOOKS.strip().removeprefix("@hookimpl\n    ")
    manifest = {"id": "broken", "hooks": {"tool_call": {}, "model_request": {}, "next_phase": {}}}
    place.plugin(
        manifest, {"plugin.py": f"from pegboard import hookimpl\n\n\nclass Plugin:\n    @hookimpl\n    {code}"}
    )
    place.host(["runs", 3, ADD], ["pass_s", 0.1])
    assert place.state() == "quarantined"

    done = place.peg("plugins", "enable", "broken", "--test")

    assert done.returncode == 0
    assert place.state() == "ready"


def test_a_quarantined_gate_still_denies(place: Place) -> None:
    """Whoever could make a policy fail three times over would be rid of it otherwise."""
    code = THREE_HOOKS.replace("next_phase(self, proposed)", "authorize(self, action)").strip()
    place.plugin(
        {"id": "broken", "hooks": {"tool_call": {}, "model_request": {}, "authorize": {}}},
        {"plugin.py": f"from pegboard import hookimpl\n\n\nclass Plugin:\n    {code}"},
    )

    told = place.host(["runs", 3, ADD], ["pass_s", 0.1], ["run", ADD])

    assert told["states"]["broken"] == "quarantined(breaker)"
    assert told["did"][2]["results"][0][0] == "denied"
