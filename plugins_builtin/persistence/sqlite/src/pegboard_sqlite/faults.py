"""What SQLite and the system complain about, as pegboard's errors; and which file systems are refused beforehand."""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from pathlib import Path
from typing import Final

from pegboard.errors import JournalCorruptError, PegboardError, StorageError, StorageExhaustedError

if sys.platform != "win32":
    import resource

MOUNTS: Final = Path("/proc/self/mountinfo")
NETWORK: Final = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
     "nfs4", "smb3", "smbfs"}
)  # fmt: skip
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
_NO_ROOM_BYTES: Final = 1024 * 1024
_PRIMARY: Final = 0xFF
"""An extended code of SQLite holds the primary one in its lowest byte."""
SETTING: Final = "peg config set plugins.sqlite.path PATH"
"""What has the file somewhere else."""
FAULTS: Final = (sqlite3.Error, OSError)
"""What `translated` makes into errors of pegboard."""
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_CORRUPT: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BY_PLACE: Final = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
_SAYS: Final = {
    sqlite3.SQLITE_READONLY: "it cannot be written",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PERM: "it must not be opened",
    sqlite3.SQLITE_TOOBIG: "what is to be stored is too large for it",
    sqlite3.SQLITE_IOERR: "the disk failed",
}


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else has the file locked, so that another try may help."""
    return _code(error) in _BUSY


def translated(error: BaseException, path: Path) -> BaseException:
    """The error to raise for what SQLite or the system raised; other errors as they are."""
    if not isinstance(error, FAULTS):
        return error
    said = _of_system(error, path) if isinstance(error, OSError) else _of_sqlite(error, path)
    said.__cause__ = error
    return said


def _of_sqlite(error: sqlite3.Error, path: Path) -> PegboardError:
    code = _code(error)
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _no_room(path)):
        return _exhausted(path)
    if code in _CORRUPT:
        return JournalCorruptError(f"the store `{path}` is damaged: {error}", hint="peg doctor --deep")
    if code in _BUSY:
        return StorageError(f"the store `{path}` is locked by another process", hint="peg doctor --deep")
    said = _SAYS.get(code, "it failed")
    if code in _BY_PLACE:  # which is not for the doctor to mend
        said = said if os.access(path.parent, os.W_OK) else "its folder cannot be written"
        return StorageError(f"the store `{path}` cannot be used, {said}: {error}", hint=f"ls -la {path.parent}")
    return StorageError(f"the store `{path}` cannot be used, {said}: {error}", hint="peg doctor --deep")


def _of_system(error: OSError, path: Path) -> PegboardError:
    if _no_room(path):
        return _exhausted(path)
    return StorageError(f"the store `{path}` cannot be used: {error.strerror or error}", hint=f"ls -la {path.parent}")


def _exhausted(path: Path) -> StorageExhaustedError:
    return StorageExhaustedError(f"there is no room left for the store `{path}`", hint=f"df {path.parent}")


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY


def _no_room(path: Path) -> bool:
    """SQLite tells only of a full disk; a file that may not grow looks to it like a broken one."""
    if sys.platform == "win32":
        return False
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    sizes = [file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists()]
    if limit != resource.RLIM_INFINITY and any(size + _NO_ROOM_BYTES > limit for size in sizes):
        return True
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _NO_ROOM_BYTES


def check_place(path: Path, mounts: Path = MOUNTS) -> None:
    """Refuse a folder that is not there, and one on another machine.

    Raises:
        StorageError: the message says which.
    """
    if not path.parent.is_dir():
        raise StorageError(f"there is no folder `{path.parent}` for the store", hint=f"mkdir -p {path.parent}")
    kind = _file_system(path.parent.resolve(), mounts)
    if kind in NETWORK:
        # Its log is shared through mapped memory, which two machines do not see alike.
        raise StorageError(
            f"the store `{path}` would be on a network file system (`{kind}`), where it could be damaged",
            hint=SETTING,
        )


def _file_system(folder: Path, mounts: Path) -> str:
    """The kind of file system of a folder; empty where it cannot be known."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    found, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(_ESCAPE.sub(lambda found: chr(int(found[1], 8)), before.split(" ")[4]))
        if folder.is_relative_to(point) and len(point.parts) >= found:  # of two on one point the later hides the other
            found, kind = len(point.parts), after.split(" ")[0]
    return kind
