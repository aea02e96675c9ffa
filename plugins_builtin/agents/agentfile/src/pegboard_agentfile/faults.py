"""What is wrong with a file, each thing with its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pegboard.config import edit_hint
from pegboard.errors import AgentFileError

Lines = Mapping[tuple[str, ...], int]
_MOST_TOLD = 10


class Fault(NamedTuple):
    """One thing that is wrong."""

    message: str
    line: int | None = None
    hint: str = ""
    """What to type; empty is to mend the file."""


def refusal(path: str, faults: Sequence[Fault]) -> AgentFileError:
    """The error that tells all of it, the first line as `file:line`."""
    told = [_told(path, faults[0]), *(_told("line", fault, sign=" ") for fault in faults[1:_MOST_TOLD])]
    more = len(faults) - _MOST_TOLD
    told += [f"and {more} more"] if more > 0 else []
    hint = next((fault.hint for fault in faults if fault.hint), "")
    return AgentFileError("; ".join(told), hint=hint or edit_hint(path))


def line_of(lines: Lines, path: Sequence[str]) -> int | None:
    """Where a value stands: the line of the nearest key on the way to it."""
    ways = (tuple(path[:length]) for length in range(len(path), 0, -1))
    return next((lines[way] for way in ways if way in lines), None)


def _told(place: str, fault: Fault, sign: str = ":") -> str:
    return f"{place}{sign}{fault.line or 1}: {fault.message}"
