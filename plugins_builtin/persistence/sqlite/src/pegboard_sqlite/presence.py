"""Whether the open file is still where others look for it.

A file that is removed or replaced can be written to for as long as it is open, and is gone with whoever has it open:
SQLite does not notice.
"""

# ruff: noqa: PTH116
# Beside commits of a few microseconds, where `Path.stat` would cost more.

from __future__ import annotations

import os
import sys
from pathlib import Path

from pegboard.errors import StorageError


class Presence:
    """The file and its log, as they were when they were opened.

    Args:
        path: where others look for the file; it may be a link.
        log: the descriptor of the write-ahead log.
    """

    __slots__ = ("_device", "_log", "_number", "_path")

    def __init__(self, path: Path, log: int) -> None:
        self._path = str(path)
        self._log = log
        found = os.stat(self._path)
        self._number, self._device = found.st_ino, found.st_dev

    def check(self) -> None:
        """Raises `StorageError` where what would be added is not found by whoever opens the file next."""
        if sys.platform == "win32":  # what is open cannot be moved there
            return
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            raise _moved(self._path, "was removed or moved") from None
        if found.st_ino != self._number or found.st_dev != self._device:
            raise _moved(self._path, "was replaced")
        if not os.fstat(self._log).st_nlink:
            raise _moved(f"{self._path}-wal", "was removed")


def _moved(path: str, what: str) -> StorageError:
    return StorageError(
        f"`{path}` {what} while it was open; nothing is added to what nobody would find again", hint=f"ls -li {path}*"
    )
