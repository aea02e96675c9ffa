"""The messages of a conversation: an append-only log, views that cost nothing, and the repair of open calls.

A provider refuses a history in which a call has no result, so call and result are one unit here. What is shown to a
model, and how it is shortened, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

from pegboard.types import Message, ToolCall, ToolResult, tool_result


class MessageView(Sequence[Message]):
    """The first messages of a log, as they were when the view was made. Making one copies nothing."""

    __slots__ = ("_end", "_items")

    def __init__(self, items: list[Message], end: int) -> None:
        self._items = items
        self._end = end

    def to_list(self) -> list[Message]:
        """The messages as a list of its own."""
        return self._items[: self._end]

    def __len__(self) -> int:
        return self._end

    def __iter__(self) -> Iterator[Message]:
        return islice(self._items, self._end)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        if isinstance(index, slice):
            return self._items[: self._end][index]
        if index < 0:
            index += self._end
        if not 0 <= index < self._end:
            raise IndexError(index)
        return self._items[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == self._end and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]  # compares by content, as a list does

    def __repr__(self) -> str:
        return f"<{self._end} messages>"


def _same(a: object, b: object) -> bool:
    return a == b


class MessageLog(Sequence[Message]):
    """All messages of a conversation so far; grows, and never changes what it holds."""

    __slots__ = ("_items", "_measure", "_tokens")

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        if not messages:
            self._items: list[Message] = []
        elif isinstance(messages, MessageView):
            self._items = messages.to_list()  # was checked when it was made
        else:
            self._items = settled(messages)
        self._tokens: list[int] | None = None
        self._measure: Callable[[Message], int] | None = None

    def append(self, message: Message) -> None:
        """Add a message at the end."""
        self._items.append(message)

    def view(self) -> MessageView:
        """The messages so far; later ones do not show in it."""
        return MessageView(self._items, len(self._items))

    def tokens(self, measure: Callable[[Message], int] | None = None) -> int:
        """Tokens of all messages, estimated where nothing measures them. Each is counted once by one measure."""
        if self._tokens is None or self._measure != measure:
            self._tokens, self._measure = [], measure
        counts, measure = self._tokens, measure or estimate_message
        for message in islice(self._items, len(counts), None):
            counts.append((counts[-1] if counts else 0) + measure(message))
        return counts[-1] if counts else 0

    def settle(self, status: str = "cancelled") -> Sequence[ToolResult]:
        """Give every open call of the last turn a result; the results that were added."""
        if not self._items or _asks_nothing(self._items[-1]):
            return ()
        added = open_results(self._items, status)
        if added:
            self._items.append(Message("tool", added))
        return added

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        return self._items[index]

    def __repr__(self) -> str:
        return f"<log of {len(self._items)} messages>"


def _asks_nothing(message: Message) -> bool:
    return message.role == "user" or (message.role == "assistant" and not message.tool_calls)


def settled(messages: Iterable[Message]) -> list[Message]:
    """A history that every provider accepts: open calls get a result `unknown`, results without a call are dropped."""
    kept: list[Message] = []
    open_calls: dict[str, ToolCall] = {}
    for message in messages:
        if message.role == "tool":
            parts = tuple([part for part in message.parts if _belongs(part, open_calls)])
            if parts:
                kept.append(message if len(parts) == len(message.parts) else Message("tool", parts))
            continue
        if open_calls:
            _close(kept, open_calls)
        kept.append(message)
        if message.role == "assistant":
            open_calls = {call.id: call for call in message.tool_calls}
    _close(kept, open_calls)
    return kept


def turn_starts(messages: Sequence[Message]) -> list[int]:
    """The numbers of the messages with which turns begin.

    That is what a user said, but not what came while one was answered: there the same run speaks before and after it.
    """
    starts: list[int] = []
    following: list[str | None] = [None] * len(messages)
    run = None
    for index in range(len(messages) - 1, -1, -1):
        following[index] = run
        run = _run_of(messages[index]) or run
    run = None
    for index, message in enumerate(messages):
        if message.role == "user" and (run is None or run != following[index]):
            starts.append(index)
        run = _run_of(message) or run
    return starts


def _run_of(message: Message) -> str | None:
    return (message.metadata or {}).get("run") if message.role == "assistant" else None


def open_results(messages: Sequence[Message], status: str) -> tuple[ToolResult, ...]:
    """Results for the calls of the last turn that have none."""
    answered: set[str] = set()
    for message in reversed(messages):
        if message.role == "tool":
            answered.update(part.call_id for part in message.parts if isinstance(part, ToolResult))
            continue
        return tuple(_missing(call, status) for call in message.tool_calls if call.id not in answered)
    return ()


def _belongs(part: object, open_calls: dict[str, ToolCall]) -> bool:
    return not isinstance(part, ToolResult) or open_calls.pop(part.call_id, None) is not None


def _close(kept: list[Message], open_calls: dict[str, ToolCall]) -> None:
    if open_calls:
        kept.append(Message("tool", tuple(_missing(call, "unknown") for call in open_calls.values())))
        open_calls.clear()


def _missing(call: ToolCall, status: Any) -> ToolResult:
    text = "the call was interrupted" if status == "cancelled" else "it is not known what came of this call"
    return tool_result(call.id, text, status=status)


def estimate_tokens(text: str) -> int:
    """Tokens of a text by a safe rule of thumb: three ASCII characters a token, one for anything else.

    Measured source code has 4.5 characters a token, so this over-estimates on purpose; counters are plugins.
    """
    if text.isascii():
        return len(text) // 3 + 1
    wide = sum(1 for character in text if ord(character) > 127)
    return (len(text) - wide) // 3 + wide + 1


def estimate_message(message: Message, count: Callable[[str], int] = estimate_tokens) -> int:
    """Tokens of a message, its frame included; those of its texts as `count` says."""
    total = 4
    for part in message.parts:
        if isinstance(part, ToolResult):
            total += 8 + count(part.text)
        elif isinstance(part, ToolCall):
            total += 8 + count(part.raw_arguments or str(part.arguments))
        else:
            total += count(getattr(part, "text", "") or "") if hasattr(part, "text") else 256
    return total
