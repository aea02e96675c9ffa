"""The pool of daemon threads: results, limits, and functions that nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import pytest
from pegboard.threads import DaemonPool

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture
def pool() -> Iterator[DaemonPool]:
    """Two threads at most, which end with the test."""
    made = DaemonPool(size=2, name="test-pool")
    yield made
    made.close()
    for thread in alive():
        thread.join(30)


def alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("test-pool")]


def threads() -> list[str]:
    return sorted(thread.name for thread in alive())


async def test_a_function_runs_in_a_thread_of_the_pool(pool: DaemonPool) -> None:
    """With its arguments and the caller's context variables, and its result comes back."""
    VARIABLE.set("set")

    def work(a: int, *, b: int) -> tuple[int, str, str]:
        return a + b, VARIABLE.get(), threading.current_thread().name

    assert await pool.run(work, 1, b=2) == (3, "set", "test-pool-1")


async def test_an_idle_thread_is_used_again(pool: DaemonPool) -> None:
    """A new one is started only when none is idle, and never more than the pool is large."""
    for _ in range(3):
        await pool.run(int)
    assert threads() == ["test-pool-1"]

    meeting = threading.Barrier(2, timeout=5)
    await asyncio.gather(*(pool.run(meeting.wait) for _ in range(6)))
    assert threads() == ["test-pool-1", "test-pool-2"]


def _fails() -> None:
    raise ValueError("no")


def _stops() -> None:
    raise StopIteration


def _exits() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("function", "error", "says"),
    [
        (_fails, ValueError, "no"),
        (_stops, RuntimeError, "function raised StopIteration"),
        (_exits, RuntimeError, "function raised SystemExit"),
    ],
)
async def test_an_error_comes_back(
    pool: DaemonPool, function: Callable[[], None], error: type[Exception], says: str
) -> None:
    """What a future refuses, or what would end the loop, as another error; the thread goes on."""
    with pytest.raises(error, match=says):
        await pool.run(function)

    assert await pool.run(int) == 0


async def test_an_abandoned_function_keeps_nobody_else_waiting(pool: DaemonPool) -> None:
    """Its thread does not count any more, and what it returns late is dropped."""
    release, begun = threading.Event(), threading.Semaphore(0)

    def hang() -> str:
        begun.release()
        release.wait(5)
        return "late"

    tasks = [asyncio.create_task(pool.run(hang)) for _ in range(2)]
    for _ in tasks:
        await asyncio.to_thread(begun.acquire)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    assert await pool.run(int) == 0
    release.set()


async def test_a_function_that_had_to_wait_may_be_abandoned_too(pool: DaemonPool) -> None:
    """It is never called."""
    release, called = threading.Event(), threading.Event()
    busy = [asyncio.create_task(pool.run(release.wait, 5)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting = asyncio.create_task(pool.run(called.set))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    release.set()
    await asyncio.gather(*busy)
    await pool.run(int)

    assert not called.is_set()


def test_a_loop_that_was_closed_hears_nothing(pool: DaemonPool) -> None:
    """A function that outlives its loop ends in silence."""
    begun, release, done = threading.Event(), threading.Event(), threading.Event()

    def late() -> None:
        begun.set()
        release.wait(5)
        done.set()

    async def leave() -> None:
        task = asyncio.create_task(pool.run(late))
        await asyncio.to_thread(begun.wait, 5)
        task.cancel()

    asyncio.run(leave())
    release.set()

    assert done.wait(5)


def test_a_closed_pool_has_no_threads() -> None:
    """Idle ones end, also when it is closed twice."""
    made = DaemonPool(size=2, name="test-pool")
    assert asyncio.run(made.run(int)) == 0
    (thread,) = [thread for thread in threading.enumerate() if thread.name.startswith("test-pool")]
    made.close()
    made.close()
    thread.join(5)

    assert threads() == []
