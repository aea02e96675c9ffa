"""A run is killed at any moment: nothing that was recorded is lost, nothing that was finished is done again."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LIVES = Path(__file__).with_name("store_lives.py")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="lives are forked")


def lives(folder: Path, kind: str, *bounds: int) -> dict[str, Any]:
    """What `store_lives.py` says."""
    command = [sys.executable, str(LIVES), str(folder), kind, *map(str, bounds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_killed_at_some_points(tmp_path: Path) -> None:
    """Before a statement, a sync, the removal of a lock, an effect; each run of the test takes other points."""
    found = lives(tmp_path, "point", random.randrange(1, 8), 140, 8)

    assert found["problems"] == []
    assert found["killed"] >= 10


def test_killed_in_the_midst_of_some_writes(tmp_path: Path) -> None:
    """The log ends in the middle of a page."""
    found = lives(tmp_path, "bytes", 33_000 + random.randrange(15_000), 260_000, 15_000)

    assert found["problems"] == []
    assert found["killed"] >= 10


def test_killed_at_some_times(tmp_path: Path) -> None:
    """Wherever it is just then."""
    found = lives(tmp_path, "time", 2_000 + random.randrange(2_000), 40_000, 4_000)

    assert found["problems"] == []


@pytest.mark.slow
def test_killed_at_every_point(tmp_path: Path) -> None:
    """From the first one to one that the run does not come to."""
    found = lives(tmp_path, "point", 1, 250)

    assert found["problems"] == []
    assert 100 < found["killed"] < found["tried"]


@pytest.mark.slow
def test_killed_in_every_write(tmp_path: Path) -> None:
    """Three places in each page of the log, until it holds the whole run."""
    found = lives(tmp_path, "bytes", 32_800, 400_000, 1373)

    assert found["problems"] == []
    assert 100 < found["killed"] < found["tried"]


@pytest.mark.slow
def test_killed_at_many_times(tmp_path: Path) -> None:
    """Fifty microseconds apart."""
    found = lives(tmp_path, "time", 1_000, 41_000, 50)

    assert found["problems"] == []
    assert found["killed"] > 100
