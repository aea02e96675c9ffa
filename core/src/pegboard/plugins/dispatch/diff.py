"""What changed between two values, for explaining: dotted path to `(before, after)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

_ABSENT = "(absent)"
_MOST = 50
"""Changes that are shown of one value; a reader has no use for more."""


def changes(before: object, after: object, name: str = "value") -> dict[str, tuple[Any, Any]]:
    """The places where `after` differs from `before`; empty when they are equal."""
    found: dict[str, tuple[Any, Any]] = {}
    for path, was, now in _walk(name, before, after):
        found[path] = (_shown(was), _shown(now))
        if len(found) == _MOST:
            break
    return found


def _walk(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if before is after:
        return
    if isinstance(before, msgspec.Struct) and type(before) is type(after):
        parts = [(field, getattr(before, field), getattr(after, field)) for field in before.__struct_fields__]
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = dict.fromkeys([*before, *after])
        parts = [(str(key), before.get(key, _ABSENT), after.get(key, _ABSENT)) for key in keys]
    elif _is_list(before) and _is_list(after):
        pairs = zip_longest(before, after, fillvalue=_ABSENT)
        parts = [(str(index), was, now) for index, (was, now) in enumerate(pairs)]
    else:
        if before != after:
            yield path, before, after
        return
    for name, was, now in parts:
        yield from _walk(f"{path}.{name}", was, now)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _shown(value: object) -> Any:
    return msgspec.to_builtins(value, enc_hook=repr)
