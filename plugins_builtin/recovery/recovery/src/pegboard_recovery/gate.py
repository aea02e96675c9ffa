"""A gate before one provider: after a refusal for too many requests all runs wait, and the rate returns slowly.

Numbers only: what waits, and by which clock, is not known here. So one gate serves any number of tasks.
"""

from __future__ import annotations

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


class Gate:
    """Says how long a request has to wait. All times are readings of one monotonic clock, in seconds."""

    __slots__ = ("_closed_until", "_interval_s", "_last_at", "_refused_at", "_sent", "_tickets")

    def __init__(self) -> None:
        self._closed_until = 0.0
        self._interval_s = 0.0
        self._last_at = 0.0
        self._refused_at = 0.0
        self._tickets = 0
        self._sent = 0
        """The highest ticket that has passed."""

    @property
    def is_open(self) -> bool:
        """Whether nothing waits here."""
        return self._interval_s == 0.0

    def ticket(self) -> int:
        """A place behind all who came before."""
        self._tickets += 1
        return self._tickets

    def wait_s(self, ticket: int, now: float) -> float:
        """How long to wait before asking again; 0 is to pass."""
        if now < self._closed_until:
            return self._closed_until - now
        if self.is_open:
            return 0.0
        ahead = max(1, ticket - self._sent)  # some of them may have been cancelled; time alone decides
        due = max(self._closed_until, self._last_at) + ahead * self._interval_s
        return max(0.0, min(due - now, LOOK_AGAIN_S))

    def passed(self, ticket: int, now: float) -> None:
        """The request is sent."""
        self._sent, self._last_at = max(self._sent, ticket), now

    def refused(self, began: float, now: float, retry_after_s: float | None) -> None:
        """A request that was sent at `began` was refused, for so long where the provider says so."""
        until = now + (PAUSE_S if retry_after_s is None else retry_after_s)
        self._closed_until = max(self._closed_until, until)
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


__all__ = [
    "FIRST_INTERVAL_S",
    "LONGEST_INTERVAL_S",
    "LOOK_AGAIN_S",
    "NO_INTERVAL_S",
    "PAUSE_S",
    "RETURN",
    "Gate",
]
