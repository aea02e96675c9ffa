"""What was decided about the failures of one step: how often its model may still be asked depends on it."""

from __future__ import annotations

from pegboard.types import Fallback, RecoveryDecision


class Trouble:
    """What was decided about the failures of one step."""

    __slots__ = ("decided", "since")

    def __init__(self, since: float) -> None:
        self.decided: list[RecoveryDecision] = []
        self.since = since
        """When it failed for the first time, by the monotonic clock."""

    @property
    def repeats(self) -> int:
        """How often the present model was asked again."""
        fell_back = [index for index, decision in enumerate(self.decided) if isinstance(decision, Fallback)]
        return len(self.decided) - (fell_back[-1] + 1 if fell_back else 0)
