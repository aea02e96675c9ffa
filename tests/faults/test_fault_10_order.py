"""Scenario 10: wishes that contradict one another, name nobody, or leave all open. The order is always the same."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

HOOK = "def next_phase(self, proposed):\n    return None"
PLUGINS: dict[str, dict[str, Any]] = {
    "audit": {"band": -60},
    "budget": {"after": ["audit"]},
    "cache": {"before": ["alpha"]},
    "alpha": {},
    "beta": {"after": ["nobody"]},
    "watch": {"band": 60},
}
ORDER = ["audit", "beta", "budget", "cache", "alpha", "watch"]


def order(place: Place) -> dict[str, list[str]]:
    """The plugins of `next_phase` in order, each with its reasons."""
    rows = place.json("plugins", "order", "next_phase")["data"]["rows"]
    return {row["plugin"]: row["reasons"] for row in rows}


def test_a_cycle_is_reported_and_broken(place: Place) -> None:
    """The wishes of the highest id are dropped; the start goes on, log and doctor say which way round it went."""
    place.hooking("one", HOOK, after=["two"])
    place.hooking("two", HOOK, after=["one"])

    told = place.host(["run", ["add", {"a": 1, "b": 2}]], ["order", "next_phase"])
    found = order(place)

    assert told["did"][0]["end"] == "completed"
    assert told["did"][1] == list(found) == ["two", "one"]
    assert any("has a cycle" in line and "one" in line and "two" in line for line in told["log"])
    assert any("they form a cycle" in reason for reason in found["two"])
    assert "peg plugins order next_phase" in place.peg("plugins", "doctor").stdout


def test_a_wish_that_names_nobody_is_ignored(place: Place) -> None:
    """And says so."""
    place.hooking("one", HOOK, after=["nobody"])

    assert "after `nobody` ignored: not there" in order(place)["one"]


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_the_order_of_installation_does_not_matter(place: Place, rounds: int) -> None:
    """Bands, then wishes, then ids; whatever is installed first, and on every start."""
    shuffler = random.Random(0)
    for _ in range(rounds):
        names = shuffler.sample(sorted(PLUGINS), len(PLUGINS))
        made = [place.hooking(name, HOOK, **PLUGINS[name]) for name in names]

        assert list(order(place)) == ORDER, names

        for dist in made:
            dist.remove()


def test_what_is_told_is_what_is_called(place: Place) -> None:
    """`peg plugins order` imports nothing and says what the board does."""
    for name, options in reversed(PLUGINS.items()):
        place.hooking(name, HOOK, **options)

    told = place.host(["run", ["add", {"a": 1, "b": 2}]], ["order", "next_phase"])

    assert told["did"][1] == list(order(place)) == ORDER
