"""What the system says of a path, as the errors that the protocol `Folder` promises.

Paths are told as the caller gave them, escaped and cut, so that no text names what lies outside or forges a line.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pegboard.errors import FilesDeniedError

_SHOWN: Final = 200
_REASONS: Final = {
    errno.EXDEV: "leads out of the folder",
    errno.ELOOP: "goes through links that lead nowhere",
    errno.ENOTDIR: "goes through what is no folder",
    errno.EISDIR: "is a folder and no file",
    errno.ENOTEMPTY: "is a folder that is not empty",
    errno.ENAMETOOLONG: "has a name that is too long",
    errno.ENXIO: "is neither a file nor a folder",
    errno.ENODEV: "is neither a file nor a folder",
    errno.EACCES: "may not be used by this process",
    errno.EPERM: "may not be used by this process",
    errno.EROFS: "is on a file system that is read-only",
    errno.EBUSY: "is in use by the system",
    errno.EINVAL: "cannot be named or moved like this",
}


def denied(path: str, reason: str) -> FilesDeniedError:
    """The refusal of a path."""
    return FilesDeniedError(f"`{shown(path)}` {reason}")


def shown(path: str) -> str:
    """A path for a message: what is not printable is escaped, what is long is cut."""
    cut = path if len(path) <= _SHOWN else f"{path[:_SHOWN]}…"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)


@contextmanager
def told(path: str) -> Iterator[None]:
    """Inside, an error of the system becomes one that speaks of `path`."""
    try:
        yield
    except OSError as exc:
        if isinstance(exc.filename, _Told):  # by a block inside this one, which knew better
            raise
        if exc.errno in _REASONS:
            raise denied(path, _REASONS[exc.errno]) from None
        raise OSError(exc.errno, exc.strerror, _Told(shown(path))) from None  # of the class that fits the number


class _Told(str):
    """A path as it was told."""

    __slots__ = ()


__all__ = ["denied", "shown", "told"]
