"""A dispatcher with plugins made of loose functions, a report that remembers, and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from pegboard import deadline
from pegboard.hookspecs import hookimpl, options_of
from pegboard.plugins.dispatch.dispatcher import CallRecord, Dispatcher


class Plugin:
    """A plugin object whose implementations are given by name."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            setattr(self, name, function if options_of(function) else hookimpl(function))


class Reported:
    """What the dispatcher reported."""

    def __init__(self) -> None:
        self.faults: list[tuple[CallRecord, BaseException]] = []
        self.calls: list[CallRecord] = []

    def fault(self, record: CallRecord, error: BaseException) -> None:
        self.faults.append((record, error))

    def called(self, record: CallRecord) -> None:
        self.calls.append(record)

    @property
    def codes(self) -> list[tuple[str, str | None]]:
        """Plugin and error code of each fault."""
        return [(record.plugin, record.error_code) for record, _ in self.faults]


class HandClock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Bench:
    """A dispatcher under test."""

    def __init__(self) -> None:
        self.report = Reported()
        self.clock = HandClock()
        self.quarantined: list[str] = []
        self.dispatcher = self._new()

    def _new(self, **options: Any) -> Dispatcher:
        return Dispatcher(self.report, self.clock, quarantine=self.quarantined.append, **options)

    def renew(self, **options: Any) -> None:
        """Start with another dispatcher."""
        self.dispatcher.close()
        self.dispatcher = self._new(**options)

    def add(self, plugin: str, **functions: Any) -> None:
        """Register a plugin made of `functions`."""
        self.dispatcher.register(plugin, Plugin(**functions))

    def plugin(self, **functions: Any) -> object:
        """A plugin made of `functions`, not registered."""
        return Plugin(**functions)

    @property
    def hooks(self) -> Any:
        """The hooks, callable with anything for an argument."""
        return self.dispatcher.hooks


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.dispatcher.close()


@pytest_asyncio.fixture
async def still_time() -> AsyncIterator[None]:
    """Time that stands still while anything can run, and is that of the next timer when all wait.

    So limits and pauses have their order whatever the machine is busy with. Not for tests with threads, whose work
    takes no time then.
    """
    loop: Any = asyncio.get_running_loop()
    select, now = loop._selector.select, loop.time()

    def wait(timeout: float | None) -> Any:
        nonlocal now
        found = select(0 if timeout else timeout)
        if timeout and not found:
            now += timeout
        return found

    loop._selector.select, loop.time = wait, lambda: now
    yield
    del loop._selector.select, loop.time


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled implementations have 20 ms, not a second."""
    monkeypatch.setattr(deadline, "GRACE_S", 0.02)


async def hang() -> None:
    """Wait for ever."""
    await asyncio.get_running_loop().create_future()


@pytest.fixture
def forever() -> Callable[[], Any]:
    return hang
