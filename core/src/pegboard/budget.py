"""The budget tree: what a run and its child runs may use, reserved before use and settled after.

One account per run, each with the account of its parent above it. There is no `await` between the check and the
reservation, so children that run at once cannot overspend together. What money buys is known in `prices`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from pegboard.errors import BudgetExceededError
from pegboard.interfaces import Clock
from pegboard.types import BudgetShare, Grant, ResourceLimits

Unit = Literal["tokens", "cost_usd", "tool_calls", "requests"]
_UNITS: tuple[Unit, ...] = ("tokens", "cost_usd", "tool_calls", "requests")
NOTHING: Mapping[Unit, float] = {}
WARN_AT = 0.8
"""Share of a limit from which on `budget.warning` is written, once; and once more when the limit is passed."""


class Account:
    """What one run has used, holds reserved, and may still use."""

    __slots__ = (
        "_clock", "_held", "_limits", "_used", "_warn", "_warned", "bound", "deadline", "name", "parent", "seconds",
    )  # fmt: skip

    def __init__(
        self,
        limits: ResourceLimits,
        clock: Clock,
        *,
        parent: Account | None = None,
        name: str = "run",
        warn: Callable[[str, Unit, float, float], None] | None = None,
    ) -> None:
        self.name = name
        self.parent = parent
        self._clock = clock
        self._warn = warn
        self._warned: set[str] = set()
        self._used: dict[str, float] = {}
        self._held: dict[str, float] = {}
        """What of that is reserved, and may not be used in the end."""
        self._limits: dict[str, float] = {
            unit: limit for unit in _UNITS if (limit := getattr(limits, unit)) is not None
        }
        self.seconds = limits.seconds
        self.deadline = None if limits.seconds is None else clock.monotonic() + limits.seconds
        self.bound: bool = bool(self._limits) or (parent is not None and parent.bound)
        """Whether any limit exists here or above; without one nothing has to be counted."""

    def limits(self, unit: Unit) -> bool:
        """Whether this unit is limited here or above."""
        return unit in self._limits or (self.parent is not None and self.parent.limits(unit))

    @property
    def limits_output(self) -> bool:
        """Whether the length of an answer counts here or above."""
        return self.limits("tokens") or self.limits("cost_usd")

    def remaining(self, what: Literal["tokens", "cost_usd", "seconds", "tool_calls", "requests"]) -> float | None:
        """What may still be used, here and in every account above; `None` is no limit."""
        if what == "seconds":
            own = None if self.deadline is None else max(0.0, self.deadline - self._clock.monotonic())
        else:
            own = self._limits[what] - self._used.get(what, 0.0) if what in self._limits else None
        above = self.parent.remaining(what) if self.parent else None
        return above if own is None else own if above is None else min(own, above)

    @property
    def time_limit(self) -> float | None:
        """The limit in seconds that ends first, here or above."""
        ending = [(account.deadline, account.seconds) for account in self._chain() if account.deadline is not None]
        return min(ending)[1] if ending else None

    def used(self, unit: Unit) -> float:
        """What was used or is reserved, child runs included."""
        return self._used.get(unit, 0.0)

    def reserve(self, amounts: Mapping[Unit, float], *, made_of: str = "") -> Reservation:
        """Set aside what a step may use at most; `made_of` says in a refusal where the number of tokens comes from.

        Raises:
            BudgetExceededError: it would pass a limit here or above; nothing was set aside.
        """
        for above, account in enumerate(self._chain()):
            account._check(amounts, made_of, above)
        for account in self._chain():
            account._add(amounts, held=amounts)
        return Reservation(self, dict(amounts))

    def charge(self, amounts: Mapping[Unit, float]) -> None:
        """Count what was used already, before anybody could be asked; never refused."""
        for account in self._chain():
            account._add(amounts)

    def used_up(self, unit: Unit, message: str) -> BudgetExceededError:
        """The error for what the tightest limit of a unit, here or above, has cut short."""
        limited = [(above, account) for above, account in enumerate(self._chain()) if unit in account._limits]
        above, tightest = min(limited, key=lambda pair: pair[1]._limits[unit] - pair[1].used(unit))
        error = BudgetExceededError(message)
        error.unit, error.limit, error.above = unit, tightest._limits[unit], above
        error.needed = (self.remaining(unit) or 0.0) + 1.0  # more than there is
        return error

    def extend(self, unit: str, amount: float, *, above: int = 0) -> None:
        """Raise a limit of this account, or of one so many above it; what is not limited stays so."""
        limits = self._chain()[above]._limits
        if unit in limits:
            limits[unit] += amount

    def _chain(self) -> Sequence[Account]:
        chain: list[Account] = [self]
        while chain[-1].parent is not None:
            chain.append(chain[-1].parent)
        return chain

    def _check(self, amounts: Mapping[Unit, float], made_of: str, above: int) -> None:
        for unit, amount in amounts.items():
            limit = self._limits.get(unit)
            if limit is not None and (short := self._used.get(unit, 0.0) + amount - limit) > 0:
                whose = "a run above this one" if above else "this run"
                explained = f" ({made_of})" if made_of and unit == "tokens" else ""
                sign = "$" if unit == "cost_usd" else ""
                word = "" if sign else f" {unit.removesuffix('s') if limit == 1 else unit}"
                error = BudgetExceededError(
                    f"the budget of {whose} is {sign}{limit:g}{word}: {sign}{self._used.get(unit, 0.0):g} are used or "
                    f"reserved, and this step may need {sign}{amount:g} more{explained}"
                )
                error.unit, error.limit, error.short, error.above, error.needed = unit, limit, short, above, amount
                raise error

    def _add(self, amounts: Mapping[Unit, float], *, held: Mapping[Unit, float] = NOTHING) -> None:
        """Count more, of which so much is only set aside: nobody is warned of what may still come back."""
        for unit, amount in amounts.items():
            total = self._used[unit] = self._used.get(unit, 0.0) + amount
            kept = self._held[unit] = self._held.get(unit, 0.0) + held.get(unit, 0.0)
            used, limit = total - kept, self._limits.get(unit)
            if limit and used >= WARN_AT * limit and self._warn:
                told = f"{unit} over" if used > limit else unit
                if told not in self._warned:
                    self._warned.add(told)
                    self._warn(self.name, unit, used / limit, limit)


class Reservation:
    """What was set aside for one step; settled or released exactly once."""

    __slots__ = ("_account", "_amounts", "_held")

    def __init__(self, account: Account, amounts: dict[Unit, float]) -> None:
        self._account = account
        self._amounts = amounts
        self._held = dict(amounts)

    @property
    def amounts(self) -> Mapping[Unit, float]:
        """What is set aside, or what was used in the end."""
        return self._amounts

    def settle(self, actual: Mapping[Unit, float]) -> None:
        """Replace the reservation by what was really used. A unit that is missing stands as reserved."""
        difference = {unit: actual.get(unit, amount) - amount for unit, amount in self._amounts.items()}
        returned = {unit: -amount for unit, amount in self._held.items()}
        for account in self._account._chain():
            account._add(difference, held=returned)
        self._held = {}
        self._amounts = {unit: actual.get(unit, amount) for unit, amount in self._amounts.items()}

    def release(self) -> None:
        """Nothing was used."""
        self.settle(dict.fromkeys(self._amounts, 0.0))


def tighter(a: ResourceLimits, b: ResourceLimits) -> ResourceLimits:
    """For each unit the smaller of two limits."""
    both = {name: (getattr(a, name), getattr(b, name)) for name in a.__struct_fields__}
    return ResourceLimits(
        **{name: min((v for v in pair if v is not None), default=None) for name, pair in both.items()}
    )


# --- sharing out -------------------------------------------------------------------------------------------------


def share_out(shares: Sequence[BudgetShare], total: int) -> Sequence[Grant]:
    """Minimums first, by priority raised by waiting; the remainder by weight up to each optimum.

    Whoever's minimum does not fit is deferred, never given a silent 0. The order of `shares` changes nothing.
    """
    ranked = sorted(shares, key=lambda share: (-(share.priority + share.waiting), -share.waiting, share.agent))
    granted: dict[str, int] = {}
    left = total
    for share in ranked:
        if share.min_tokens <= left:
            granted[share.agent] = share.min_tokens
            left -= share.min_tokens
    _fill([share for share in ranked if share.agent in granted], granted, left)
    return [
        Grant(agent=share.agent, tokens=granted.get(share.agent, 0), deferred=share.agent not in granted)
        for share in shares
    ]


def _fill(admitted: Sequence[BudgetShare], granted: dict[str, int], left: int) -> None:
    """Hand out what is left, up to each optimum.

    The k-th further token of an agent of weight w comes at level k/w, and tokens are handed out in the order of their
    levels. So more to share only continues the same sequence, and takes nothing from anybody.
    """
    if not admitted:
        return
    lowest = min(share.priority for share in admitted)
    weights = [share.priority - lowest + 1 for share in admitted]
    rooms = [max(0, share.optimal_tokens - share.min_tokens) for share in admitted]
    scale = math.lcm(*weights)

    def up_to(level: int) -> list[int]:
        return [min(room, weight * level // scale) for room, weight in zip(rooms, weights, strict=True)]

    reached, beyond = 0, max(rooms) * scale + 1
    while beyond - reached > 1:
        middle = (reached + beyond) // 2
        reached, beyond = (middle, beyond) if sum(up_to(middle)) <= left else (reached, middle)
    further = up_to(reached)
    for index, share in enumerate(admitted):
        # At the next level everybody takes one token at most, and not all of them may be there.
        more = min(up_to(reached + 1)[index] - further[index], left - sum(further))
        further[index] += more
        granted[share.agent] += further[index]
