"""Schemas for strict mode: what it can say is said, and what it cannot say is not bent."""

from __future__ import annotations

from typing import Any

import pytest
from pegboard_chatwire.strict import strict

X: dict[str, Any] = {"type": "integer"}


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def test_objects_are_closed_in_every_depth() -> None:
    """An answer that fits the closed schema fits the open one too; the schema that was given stays as it is."""
    schema = an_object(a={"type": "array", "items": an_object(x=X)})

    closed = strict(schema)

    assert closed is not None
    assert closed["additionalProperties"] is False
    assert closed["properties"]["a"]["items"] == {**an_object(x=X), "additionalProperties": False}
    assert "additionalProperties" not in repr(schema)


def test_references_and_choices_are_kept() -> None:
    """With their definitions, which are closed as well."""
    schema = {**an_object(a={"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}), "$defs": {"A": an_object(x=X)}}

    closed = strict(schema)

    assert closed is not None
    assert closed["properties"] == schema["properties"]
    assert closed["$defs"]["A"]["additionalProperties"] is False


def test_what_no_value_is_judged_by_is_left_out() -> None:
    """Strict mode refuses it; titles and descriptions it takes."""
    schema = an_object(a={**X, "default": 1, "examples": [2], "description": "A number."})

    assert strict({**schema, "$schema": "x", "title": "T"}) == {
        "type": "object",
        "title": "T",
        "properties": {"a": {**X, "description": "A number."}},
        "required": ["a"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": X},
        {},
        {"type": "object"},
        {"type": "object", "properties": {"a": X}},
        {"type": "object", "properties": {"a": X, "b": X}, "required": ["a"]},
        {**an_object(a=X), "additionalProperties": True},
        {**an_object(a=X), "additionalProperties": X},
        {**an_object(a=X), "patternProperties": {"^b": X}},
        {**an_object(a=X), "anyOf": [an_object(a=X)]},
        an_object(a={}),
        an_object(a=True),
        an_object(a={"type": "object"}),
        an_object(a={"type": "array"}),
        an_object(a={"type": "string", "minLength": 1}),
        an_object(a={"type": "string", "format": "uri"}),
        an_object(a={"oneOf": [X, {"type": "null"}]}),
        an_object(a={"allOf": [X]}),
        an_object(a={"type": "array", "prefixItems": [X]}),
        an_object(a={"$ref": "#/$defs/A", "description": "beside it"}),
        an_object(a={"enum": list(range(1_001))}),
        {**an_object(), "properties": {str(n): X for n in range(5_001)}, "required": [str(n) for n in range(5_001)]},
    ],
    ids=lambda schema: repr(schema)[:60],
)
def test_what_cannot_be_said_is_not_bent(schema: dict[str, Any]) -> None:
    """Optional properties, open objects, and every keyword that strict mode does not know."""
    assert strict(schema) is None


def test_a_schema_that_is_too_deep() -> None:
    """Ten levels are the limit."""
    schema = an_object(x=X)
    for _ in range(8):
        schema = an_object(x=schema)
    assert strict(schema) is not None

    assert strict(an_object(x=an_object(x=schema))) is None
