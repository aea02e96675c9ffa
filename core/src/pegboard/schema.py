"""Schemas and validation with pydantic and jsonschema; imported not before the first typed tool or schema."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import jsonschema
import msgspec
import pydantic
import pydantic_core
import referencing.exceptions
from pydantic.fields import FieldInfo

from pegboard.errors import (
    AgentError,
    AgentInputError,
    ModelOutputInvalidError,
    ToolArgumentsError,
    ToolDefinitionError,
)
from pegboard.types import JsonObject

_ARGS = re.compile(r"^\s{0,4}(\w+)(?:\s*\([^)]*\))?:\s*(.+)$")


def for_function(
    function: Callable[..., Any], name: str, context_types: tuple[type, ...]
) -> tuple[JsonObject, Callable[[Any], dict[str, Any]], tuple[str, type] | None]:
    """JSON Schema of a function's parameters, a check that gives keyword arguments, and the context parameter.

    Raises:
        ToolDefinitionError: a parameter cannot be filled by name, or its type has no schema.
    """
    hints = _hints(function, name)
    docs = _argument_docs(function)
    fields: dict[str, Any] = {}
    context_arg: tuple[str, type] | None = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ToolDefinitionError(
                f"tool `{name}`: parameter `{parameter}` cannot be filled by name", hint="peg help tool.invalid"
            )
        hint = hints.get(parameter.name, Any)
        if hint in context_types:
            context_arg = parameter.name, hint
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hint, _field(hint, default, docs.get(parameter.name)))
    model = _arguments_model(name, fields)
    validate = model.__pydantic_validator__.validate_python

    def check(args: Any) -> dict[str, Any]:
        try:
            return validate(args).__dict__  # type: ignore[no-any-return]  # a model's fields
        except pydantic.ValidationError as exc:
            raise ToolArgumentsError(f"tool `{name}`: {_errors(exc)}") from exc

    return _plain_schema(model), check, context_arg


def check_json(schema: Mapping[str, Any], value: Any, what: str) -> Any:
    """The value itself, checked against a JSON Schema. Raises `ToolArgumentsError` with every place that is off."""
    errors = json_errors(schema, value)
    if errors:
        raise ToolArgumentsError(f"{what}: {errors}")
    return value


def json_errors(schema: Mapping[str, Any], value: Any) -> str | None:
    """What is wrong with a value by a JSON Schema, in one line, or `None`."""
    found = json_faults(schema, value)
    if not found:
        return None
    return "; ".join(f"{'.'.join(path) or 'value'}: {message}" for path, _, message in found[:5])


def json_faults(schema: Mapping[str, Any], value: Any) -> list[tuple[tuple[str, ...], str, str]]:
    """Place, keyword of the schema and message of everything that is wrong with a value, in the order of places.

    Raises:
        ToolDefinitionError: the schema is none.
    """
    try:
        validator = _validator(msgspec.json.encode(schema, order="sorted"))
    except (TypeError, ValueError, RecursionError, AttributeError) as exc:
        raise ToolDefinitionError(f"not a JSON Schema: {type(schema).__name__}: {exc}") from exc
    try:
        errors = [
            (tuple(map(str, error.absolute_path)), str(error.validator), error.message)
            for error in validator.iter_errors(value)
        ]
    except referencing.exceptions.Unresolvable as exc:
        raise ToolDefinitionError(f"a JSON Schema refers to what is not in it: {exc}") from exc
    except (RecursionError, re.error) as exc:  # `{"$ref": "#"}`, or a pattern that is none
        raise ToolDefinitionError(f"a JSON Schema cannot be applied: {type(exc).__name__}: {exc}") from exc
    return sorted(errors, key=lambda error: error[0])


class OutputContract:
    """What an agent's output must be: a type that pydantic can validate, or a JSON Schema."""

    def __init__(self, output: Any) -> None:
        try:
            self._adapter = None if isinstance(output, Mapping) else pydantic.TypeAdapter(output)
            self.schema: JsonObject = dict(output) if self._adapter is None else self._adapter.json_schema()
        except pydantic.errors.PydanticUserError as exc:
            reason = str(exc).splitlines()[0]
            raise AgentError(f"`output` must be a type that pydantic can validate, or a JSON Schema: {reason}") from exc

    @property
    def wrapped(self) -> bool:
        """Whether the schema is no object and has to be put into one, since tools take objects."""
        return self.schema.get("type") != "object"

    def parse(self, text: str) -> Any:
        """The value in a text, which may stand in a fenced block. Raises `ModelOutputInvalidError`."""
        try:
            return self.validate(msgspec.json.decode(_unfenced(text)))
        except (msgspec.DecodeError, RecursionError) as exc:
            raise _invalid(f"the answer is not JSON: {exc}", text) from exc

    def validate(self, data: Any) -> Any:
        """The value, validated. Raises `ModelOutputInvalidError` with every place that is off."""
        if self._adapter is None:
            errors = json_errors(self.schema, data)
            if errors:
                raise _invalid(errors, data)
            return data
        try:
            return self._adapter.validate_python(data)
        except pydantic.ValidationError as exc:
            raise _invalid(_errors(exc), data) from exc


def jsonable(value: Any) -> Any:
    """Anything that pydantic can turn into JSON: models, paths, dates, sets. Raises `ValueError` for the rest."""
    return pydantic_core.to_jsonable_python(value)


def as_text(value: Any) -> str:
    """A structured input as a message's text: JSON, with pydantic models dumped."""
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump_json()
    try:
        return msgspec.json.encode(value, order="sorted").decode()
    except (TypeError, NotImplementedError) as exc:
        raise AgentInputError(f"an input must be text, messages or JSON: {exc}") from exc


def _invalid(errors: str, raw: Any) -> ModelOutputInvalidError:
    error = ModelOutputInvalidError(f"the answer does not fit the output schema: {errors}")
    error.raw = raw if isinstance(raw, str) else msgspec.json.encode(raw, enc_hook=repr).decode()
    return error


def _unfenced(text: str) -> str:
    match = re.search(r"```(?:json)?\s*\n(.*?)```", text, re.DOTALL)
    return (match.group(1) if match else text).strip()


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Any:
    data = msgspec.json.decode(schema)
    cls = jsonschema.validators.validator_for(data, default=jsonschema.Draft202012Validator)
    try:
        cls.check_schema(data)
    except jsonschema.SchemaError as exc:
        raise ToolDefinitionError(f"not a valid JSON Schema: {exc.message}", hint="peg help tool.invalid") from exc
    # An empty registry: a remote `$ref` is an error, never a request.
    return cls(data, registry=referencing.Registry())


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as exc:
        raise ToolDefinitionError(f"tool `{name}`: its annotations cannot be read: {exc}") from exc


def _field(hint: Any, default: Any, doc: str | None) -> Any:
    described = get_origin(hint) is Annotated and any(
        isinstance(extra, FieldInfo) and extra.description for extra in get_args(hint)[1:]
    )
    return pydantic.Field(default) if described else pydantic.Field(default, description=doc)


def _arguments_model(name: str, fields: dict[str, Any]) -> type[pydantic.BaseModel]:
    try:
        config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=False)
        return pydantic.create_model(f"{name}_arguments", __config__=config, **fields)
    except Exception as exc:
        raise ToolDefinitionError(f"tool `{name}`: no schema can be made of its parameters: {exc}") from exc


def _plain_schema(model: type[pydantic.BaseModel]) -> JsonObject:
    schema = model.model_json_schema()
    schema.pop("title", None)
    for field in schema.get("properties", {}).values():
        field.pop("title", None)
    schema.setdefault("properties", {})
    return schema


def _errors(exc: pydantic.ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, error['loc'])) or 'value'}: {error['msg']}" for error in exc.errors(include_url=False)[:5]
    )


def _argument_docs(function: Callable[..., Any]) -> dict[str, str]:
    """The `Args:` section of a Google-style docstring."""
    _, _, section = (inspect.getdoc(function) or "").partition("\nArgs:")
    found: dict[str, str] = {}
    for line in section.splitlines()[1:]:
        if line and not line.startswith(" "):
            break
        if match := _ARGS.match(line):
            found[match.group(1)] = match.group(2).strip()
    return found
