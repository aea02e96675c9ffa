"""The events of a streamed response as chunks of ours, with their grammar checked.

The SDK ends a cut stream without a word, so what arrives is held against the grammar of the protocol: items that begin
and end, the arguments of a call once in pieces and once whole, and `response.completed`, `.incomplete` or `.failed`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final

from pegboard.errors import ModelEmptyResponseError, ModelStreamError, ModelStreamMalformedError
from pegboard.types import Citation, Finish, ModelChunk, Opaque, Thinking, Usage
from pegboard.types.models import FinishReason
from pegboard_chatwire.faults import fault_in_stream

from pegboard_openai.responses.sending import PHASE, PROVIDER, Sending

_INCOMPLETE: Final[Mapping[str, FinishReason]] = {"max_output_tokens": "length", "content_filter": "refused"}
_MISSING: Final = "an event of the stream is missing or out of place"


class Receiving:
    """One response while it is streamed."""

    def __init__(self, sending: Sending, model: str) -> None:
        self._sending = sending
        self._model = model
        self._came = False
        self._items: dict[int, Item] = {}
        self._refused = False
        self._finish: Finish | None = None

    async def chunks(self, events: AsyncIterator[Any]) -> AsyncIterator[ModelChunk]:
        """What the events hold, to the finish.

        Raises:
            ModelEmptyResponseError: not a single event came.
            ModelStreamError: the stream ended early.
            ModelStreamMalformedError: an event was missing, out of place, or not of the protocol.
            ModelFault: the response failed at the provider.
        """
        for omission in self._sending.omitted:
            yield ModelChunk(omitted=omission)
        takes = self._takes()
        async for event in events:
            try:
                take = takes.get(event.type)
                made = take(event) if take is not None else ()
            except (AttributeError, TypeError) as exc:
                raise ModelStreamMalformedError(f"an event of the stream lacks a field: {exc}", phase="parse") from exc
            for chunk in made:
                yield chunk
            self._came = True
        yield self._end()

    def _takes(self) -> Mapping[str, Callable[[Any], Iterable[ModelChunk]]]:
        return {
            "response.output_text.delta": self._text,
            "response.function_call_arguments.delta": self._arguments,
            "response.reasoning_summary_text.delta": self._thinking,
            "response.reasoning_text.delta": self._thinking,
            "response.reasoning_summary_part.added": self._paragraph,
            "response.refusal.delta": self._refusal,
            "response.output_item.added": self._begin,
            "response.output_item.done": self._done,
            "response.completed": self._completed,
            "response.incomplete": self._incomplete,
            "response.failed": self._failed,
            "error": self._error,
        }

    # --- deltas

    def _text(self, event: Any) -> Iterable[ModelChunk]:
        if event.output_index not in self._items:
            raise ModelStreamMalformedError(_MISSING, phase="parse")
        return (ModelChunk(text=event.delta),)

    def _refusal(self, event: Any) -> Iterable[ModelChunk]:
        self._refused = True
        return (ModelChunk(text=event.delta),)

    def _thinking(self, event: Any) -> Iterable[ModelChunk]:
        item = self._item(event)
        item.pieces.append(event.delta)
        return (ModelChunk(thinking=event.delta),)

    def _paragraph(self, event: Any) -> Iterable[ModelChunk]:
        """A summary has parts; between two there is nothing on the wire."""
        item = self._item(event)
        if not item.pieces:
            return ()
        item.pieces.append("\n\n")
        return (ModelChunk(thinking="\n\n"),)

    def _arguments(self, event: Any) -> Iterable[ModelChunk]:
        item = self._item(event)
        item.pieces.append(event.delta)
        return (ModelChunk(call_delta=(item.call, "", event.delta)),)

    # --- items

    def _begin(self, event: Any) -> Iterable[ModelChunk]:
        found = event.item
        self._items[event.output_index] = item = Item(found)
        if found.type != "function_call":
            return ()
        return (ModelChunk(call_delta=(item.call, self._sending.names.own(found.name), "")),)

    def _done(self, event: Any) -> Iterable[ModelChunk]:
        item, found = self._item(event), event.item
        item.is_ended = True
        if found.type == "function_call":
            return self._called(item, found)
        if found.type == "message":
            return self._said(found)
        if found.type == "reasoning":
            return self._thought(item, found)
        return (ModelChunk(part=self._bound(found.type, _plain(found))),)

    def _called(self, item: Item, found: Any) -> Iterable[ModelChunk]:
        streamed = "".join(item.pieces)
        if not streamed and found.arguments:
            return (ModelChunk(call_delta=(item.call, "", found.arguments)),)
        if streamed != found.arguments:
            raise ModelStreamMalformedError(_MISSING, phase="parse")
        return ()

    def _said(self, found: Any) -> Iterable[ModelChunk]:
        notes = [note for content in found.content for note in getattr(content, "annotations", None) or ()]
        made = [ModelChunk(part=Citation(source=_source(note), span=_span(note))) for note in notes]
        phase = getattr(found, "phase", None)
        return [*made, ModelChunk(part=self._bound(PHASE, phase))] if phase else made

    def _thought(self, item: Item, found: Any) -> Iterable[ModelChunk]:
        """Only what is encrypted can go back, since nothing is stored."""
        bound = self._bound(found.type, _plain(found)) if getattr(found, "encrypted_content", None) else None
        text = "".join(item.pieces)
        if text:
            return (ModelChunk(part=Thinking(text, bound)),)
        return (ModelChunk(part=bound),) if bound is not None else ()

    # --- the end

    def _completed(self, event: Any) -> Iterable[ModelChunk]:
        """The end, as its own status says: a gateway may end every stream with the same event."""
        otherwise = {"incomplete": self._incomplete, "failed": self._failed}.get(event.response.status or "")
        return self._whole(event) if otherwise is None else otherwise(event)

    def _whole(self, event: Any) -> Iterable[ModelChunk]:
        if not all(item.is_ended for item in self._items.values()):
            raise ModelStreamMalformedError(_MISSING, phase="parse")
        called = any(item.type == "function_call" for item in self._items.values())
        return self._finished(event, "refused" if self._refused else "tool_calls" if called else "stop")

    def _incomplete(self, event: Any) -> Iterable[ModelChunk]:
        details = getattr(event.response, "incomplete_details", None)
        return self._finished(event, _INCOMPLETE.get(getattr(details, "reason", None) or "", "other"))

    def _finished(self, event: Any, reason: FinishReason) -> Iterable[ModelChunk]:
        self._finish = Finish(reason, _used(event.response), getattr(event.response, "model", None))
        return ()

    def _failed(self, event: Any) -> Iterable[ModelChunk]:
        error = event.response.error
        message = getattr(error, "message", None) or "the response failed, and nothing says why"
        raise fault_in_stream(message, _codes(error), usage=_used(event.response))

    def _error(self, event: Any) -> Iterable[ModelChunk]:
        raise fault_in_stream(event.message, _codes(event))

    def _end(self) -> ModelChunk:
        if not self._came:
            raise ModelEmptyResponseError("the answer has no event in it", phase="parse")
        if self._finish is None:
            raise ModelStreamError(
                f"the stream of `{self._model}` ended before its response was complete", phase="stream"
            )
        return ModelChunk(finish=self._finish)

    def _item(self, event: Any) -> Item:
        item = self._items.get(event.output_index)
        if item is None or item.is_ended:
            raise ModelStreamMalformedError(_MISSING, phase="parse")
        return item

    def _bound(self, kind: str, data: Any) -> Opaque:
        return Opaque(provider=PROVIDER, model=self._model, kind=kind, data=data)


class Item:
    """An item of the output while it is streamed."""

    __slots__ = ("call", "is_ended", "pieces", "type")

    def __init__(self, first: Any) -> None:
        self.type: str = first.type
        self.call: str = getattr(first, "call_id", None) or getattr(first, "id", None) or ""
        """The id of the call, where it is one."""
        self.pieces: list[str] = []
        """Arguments or thinking, as they came."""
        self.is_ended = False


def _plain(item: Any) -> Any:
    """The item as it came."""
    return item.to_dict(mode="json", exclude_none=True, warnings=False)


def _codes(error: Any) -> tuple[str, ...]:
    found = (getattr(error, name, None) for name in ("code", "type"))
    return tuple(str(code) for code in found if code and code != "error")


def _used(response: Any) -> Usage | None:
    """The counts of a response; what was cached is a part of the input."""
    usage = getattr(response, "usage", None)
    if usage is None:
        return None
    before, after = getattr(usage, "input_tokens_details", None), getattr(usage, "output_tokens_details", None)
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=getattr(before, "cached_tokens", None),
        cache_write_tokens=getattr(before, "cache_write_tokens", None),
        thinking_tokens=getattr(after, "reasoning_tokens", None),
        source="provider",
    )


def _source(note: Any) -> str:
    for name in ("url", "filename", "file_id"):
        value = getattr(note, name, None)
        if value:
            return str(value)
    return "unknown"


def _span(note: Any) -> tuple[int, int] | None:
    begin, end = getattr(note, "start_index", None), getattr(note, "end_index", None)
    return None if begin is None or end is None else (begin, end)


__all__ = ["Item", "Receiving"]
