"""A plugin that holds the event loop is named, although nothing can stop it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from pegboard.errors import HookTimeoutError
from pegboard.plugins.dispatch.watchdog import Watchdog


async def test_a_stalled_loop_names_the_plugin_in_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    """The stack is logged while it stands still; the fault follows when it runs again."""
    stalled: list[tuple[str, str, BaseException]] = []
    told = asyncio.Event()
    noticed = threading.Event()

    def on_stall(plugin: str, function: str, error: BaseException) -> None:
        stalled.append((plugin, function, error))
        told.set()

    class Noticing:
        """A root mapping that says when it is read, so that the test need not guess a time."""

        def items(self) -> list[tuple[str, str]]:
            noticed.set()
            return [(str(Path(__file__).parent), "a")]

    def on_event() -> None:
        assert noticed.wait(10)

    watchdog = Watchdog(Noticing(), on_stall, limit_s=0.02)  # type: ignore[arg-type]  # the part that is used
    watchdog.start()
    on_event()
    await told.wait()
    watchdog.stop()

    plugin, _, error = stalled[0]
    assert plugin == "a"
    assert isinstance(error, HookTimeoutError)
    assert "plugin `a` held the event loop" in caplog.text
    assert "in on_event" in caplog.text


class Looks(threading.Event):
    """What the watchdog waits for; tells when it has looked at the loop so many times."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._left = count
        self._loop = asyncio.get_running_loop()
        self.done = asyncio.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self._left -= 1
        if self._left == 0:
            self._loop.call_soon_threadsafe(self.done.set)
        return super().wait(timeout)


async def test_a_loop_that_runs_is_left_alone() -> None:
    """Waiting is not standing still, however long it lasts."""
    stalled: list[str] = []
    watchdog = Watchdog({}, lambda plugin, function, error: stalled.append(plugin), limit_s=0.05)
    looks = watchdog._stopped = Looks(20)
    watchdog.start()
    await looks.done.wait()
    watchdog.stop()
    assert stalled == []
