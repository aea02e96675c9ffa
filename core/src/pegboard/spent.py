"""What earlier lives of a run used in steps that are read back: it counts in the result, and against the budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from pegboard.events import Event
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
    for lost in lost_attempts(run.journal.events):
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


class Lost(msgspec.Struct, frozen=True):
    """What an attempt used that came to nothing."""

    model: str
    usage: Usage
    held: dict[str, float] = {}
    """What it counts against the budget, by unit."""


def lost_attempts(events: Iterable[Event]) -> Sequence[Lost]:
    """Of the model requests among events those that failed after they were sent, or have no end."""
    lost: list[Lost] = []
    going_on: dict[str, _Attempt] = {}
    for event in events:
        data, kind = event.data, event.kind
        if kind == "model.requested" and going_on:
            next(reversed(going_on.values())).was_sent = True
        elif kind == "budget.reserved" and data["step"] in going_on:
            going_on[data["step"]].held = data["amounts"]
        elif data.get("op") == "model.request":
            attempt = going_on.pop(data["step"], None)
            if attempt is not None and kind == "step.started" and attempt.was_sent:  # another life was cut off in it
                lost.append(Lost(attempt.model, Usage(), attempt.held))
            if kind == "step.started":
                going_on[data["step"]] = _Attempt(data["model"])
            elif kind == "step.failed" and "usage" in data and attempt is not None:
                usage = msgspec.convert(data["usage"], Usage)
                lost.append(Lost(attempt.model, usage, data.get("held", {})))
    return [*lost, *(Lost(each.model, Usage(), each.held) for each in going_on.values() if each.was_sent)]


class _Attempt:
    __slots__ = ("held", "model", "was_sent")

    def __init__(self, model: str) -> None:
        self.model = model
        self.was_sent = False
        self.held: dict[str, float] = {}
