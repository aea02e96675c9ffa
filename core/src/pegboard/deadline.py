"""Drives an implementation that really suspends, under a time limit and in the task of its caller.

The same task always: scopes of anyio and `asyncio.timeout` are bound to it. So the driver stands between task and
implementation, waits on a future of its own, and can therefore also walk away from code that swallows its cancel.
What never suspends never comes here and pays nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from types import coroutine
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from pegboard.errors import HookError, HookTimeoutError
from pegboard.lazy import LazyModule

if TYPE_CHECKING:
    import ctypes
else:
    ctypes = LazyModule("ctypes")

GRACE_S = 1.0
"""What an implementation has to finish in after it was cancelled."""

_CLOSE_ATTEMPTS = 8

UNDER_WAY: ContextVar[Any] = ContextVar("pegboard_run", default=None)
"""The run that is under way in this task. Its `is_ending` is asked beside the task: `Task.uncancel` hides no cancel."""

_closing = 0


class AbandonedError(asyncio.CancelledError):
    """The run is being cancelled, and an implementation did not finish within its grace."""

    charged = False
    what = ""
    """What was left behind."""


class LeftBehind(BaseException):
    """Thrown into what is abandoned; no error, as `GeneratorExit` is none.

    That one closes, before Python 3.13, only what iterates over an async generator, and the generator itself lives on
    to swallow the cancel of whoever finalises it.
    """


class Suspended(Protocol):
    """A coroutine, or one step of an async generator."""

    def send(self, value: Any, /) -> Any: ...
    def throw(self, error: BaseException, /) -> Any: ...


class Limit(Protocol):
    """What the driver must know of an implementation."""

    @property
    def hook(self) -> str:
        """What is being called."""

    @property
    def plugin(self) -> str:
        """Whose it is."""

    @property
    def limit_s(self) -> float | None:
        """Seconds that it may take; `None` is no limit."""


class _Held(asyncio.Future[None]):
    """What an implementation waits for in the name of the host, so that its clock stands still."""


async def held(work: Coroutine[Any, Any, Any]) -> None:
    """Wait for `work`, which is the host's; the clock of the implementation that waits stands still meanwhile."""
    task = asyncio.ensure_future(work)
    alarm = _Held(loop=asyncio.get_running_loop())

    def wake(_: object) -> None:
        if not alarm.done():
            alarm.set_result(None)

    task.add_done_callback(wake)
    try:
        await alarm
        task.result()
    finally:
        task.cancel()


class Pause:
    """When the clock of an implementation stands still, because it waits for somebody else."""

    __slots__ = ("inside", "task", "turn")

    def __init__(self) -> None:
        self.inside = False
        self.task: object = None
        """In which it waits; not always that of the implementation, which may have started one of its own."""
        self.turn = 0
        """Counts what may each take the whole limit, as the items of a stream."""

    def enter(self) -> None:
        """The clock stops."""
        self.inside = True
        self.task = asyncio.current_task()

    def leave(self) -> None:
        """The clock goes on."""
        self.inside = False


_NEVER = Pause()


@coroutine
def finish(running: Suspended, waiting: object, limit: Limit, pause: Pause = _NEVER) -> Generator[Any, Any, Any]:
    """The result of `running`, which was stepped once and asked to wait for `waiting`.

    Raises:
        HookTimeoutError: it took longer than its limit; whatever it then did.
        CancelledError: the task is being cancelled; also when the implementation swallowed that.
    """
    driver = _Driver(running, limit, pause)
    while True:
        try:
            error = yield from driver.wait(waiting)
        except GeneratorExit:
            close(running)
            raise
        try:
            waiting = running.send(None) if error is None else running.throw(error)
        except StopIteration as end:
            driver.judge(None)
            return end.value
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            driver.judge(raised)
            raise


def close(running: Suspended) -> None:
    """End it without listening to what it has to say."""
    global _closing
    _closing += 1
    try:
        running.throw(LeftBehind())
        for _ in range(_CLOSE_ATTEMPTS):
            running.throw(GeneratorExit())
    except KeyboardInterrupt:
        raise
    except BaseException:
        return
    finally:
        _closing -= 1
    # It refuses even to be closed. A reference too many, so that it is never finalised: that would resume it once
    # more, at a random place or while the interpreter exits, where it may loop for ever.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(running))


def is_closing() -> bool:
    """Whether a coroutine is being closed just now, so that what ends it was raised by nobody, and waits for nobody."""
    return _closing > 0


def at_once(work: Suspended) -> Any:
    """The result of what may not wait; `None` where it wanted to, and was closed instead."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    close(work)
    return None


class _Driver:
    __slots__ = ("_baseline", "_cancelled", "_grace_s", "_left_s", "_limit", "_loop", "_overdue", "_pause", "_run",
                 "_running", "_task", "_turn")  # fmt: skip

    def __init__(self, running: Suspended, limit: Limit, pause: Pause) -> None:
        self._running = running
        self._limit = limit
        self._pause = pause
        self._turn = pause.turn
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        # Cleanup hooks are called while the task is being cancelled already; only a further cancel concerns them.
        self._baseline = self._cancels()
        run = UNDER_WAY.get()
        self._run = None if run is None or run.is_ending else run
        self._left_s = limit.limit_s
        self._grace_s = GRACE_S
        self._overdue = False
        self._cancelled: BaseException | None = None

    def wait(self, waiting: object) -> Generator[Any, Any, BaseException | None]:
        """Wait for what the implementation waits for; what to throw into it then, or `None` to resume it."""
        if self._pause.inside and self._pause.task is self._task:
            return self._pass_on(waiting)
        if self._pause.turn != self._turn:
            self._turn, self._left_s = self._pause.turn, self._limit.limit_s
        if waiting.__class__ is asyncio.Future and self._left_s is None and self._cancelled is None:
            return self._let_wait(waiting)
        return self._wait_for_future(waiting) if self._is_ordinary(waiting) else self._give_way(waiting)

    def judge(self, raised: BaseException | None) -> None:
        """The implementation came to its end; raise what counts instead of how it ended."""
        if self._cancelled is not None and self._is_being_cancelled():
            if not isinstance(raised, asyncio.CancelledError):
                raise self._cancelled
        elif self._overdue:
            raise self._timeout() from raised
        elif isinstance(raised, GeneratorExit):
            raise HookError(
                f"hook `{self._limit.hook}` of plugin `{self._limit.plugin}` raised GeneratorExit"
            ) from raised

    def _is_ordinary(self, waiting: Any) -> bool:
        if not asyncio.isfuture(waiting) or waiting is self._task or waiting.get_loop() is not self._loop:
            return False  # the task knows how to refuse it
        return bool(waiting._asyncio_future_blocking)

    def _is_being_cancelled(self) -> bool:
        if self._cancels() > self._baseline:
            return True
        return self._cancelled is not None and self._run is not None and bool(self._run.is_ending)

    def _pass_on(self, waiting: object) -> Generator[Any, Any, BaseException | None]:
        """Let the task itself wait, as if nobody stood between. Also for what only the task knows how to refuse."""
        try:
            yield waiting
        except GeneratorExit:
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                self._cancelled = error
            return error
        return None

    def _give_way(self, waiting: object) -> Generator[Any, Any, BaseException | None]:
        """A bare `yield`, as in `asyncio.sleep(0)`: resumed at once, but endless repetition costs time too."""
        began = self._loop.time()
        error = yield from self._pass_on(waiting)
        self._spend(self._loop.time() - began)
        allowed_s = self._allowed_s()
        if error is None and allowed_s is not None and allowed_s <= 0:
            return self._time_is_up()
        return error

    def _let_wait(self, waiting: Any) -> Generator[Any, Any, BaseException | None]:
        """Where no clock runs the task waits by itself for a plain future, which swallows no cancel.

        With a future of our own in between, whatever comes would take one more turn of the loop.
        """
        cancels = self._cancels()
        try:
            yield waiting
        except GeneratorExit:
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self._cancels() > cancels:
                self._cancelled = error
            return None if waiting.cancelled() else error
        return None

    def _cancels(self) -> int:
        return self._task.cancelling() if self._task is not None else 0

    def _wait_for_future(self, waiting: Any) -> Generator[Any, Any, BaseException | None]:
        waiting._asyncio_future_blocking = False  # as a task does with what it is given to wait for
        while True:
            cancelled = yield from self._sleep_until_done(waiting)
            if cancelled is not None:
                # As `Task.cancel` does: the future first, and the coroutine itself only if that was too late.
                self._cancelled = cancelled
                if not waiting.cancel(*cancelled.args[:1]):
                    return cancelled
            elif waiting.done():
                return None
            elif self._pause.inside:
                # In another task of the plugin's: somebody else's time was counted, so count anew.
                self._left_s, self._grace_s = self._limit.limit_s, GRACE_S
            else:
                error = self._time_is_up()
                if not waiting.cancel():
                    return error

    def _sleep_until_done(self, waiting: asyncio.Future[Any]) -> Generator[Any, Any, asyncio.CancelledError | None]:
        """Wait on a future of our own that is woken by `waiting` or by the clock; a cancel of the task is returned."""
        alarm = self._loop.create_future()

        def wake(_: object = None) -> None:
            if not alarm.done():
                alarm.set_result(None)

        allowed_s = self._allowed_s()
        is_held = isinstance(waiting, _Held) and not self._is_stopping()
        timer = None if allowed_s is None or is_held else self._loop.call_later(max(allowed_s, 0.0), wake)
        waiting.add_done_callback(wake)
        began = self._loop.time()
        try:
            yield from alarm
        except asyncio.CancelledError as error:
            return error
        finally:
            waiting.remove_done_callback(wake)
            if timer is not None:
                timer.cancel()
            self._spend(0.0 if is_held else self._loop.time() - began)
        return None

    def _is_stopping(self) -> bool:
        return self._overdue or self._is_being_cancelled()

    def _allowed_s(self) -> float | None:
        if self._is_stopping():
            return self._grace_s
        self._grace_s = GRACE_S
        return self._left_s

    def _spend(self, seconds: float) -> None:
        if self._is_stopping():
            self._grace_s -= seconds
        elif self._left_s is not None:
            self._left_s -= seconds

    def _time_is_up(self) -> BaseException:
        if self._is_stopping():
            self._abandon()
        self._overdue = True
        return asyncio.CancelledError()

    def _abandon(self) -> NoReturn:
        close(self._running)
        if self._is_being_cancelled():
            abandoned = AbandonedError(*(self._cancelled.args if self._cancelled is not None else ()))
            abandoned.what = f"{self._limit.plugin} `{self._limit.hook}`"
            raise abandoned
        raise self._timeout()

    def _timeout(self) -> HookTimeoutError:
        limit = self._limit
        return HookTimeoutError(
            f"hook `{limit.hook}` of plugin `{limit.plugin}` did not answer within {limit.limit_s:g} s",
            plugin=limit.plugin,
        )
