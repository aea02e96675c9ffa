"""How long runs are kept."""

from __future__ import annotations

import msgspec

_DAY_S = 24 * 60 * 60


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What is forgotten when the store is first written to; nothing by default."""

    keep_days: float | None = None
    keep_runs: int | None = None

    def __bool__(self) -> bool:
        return self.keep_days is not None or self.keep_runs is not None

    def oldest_at(self, now: float) -> float | None:
        """When the oldest run to be kept may have begun; `None` where age does not matter."""
        return None if self.keep_days is None else now - self.keep_days * _DAY_S


KEEP_ALL = Retention()
