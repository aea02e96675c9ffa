"""Listing, finding by name and finding by content. Each stops at its limits and says so."""

from __future__ import annotations

import fnmatch
import posixpath
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final, Literal

import msgspec
from pegboard.errors import FilesDeniedError
from pegboard.interfaces import FileStat
from pegboard.lazy import LazyModule

from pegboard_file.errors import PatternError
from pegboard_file.ignoring import Rules, is_ignored, rules_in
from pegboard_file.workspace import Workspace, visible

regex: Any = LazyModule("regex")  # it has no types

SEARCHED_BYTES: Final = 4 * 1024 * 1024
"""Of a file that is searched; a larger one is skipped and counted."""
PATTERN_CHARACTERS: Final = 1000
_LINE: Final = 200
_HEAD: Final = 8192
_EXAMPLES: Final = 5


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was found."""

    path: str
    kind: Literal["file", "folder", "link", "other"]
    size_bytes: int = 0


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """One line that was found."""

    path: str
    line: int
    text: str


class Limits:
    """When to stop, and what was left out."""

    def __init__(self, most: int, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.stopped: str | None = None
        self.skipped: dict[str, list[str]] = {}
        """Paths by the reason why they were skipped."""
        self._seconds = seconds
        self._now = now
        self._end = now() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until the end, never none at all."""
        return max(self._end - self._now(), 0.001)

    def spent(self) -> bool:
        """Whether the time is over."""
        if self._now() < self._end:
            return False
        self.stopped = f"stopped after {self._seconds:g} s; what comes later was not looked at"
        return True

    def full(self, count: int) -> bool:
        """Whether as much was found as is given."""
        if count < self.most:
            return False
        self.stopped = f"stopped at {self.most} results; there are more"
        return True

    def skip(self, path: str, reason: str) -> None:
        """Something was not looked at."""
        self.skipped.setdefault(reason, []).append(visible(path))

    def remarks(self) -> list[str]:
        """What must be said of a result."""
        said = [self.stopped] if self.stopped else []
        for reason, paths in self.skipped.items():
            shown = ", ".join(paths[:_EXAMPLES]) + (" …" if len(paths) > _EXAMPLES else "")
            said.append(f"{len(paths)} skipped, {reason}: {shown}")
        return said


def listed(workspace: Workspace, path: str, limits: Limits, *, ignored: bool) -> list[Entry]:
    """What stands in one folder."""
    base = _base(path)
    rules = () if ignored else _rules_above(workspace, base)
    found: list[Entry] = []
    for name, inner, stat in _children(workspace, base, limits):
        if not ignored and is_ignored(rules, inner, name, is_folder=stat.kind == "folder"):
            continue
        if limits.full(len(found)) or limits.spent():
            break
        found.append(_entry(inner, stat))
    return found


def globbed(workspace: Workspace, pattern: str, path: str, limits: Limits, *, ignored: bool) -> list[Entry]:
    """Files, folders and links whose path below `path` fits a pattern."""
    matches = _matcher(pattern)
    base = _base(path)
    found: list[Entry] = []
    for inner, stat in walked(workspace, path, limits, ignored=ignored):
        if matches(inner[len(base) + 1 if base else 0 :]):
            if limits.full(len(found)):
                break
            found.append(_entry(inner, stat))
    return found


def searched(
    workspace: Workspace,
    pattern: str,
    path: str,
    limits: Limits,
    *,
    is_regex: bool,
    ignore_case: bool,
    glob: str | None,
) -> list[Hit]:
    """Lines that have the pattern in them."""
    line_fits = _line_test(pattern, is_regex, ignore_case, limits)
    fits = _matcher(glob) if glob else None
    found: list[Hit] = []
    for inner in _searchable(workspace, path, limits):
        if fits is not None and not fits(inner) and not fits(posixpath.basename(inner)):
            continue
        text = _text(workspace, inner, limits)
        if text is None:
            continue
        try:
            for number, line in enumerate(text.split("\n"), 1):
                start = line_fits(line)
                if start is None:
                    continue
                if limits.full(len(found)):
                    return found
                found.append(Hit(path=visible(inner), line=number, text=_excerpt(line, start)))
        except TimeoutError:
            limits.spent()
            limits.stopped = limits.stopped or "stopped: the pattern takes too long"
            return found
    return found


def walked(workspace: Workspace, path: str, limits: Limits, *, ignored: bool) -> Iterator[tuple[str, FileStat]]:
    """Everything below a folder that is not ignored, in order; links are not followed."""
    base = _base(path)
    todo: list[tuple[str, tuple[Rules, ...]]] = [(base, () if ignored else _rules_above(workspace, base))]
    while todo:
        above, rules = todo.pop()
        deeper: list[tuple[str, tuple[Rules, ...]]] = []
        for name, inner, stat in _children(workspace, above, limits, optional=above != base):
            if limits.spent():
                return
            is_folder = stat.kind == "folder"
            if not ignored and is_ignored(rules, inner, name, is_folder=is_folder):
                continue
            yield inner, stat
            if is_folder:
                own = None if ignored else rules_in(workspace.folder, inner)
                deeper.append((inner, rules if own is None else (*rules, own)))
        todo += reversed(deeper)


def _children(
    workspace: Workspace, path: str, limits: Limits, *, optional: bool = False
) -> Iterator[tuple[str, str, FileStat]]:
    try:
        names = workspace.folder.list(path or ".")
    except (OSError, FilesDeniedError):
        if not optional:
            raise
        limits.skip(path, "cannot be read")
        return
    for name in names:
        inner = f"{path}/{name}" if path else name
        try:
            yield name, inner, workspace.folder.stat(inner)
        except FileNotFoundError:
            continue  # gone since it was listed
        except (OSError, FilesDeniedError):
            limits.skip(inner, "cannot be read")


def _searchable(workspace: Workspace, path: str, limits: Limits) -> Iterator[str]:
    base = _base(path)
    if base and workspace.folder.stat(base).kind == "file":
        yield base
        return
    for inner, stat in walked(workspace, path, limits, ignored=False):
        if stat.kind != "file":
            continue
        if stat.size_bytes > SEARCHED_BYTES:
            limits.skip(inner, f"larger than {SEARCHED_BYTES} bytes")
            continue
        yield inner


def _text(workspace: Workspace, path: str, limits: Limits) -> str | None:
    try:
        with workspace.folder.open(path) as file:
            data = file.read(SEARCHED_BYTES)
    except FileNotFoundError:
        return None
    except (OSError, FilesDeniedError):
        limits.skip(path, "cannot be read")
        return None
    return None if b"\0" in data[:_HEAD] else data.decode("utf-8", "replace")


def _line_test(pattern: str, is_regex: bool, ignore_case: bool, limits: Limits) -> Callable[[str], int | None]:
    """Where in a line the pattern is, or `None`. Raises `PatternError`; the test raises `TimeoutError`."""
    if not pattern or len(pattern) > PATTERN_CHARACTERS:
        raise PatternError(f"a pattern has 1 to {PATTERN_CHARACTERS} characters")
    if not is_regex and not ignore_case:
        return lambda line: line.find(pattern) if pattern in line else None
    try:
        made = regex.compile(pattern if is_regex else regex.escape(pattern), regex.IGNORECASE if ignore_case else 0)
    except (regex.error, RecursionError, OverflowError) as exc:
        raise PatternError(f"`{pattern}` is no regular expression: {exc}") from None

    def fits(line: str) -> int | None:
        found: Any = made.search(line, timeout=limits.left_s, concurrent=len(line) > _LINE)
        return found.start() if found else None

    return fits


def _excerpt(line: str, start: int) -> str:
    line = line.rstrip("\r")
    if len(line) <= _LINE:
        return line
    first = max(0, start - _LINE // 4)
    return ("…" if first else "") + line[first : first + _LINE] + ("…" if first + _LINE < len(line) else "")


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a path fits: `*` and `?` stay within a name, `**` is any number of folders.

    Name by name and without a regular expression over the whole path, so that no pattern takes exponential time.
    """
    if len(pattern) > PATTERN_CHARACTERS:
        raise PatternError(f"a pattern has 1 to {PATTERN_CHARACTERS} characters")
    wanted = tuple(part for part in pattern.split("/") if part not in ("", "."))

    def matches(path: str) -> bool:
        names = tuple(path.split("/"))

        @cache
        def rest(at: int, name: int) -> bool:
            if at == len(wanted):
                return name == len(names)
            if wanted[at] == "**":
                return rest(at + 1, name) or (name < len(names) and rest(at, name + 1))
            return name < len(names) and fnmatch.fnmatchcase(names[name], wanted[at]) and rest(at + 1, name + 1)

        return rest(0, 0)

    return matches


def _rules_above(workspace: Workspace, path: str) -> tuple[Rules, ...]:
    """The rules of the workspace and of each folder down to `path`."""
    parts = path.split("/") if path else []
    folders = ["", *("/".join(parts[: n + 1]) for n in range(len(parts)))]
    return tuple(rules for each in folders if (rules := rules_in(workspace.folder, each or ".")) is not None)


def _base(path: str) -> str:
    base = posixpath.normpath(path)
    return "" if base == "." else base


def _entry(path: str, stat: FileStat) -> Entry:
    return Entry(path=visible(path), kind=stat.kind, size_bytes=stat.size_bytes if stat.kind == "file" else 0)


__all__ = ["PATTERN_CHARACTERS", "SEARCHED_BYTES", "Entry", "Hit", "Limits", "globbed", "listed", "searched", "walked"]
