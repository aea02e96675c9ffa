"""The line of each key in a TOML text, which `tomllib` does not tell.

A scan of the lines, not a second parser: the text is known to be valid, so strings, brackets and comments need only be
followed far enough to see where a statement begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PART = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")
_TABLE = re.compile(rf"\s*\[\[?\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]")
_PARTS = re.compile(_PART)
# In this order: a triple quote would otherwise be seen as an empty string and an open one.
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'|#[^\n]*|[\[\]{}\n]",
    re.DOTALL,
)


def line_numbers(text: str) -> dict[tuple[str, ...], int]:
    """Path of each key, and of each inline table's keys where they stand on a line of their own, to its line."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, statement in _statements(text):
        if match := _TABLE.match(statement):
            table = _split(match.group(1))
            found.setdefault(table, number)
        elif match := _KEY.match(statement):
            path = (*table, *_split(match.group(1)))
            found[path] = number
            for inner in _inline(statement[match.end() :]):
                found.setdefault((*path, *inner), number)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each statement: a line, or more where a string, list or table goes on."""
    start, line, first_line, depth = 0, 1, 1, 0
    for match in _TOKEN.finditer(text + "\n"):
        token = match.group()
        if token == "\n":
            line += 1
            if depth == 0:
                yield first_line, text[start : match.start()]
                start, first_line = match.end(), line
        elif token in "[{":
            depth += 1
        elif token in "]}":
            depth -= 1
        else:
            line += token.count("\n")


def _inline(value: str) -> Iterator[tuple[str, ...]]:
    if value.lstrip().startswith("{"):
        for match in re.finditer(rf"[{{,]\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=", value):
            yield _split(match.group(1))


def _split(key: str) -> tuple[str, ...]:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in _PARTS.findall(key))
