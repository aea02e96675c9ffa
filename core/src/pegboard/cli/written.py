"""Writes a file that a person named: a pipe is not waited for, and what goes wrong says what helps."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from pathlib import Path

from pegboard.errors import PegboardError, StorageError, StorageExhaustedError

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_MAX_SHOWN = 200


def write_file(path: Path, data: bytes) -> None:
    """Put all of `data` into a file.

    Raises:
        StorageExhaustedError: there is no room; what is in the file is not whole.
        StorageError: it cannot be written, or is a pipe that nobody reads.
    """
    try:
        descriptor = os.open(path, _FLAGS, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            if sys.platform != "win32":
                os.set_blocking(descriptor, True)  # only opening was not to wait
            file.write(data)
    except OSError as error:
        raise _said(error, path) from error


def _said(error: OSError, path: Path) -> PegboardError:
    shown, folder = str(path)[:_MAX_SHOWN], shlex.quote(str(path.parent))
    if error.errno in _NO_ROOM:
        return StorageExhaustedError(f"there is no room left for `{shown}`", hint=f"df {folder}")
    if error.errno == errno.ENXIO:
        return StorageError(f"nobody reads from the pipe `{shown}`", hint=f"cat {shlex.quote(str(path))}")
    if not path.parent.is_dir():
        return StorageError(f"there is no folder `{path.parent}` to write to", hint=f"mkdir -p {folder}")
    reason = error.strerror or type(error).__name__
    return StorageError(f"`{shown}` cannot be written: {reason[:1].lower()}{reason[1:]}", hint=f"ls -la {folder}")
