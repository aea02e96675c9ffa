"""Numbers and lists in sentences."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

_WIDTH: Final = 100
_BIDI: Final = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_INVISIBLE: Final = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *_BIDI)
    if chr(code) not in "\t\n"
}


def visible(text: str) -> str:
    """A text with controls and marks of direction as escapes: they move a cursor, or make a name look like another."""
    return text.translate(_INVISIBLE)


def number(value: int) -> str:
    """`12,345`."""
    return f"{value:,}"


def counted(value: int, one: str, many: str | None = None) -> str:
    """`1 file`, `2 files`."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def share(part: int, whole: int) -> str:
    """`40 %`; of nothing, `0 %`. Few are never none, and most are never all."""
    percent = round(100 * part / whole) if whole else 0
    if part and not percent:
        return "under 1 %"
    return "over 99 %" if part < whole and percent == 100 else f"{percent} %"


def paragraph(text: str, indent: int = 0) -> str:
    """A text in lines that a terminal does not have to break, and paths whole."""
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False,
        drop_whitespace=True, expand_tabs=False,
    )  # fmt: skip


def listed(items: Sequence[str], most: int = 5) -> str:
    """`a, b and c`; of many the first, and how many more."""
    shown = list(items[:most])
    if len(items) > most:
        return f"{', '.join(shown)} and {len(items) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
