"""The workspace of a run, as the driver `files` gives it, and paths and errors in the words of a model."""

from __future__ import annotations

import difflib
import hashlib
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pegboard.interfaces import Folder, RunContext, ToolContext

from pegboard_file.errors import FileError, FileExistsAlreadyError, FileTooLargeError, NoFileError, NoWorkspaceError

WHOLE_BYTES: Final = 64 * 1024 * 1024
"""Of a file that is read whole, to change it."""
_DIGEST_DIGITS: Final = 16
_NEAR: Final = 3


class Workspace:
    """The files of one call."""

    __slots__ = ("folder", "root")

    def __init__(self, folder: Folder, root: str) -> None:
        self.folder = folder
        self.root = root

    def inside(self, path: str) -> str:
        """The path relative to the workspace. An absolute one that names the workspace is taken for what is meant."""
        if path.startswith("/"):
            for root in (self.root, os.path.realpath(self.root)):
                if path == root or path.startswith(root.rstrip("/") + "/"):
                    return path[len(root) :].strip("/") or "."
        return path

    def content(self, path: str) -> bytes:
        """A whole file. Raises `FileTooLargeError` for what would fill the memory."""
        with self.folder.open(path) as file:
            data = file.read(WHOLE_BYTES + 1)
        if len(data) > WHOLE_BYTES:
            raise FileTooLargeError(f"`{path}` is larger than {WHOLE_BYTES} bytes, too large to be changed as a whole")
        return data

    def content_or_none(self, path: str) -> bytes | None:
        """A whole file, or `None` where there is none."""
        try:
            return self.content(path)
        except FileNotFoundError:
            return None

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Inside, an error of the system becomes one that a model can act on."""
        try:
            yield
        except FileNotFoundError as exc:
            raise NoFileError(f"there is no `{exc.filename}`{self._near(str(exc.filename))}") from None
        except FileExistsError as exc:
            raise FileExistsAlreadyError(f"there is a `{exc.filename}` already, and it is not overwritten") from None
        except OSError as exc:
            raise FileError(f"`{exc.filename or 'the file'}`: {exc.strerror or type(exc).__name__}") from exc

    def _near(self, path: str) -> str:
        above, name = posixpath.split(path.rstrip("/"))
        try:
            names = self.folder.list(above or ".")
        except Exception:  # only a help: whatever is wrong above was told already
            return ""
        near = [visible(posixpath.join(above, each)) for each in difflib.get_close_matches(name, names, _NEAR)]
        return f"; there is {', '.join(f'`{each}`' for each in near)}" if near else ""


def opened(ctx: ToolContext) -> Workspace:
    """The workspace of the run that a call belongs to.

    Raises:
        NoWorkspaceError: the run has none.
        DriverMissingError: no driver `files` is installed.
    """
    run: RunContext | None = ctx.run  # none for a call that no run stands around
    workspace = run.workspace if run is not None else None
    if not workspace or ctx.host is None:
        raise NoWorkspaceError("this run has no workspace, so there are no files to work with")
    root = str(Path(workspace).absolute())
    return Workspace(ctx.host.driver("files").beneath(root), root)


def key(path: str) -> frozenset[str]:
    """What a call on a file locks: calls on the same path wait for each other, others do not."""
    return frozenset({f"file:{posixpath.normpath(path)}"})


def digest_of(data: bytes) -> str:
    """Tells two contents of a file apart."""
    return hashlib.sha256(data).hexdigest()[:_DIGEST_DIGITS]


def visible(path: str) -> str:
    """A name for a result: what is no UTF-8 in it is escaped."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


__all__ = ["WHOLE_BYTES", "Workspace", "digest_of", "key", "opened", "visible"]
