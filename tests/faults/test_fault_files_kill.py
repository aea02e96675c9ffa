"""A process is killed while it replaces files; what it leaves is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Dies, as by `kill -9`, right before the given call of the given function of `os`.
WRITER = """
import os, sys
from pegboard_files.driver import LocalFiles

root, function, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
real, seen = getattr(os, function), 0


def counted(*args, **kwargs):
    global seen
    seen += 1
    if seen == count:
        os.kill(os.getpid(), 9)
    return real(*args, **kwargs)


folder = LocalFiles().beneath(root)
setattr(os, function, counted)
folder.replace("a/b.txt", b"new" * 100_000)
print("done")
"""
OLD, NEW = b"old" * 100_000, b"new" * 100_000


@pytest.mark.parametrize(
    ("function", "count"),
    [("open", 1), ("open", 2), ("write", 1), ("fchmod", 1), ("fsync", 1), ("rename", 1), ("fsync", 2), ("close", 3)],
)
def test_a_killed_write_leaves_the_old_file_or_the_new(tmp_path: Path, function: str, count: int) -> None:
    """Never a part of one; what was begun has a name that nobody takes for the file."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_bytes(OLD)

    done = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), function, str(count)], capture_output=True)

    assert done.returncode == -9, done.stderr
    expected = NEW if (function, count) in {("fsync", 2), ("close", 3)} else OLD
    assert (tmp_path / "a" / "b.txt").read_bytes() == expected
    others = set(os.listdir(tmp_path / "a")) - {"b.txt"}  # noqa: PTH208  # names alone
    assert all(name.startswith(".pegboard-") and name.endswith(".tmp") for name in others)
