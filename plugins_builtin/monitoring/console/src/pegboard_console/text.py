"""Plain text for a terminal: what is shown of untrusted text, and whether colour is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TextIO

SHOWN_CHARACTERS: Final = 200
"""Longer texts are cut, so that one event stays one line of a length that does not depend on the terminal."""

# Control characters move the cursor and forge lines; the directional ones show text in another order than it has.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb]"
)
_COLOURS: Final = {"red": 31, "green": 32, "yellow": 33, "dim": 2}


def visible(value: object, limit: int = SHOWN_CHARACTERS) -> str:
    """A text on one line with control characters as visible escapes."""
    text = str(value)
    cut = f"{text[:limit]}…" if len(text) > limit else text
    if cut.isascii() and cut.isprintable():  # most texts, and a tenth of the price
        return cut
    return _UNSAFE.sub(_escape, cut)


def allows_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """`NO_COLOR` beats `PEGBOARD_PLAIN` beats `FORCE_COLOR` beats `TERM=dumb` beats what the stream is."""
    if environ.get("NO_COLOR") or environ.get("PEGBOARD_PLAIN") == "1":
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return environ.get("TERM") != "dumb" and stream.isatty()


def coloured(text: str, colour: str) -> str:
    """The text with the escapes of a colour around it."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()


__all__ = ["SHOWN_CHARACTERS", "allows_colour", "coloured", "visible"]
