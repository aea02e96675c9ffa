"""A lock between processes that dies with its owner: the operating system holds it, and the file only names it.

Whoever is killed leaves no lock behind, and whoever finds one waits for a process that lives. A file system that knows
no locks lets everybody in, since what is written under a lock is replaced whole anyway.
"""

# ruff: noqa: PTH108, PTH116
# On the path of `peg --help`, where pathlib would be a tenth of the time.

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = 5.0
_PAUSE_S = 0.01
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def file_lock(path: str, timeout_s: float = _TIMEOUT_S) -> Iterator[None]:
    """Hold the lock that is named by a file; it is there while the lock is held.

    Raises:
        TimeoutError: another process held it all the time.
        OSError: the file cannot be made.
    """
    descriptor = _acquire(path, time.monotonic() + timeout_s)
    try:
        yield
    finally:
        with suppress(OSError):  # while it is ours, or the next owner's file would be taken away; Windows keeps it
            os.unlink(path)
        os.close(descriptor)


def lock_owner(path: str) -> str | None:
    """The process that holds the lock, as it wrote it down; `None` when nobody does."""
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    try:
        return None if _locked(descriptor) else os.read(descriptor, 32).decode("ascii", "replace") or "unknown"
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _acquire(path: str, deadline: float) -> int:
    while True:
        descriptor = _open(path)
        if descriptor is not None:
            return descriptor
        if time.monotonic() > deadline:
            raise TimeoutError(errno.ETIMEDOUT, f"is held by process {lock_owner(path) or 'unknown'}", path)
        time.sleep(_PAUSE_S)


def _open(path: str) -> int | None:
    """The file with the lock on it, or `None` when somebody else has it, or had and took the file away."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        if _locked(descriptor) and _is_there(path, descriptor):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_there(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _locked(descriptor: int) -> bool:
    """Whether the lock is ours now."""
    try:
        _take(descriptor)
    except OSError as exc:
        if exc.errno in _NO_LOCKS_HERE:
            return True
        if exc.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True


def _take(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # beyond the text, which others may read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
