"""Schemas: JSON Schema checks, output contracts, structured inputs."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest
from pegboard.errors import AgentInputError, ModelOutputInvalidError, ToolArgumentsError, ToolDefinitionError
from pegboard.schema import OutputContract, as_text, check_json, json_errors


class Point(pydantic.BaseModel):
    x: int


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["n"],
}


def test_a_value_that_fits_has_no_errors() -> None:
    """It comes back as it was given."""
    value = {"n": 1, "tags": ["a"]}

    assert json_errors(SCHEMA, value) is None
    assert check_json(SCHEMA, value, "it") is value


@pytest.mark.parametrize(
    ("value", "errors"),
    [
        ({}, "value: 'n' is a required property"),
        ({"n": "x"}, "n: 'x' is not of type 'integer'"),
        ({"n": 1, "tags": [1, "a", 2]}, "tags.0: 1 is not of type 'string'; tags.2: 2 is not of type 'string'"),
        ([], "value: [] is not of type 'object'"),
    ],
)
def test_every_place_that_is_off_is_named(value: Any, errors: str) -> None:
    """In one line, by its path, in order."""
    assert json_errors(SCHEMA, value) == errors
    with pytest.raises(ToolArgumentsError) as caught:
        check_json(SCHEMA, value, "tool `x`")
    assert caught.value.message == f"tool `x`: {errors}"


def test_no_more_than_five_places_are_named() -> None:
    """A message is to be read."""
    errors = json_errors({"items": {"type": "string"}}, list(range(50)))

    assert errors is not None
    assert errors.count(";") == 4


def test_a_schema_that_is_none_is_refused() -> None:
    """With what is wrong with it."""
    with pytest.raises(ToolDefinitionError, match="not a valid JSON Schema"):
        json_errors({"type": "strin"}, 1)


def test_a_remote_reference_is_never_followed() -> None:
    """It is an error and no request."""
    with pytest.raises(ToolDefinitionError, match="refers to what is not in it"):
        json_errors({"$ref": "https://example.org/schema.json"}, 1)


# --- output ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "wrapped"),
    [(Point, False), (SCHEMA, False), (int, True), (list[int], True), ({"type": "string"}, True), ({}, True)],
)
def test_what_is_no_object_is_wrapped(output: Any, wrapped: bool) -> None:
    """Tools take objects, so anything else has to be put into one."""
    assert OutputContract(output).wrapped is wrapped


def test_a_contract_validates_text_and_data() -> None:
    """Both give the same value."""
    contract = OutputContract(Point)

    assert contract.parse('{"x": 1}') == contract.validate({"x": 1}) == Point(x=1)


@pytest.mark.parametrize(
    ("output", "data", "says"),
    [
        (Point, {"x": "a"}, "the answer does not fit the output schema: x: Input should be a valid integer"),
        (int, "a", "the answer does not fit the output schema: value: Input should be a valid integer"),
        (SCHEMA, {}, "the answer does not fit the output schema: value: 'n' is a required property"),
    ],
)
def test_what_does_not_fit_says_where(output: Any, data: Any, says: str) -> None:
    """The message can be handed to a model."""
    with pytest.raises(ModelOutputInvalidError) as caught:
        OutputContract(output).validate(data)
    assert caught.value.message.startswith(says)


@pytest.mark.parametrize(("data", "raw"), [("text", "text"), ([1], "[1]"), ({"a": object}, '{"a":"<class')])
def test_the_raw_value_is_kept(data: Any, raw: str) -> None:
    """Text as it is, anything else as JSON, whatever it is."""
    with pytest.raises(ModelOutputInvalidError) as caught:
        OutputContract(int).validate(data)
    assert caught.value.raw.startswith(raw)


# --- input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [None]}, '{"a":[null],"b":1}'),
        (Point(x=1), '{"x":1}'),
        ([1, 2], "[1,2]"),
        (None, "null"),
        (True, "true"),
    ],
)
def test_a_structured_input_is_shown_as_json(value: Any, text: str) -> None:
    """With sorted keys, so that the same input is the same prompt."""
    assert as_text(value) == text


def test_an_input_that_is_not_json_is_refused() -> None:
    """A usage error, with what an input may be."""
    with pytest.raises(AgentInputError, match="an input must be text, messages or JSON"):
        as_text({"a": object()})
