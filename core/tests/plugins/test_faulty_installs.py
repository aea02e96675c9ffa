"""Faults of installed plugins that only real processes and several starts show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from pegboard.errors import PermissionDeniedError
from pegboard.plugins.discovery import index, select, state
from pegboard.plugins.discovery.state import StateFile
from pegboard.plugins.host import PluginHost
from pegboard_testing import PluginDist, startup_imports

Install = Callable[..., PluginDist]


class StartHost(Protocol):
    async def __call__(self, *installed: str, **options: Any) -> PluginHost: ...


EAGER = {"activation": ["onStartup"], "startup_reason": "this is a test"}
START = """
import asyncio
from pegboard.plugins.host import PluginHost

async def main():
    host = PluginHost(autoload=True)
    await host.start()
    print({peg.id: peg.state for peg in host.records()})
    await host.stop()

asyncio.run(main())
"""


def start(site: Path, *installed: str) -> subprocess.CompletedProcess[str]:
    """A start of a host in a process of its own."""
    import os

    env = {**os.environ, "PYTHONPATH": str(site), "PEGBOARD_PLUGINS": ",".join(installed)}
    return subprocess.run([sys.executable, "-c", START], env=env, capture_output=True, text=True, timeout=60)


# --- dying, hanging, leaving threads ---------------------------------------------------------------------------------


def test_two_starts_that_died_switch_everything_off(plugin_site: Path, plugin_dist: Install) -> None:
    """The third start works, without plugins, and the culprit is named; disabling it ends that."""
    plugin_dist({"id": "deadly", **EAGER}, {"plugin.py": "import os; os._exit(9)"})
    plugin_dist({"id": "other", **EAGER})
    assert [start(plugin_site, "deadly", "other").returncode for _ in range(2)] == [9, 9]

    third = start(plugin_site, "deadly", "other")

    assert (third.returncode, "'deadly': 'disabled'" in third.stdout) == (0, True), third.stderr
    found = StateFile().read()
    assert (found.failed_starts, found.culprit) == (2, "deadly")
    StateFile().disable("deadly")
    StateFile().started()
    assert "'other': 'active'" in start(plugin_site, "deadly", "other").stdout


def test_safe_mode_ends_when_the_culprit_is_uninstalled(plugin_site: Path, plugin_dist: Install) -> None:
    """By whatever tool."""
    made = plugin_dist({"id": "deadly", **EAGER}, {"plugin.py": "import os; os._exit(9)"})
    plugin_dist({"id": "other", **EAGER})
    for _ in range(3):
        start(plugin_site, "deadly", "other")

    made.remove()
    start(plugin_site, "deadly", "other")

    assert "'other': 'active'" in start(plugin_site, "deadly", "other").stdout


def test_a_plugin_that_hangs_does_not_keep_the_process_alive(plugin_site: Path, plugin_dist: Install) -> None:
    """Its thread dies with the process, although the import never returned."""
    plugin_dist({"id": "slow", **EAGER}, {"plugin.py": "import threading\nthreading.Event().wait()"})
    impatient = "from pegboard.plugins import loading\nloading.ABANDON_AFTER_S = loading.WARN_AFTER_S = 0.2\n"
    import os

    env = {**os.environ, "PYTHONPATH": str(plugin_site), "PEGBOARD_PLUGINS": "slow"}
    done = subprocess.run(
        [sys.executable, "-c", impatient + START], env=env, capture_output=True, text=True, timeout=30
    )

    assert (done.returncode, "'slow': 'quarantined'" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("code", ["raise ImportError", "import os; os._exit(1)", "while True: pass"])
def test_the_commands_that_repair_import_no_plugin(plugin_site: Path, plugin_dist: Install, code: str) -> None:
    """Listing and switching off work while a plugin raises, exits or hangs when it is imported."""
    plugin_dist({"id": "bad", **EAGER}, {"__init__.py": code})

    def peg(*arguments: str) -> str:
        command = ["-P", "-m", "pegboard", "plugins", *arguments]
        return startup_imports(command, forbidden=("pegboard_bad",), env={"PYTHONPATH": str(plugin_site)}).stdout

    ready, _, disabled = peg("info", "bad"), peg("disable", "bad"), peg("info", "bad")
    peg("doctor")

    assert "  ready" in ready
    assert "  disabled(user)" in disabled


def test_what_imports_a_plugin_is_seen(plugin_site: Path, plugin_dist: Install) -> None:
    """The tests above would notice: starting a board that uses it does import it."""
    plugin_dist({"id": "bad", **EAGER})
    env = {"PYTHONPATH": str(plugin_site), "PEGBOARD_PLUGINS": "bad"}

    assert "pegboard_bad.plugin" in startup_imports(START, env=env).modules


# --- editable installs -----------------------------------------------------------------------------------------------


@pytest.fixture
def editable(tmp_path: Path) -> tuple[PluginDist, Path, list[str]]:
    """A distribution whose package lies in another folder, as after `pip install -e`."""
    from pegboard_testing import plugin_dist as put

    made = put(tmp_path / "site", {"id": "demo"})
    source = tmp_path / "project" / "src"
    source.mkdir(parents=True)
    (made.site / made.package).rename(source / made.package)
    return made, source, [str(made.site), str(source)]


def test_an_editable_install_is_found(editable: tuple[PluginDist, Path, list[str]]) -> None:
    """With the manifest of its source tree."""
    _, source, paths = editable

    [record] = index.load(paths).plugins

    assert record.manifest_path == str(source / "pegboard_demo" / "pegboard.toml")


def test_an_edit_in_an_editable_tree_is_seen_at_once(
    editable: tuple[PluginDist, Path, list[str]], age: Callable[[Path], None]
) -> None:
    """It changes no folder of `sys.path`, so the manifest has a stamp of its own."""
    made, source, paths = editable
    age(made.site)
    age(source)
    index.load(paths)
    assert index.load(paths).from_cache
    manifest = source / "pegboard_demo" / "pegboard.toml"

    manifest.write_text(manifest.read_text().replace("A plugin of a test", "Edited"))

    [record] = index.load(paths).plugins
    assert record.manifest is not None
    assert record.manifest["summary"] == "Edited"


def test_an_editable_folder_that_was_deleted_is_reported(
    editable: tuple[PluginDist, Path, list[str]], age: Callable[[Path], None]
) -> None:
    """At once, with the distribution and where it is recorded."""
    import shutil

    made, source, paths = editable
    age(made.site)
    age(source)
    index.load(paths)

    shutil.rmtree(source.parent)

    [record] = index.load(paths).plugins
    [(reason, message, hint)] = record.problems
    assert reason == "files"
    assert str(made.info) in message
    assert hint == "peg plugins uninstall pegboard-demo"


# --- consent over several starts -------------------------------------------------------------------------------------

CODE = """
class Plugin:
    def activate(self, ctx):
        self.ctx = ctx
"""


def asks_for(*programs: str) -> dict[str, Any]:
    return {"id": "demo", "permissions": {"exec": list(programs)}, **EAGER}


async def test_a_block_that_grew_has_to_be_granted(start_host: StartHost, plugin_dist: Install) -> None:
    """What was there before still holds; what is new is refused until a person agrees."""
    made = plugin_dist(asks_for("git"), {"plugin.py": CODE})
    await start_host("demo")
    made.remove()
    plugin_dist(asks_for("git", "sh"), {"plugin.py": CODE}, version="2.0")

    host = await start_host("demo")

    permissions = host.context("demo").permissions
    permissions.program("git")
    with pytest.raises(PermissionDeniedError, match="nobody has granted it"):
        permissions.program("sh")
    StateFile().allow(host.peg("demo").record)
    (await start_host("demo")).context("demo").permissions.program("sh")


async def test_a_reinstalled_plugin_has_to_be_granted_again(start_host: StartHost, plugin_dist: Install) -> None:
    """Its grant died with it."""
    made = plugin_dist(asks_for("git"), {"plugin.py": CODE})
    await start_host("demo")
    made.remove()
    await start_host("demo")

    plugin_dist(asks_for("git"), {"plugin.py": CODE})

    with pytest.raises(PermissionDeniedError):
        (await start_host("demo")).context("demo").permissions.program("git")


async def test_another_distribution_under_an_old_name_gets_no_grant(
    start_host: StartHost, plugin_dist: Install
) -> None:
    """It has the id, since nobody else has, and nothing of what the former owner had."""
    made = plugin_dist(asks_for("git"), {"plugin.py": CODE})
    await start_host("demo")
    made.remove()
    plugin_dist(asks_for("git"), {"plugin.py": CODE}, dist="demo", package="demo_of_another")

    host = await start_host("demo")

    assert (host.state("demo"), host.peg("demo").dist) == ("active", "demo")
    with pytest.raises(PermissionDeniedError):
        host.context("demo").permissions.program("git")


async def test_a_newcomer_cannot_take_a_name(start_host: StartHost, plugin_dist: Install) -> None:
    """While its owner is installed; who the owner is was remembered."""
    plugin_dist(asks_for("git"), {"plugin.py": CODE})
    await start_host("demo")
    plugin_dist(asks_for("git"), {"plugin.py": CODE}, dist="demo", package="demo_of_another")

    host = await start_host("demo", "pegboard-demo")

    assert {peg.dist: peg.state for peg in host.records() if peg.id == "demo"} == {
        "pegboard-demo": "active",
        "demo": "rejected",
    }


async def test_a_disk_that_cannot_be_written_is_no_reason_not_to_start(
    start_host: StartHost, plugin_dist: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is remembered then."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path / "file"))
    plugin_dist({"id": "demo", **EAGER})

    host = await start_host("demo")

    assert host.state("demo") == "active"


def test_the_state_is_that_of_one_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two virtual environments share neither grants nor quarantine."""
    here = state.default_path()
    monkeypatch.setattr(sys, "prefix", "/elsewhere")

    assert state.default_path() != here


def test_the_decisions_on_what_is_installed_here_need_no_host(plugin_site: Path, plugin_dist: Install) -> None:
    """The same functions serve the command line."""
    plugin_dist({"id": "demo"})

    [decision] = select.select(index.load(), StateFile().read()).find("pegboard-demo")

    assert (decision.id, decision.state) == ("demo", "ready")
