"""What plugins did wrong, kept in bounds, and told to whoever asked."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from pegboard.plugins.dispatch.attribution import CallRecord

MAX_KEPT = 1000
OnFault = Callable[[CallRecord, BaseException], object]
OnCalled = Callable[[CallRecord], object]
_log = logging.getLogger("pegboard.plugins")


class Fault(NamedTuple):
    """One failure of an implementation or an activation."""

    record: CallRecord
    error: BaseException


class FaultLog:
    """The dispatcher's `Report`: keeps the newest faults and hands each on."""

    def __init__(self, on_fault: OnFault | None = None, on_called: OnCalled | None = None) -> None:
        self.kept: deque[Fault] = deque(maxlen=MAX_KEPT)
        self.count = 0
        """Of all faults, also of those that are not kept any more."""
        self._on_fault = on_fault
        self._on_called = on_called

    def fault(self, record: CallRecord, error: BaseException) -> None:
        """An implementation failed and was isolated."""
        self.kept.append(Fault(record, error))
        self.count += 1
        if self._on_fault is not None:
            self._tell(self._on_fault, record, error)

    def called(self, record: CallRecord) -> None:
        """A timed implementation came to its end."""
        if self._on_called is not None:
            self._tell(self._on_called, record)

    def since(self, count: int) -> list[Fault]:
        """The faults after the first `count`."""
        new = self.count - count
        return list(self.kept)[-new:] if new > 0 else []

    @staticmethod
    def _tell(listener: Callable[..., object], *args: object) -> None:
        # In the middle of a dispatch: what a listener does wrong must not become a fault of the plugin.
        try:
            listener(*args)
        except Exception:
            _log.exception("a listener for faults of plugins failed")
