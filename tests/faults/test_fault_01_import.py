"""Scenario 1: the import of a plugin raises, is no Python, or ends the process. The others work, and it is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest
from pegboard_testing import Fault, InstalledHost, PluginDist, broken_plugin

if TYPE_CHECKING:
    from tests.faults.conftest import Place

AT_START = ("import", "syntax", "exit", "entry", "init", "activate")
at_start = pytest.mark.parametrize("fault", AT_START)
DYING = {"id": "broken", "activation": ["onStartup"], "startup_reason": "to be met"}
ENDS_THE_PROCESS = {"plugin.py": "import os\nos._exit(41)\n"}


@at_start
def test_a_broken_import_costs_only_the_plugin(place: Place, fault: Fault) -> None:
    """The start goes on, a tool of another plugin works, and the culprit is in quarantine on this board."""
    place.sound()
    place.broken(fault)

    told = place.host(["run", place.sound_call])

    assert told["did"][0]["results"] == [place.sound_result]
    assert told["states"]["broken"] == "quarantined(plugin.load)"
    assert told["states"]["sound"] == "active"
    assert told["faults"] == [["broken", "activation", "error", "plugin.load"]]


@at_start
def test_the_culprit_is_named(place: Place, fault: Fault) -> None:
    """Plugin, distribution, version and what to type stand in one line of the log, and on the terminal of `peg run`."""
    place.broken(fault)

    line = "".join(text for text in place.host()["log"] if "broken" in text)
    done = place.peg("run", "-m", "scripted:demo", "hello")

    what = "activated" if fault == "activate" else "imported"
    assert f"plugin `broken` (pegboard-broken 1.0.0) could not be {what}: " in line
    assert line.endswith("; peg plugins disable broken")
    assert (done.returncode, line in done.stderr) == (0, True)


@pytest.mark.parametrize(
    "raised", ["KeyError('x')", "BaseException('x')", "GeneratorExit", "SystemExit('bye')", "asyncio.CancelledError"]
)
@pytest.mark.parametrize(
    "where", ["", "class Plugin:\n async def activate(self, ctx):\n  "], ids=["import", "activate"]
)
def test_whatever_is_raised_is_isolated(place: Place, where: str, raised: str) -> None:
    """Not only `Exception`: a plugin does not end the host."""
    place.plugin(DYING, {"plugin.py": f"import asyncio\n{where}raise {raised}\n"})

    assert place.host()["states"]["broken"] == "quarantined(plugin.load)"


def test_an_interrupt_that_an_import_makes_up_is_its_own(place: Place) -> None:
    """No Ctrl-C reaches the thread of an import, so a `KeyboardInterrupt` from there is a fault of the plugin."""
    place.plugin(DYING, {"plugin.py": "raise KeyboardInterrupt\n"})

    assert place.host()["states"]["broken"] == "quarantined(plugin.load)"


def test_a_broken_plugin_that_is_needed_is_the_error(place: Place) -> None:
    """Whoever asks for what only the broken plugin has is told why it is not there: exit code 3, and the fix."""
    place.plugin(
        {"id": "broken", "contributes": {"models": [{"name": "broken"}]}, "hooks": {"provide_model": {}}},
        {"plugin.py": "import no_such_module\n"},
    )

    done = place.peg("run", "-m", "broken:model", "hello", "--json")

    assert done.returncode == 3
    for word in ("plugin.load", "broken", "pegboard-broken", "1.0.0", "no_such_module", "peg plugins disable broken"):
        assert word in done.stdout


def test_it_is_tried_again_when_it_was_mended(place: Place) -> None:
    """A failed import is not remembered on the disk: what it misses may be installed by the next start."""
    made = place.broken("import")
    place.host()
    assert place.state() == "ready"

    made.write("plugin.py", "class Plugin:\n    pass\n")

    assert place.host()["states"]["broken"] == "active"


def test_the_large_doctor_finds_it(place: Place) -> None:
    """`peg doctor --deep` tries each plugin in a process of its own, and says which fails and how to be rid of it."""
    place.broken("import")

    done = place.peg("doctor", "--deep", "--json")

    assert done.returncode == 3
    assert "plugin `broken` cannot be activated" in done.stdout
    assert "peg plugins disable broken" in done.stdout


def test_a_plugin_that_ends_the_process_is_switched_off_after_two_starts(place: Place) -> None:
    """`os._exit` cannot be survived here; the third start is in safe mode and names the culprit."""
    place.sound()
    place.plugin(DYING, ENDS_THE_PROCESS)
    deaths = [place.try_host().returncode for _ in range(2)]

    told = place.host(["run", ["add", {"a": 1, "b": 2}]])

    assert deaths == [41, 41]
    assert told["did"][0]["results"] == [["ok", "3"]]
    assert told["states"]["broken"] == told["states"]["sound"] == "disabled(safe-mode)"
    assert "`broken`" in told["log"][0]
    assert told["log"][0].endswith("; peg plugins disable broken")


def test_safe_mode_lasts_until_something_is_done(place: Place) -> None:
    """A start without plugins proves nothing about the culprit, so the next one is in safe mode too."""
    place.plugin(DYING, ENDS_THE_PROCESS)
    for _ in range(2):
        place.try_host()

    codes = [place.try_host().returncode for _ in range(2)]

    assert codes == [0, 0]
    assert place.state() == "disabled(safe-mode)"
    assert "peg plugins disable broken" in place.peg("plugins", "doctor").stdout


@pytest.mark.parametrize("cure", ["disable", "uninstall", "upgrade"])
def test_safe_mode_ends_with_the_culprit(place: Place, cure: str) -> None:
    """Disabled, uninstalled or upgraded: the others are used again."""
    place.sound()
    made = place.plugin(DYING, ENDS_THE_PROCESS)
    for _ in range(2):
        place.try_host()
    assert place.state("sound") == "disabled(safe-mode)"

    if cure == "upgrade":
        made.remove()
        place.plugin(DYING, version="2.0.0")
    else:
        assert place.peg("plugins", cure, "broken").returncode == 0

    assert place.host(["run", place.sound_call])["did"][0]["results"] == [place.sound_result]


def test_a_model_of_a_plugin_that_is_off_is_not_called_missing(place: Place) -> None:
    """In safe mode the plugin that has the model is named as switched off; nobody is told to install it."""
    place.plugin(DYING, ENDS_THE_PROCESS)
    for _ in range(2):
        place.try_host()

    done = place.peg("run", "-m", "scripted:demo", "hello")

    assert done.returncode == 3
    assert "plugin `replay`" in done.stderr
    assert "safe mode" in done.stderr
    assert "peg plugins install" not in done.stderr


def test_every_fault_at_the_start_has_a_row() -> None:
    """The factory of broken plugins knows no fault at the start that is not tried here or in scenario 2 or 19."""
    hooks = {"hook", "hang_hook", "block_hook", "wrong_type", "cancel", "exit_hook", "twice"}
    assert set(get_args(Fault)) - hooks == {*AT_START, "hang", "leak"}


@pytest.mark.packaging
def test_a_wheel_that_cannot_be_imported(
    wheel_place: InstalledHost, make_wheel: Callable[[PluginDist], Path], tmp_path: Path
) -> None:
    """The same with an installer: the wheel is there, the program works, the plugin is named and taken out again."""
    wheel_place.install(make_wheel(broken_plugin(tmp_path / "site", "import")))

    runs = wheel_place.peg("run", "hello")
    listed = wheel_place.peg("plugins", "list", "--json")
    removed = wheel_place.peg("plugins", "uninstall", "broken")

    assert "plugin `broken` (pegboard-broken 1.0.0) could not be imported" in runs.stderr
    assert runs.returncode == 4  # no model is installed there: the fault is not the plugin's
    assert '"id": "broken"' in listed.stdout
    assert removed.returncode == 0
    assert '"id": "broken"' not in wheel_place.peg("plugins", "list", "--json").stdout
