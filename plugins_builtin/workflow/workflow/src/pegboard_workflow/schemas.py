"""Whether the data of one node fits another: two JSON Schemas, compared as far as they can be.

Sound for the common part of JSON Schema: types, `nullable`, required properties, `enum` and `const`, items, `anyOf`,
and local `$ref` once `expanded`. A misfit is told only when the producer's schema allows a value that the consumer's
refuses; whatever cannot be told from the schemas is left to the checks while it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pegboard.types import JsonObject

Schema = JsonObject | bool | None
UNKNOWN: Final = None
MAX_DEPTH: Final = 24
MAX_PARTS: Final = 20_000
_DEFINITIONS: Final = frozenset(("$defs", "definitions"))
_TYPES: Final = ("null", "boolean", "integer", "number", "string", "array", "object")
_SHOWN: Final = 5


class Typed:
    """A schema without references, by its parts."""

    __slots__ = ("schema",)

    def __init__(self, schema: Any) -> None:
        self.schema: Mapping[str, Any] = schema if isinstance(schema, Mapping) else {}

    @property
    def types(self) -> frozenset[str] | None:
        """The types that it allows; `None` where it does not say."""
        given = self.schema.get("type")
        names = [given] if isinstance(given, str) else list(given) if isinstance(given, list) else None
        if names is None:
            values = self.values
            return None if values is None else frozenset(map(type_of, values))
        if self.schema.get("nullable") is True:
            names.append("null")
        return frozenset(names)

    @property
    def values(self) -> Sequence[Any] | None:
        """The values that it allows, where it lists them."""
        if "const" in self.schema:
            return [self.schema["const"]]
        listed = self.schema.get("enum")
        return listed if isinstance(listed, list) else None

    @property
    def choices(self) -> list[Typed] | None:
        """Of `anyOf` or `oneOf`, each."""
        listed = self.schema.get("anyOf", self.schema.get("oneOf"))
        return [Typed(item) for item in listed] if isinstance(listed, list) and listed else None

    @property
    def properties(self) -> Mapping[str, Any]:
        """The properties that it names."""
        found = self.schema.get("properties")
        return found if isinstance(found, Mapping) else {}

    @property
    def required(self) -> Sequence[str]:
        """The properties that are always there."""
        found = self.schema.get("required")
        return found if isinstance(found, list) else ()


def misfits(producer: Any, consumer: Any) -> list[str]:
    """Why what fits the first schema may not fit the second; empty where it does, or where that cannot be told."""
    if producer is UNKNOWN or consumer is UNKNOWN:
        return []
    return list(_misfits(Typed(producer), Typed(consumer), "", 0))


def accepts(schema: Any, value: Mapping[str, Any] | None) -> bool:
    """Whether a schema surely takes a value that is nothing, or the mark of something absent."""
    if schema is UNKNOWN:
        return False
    typed = Typed(schema)
    if typed.choices is not None:
        return any(accepts_typed(choice, value) for choice in typed.choices)
    return accepts_typed(typed, value)


def accepts_typed(typed: Typed, value: Mapping[str, Any] | None) -> bool:
    """The same of one choice. The mark is accepted by what names the property `absent`, and by that alone."""
    if value is None:
        return typed.types is not None and "null" in typed.types
    return "absent" in typed.properties and set(typed.required) <= set(value)


def at_path(schema: Any, path: Sequence[str | int]) -> tuple[Schema, str | None]:
    """The schema of what lies at a path, and what is wrong with the path, where that is known."""
    if schema is UNKNOWN:
        return UNKNOWN, None
    typed = Typed(schema)
    for part in path:
        if typed.choices is not None or "allOf" in typed.schema:
            return UNKNOWN, None
        below, fault = _below(typed, part)
        if fault is not None or below is None:
            return UNKNOWN, fault
        typed = below
    return dict(typed.schema), None


def _below(typed: Typed, part: str | int) -> tuple[Typed | None, str | None]:
    types = typed.types
    wanted = "array" if isinstance(part, int) else "object"
    if types is not None and wanted not in types:
        return None, f"`{part}` is looked up in {_named(types)}"
    if isinstance(part, int):
        items = typed.schema.get("items")
        return (Typed(items) if isinstance(items, Mapping) else None), None
    properties = typed.properties
    if part in properties:
        return Typed(properties[part]), None
    rest = typed.schema.get("additionalProperties")
    if isinstance(rest, Mapping):
        return Typed(rest), None
    if rest is True or not properties:
        return None, None
    return None, f"there is no `{part}`; there is {', '.join(f'`{name}`' for name in list(properties)[:8])}"


def _misfits(producer: Typed, consumer: Typed, path: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH or not producer.schema or not consumer.schema:
        return
    if producer.choices is not None:
        for choice in producer.choices:
            yield from _misfits(choice, consumer, path, depth + 1)
        return
    if consumer.choices is not None:
        every = [list(_misfits(producer, choice, path, depth + 1)) for choice in consumer.choices]
        if all(every):
            yield min(every, key=len)[0] if len(every) == 1 else f"{_at(path)}fits none of {len(every)} alternatives"
        return
    if "allOf" in producer.schema or "not" in consumer.schema:
        return
    for part in consumer.schema.get("allOf", ()):
        yield from _misfits(producer, Typed(part), path, depth + 1)
    if (fault := _type_fault(producer, consumer)) is not None:
        yield f"{_at(path)}{fault}"
        return
    if (fault := _value_fault(producer, consumer)) is not None:
        yield f"{_at(path)}{fault}"
    yield from _parts(producer, consumer, path, depth)


def _type_fault(producer: Typed, consumer: Typed) -> str | None:
    given, wanted = producer.types, consumer.types
    if given is None or wanted is None:
        return None
    wide = wanted | {"integer"} if "number" in wanted else wanted
    surplus = given - wide
    return f"is {_named(given)}, and must be {_named(wanted)}" if surplus else None


def _value_fault(producer: Typed, consumer: Typed) -> str | None:
    given, wanted = producer.values, consumer.values
    if given is None or wanted is None:
        return None  # a text may be one of the values that are wanted
    surplus = [value for value in given if value not in wanted]
    if not surplus:
        return None
    shown = ", ".join(f"`{value}`" for value in surplus[:_SHOWN])
    return f"may be {shown}, and must be one of {', '.join(f'`{value}`' for value in wanted[:_SHOWN])}"


def _parts(producer: Typed, consumer: Typed, path: str, depth: int) -> Iterator[str]:
    types = consumer.types or frozenset(("array", "object"))
    if "object" in types and producer.types is not None and "object" in producer.types:
        yield from _object(producer, consumer, path, depth)
    if "array" in types and producer.types is not None and "array" in producer.types:
        given, wanted = producer.schema.get("items"), consumer.schema.get("items")
        if isinstance(given, Mapping) and isinstance(wanted, Mapping):
            yield from _misfits(Typed(given), Typed(wanted), f"{path}[]", depth + 1)


def _object(producer: Typed, consumer: Typed, path: str, depth: int) -> Iterator[str]:
    given, wanted = producer.properties, consumer.properties
    if given or producer.schema.get("additionalProperties") is False:  # else nothing is known of it
        for name in consumer.required:
            if name not in producer.required:
                word = "may be missing" if name in given else "is missing"
                yield f"{_at(f'{path}.{name}')}{word}"
    if consumer.schema.get("additionalProperties") is False:
        for name in given:
            if name not in wanted:
                yield f"{_at(f'{path}.{name}')}is not taken"
    for name, part in given.items():
        if name in wanted:
            yield from _misfits(Typed(part), Typed(wanted[name]), f"{path}.{name}", depth + 1)


def expanded(schema: Any) -> Schema:
    """A schema with its local references written out; what refers to itself, or grows without end, is not known."""
    if not isinstance(schema, Mapping):
        return UNKNOWN
    written_out: JsonObject = _expanded(schema, schema, [MAX_PARTS], ())
    return written_out


def _expanded(part: Any, root: Mapping[str, Any], room: list[int], inside: tuple[str, ...]) -> Any:
    room[0] -= 1
    if room[0] < 0 or len(inside) > MAX_DEPTH:
        return {}
    if isinstance(part, list):
        return [_expanded(item, root, room, inside) for item in part]
    if not isinstance(part, Mapping):
        return part
    target = part.get("$ref")
    if isinstance(target, str):
        return {} if target in inside else _expanded(_pointed(root, target), root, room, (*inside, target)) or {}
    return {key: _expanded(item, root, room, inside) for key, item in part.items() if key not in _DEFINITIONS}


def _pointed(root: Any, pointer: str) -> Any:
    if not pointer.startswith("#"):
        return None
    for part in [part for part in pointer[1:].split("/") if part]:
        root = root.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(root, Mapping) else None
    return root


def type_of(value: Any) -> str:
    """The name of a value's type in JSON Schema."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = ((int, "integer"), (float, "number"), (str, "string"), (Mapping, "object"))
    return next((name for kind, name in names if isinstance(value, kind)), "array")


def schema_of_value(value: Any) -> JsonObject:
    """The schema of one value that is known."""
    if isinstance(value, Mapping):
        parts = {str(key): schema_of_value(item) for key, item in value.items()}
        return {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
    if isinstance(value, list | tuple):
        return {"type": "array"}
    return {"const": value}


def _named(types: frozenset[str]) -> str:
    return " or ".join(name for name in _TYPES if name in types) or "nothing"


def _at(path: str) -> str:
    return f"`{path.lstrip('.')}` " if path else "it "
