"""What suspends has a limit; what is cancelled has a grace; what obeys neither is left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pegboard.errors import HookTimeoutError
from pegboard.hookspecs import hookimpl
from pegboard.types import Finding

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench

soon = hookimpl(timeout_s=0.01)


async def test_an_implementation_that_hangs_is_cancelled(bench: Bench, forever: Any) -> None:
    """It is told by `CancelledError`, may clean up, and the next one is asked."""
    seen: list[str] = []

    async def next_phase() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("cleaned up")
            raise
        return "late"

    bench.add("a", next_phase=soon(next_phase))
    bench.add("b", next_phase=lambda: "b")

    assert await bench.hooks.next_phase("ctx", "state", "x") == "b"
    assert seen == ["cleaned up"]
    assert bench.report.codes == [("a", "hook.timeout")]
    assert bench.report.faults[0][0].outcome == "timeout"


async def test_an_answer_after_the_limit_does_not_count(bench: Bench, forever: Any) -> None:
    """Swallowing the cancel and answering all the same is a timeout."""

    async def next_phase() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            return "late"
        return ""

    bench.add("a", next_phase=soon(next_phase))

    assert await bench.hooks.next_phase("ctx", "state", "x") is None
    assert isinstance(bench.report.faults[0][1], HookTimeoutError)


async def test_one_that_swallows_its_cancel_is_left_behind(bench: Bench, forever: Any, short_grace: None) -> None:
    """After its grace it is not resumed any more, and closed."""
    closed: list[str] = []

    async def next_phase() -> str:
        try:
            while True:
                try:
                    await forever()
                except asyncio.CancelledError:
                    continue
        finally:
            closed.append("closed")

    bench.add("a", next_phase=soon(next_phase))

    assert await bench.hooks.next_phase("ctx", "state", "x") is None
    assert closed == ["closed"]
    assert bench.report.codes == [("a", "hook.timeout")]


async def test_one_that_cannot_even_be_closed(bench: Bench, forever: Any, short_grace: None) -> None:
    """Code that catches everything for ever costs its memory, nothing else."""

    async def next_phase() -> str:
        while True:
            try:
                await forever()
            except BaseException:  # this is the point
                continue

    bench.add("a", next_phase=soon(next_phase))

    assert await bench.hooks.next_phase("ctx", "state", "x") is None
    assert bench.report.codes == [("a", "hook.timeout")]


STUBBORN = """
import asyncio
from pegboard.hookspecs import hookimpl
from pegboard import deadline
from pegboard.plugins.dispatch.dispatcher import Dispatcher

class Silent:
    def fault(self, record, error): print(record.error_code)
    def called(self, record): ...

class Clock:
    def monotonic(self): return 0.0

class Plugin:
    @hookimpl(timeout_s=0.01)
    async def settle_budget(self):
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except BaseException:
                continue

async def main():
    dispatcher = Dispatcher(Silent(), Clock())
    dispatcher.register("a", Plugin())
    await dispatcher.hooks.settle_budget("ctx", "settlement")

deadline.GRACE_S = 0.01
asyncio.run(main())
"""


def test_a_process_with_such_code_can_exit() -> None:
    """Also where finalising it would resume it for ever."""
    done = subprocess.run([sys.executable, "-c", STUBBORN], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "hook.timeout\n"


async def test_one_that_waits_for_a_stubborn_task(bench: Bench, forever: Any, short_grace: None) -> None:
    """The limit holds also where what is awaited does not let itself be cancelled."""
    stop = asyncio.Event()

    async def stubborn() -> None:
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(stubborn())

    async def next_phase() -> str:
        await task
        return "late"

    bench.add("a", next_phase=soon(next_phase))

    assert await bench.hooks.next_phase("ctx", "state", "x") is None
    assert bench.report.codes == [("a", "hook.timeout")]
    stop.set()
    await task


async def test_giving_way_for_ever_is_hanging(bench: Bench) -> None:
    """A loop of `sleep(0)` never waits for anything, and takes time all the same."""

    async def next_phase() -> str:
        while True:  # noqa: ASYNC110  # this is the point
            await asyncio.sleep(0)

    bench.add("a", next_phase=soon(next_phase))

    assert await bench.hooks.next_phase("ctx", "state", "x") is None
    assert bench.report.codes == [("a", "hook.timeout")]


async def test_it_runs_in_the_task_of_its_caller(bench: Bench) -> None:
    """Scopes and context variables of a task belong together; no task is made."""
    tasks: list[object] = []

    async def next_phase() -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0.001)
        tasks.append(asyncio.current_task())

    bench.add("a", next_phase=next_phase)
    await bench.hooks.next_phase("ctx", "state", "x")
    assert set(tasks) == {asyncio.current_task()}


@pytest.mark.usefixtures("still_time")
async def test_a_timeout_of_the_plugins_own(bench: Bench, forever: Any) -> None:
    """`asyncio.timeout` in a plugin works as ever, and is no cancel of the run."""

    async def next_phase(proposed: str) -> str:
        try:
            async with asyncio.timeout(0.01):
                await forever()
        except TimeoutError:
            await asyncio.sleep(0)
            return proposed
        return ""

    bench.add("a", next_phase=next_phase)

    assert await bench.hooks.next_phase("ctx", "state", "x") == "x"
    assert bench.report.faults == []


async def test_a_task_group_of_the_plugins_own(bench: Bench) -> None:
    """A group cancels its parent when a child fails; that is the plugin's error, not a cancel of the run."""

    async def child() -> None:
        await asyncio.sleep(0)
        raise ValueError("child")

    async def next_phase() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            await asyncio.sleep(60)

    bench.add("a", next_phase=next_phase)

    assert await bench.hooks.next_phase("ctx", "state", "x") is None
    assert bench.report.codes == [("a", "hook.failed")]


async def test_a_cancel_of_the_run_goes_up(bench: Bench, forever: Any) -> None:
    """The implementation may clean up; nobody is charged and nobody else is asked."""
    asked: list[str] = []
    started = asyncio.Event()

    async def next_phase() -> str:
        started.set()
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            asked.append("cleaned up")
        return ""

    bench.add("a", next_phase=next_phase)
    bench.add("b", next_phase=lambda: asked.append("b"))
    task = asyncio.create_task(bench.hooks.next_phase("ctx", "state", "x"))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert asked == ["cleaned up"]
    assert bench.report.faults == []


@pytest.mark.parametrize("manner", ["answers", "raises"])
async def test_a_cancel_of_the_run_cannot_be_swallowed(bench: Bench, forever: Any, manner: str) -> None:
    """The run ends all the same, whether the implementation then answers or raises something else."""
    started = asyncio.Event()

    async def next_phase() -> str:
        started.set()
        try:
            await forever()
        except asyncio.CancelledError:
            if manner == "raises":
                raise ValueError("instead") from None
        return "idle"

    bench.add("a", next_phase=next_phase)
    task = asyncio.create_task(bench.hooks.next_phase("ctx", "state", "x"))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.usefixtures("still_time")
async def test_a_run_that_is_cancelled_does_not_wait_for_ever(bench: Bench, forever: Any, short_grace: None) -> None:
    """After its grace the implementation is left behind, charged with a timeout, and the cancel goes up."""
    started = asyncio.Event()

    async def next_phase() -> str:
        while True:
            started.set()
            try:
                await forever()
            except asyncio.CancelledError:
                continue

    bench.add("a", next_phase=next_phase)
    task = asyncio.create_task(bench.hooks.next_phase("ctx", "state", "x"))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.report.codes == [("a", "hook.timeout")]


@pytest.mark.usefixtures("still_time")
async def test_cleanup_while_the_run_is_being_cancelled(bench: Bench, short_grace: None) -> None:
    """A hook that is called after the cancel has its whole limit, and not the grace of what was cancelled."""
    told: list[str] = []

    async def settle_budget() -> None:
        await asyncio.sleep(0.04)
        told.append("settled")

    bench.add("a", settle_budget=settle_budget)

    async def run() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await bench.hooks.settle_budget("ctx", "settlement")

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["settled"]


async def test_closing_the_caller_closes_the_implementation(bench: Bench, forever: Any) -> None:
    """A coroutine that is closed while it waits charges nobody, and asks nobody else."""
    seen: list[str] = []

    async def next_phase() -> str:
        try:
            await forever()
        finally:
            seen.append("closed")
        return ""

    bench.add("a", next_phase=next_phase)
    bench.add("b", next_phase=lambda: seen.append("b"))
    running = bench.hooks.next_phase("ctx", "state", "x")
    running.send(None)
    running.close()

    assert seen == ["closed"]
    assert bench.report.faults == []


@pytest.mark.usefixtures("still_time")
async def test_a_limit_may_only_be_shorter(bench: Bench, forever: Any) -> None:
    """An implementation cannot give itself more time than the hook has."""
    bench.add("a", redact=hookimpl(timeout_s=60)(forever))
    began = asyncio.get_running_loop().time()

    assert await bench.hooks.redact("ctx", "v", "log") == "[redaction failed]"
    assert asyncio.get_running_loop().time() - began < 5


@pytest.mark.usefixtures("still_time")
async def test_a_hook_without_a_limit(bench: Bench) -> None:
    """While a person thinks there is none; what is awaited arrives."""

    async def request_approval() -> None:
        await asyncio.sleep(0.001)

    bench.add("a", request_approval=request_approval)

    assert await bench.hooks.request_approval("ctx", "request") is None
    assert bench.report.faults == []


async def test_a_blocking_function_runs_in_a_thread(bench: Bench) -> None:
    """`blocking=True` keeps the loop free."""
    threads: list[threading.Thread] = []

    @hookimpl(blocking=True)
    def check_quality() -> list[Finding]:
        threads.append(threading.current_thread())
        return []

    bench.add("a", check_quality=check_quality)

    assert await bench.hooks.check_quality("ctx", "r") == [("a", [])]
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


async def test_a_blocking_function_that_hangs_is_left_behind(bench: Bench) -> None:
    """Its thread is abandoned; the run goes on."""
    release = threading.Event()

    @hookimpl(blocking=True, timeout_s=0.01)
    def next_phase() -> str:
        release.wait()
        return "late"

    bench.add("a", next_phase=next_phase)

    assert await bench.hooks.next_phase("ctx", "state", "x") is None
    assert bench.report.codes == [("a", "hook.timeout")]
    release.set()
