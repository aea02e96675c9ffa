"""Nests the implementations of an `around` hook, the first one outermost, around a body that core passes.

What a layer does wrong never costs the result of what it wraps: before `call_next` it is bypassed, after it the inner
result or error stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from time import perf_counter
from typing import Any

from pegboard.deadline import Pause, finish
from pegboard.errors import CallNextTwiceError, HookError, describe
from pegboard.plugins.dispatch.calls import Calls, goes_up
from pegboard.plugins.dispatch.diff import changes
from pegboard.plugins.dispatch.implementation import Implementation, starter

Body = Callable[[Any, Any], Awaitable[Any]]
_MISSING: Any = object()


class Layers:
    """All layers of one hook."""

    __slots__ = ("_calls", "_checked", "_depth", "_returns", "_starters", "_watched")

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._depth = len(calls.implementations)
        self._returns: type | tuple[type, ...] = calls.spec.returns or object
        self._checked = calls.check is not None
        self._starters = [starter(each, calls.spec.args) for each in calls.implementations]
        self._watched = [calls.watch.wants_success(each) for each in calls.implementations]

    async def dispatch(self, ctx: Any, value: Any, body: Body) -> Any:
        """Run all layers around `body(ctx, value)`."""
        return await self.run(0, ctx, value, body)

    async def run(self, index: int, ctx: Any, value: Any, body: Body) -> Any:
        """Run the layers from `index` on."""
        if index == self._depth:
            return await body(ctx, value)
        inward = _Inward(self, index, ctx, body)
        began = perf_counter()
        try:
            answer = await self._call(index, ctx, value, inward)
            if inward.inside:
                return await self._left_behind(index, inward, began, answer)
            if not isinstance(answer, self._returns):
                self._calls.wrong(index, answer)
            if self._checked and not inward.is_result(answer):
                self._calls.verify(index, answer, ctx, value)
        except BaseException as error:
            return await self._after_error(index, ctx, value, inward, began, error)
        finally:
            inward.error = None  # its traceback holds this frame, which holds it
        self._after_success(index, value, inward, began, answer)
        return answer

    def layer(self, index: int) -> Implementation:
        """The implementation of a layer."""
        return self._calls.implementations[index]

    def charge(self, index: int, error: BaseException) -> None:
        """Charge a layer with what it did after its end."""
        self._calls.fault(index, error, None, None)

    async def _call(self, index: int, ctx: Any, value: Any, inward: _Inward) -> Any:
        running = self._starters[index](ctx, value, inward.call_next)
        try:
            waiting = running.send(None)
            return await finish(running, waiting, self._calls.implementations[index], inward)
        except StopIteration as end:
            return end.value
        finally:
            inward.closed = True

    async def _left_behind(self, index: int, inward: _Inward, began: float, answer: Any) -> Any:
        """The layer returned and what it wraps still goes on, in a task of its own: it ends here, its answer stands."""
        await inward.cut()
        self._calls.fault(index, inward.refused("returned while its `call_next` was still under way"), began, None)
        if not isinstance(answer, self._returns):
            self._calls.wrong(index, answer)
        return answer

    async def _after_error(
        self, index: int, ctx: Any, value: Any, inward: _Inward, began: float, error: BaseException
    ) -> Any:
        if error is inward.error:
            raise error  # of the body or of a deeper layer, and not swallowed by this one
        if inward.inside and isinstance(error, asyncio.CancelledError) and goes_up(error):
            await inward.cut()
        self._calls.fault(index, error, began, None)
        if not inward.entered:
            return await self.run(index + 1, ctx, value, body=inward.body)
        return await inward.outcome(error, self._calls.implementations[index])

    def _after_success(self, index: int, value: Any, inward: _Inward, began: float, answer: Any) -> None:
        if self._watched[index]:
            self._calls.watch.succeeded(self._calls.implementations[index])
        if self._calls.timed or not inward.entered:
            changed = inward.changed(value, answer) if self._calls.explain else None
            self._calls.tell(index, began, "ok" if inward.entered else "replaced", changed)


class _Inward(Pause):
    """The way from one layer to what it wraps, during one call."""

    __slots__ = ("_ctx", "_given", "_index", "_layers", "_result", "_settled", "body", "closed", "entered", "error")

    def __init__(self, layers: Layers, index: int, ctx: Any, body: Body) -> None:
        super().__init__()
        self._layers = layers
        self._index = index
        self._ctx = ctx
        self.body = body
        self.entered = False
        self.closed = False
        """Whether the layer came to its end: nothing goes inward any more, or it would happen behind the run's back."""
        self.error: BaseException | None = None
        """What the inner body raised."""
        self._given = self._result = _MISSING
        self._settled: asyncio.Future[None] | None = None

    async def call_next(self, value: Any) -> Any:
        """Go on with `value`; at most once."""
        if self.entered:
            raise CallNextTwiceError("`call_next` was called a second time; the inner result of the first one stands")
        if self.closed:
            error = self.refused("called `call_next` after it had come to its end")
            # In no run: the one of the layer may be over, and nothing follows the end of its log.
            Context().run(self._layers.charge, self._index, error)
            raise error
        self.entered = True
        self.enter()
        self._given = value
        try:
            self._result = await self._layers.run(self._index + 1, self._ctx, value, self.body)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.leave()
            if self._settled is not None and not self._settled.done():
                self._settled.set_result(None)
        return self._result

    def is_result(self, answer: object) -> bool:
        """Whether an answer is what the inner body gave, untouched."""
        return answer is self._result

    async def outcome(self, error: BaseException, layer: Implementation) -> Any:
        """What the inner body did, when the layer failed with `error` after it had called it."""
        await self._end()
        if self._result is not _MISSING:
            return self._result
        if self.error is None or isinstance(self.error, asyncio.CancelledError):
            # The layer itself cancelled what it wraps, for example by a timeout around `call_next`: no result exists.
            text = f"plugin `{layer.plugin}` cut short what its `{layer.hook}` goes around: {describe(error)}"
            raise HookError(text, plugin=layer.plugin) from error
        raise self.error

    async def cut(self) -> None:
        """End the inner call, which goes on in a task of the plugin's own."""
        if isinstance(self.task, asyncio.Task) and self.task is not asyncio.current_task():
            self.task.cancel()
            await self._end()

    def refused(self, what: str) -> HookError:
        """The error of a layer that keeps its `call_next` beyond its time."""
        layer = self._layers.layer(self._index)
        return HookError(f"hook `{layer.hook}` of plugin `{layer.plugin}` {what}", plugin=layer.plugin)

    async def _end(self) -> None:
        if self.inside:  # in a task of the plugin's own, which it left behind
            self._settled = asyncio.get_running_loop().create_future()
            await self._settled

    def changed(self, value: Any, answer: Any) -> dict[str, Any]:
        """What the layer changed on the way in and on the way out."""
        found = {} if self._given is _MISSING else changes(value, self._given, "in")
        if self._result is not _MISSING:
            found |= changes(self._result, answer, "out")
        return found
