"""What a conversation has used and cost, by model, from the records of its runs. What is not known is said to be so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec
from pegboard.cli.render import escaped, table
from pegboard.events import Event
from pegboard.types import JsonObject, Usage
from pegboard.types.models import NO_USAGE

OTHERS: Final = "others"
"""Requests of child runs, and those that failed where several models were asked: a record has only their sum."""
_LEAST_USD: Final = 1e-12
"""Less is the rounding of a sum."""
Unit = Literal["tokens", "cost_usd"]
_Amount = TypeVar("_Amount", int, float)


class Spent(msgspec.Struct):
    """What went to one model, or altogether."""

    usage: Usage = NO_USAGE
    cost_usd: float | None = 0.0
    """`None` is unknown."""

    def add(self, usage: Usage, cost_usd: float | None) -> None:
        """Count more; unknown plus anything is unknown."""
        self.usage = self.usage + usage
        self.cost_usd = None if self.cost_usd is None or cost_usd is None else self.cost_usd + cost_usd


_UNKNOWN: Final = Spent(Usage(), None)


class Spending(msgspec.Struct):
    """What several runs used."""

    models: dict[str, Spent] = {}
    total: Spent = msgspec.field(default_factory=Spent)
    unpriced: set[str] = set()
    """The models whose cost is not known."""
    runs: int = 0
    lost_runs: int = 0
    """Runs whose record is not there any more, so that nothing of them is known."""

    def add_run(self, events: Sequence[Event]) -> None:
        """Count a run. What requests without an answer used is told at its end; where it was cut off, it is unknown."""
        counted = Spent()
        for model, usage, cost in _requests(events):
            self.models.setdefault(model, Spent()).add(usage, cost)
            counted.add(usage, cost)
        self.runs += 1
        finished = next((event.data for event in reversed(events) if event.kind == "run.finished"), None)
        if finished is None:
            rests = [(model, _UNKNOWN) for model in _unanswered(events)]
            self.unpriced.update(model for model, _ in rests)
        else:
            rest = _rest(finished, counted)
            rests = [] if rest is None else [(_whose(events), rest)]
            self.unpriced.update(finished["unpriced_models"])
        for model, spent in rests:
            self.models.setdefault(model, Spent()).add(spent.usage, spent.cost_usd)
            counted.add(spent.usage, spent.cost_usd)
        self.total.add(counted.usage, counted.cost_usd)

    def lose_run(self) -> None:
        """Count a run of which nothing is known."""
        self.lost_runs += 1
        self.total.add(Usage(), None)

    def to_json(self) -> JsonObject:
        """All of it as plain JSON."""
        data: JsonObject = msgspec.to_builtins(self)
        return {**data, "unpriced": sorted(self.unpriced)}

    def text(self) -> str:
        """A table of the models, and the total where all of it is known."""
        if not self.runs and not self.lost_runs:
            return "nothing was asked yet, and nothing was spent"
        head = ["MODEL", "REQUESTS", "IN", "CACHED", "OUT", "COST"]
        rows = [_row(escaped(name), spent) for name, spent in sorted(self.models.items(), key=_others_last)]
        lines = [table(head, [*rows, _row("total", self.total)])]
        if self.unpriced:
            names = ", ".join(map(escaped, sorted(self.unpriced)))
            lines.append(f"cost unknown of {names}: no price is known, or what was used was not told")
        if self.lost_runs:
            lines.append(f"{self.lost_runs} earlier runs are not in the store any more: what they used is not known")
        return "\n".join(lines)


def _others_last(item: tuple[str, Spent]) -> tuple[bool, str]:
    return item[0] == OTHERS, item[0]


def _row(name: str, spent: Spent) -> list[str]:
    usage = spent.usage
    cost = "unknown" if spent.cost_usd is None else f"${spent.cost_usd:.4f}"
    requests = "" if name == OTHERS else str(usage.requests)
    tokens = [_number(n) for n in (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens)]
    return [name, requests, *tokens, cost]


def _number(tokens: int | None) -> str:
    return "unknown" if tokens is None else str(tokens)


def _requests(events: Sequence[Event]) -> Iterator[tuple[str, Usage, float | None]]:
    """Each request that was answered: model, usage, cost."""
    models: dict[str, str] = {}
    for event in events:
        if event.data.get("op") != "model.request":
            continue
        if event.kind == "step.started":
            models[event.data["step"]] = event.data["model"]
        elif event.kind == "step.done":
            usage = msgspec.convert(event.data["usage"], Usage)
            yield models.get(event.data["step"], "unknown"), usage, event.data.get("cost_usd")


def _unanswered(events: Sequence[Event]) -> Iterator[str]:
    """The model of each request that has no answer; and others, where child runs are, whose requests are not here."""
    asked = {event.data["step"]: event.data["model"] for event in events if _is_request(event, "step.started")}
    started = Counter(event.data["step"] for event in events if _is_request(event, "step.started"))
    answered = Counter(event.data["step"] for event in events if _is_request(event, "step.done"))
    for step in (started - answered).elements():
        yield asked[step]
    if _delegated(events):
        yield OTHERS


def _delegated(events: Sequence[Event]) -> bool:
    return any(str(event.data.get("op", "")).startswith("agent.call") for event in events)


def held(events: Sequence[Event], unit: Unit) -> float | None:
    """What the requests of a run count as in its budget: what was used, or else reserved; `None` is unknown."""
    amounts: list[float | None] = [None] if _delegated(events) else []
    for event in events:
        if _is_request(event, "step.done"):
            amounts.append(event.data.get(unit))
        elif _is_request(event, "step.failed"):
            amounts.append(event.data.get("held", {}).get(unit, 0.0))
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _whose(events: Sequence[Event]) -> str:
    """To whom the requests went that were not answered: those of a run that asked one model, and no other agent."""
    asked = {event.data["model"] for event in events if _is_request(event, "step.started")}
    return asked.pop() if len(asked) == 1 and not _delegated(events) else OTHERS


def _is_request(event: Event, kind: str) -> bool:
    return event.kind == kind and event.data.get("op") == "model.request"


def _rest(finished: Mapping[str, Any], counted: Spent) -> Spent | None:
    """What a run used beside the requests that were counted, or `None` where that is nothing."""
    used, cost = finished["usage"], finished["cost_usd"]
    usage = Usage(
        _beside(used["input_tokens"], counted.usage.input_tokens),
        _beside(used["output_tokens"], counted.usage.output_tokens),
    )
    money = _beside(cost, counted.cost_usd)
    is_nothing = usage.total_tokens == 0 and money is not None and money < _LEAST_USD
    return None if is_nothing else Spent(usage, money)


def _beside(whole: _Amount | None, part: _Amount | None) -> _Amount | None:
    """What of the whole is not in the part; nothing, where the part is what is not known."""
    if part is None:
        return 0
    return None if whole is None else whole - part
