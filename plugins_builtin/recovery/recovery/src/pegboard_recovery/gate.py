"""A gate before one provider: after a refusal for too many requests all runs wait, and the rate returns slowly.

Numbers only: what waits, and by which clock, is not known here. So one gate serves any number of tasks.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

PAUSE_S: Final = 1.0
"""How long nothing is sent after a refusal that did not say for how long."""
FIRST_INTERVAL_S: Final = 0.5
"""Between two requests after the first refusal; doubled by each further one."""
LONGEST_INTERVAL_S: Final = 30.0
LOOK_AGAIN_S: Final = 1.0
"""Whoever waits for others looks so often whether they are gone sooner than was thought."""
NO_INTERVAL_S: Final = 0.05
"""Below this the gate stands open again."""
RETURN: Final = 0.75
"""What each answer leaves of the interval."""
_LONGEST_S: Final = 1e9


class Gate:
    """Says how long a request has to wait. All times are readings of one monotonic clock, in seconds."""

    __slots__ = ("_closed_most_s", "_closed_until", "_interval_s", "_last_at", "_refused_at", "_tickets", "_waiting")

    def __init__(self, closed_most_s: float) -> None:
        self._closed_most_s = closed_most_s
        self._closed_until = 0.0
        self._interval_s = 0.0
        self._last_at = 0.0
        self._refused_at = 0.0
        self._tickets = 0
        self._waiting: list[int] = []
        """The tickets of those who wait, first come first."""

    @property
    def is_open(self) -> bool:
        """Whether nothing waits here."""
        return self._interval_s == 0.0

    def ticket(self) -> int:
        """A place behind all who came before; given back by `leave`."""
        self._tickets += 1
        self._waiting.append(self._tickets)
        return self._tickets

    def leave(self, ticket: int) -> None:
        """Whoever had the ticket waits no longer, and nobody behind waits for it."""
        del self._waiting[bisect_left(self._waiting, ticket)]

    def due_s(self, ticket: int, now: float) -> float:
        """How long it takes at most, if nothing more is refused, until the ticket passes."""
        if now >= self._closed_until and self.is_open:
            return 0.0
        place = bisect_left(self._waiting, ticket) + 1
        return max(0.0, max(self._closed_until, self._last_at) + place * self._interval_s - now)

    def wait_s(self, ticket: int, now: float) -> float:
        """How long to wait before asking again; 0 is to pass."""
        closed_s = self._closed_until - now
        return closed_s if closed_s > 0 else min(self.due_s(ticket, now), LOOK_AGAIN_S)

    def passed(self, now: float) -> None:
        """A request is sent by one that waited."""
        self._last_at = now

    def refused(self, began: float, now: float, retry_after_s: object) -> None:
        """A request that was sent at `began` was refused, for so long where the provider says so.

        However long that is, the gate is closed for `closed_most_s` at most: all runs stand behind it.
        """
        asked_s = seconds_asked(retry_after_s)
        pause_s = min(PAUSE_S if asked_s is None else asked_s, self._closed_most_s)
        self._closed_until = max(self._closed_until, now + pause_s)
        if self.is_open or began > self._refused_at:  # of many that were under way at once, one counts
            self._interval_s = min(max(2 * self._interval_s, FIRST_INTERVAL_S), LONGEST_INTERVAL_S)
            self._refused_at = now

    def answered(self, began: float) -> None:
        """A request that was sent at `began` was answered."""
        if self.is_open or began <= self._refused_at:
            return
        self._interval_s *= RETURN
        if self._interval_s < NO_INTERVAL_S:
            self._interval_s = 0.0


def seconds_asked(retry_after_s: object) -> float | None:
    """How long a provider asks to be left alone; `None` where it did not say, or what it said is no time.

    A model plugin of anybody's made the error, so its type promises nothing.
    """
    if not isinstance(retry_after_s, (int, float)) or isinstance(retry_after_s, bool):
        return None
    if retry_after_s != retry_after_s:  # NaN
        return None
    return float(max(0.0, min(retry_after_s, _LONGEST_S)))  # a whole number may be too long for a float


__all__ = [
    "FIRST_INTERVAL_S",
    "LONGEST_INTERVAL_S",
    "LOOK_AGAIN_S",
    "NO_INTERVAL_S",
    "PAUSE_S",
    "RETURN",
    "Gate",
    "seconds_asked",
]
