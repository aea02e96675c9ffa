"""What each node may use of the tokens and the money that its workflow has.

Minimums of all nodes that are still to come are kept for them; the rest goes by priority. What a node leaves over comes
back. A node whose minimum does not fit waits until another one has left something.
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal

from pegboard.errors import BudgetExceededError
from pegboard.interfaces import RunContext
from pegboard.types import BudgetShare, ResourceLimits, RunResult

from pegboard_workflow.model import Share
from pegboard_workflow.plan import Plan, Step, targets_of

Unit = Literal["tokens", "cost_usd"]
_SCALE: Final[dict[Unit, int]] = {"tokens": 1, "cost_usd": 1_000_000}
"""Whole numbers are shared out: tokens, and millionths of a dollar."""
_LIMITS: Final = ("tokens", "cost_usd", "tool_calls", "requests")


class Ledger:
    """One unit of one run of a workflow."""

    def __init__(self, ctx: RunContext, plan: Plan, unit: Unit, total: float) -> None:
        self._ctx = ctx
        self._unit = unit
        self._scale = _SCALE[unit]
        self._pool = int(total * self._scale)
        self._shares = {step.name: self._share(step) for step in plan.steps if targets_of(step.node)}
        self._granted: dict[str, int] = {}
        self._returned = asyncio.Event()

    async def grant(self, step: Step) -> int | None:
        """What a node may use; `None` where it uses nothing of this. Waits where its minimum does not fit yet.

        Raises:
            BudgetExceededError: it does not fit, and nothing is out that could come back.
        """
        if step.name not in self._shares:
            return None
        while True:
            tokens = await self._offered(step.name)
            if tokens is not None:
                del self._shares[step.name]
                self._granted[step.name] = tokens
                self._pool -= tokens
                return tokens
            if not self._granted:
                need = self._shares[step.name].min_tokens / self._scale
                raise BudgetExceededError(
                    f"node `{step.name}` needs {need:g} {self._unit}, and {self._pool / self._scale:g} are left"
                )
            self._returned.clear()
            await self._returned.wait()

    def settle(self, step: Step, used: int) -> None:
        """A node is over: what it did not use comes back, or it is not going to ask."""
        self._shares.pop(step.name, None)
        granted = self._granted.pop(step.name, None)
        if granted is not None:
            self._pool += max(0, granted - used)
            self._returned.set()

    async def _offered(self, name: str) -> int | None:
        shares = list(self._shares.values())
        grants = await self._ctx.allocate(shares, max(0, self._pool))
        grant = next(grant for grant in grants if grant.agent == name)
        return None if grant.deferred else grant.tokens

    def _share(self, step: Step) -> BudgetShare:
        wish: Share | None = getattr(step.node, self._unit)
        least = 0 if wish is None else round(wish.min * self._scale)
        best = self._pool if wish is None else max(least, round((wish.optimal or wish.min) * self._scale))
        return BudgetShare(agent=step.name, min_tokens=least, optimal_tokens=best, priority=step.node.priority)


class Budget:
    """Both units."""

    def __init__(self, ctx: RunContext, plan: Plan) -> None:
        self._ledgers: dict[Unit, Ledger] = {}
        self._remaining = ctx.budget.remaining
        for unit in _SCALE:
            if any(getattr(step.node, unit) is not None for step in plan.steps):
                total = ctx.budget.remaining(unit)
                if total is not None:
                    self._ledgers[unit] = Ledger(ctx, plan, unit, total)

    @property
    def is_bounded(self) -> bool:
        """Whether anything is shared out at all."""
        return bool(self._ledgers)

    @property
    def is_of_the_workflow(self) -> bool:
        """Whether what passes a limit passes that of the whole workflow, and not a share or a limit of one node."""
        return not self.is_bounded and any(self._remaining(unit) is not None for unit in _LIMITS)

    async def open(self, step: Step) -> Purse:
        """What a node may use. Raises `BudgetExceededError`."""
        granted: dict[Unit, int] = {}
        for unit, ledger in self._ledgers.items():
            amount = await ledger.grant(step)
            if amount is not None:
                granted[unit] = amount
        return Purse(granted)

    def settle(self, step: Step, purse: Purse | None = None) -> None:
        """A node is over, or is never going to begin."""
        for unit, ledger in self._ledgers.items():
            ledger.settle(step, purse.used.get(unit, 0) if purse is not None else 0)


class Purse:
    """What one node may use, and what it has used."""

    def __init__(self, granted: dict[Unit, int]) -> None:
        self._granted = granted
        self.used: dict[Unit, int] = dict.fromkeys(granted, 0)

    def limits(self, among: int = 1) -> ResourceLimits | None:
        """The limits of one of so many child runs; `None` where nothing limits it."""
        if not self._granted:
            return None
        left = {unit: max(0, amount - self.used[unit]) // among for unit, amount in self._granted.items()}
        money = left.get("cost_usd")
        return ResourceLimits(tokens=left.get("tokens"), cost_usd=None if money is None else money / _SCALE["cost_usd"])

    def charge(self, result: RunResult) -> None:
        """A child run is over. What it used of money is not known where it has no price: then it was all of it."""
        if "tokens" in self.used:
            self.used["tokens"] += result.usage.total_tokens or 0
        if "cost_usd" in self.used:
            cost = result.cost_usd
            spent = self._granted["cost_usd"] if cost is None else round(cost * _SCALE["cost_usd"])
            self.used["cost_usd"] += spent


UNBOUNDED: Final = Purse({})
