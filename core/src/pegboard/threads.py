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
from typing import Any, TypeVar, cast

T = TypeVar("T")


class _Job:
    """One call, from the moment it is asked for until its thread is done with it."""

    __slots__ = ("abandoned", "call", "future", "loop", "started")

    def __init__(self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.started = False
        self.abandoned = False


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
        job = _Job(lambda: context.run(function, *args, **kwargs), asyncio.get_running_loop())
        self._submit(job)
        try:
            return cast(T, await job.future)
        except asyncio.CancelledError:
            self._abandon(job)
            raise

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

    def _abandon(self, job: _Job) -> None:
        """Nobody waits for it any more: its thread does not count, so that it keeps nobody else from running."""
        with self._lock:
            if job.started and not job.abandoned:
                self._threads -= 1
            job.abandoned = True

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._lock:
                job.started = not job.abandoned
            error: BaseException | None = None
            value: Any = None
            if job.started:
                try:
                    value = job.call()
                except BaseException as caught:
                    error = caught
            with self._lock:
                if job.started and job.abandoned:
                    return  # another thread has taken its place
                self._idle += 1
            _hand_over(job, value, error)
            del job, value, error


def _hand_over(job: _Job, value: Any, error: BaseException | None) -> None:
    try:
        job.loop.call_soon_threadsafe(_settle, job.future, value, error)
    except RuntimeError:  # the loop was closed meanwhile, and nobody is left to be told
        return


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        future.set_exception(error)
    else:
        # A future refuses StopIteration, and SystemExit or KeyboardInterrupt of a worker thread would end the loop.
        future.set_exception(RuntimeError(f"function raised {type(error).__name__}"))
