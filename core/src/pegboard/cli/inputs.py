"""What the words of the command line are to an agent: its task, or, where it has an input schema, its inputs.

`name=value` sets a property, the rest is the text of one: the first that is required, else the first. Whoever wants to
say everything exactly writes JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pegboard import shape
from pegboard.errors import UsageError
from pegboard.types import Agent

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Commands(NamedTuple):
    """What a person types for an agent, whatever its own name is."""

    name: str
    run: str
    info: str


def commands_for(name: str) -> Commands:
    """Those of an agent by its name or as `module:object`."""
    return Commands(name, f"peg run {name}", f"peg agents info {name}")


def inputs_for(agent: Agent, words: Sequence[str], piped: str = "", *, commands: Commands | None = None) -> Any:
    """The inputs of a run of an agent.

    Raises:
        UsageError: there is nothing, or the words cannot be what the agent takes.
    """
    commands = commands or commands_for(agent.name)
    text = _joined(words, piped)
    schema = agent.config.input_schema
    if schema is None:
        if not text.strip():
            task = "what can you do?" if agent.config.workflow is None else "the text that it works on"
            raise UsageError(f"there is no task for `{commands.name}`", hint=f'{commands.run} "{task}"')
        return text
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict) or (found is not None and not schema.get("properties")):
        return found
    try:
        return _filled(schema, words, piped)
    except _NoFit as error:
        raise UsageError(f"agent `{agent.name}` {error}", hint=commands.info) from None


class _NoFit(Exception):
    """Words that cannot be what an agent takes; the message goes on from its name."""


def _filled(schema: Mapping[str, Any], words: Sequence[str], piped: str) -> dict[str, Any]:
    """The properties that the words set."""
    kinds = {name: _kinds(schema, name) for name in schema.get("properties", {})}
    if not kinds:
        raise _NoFit("takes JSON, and the words are none")
    values: dict[str, Any] = {}
    rest = []
    for word in words:
        name, sign, text = word.partition("=")
        if sign and name in kinds:
            values[name] = _typed(name, text, kinds[name])
        else:
            rest.append(word)
    if text := _joined(rest, piped):
        values[_property_for_text(schema, kinds, values)] = text
    missing = [name for name in schema.get("required", ()) if name not in values]
    if missing:
        raise _NoFit(f"needs {' and '.join(f'`{name}`' for name in missing)}; write `{missing[0]}=…`")
    return values


def _property_for_text(schema: Mapping[str, Any], kinds: Mapping[str, Sequence[str]], values: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    free = [name for name, kind in kinds.items() if name not in values and (not kind or "string" in kind)]
    chosen = next((name for name in free if name in required), free[0] if free else None)
    if chosen is None:
        raise _NoFit(f"has no property for a text; write `name=value`, with one of {', '.join(kinds)}")
    return chosen


def _kinds(schema: Mapping[str, Any], name: str) -> Sequence[str]:
    """The JSON types that a property may have; none where its schema does not tell."""
    try:
        found = (shape.subschema(schema, (name,)) or {}).get("type", ())
    except (KeyError, TypeError):  # a reference to what is not there: the run says so
        return ()
    return (found,) if isinstance(found, str) else tuple(found)


def _typed(name: str, text: str, kinds: Sequence[str]) -> Any:
    """A text as a value of its property's type."""
    if "boolean" in kinds and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    found = _kind_of(value)
    if found in kinds or (found == "integer" and "number" in kinds) or not kinds:
        return value
    if "string" in kinds:
        return text
    raise _NoFit(f"wants `{name}` to be {' or '.join(kinds)}, and `{text}` is none")


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _joined(words: Sequence[str], piped: str) -> str:
    return "\n\n".join(part for part in (" ".join(words), piped) if part)
