"""Scenario 15: installs in one tick of the clock, cold starts at once, a spoilt cache. The list is never stale."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pegboard_testing import InstalledHost, PluginDist, plugin_dist

if TYPE_CHECKING:
    from tests.faults.conftest import Place

TICK_NS = 1_700_000_000 * 10**9


def freeze(folder: Path, at_ns: int) -> None:
    """Give a folder and all in it one time."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, ns=(at_ns, at_ns))


def cached_from(place: Place) -> bool:
    found: bool = place.json("plugins", "doctor")["data"]["from_cache"]
    return found


def cache_files(place: Place) -> list[Path]:
    return sorted((place.home / "cache" / "index").iterdir())


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_one_tick_of_the_clock(place: Place, rounds: int) -> None:
    """Installed, removed and installed with other content of the same size, all with one time: each is seen at once."""
    now_ns = 2**62  # later than any cache that is written here, as a clock of a coarse file system would be
    for number in range(rounds):
        made = place.plugin({"id": "hammer", "summary": f"{number:04}"})
        freeze(place.site, now_ns)
        assert place.rows()["hammer"]["summary"] == f"{number:04}"
        made.remove()
        freeze(place.site, now_ns)
        assert "hammer" not in place.rows()


def test_an_edit_of_a_manifest_is_seen(place: Place) -> None:
    """Also when the cache was trusted before, and no folder of the path has changed."""
    made = place.plugin({"id": "hammer", "summary": "before"})
    freeze(place.site, TICK_NS)
    place.rows()
    assert cached_from(place)

    made.manifest.write_text(made.manifest.read_text().replace("before", "after"))

    assert place.rows()["hammer"]["summary"] == "after"


@pytest.mark.parametrize("processes", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_cold_starts_at_once(place: Place, processes: int) -> None:
    """All give the same answer, and leave one valid index and nothing half written."""
    place.sound()
    freeze(place.site, TICK_NS)

    started = [place.start("-P", "-m", "pegboard", "plugins", "list", "--json") for _ in range(processes)]
    answers = {process.communicate()[0] for process in started}

    assert len(answers) == 1
    assert "sound" in answers.pop()
    assert [path.suffix for path in cache_files(place)] == [".bin"]
    assert cached_from(place)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def gone(path: Path) -> None:
    shutil.rmtree(path.parent)


def open_to_others(path: Path) -> None:
    path.chmod(0o666)


def in_an_open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


def of_somebody_else(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 12345, 12345)


SPOILT = (truncated, emptied, garbled, a_folder, gone, open_to_others, in_an_open_folder, of_somebody_else)


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda function: function.__name__)
def test_a_spoilt_cache_is_not_believed(place: Place, spoil: Callable[[Path], None]) -> None:
    """Whatever became of the file, or who else could have written it: the plugins are looked for anew, in silence."""
    place.sound()
    freeze(place.site, TICK_NS)
    place.rows()
    assert cached_from(place)
    spoil(cache_files(place)[0])

    assert not cached_from(place)
    done = place.peg("plugins", "list", "--json")

    assert done.stderr == ""
    assert "sound" in {row["id"] for row in json.loads(done.stdout)["data"]["plugins"]}


def test_a_cache_that_cannot_be_written(place: Place) -> None:
    """A file where the folder should be: every start looks anew, and nothing is said about it."""
    place.sound()
    (place.home / "cache").write_text("")

    done = place.peg("plugins", "list")

    assert (done.returncode, done.stderr) == (0, "")
    assert "sound" in done.stdout


@pytest.mark.packaging
def test_an_installer_in_one_second(
    wheel_place: InstalledHost, make_wheel: Callable[[PluginDist], Path], tmp_path: Path
) -> None:
    """With real wheels: each install, reinstall with other content and uninstall is seen by the next command."""

    def listed() -> dict[str, Any]:
        rows = json.loads(wheel_place.peg("plugins", "list", "--json").stdout)["data"]["plugins"]
        return {row["id"]: row["summary"] for row in rows}

    for summary in ("first", "other"):
        made = plugin_dist(tmp_path / summary, {"id": "tick", "summary": summary})
        wheel_place.install("--reinstall", make_wheel(made))
        assert listed() == {"tick": summary}
    wheel_place.uninstall("pegboard-tick")

    assert listed() == {}
