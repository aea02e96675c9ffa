"""Scenario 12: a plugin is upgraded under a running host. Old code and new files do not fit, and that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.conftest import Place


def test_an_upgrade_under_a_running_host(place: Place) -> None:
    """The old code keeps running, the state asks for a restart, and the next start has the new version."""
    made = place.sound()
    newer = made.manifest.read_text().replace("A plugin of a test", "A newer plugin")

    told = place.host(
        ["run", place.sound_call],
        ["write", str(made.manifest), newer],
        ["pass_s", 5],
        ["run", place.sound_call],
        speed=100,
    )

    assert told["did"][3]["results"] == [place.sound_result]
    assert told["states"]["sound"] == "needs_restart(files)"
    assert "its files changed while it was running" in told["why"]["sound"]
    assert place.rows()["sound"]["summary"] == "A newer plugin"


def test_files_that_change_before_the_first_use(place: Place) -> None:
    """A plugin that was ready and is spoilt by the time it is needed is an error of that plugin alone."""
    place.sound()
    late = place.plugin({"id": "late"})

    told = place.host(
        ["write", str(late.manifest.with_name("plugin.py")), "def ("], ["activate", "late"], ["run", place.sound_call]
    )

    assert told["did"][1]["error"]["code"] == "plugin.load"
    assert told["did"][1]["error"]["dist"] == "pegboard-late"
    assert told["did"][2]["results"] == [place.sound_result]
