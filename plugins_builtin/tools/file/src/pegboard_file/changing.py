"""Moving and deleting. A folder that is deleted leaves its place at once, whole, or stays as it is."""

from __future__ import annotations

import posixpath
import secrets

from pegboard.errors import FilesDeniedError

from pegboard_file.errors import FileError, NoFileError
from pegboard_file.workspace import Workspace


def move(workspace: Workspace, path: str, to: str) -> None:
    """Rename; folders above the new place are made."""
    _exists(workspace, path)
    workspace.folder.make(posixpath.dirname(to) or ".")
    workspace.folder.move(path, to)


def delete(workspace: Workspace, path: str, *, recursive: bool, trash: str, run: str) -> str | None:
    """Delete; where it went, when there is a trash folder.

    A folder is renamed first: the driver refuses that when something protected is inside, before anything is gone.
    """
    kind = workspace.folder.stat(path).kind
    if kind == "folder" and not recursive and workspace.folder.list(path):
        workspace.folder.remove(path)  # refused, in the driver's words
    if trash:
        return _to_trash(workspace, path, f"{trash}/{run}")
    if kind != "folder":
        workspace.folder.remove(path)
        return None
    above = posixpath.dirname(posixpath.normpath(path))
    away = posixpath.join(above, f".pegboard-deleted-{secrets.token_hex(8)}")
    workspace.folder.move(path, away)
    try:
        _remove_all(workspace, away)
    except (FilesDeniedError, OSError) as exc:
        raise FileError(f"`{path}` was deleted but for a part, which is in `{away}`: {exc}") from exc
    return None


def _to_trash(workspace: Workspace, path: str, trash: str) -> str:
    to = posixpath.join(trash, posixpath.normpath(path))
    workspace.folder.make(posixpath.dirname(to))
    try:
        workspace.folder.move(path, to)
    except FileExistsError:
        to = f"{to}.{secrets.token_hex(4)}"
        workspace.folder.move(path, to)
    return to


def _remove_all(workspace: Workspace, path: str) -> None:
    todo = [path]
    while todo:
        folders = []
        for name in workspace.folder.list(todo[-1]):
            inner = f"{todo[-1]}/{name}"
            if workspace.folder.stat(inner).kind == "folder":
                folders.append(inner)
            else:
                workspace.folder.remove(inner)
        if folders:
            todo += folders
        else:
            workspace.folder.remove(todo.pop())


def _exists(workspace: Workspace, path: str) -> None:
    try:
        workspace.folder.stat(path)
    except FileNotFoundError:
        raise NoFileError(f"there is no `{path}` to be moved") from None


__all__ = ["delete", "move"]
