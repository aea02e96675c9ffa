"""Signs in texts of others: those that could fool who reads them in a terminal, and those that no encoding carries."""

from __future__ import annotations

import re
from typing import Any

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What moves the cursor, starts a command of the terminal, or turns the direction of the text."""


def storable_text(text: str) -> str:
    """A text that UTF-8 can carry: lone surrogates, as in names of files in another encoding, are spelled out."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def one_line(text: str, longest: int) -> str:
    """What somebody else says as one line of at most `longest` signs, with what could fool a terminal spelled out."""
    words = " ".join(storable_text(text[: 4 * longest]).split())
    line = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in words)
    return line if len(line) <= longest and len(text) <= 4 * longest else f"{line[:longest]}…"


def storable(value: Any) -> Any:
    """JSON whose texts UTF-8 can carry."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, dict):
        return {storable(name): storable(inner) for name, inner in value.items()}
    return [storable(inner) for inner in value] if isinstance(value, list) else value
