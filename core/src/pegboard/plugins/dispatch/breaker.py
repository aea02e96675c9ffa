"""A circuit breaker per plugin and hook: what keeps failing is not asked for a while.

Time comes from the board's clock. Success costs nothing here: only implementations that failed lately report it.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pegboard.deadline import AbandonedError
from pegboard.errors import HookTimeoutError, where

if TYPE_CHECKING:
    from pegboard.interfaces import Clock

ERRORS_TO_OPEN = 3
TIMEOUTS_TO_OPEN = 2
FIRST_PAUSE_S = 30.0
LONGEST_PAUSE_S = 3600.0
OPENINGS_TO_QUARANTINE = 3
QUARANTINE_WINDOW_S = 24 * 3600.0

State = Literal["closed", "failing", "open", "half-open"]
_log = logging.getLogger("pegboard.plugins")


class _Circuit:
    """What is remembered of one implementation from its first failure to its next success."""

    __slots__ = ("errors", "pause_s", "reopens_at", "seen", "timeouts")

    def __init__(self) -> None:
        self.errors = 0
        self.timeouts = 0
        self.pause_s = 0.0
        """0 while it never opened."""
        self.reopens_at = 0.0
        self.seen: Counter[str] = Counter()


class Breaker:
    """Counts failures, and says who may be called.

    An opening lasts from the first refusal to the next success: a probe that fails prolongs it and is not another
    one, since else a plugin that is merely unreachable for two minutes would be quarantined.
    """

    def __init__(self, clock: Clock, quarantine: Callable[[str], object]) -> None:
        self._clock = clock
        self._quarantine = quarantine
        self._circuits: dict[tuple[str, str], _Circuit] = {}
        self._openings: dict[str, deque[float]] = {}

    def state(self, plugin: str, hook: str) -> State:
        """Whether to call it (`closed`), to call it and hear of success (`failing`, `half-open`), or not (`open`)."""
        circuit = self._circuits.get((plugin, hook))
        if circuit is None:
            return "closed"
        if not circuit.pause_s:
            return "failing"
        return "half-open" if self._clock.monotonic() >= circuit.reopens_at else "open"

    def reopens_at(self, plugin: str, hook: str) -> float:
        """When an open circuit may be tried again, on the monotonic clock."""
        return self._circuits[plugin, hook].reopens_at

    def failed(self, plugin: str, hook: str, error: BaseException) -> None:
        """Count a failure."""
        circuit = self._circuits.setdefault((plugin, hook), _Circuit())
        self._log_once(circuit, plugin, hook, error)
        circuit.errors += 1
        circuit.timeouts += is_timeout(error)
        if circuit.pause_s:
            self._prolong(circuit)
        elif circuit.errors >= ERRORS_TO_OPEN or circuit.timeouts >= TIMEOUTS_TO_OPEN:
            self._open(circuit, plugin, hook)

    def trip(self, plugin: str, hook: str, error: BaseException) -> None:
        """Open at once."""
        circuit = self._circuits.setdefault((plugin, hook), _Circuit())
        self._log_once(circuit, plugin, hook, error)
        if not circuit.pause_s:
            self._open(circuit, plugin, hook)

    def succeeded(self, plugin: str, hook: str) -> None:
        """One success closes the circuit and forgets the failures."""
        circuit = self._circuits.pop((plugin, hook), None)
        if circuit is not None and circuit.pause_s:
            _log.warning("plugin `%s` answers in hook `%s` again; it failed %s", plugin, hook, _summary(circuit))

    def forget(self, plugin: str) -> None:
        """The plugin is gone or was replaced."""
        self._openings.pop(plugin, None)
        for key in [key for key in self._circuits if key[0] == plugin]:
            del self._circuits[key]

    def _open(self, circuit: _Circuit, plugin: str, hook: str) -> None:
        circuit.pause_s = FIRST_PAUSE_S
        circuit.reopens_at = self._clock.monotonic() + FIRST_PAUSE_S
        _log.warning("plugin `%s` is not asked in hook `%s` for %g s: it failed %s", plugin, hook, FIRST_PAUSE_S,
                     _summary(circuit))  # fmt: skip
        self._count_opening(plugin)

    def _prolong(self, circuit: _Circuit) -> None:
        # A call that began before the opening may end after it; only a failed probe makes the pause longer.
        if self._clock.monotonic() >= circuit.reopens_at:
            circuit.pause_s = min(circuit.pause_s * 2, LONGEST_PAUSE_S)
            circuit.reopens_at = self._clock.monotonic() + circuit.pause_s

    def _count_opening(self, plugin: str) -> None:
        now = self._clock.monotonic()
        openings = self._openings.setdefault(plugin, deque(maxlen=OPENINGS_TO_QUARANTINE))
        openings.append(now)
        if len(openings) == OPENINGS_TO_QUARANTINE and now - openings[0] <= QUARANTINE_WINDOW_S:
            openings.clear()
            self._quarantine(plugin)

    def _log_once(self, circuit: _Circuit, plugin: str, hook: str, error: BaseException) -> None:
        text, place = _told(error), where(error)
        circuit.seen[text] += 1
        if circuit.seen[text] == 1:
            _log.warning("plugin `%s` failed in hook `%s`: %s%s", plugin, hook, text, f" ({place})" if place else "")


def is_timeout(error: BaseException) -> bool:
    """Whether an implementation was too slow, rather than wrong."""
    return isinstance(error, HookTimeoutError | AbandonedError)


def _told(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # an error whose text cannot be made must not become ours
        return type(error).__name__


def _summary(circuit: _Circuit) -> str:
    return ", ".join(f"{count} times {text}" for text, count in circuit.seen.most_common(3))
