"""Whether one JSON Schema fits another: told where it is sure, silent where it cannot be told."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pegboard_workflow.schemas import at_path, expanded, misfits

TEXT = {"type": "string"}
NUMBER = {"type": "number"}


def thing(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


@pytest.mark.parametrize(
    ("producer", "consumer", "said"),
    [
        (TEXT, NUMBER, "it is string, and must be number"),
        ({"type": ["string", "null"]}, TEXT, "it is null or string, and must be string"),
        ({"type": "string", "nullable": True}, TEXT, "null"),
        (NUMBER, {"type": "integer"}, "is number"),
        ({"enum": ["a", "z"]}, {"enum": ["a", "b"]}, "may be `z`, and must be one of `a`, `b`"),
        ({"const": 1}, TEXT, "is integer"),
        (thing(["a"], a=TEXT), thing(["a", "b"], a=TEXT), "`b` is missing"),
        (thing([], a=TEXT), thing(["a"], a=TEXT), "`a` may be missing"),
        (thing(["a"], a=thing(["b"], b=TEXT)), thing([], a=thing([], b=NUMBER)), "`a.b` is string"),
        (thing([], a=TEXT), {**thing([]), "additionalProperties": False}, "`a` is not taken"),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": NUMBER}, "`[]` is string"),
        ({"anyOf": [TEXT, NUMBER]}, TEXT, "is number"),
        (TEXT, {"anyOf": [NUMBER, {"type": "null"}]}, "none of 2 alternatives"),
    ],
)
def test_misfits_are_told(producer: Any, consumer: Any, said: str) -> None:
    """With the path, what it is and what it must be."""
    assert any(said in message for message in misfits(producer, consumer))


@pytest.mark.parametrize(
    ("producer", "consumer"),
    [
        (TEXT, TEXT),
        ({"type": "integer"}, NUMBER),
        (TEXT, {"type": ["string", "null"]}),
        (TEXT, {"anyOf": [NUMBER, TEXT]}),
        ({}, NUMBER),
        (None, NUMBER),
        (TEXT, {}),
        (TEXT, {"enum": ["a"]}),
        ({"type": "object"}, thing(["a"], a=TEXT)),
        (thing(["a", "b"], a=TEXT, b=TEXT), thing(["a"], a=TEXT)),
        ({"allOf": [TEXT]}, NUMBER),
        (TEXT, {"type": "string", "pattern": "^x"}),
    ],
)
def test_what_fits_or_cannot_be_told_is_no_problem(producer: Any, consumer: Any) -> None:
    """An alarm is only raised for what is sure."""
    assert misfits(producer, consumer) == []


_LEAVES = st.sampled_from([
    TEXT, NUMBER, {"type": "integer"}, {"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]},
    {"enum": ["a", 1]}, {"const": "a"}, {},
])  # fmt: skip
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda item: {"type": "array", "items": item}),
        st.lists(inner, min_size=1, max_size=2).map(lambda items: {"anyOf": items}),
        st.tuples(inner, inner, st.lists(st.sampled_from("ab"), unique=True)).map(
            lambda parts: thing(parts[2], a=parts[0], b=parts[1])
        ),
    ),
    max_leaves=5,
)
_VALUES = st.recursive(
    st.sampled_from(["a", "b", 1, 1.5, True, None]),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
    max_leaves=6,
)


@given(_SCHEMAS, _VALUES)
@settings(max_examples=300, deadline=None)
def test_a_schema_fits_itself(schema: Any, value: Any) -> None:
    """Whatever it is: two agents with the same schema can always follow one another."""
    assert misfits(schema, schema) == []


@given(_SCHEMAS, _SCHEMAS, st.lists(_VALUES, min_size=4, max_size=12))
@settings(max_examples=300, deadline=None)
def test_a_wider_consumer_is_never_a_misfit(producer: Any, extra: Any, values: list[Any]) -> None:
    """A consumer that takes all of the producer's, and more, raises no alarm."""
    consumer = {"anyOf": [extra, producer]}
    assert misfits(producer, consumer) == []
    for value in values:
        if jsonschema.Draft202012Validator(producer).is_valid(value):
            assert jsonschema.Draft202012Validator(consumer).is_valid(value)


def test_references_are_written_out() -> None:
    """Local ones; what refers to itself, or grows without end, is not known and no trouble."""
    tree = {"$ref": "#/$defs/T", "$defs": {"T": {"type": "array", "items": {"$ref": "#/$defs/T"}}}}
    assert expanded(tree) == {"type": "array", "items": {}}
    bomb: dict[str, Any] = {"$ref": "#/$defs/a0", "$defs": {}}
    for number in range(30):
        part = {"$ref": f"#/$defs/a{number + 1}"}
        bomb["$defs"][f"a{number}"] = {"type": "object", "properties": dict.fromkeys("abcdefgh", part)}
    assert isinstance(expanded(bomb), dict)


def test_paths_into_a_schema() -> None:
    """What lies there, and what is surely not there."""
    schema = thing([], a={"type": "array", "items": thing([], b=TEXT)})

    assert at_path(schema, ["a", 0, "b"]) == (TEXT, None)
    assert at_path(schema, ["c"])[1] == "there is no `c`; there is `a`"
    assert at_path(schema, [0])[1] == "`0` is looked up in object"
    assert at_path({"type": "object"}, ["x", "y"]) == (None, None)
    assert at_path({**schema, "additionalProperties": True}, ["c"]) == (None, None)
