"""Reads a file that somebody else may have put there: a pipe is never waited for, an endless device never read."""

from __future__ import annotations

import errno
import os
from stat import S_ISREG


def read_regular(path: str | os.PathLike[str], limit_bytes: int) -> bytes:
    """The content of an ordinary file.

    Raises:
        OSError: it cannot be read, is no ordinary file, or is larger than `limit_bytes`.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is no ordinary file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            raw = file.read(limit_bytes + 1)
    finally:
        os.close(descriptor)
    if len(raw) > limit_bytes:
        raise OSError(errno.EFBIG, f"is larger than {limit_bytes // 1024} KiB", str(path))
    return raw
