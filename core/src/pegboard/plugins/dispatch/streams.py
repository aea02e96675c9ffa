"""Nests the transformers of a `stream` hook, the first one outermost: it has the last word on what is shown.

A transformer that fails is dropped and the stream passes through. What it was given since its last output is kept, so
that nothing is lost with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from time import perf_counter
from typing import Any

from pegboard import deadline
from pegboard.deadline import Pause, finish
from pegboard.errors import HookTypeError
from pegboard.plugins.dispatch.calls import Calls
from pegboard.plugins.dispatch.implementation import Implementation, starter

_HELD_ITEMS = 64
_END: Any = object()


def transformed(calls: Calls) -> Callable[[Any, AsyncIterator[Any]], AsyncGenerator[Any, None]]:
    """The dispatcher of a `stream` hook; the caller closes the source that it passes."""

    async def dispatch(ctx: Any, stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
        guards: list[AsyncGenerator[Any, None]] = []
        for index in reversed(range(len(calls.implementations))):
            stream = _Guard(calls, index, ctx, stream).items()
            guards.append(stream)
        try:
            async for item in stream:
                yield item
        finally:
            for guard in reversed(guards):
                await guard.aclose()

    return dispatch


class _Closing:
    """The limit of a transformer that is being closed."""

    def __init__(self, implementation: Implementation) -> None:
        self.hook = implementation.hook
        self.plugin = implementation.plugin
        self.limit_s: float | None = deadline.GRACE_S


class _Guard(Pause):
    """One transformer around one stream; its clock stands still while it waits for input."""

    __slots__ = (
        "_calls",
        "_ctx",
        "_error",
        "_feeding",
        "_held",
        "_implementation",
        "_index",
        "_kind",
        "_source",
        "_transformer",
    )

    def __init__(self, calls: Calls, index: int, ctx: Any, source: AsyncIterator[Any]) -> None:
        super().__init__()
        self._calls = calls
        self._index = index
        self._implementation = calls.implementations[index]
        self._source = source
        self._held: deque[Any] = deque(maxlen=_HELD_ITEMS)
        """What was handed in since the last output."""
        self._kind: type = object
        """Of what is handed in; what comes out must be of it too."""
        self._error: BaseException | None = None
        """What the source raised."""
        self._ctx = ctx
        self._feeding = self._feed()
        self._transformer: Any = None

    async def items(self) -> AsyncGenerator[Any, None]:
        """The transformed stream, or the stream as it is from where the transformer failed."""
        began = perf_counter()
        try:
            while True:
                try:
                    item = await self._next(self._transformer or self._start())
                    if not isinstance(item, self._kind) and item is not _END:
                        raise self._wrong(item)
                except BaseException as error:
                    self._judge(error, began)
                    break
                if item is _END:
                    self._after_success(began)
                    return
                self._held.clear()
                self.turn += 1
                yield item
        finally:
            await self._close()
        for item in self._held:
            yield item
        async for item in self._source:
            yield item

    def _start(self) -> Any:
        self._transformer = starter(self._implementation, self._calls.spec.args)(self._ctx, self._feeding)
        return self._transformer

    async def _feed(self) -> AsyncGenerator[Any, None]:
        while True:
            self.enter()
            try:
                item = await anext(self._source)
            except StopAsyncIteration:
                return
            except BaseException as error:
                self._error = error
                raise
            finally:
                self.leave()
            self._held.append(item)
            self._kind = item.__class__
            self.turn += 1
            yield item

    async def _next(self, transformer: Any) -> Any:
        """The next output, or `_END`."""
        step = anext(transformer)
        try:
            waiting = step.send(None)
        except StopIteration as end:
            return end.value
        except StopAsyncIteration:
            return _END
        try:
            return await finish(step, waiting, self._implementation, self)
        except StopAsyncIteration:
            return _END

    def _wrong(self, item: object) -> HookTypeError:
        plugin, wanted = self._implementation.plugin, self._kind.__name__
        text = f"plugin `{plugin}` gave `{type(item).__name__}` from `{self._calls.spec.name}`; it wants `{wanted}`"
        return HookTypeError(text, plugin=plugin)

    def _judge(self, error: BaseException, began: float) -> None:
        if error is self._error:
            raise error
        self._calls.fault(self._index, error, began, None)

    def _after_success(self, began: float) -> None:
        if self._calls.watch.wants_success(self._implementation):
            self._calls.watch.succeeded(self._implementation)
        if self._calls.timed:
            self._calls.tell(self._index, began, "ok", None)

    async def _close(self) -> None:
        """Close the transformer, without waiting for ever and without listening to it."""
        if self._transformer is None:
            return
        step = self._transformer.aclose()
        try:
            waiting = step.send(None)
            await finish(step, waiting, _Closing(self._implementation))
        except StopIteration:
            pass
        except BaseException as error:
            self._judge(error, perf_counter())
        await self._feeding.aclose()
