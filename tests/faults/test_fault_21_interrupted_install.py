"""Scenario 21: an install is stopped half way. What was there is there again, at once or with the next command."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pegboard_testing import InstalledHost, PluginDist, plugin_dist

if TYPE_CHECKING:
    from subprocess import Popen

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes with names")

# Stands for an installer that is stopped when it has put the old version aside, as pip does, and half of the new one
# is there. It ends when somebody writes into the pipe.
INSTALLER = """#!/bin/sh
cd "$SITE"
mv pegboard_torn-1.0.0.dist-info '~egboard_torn-1.0.0.dist-info'
mv pegboard_torn '~egboard_torn'
mkdir pegboard_torn pegboard_torn-2.0.0.dist-info
echo half > pegboard_torn/plugin.py
echo 'Name: pegboard-torn' > pegboard_torn-2.0.0.dist-info/METADATA
cp '~egboard_torn-1.0.0.dist-info/entry_points.txt' pegboard_torn-2.0.0.dist-info
echo there > "$PIPES/there"
read go < "$PIPES/go"
exit 1
"""

LIMIT_S = 30.0


class Install:
    """`peg plugins install` of a second version, stopped half way through."""

    def __init__(self, host: InstalledHost, folder: Path, wheel: Path) -> None:
        self._host = host
        self._pipes = folder
        self.site = next((host.folder / "venv" / "lib").glob("python*/site-packages"))
        (folder / "bin").mkdir()
        (folder / "bin" / "uv").write_text(INSTALLER)
        (folder / "bin" / "uv").chmod(0o755)
        for name in ("there", "go"):
            os.mkfifo(folder / name)
        # For both directions, so that nobody waits for the other one to open it.
        self._there, self._go = (os.open(folder / name, os.O_RDWR) for name in ("there", "go"))
        self.before = host_files(self.site)
        self.process = self._start(wheel)
        assert select.select([self._there], [], [], LIMIT_S)[0], self.process.communicate()

    def _start(self, wheel: Path) -> Popen[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PEGBOARD", "XDG_", "PYTEST"))}
        own |= {"HOME": str(self._host.home), "SITE": str(self.site), "PIPES": str(self._pipes)}
        own["PATH"] = os.pathsep.join([str(self._pipes / "bin"), own["PATH"]])
        peg = self._host.python.with_name("peg")
        return subprocess.Popen(
            [peg, "plugins", "install", wheel, "--yes"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=own,
            start_new_session=True,
        )

    def signal(self, signum: int) -> None:
        """As a terminal does it: to the whole group."""
        os.killpg(self.process.pid, signum)

    def end(self) -> str:
        """Let the installer end, and `peg`, where it still runs; what it said."""
        os.write(self._go, b"go\n")
        return self.process.communicate(timeout=LIMIT_S)[1]

    def close(self) -> None:
        """Nothing of it is left running."""
        if self.process.poll() is None:
            self.process.kill()
        os.write(self._go, b"go\n")
        self.process.communicate(timeout=LIMIT_S)
        os.close(self._there)
        os.close(self._go)


def host_files(site: Path) -> dict[str, bytes]:
    """What is installed, but what Python caches."""
    return {
        str(path.relative_to(site)): path.read_bytes()
        for path in site.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def rows(host: InstalledHost) -> dict[str, dict[str, Any]]:
    """What `peg plugins list` says."""
    return {row["id"]: row for row in json.loads(host.peg("plugins", "list", "--json").stdout)["data"]["plugins"]}


@pytest.fixture
def half_way(
    wheel_place: InstalledHost, tmp_path: Path, make_wheel: Callable[[PluginDist], Path]
) -> Iterator[tuple[InstalledHost, Install]]:
    """A host with version 1 of a plugin, and an install of version 2 that stands still half way."""
    first = plugin_dist(tmp_path / "1", {"id": "torn"}, {"more.py": "more = 1\n"})
    second = plugin_dist(tmp_path / "2", {"id": "torn"}, {"other.py": ""}, version="2.0.0")
    for made in (first, second):
        record = made.info / "RECORD"  # that of a wheel does not list what an installer adds
        record.write_text("".join(line for line in record.read_text().splitlines(True) if "INSTALLER" not in line))
    wheel_place.install(make_wheel(first))
    install = Install(wheel_place, tmp_path, make_wheel(second))
    yield wheel_place, install
    install.close()
    wheel_place.peg("plugins", "uninstall", "torn")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_waits_until_everything_is_as_before(
    half_way: tuple[InstalledHost, Install], signum: int, code: int
) -> None:
    """The installer is not hit by what the terminal sends; then the version before is put back, file for file."""
    host, install = half_way
    install.signal(signum)
    told = install.end()

    assert (install.process.returncode, "nothing is left half done" in told) == (code, True)
    assert host_files(install.site) == install.before
    assert (rows(host)["torn"]["version"], rows(host)["torn"]["state"]) == ("1.0.0", "ready")


def test_a_kill_is_noticed_and_mended(half_way: tuple[InstalledHost, Install]) -> None:
    """The plugin is not called ready, the doctor names the command, and that puts everything back."""
    host, install = half_way
    install.signal(signal.SIGKILL)
    install.end()
    torn = rows(host)["torn"]
    doctor = host.peg("plugins", "doctor")
    mended = host.peg("plugins", "reindex")

    assert (torn["state"], torn["reason"], torn["fix"]) == ("rejected", "files", "peg plugins reindex")
    assert doctor.returncode == 3
    assert "the install of `pegboard-torn` 2.0.0 was interrupted half way" in doctor.stdout
    assert "the install of `pegboard-torn` 2.0.0 was interrupted half way" in mended.stderr
    assert host_files(install.site) == install.before
    assert rows(host)["torn"]["state"] == "ready"
    assert host.peg("plugins", "doctor").returncode == 0


def test_a_command_that_changes_things_mends_first(half_way: tuple[InstalledHost, Install]) -> None:
    """Nobody has to know of the command that mends: the next uninstall puts things in order and removes all of it."""
    host, install = half_way
    install.signal(signal.SIGKILL)
    install.end()
    done = host.peg("plugins", "uninstall", "torn")

    assert done.returncode == 0, done.stderr
    assert "uninstalled `pegboard-torn` 1.0.0" in done.stdout
    assert [name for name in host_files(install.site) if "torn" in name or ".pegboard-" in name] == []


@pytest.mark.parametrize("command", ["enable", "disable", "grant", "revoke"])
def test_a_switch_mends_first(half_way: tuple[InstalledHost, Install], command: str) -> None:
    """What is switched is the version that is there when things are in order, and not half of two."""
    host, install = half_way
    install.signal(signal.SIGKILL)
    install.end()
    done = host.peg("plugins", command, "torn")

    assert done.returncode == 0, done.stderr
    assert "the install of `pegboard-torn` 2.0.0 was interrupted half way; it is put in order now" in done.stderr
    assert host_files(install.site) == install.before


def test_a_link_mends_first(half_way: tuple[InstalledHost, Install], tmp_path: Path) -> None:
    """Also one that comes to nothing."""
    host, install = half_way
    install.signal(signal.SIGKILL)
    install.end()
    (tmp_path / "empty").mkdir()
    done = host.peg("plugins", "link", str(tmp_path / "empty"))

    assert done.returncode != 0
    assert host_files(install.site) == install.before


@pytest.mark.parametrize(("command", "works"), [("disable", True), ("revoke", True), ("enable", False)])
def test_what_cannot_be_mended_stops_only_what_would_use_it(
    half_way: tuple[InstalledHost, Install], command: str, works: bool
) -> None:
    """A switch that takes something away from a plugin works on the most broken environment; the hint is said."""
    host, install = half_way
    install.signal(signal.SIGKILL)
    install.end()
    journal = install.site / ".pegboard-transaction.json"
    whole = journal.read_text()
    journal.write_text("{")
    done = host.peg("plugins", command, "torn")
    journal.write_text(whole)

    assert ((done.returncode == 0), f"rm '{journal}'" in done.stderr) == (works, True)


def test_nobody_mends_while_the_installer_still_runs(half_way: tuple[InstalledHost, Install]) -> None:
    """An installer outlives a `peg` that is killed; until it ends, the change counts as under way."""
    host, install = half_way
    install.signal(signal.SIGKILL)
    install.process.wait(timeout=60)
    meanwhile = host.peg("plugins", "doctor").stdout, host_files(install.site)
    install.end()

    assert "interrupted half way" not in meanwhile[0]
    assert "pegboard_torn/more.py" not in meanwhile[1]
    host.peg("plugins", "reindex")
    assert host_files(install.site) == install.before
