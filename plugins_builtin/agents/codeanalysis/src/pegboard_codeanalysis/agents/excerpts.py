"""The lines of code that a model is shown beside findings, and the tool with which it looks at more of them.

Only files that were analysed can be read, as they were analysed: from the folder, or out of git's object store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from pegboard.interfaces import Tool, ToolContext
from pegboard.threads import DaemonPool
from pegboard.tools import tool

from pegboard_codeanalysis.agents.evidence import Lines
from pegboard_codeanalysis.analysis import git, snapshot

AROUND: Final = 2
MOST_EXCERPTS: Final = 40
MOST_LINES: Final = 200
_MOST_SIGNS: Final = 200
_POOL: Final = DaemonPool(size=2, name="pegboard-code-excerpts")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A source for the context of a model: a piece of what was computed."""

    path: str
    text: str
    kind: str = "findings"
    owner: str = "codeanalysis"
    with_code: bool = False
    """Whether its places are worth the lines that stand there."""

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.text.encode())

    @property
    def digest(self) -> str:
        """Of its text."""
        return hashlib.sha256(f"{self.path}\0{self.text}".encode()).hexdigest()

    def read(self) -> str:
        """The text."""
        return self.text


class Sources:
    """The lines of what was analysed."""

    def __init__(self, root: str, known: Lines, commit: str = "") -> None:
        self._root = root
        self._known = known
        self._commit = commit
        self._read: dict[str, list[str]] = {}

    def numbered(self, path: str, start: int, end: int) -> list[str]:
        """Lines with their numbers. Raises `OSError` or `GitError` where they cannot be read any more."""
        lines = self._lines(path)
        return [f"{number:>6} | {lines[number - 1][:_MOST_SIGNS]}" for number in range(max(1, start), end + 1)
                if number <= len(lines)]  # fmt: skip

    def around(self, place: str) -> list[str]:
        """The lines around a place; none where there is no such place, or it cannot be read."""
        if self._known.fault(place) is not None:
            return []
        path, _, line = self._known.plain(place).rpartition(":")
        try:
            return self.numbered(path, int(line) - AROUND, int(line) + AROUND)
        except (OSError, git.GitError):
            return []

    def fault(self, path: str) -> str | None:
        """Why a file cannot be asked for."""
        return self._known.fault(f"{path}:1")

    def _lines(self, path: str) -> list[str]:
        if path not in self._read:
            self._read[path] = self._bytes(path).decode("utf-8", "replace").splitlines()
        return self._read[path]

    def _bytes(self, path: str) -> bytes:
        if self._commit:
            return git.run(self._root, "cat-file", "blob", f"{self._commit}:./{path}")
        return snapshot.read(f"{self._root}/{path}")


class Brief:
    """What a model is shown of one run while it is asked."""

    def __init__(self, parts: Sequence[Part], sources: Sources) -> None:
        self._parts = parts
        self.sources = sources

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to judge."""
        return not self._parts

    async def shown(self) -> Sequence[Part]:
        """The parts, the gravest findings with the lines that they are about."""
        return await _POOL.run(self._with_code)

    def _with_code(self) -> Sequence[Part]:
        left = MOST_EXCERPTS
        made = []
        for part in self._parts:
            lines: list[str] = []
            for line in part.text.split("\n"):
                lines.append(line)
                found = self.sources.around(line.partition(" ")[0]) if part.with_code and left else []
                left -= bool(found)
                lines += found
            made.append(msgspec.structs.replace(part, text="\n".join(lines)))
        return tuple(made)


def read_lines_tool(briefs: Mapping[str, Brief]) -> Tool:
    """The tool of the agents whose briefs these are."""

    @tool(effect="pure", name="read_lines")
    def read_lines(path: str, start: int, end: int, ctx: ToolContext) -> str:
        """Read lines of an analysed file.

        Args:
            path: as it stands in the parts
            start: the first line, from 1
            end: the last line, at most 200 lines further on
            ctx: the run that asks
        """
        brief = briefs.get(ctx.run.run)
        if brief is None:
            return "there is nothing to read in this run"
        fault = brief.sources.fault(path)
        if fault is not None:
            return fault
        return "\n".join(brief.sources.numbered(path, start, min(end, start + MOST_LINES))) or "there are no such lines"

    return read_lines
