"""What was decided about the failures of one step: how often its model may still be asked depends on it."""

from __future__ import annotations

from pegboard.types import Extend, Fallback, RecoveryDecision


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
        repeats = 0
        for decision in self.decided:
            if isinstance(decision, Fallback):
                repeats = 0
            elif not isinstance(decision, Extend):  # it was not asked before
                repeats += 1
        return repeats
