"""Thinking that a server leaves in the text, as `<think>…</think>`, told apart however the deltas cut the tags."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Final, Literal

from pegboard.types import ModelChunk

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


class ThinkingSplitter:
    """Takes text delta by delta, and gives it back as text and thinking.

    Only what an answer begins with is thinking: a model that writes about the tag further on is quoted, not obeyed.
    White space around the tags is dropped. What may be a part of a tag is held until more comes.
    """

    __slots__ = ("_has_thought", "_held", "_state")

    def __init__(self) -> None:
        self._state: Literal["begin", "thinking", "after", "text"] = "begin"
        self._held = ""
        self._has_thought = False
        """Whether there was anything between the tags yet."""

    def feed(self, text: str) -> Iterable[ModelChunk]:
        """What can be told so far."""
        if self._state == "text":
            return (ModelChunk(text=text),)
        self._held += text
        made: list[ModelChunk] = []
        while self._step(made):
            pass
        return made

    def end(self) -> Iterable[ModelChunk]:
        """What was held, since no more text comes; an answer may end within a tag."""
        held, self._held = self._held, ""
        if self._state == "thinking":
            return (ModelChunk(thinking=held.rstrip()),) if held.strip() else ()
        if not held:
            return ()
        self._state = "text"
        return (ModelChunk(text=held),)

    def _step(self, made: list[ModelChunk]) -> bool:
        """Take what is held as far as it is clear; whether a tag was passed, and more may be clear now."""
        return self._think(made) if self._state == "thinking" else self._speak(made)

    def _speak(self, made: list[ModelChunk]) -> bool:
        bare = self._held.lstrip()
        if bare.startswith(_OPEN):
            self._state, self._held, self._has_thought = "thinking", bare.removeprefix(_OPEN), False
            return True
        if self._state == "after":
            self._held = bare
        if not _OPEN.startswith(bare):
            made.append(ModelChunk(text=self._held))
            self._state, self._held = "text", ""
        return False

    def _think(self, made: list[ModelChunk]) -> bool:
        inside, closed, rest = self._held.partition(_CLOSE)
        clear = (inside if closed else inside[: len(inside) - _begun(inside)]).rstrip()
        self._held = rest if closed else inside[len(clear) :]
        if not self._has_thought:
            clear = clear.lstrip()
        if clear:
            self._has_thought = True
            made.append(ModelChunk(thinking=clear))
        if closed:
            self._state = "after"
        return bool(closed)


async def without_tags(chunks: AsyncGenerator[ModelChunk, None]) -> AsyncGenerator[ModelChunk, None]:
    """The chunks of an answer, with thinking that stood in its text told apart."""
    splitter = ThinkingSplitter()
    async for chunk in chunks:
        made = splitter.feed(chunk.text) if chunk.text is not None else (*splitter.end(), chunk)
        for one in made:
            yield one


def _begun(text: str) -> int:
    """How much of the end of a text may be the begin of the closing tag."""
    return next((size for size in range(len(_CLOSE) - 1, 0, -1) if text.endswith(_CLOSE[:size])), 0)


__all__ = ["ThinkingSplitter", "without_tags"]
