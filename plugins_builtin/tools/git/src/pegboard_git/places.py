"""Where a repository keeps things: all of it inside the workspace, and nothing that git writes behind a link.

Git writes through links, into whatever `.git/COMMIT_EDITMSG` or `.git/index` leads to. A clone brings none, but an
archive or another program can. So the folder is looked through before, without following anything.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from pegboard_git.errors import GitError, OutsideError

OUTSIDE: Final = "the repository keeps its history or its files outside of the workspace"
MOST_ENTRIES: Final = 200_000
"""Of which a repository has some hundred, and one with many branches some thousand."""
_ALTERNATES_BYTES: Final = 64 * 1024
_HOOKS: Final = "hooks"
"""Never run and never written; links in there are common."""
_OF_OTHERS: Final = frozenset({"annex", "modules"})
"""Git writes nothing there; a submodule is looked through when it is used itself."""
_OBJECTS: Final = frozenset({"objects", "lfs/objects"})


class _Spot(NamedTuple):
    path: str
    name: str
    """From the top of the repository; empty is the top."""


def check_top(folder: str) -> None:
    """Look at what stands in the folder of a repository, as far as git opens it to find out what it is.

    Raises:
        OutsideError, GitError: there is a link, or what is neither a file nor a folder.
    """
    _Search().folders(_Spot(folder, ""))


def check(workspace: str, *folders: str) -> None:
    """Look through folders of a repository, and through the objects of others that it borrows.

    Raises:
        OutsideError: something in there leads elsewhere, or may.
        GitError: it cannot be looked through.
    """
    search = _Search()
    waiting = [_Spot(folder, "") for folder in dict.fromkeys(folders)]
    known: set[str] = set()
    while waiting:
        spot = waiting.pop()
        if spot.path not in known:
            known.add(spot.path)
            waiting += search.folders(spot)
            if spot.name == "objects/info":
                waiting += _borrowed(workspace, spot.path.rpartition("/")[0])


class _Search:
    def __init__(self) -> None:
        self._left = MOST_ENTRIES

    def folders(self, spot: _Spot) -> list[_Spot]:
        """The folders in a folder that are to be looked through, once everything in it has been looked at."""
        try:
            with os.scandir(spot.path) as items:
                return list(self._looked_at(spot, items))
        except (FileNotFoundError, NotADirectoryError):
            return []  # gone meanwhile, or no repository at all, which git will say
        except OSError as exc:
            raise GitError(f"`{_shown(spot.path)}` cannot be looked through: {exc.strerror}") from None

    def _looked_at(self, spot: _Spot, items: Iterator[os.DirEntry[str]]) -> Iterator[_Spot]:
        for item in items:
            self._left -= 1
            if self._left < 0:
                raise GitError("the repository has too many files to be looked through", hint="git pack-refs --all")
            name = f"{spot.name}/{item.name}".lstrip("/")
            if name.lower() == _HOOKS:
                continue
            _check_kind(item, name)
            if item.is_dir(follow_symlinks=False) and not _is_left_alone(spot.name, item.name.lower()):
                yield _Spot(item.path, name.lower())  # as a disk that does not tell `OBJECTS` apart


def _check_kind(item: os.DirEntry[str], name: str) -> None:
    if item.is_symlink():
        raise OutsideError(f"`.git/{_shown(name)}` is a link, and git would write to where it leads")
    if item.is_dir(follow_symlinks=False) or item.is_file(follow_symlinks=False):
        return
    if not stat.S_ISSOCK(item.stat(follow_symlinks=False).st_mode):  # the file system monitor has one
        raise GitError(f"`.git/{_shown(name)}` is neither a file nor a folder")


def _is_left_alone(above: str, name: str) -> bool:
    """Whether nothing in a folder is written through: objects are put under new names."""
    return name in _OF_OTHERS if not above else above in _OBJECTS and len(name) == 2


def _borrowed(workspace: str, objects: str) -> Iterator[_Spot]:
    """The folders of objects that `alternates` names."""
    for line in _alternates(f"{objects}/info/alternates"):
        path = os.path.join(objects, line)  # noqa: PTH118  # it may be absolute, and any text
        real = os.path.realpath(path)
        if line.startswith('"') or not below(real, workspace):  # a quoted one is not worth to be understood
            raise OutsideError(OUTSIDE)
        yield _Spot(real, "objects")


def _alternates(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # it was looked at a moment ago, and is no link
            raw = file.read(_ALTERNATES_BYTES + 1)
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise GitError(f"`{_shown(path)}` cannot be read: {exc.strerror}") from None
    if len(raw) > _ALTERNATES_BYTES or b"\0" in raw:
        raise OutsideError(OUTSIDE)
    return [os.fsdecode(line) for line in raw.split(b"\n") if line and not line.startswith(b"#")]


def below(path: str, root: str) -> bool:
    """Whether a real path is a real folder, or in it."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


__all__ = ["MOST_ENTRIES", "OUTSIDE", "below", "check", "check_top"]
