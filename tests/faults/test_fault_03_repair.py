"""Scenario 3 and pain 1: whatever is wrong with a plugin, the commands that repair things work and import no plugin."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

START = {"id": "broken", "activation": ["onStartup"], "startup_reason": "to be met"}
Break = Callable[["Place"], object]


def with_code(code: str) -> Break:
    """A plugin whose start runs this."""
    return lambda place: place.plugin(START, {"plugin.py": code, "__init__.py": code})


def with_manifest(manifest: str | bytes) -> Break:
    """A plugin with this as its manifest."""
    return lambda place: place.plugin(manifest, plugin="broken")


def orphaned(place: Place) -> None:
    """Metadata of a plugin whose package is gone."""
    shutil.rmtree(place.plugin(START).manifest.parent)


WAYS: dict[str, tuple[Break, str]] = {
    "raises": (with_code("raise ImportError('broken')"), "ready"),
    "syntax": (with_code("def (:"), "ready"),
    "exits": (with_code("raise SystemExit(9)"), "ready"),
    "dies": (with_code("import os; os._exit(9)"), "ready"),
    "hangs": (with_code("import threading; threading.Event().wait()"), "ready"),
    "dependency": (with_code("import no_such_module"), "ready"),
    "no entry": (lambda place: place.plugin({**START, "entry": "pegboard_broken.nowhere:Plugin"}), "ready"),
    "no TOML": (with_manifest("id = = 1\n"), "rejected(schema)"),
    "wrong types": (with_manifest('schema = 1\nid = "broken"\napi = 7\nhooks = []\n'), "rejected(schema)"),
    "orphan": (orphaned, "rejected(files)"),
}
"""Ten ways of being broken, and the state that is seen without an import."""
COMMANDS = {
    "help": ("--help",),
    "list": ("plugins", "list"),
    "info": ("plugins", "info", "broken"),
    "disable": ("plugins", "disable", "broken"),
    "uninstall": ("plugins", "uninstall", "broken"),
    "doctor": ("plugins", "doctor"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("way", WAYS)
def test_repair_commands_work_and_import_no_plugin(place: Place, way: str, command: str) -> None:
    """Exit code 0, or 3 where the doctor has a fault to show; no module of any plugin is imported."""
    breaks, state = WAYS[way]
    breaks(place)
    place.sound()

    done, ran = place.ran(*COMMANDS[command])

    assert done.returncode == (3 if command == "doctor" and state != "ready" else 0), done.stderr
    assert ran == set()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("way", ["raises", "syntax", "dies"])
def test_an_import_would_be_noticed(place: Place, way: str) -> None:
    """The watch that the tests here stand on sees an import also when it fails, and when it ends the process."""
    WAYS[way][0](place)

    _, ran = place.ran("run", "-m", "scripted:demo", "hello")

    assert "pegboard_broken" in ran


@pytest.mark.parametrize("way", WAYS)
def test_what_is_seen_without_an_import(place: Place, way: str) -> None:
    """`plugins list` tells the state, and with a rejection the distribution and what to type; the next one is fine."""
    breaks, state = WAYS[way]
    breaks(place)
    place.sound()

    rows = place.rows()

    row = rows["broken"]
    assert (f"{row['state']}({row['reason']})" if row["reason"] else row["state"]) == state
    assert (row["dist"], row["version"]) == ("pegboard-broken", "1.0.0")
    assert row["fix"].startswith("peg plugins ") is (state != "ready")
    assert rows["sound"]["state"] == "ready"


@pytest.mark.parametrize("way", WAYS)
def test_a_run_without_it(place: Place, way: str) -> None:
    """Disabled, it is not imported and changes nothing about a run."""
    WAYS[way][0](place)
    assert place.peg("plugins", "disable", "broken").returncode == 0

    done, ran = place.ran("run", "-m", "scripted:demo", "hello")

    assert done.returncode == 0
    assert "pegboard_replay" in ran
    assert "pegboard_broken" not in ran
    assert "scripted demo model" in done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_uninstalling_leaves_nothing(place: Place, way: str) -> None:
    """No file, no switch, no grant; and the plugin is no longer listed."""
    WAYS[way][0](place)
    place.peg("plugins", "disable", "broken")

    assert place.peg("plugins", "uninstall", "broken").returncode == 0

    assert [path.name for path in place.site.iterdir()] == []
    assert "broken" not in place.rows()
    assert '"broken"' not in "".join(path.read_text() for path in place.home.rglob("plugins.json"))


def test_every_plugin_can_be_kept_out_at_once(place: Place) -> None:
    """`--no-plugins` and `PEGBOARD_NO_PLUGINS` run core alone, whatever is installed."""
    place.plugin(START, {"plugin.py": "import os; os._exit(9)"})

    option = place.peg("run", "--no-plugins", "hello")
    variable = place.peg("run", "hello", PEGBOARD_NO_PLUGINS="1")

    assert option.returncode == 4  # no plugin, no model
    assert variable.returncode == 4
