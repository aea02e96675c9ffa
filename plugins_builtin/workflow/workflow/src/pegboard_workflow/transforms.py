"""The named transforms: pure functions that make the result of one node fit what takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from pegboard.types import JsonObject

from pegboard_workflow.errors import NodeDataError
from pegboard_workflow.model import kind_of
from pegboard_workflow.references import as_text

Schema = JsonObject | bool | None
"""JSON Schema of a value; `None` is not known."""


def _list(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise NodeDataError(f"the transform `{name}` takes a list, and got {kind_of(value)}")
    return value


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise NodeDataError(f"the transform `{name}` takes a mapping, and got {kind_of(value)}")
    return value


def _compact(value: Any) -> Any:
    """A list or mapping without what is nothing or absent."""
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if not _is_nothing(item)}
    return [item for item in _list(value, "compact") if not _is_nothing(item)]


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping) and value.get("absent") is True)


def _count(value: Any) -> int:
    """How many items a list, entries a mapping, or characters a text has."""
    if not isinstance(value, list | tuple | Mapping | str):
        raise NodeDataError(f"the transform `count` takes a list, a mapping or text, and got {kind_of(value)}")
    return len(value)


def _first(value: Any) -> Any:
    """The first item of a list, or nothing."""
    return next(iter(_list(value, "first")), None)


def _flatten(value: Any) -> list[Any]:
    """A list of lists as one list; of a mapping, its values."""
    items = value.values() if isinstance(value, Mapping) else _list(value, "flatten")
    flat: list[Any] = []
    for item in items:
        flat.extend(item) if isinstance(item, list | tuple) else flat.append(item)
    return flat


def _join(value: Any) -> str:
    """The items of a list as text, one paragraph each."""
    return "\n\n".join(as_text(item) for item in _list(value, "join"))


def _json(value: Any) -> Any:
    """The value that a text holds as JSON."""
    if not isinstance(value, str):
        raise NodeDataError(f"the transform `json` takes text, and got {kind_of(value)}")
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise NodeDataError(f"the transform `json`: the text is no JSON: {exc}") from exc


def _keys(value: Any) -> list[str]:
    """The keys of a mapping."""
    return list(_mapping(value, "keys"))


def _last(value: Any) -> Any:
    """The last item of a list, or nothing."""
    items = _list(value, "last")
    return items[-1] if items else None


def _lines(value: Any) -> list[str]:
    """The lines of a text."""
    return as_text(value).splitlines()


def _merge(value: Any) -> dict[str, Any]:
    """A list of mappings as one; later ones win."""
    merged: dict[str, Any] = {}
    for item in _list(value, "merge"):
        merged.update(_mapping(item, "merge"))
    return merged


def _sort(value: Any) -> list[Any]:
    """The items of a list in order: numbers and texts as such, the rest by its JSON."""
    items = _list(value, "sort")
    if all(isinstance(item, str) for item in items) or all(isinstance(item, int | float) for item in items):
        return sorted(items)
    return sorted(items, key=lambda item: msgspec.json.encode(item, order="sorted"))


def _unique(value: Any) -> list[Any]:
    """The items of a list, each once, where it came first."""
    seen: dict[bytes, Any] = {}
    for item in _list(value, "unique"):
        seen.setdefault(msgspec.json.encode(item, order="sorted"), item)
    return list(seen.values())


def _values(value: Any) -> list[Any]:
    """The values of a mapping."""
    return list(_mapping(value, "values").values())


def _text(value: Any) -> str:
    """The value as text: text as it is, the rest as JSON."""
    return as_text(value)


NAMED: Final[Mapping[str, Callable[[Any], Any]]] = {
    "compact": _compact,
    "count": _count,
    "first": _first,
    "flatten": _flatten,
    "join": _join,
    "json": _json,
    "keys": _keys,
    "last": _last,
    "lines": _lines,
    "merge": _merge,
    "sort": _sort,
    "text": _text,
    "unique": _unique,
    "values": _values,
}
"""Every transform by its name."""

_STRINGS: Final[JsonObject] = {"type": "array", "items": {"type": "string"}}
_TAKES: Final[Mapping[str, Sequence[str]]] = {
    "compact": ("array", "object"),
    "count": ("array", "object", "string"),
    "first": ("array",),
    "flatten": ("array", "object"),
    "join": ("array",),
    "json": ("string",),
    "keys": ("object",),
    "last": ("array",),
    "merge": ("array",),
    "sort": ("array",),
    "unique": ("array",),
    "values": ("object",),
}
"""The JSON types that a transform takes; the others take any value."""
_RESULTS: Final[Mapping[str, JsonObject]] = {
    "count": {"type": "integer"},
    "flatten": {"type": "array"},
    "join": {"type": "string"},
    "keys": _STRINGS,
    "lines": _STRINGS,
    "merge": {"type": "object"},
    "text": {"type": "string"},
    "values": {"type": "array"},
}


def schema_taken(name: str) -> Schema:
    """What a transform takes; `None` is anything."""
    return {"type": list(_TAKES[name])} if name in _TAKES else None


def schema_after(name: str, schema: Schema) -> Schema:
    """What is known of a value after a transform."""
    if name in _RESULTS:
        return _RESULTS[name]
    return schema if name in ("sort", "unique") else None
