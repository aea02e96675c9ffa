"""Two ways to open what a path names without leaving a folder: the kernel's own, and a walk in single steps.

The walk opens each component beside the one before it and follows no link by itself: it reads what the link says, and
goes there in the same manner. So nobody can swap a component for a link between a check and its use; there is no check.
What would lead out is `EXDEV` in both ways, and links that go round are `ELOOP`.
"""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from pegboard_files import kernel

_PATH_ONLY: Final = getattr(os, "O_PATH", os.O_RDONLY)  # macOS lacks it, and then folders must be readable
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
FOLDER: Final = _PATH_ONLY | getattr(os, "O_DIRECTORY", 0) | _NO_FOLLOW
LINKS: Final = 40
"""As many links are followed in one path as the kernel follows."""
_TRIES: Final = 64

Make = Callable[[Sequence[str]], None]
"""Asked, with all components of the path, before a folder that is missing is made; raises to refuse."""


class Place(NamedTuple):
    """Where a path really is."""

    folder: int
    """A descriptor of the folder, good for the length of the block."""
    above: tuple[str, ...]
    """Names from the root to the folder, with links resolved."""
    name: str
    """In the folder; `.` when the path is the root or ends in `..`."""

    @property
    def names(self) -> tuple[str, ...]:
        """From the root to the thing itself."""
        return self.above if self.name == "." else (*self.above, self.name)


class Walk:
    """Opens things below `root`, a descriptor that it takes over, component by component."""

    def __init__(self, root: int) -> None:
        self.root = root
        weakref.finalize(self, os.close, root)

    def open(self, path: str, flags: int) -> int:
        """Open what is there; links are followed, also the last one."""
        for _ in range(_TRIES):
            with self.place(path, follow=True) as place:
                try:
                    return os.open(place.name, flags | _NO_FOLLOW, dir_fd=place.folder)
                except OSError as exc:
                    if exc.errno not in (errno.ELOOP, errno.EMLINK):  # a link came there after we had looked
                        raise
        raise _error(errno.ELOOP)

    def stat(self, path: str) -> os.stat_result:
        """Of the path itself; a last link is not followed."""
        with self.place(path, follow=False) as place:
            return os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)

    @contextmanager
    def place(self, path: str, *, follow: bool, make: Make | None = None) -> Iterator[Place]:
        """The folder that a path is in, open, and the name that it has there; the thing itself may be missing.

        Args:
            path: relative to the root.
            follow: whether a last component that is a link is followed too.
            make: makes folders on the way that are missing; without it they are `ENOENT`.
        """
        steps = _Steps(self.root, make)
        try:
            name = steps.go(path, follow)
            yield Place(steps.folder, tuple(steps.names), name)
        finally:
            steps.close()


class Kernel(Walk):
    """As `Walk`, where the kernel has `openat2`: faster to read. To write it walks, to know the real names."""

    def open(self, path: str, flags: int) -> int:
        """Open what is there; links are followed, also the last one."""
        return kernel.open_beneath(self.root, path, flags | os.O_CLOEXEC)

    def stat(self, path: str) -> os.stat_result:
        """Of the path itself; a last link is not followed."""
        descriptor = kernel.open_beneath(self.root, path, _PATH_ONLY | _NO_FOLLOW)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)


class _Steps:
    """A walk: the folder that it is in, and the names that led there. At most one descriptor beside the root's."""

    def __init__(self, root: int, make: Make | None) -> None:
        self.folder = root
        self.names: list[str] = []
        self._root = root
        self._make = make
        self._links = 0

    def go(self, path: str, follow: bool) -> str:
        """Walk to the folder of the last component, and return that component."""
        ahead = _reversed_parts(path)
        while ahead:
            part = ahead.pop()
            if part == "..":
                self._up()
                continue
            if not ahead and not follow:
                return part
            target = self._link(part) if not ahead else self._into(part, ahead)
            if target is not None:
                ahead += self._followed(target)
            elif not ahead:
                return part
        return "."

    def close(self) -> None:
        """Close what the walk has open."""
        if self.folder != self._root:
            os.close(self.folder)
            self.folder = self._root

    def _into(self, part: str, ahead: Sequence[str]) -> str | None:
        """Enter a folder; where it is a link instead, what the link says."""
        try:
            self._enter(part)
        except OSError as exc:
            if exc.errno in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK) and (target := self._link(part)) is not None:
                return target
            if exc.errno != errno.ENOENT or self._make is None or ".." in ahead:
                raise
            self._make((*self.names, part, *reversed(ahead)))
            self._new(part)
        return None

    def _new(self, part: str) -> None:
        try:
            os.mkdir(part, dir_fd=self.folder)
        except FileExistsError:
            pass  # somebody was faster; if it is a link, entering it is refused
        self._enter(part)

    def _enter(self, part: str) -> None:
        entered = os.open(part, FOLDER, dir_fd=self.folder)
        self.close()
        self.folder = entered
        self.names.append(part)

    def _up(self) -> None:
        # From the root again and not by `..`: the folder may have been moved out meanwhile.
        if not self.names:
            raise _error(errno.EXDEV)
        names = self.names[:-1]
        self.close()
        self.names = []
        for name in names:
            self._enter(name)

    def _link(self, part: str) -> str | None:
        try:
            return os.readlink(part, dir_fd=self.folder)
        except OSError as exc:
            if exc.errno in (errno.EINVAL, errno.ENOENT):
                return None
            raise

    def _followed(self, target: str) -> list[str]:
        self._links += 1
        if self._links > LINKS:
            raise _error(errno.ELOOP)
        if target.startswith("/"):
            raise _error(errno.EXDEV)
        return _reversed_parts(target)


def _reversed_parts(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


__all__ = ["FOLDER", "LINKS", "Kernel", "Make", "Place", "Walk"]
