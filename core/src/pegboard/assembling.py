"""Makes one response, and the events on the way, of what a provider streams; what is no answer does not get through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import msgspec

from pegboard.errors import ModelEmptyResponseError, ModelFault, ModelStreamError, describe
from pegboard.signs import storable, storable_text
from pegboard.types import (
    Citation,
    Content,
    File,
    Finish,
    ModelChunk,
    ModelResponse,
    Omission,
    Opaque,
    StreamEvent,
    Text,
    Thinking,
    ToolCall,
    UnknownPart,
    Usage,
)
from pegboard.types.models import FinishReason

CHARACTERS_A_TOKEN = 4
"""About what a tokenizer makes of a text, where nobody has counted."""
_REASONS: tuple[object, ...] = get_args(FinishReason)
_MOST_TOKENS = 2**53
"""Beyond that JSON does not hold a number exactly."""
_SOURCES: tuple[object, ...] = ("provider", "estimated", "unknown")
_PARTS = (Text, Thinking, File, Citation, Opaque, UnknownPart)


class Assembler:
    """Makes one response, and the events on the way, of a provider's chunks."""

    __slots__ = (
        "_begin", "_calls", "_finish", "_ids", "_model", "_omitted", "_parts", "_quiet", "_run", "_text", "_thinking",
        "_usage",
    )  # fmt: skip

    def __init__(self, model: str, run: str = "", *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._model = model
        self._run = run
        self._text: list[str] = []
        self._begin = 0
        """Where in `_text` the part begins that is being streamed."""
        self._thinking: list[str] = []
        self._parts: list[Content] = []
        self._calls: dict[str, list[str]] = {}
        self._ids: set[str] = set()
        self._omitted: tuple[Omission, ...] = ()
        self._usage: Usage | None = None
        """What the provider counted before the end."""
        self._finish: Finish | None = None

    @property
    def ended(self) -> bool:
        """Whether the chunk that carries `finish` came."""
        return self._finish is not None

    @property
    def started(self) -> bool:
        """Whether anything came."""
        return bool(self._text or self._thinking or self._parts or self._calls)

    @property
    def spent(self) -> Usage | None:
        """What an answer that was cut has cost: what the provider counted, and what came after that estimated."""
        usage = self._usage
        if usage is None:
            return None
        streamed = [*self._text, *self._thinking, *(piece for pieces in self._calls.values() for piece in pieces)]
        least = sum(map(len, streamed)) // CHARACTERS_A_TOKEN
        return msgspec.structs.replace(usage, output_tokens=max(usage.output_tokens or 0, least), source="estimated")

    def add(self, chunk: ModelChunk) -> Sequence[StreamEvent]:
        """Take a chunk; the events it gives, mostly one. Quiet, text gives none."""
        if (text := chunk.text) is not None:
            ended: Sequence[StreamEvent] = self._flush() if self._calls or self._thinking else ()
            if self._quiet:
                self._text.append(text)
                return ()
            self._text.append(text if text.isascii() else (text := storable_text(text)))
            event = StreamEvent("text", text, run=self._run, buffer=self._text)
            return (*ended, event) if ended else (event,)
        if chunk.thinking is not None:
            ended = () if self._thinking else self._flush()
            thinking = storable_text(chunk.thinking)
            self._thinking.append(thinking)
            return (*ended, StreamEvent("thinking", thinking, run=self._run))
        if chunk.call_delta is not None:
            return self._call_delta(*chunk.call_delta)
        if chunk.tool_call is not None:
            ended, call = self._flush(), self._own(_checked(chunk.tool_call))
            self._parts.append(call)
            return (*ended, StreamEvent("tool_call", call, run=self._run))
        if chunk.part is not None:
            return self._other(chunk.part)
        if chunk.finish is not None:
            return self._end(chunk.finish)
        if chunk.usage is not None:
            self._usage = chunk.usage if is_sound(chunk.usage) else None
        elif chunk.omitted is not None:
            self._omitted += (chunk.omitted,)
        return ()

    def response(self) -> ModelResponse:
        """The complete answer.

        Raises:
            ModelStreamError: no finish reason came, so the answer is cut however well it reads.
            ModelEmptyResponseError: neither a part nor a usage came.
        """
        finish = self._finish
        if finish is None:
            raise ModelStreamError(
                f"the stream of `{self._model}` ended without a finish reason",
                phase="stream",
                stream_started=self.started,
            )
        self._flush_text()
        self._flush_calls()
        if not self._parts and finish.usage is None and finish.reason == "stop":
            raise ModelEmptyResponseError(f"`{self._model}` answered with nothing")
        return ModelResponse(
            parts=tuple(self._parts),
            finish=finish.reason,
            usage=finish.usage or Usage(),
            model=self._named(finish.model) if finish.model else self._model,
            omitted=self._omitted,
        )

    def _named(self, name: str) -> str:
        """The model that answered as others know it, by which its price is found: it names itself without provider."""
        provider, colon, _ = self._model.partition(":")
        return name if name.startswith(provider + colon) else f"{provider}{colon}{name}"

    def _call_delta(self, id: str, name: str, arguments: str) -> Sequence[StreamEvent]:
        if id not in self._calls:
            self._flush_text()
            self._calls[id] = [name, arguments]
            return (StreamEvent("tool_call_start", name, run=self._run, data={"id": id}),)
        self._calls[id].append(arguments)
        return (StreamEvent("tool_call_delta", arguments, run=self._run, data={"id": id}),)

    def _other(self, part: Content) -> Sequence[StreamEvent]:
        if not isinstance(part, _PARTS):
            raise _garbage(f"a part that is `{type(part).__name__}`")
        if isinstance(part, Text | Thinking):
            part = msgspec.structs.replace(part, text=storable_text(part.text))
        if isinstance(part, Thinking) and self._thinking:
            # The signed whole replaces the deltas that were streamed of it.
            self._thinking.clear()
        events = self._flush()
        self._parts.append(part)
        kind = type(part).__name__.lower()
        if kind in ("file", "citation"):
            events.append(StreamEvent(kind, part, run=self._run))  # type: ignore[arg-type]  # checked by value
        return events

    def _end(self, finish: Finish) -> Sequence[StreamEvent]:
        usage = finish.usage
        if usage is not None and not is_sound(usage):
            # What a provider claims in numbers that cannot be is not known; a budget must not grow by it.
            finish = Finish(finish.reason, Usage(), finish.model)
        if finish.reason not in _REASONS or (finish.model is not None and finish.model.__class__ is not str):
            finish = Finish("other", finish.usage)
        self._finish = finish
        if self._quiet:
            return ()
        events = self._flush()
        if finish.usage is not None:
            events.append(StreamEvent("usage", finish.usage, run=self._run))
        return events

    def _flush(self) -> list[StreamEvent]:
        """What was being streamed is complete; the events that say so."""
        self._flush_text()
        return [StreamEvent("tool_call", call, run=self._run) for call in self._flush_calls()]

    def _flush_text(self) -> None:
        if self._thinking:
            self._parts.append(Thinking("".join(self._thinking)))
            self._thinking = []
        if len(self._text) > self._begin:
            text = "".join(self._text[self._begin :])
            self._parts.append(Text(text if text.isascii() else storable_text(text)))
            self._begin = len(self._text)

    def _flush_calls(self) -> list[ToolCall]:
        if not self._calls:
            return []
        calls = [self._own(parse_call(id, name, "".join(pieces))) for id, (name, *pieces) in self._calls.items()]
        self._parts.extend(calls)
        self._calls = {}
        return calls

    def _own(self, call: ToolCall) -> ToolCall:
        """The call with an id of its own: some providers give none, or the same one twice in an answer."""
        for name in (call.name, call.id):
            if name.__class__ is not str:
                raise _garbage("a tool call without a name")
        id = call.id
        while not id or id in self._ids:
            id = f"{id or 'call'}_{len(self._ids)}"
        self._ids.add(id)
        return call if id == call.id else msgspec.structs.replace(call, id=id)


def is_sound(usage: object) -> bool:
    """Whether a usage is one, and every number in it is a whole number from 0 on, or unknown."""
    if not isinstance(usage, Usage):
        return False
    cached, written = usage.cache_read_tokens, usage.cache_write_tokens
    for number in (usage.input_tokens, usage.output_tokens, cached, written, usage.thinking_tokens, usage.requests):
        if number is not None and (number.__class__ is not int or not 0 <= number <= _MOST_TOKENS):
            return False
    if usage.input_tokens is not None and (cached or 0) + (written or 0) > usage.input_tokens:
        return False  # they are part of it, and cost less: else an answer would earn money
    return usage.source in _SOURCES and usage.requests is not None


def parse_call(id: str, name: str, arguments: str) -> ToolCall:
    """A call with its arguments parsed; text that is no JSON object is kept raw with the reason, never guessed."""
    arguments = storable_text(arguments)
    if not arguments.strip():
        return ToolCall(id=id, name=name)
    try:
        parsed = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError, ValueError) as exc:
        return ToolCall(id=id, name=name, raw_arguments=arguments, error=f"arguments are not JSON: {exc}")
    if not isinstance(parsed, dict):
        return ToolCall(id=id, name=name, raw_arguments=arguments, error="arguments are not a JSON object")
    return ToolCall(id=id, name=name, arguments=parsed)


def _checked(call: ToolCall) -> ToolCall:
    """A call that came whole, with arguments that can be written down."""
    try:
        msgspec.json.encode(call.arguments)
    except UnicodeEncodeError:
        return msgspec.structs.replace(call, arguments=storable(call.arguments))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as exc:
        return msgspec.structs.replace(call, arguments={}, error=f"arguments are not JSON: {describe(exc)}")
    return call


def _garbage(what: str) -> ModelFault:
    return ModelFault(f"the model answered with {what}", phase="parse")
