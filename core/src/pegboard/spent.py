"""What earlier lives of a run used in steps that are read back: it counts in the result, and against the budget."""

from __future__ import annotations

from typing import Protocol

from pegboard.journal import Journal, Step
from pegboard.types import RunResult, Usage


class Run(Protocol):
    """What is needed of the run."""

    journal: Journal

    def add_usage(self, result: RunResult) -> None:
        """Add what a child run used to the run."""

    async def account_for(self, usage: Usage, model: str) -> float | None:
        """Add what a request used to the run; its cost."""

    def charge(self, **amounts: float | None) -> None:
        """Count against the budget."""


def count_child(run: Run, result: RunResult) -> None:
    """Count a child run that is read back."""
    used = result.usage
    run.add_usage(result)
    run.charge(requests=used.requests, tokens=used.total_tokens, cost_usd=result.cost_usd)


async def count_lost(run: Run) -> None:
    """Count in a resumed run what failed attempts of earlier lives used, or may have used."""
    for lost in run.journal.lost():
        cost = await run.account_for(lost.usage, lost.model)
        if lost.held:
            run.charge(**lost.held)
        else:
            run.charge(tokens=lost.usage.total_tokens, cost_usd=cost, requests=lost.usage.requests)


async def count_inside(run: Run, step: Step) -> None:
    """Count the child runs and model requests inside a step that is read back: this life does not come to them."""
    for found in run.journal.inside(step):
        if isinstance(found, RunResult):
            count_child(run, found)
        else:
            cost = await run.account_for(found.usage, found.model)
            run.charge(requests=1, tokens=found.usage.total_tokens, cost_usd=cost)
