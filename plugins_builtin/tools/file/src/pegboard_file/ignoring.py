"""Which paths a repository ignores: its `.gitignore` files, translated by `pathspec`.

The patterns come with the repository, so they are matched by `regex`, which can be stopped, and not by `re`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from pegboard.errors import FilesDeniedError
from pegboard.interfaces import Folder
from pegboard.lazy import LazyModule

if TYPE_CHECKING:
    from pathspec.patterns.gitignore import spec as gitignore
else:
    gitignore = LazyModule("pathspec.patterns.gitignore.spec")
regex: Any = LazyModule("regex")  # it has no types

ALWAYS: Final = frozenset({".git", ".hg", ".svn", "__pycache__", ".DS_Store"})
"""Never shown, unless ignored things are asked for."""
_FILE: Final = ".gitignore"
_FILE_BYTES: Final = 256 * 1024
_MATCH_S: Final = 0.5


_Group: TypeAlias = "tuple[bool, Any]"
"""Whether paths that fit are ignored, and the pattern that they have to fit."""


class Rules(NamedTuple):
    """The rules of one folder: groups of patterns that ignore, or no longer ignore, in the order of the file."""

    base: str
    groups: tuple[_Group, ...]

    def verdict(self, path: str, *, is_folder: bool) -> bool | None:
        """Whether they ignore a path below `base`; `None` is no opinion. What takes too long to say is not ignored."""
        inner = path[len(self.base) :] + ("/" if is_folder else "")
        for ignores, pattern in reversed(self.groups):
            try:
                if pattern.match(inner, timeout=_MATCH_S) is not None:
                    return ignores
            except TimeoutError:
                return None
        return None


def rules_in(folder: Folder, path: str) -> Rules | None:
    """What the `.gitignore` of a folder says; `None` where there is none that can be read."""
    try:
        with folder.open(posixpath.join(path, _FILE)) as file:
            text = file.read(_FILE_BYTES).decode("utf-8", "replace")
    except (OSError, FilesDeniedError):
        return None
    groups = tuple(_groups(text))
    return Rules("" if path in ("", ".") else f"{path}/", groups) if groups else None


def is_ignored(rules: tuple[Rules, ...], path: str, name: str, *, is_folder: bool) -> bool:
    """The rules of the nearest folder that have an opinion decide."""
    if name in ALWAYS:
        return True
    for each in reversed(rules):
        verdict = each.verdict(path, is_folder=is_folder)
        if verdict is not None:
            return verdict
    return False


def _groups(text: str) -> Iterator[_Group]:
    """Neighbours that say the same are one pattern: most files have but one or two groups."""
    patterns = list(_patterns(text))
    for ignores, group in groupby(patterns, key=itemgetter(0)):
        joined = "|".join(f"(?:{pattern})" for _, pattern in group)
        yield ignores, regex.compile(joined)


def _patterns(text: str) -> Iterator[tuple[bool, str]]:
    for line in text.splitlines():
        try:
            made = gitignore.GitIgnoreSpecPattern(line)
            if made.include is not None and made.regex is not None:
                regex.compile(made.regex.pattern)
                yield made.include, made.regex.pattern
        except (ValueError, regex.error):
            continue  # as git does with a pattern that means nothing


__all__ = ["ALWAYS", "Rules", "is_ignored", "rules_in"]
