"""`FakeClock`: time that passes only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count


class FakeClock:
    """A clock for `Pegboard(clock=…)`: `time`, `monotonic` and `sleep` move with `advance` and with nothing else.

    clock = FakeClock()
    task = asyncio.create_task(retry(clock))
    await clock.sleeping()      # it waits for its delay
    clock.advance(30)
    await task
    """

    def __init__(self, at: float = 1_700_000_000.0) -> None:
        self._start = at
        self._passed = 0.0
        self._numbers = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrival = asyncio.Event()

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Seconds that passed since the clock was made."""
        return self._passed

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiting = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._passed + seconds, next(self._numbers), waiting))
        self._arrival.set()
        self._arrival = asyncio.Event()
        await waiting

    def advance(self, seconds: float) -> None:
        """Let time pass. Whoever is due wakes in order of being due, and sees the new time."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._passed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._passed:
            _, _, waiting = heapq.heappop(self._sleepers)
            if not waiting.done():
                waiting.set_result(None)

    async def sleeping(self, count: int = 1) -> None:
        """Return when `count` tasks sleep."""
        while self.asleep < count:
            await self._arrival.wait()

    @property
    def asleep(self) -> int:
        """How many tasks sleep."""
        return sum(not waiting.done() for _, _, waiting in self._sleepers)


__all__ = ["FakeClock"]
