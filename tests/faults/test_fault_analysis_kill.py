"""`code-analysis` is killed at any moment: gone on with, it leaves the report of a run that nobody disturbed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="lives are forked")


def lives(folder: Path, *bounds: int) -> dict[str, Any]:
    """What `analysis_lives.py` says."""
    command = [sys.executable, "-m", "tests.faults.analysis_lives", str(folder), *map(str, bounds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2400)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_killed_at_some_points(tmp_path: Path) -> None:
    """No step that had ended is begun again, the store is sound, the report is the same; other points each time."""
    found = lives(tmp_path, random.randrange(1, 30), 150, 30)

    assert found["problems"] == []
    assert found["killed"] >= 4


@pytest.mark.slow
def test_killed_at_every_point(tmp_path: Path) -> None:
    """From the first one to one that the run does not come to."""
    found = lives(tmp_path, 1, 205)

    assert found["problems"] == []
    assert 100 < found["killed"] < found["tried"]
