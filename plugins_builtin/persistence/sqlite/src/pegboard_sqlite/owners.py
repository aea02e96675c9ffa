"""Who drives a run: each store that writes holds a lock on a file of its own for as long as it is open.

The system frees the lock when the process ends, however it ends: no clock is asked, and no number of a process, which
may be another's by then.
"""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from pathlib import Path

from pegboard.errors import StorageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class Owner:
    """One store among those that write to the file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._id: str | None = None
        self._lock: int | None = None

    @property
    def id(self) -> str:
        """Its name; the lock is taken when it is first asked for, so that who only reads leaves nothing behind."""
        if self._id is None:
            self._folder.mkdir(exist_ok=True)
            self._sweep()
            self._id = self._locked()
        return self._id

    def lives(self, id: str) -> bool:
        """Whether the store of this name is open somewhere; what is left of one that is not is removed."""
        if id == self._id:
            return True
        try:
            descriptor = os.open(self._file(id), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            if not _locks(descriptor, shared=True):
                return True
            self._file(id).unlink(missing_ok=True)  # under the lock: its owner cannot be one that just begins
            return False
        finally:
            os.close(descriptor)

    def check(self) -> None:
        """Raises `StorageError` where the lock cannot be seen any more, so that others may take over what is driven."""
        if self._lock is not None and sys.platform != "win32" and not os.fstat(self._lock).st_nlink:
            raise StorageError(
                f"`{self._folder}` was emptied while the store was open; others may go on with its runs",
                hint="peg runs list --state interrupted",
            )

    def close(self) -> None:
        """From now on its runs may be taken over."""
        if self._lock is not None and self._id is not None:
            with contextlib.suppress(OSError):
                self._file(self._id).unlink()
            os.close(self._lock)
        self._id = self._lock = None

    def _locked(self) -> str:
        while True:
            name = uuid.uuid4().hex
            descriptor = os.open(self._file(name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            # Between the two calls somebody may have taken the file for an abandoned one.
            if _locks(descriptor, shared=False) and self._file(name).exists():
                self._lock = descriptor
                return name
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what killed processes left behind."""
        for file in self._folder.glob("*.lock"):
            self.lives(file.stem)

    def _file(self, id: str) -> Path:
        return self._folder / f"{id}.lock"


def _locks(descriptor: int, *, shared: bool) -> bool:
    """Whether the file could be locked; two that only look do not stand in each other's way."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
