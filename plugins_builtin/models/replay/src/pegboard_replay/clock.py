"""The time of recorded and replayed runs: it moves when something comes that a run waited for, and only for that run.

Each child run has a time of its own, which its parent takes over when it ends. So what a run sees does not depend on
how far others are by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final


class _Hand:
    """Where the clock stands for one run, in seconds."""

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at


_HAND: Final[ContextVar[_Hand | None]] = ContextVar("pegboard_replay_hand", default=None)


class SteppedClock:
    """`time` and `monotonic` of a clock that is set forward from outside; `started` is in seconds since the epoch."""

    def __init__(self, started: float) -> None:
        self.started = started
        self._outermost = _Hand(0.0)

    def time(self) -> float:
        """Seconds since the epoch, as far as this run has come."""
        return self.started + self._hand.at

    def monotonic(self) -> float:
        """Seconds since the recording began, likewise."""
        return self._hand.at

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Inside, a child run goes on with a time of its own."""
        token = _HAND.set(_Hand(self._hand.at))
        try:
            yield
        finally:
            _HAND.reset(token)

    def move(self, at: float) -> None:
        """Something came for this run."""
        hand = self._hand
        hand.at = max(hand.at, at)

    @property
    def _hand(self) -> _Hand:
        return _HAND.get() or self._outermost


__all__ = ["SteppedClock"]
