"""Scenario 13: what a plugin requires is missing, off, in quarantine or a circle. It is found before any import."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

DYING = {"plugin.py": "raise SystemExit(9)"}


def missing(place: Place) -> None:
    place.plugin({"id": "broken", "requires": ["base"]}, DYING)


def too_old(place: Place) -> None:
    place.plugin({"id": "base"}, DYING, version="0.2.0")
    place.plugin({"id": "broken", "requires": ["base>=0.3"]}, DYING)


def switched_off(place: Place) -> None:
    place.plugin({"id": "base"}, DYING)
    place.peg("plugins", "disable", "base")
    place.plugin({"id": "broken", "requires": ["base"]}, DYING)


def quarantined(place: Place) -> None:
    start = {"activation": ["onStartup"], "startup_reason": "to be met"}
    place.plugin({"id": "base", **start}, {"plugin.py": "import time\ntime.sleep(3600)\n"})
    place.host(speed=100)
    place.plugin({"id": "broken", "requires": ["base"]}, DYING)


def chained(place: Place) -> None:
    place.plugin({"id": "base", "requires": ["ground"]}, DYING)
    place.plugin({"id": "broken", "requires": ["base"]}, DYING)


def itself_in_a_circle(place: Place) -> None:
    place.plugin({"id": "base", "requires": ["broken"]}, DYING)
    place.plugin({"id": "broken", "requires": ["base"]}, DYING)


def without_capability(place: Place) -> None:
    place.plugin({"id": "broken", "requires": ["cap:store"]}, DYING)


CASES: list[tuple[Callable[[Place], None], str, str]] = [
    (missing, "requires `base`, which is not installed", "peg plugins list --all"),
    (too_old, "requires `base>=0.3`, and pegboard-base 0.2.0 is installed", "peg plugins update base"),
    (switched_off, "requires `base`, which is disabled(user)", "peg plugins enable base"),
    (quarantined, "requires `base`, which is quarantined", "peg plugins enable base --test"),
    (chained, "requires `base`, which is rejected(requires)", "peg plugins list --all"),
    (itself_in_a_circle, "form a cycle: broken → base → broken", "peg plugins disable broken"),
    (without_capability, "requires the capability `store`", "peg plugins list --all --why"),
]


@pytest.mark.parametrize(("arrange", "told", "fix"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_it_is_rejected_before_the_import(place: Place, arrange: Callable[[Place], None], told: str, fix: str) -> None:
    """With what is missing, in which state that is, and the command that gets at the root of it."""
    place.sound()
    arrange(place)

    row = place.rows()["broken"]
    host = place.host(["run", place.sound_call], ["activate", "broken"])

    assert (row["state"], row["reason"]) == ("rejected", "requires")
    assert told in row["message"]
    assert row["fix"] == fix
    assert host["did"][0]["results"] == [place.sound_result]
    assert host["did"][1]["error"]["code"] == "plugin.requires"
    assert not any(name.startswith(("pegboard_broken", "pegboard_base")) for name in host["modules"])


def test_what_is_required_is_there_first(place: Place) -> None:
    """Where nothing is missing, the order of activation is that of the requirements."""
    for id, needs in (("alpha", ["omega"]), ("omega", [])):
        place.plugin({"id": id, "requires": needs}, {"plugin.py": f"print({id!r})\n\n\nclass Plugin:\n    pass\n"})

    done = place.try_host(["activate", "alpha"])

    assert done.stdout.splitlines()[:2] == ["omega", "alpha"]


@pytest.mark.parametrize(
    ("need", "told"),
    [("no-such-distribution>=1", "which is missing"), ("pegboard>=99", "it would be"), ("click<0.1", "it would be")],
)
def test_a_dependency_that_does_not_hold(place: Place, need: str, told: str) -> None:
    """An installer that was overruled, or another that came after it: the doctor says so, and imports nothing."""
    place.plugin({"id": "broken"}, DYING, requires=[need])

    done = place.peg("plugins", "doctor")

    assert done.returncode == 0  # it may work all the same; that it may not is a warning
    assert "pegboard-broken` needs" in done.stdout
    assert told in done.stdout
