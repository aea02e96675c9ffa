"""The chunks of a streamed chat completion as chunks of ours, with what must be there checked.

The SDK ends a cut stream without a word, and servers differ: calls without ids or with the same index, counts at the
end, in every chunk or never, a finish reason before the last call. All of that is taken; no finish reason is an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final
from uuid import uuid4

from pegboard.errors import ModelEmptyResponseError, ModelStreamError, ModelStreamMalformedError
from pegboard.types import Finish, ModelChunk, Usage
from pegboard.types.models import FinishReason

from pegboard_chatwire.dialect import Dialect
from pegboard_chatwire.sending import Sending

_REASONS: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "content_filter": "refused",
}


class Receiving:
    """One completion while it is streamed."""

    def __init__(self, sending: Sending, model: str, dialect: Dialect) -> None:
        self._sending = sending
        self._model = model
        self._dialect = dialect
        self._came = False
        self._answered_by: str | None = None
        self._calls: dict[int, tuple[str | None, str]] = {}
        """By index: the id that the server gave, and the one that the call has with us."""
        self._taken: set[str] = set()
        """Ids that calls of this answer have."""
        self._last = 0
        """The index of the call that is being streamed, for servers that do not say."""
        self._refused = False
        self._reason: str | None = None
        self._usage: Usage | None = None

    async def chunks(self, events: AsyncIterator[Any]) -> AsyncIterator[ModelChunk]:
        """What the events hold, to the finish.

        Raises:
            ModelEmptyResponseError: not a single event came.
            ModelStreamError: the stream ended early.
            ModelStreamMalformedError: an event was not of the protocol.
        """
        for omission in self._sending.omitted:
            yield ModelChunk(omitted=omission)
        async for event in events:
            try:
                made = self._take(event)
            except (AttributeError, TypeError) as exc:
                raise ModelStreamMalformedError(f"an event of the stream lacks a field: {exc}", phase="parse") from exc
            for chunk in made:
                yield chunk
        yield self._finish()

    def _take(self, event: Any) -> Iterable[ModelChunk]:
        self._came = True
        choices, usage = event.choices, event.usage
        if usage is not None:
            self._usage = _used(usage)
        if not choices:
            return ()
        choice = choices[0]
        if choice.finish_reason is not None:
            self._reason, self._answered_by = choice.finish_reason, event.model
        delta = choice.delta
        if delta is None:
            return ()
        if delta.tool_calls or delta.refusal or self._dialect.thinking:
            return self._more(delta)
        return (ModelChunk(text=delta.content),) if delta.content else ()

    def _more(self, delta: Any) -> Iterable[ModelChunk]:
        made: list[ModelChunk] = []
        thought = next((text for name in self._dialect.thinking if (text := getattr(delta, name, None))), None)
        if thought:
            made.append(ModelChunk(thinking=str(thought)))
        if delta.content:
            made.append(ModelChunk(text=delta.content))
        if delta.refusal:
            self._refused = True
            made.append(ModelChunk(text=delta.refusal))
        for call in delta.tool_calls or ():
            made += self._call(call)
        return made

    def _call(self, call: Any) -> Iterable[ModelChunk]:
        function, given = call.function, call.id or None
        name, arguments = (function.name or "", function.arguments or "") if function is not None else ("", "")
        index = getattr(call, "index", None)
        known = self._calls.get(self._last if index is None else index)
        if known is None or (given and known[0] != given) or (index is None and name):
            return (self._begin(index, given, name, arguments),)
        if index is not None:
            self._last = index
        return (ModelChunk(call_delta=(known[1], "", arguments)),) if arguments else ()

    def _begin(self, index: int | None, given: str | None, name: str, arguments: str) -> ModelChunk:
        """A call begins: it has a new index, a new id, or without either a name."""
        self._last = len(self._calls) if index is None else index
        id = given if given and given not in self._taken else f"call_{uuid4().hex}"
        self._taken.add(id)
        self._calls[self._last] = (given, id)
        return ModelChunk(call_delta=(id, self._sending.names.own(name), arguments))

    def _finish(self) -> ModelChunk:
        if not self._came:
            raise ModelEmptyResponseError("the answer has no event in it", phase="parse")
        if self._reason is None:
            raise ModelStreamError(f"the stream of `{self._model}` ended without a finish reason", phase="stream")
        if self._usage is None and self._dialect.usage == "required":
            # What ends the stream, `[DONE]`, is not to be seen through the SDK; the count comes right before it.
            raise ModelStreamError(f"the stream of `{self._model}` ended without the usage asked for", phase="stream")
        reason = _REASONS.get(self._reason, "other")
        if self._refused:
            reason = "refused"
        elif self._calls and reason == "stop":
            reason = "tool_calls"
        return ModelChunk(finish=Finish(reason, self._usage, self._answered_by))


def _used(usage: Any) -> Usage:
    """The counts of a completion, which are those of the whole; what was cached is a part of the input."""
    before, after = getattr(usage, "prompt_tokens_details", None), getattr(usage, "completion_tokens_details", None)
    return Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=getattr(before, "cached_tokens", None),
        cache_write_tokens=getattr(before, "cache_write_tokens", None),
        thinking_tokens=getattr(after, "reasoning_tokens", None),
        source="provider",
    )


__all__ = ["Receiving"]
