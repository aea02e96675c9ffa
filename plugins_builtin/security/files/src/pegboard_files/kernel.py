"""Two system calls that Python does not have: `openat2`, which follows no link out of a folder, and `renameat2`."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from functools import cache
from typing import Any

_OPENAT2 = 437  # the same number on every architecture, as for all calls that were added since 2019
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}
_NO_MAGICLINKS, _BENEATH, _NO_REPLACE = 0x02, 0x08, 1
_TRIES = 64


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


@cache
def has_openat2() -> bool:
    """Whether the kernel has it, and no filter of system calls forbids it."""
    if not sys.platform.startswith("linux") or platform.machine() not in _RENAMEAT2:
        return False
    try:
        folder = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.close(open_beneath(folder, ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError:
        return False
    finally:
        os.close(folder)
    return True


def open_beneath(folder: int, path: str, flags: int) -> int:
    """Open a path below a folder; the kernel refuses with `EXDEV` what would lead out.

    It says `EAGAIN` when something was renamed while it looked at `..`, and is asked again.
    """
    how = _How(flags=flags, mode=0, resolve=_BENEATH | _NO_MAGICLINKS)
    name = os.fsencode(path)
    for _ in range(_TRIES):
        descriptor = int(_libc().syscall(_OPENAT2, folder, name, ctypes.byref(how), ctypes.sizeof(how)))
        if descriptor >= 0:
            return descriptor
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), path)


def rename_new(source: int, name: str, target: int, to: str) -> None:
    """Rename, and fail with `EEXIST` rather than overwrite; between look and rename only where the kernel cannot."""
    number = _RENAMEAT2.get(platform.machine()) if sys.platform.startswith("linux") else None
    if number is not None:
        code = _libc().syscall(number, source, os.fsencode(name), target, os.fsencode(to), _NO_REPLACE)
        if code == 0:
            return
        if ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), to)
    try:
        os.stat(to, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(name, to, src_dir_fd=source, dst_dir_fd=target)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), to)


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


__all__ = ["has_openat2", "open_beneath", "rename_new"]
