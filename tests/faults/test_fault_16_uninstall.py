"""Scenario 16: a plugin goes, comes back, or another takes its name. Nothing is left, and nothing is inherited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

ASKING = {"id": "hammer", "permissions": {"exec": ["git"]}}


def granted(place: Place) -> Any:
    return place.json("plugins", "info", "hammer")["data"]["granted"]


def settle(place: Place) -> None:
    """Install it, as a person does who looked at what it asks for, and start once."""
    place.plugin(ASKING)
    place.host()
    assert granted(place) == {"exec": ["git"]}


def test_an_uninstall_leaves_nothing(place: Place) -> None:
    """No file, grant, quarantine, switch or setting."""
    settle(place)
    (place.home / "config").mkdir()
    (place.home / "config" / "config.toml").write_text("[plugins.hammer]\nenabled = true\n\n[limits]\nturns = 5\n")

    done = place.peg("plugins", "uninstall", "hammer")

    assert done.returncode == 0
    assert list(place.site.iterdir()) == []
    assert "hammer" not in (place.home / "config" / "config.toml").read_text()
    assert "turns = 5" in (place.home / "config" / "config.toml").read_text()
    assert "leftover" not in place.peg("plugins", "doctor").stdout


def test_settings_can_be_kept(place: Place) -> None:
    """`--keep-config`."""
    settle(place)
    (place.home / "config").mkdir()
    (place.home / "config" / "config.toml").write_text("[plugins.hammer]\nenabled = true\n")

    place.peg("plugins", "uninstall", "hammer", "--keep-config")

    assert "[plugins.hammer]" in (place.home / "config" / "config.toml").read_text()


@pytest.mark.parametrize("by", ["peg", "another installer"])
def test_consent_is_asked_for_again(place: Place, by: str) -> None:
    """A grant dies with its distribution, also when that went without a word to us; the doctor names the command."""
    settle(place)
    if by == "peg":
        place.peg("plugins", "uninstall", "hammer")
    else:
        place.site.joinpath("pegboard_hammer-1.0.0.dist-info", "entry_points.txt").unlink()
        place.host()
    place.plugin(ASKING)

    place.host()

    assert granted(place) is None
    assert "peg plugins grant hammer" in place.peg("plugins", "doctor").stdout
    assert place.peg("plugins", "enable", "hammer").returncode == 7  # nobody can be asked here
    assert place.peg("plugins", "enable", "hammer", "--yes").returncode == 0
    assert granted(place) == {"exec": ["git"]}


def test_another_distribution_inherits_nothing(place: Place) -> None:
    """It loads under the name that is free now, without the permissions of the one before it."""
    settle(place)
    place.peg("plugins", "uninstall", "hammer")
    place.plugin(ASKING, dist="hammer", package="hammer_of_another")

    told = place.host(["activate", "hammer"])

    assert told["states"]["hammer"] == "active"
    assert granted(place) is None


def test_another_distribution_inherits_nothing_while_the_first_is_there(place: Place) -> None:
    """Not even when the switches say that it is to have the name."""
    settle(place)
    place.plugin(ASKING, dist="hammer", package="hammer_of_another")
    place.peg("config", "set", 'overrides."plugin:hammer"', "hammer")
    place.host(["activate", "hammer"])

    found = place.json("plugins", "info", "hammer")["data"]

    assert (found["dist"], found["state"], found["granted"]) == ("hammer", "ready", None)
    assert "peg plugins grant hammer" in place.peg("plugins", "doctor").stdout
    assert place.peg("plugins", "enable", "hammer").returncode == 7


def test_settings_of_a_plugin_that_is_not_there(place: Place) -> None:
    """A warning, at the start and from the doctor; nothing else changes."""
    (place.home / "config").mkdir()
    (place.home / "config" / "config.toml").write_text('[plugins.gone]\ncolor = "red"\n')

    done = place.peg("run", "-m", "scripted:demo", "hello")
    doctor = place.peg("plugins", "doctor")

    assert done.returncode == doctor.returncode == 0
    assert "gone" in done.stderr
    assert "gone" in doctor.stdout
