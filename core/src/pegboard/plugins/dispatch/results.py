"""What the dispatchers of `collect` and `gate` hooks answer with."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from pegboard.types import Verdict

T = TypeVar("T")


class Collected(list[tuple[str, T]]):
    """`(plugin, value)` for each answer, in the order of the hook."""

    missing: tuple[tuple[str, str], ...] = ()
    """`(plugin, error code)` for each implementation that failed."""


class Verdicts(msgspec.Struct, frozen=True):
    """What a gate says: every opinion, and the one that holds."""

    verdict: Verdict | None
    """Deny beats ask beats allow; `None` when nobody had an opinion, and the hook's default holds."""
    opinions: tuple[tuple[str, Verdict], ...]
