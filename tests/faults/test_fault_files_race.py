"""A process swaps a folder for a link that leads out, all the time, while the driver `files` reads and writes there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pegboard.errors import FilesDeniedError
from pegboard_files import kernel
from pegboard_files.beneath import Kernel, Walk
from pegboard_files.driver import LocalFiles
from pegboard_files.folder import LocalFolder

WAYS = [Walk, *([Kernel] if kernel.has_openat2() else [])]

# `place`, `file` and `via` are in turn something inside and a link to something outside. Who is attacked makes folders
# that are missing, so what stands in the way is renamed.
SWAPPER = """
import itertools, os, sys

os.chdir(sys.argv[1])
os.mkdir("real")
open("real/secret", "w").write("inside")
print("ready", flush=True)
for number in itertools.count():
    os.symlink("../outside", "new")
    try:
        os.rename("place", f"../kept-{number}")
    except FileNotFoundError:
        pass
    try:
        os.rename("new", "place")
    except OSError:
        os.unlink("new")
    os.symlink(("../outside/secret", "real/secret")[number % 2], "new")
    os.rename("new", "file")
    os.symlink(("../outside", "real")[number % 2], "new")
    os.rename("new", "via")
    try:
        os.unlink("place")
    except OSError:
        pass
    try:
        os.rename(f"../kept-{number}", "place")
    except OSError:
        pass
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root under attack."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "place").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "place" / "secret").write_bytes(b"inside")
    (root / "file").symlink_to("place/secret")
    (root / "via").symlink_to("place")
    attacker = subprocess.Popen([sys.executable, "-c", SWAPPER, str(root)], stdout=subprocess.PIPE)
    try:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == b"ready\n"
        yield root
        assert attacker.poll() is None, "the attacker gave up"
    finally:
        attacker.kill()
        attacker.communicate()


def attempts(folder: LocalFolder, count: int) -> int:
    """Try everything in turn; how often it succeeded."""
    acts: list[Callable[[], object]] = [
        *(lambda path=path: _read(folder, path) for path in ("place/secret", "file", "via/secret", "via/../file")),
        *(lambda path=path: folder.replace(path, b"inside") for path in ("place/secret", "file", "via/secret")),
        lambda: folder.make("place/made"),
        lambda: folder.remove("place/secret"),
        lambda: folder.replace("place/secret", b"inside"),
        lambda: folder.list("via"),
    ]
    succeeded = 0
    for number in range(count):
        try:
            seen = acts[number % len(acts)]()
            succeeded += 1
        except (FilesDeniedError, FileNotFoundError, FileExistsError):
            continue
        assert seen != b"secret", "read what lies outside"
    return succeeded


def _read(folder: LocalFolder, path: str) -> bytes:
    with folder.open(path) as file:
        return file.read()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.lower())
@pytest.mark.parametrize("count", [1_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_swapped_links_win_nothing(root: Path, way: type[Walk], count: int) -> None:
    """Nothing outside is read, written, made, listed or removed, and the driver still gets its work done."""
    outside = root.parent / "outside"

    succeeded = attempts(LocalFiles(way=way).beneath(root), count)

    assert succeeded > count // 100
    assert [(path.name, path.read_bytes()) for path in outside.iterdir()] == [("secret", b"secret")]


def test_the_attack_wins_against_a_look_beforehand(root: Path) -> None:
    """Else the test above would prove nothing: `realpath`, a comparison, then `open` loses."""
    for _ in range(200_000):
        try:
            real = os.path.realpath(root / "file")
            if os.path.commonpath([real, root]) == str(root) and (root / "file").read_bytes() == b"secret":
                return
        except OSError:
            continue
    pytest.fail("the attacker never won")
