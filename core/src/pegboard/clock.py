"""The real clock, and what is measured with one."""

from __future__ import annotations

import asyncio
from time import monotonic, time

from pegboard.interfaces import Clock


class SystemClock:
    """The time of this machine."""

    time = staticmethod(time)
    monotonic = staticmethod(monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def elapsed_ms(clock: Clock, since: float) -> float:
    """Milliseconds since a reading of the monotonic clock, to the microsecond."""
    # int and not round: it is called some twenty times a run, and costs a fifth.
    return int((clock.monotonic() - since) * 1_000_000) / 1000


SYSTEM_CLOCK = SystemClock()
