"""Scenario 5: a manifest that is missing, unreadable, wrong, newer or enormous costs its plugin, and little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

GOOD = 'schema = 1\nid = "broken"\nsummary = "x"\napi = ">=1.0,<2"\nentry = "pegboard_broken.plugin:Plugin"\n'
ENORMOUS = b"#" * (50 * 1024 * 1024)
BAD: dict[str, tuple[str | bytes, str]] = {
    "no TOML": ("id = = 1\n", "is not TOML"),
    "binary": (bytes(range(256)) * 8, "is not"),
    "no UTF-8": (GOOD.encode() + b'homepage = "\xff"\n', "is not UTF-8"),
    "wrong types": (GOOD.replace('">=1.0,<2"', "1.0"), "api: "),
    "no table": (GOOD + "hooks = [1]\n", "hooks: "),
    "unknown key": (GOOD + "nonsense = 1\n", "nonsense"),
    "empty": ("", "missing"),
    "date": (GOOD + "summary2 = 2020-01-01\n", "date"),
    "nested": (GOOD + "x = " + "[" * 5000 + "]" * 5000 + "\n", "nested"),
    "other id": (GOOD.replace('"broken"', '"other"'), "its entry point is named `broken`"),
    "other package": (GOOD.replace("pegboard_broken.plugin", "os.path"), "lies outside the package"),
    "unknown hook": (GOOD + "[hooks.no_such_hook]\n", "no hook has this name"),
    "long limit": (GOOD + "[hooks.on_event]\ntimeout_s = 99.0\n", "timeout_s: may be at most"),
    "operator band": (GOOD + "[hooks.authorize]\nband = -90\n", "band"),
    "enormous": (ENORMOUS, "is larger than 256 KiB"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_manifest_costs_its_plugin(place: Place, fault: str) -> None:
    """Rejected alone, with the path of the file and what is wrong in it; the doctor names distribution and command."""
    content, told = BAD[fault]
    place.sound()
    made = place.plugin(content, plugin="broken")

    rows = place.rows()
    doctor = place.peg("plugins", "doctor")

    row: dict[str, Any] = rows["broken"]
    assert row["state"] == "rejected"
    assert str(made.manifest) in row["message"]
    assert told in row["message"]
    assert row["fix"].startswith("peg plugins ")
    assert rows["sound"]["state"] == "ready"
    assert doctor.returncode == 3
    assert "plugin `broken` (pegboard-broken 1.0.0) is rejected" in doctor.stdout


def test_a_bad_manifest_runs_no_code(place: Place) -> None:
    """The others run, and nothing of the rejected plugin is imported."""
    place.sound()
    place.plugin("id = = 1\n", plugin="broken")

    told = place.host(["run", place.sound_call])

    assert told["did"][0]["results"] == [place.sound_result]
    assert not any(name.startswith("pegboard_broken") for name in told["modules"])


def test_a_plugin_without_a_manifest_is_loaded_and_frowned_upon(place: Place) -> None:
    """It is active from the start, its permissions are unknown, and the doctor warns."""
    place.plugin(None, {"__init__.py": "class Plugin:\n    pass\n"}, plugin="broken")

    told = place.host()

    assert told["states"]["broken"] == "active"
    assert "permissions: unknown" in place.peg("plugins", "info", "broken").stdout
    assert "it has no manifest" in place.peg("plugins", "doctor").stdout


def test_a_manifest_of_a_newer_schema_is_read_as_far_as_it_is_understood(place: Place) -> None:
    """Keys that only the newer schema knows are warnings, and the plugin runs."""
    place.plugin(GOOD.replace("schema = 1", "schema = 2") + "later = true\n", plugin="broken")

    row = place.rows()["broken"]

    assert row["state"] == "ready"
    assert "its schema 2 is newer than 1" in row["warnings"][0]
    assert "later: is an unknown key" in " ".join(row["warnings"])
    assert place.host(["activate", "broken"])["states"]["broken"] == "active"


def test_an_enormous_manifest_is_not_read(place: Place) -> None:
    """50 MB on the disk are not 50 MB in memory."""
    before = most_memory_mib(place)
    place.plugin(ENORMOUS, plugin="broken")

    after = most_memory_mib(place)

    assert after - before < 10


def most_memory_mib(place: Place) -> float:
    """What `peg plugins list` needs at most."""
    command = [sys.executable, "-P", "-m", "pegboard", "plugins", "list"]
    process = subprocess.Popen(command, env=place.environment, cwd=place.work, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024
