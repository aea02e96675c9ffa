"""Replacing a file whole or not at all: a temporary file beside it, brought to the disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from typing import Final

from pegboard_files.beneath import Place
from pegboard_files.told import denied

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def replace_file(path: str, place: Place, data: bytes) -> None:
    """Put `data` where `place` is; mode and owner of a file that is there are kept, its other links refused.

    Raises:
        FilesDeniedError: there is something that is not to be overwritten.
        OSError: it could not be written; what was there is as it was.
    """
    before = _writable(path, place)
    name = f".pegboard-{secrets.token_hex(8)}.tmp"
    descriptor = os.open(name, _NEW, 0o600 if before else 0o666, dir_fd=place.folder)
    try:
        try:
            _write(descriptor, data)
            if before is not None:
                _adopt(descriptor, before)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(name, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=place.folder)
        raise
    sync_folder(place.folder)


def sync_folder(folder: int) -> None:
    """Bring the names in a folder to the disk, as far as the system lets us."""
    with contextlib.suppress(OSError):
        readable = os.open(".", os.O_RDONLY | getattr(os, "O_DIRECTORY", 0), dir_fd=folder)
        try:
            os.fsync(readable)
        finally:
            os.close(readable)


def _writable(path: str, place: Place) -> os.stat_result | None:
    try:
        found = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise denied(path, "is a folder and no file")
    if not stat.S_ISREG(found.st_mode):
        raise denied(path, "is neither a file nor a folder")
    if found.st_nlink > 1:
        raise denied(path, "has another name elsewhere (a hard link), where it would not change")
    if not found.st_mode & 0o222:
        raise denied(path, "is read-only")
    return found


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = os.write(descriptor, rest)
        if not written:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest = rest[written:]


def _adopt(descriptor: int, before: os.stat_result) -> None:
    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & 0o777)  # without the bits that lend rights


__all__ = ["replace_file", "sync_folder"]
