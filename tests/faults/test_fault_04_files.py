"""Scenario 4: what a distribution promises is not there: the target of its entry, its package, its editable folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

HOOK = {"id": "broken", "hooks": {"authorize": {}}}


@pytest.mark.parametrize(
    ("entry", "code", "told"),
    [
        ("pegboard_broken.nowhere:Plugin", "", "No module named 'pegboard_broken.nowhere'"),
        ("pegboard_broken.plugin:Nothing", "", "has no attribute 'Nothing'"),
        ("pegboard_broken.plugin:Plugin", "class Plugin:\n    pass\n", "has no `@hookimpl` function `authorize`"),
    ],
    ids=["module", "class", "hook"],
)
def test_a_target_that_is_missing(place: Place, entry: str, code: str, told: str) -> None:
    """It shows when the plugin is first needed, with its name; and its gate, which cannot be asked, denies."""
    place.sound()
    place.plugin({**HOOK, "entry": entry}, {"plugin.py": code})

    host = place.host(["run", place.sound_call])

    assert told in host["why"]["broken"]
    assert "`broken`" in host["why"]["broken"]
    assert host["owners"] == ["pegboard-broken 1.0.0"]
    assert [status for status, _ in host["did"][0]["results"]] == ["denied"]
    assert host["states"]["sound"] == "ready"


def without_package(place: Place) -> str:
    made = place.plugin({"id": "broken"})
    shutil.rmtree(made.manifest.parent)
    return str(made.info)


def with_module(place: Place) -> str:
    made = place.plugin({"id": "broken"})
    shutil.rmtree(made.manifest.parent)
    (made.site / "pegboard_broken.py").write_text("")
    return "pegboard_broken"


def with_dots(place: Place) -> str:
    place.plugin({"id": "broken"}, entry_points={"pegboard.plugins": {"broken": "pegboard_broken.plugin:Plugin"}})
    return "pegboard_broken.plugin:Plugin"


def editable(place: Place) -> str:
    """Installed by a path file, as build back ends do it; the folder is a working copy of somebody."""
    made = place.plugin({"id": "broken"})
    source = place.folder / "source"
    shutil.move(made.manifest.parent, source / "pegboard_broken")
    (place.site / "broken.pth").write_text(f"{source}\n")
    (place.site / "sitecustomize.py").write_text(f"import site\nsite.addsitedir({str(place.site)!r})\n")
    return str(made.info)


def deleted_editable(place: Place) -> str:
    told = editable(place)
    shutil.rmtree(place.folder / "source")
    return told


def test_an_editable_plugin_is_used(place: Place) -> None:
    """The working copy that an installer points at is the plugin."""
    editable(place)

    assert place.state() == "ready"


@pytest.mark.parametrize(
    ("spoil", "state"),
    [
        (without_package, "rejected(files)"),
        (deleted_editable, "rejected(files)"),
        (with_module, "rejected(schema)"),
        (with_dots, "rejected(schema)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_metadata_without_its_package(place: Place, spoil: Callable[[Place], str], state: str) -> None:
    """Reported with the place of what is wrong and the command that takes it away, and rejected alone."""
    place.sound()
    where = spoil(place)

    rows = place.rows()
    doctor = place.peg("plugins", "doctor")

    row: dict[str, Any] = rows["broken"]
    assert f"{row['state']}({row['reason']})" == state
    assert where in row["message"]
    assert row["fix"] == "peg plugins uninstall pegboard-broken"
    assert rows["sound"]["state"] == "ready"
    assert doctor.returncode == 3
    assert "pegboard-broken 1.0.0" in doctor.stdout
    assert place.peg("plugins", "uninstall", "pegboard-broken").returncode == 0
    assert "broken" not in place.rows()


def test_it_is_said_at_every_start(place: Place) -> None:
    """A plugin that cannot run is no reason not to start, and none to be silent."""
    without_package(place)

    done = place.peg("run", "-m", "scripted:demo", "hello")

    assert done.returncode == 0
    assert "plugin `broken` (pegboard-broken 1.0.0) is rejected(files)" in done.stderr
    assert "; peg plugins uninstall pegboard-broken" in done.stderr
