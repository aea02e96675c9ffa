"""Plain tables and lists: readable without colour, by a screen reader and through a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pegboard.signs import UNSAFE


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need; the last one is never padded or cut."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows))


def escaped(text: str) -> str:
    """A text of a model, tool or plugin on one line: what moves the cursor or turns the direction is spelled out."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "surrogatepass").decode() for sign in text
    )


def exact_json(value: Any, indent: int | None = None) -> str:
    """JSON that says exactly this value, also on a terminal: signs that could fool it are escaped as JSON does it."""
    import json

    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    return UNSAFE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


def harmless(text: str) -> str:
    """A text of any number of lines with what could fool a terminal spelled out."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
