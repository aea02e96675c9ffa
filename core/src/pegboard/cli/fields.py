"""What a JSON Schema takes or gives as a table of fields, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pegboard import shape
from pegboard.cli.render import escaped, table

_DEPTH = 2
"""So many levels are shown; what lies deeper is what its type says."""


def fields(schema: Mapping[str, Any]) -> str:
    """A line for each field, those of objects below them; of another value its type alone."""
    rows = list(rows_of(schema))
    if not rows:
        return _type(schema, schema)
    return table(["FIELD", "TYPE", "REQUIRED", "MEANING"], rows)


def rows_of(schema: Mapping[str, Any]) -> Iterator[list[str]]:
    """Path, type, whether it is required, and meaning, of each field."""
    yield from _rows(schema, schema, "")


def _rows(root: Mapping[str, Any], part: Mapping[str, Any], above: str) -> Iterator[list[str]]:
    for name, said in part.get("properties", {}).items():
        inner = _resolved(root, said)
        path = f"{above}{escaped(str(name))}"
        required = "yes" if name in part.get("required", ()) else "no"
        yield [path, _type(root, said), required, escaped(str(_own(said, inner, "description") or ""))]
        if path.count(".") + 1 < _DEPTH:
            yield from _rows(root, inner, f"{path}.")


def _type(root: Mapping[str, Any], said: Any) -> str:
    """The type of a value in words: `string`, `list of string`, `high, medium or low`."""
    part = _resolved(root, said)
    if "enum" in part:
        return _or([str(item) for item in part["enum"] if item is not None])
    for key in ("anyOf", "oneOf"):
        if key in part:
            return _or(list(dict.fromkeys(kind for one in part[key] if (kind := _type(root, one)) != "null")))
    kinds = part.get("type", "any")
    names = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
    return _or([_list_of(root, part) if name == "array" else str(name) for name in names])


def _list_of(root: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    return f"list of {_type(root, part['items'])}" if part.get("items") else "list"


def _or(names: list[str]) -> str:
    *first, last = names or ["null"]
    return escaped(f"{', '.join(first)} or {last}" if first else last)


def _resolved(root: Mapping[str, Any], said: Any) -> Mapping[str, Any]:
    try:
        return (shape.subschema({**root, "properties": {"it": said}}, ("it",)) or {}) if said is not True else {}
    except (AttributeError, KeyError, TypeError):  # a reference to what is not there, or a schema that is none
        return {}


def _own(said: Any, inner: Mapping[str, Any], key: str) -> Any:
    """What a property says itself leads over what it refers to."""
    return (said.get(key) if isinstance(said, Mapping) else None) or inner.get(key)
