"""The vocabulary of scripts: what one answer of a model is made of, and how it becomes chunks.

A turn is a list of things that happen in order: text is streamed, a call is asked for, a gate is waited at, an error
is raised. The models that play turns are in `scripted` and `function`.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias, cast, runtime_checkable

import msgspec
from pegboard.assembling import parse_call
from pegboard.errors import ModelFault
from pegboard.types import (
    Content,
    Finish,
    Json,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    Text,
    Thinking,
    ToolCall,
    Usage,
    evolve,
)

FINAL_OUTPUT: Final = "final_output"
"""The synthetic tool by which core asks for structured output where a model has no schema mode."""

Reason = Literal["stop", "tool_calls", "length", "refused", "pause", "other"]


@runtime_checkable
class Waitable(Protocol):
    """Something a turn waits at: a `Gate`, an `asyncio.Event`."""

    async def wait(self) -> object:
        """Return when the turn may go on."""


class Gate:
    """A point at which a turn stops until the test lets it go on, so that no test waits for time.

        gate = Gate()
        model = ScriptedModel([turn("before ", gate, "after")])
        ...
        await gate.reached()   # the model stands at the gate
        gate.open()

    A gate belongs to one event loop.
    """

    __slots__ = ("_arrival", "_opened", "arrivals")

    def __init__(self) -> None:
        self.arrivals = 0
        """How many turns have come here so far."""
        self._arrival = asyncio.Event()
        self._opened = asyncio.Event()

    async def wait(self) -> None:
        """Stop here until the gate is open; called by the model."""
        self.arrivals += 1
        self._arrival.set()
        self._arrival = asyncio.Event()
        await self._opened.wait()

    async def reached(self, count: int = 1) -> None:
        """Return when `count` turns have come to the gate."""
        while self.arrivals < count:
            await self._arrival.wait()

    def open(self) -> None:
        """Let everything through, from now on."""
        self._opened.set()


class _Cut:
    """The stream ends here without a finish reason, as when a connection is lost."""

    def __repr__(self) -> str:
        return "CUT"


CUT: Final = _Cut()
"""As the last item of a turn: the stream is cut after what came before."""


class Structured(msgspec.Struct, frozen=True):
    """An answer that fits an output schema, given in the way the request asks for it."""

    value: Json


Item: TypeAlias = str | Content | ModelChunk | Exception | Waitable | Structured | _Cut
"""What can happen within a turn."""


class Turn(msgspec.Struct, frozen=True):
    """One answer of a model; make it with `turn`."""

    items: tuple[Item, ...]
    usage: Usage | None = None
    finish: Reason | None = None


TurnLike: TypeAlias = Item | Mapping[str, Json] | Turn | ModelResponse
"""What a script may hold: one item, a dict (structured output), a `Turn`, or a complete response."""
Operation: TypeAlias = ModelChunk | ToolCall | Exception | Waitable
"""What a turn is made into: chunks as they are, and what has to be done when its time comes."""


def turn(*items: Item, usage: Usage | None = None, finish: Reason | None = None) -> Turn:
    """An answer of several things that happen in order.

        turn(thinking("both are numbers"), "Let me add them.", call("add", a=1, b=2), usage=Usage(12, 5))

    Without `finish` the reason is `tool_calls` where there is a call, else `stop`.
    """
    return Turn(items, usage, finish)


def call(tool: str, /, **arguments: Json) -> ToolCall:
    """A call of a tool. It gets its id when it is played, so that a script may be played several times."""
    return ToolCall(id="", name=tool, arguments=arguments)


def raw_call(tool: str, arguments: str) -> ToolCall:
    """A call with arguments as a model wrote them, which need not be JSON."""
    return parse_call("", tool, arguments)


def thinking(text: str) -> Thinking:
    """Reasoning that is streamed."""
    return Thinking(text)


def structured(value: Json) -> Structured:
    """Structured output that is not an object; a dict may stand in a script as it is."""
    return Structured(value)


def needs_request(value: TurnLike) -> bool:
    """Whether the turn can be compiled only when the request is known."""
    items = value.items if isinstance(value, Turn) else (value,)
    return any(isinstance(item, (Structured, Mapping)) for item in items)


def compile_turn(
    value: TurnLike, *, split: int | None = None, usage: Usage | None = None, request: ModelRequest | None = None
) -> tuple[Operation, ...]:
    """The turn as operations, in order, with the finish at the end unless it is cut or fails.

    Raises:
        TypeError: the turn holds something that is no item.
        ValueError: something stands after a `CUT`.
    """
    turn = _as_turn(value)
    operations: list[Operation] = []
    for position, item in enumerate(turn.items):
        if isinstance(item, _Cut):
            if position + 1 < len(turn.items):
                raise ValueError("nothing can follow a `CUT`")
            return tuple(operations)
        operations.extend(operations_of(item, split, request))
    if not has_end(operations):
        operations.append(end_of(operations, turn.finish, turn.usage or usage))
    return tuple(operations)


def operations_of(item: Item, split: int | None, request: ModelRequest | None) -> Sequence[Operation]:
    """What one item comes to."""
    if isinstance(item, Structured):
        return _structured(item.value, split, request)
    if isinstance(item, str):
        return _text(item, split)
    if isinstance(item, Text):
        return _text(item.text, split)
    if isinstance(item, Thinking) and item.bound is None:
        return (ModelChunk(thinking=item.text),)
    if isinstance(item, ToolCall):
        return (ModelChunk(tool_call=item),) if item.id else (item,)
    if isinstance(item, (ModelChunk, Exception, Waitable)):
        return (item,)
    if hasattr(item, "__struct_fields__") or hasattr(item, "data"):
        return (ModelChunk(part=cast(Content, item)),)
    raise TypeError(f"{item!r} cannot be part of a turn")


def has_end(operations: Sequence[Operation]) -> bool:
    """Whether the last operation ends the stream by itself."""
    last = operations[-1] if operations else None
    return isinstance(last, Exception) or (isinstance(last, ModelChunk) and last.finish is not None)


def end_of(operations: Sequence[Operation], finish: Reason | None, usage: Usage | None) -> ModelChunk:
    """The last chunk; where no reason is given it follows from whether there was a call."""
    return ModelChunk(finish=Finish(finish or ("tool_calls" if any(map(_is_call, operations)) else "stop"), usage))


async def perform(operation: Operation, new_id: Callable[[], str]) -> ModelChunk | None:
    """Do what is no ready chunk: give a call its id, raise an error, wait at a gate."""
    if isinstance(operation, ToolCall):
        return ModelChunk(tool_call=evolve(operation, id=new_id()))
    if isinstance(operation, Exception):
        raise _fresh(operation)
    if isinstance(operation, ModelChunk):
        return operation
    await operation.wait()
    return None


def _as_turn(value: TurnLike) -> Turn:
    if isinstance(value, Turn):
        return value
    if isinstance(value, ModelResponse):
        return Turn(value.parts, value.usage, value.finish)
    if isinstance(value, Mapping):
        return Turn((Structured(dict(value)),))
    return Turn((value,))


def _text(text: str, split: int | None) -> Sequence[ModelChunk]:
    if not text:
        return ()
    if split is None:
        return (ModelChunk(text=text),)
    return tuple(ModelChunk(text=text[start : start + split]) for start in range(0, len(text), split))


def _structured(value: Json, split: int | None, request: ModelRequest | None) -> Sequence[Operation]:
    for tool in request.tools if request is not None else ():
        if tool.name == FINAL_OUTPUT:
            return (call(FINAL_OUTPUT, **_as_arguments(value, tool.input_schema)),)
    return _text(msgspec.json.encode(value).decode(), split)


def _as_arguments(value: Json, schema: Mapping[str, Any]) -> dict[str, Json]:
    """Tools take objects: what is none is put into the only property of the tool."""
    name = next(iter(schema.get("properties", {})), "value")
    is_wrapped = list(schema.get("properties", {})) == ["value"]  # so does core with a schema that is a reference
    if isinstance(value, dict) and (not is_wrapped or "value" in value):
        return value
    return {name: value}


def _is_call(operation: Operation) -> bool:
    if isinstance(operation, ModelChunk):
        return operation.tool_call is not None or operation.call_delta is not None
    return isinstance(operation, ToolCall)


def _fresh(error: Exception) -> Exception:
    """The error without the traces of an earlier play; a model fault is also written to on its way up."""
    return copy.copy(error) if isinstance(error, ModelFault) else error.with_traceback(None)


__all__ = [
    "CUT",
    "FINAL_OUTPUT",
    "Gate",
    "Item",
    "Operation",
    "Reason",
    "Structured",
    "Turn",
    "TurnLike",
    "Waitable",
    "call",
    "compile_turn",
    "end_of",
    "has_end",
    "needs_request",
    "operations_of",
    "perform",
    "raw_call",
    "structured",
    "thinking",
    "turn",
]
