"""Judges plain data by the small part of JSON Schema that core's own schema files use.

jsonschema costs more than everything else a start does; the files are still plain JSON Schema, for editors and
documentation, and a test compares the verdicts of both. Schemas of others are judged by `pegboard.schema`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from pegboard.lazy import LazyModule

if TYPE_CHECKING:
    import difflib
else:
    difflib = LazyModule("difflib")  # for messages about what is wrong

KEYWORDS = frozenset(
    [
        "$ref",
        "type",
        "enum",
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "items",
        "required",
        "properties",
        "additionalProperties",
        "propertyNames",
    ]
)
"""What is judged; annotations beside these are ignored."""

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict,),
    "null": (type(None),),
}
_NAMES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}


class Complaint(NamedTuple):
    """One thing that is wrong."""

    path: tuple[str, ...]
    message: str
    unknown_key: bool = False

    @property
    def key(self) -> str:
        """Where, with dots."""
        return ".".join(self.path)


def complaints(schema: Mapping[str, Any], value: Any) -> list[Complaint]:
    """Everything that is wrong with a value, in the order of the schema."""
    return list(_judge(schema, schema, value, ()))


def near(name: str, known: Sequence[str]) -> str:
    """`; did you mean …?`, where something similar is known."""
    found = difflib.get_close_matches(name, known)
    # Two letters that changed places are the commonest slip, and by common parts alone `modle` is nearer to `modules`.
    found.sort(key=lambda each: sorted(each) != sorted(name))
    return f"; did you mean `{found[0]}`?" if found else ""


def subschema(root: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any] | None:
    """The part of a schema that describes the value at `path`."""
    schema: Mapping[str, Any] | None = root
    for name in path:
        if schema is None:
            return None
        schema = _resolve(root, schema)
        rest = schema.get("additionalProperties")
        schema = schema.get("properties", {}).get(name, rest if isinstance(rest, Mapping) else None)
    return _resolve(root, schema) if schema is not None else None


def _judge(
    root: Mapping[str, Any], schema: Mapping[str, Any], value: Any, path: tuple[str, ...]
) -> Iterator[Complaint]:
    schema = _resolve(root, schema)
    wanted = schema.get("type", ())
    names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    if names and not any(_is(name, value) for name in names):
        yield Complaint(path, f"must be {' or '.join(_NAMES[name] for name in names)}")
        return
    if "enum" in schema and value not in schema["enum"]:
        known = [str(item) for item in schema["enum"]]
        yield Complaint(path, f"must be one of {', '.join(f'`{item}`' for item in known)}{near(str(value), known)}")
    if isinstance(value, str):
        yield from _text(schema, value, path)
    elif isinstance(value, dict):
        yield from _table(root, schema, value, path)
    elif isinstance(value, (list, tuple)):
        yield from _list(root, schema, value, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number(schema, value, path)


def _resolve(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        target: Any = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        schema = target
    return schema


def _is(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()  # as JSON Schema has it
    return isinstance(value, _TYPES[name])


def _text(schema: Mapping[str, Any], value: str, path: tuple[str, ...]) -> Iterator[Complaint]:
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield Complaint(path, f"`{value[:80]}` does not fit the pattern `{schema['pattern']}`")
    if len(value) > schema.get("maxLength", len(value)):
        yield Complaint(path, f"must have at most {schema['maxLength']} characters")
    if len(value) < schema.get("minLength", 0):
        yield Complaint(path, "must not be empty")


def _number(schema: Mapping[str, Any], value: float, path: tuple[str, ...]) -> Iterator[Complaint]:
    if value in (inf, -inf) or value != value:  # JSON has neither, and a comparison with NaN is always false
        yield Complaint(path, "must be a finite number")
        return
    if "minimum" in schema and value < schema["minimum"]:
        yield Complaint(path, f"must be at least {schema['minimum']}")
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield Complaint(path, f"must be more than {schema['exclusiveMinimum']}")
    if "maximum" in schema and value > schema["maximum"]:
        yield Complaint(path, f"must be at most {schema['maximum']}")


def _list(
    root: Mapping[str, Any], schema: Mapping[str, Any], value: Sequence[Any], path: tuple[str, ...]
) -> Iterator[Complaint]:
    if len(value) < schema.get("minItems", 0):
        yield Complaint(path, f"must have at least {schema['minItems']} entries")
    if len(value) > schema.get("maxItems", len(value)):
        yield Complaint(path, f"must have at most {schema['maxItems']} entries")
    if "items" in schema:
        for number, item in enumerate(value):
            yield from _judge(root, schema["items"], item, (*path, str(number)))


def _table(
    root: Mapping[str, Any], schema: Mapping[str, Any], value: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[Complaint]:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield Complaint((*path, name), "is missing")
    rest = schema.get("additionalProperties", True)
    names = schema.get("propertyNames")
    for name, item in value.items():
        if names is not None and not re.search(names["pattern"], name):
            yield Complaint((*path, name), f"is no valid name; it must fit `{names['pattern']}`")
        if name in known:
            yield from _judge(root, known[name], item, (*path, name))
        elif rest is False:
            yield Complaint((*path, name), f"is an unknown key{near(name, list(known))}", unknown_key=True)
        elif isinstance(rest, Mapping):
            yield from _judge(root, rest, item, (*path, name))
