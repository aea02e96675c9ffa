"""Counts answers while they are streamed, where a budget limits them, so that no model can go on for ever."""

from __future__ import annotations

import msgspec

from pegboard.errors import ModelOutputLimitError
from pegboard.types import StreamEvent, ToolCall

CHARACTERS_A_TOKEN = 8
"""Above what any tokenizer makes of an answer on average: English has about 4.5, source code up to 7."""


class Meter:
    """Counts an answer while it is streamed, in characters, and cuts it where it cannot be within what was reserved.

    A model is told how long its answer may be. One that goes on is cut at `CHARACTERS_A_TOKEN` characters for each
    token, which is more than any tokenizer makes of a text of some length, so that no honest answer is cut.
    """

    __slots__ = ("_characters", "_in_calls", "_most")

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, tokens: int) -> None:
        """Another answer, of at most so many tokens."""
        self._most = tokens * CHARACTERS_A_TOKEN
        self._characters = 0
        self._in_calls = 0
        """Of those, what came as pieces of calls and is not part of a complete one yet."""

    @property
    def tokens(self) -> int:
        """About how many tokens came."""
        return self._characters // 4

    @property
    def is_over(self) -> bool:
        """Whether the answer was cut."""
        return self._characters > self._most

    def count(self, event: StreamEvent) -> None:
        """Add what came. Raises `ModelOutputLimitError`."""
        if isinstance(event.content, str):
            size = len(event.content) or 1  # a stream of nothing has an end as well
            if event.type == "tool_call_delta":
                self._in_calls += size
        elif isinstance(event.content, ToolCall):
            whole = len(event.content.raw_arguments or "") or len(msgspec.json.encode(event.content.arguments))
            size = max(0, whole - self._in_calls)
            self._in_calls = max(0, self._in_calls - whole)
        else:
            return
        self._characters += size
        if self._characters > self._most:
            raise ModelOutputLimitError(
                f"the answer was cut after {self._characters} characters: it is longer than what was reserved for it",
                stream_started=True,
            )
