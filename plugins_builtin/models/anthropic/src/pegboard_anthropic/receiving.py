"""The events of a streamed message as chunks of ours, with their grammar checked.

The SDK skips an event that it cannot read and ends a cut stream without a word, so what arrives is held against the
grammar of the protocol: `message_start`, blocks that begin and end, `message_delta`, `message_stop`.
Source: the provider's page "Streaming messages".
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final

from pegboard.errors import ModelStreamError, ModelStreamMalformedError
from pegboard.types import Citation, Finish, ModelChunk, Opaque, Thinking, Usage
from pegboard.types.models import FinishReason

from pegboard_anthropic.sending import BLOCK, PROVIDER, SIGNATURE, Sending

_REASONS: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "pause",
    "refusal": "refused",
}
_SKIPPED: Final = "an event of the stream was not readable and the SDK left it out"


class Receiving:
    """One message while it is streamed."""

    def __init__(self, sending: Sending, model: str) -> None:
        self._sending = sending
        self._model = model
        self._answered_by: str | None = None
        self._blocks: dict[int, Block] = {}
        self._reason: str | None = None
        self._stopped = False
        self._usage: dict[str, int | None] = {}
        self._refusal: str | None = None

    async def chunks(self, events: AsyncIterator[Any]) -> AsyncIterator[ModelChunk]:
        """What the events hold, to the finish.

        Raises:
            ModelStreamError: the stream ended early.
            ModelStreamMalformedError: an event was missing or out of place.
        """
        for omission in self._sending.omitted:
            yield ModelChunk(omitted=omission)
        takes: Mapping[str, Callable[[Any], Iterable[ModelChunk]]] = {
            "content_block_delta": self._delta,
            "content_block_start": self._begin,
            "content_block_stop": self._end,
            "message_start": self._open,
            "message_delta": self._close,
            "message_stop": self._stop,
        }
        async for event in events:
            take = takes.get(event.type)
            for chunk in take(event) if take is not None else ():
                yield chunk
        if self._reason == "refusal" and self._refusal:
            yield ModelChunk(text=self._refusal)
        yield self._finish()

    def _open(self, event: Any) -> Iterable[ModelChunk]:
        self._answered_by = event.message.model
        self._count(event.message.usage)
        return (ModelChunk(usage=self._used()),)

    def _close(self, event: Any) -> Iterable[ModelChunk]:
        self._reason = event.delta.stop_reason or self._reason
        if event.delta.stop_details is not None:
            self._refusal = event.delta.stop_details.explanation
        self._count(event.usage)
        return ()

    def _stop(self, event: Any) -> Iterable[ModelChunk]:
        self._stopped = True
        return ()

    def _begin(self, event: Any) -> Iterable[ModelChunk]:
        if self._answered_by is None:
            raise ModelStreamMalformedError(_SKIPPED, phase="parse")
        block = event.content_block
        self._blocks[event.index] = Block(block)
        if block.type == "tool_use":
            yield ModelChunk(call_delta=(block.id, self._sending.names.own(block.name), ""))
        elif block.type == "text" and block.text:
            yield ModelChunk(text=block.text)

    def _delta(self, event: Any) -> Iterable[ModelChunk]:
        block = self._blocks.get(event.index)
        if block is None:
            raise ModelStreamMalformedError(_SKIPPED, phase="parse")
        delta = event.delta
        if delta.type == "text_delta":
            return (ModelChunk(text=delta.text),)
        if delta.type == "thinking_delta":
            block.pieces.append(delta.thinking)
            return (ModelChunk(thinking=delta.thinking),)
        if delta.type == "input_json_delta" and block.type == "tool_use":
            return (ModelChunk(call_delta=(block.first.id, "", delta.partial_json)),)
        block.keep(delta)
        return ()

    def _end(self, event: Any) -> Iterable[ModelChunk]:
        block = self._blocks.get(event.index)
        if block is None or block.is_ended:
            raise ModelStreamMalformedError(_SKIPPED, phase="parse")
        block.is_ended = True
        if block.type == "thinking":
            text = block.first.thinking + "".join(block.pieces)
            signature = block.signature or block.first.signature
            bound = self._bound(SIGNATURE, signature) if signature else None
            yield ModelChunk(part=Thinking(text, bound))
        elif block.type == "text":
            for citation in block.citations:
                yield ModelChunk(part=Citation(source=_source(citation), span=_span(citation)))
        elif block.type != "tool_use":
            yield ModelChunk(part=self._bound(BLOCK, block.whole()))

    def _finish(self) -> ModelChunk:
        if self._answered_by is None:
            raise ModelStreamMalformedError("the answer has no message in it", phase="parse")
        if not self._stopped or self._reason is None:
            raise ModelStreamError(f"the stream of `{self._model}` ended without a finish reason", phase="stream")
        if not all(block.is_ended for block in self._blocks.values()):
            raise ModelStreamMalformedError(_SKIPPED, phase="parse")
        reason = _REASONS.get(self._reason, "other")
        return ModelChunk(finish=Finish(reason, self._used(), self._answered_by))

    def _bound(self, kind: str, data: Any) -> Opaque:
        return Opaque(provider=PROVIDER, model=self._model, kind=kind, data=data)

    def _count(self, usage: Any) -> None:
        """Later counts replace earlier ones: those of this protocol are totals."""
        for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            value = getattr(usage, name, None)
            if value.__class__ is int:  # the SDK lets anything through that stands there
                self._usage[name] = value
        details = getattr(usage, "output_tokens_details", None)
        if details is not None:
            self._usage["thinking"] = details.thinking_tokens

    def _used(self) -> Usage | None:
        if not self._usage:
            return None
        read = self._usage.get("cache_read_input_tokens") or 0
        written = self._usage.get("cache_creation_input_tokens") or 0
        plain = self._usage.get("input_tokens")
        return Usage(
            input_tokens=None if plain is None else plain + read + written,  # Anthropic counts the three apart
            output_tokens=self._usage.get("output_tokens"),
            cache_read_tokens=read,
            cache_write_tokens=written,
            thinking_tokens=self._usage.get("thinking"),
            source="provider",
        )


class Block:
    """A content block while it is streamed."""

    __slots__ = ("citations", "first", "is_ended", "pieces", "signature", "type")

    def __init__(self, first: Any) -> None:
        self.type: str = first.type
        self.first = first
        """What it began with."""
        self.pieces: list[str] = []
        self.signature: str | None = None
        self.citations: list[Any] = []
        self.is_ended = False

    def keep(self, delta: Any) -> None:
        """Remember what is only of use when the block is complete."""
        if delta.type == "input_json_delta":
            self.pieces.append(delta.partial_json)
        elif delta.type == "signature_delta":
            self.signature = delta.signature
        elif delta.type == "citations_delta":
            self.citations.append(delta.citation)

    def whole(self) -> Any:
        """The block as it wants to be sent back."""
        data = self.first.model_dump(mode="json", exclude_none=True)
        if self.pieces:
            try:
                data["input"] = json.loads("".join(self.pieces))
            except ValueError as exc:
                raise ModelStreamMalformedError(f"a server tool's input is not JSON: {exc}", phase="parse") from exc
        return data


def _source(citation: Any) -> str:
    for name in ("url", "source", "document_title", "title"):
        value = getattr(citation, name, None)
        if value:
            return str(value)
    return f"document {getattr(citation, 'document_index', 0)}"


def _span(citation: Any) -> tuple[int, int] | None:
    begin, end = getattr(citation, "start_char_index", None), getattr(citation, "end_char_index", None)
    return None if begin is None or end is None else (begin, end)


__all__ = ["Block", "Receiving"]
