"""How large a value is, and how large one may be.

A graph can grow a value without end in a few lines, each node doubling what the one before gave. What is shared in
memory is written out in JSON, so it counts as often as it is there.
"""

from __future__ import annotations

from typing import Any, Final

from pegboard_workflow.errors import NodeDataError

MAX_VALUE_BYTES: Final = 16 * 1024 * 1024
"""What one input or output of a node may take as JSON, unless the operator says otherwise."""
_SCALARS: Final = frozenset((int, float, bool, type(None)))
_SCALAR_BYTES: Final = 4
_MARKS_BYTES: Final = 3
"""Quotes and a comma, or a colon."""


def check_size(value: Any, most: int, what: str, node: str = "") -> None:
    """Raise `NodeDataError` where a value takes more bytes of JSON than it may."""
    if type(value) not in _SCALARS and size_of(value, most) > most:
        raise too_large(f"{what} of node `{node}`" if node else what, most)


def too_large(what: str, most: int) -> NodeDataError:
    """The error for what takes more than it may."""
    return NodeDataError(
        f"{what} is larger than {most:,} bytes of JSON; hand on the name of a file or a blob instead",
        hint=f"peg config set plugins.workflow.max_value_bytes {most * 2}",
    )


def size_of(value: Any, most: int) -> int:
    """About how many bytes of JSON a value takes; it is not counted on beyond `most`, so what has no end has one."""
    size, left = 0, [value]
    while left and size <= most:
        item = left.pop()
        kind = type(item)
        if kind is str:
            size += _text_bytes(item)
        elif kind is dict:
            size += _MARKS_BYTES
            for key, part in item.items():
                size += _text_bytes(key) if type(key) is str else _SCALAR_BYTES
                if type(part) in _SCALARS:
                    size += _SCALAR_BYTES
                else:
                    left.append(part)
        elif kind is list or kind is tuple:
            size += _MARKS_BYTES + _SCALAR_BYTES * len(item)
            left.extend(part for part in item if type(part) not in _SCALARS)
        else:
            size += _SCALAR_BYTES
    return size


def _text_bytes(text: str) -> int:
    return (len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))) + _MARKS_BYTES
