"""The budget tree: what a run and its child runs may use, reserved before use and settled after.

One account per run, each with the account of its parent above it. There is no `await` between the check and the
reservation, so children that run at once cannot overspend together. Prices are data of plugins.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from pegboard.errors import BudgetExceededError
from pegboard.interfaces import Clock
from pegboard.types import Price, PriceTable, ResourceLimits, Usage

Unit = Literal["tokens", "cost_usd", "tool_calls", "requests"]
_UNITS: tuple[Unit, ...] = ("tokens", "cost_usd", "tool_calls", "requests")
WARN_AT = 0.8
"""Share of a limit from which on `budget.warning` is written, once."""


class Account:
    """What one run has used, holds reserved, and may still use."""

    __slots__ = ("_clock", "_limits", "_used", "_warn", "_warned", "bound", "deadline", "name", "parent")

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
        self._limits: dict[str, float] = {
            unit: limit for unit in _UNITS if (limit := getattr(limits, unit)) is not None
        }
        self.deadline = None if limits.seconds is None else clock.monotonic() + limits.seconds
        self.bound: bool = bool(self._limits) or (parent is not None and parent.bound)
        """Whether any limit exists here or above; without one nothing has to be counted."""

    def limits(self, unit: Unit) -> bool:
        """Whether this unit is limited here or above."""
        return unit in self._limits or (self.parent is not None and self.parent.limits(unit))

    def remaining(self, what: Literal["tokens", "cost_usd", "seconds", "tool_calls", "requests"]) -> float | None:
        """What may still be used, here and in every account above; `None` is no limit."""
        if what == "seconds":
            own = None if self.deadline is None else max(0.0, self.deadline - self._clock.monotonic())
        else:
            own = self._limits[what] - self._used.get(what, 0.0) if what in self._limits else None
        above = self.parent.remaining(what) if self.parent else None
        return above if own is None else own if above is None else min(own, above)

    def used(self, unit: Unit) -> float:
        """What was used or is reserved, child runs included."""
        return self._used.get(unit, 0.0)

    def reserve(self, amounts: Mapping[Unit, float], *, made_of: str = "") -> Reservation:
        """Set aside what a step may use at most; `made_of` says in a refusal where the number of tokens comes from.

        Raises:
            BudgetExceededError: it would pass a limit here or above; nothing was set aside.
        """
        for account in self._chain():
            account._check(amounts, made_of, "this run" if account is self else "a run above this one")
        for account in self._chain():
            account._add(amounts)
        return Reservation(self, dict(amounts))

    def charge(self, amounts: Mapping[Unit, float]) -> None:
        """Count what was used already, before anybody could be asked; never refused."""
        for account in self._chain():
            account._add(amounts)

    def _chain(self) -> Sequence[Account]:
        chain: list[Account] = [self]
        while chain[-1].parent is not None:
            chain.append(chain[-1].parent)
        return chain

    def _check(self, amounts: Mapping[Unit, float], made_of: str, whose: str) -> None:
        for unit, amount in amounts.items():
            limit = self._limits.get(unit)
            if limit is not None and self._used.get(unit, 0.0) + amount > limit:
                explained = f" ({made_of})" if made_of and unit == "tokens" else ""
                raise BudgetExceededError(
                    f"the budget of {whose} is {limit:g} {unit}: {self._used.get(unit, 0.0):g} are used or reserved, "
                    f"and this step may need {amount:g} more{explained}"
                )

    def _add(self, amounts: Mapping[Unit, float]) -> None:
        for unit, amount in amounts.items():
            used = self._used[unit] = self._used.get(unit, 0.0) + amount
            limit = self._limits.get(unit)
            if limit and amount > 0 and used >= WARN_AT * limit and unit not in self._warned and self._warn:
                self._warned.add(unit)
                self._warn(self.name, unit, used / limit, limit)


class Reservation:
    """What was set aside for one step; settled or released exactly once."""

    __slots__ = ("_account", "_amounts")

    def __init__(self, account: Account, amounts: dict[Unit, float]) -> None:
        self._account = account
        self._amounts = amounts

    def settle(self, actual: Mapping[Unit, float]) -> None:
        """Replace the reservation by what was really used. A unit that is missing stands as reserved."""
        difference: dict[Unit, float] = {
            unit: actual[unit] - amount for unit, amount in self._amounts.items() if unit in actual
        }
        for account in self._account._chain():
            account._add(difference)
        self._amounts = {}

    def release(self) -> None:
        """Nothing was used."""
        self.settle(dict.fromkeys(self._amounts, 0.0))


def price_for(tables: Sequence[PriceTable], model: str) -> Price | None:
    """The price of a model (`provider:name`); of several, the one from the table dated last."""
    provider, _, name = model.partition(":")
    found = [
        (table.dated, price.valid_from, len(price.model), price)
        for table in tables
        for price in table.prices
        if price.provider == provider and fnmatch.fnmatchcase(name, price.model)
    ]
    return max(found, key=lambda row: row[:3])[3] if found else None


def cost_of(price: Price | None, usage: Usage) -> float | None:
    """What a usage costs in the price's currency, or `None` when price or usage is not known."""
    if price is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    plain = usage.input_tokens - cached - written
    parts = (
        plain * price.input,
        cached * (price.input if price.cache_read is None else price.cache_read),
        written * (price.input if price.cache_write is None else price.cache_write),
        usage.output_tokens * price.output,
    )
    return sum(parts) / 1_000_000
