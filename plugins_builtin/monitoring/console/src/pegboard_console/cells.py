"""How much room text takes on a terminal, in columns. For text without control characters, as `visible` makes it."""

from __future__ import annotations

import unicodedata


def cells(text: str) -> int:
    """How many columns a text takes."""
    return len(text) if text.isascii() else sum(map(cells_of, text))


def cells_of(sign: str) -> int:
    """How many columns a sign takes: signs of East Asia and pictures two, marks that join another sign none."""
    if sign.isascii():
        return 1
    if unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1


def fitted(text: str, columns: int) -> str:
    """The text, or as much of it as fits with the sign that there is more."""
    if cells(text) <= columns:
        return text
    taken = 0
    for position, sign in enumerate(text):
        taken += cells_of(sign)
        if taken > columns - 1:
            return f"{text[:position]}…" if columns > 0 else ""
    return text


__all__ = ["cells", "cells_of", "fitted"]
