"""What is told about a call of one implementation, and to whom.

The dispatcher only says what happened; whether that becomes an event, a log line or a state of the plugin is the
host's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

Outcome = Literal["ok", "error", "timeout", "replaced", "asked", "denied"]


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One call of one implementation."""

    hook: str
    plugin: str
    dist: str | None = None
    version: str | None = None
    order: int = 0
    """Place in the order of the hook, 0 is first or outermost."""
    duration_ms: float | None = None
    """Only of hooks whose spec is timed, or with explaining on."""
    outcome: Outcome = "ok"
    error_code: str | None = None
    changed: Mapping[str, Any] | None = None
    """`pipeline` and `around` with explaining on: dotted path to `(before, after)`."""


class Report(Protocol):
    """Whoever wants to know. Both methods are called in the middle of a dispatch: be quick and do not raise."""

    def fault(self, record: CallRecord, error: BaseException) -> None:
        """An implementation failed and was isolated; `error` is what it raised, or what it was charged with."""

    def called(self, record: CallRecord) -> None:
        """A timed implementation came to its end."""
