"""`FunctionModel`: computes each turn from the request."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias, cast

from pegboard.model import ModelBase
from pegboard.types import ModelCapabilities, ModelChunk, ModelRequest, Usage

from pegboard_replay.scripted import CAPABLE
from pegboard_replay.turns import CUT, Item, Operation, TurnLike, compile_turn, end_of, has_end, operations_of, perform

Items: TypeAlias = AsyncGenerator[Item, None]
Answer: TypeAlias = TurnLike | Awaitable[TurnLike] | Items
"""A turn, now or later, or its items one after another."""


class FunctionModel(ModelBase):
    """Answers with what `function(request)` returns.

    `function` is `def` or `async def` and returns anything that can stand in a script, or is an async generator of the
    items of one turn. Any number of runs may use one model at once, as far as `function` allows.

        model = FunctionModel(lambda request: request.messages[-1].text.upper())
    """

    provider = "function"

    def __init__(
        self,
        function: Callable[[ModelRequest], Answer],
        *,
        name: str | None = None,
        split: int | None = None,
        usage: Usage | None = None,
        capabilities: ModelCapabilities = CAPABLE,
    ) -> None:
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        self._function = function
        self._split = split
        self._usage = usage
        self._capabilities = capabilities
        self._calls = 0

    def capabilities(self, model: str) -> ModelCapabilities:
        return self._capabilities

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Ask the function and play its answer."""
        answer = self._function(request)
        if inspect.isasyncgen(answer):
            async with aclosing(self._generated(cast(Items, answer), request)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        value = cast(TurnLike, await answer if inspect.isawaitable(answer) else answer)
        for operation in compile_turn(value, split=self._split, usage=self._usage, request=request):
            ready = await perform(operation, self._new_id)
            if ready is not None:
                yield ready

    async def _generated(self, items: Items, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        played: list[Operation] = []
        async with aclosing(items):
            async for item in items:
                if item is CUT:
                    return
                for operation in operations_of(item, self._split, request):
                    played.append(operation)
                    chunk = await perform(operation, self._new_id)
                    if chunk is not None:
                        yield chunk
        if not has_end(played):
            yield end_of(played, None, self._usage)

    def _new_id(self) -> str:
        self._calls += 1
        return f"call_{self._calls}"


__all__ = ["Answer", "FunctionModel", "Items"]
