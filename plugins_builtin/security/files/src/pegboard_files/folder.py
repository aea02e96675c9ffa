"""`LocalFolder`: what the protocol `Folder` asks for, on a folder that `beneath` opens things in."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Final, Literal

from pegboard.interfaces import FileStat

from pegboard_files.beneath import FOLDER, Place, Walk
from pegboard_files.kernel import rename_new
from pegboard_files.protected import Protected
from pegboard_files.told import denied, told
from pegboard_files.writing import replace_file, sync_folder

PATH_BYTES: Final = 4096
NAME_BYTES: Final = 255
# Never to wait for the other end of a pipe, and never to get a terminal as our own.
_READ: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_LIST: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_GONE_OUT: Final = "leads out of the folder"
_PROTECTED: Final = "is protected: programs of the user obey what stands there"


class LocalFolder:
    """A folder of the file system as a world of its own. Its descriptor is closed when nobody holds it any more.

    Reading sees the tree as it is; writing also refuses protected paths, and files with more than one name.
    """

    def __init__(self, beneath: Walk, protected: Protected) -> None:
        self._beneath = beneath
        self._protected = protected

    def open(self, path: str) -> BinaryIO:
        """A file for reading; the caller closes it. Devices, pipes and sockets are refused and not waited for."""
        name = _checked(path)
        with told(path):
            descriptor = self._beneath.open(name, _READ)
            try:
                mode = os.fstat(descriptor).st_mode
                if not stat.S_ISREG(mode):
                    is_folder = stat.S_ISDIR(mode)
                    raise denied(path, "is a folder and no file" if is_folder else "is neither a file nor a folder")
                return os.fdopen(descriptor, "rb")
            except BaseException:
                os.close(descriptor)
                raise

    def stat(self, path: str) -> FileStat:
        """Of the path itself; a link is not followed."""
        name = _checked(path)
        with told(path):
            found = self._beneath.stat(name)
        return FileStat(kind=_kind(found.st_mode), size_bytes=found.st_size, modified_at=found.st_mtime)

    def list(self, path: str = ".") -> Sequence[str]:
        """Names in a folder, sorted; bytes that are no UTF-8 are escaped as `os.fsdecode` does."""
        name = _checked(path)
        with told(path):
            descriptor = self._beneath.open(name, _LIST)
            try:
                return sorted(os.listdir(descriptor))  # noqa: PTH208  # pathlib knows no descriptors
            finally:
                os.close(descriptor)

    def replace(self, path: str, data: bytes) -> None:
        """Replace a file whole or not at all, keeping its mode; folders above it are made."""
        with self._for_writing(path, follow=True, make=True) as place:
            replace_file(path, place, data)

    def make(self, path: str) -> None:
        """Make a folder and those above it; one that is there is left alone."""
        with self._for_writing(path, follow=True, make=True, root=True) as place:
            try:
                os.mkdir(place.name, dir_fd=place.folder)
            except FileExistsError:
                os.close(os.open(place.name, FOLDER, dir_fd=place.folder))  # refused when it is no folder

    def move(self, path: str, to: str) -> None:
        """Rename a file or folder. Raises `FileExistsError` rather than overwrite."""
        with self._for_writing(path, follow=False) as source, self._for_writing(to, follow=False) as target:
            kind = _kind_of(path, source)
            if kind == "folder":
                self._refuse_below(path, source, target)
            with told(to):
                rename_new(source.folder, source.name, target.folder, target.name)
            sync_folder(target.folder)
            sync_folder(source.folder)

    def remove(self, path: str) -> None:
        """Delete a file, a link or an empty folder."""
        with self._for_writing(path, follow=False) as place:
            if _kind_of(path, place) == "folder":
                os.rmdir(place.name, dir_fd=place.folder)
            else:
                os.unlink(place.name, dir_fd=place.folder)

    @contextmanager
    def _for_writing(self, path: str, *, follow: bool, make: bool = False, root: bool = False) -> Iterator[Place]:
        """Where a path really is, when it may be changed."""

        def allow(names: Sequence[str]) -> None:
            if self._protected.holds(names):
                raise denied(path, _PROTECTED)

        name = _checked(path)
        with told(path), self._beneath.place(name, follow=follow, make=allow if make else None) as place:
            if place.name == "." and not root:
                raise denied(path, "is the folder itself, or ends in `..`")
            allow(place.names)
            yield place

    def _refuse_below(self, path: str, source: Place, target: Place) -> None:
        """A folder with something protected in it stays, and none comes to be protected by a new name."""
        try:
            for folder, folders, files, _ in os.fwalk(source.name, dir_fd=source.folder, onerror=_raise):
                within = folder.split("/")[1:]
                for name in (*folders, *files):
                    if any(self._protected.holds((*base.names, *within, name)) for base in (source, target)):
                        raise denied(path, f"holds `{name}`, which is protected")
        except RecursionError:
            raise denied(path, "is too deep to be looked through") from None

    def __repr__(self) -> str:
        return f"<folder {self._beneath.root}>"


def _checked(path: str) -> str:
    """The path, when the system can be asked for it at all."""
    if path.startswith("/"):
        raise denied(path, _GONE_OUT)
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        raise denied(path, "is no name that a file can have") from None
    if b"\0" in raw:
        raise denied(path, "is no name that a file can have")
    if len(raw) > PATH_BYTES or max(map(len, raw.split(b"/"))) > NAME_BYTES:
        raise denied(path, "has a name that is too long")
    return path.rstrip("/") or "."


def _kind_of(path: str, place: Place) -> Literal["file", "folder", "link"]:
    with told(path):
        kind = _kind(os.stat(place.name, dir_fd=place.folder, follow_symlinks=False).st_mode)
    if kind == "other":
        raise denied(path, "is neither a file nor a folder")
    return kind


def _kind(mode: int) -> Literal["file", "folder", "link", "other"]:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def _raise(error: OSError) -> None:
    raise error


__all__ = ["NAME_BYTES", "PATH_BYTES", "LocalFolder"]
