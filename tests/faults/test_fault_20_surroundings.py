"""Scenario 20: strange surroundings, and plugins that change them. pegboard starts, or says why not."""

from __future__ import annotations

import shutil
import zipapp
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "/proc/nowhere"
"""A folder that nobody can make, not even root."""
NO_ACCOUNT = "import pwd\n\n\ndef nobody(uid):\n    raise KeyError(uid)\n\n\npwd.getpwuid = nobody\n"
NO_NETWORK = (
    "import socket\n\n\nclass Nothing(socket.socket):\n    def connect(self, address):\n"
    "        raise OSError('no network')\n\n\nsocket.socket = Nothing\n"
)
HELLO = ("run", "-m", "scripted:demo", "hello")


def no_home(place: Place) -> None:
    """As in a container whose user is in no file of accounts."""
    (place.site / "sitecustomize.py").write_text(NO_ACCOUNT)
    for name in ("PEGBOARD_HOME", "HOME"):
        place.environment.pop(name, None)


def home_that_is_not_there(place: Place) -> None:
    place.environment.pop("PEGBOARD_HOME")
    place.environment["HOME"] = NOWHERE


def read_only_disk(place: Place) -> None:
    place.environment["PEGBOARD_HOME"] = NOWHERE


def files_instead_of_folders(place: Place) -> None:
    for name in ("cache", "config", "data"):
        (place.home / name).write_text("")


def no_network(place: Place) -> None:
    (place.site / "sitecustomize.py").write_text(NO_NETWORK)


SURROUNDINGS = (no_home, home_that_is_not_there, read_only_disk, files_instead_of_folders, no_network)


@pytest.mark.parametrize("spoil", SURROUNDINGS, ids=lambda function: function.__name__)
def test_it_works_where_little_works(place: Place, spoil: Callable[[Place], None]) -> None:
    """Commands and runs do what they are for; what cannot be remembered is not, and the doctor says where."""
    place.sound()
    spoil(place)

    listed = place.rows()
    run = place.peg(*HELLO)
    told = place.host(["run", place.sound_call])
    doctor = place.peg("doctor")

    assert listed["sound"]["state"] == "ready"
    assert (run.returncode, "Traceback" in run.stderr) == (0, False)
    assert told["did"][0]["results"] == [place.sound_result]
    assert doctor.returncode == 0
    assert "Traceback" not in doctor.stderr
    assert spoil is no_network or "! warn" in doctor.stdout


@pytest.mark.parametrize("spoil", [read_only_disk, no_home], ids=lambda function: function.__name__)
def test_what_has_to_be_written_says_why_not(place: Place, spoil: Callable[[Place], None]) -> None:
    """A switch that cannot be remembered is an error with a reason, and no traceback."""
    place.sound()
    spoil(place)

    done = place.peg("plugins", "disable", "sound")

    assert done.returncode not in (0, 70)
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr


@pytest.mark.parametrize("flags", [["-I"], ["-O"], ["-OO"], ["-X", "utf8=0"], ["-W", "error"], ["-B"]], ids=" ".join)
def test_flags_of_the_interpreter(place: Place, flags: list[str]) -> None:
    """Isolated, without asserts, without docstrings, with warnings as errors: the same."""
    listed = place.python(*flags, "-m", "pegboard", "plugins", "list")
    run = place.python(*flags, "-m", "pegboard", *HELLO)
    helped = place.python(*flags, "-m", "pegboard", "--help")

    assert (listed.returncode, run.returncode, helped.returncode) == (0, 0, 0), run.stderr + listed.stderr
    assert "replay" in listed.stdout
    assert "scripted demo model" in run.stdout
    assert "plugins" in helped.stdout


def test_core_in_a_zip_file(place: Place, tmp_path: Path) -> None:
    """`zipapp` puts core into one file; manifests, schemas and commands are found in it."""
    source = tmp_path / "app"
    shutil.copytree(
        ROOT / "core" / "src" / "pegboard", source / "pegboard", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(place.sound().site, source, dirs_exist_ok=True)
    shutil.rmtree(place.site)
    (source / "__main__.py").write_text(
        "import sys\nassert 'app.pyz' in __import__('pegboard').__file__\nfrom pegboard.__main__ import main\nmain()\n"
    )
    archive = tmp_path / "app.pyz"
    zipapp.create_archive(source, archive)

    listed = place.python(archive, "plugins", "list", "--all")
    run = place.python(archive, *HELLO)

    assert listed.returncode == 0, listed.stderr
    assert "sound" in listed.stdout
    assert (run.returncode, run.stderr.count("Traceback")) == (0, 0), run.stderr


CHANGES = {
    "environment": "os.environ.clear()",
    "root logger": "logging.getLogger().handlers.clear(); logging.disable(logging.CRITICAL)",
    "signals": "signal.set_wakeup_fd(-1) if threading.current_thread() is threading.main_thread() else None",
    "stdout": "sys.stdout = open(os.devnull, 'w')",
    "folder": "os.chdir('/')",
    "warnings": "import warnings; warnings.simplefilter('error')",
    "modules": "sys.modules.pop('json', None); sys.modules.pop('pegboard', None)",
    "recursion": "sys.setrecursionlimit(200)",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("where", ["import", "activate"])
def test_a_plugin_that_changes_its_surroundings(place: Place, where: str, change: str) -> None:
    """It may; nothing holds it, and `peg plugins check` frowns. A run and its answer are there all the same."""
    place.sound()
    at_import, in_activate = (CHANGES[change], "pass") if where == "import" else ("pass", CHANGES[change])
    code = (
        f"import logging, os, signal, sys, threading\n{at_import}\n\n\nclass Plugin:\n"
        f"    def activate(self, ctx):\n        {in_activate}\n"
    )
    place.plugin({"id": "rude", "activation": ["onStartup"], "startup_reason": "to be met"}, {"plugin.py": code})

    done = place.peg(*HELLO, "--json")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert "completed" in done.stdout


def test_a_plugin_that_takes_the_path_away(place: Place) -> None:
    """Nothing can be imported any more: the run says which plugin that concerns, and repair commands work."""
    start = {"activation": ["onStartup"], "startup_reason": "to be met"}
    place.plugin({"id": "rude", **start}, {"plugin.py": "import sys\nsys.path[:] = []\n\n\nclass Plugin:\n    pass\n"})

    done = place.peg(*HELLO)

    assert done.returncode == 3
    assert "plugin `replay` (pegboard-replay 0.1.0) could not be imported: No module named" in done.stderr
    assert place.peg("plugins", "disable", "rude").returncode == 0
    assert place.peg(*HELLO).returncode == 0


def test_among_five_hundred_distributions(place: Place) -> None:
    """The plugin is found among them, and no broken neighbour keeps it from being found."""
    for number in range(500):
        info = place.site / f"other_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_bytes(b"Name: other\xff\n" if number % 50 == 0 else b"Name: other\nVersion: 1.0\n")
        if number % 3 == 0:
            (info / "entry_points.txt").write_text("[console_scripts]\nother = other:main\n")
        if number % 100 == 0:
            (info / "entry_points.txt").write_bytes(b"[pegboard.plugins\xff\nbroken\n= =\n")
    place.sound()

    listed = place.peg("plugins", "list")

    assert (listed.returncode, listed.stderr) == (0, "")
    assert "sound" in listed.stdout


def test_two_hosts_in_one_process(place: Place) -> None:
    """Each has its own plugins, states and hooks; what happens on one does not happen on the other."""
    place.sound()

    told = place.host(["beside_another_board", "sound", place.sound_call])

    here, there, still_here, no_longer_there = (run["results"][0] for run in told["did"][0])
    assert here == there == still_here == place.sound_result
    assert no_longer_there[0] == "error"
    assert told["states"]["sound"] == "active"
