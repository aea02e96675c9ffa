"""JSON Schemas as OpenAI's strict mode wants them, or the finding that one cannot be said so.

Strict mode keeps a model to a schema, but knows a part of JSON Schema only, and has no optional properties. What it
knows is listed here; anything else makes a schema inexpressible, and whoever asks then sends it without `strict`.
Source: the provider's page "Structured model outputs", section "Supported schemas".
"""

from __future__ import annotations

from typing import Any, Final

from pegboard.types import JsonObject

_NOTES: Final = frozenset({"$schema", "$id", "$comment", "default", "examples", "deprecated", "readOnly", "writeOnly"})
"""Keywords that no value is judged by; strict mode refuses them."""
_PLAIN: Final = frozenset(
    {"title", "description", "type", "enum", "const", "pattern", "format", "multipleOf", "minimum", "maximum",
     "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "$ref"}
)  # fmt: skip
_FORMATS: Final = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_DEEPEST: Final = 10
_MOST_PROPERTIES: Final = 5_000
_MOST_VALUES: Final = 1_000


class _InexpressibleError(Exception):
    """Strict mode lacks something that the schema says."""


def strict(schema: JsonObject) -> JsonObject | None:
    """The schema for strict mode, or `None` where its meaning would change.

    Whatever fits the result fits the schema. Objects that say nothing of further properties are closed.
    """
    if schema.get("type") != "object" or "anyOf" in schema or "$ref" in schema:
        return None  # the root must be an object
    try:
        return _Strict().object(schema, 1)
    except _InexpressibleError:
        return None


class _Strict:
    """One schema while it is made strict; it counts what strict mode limits."""

    def __init__(self) -> None:
        self._properties = 0
        self._values = 0

    def any(self, schema: Any, depth: int) -> JsonObject:
        if not isinstance(schema, dict) or depth > _DEEPEST:
            raise _InexpressibleError
        types = schema.get("type")
        if types == "object" or (isinstance(types, list) and "object" in types):
            return self.object(schema, depth)
        if not schema.keys() & {"type", "enum", "const", "anyOf", "$ref"}:
            raise _InexpressibleError  # one that takes anything
        if types == "array" and "items" not in schema:
            raise _InexpressibleError
        return self._keywords(schema, depth)

    def object(self, schema: JsonObject, depth: int) -> JsonObject:
        properties = schema.get("properties")
        if not isinstance(properties, dict) or schema.get("additionalProperties", False) is not False:
            raise _InexpressibleError  # properties that nobody knows beforehand
        if set(schema.get("required", ())) != set(properties):
            raise _InexpressibleError  # optional ones: `null` is not the same as nothing
        self._properties += len(properties)
        if self._properties > _MOST_PROPERTIES:
            raise _InexpressibleError
        own = {"properties", "required", "additionalProperties"}
        rest = self._keywords({name: value for name, value in schema.items() if name not in own}, depth)
        inner = {name: self.any(value, depth + 1) for name, value in properties.items()}
        return {**rest, "properties": inner, "required": list(properties), "additionalProperties": False}

    def _keywords(self, schema: JsonObject, depth: int) -> JsonObject:
        told = {name: value for name, value in schema.items() if name not in _NOTES}
        if "$ref" in told and len(told) > 1:
            raise _InexpressibleError  # strict mode refuses anything beside it
        return {name: self._keyword(name, value, depth) for name, value in told.items()}

    def _keyword(self, name: str, value: Any, depth: int) -> Any:
        if name == "items":
            return self.any(value, depth + 1)
        if name == "anyOf":
            return [self.any(item, depth) for item in value]
        if name in ("$defs", "definitions"):
            return {key: self.any(item, depth) for key, item in value.items()}
        if name not in _PLAIN or (name == "format" and value not in _FORMATS):
            raise _InexpressibleError
        if name == "enum":
            self._values += len(value)
            if self._values > _MOST_VALUES:
                raise _InexpressibleError
        return value


__all__ = ["strict"]
