"""A bounded pool of daemon threads for plain functions that block.

Not `concurrent.futures`: its threads are joined when the interpreter exits, so one function that never returns would
keep the process alive for ever. Here such a thread is abandoned and dies with the process.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class DaemonPool:
    """Runs functions in threads that nobody waits for at exit. A thread is started only when none is idle."""

    def __init__(self, size: int = 32, name: str = "pegboard") -> None:
        self._size = size
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    async def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """The result of `function`, run with a copy of the caller's context variables.

        When the caller is cancelled the thread goes on and its result is dropped.
        """
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._submit((lambda: context.run(function, *args, **kwargs), future, loop))
        return await future

    def close(self) -> None:
        """Let idle threads end; busy ones end after their job."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)
            self._threads = self._idle = 0

    def _submit(self, job: _Job) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, future, loop = job
            value: Any = None
            error: BaseException | None = None
            try:
                value = call()
            except BaseException as caught:
                error = caught
            with self._lock:
                self._idle += 1
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, future, value, error)
            del job, call, future, value, error


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):
        # A future refuses StopIteration, since it would end the coroutine that awaits it.
        future.set_exception(RuntimeError(f"function raised {error!r}"))
    else:
        future.set_exception(error)
