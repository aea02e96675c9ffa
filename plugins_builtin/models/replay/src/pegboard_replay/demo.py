"""`scripted:demo`: a model without a network that gives the same answer every time.

Of the offered tools whose required arguments it finds in the task it calls the one that has the most words of the task
in its name and description, the first one of several; then it says what the tool answered. It is there to try things
out: the tutorial, `peg init`, a test of a new tool.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from pegboard.model import ModelBase
from pegboard.types import (
    Finish,
    Json,
    JsonObject,
    Message,
    ModelCapabilities,
    ModelChunk,
    ModelRequest,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)

from pegboard_replay.turns import FINAL_OUTPUT

_NUMBER_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER: Final = re.compile(rf"-?\d+(?:\.\d+)?|\b(?:{'|'.join(_NUMBER_WORDS)})\b", re.IGNORECASE)
_QUOTED: Final = re.compile(r"\"([^\"]+)\"|'([^']+)'|`([^`]+)`")
_WORD: Final = re.compile(r"[a-z]{4,}")
_CHANGING: Final = re.compile(
    r"(?:delete|remove|write|replace|edit|move|rename|stash|restore|commit|merge)\b", re.IGNORECASE
)
_PATH: Final = re.compile(r"[\w.~-]*/[\w./-]+|\b[\w-]+\.[a-z]{1,5}\b")
_WHOLE_TASK: Final = frozenset({"query", "text", "task", "question", "prompt", "message", "input"})
"""String arguments that take the whole task when it quotes nothing."""
_FOLDERS: Final = frozenset({"path", "folder", "directory", "dir"})
_CAPABILITIES: Final = ModelCapabilities(
    tools="yes",
    parallel_tools="no",
    structured_output="no",
    structured_with_tools="no",
    thinking="no",
    vision="no",
    audio="no",
    files="no",
    prompt_cache="none",
    system_role="yes",
    seed="yes",
)


class DemoModel(ModelBase):
    """The model behind `scripted:demo`. It keeps no state: any number of runs may use it at once."""

    provider = "scripted"
    name = "demo"
    is_demo = True

    def capabilities(self, model: str) -> ModelCapabilities:
        return _CAPABILITIES

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """A call, or an answer word by word. Tokens are words, and marked as estimated."""
        asked = sum(len(message.text.split()) for message in request.messages)
        call = _next_call(request)
        if call is not None:
            yield ModelChunk(tool_call=call)
            yield ModelChunk(finish=Finish("tool_calls", _usage(asked, len(call.arguments) + 1)))
            return
        words = _answer(request).split(" ")
        for position, word in enumerate(words):
            yield ModelChunk(text=f" {word}" if position else word)
        yield ModelChunk(finish=Finish("stop", _usage(asked, len(words))))


def _usage(read: int, written: int) -> Usage:
    return Usage(read, written, source="estimated")


def _next_call(request: ModelRequest) -> ToolCall | None:
    """A tool while none was called, then the structured output where one is wanted."""
    call_id = f"call_{sum(len(message.tool_calls) for message in request.messages) + 1}"
    wanted = [tool for tool in request.tools if tool.name == FINAL_OUTPUT]
    for tool in () if _results(request) else _fitting(request):
        arguments = fill_arguments(tool, _task(request))
        if arguments is not None:
            return ToolCall(id=call_id, name=tool.name, arguments=arguments)
    if wanted:
        arguments = fill_arguments(wanted[0], _task(request), otherwise=_answer(request))
        return ToolCall(id=call_id, name=FINAL_OUTPUT, arguments=arguments or {})
    return None


def _fitting(request: ModelRequest) -> list[ToolSpec]:
    """The tools in the order in which they fit the task. One of a plugin, which has a prefix, must speak of it, and one
    that changes something is used only where the task says so: many may be installed, and to delete a file answers no
    other question.
    """
    task = _task(request)
    likeness = {
        tool.name: _likeness(tool, task)
        for tool in request.tools
        if tool.name != FINAL_OUTPUT
        and (not (verb := _CHANGING.match(tool.description)) or verb[0].lower() in task.lower())
    }
    fitting = [tool for tool in request.tools if tool.name in likeness]
    return sorted(
        (tool for tool in fitting if likeness[tool.name] or "." not in tool.name), key=lambda tool: -likeness[tool.name]
    )


def _likeness(tool: ToolSpec, task: str) -> int:
    """How many words of the task a tool speaks of; short ones are in every text."""
    return len(set(_WORD.findall(task.lower())) & set(_WORD.findall(f"{tool.name} {tool.description}".lower())))


def _answer(request: ModelRequest) -> str:
    results = _results(request)
    if not results:
        return f'You asked "{_task(request)}". I am the scripted demo model and no tool fits, so this is all I can say.'
    return " ".join(_sentence(name, result) for name, result in results)


def _sentence(tool: str, result: ToolResult) -> str:
    if result.status == "ok":
        return f"The tool `{tool}` answered: {result.text}"
    return f"The tool `{tool}` could not answer ({result.status}): {result.text}"


def _current(request: ModelRequest) -> Sequence[Message]:
    """The messages from the last one of the user on."""
    for index in range(len(request.messages) - 1, -1, -1):
        if request.messages[index].role == "user":
            return request.messages[index:]
    return request.messages


def _task(request: ModelRequest) -> str:
    return next((message.text for message in _current(request) if message.role == "user"), "")


def _results(request: ModelRequest) -> list[tuple[str, ToolResult]]:
    names: dict[str, str] = {}
    found: list[tuple[str, ToolResult]] = []
    for message in _current(request):
        names.update((call.id, call.name) for call in message.tool_calls)
        found += [(names.get(part.call_id, "tool"), part) for part in message.parts if isinstance(part, ToolResult)]
    return [(name, result) for name, result in found if name != FINAL_OUTPUT]


def fill_arguments(tool: ToolSpec, task: str, *, otherwise: str | None = None) -> JsonObject | None:
    """The required arguments of a tool as found in the task, in order, or `None` where one is not there.

    `otherwise` is the text for a string that the task does not hold.
    """
    material = _Material(task, otherwise)
    arguments: JsonObject = {}
    properties: Mapping[str, Any] = tool.input_schema.get("properties", {})
    for name in tool.input_schema.get("required", ()):
        value = material.take(name, properties.get(name, {}))
        if value is None:
            return None
        arguments[name] = value
    return arguments


class _Material:
    """What a task holds that an argument can be made of; each thing is used once."""

    def __init__(self, task: str, otherwise: str | None) -> None:
        self._task = task
        self._otherwise = otherwise
        self._numbers = [_number(text) for text in _NUMBER.findall(task)]
        self._strings = ["".join(groups) for groups in _QUOTED.findall(task)] or _PATH.findall(task)

    def take(self, name: str, schema: Mapping[str, Any]) -> Json:
        """A value for an argument, or `None`."""
        if "default" in schema or "const" in schema:
            return schema.get("const", schema.get("default"))
        if schema.get("enum"):
            return schema["enum"][0]
        match schema.get("type"):
            case "integer":
                return next((self._numbers.pop(i) for i, n in enumerate(self._numbers) if isinstance(n, int)), None)
            case "number":
                return self._numbers.pop(0) if self._numbers else None
            case "boolean":
                return False
            case "string":
                return self._string(name)
            case _:
                return None

    def _string(self, name: str) -> str | None:
        if self._strings:
            return self._strings.pop(0)
        if name in _FOLDERS:
            return "."
        return self._task if name in _WHOLE_TASK else self._otherwise


def _number(text: str) -> int | float:
    word = text.lower()
    if word in _NUMBER_WORDS:
        return _NUMBER_WORDS.index(word)
    return float(text) if "." in text else int(text)


__all__ = ["DemoModel", "fill_arguments"]
