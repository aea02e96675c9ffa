"""Nests the implementations of an `around` hook, the first one outermost, around a body that core passes.

What a layer does wrong never costs the result of what it wraps: before `call_next` it is bypassed, after it the inner
result or error stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from pegboard.errors import CallNextTwiceError, HookError
from pegboard.plugins.calls import Calls
from pegboard.plugins.deadline import Pause, finish
from pegboard.plugins.diff import changes
from pegboard.plugins.implementation import Implementation, starter

Body = Callable[[Any, Any], Awaitable[Any]]
_MISSING: Any = object()


class Layers:
    """All layers of one hook."""

    __slots__ = ("_calls", "_depth", "_returns", "_starters", "_watched")

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._depth = len(calls.implementations)
        self._returns: type | tuple[type, ...] = calls.spec.returns or object
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
            if not isinstance(answer, self._returns):
                self._calls.wrong(index, answer)
        except BaseException as error:
            return await self._after_error(index, ctx, value, inward, began, error)
        finally:
            inward.error = None  # its traceback holds this frame, which holds it
        self._after_success(index, value, inward, began, answer)
        return answer

    async def _call(self, index: int, ctx: Any, value: Any, inward: _Inward) -> Any:
        running = self._starters[index](ctx, value, inward.call_next)
        try:
            waiting = running.send(None)
        except StopIteration as end:
            return end.value
        return await finish(running, waiting, self._calls.implementations[index], inward)

    async def _after_error(
        self, index: int, ctx: Any, value: Any, inward: _Inward, began: float, error: BaseException
    ) -> Any:
        if error is inward.error:
            raise error  # of the body or of a deeper layer, and not swallowed by this one
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

    __slots__ = ("_ctx", "_given", "_index", "_layers", "_result", "_settled", "body", "entered", "error")

    def __init__(self, layers: Layers, index: int, ctx: Any, body: Body) -> None:
        super().__init__()
        self._layers = layers
        self._index = index
        self._ctx = ctx
        self.body = body
        self.entered = False
        self.error: BaseException | None = None
        """What the inner body raised."""
        self._given = self._result = _MISSING
        self._settled: asyncio.Future[None] | None = None

    async def call_next(self, value: Any) -> Any:
        """Go on with `value`; at most once."""
        if self.entered:
            raise CallNextTwiceError("`call_next` was called a second time; the inner result of the first one stands")
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

    async def outcome(self, error: BaseException, layer: Implementation) -> Any:
        """What the inner body did, when the layer failed with `error` after it had called it."""
        if self.inside:  # in a task of the plugin's own, which it left behind
            self._settled = asyncio.get_running_loop().create_future()
            await self._settled
        if self._result is not _MISSING:
            return self._result
        if self.error is None or isinstance(self.error, asyncio.CancelledError):
            # The layer itself cancelled what it wraps, for example by a timeout around `call_next`: no result exists.
            raise HookError(
                f"plugin `{layer.plugin}` cut short what its `{layer.hook}` goes around: {error}", plugin=layer.plugin
            ) from error
        raise self.error

    def changed(self, value: Any, answer: Any) -> dict[str, Any]:
        """What the layer changed on the way in and on the way out."""
        found = {} if self._given is _MISSING else changes(value, self._given, "in")
        if self._result is not _MISSING:
            found |= changes(self._result, answer, "out")
        return found
