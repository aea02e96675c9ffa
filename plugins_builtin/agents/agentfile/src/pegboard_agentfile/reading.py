"""Makes an agent of what a file holds: fields of `AgentConfig`, as `schemas/agent.schema.json` judges them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pegboard.errors import PegboardError
from pegboard.lazy import LazyModule
from pegboard.shape import complaints
from pegboard.tools import as_tool
from pegboard.types import Agent, AgentConfig

from pegboard_agentfile.beside import Beside, BesideError
from pegboard_agentfile.document import Document, read_document
from pegboard_agentfile.faults import Fault, line_of, refusal

if TYPE_CHECKING:
    from pegboard import schema as core_schema
else:
    core_schema = LazyModule("pegboard.schema")  # pydantic, and most agents answer with text

_TYPES: Final = {field.name: field.type for field in msgspec.structs.fields(AgentConfig)}


@cache
def schema() -> Mapping[str, Any]:
    """The JSON Schema of a file with an agent in it."""
    text = files("pegboard_agentfile").joinpath("schemas/agent.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def agent_of(path: str, content: bytes) -> Agent:
    """The agent in a file.

    Raises:
        AgentFileError: it holds none, or what it says cannot be; everything that is wrong is told, with its line.
    """
    document = read_document(path, content)
    if "nodes" in document.fields:
        told = "this is a workflow, and no agent"
        raise refusal(path, [Fault(told, line_of(document.lines, ("nodes",)), f"peg workflow run {path}")])
    fields = {"name": Path(path).stem, **document.fields}
    faults = [_fault(fields, document, complaint.path, complaint.message) for complaint in complaints(schema(), fields)]
    if faults:
        raise refusal(path, faults)
    return Agent(AgentConfig(**_values(path, fields, document)))


def _fault(fields: Mapping[str, Any], document: Document, path: tuple[str, ...], message: str) -> Fault:
    if path == ("name",) and "name" not in document.fields:
        return Fault(f"the file `{fields['name']}` is no name for an agent; give it a `name`", 1)
    return Fault(f"`{'.'.join(path)}` {message}", line_of(document.lines, path))


def _values(path: str, fields: Mapping[str, Any], document: Document) -> dict[str, Any]:
    """The fields as an agent has them."""
    beside = Beside(path)
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, given in fields.items():
        try:
            values[name] = _value(beside, name, given)
        except (msgspec.ValidationError, BesideError, PegboardError) as error:
            told = error.message if isinstance(error, PegboardError) else str(error)
            faults.append(Fault(f"`{name}`: {told[:1].lower()}{told[1:]}", line_of(document.lines, (name,))))
    if faults:
        raise refusal(path, faults)
    return values


def _value(beside: Beside, name: str, given: Any) -> Any:
    if name == "tools":
        return tuple(_tools(beside, given))
    if name == "output" and isinstance(given, str):
        return _type(beside, given)
    if name in ("output", "input_schema") and given is not None:
        core_schema.json_errors(given, None)  # raises where it is no JSON Schema; what it says of nothing is no matter
    return given if name in ("model", "output") else msgspec.convert(given, _TYPES[name])


def _tools(beside: Beside, given: list[str]) -> Iterator[Any]:
    """Names of tools that plugins provide, as they are; `module:function` as the tool that it is."""
    for each in given:
        yield as_tool(beside.load(each)) if ":" in each else each


def _type(beside: Beside, named: str) -> Any:
    found = beside.load(named)
    core_schema.OutputContract(found)  # raises where no answer could be checked against it
    return found
