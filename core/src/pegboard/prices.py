"""What requests cost: finds the price of a model among the tables of plugins, and applies it to a usage.

Prices are data of plugins. What they cannot say of a request is unknown, and never 0 or a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from pegboard.types import Content, File, Message, Price, PriceTable, PriceTier, ToolResult, Usage

_DAY_S: Final = 86_400


class Quote(NamedTuple):
    """A price, and who says so."""

    price: Price
    dated: str
    source: str


_Candidate = tuple[str, str, int, Quote]
"""The date of the table, that of the row, and how exact its pattern is: the highest counts."""


class Prices:
    """The price tables of a board. A model is looked for once a day, however often it is asked."""

    __slots__ = ("_day", "_found", "_rows")

    def __init__(self, tables: Sequence[PriceTable] = ()) -> None:
        self._rows: dict[str, list[tuple[PriceTable, list[Price]]]] = {}
        for table in tables:
            for provider, rows in _by_provider(table.prices).items():
                self._rows.setdefault(provider, []).append((table, rows))
        self._found: dict[str, Quote | None] = {}
        self._day = -1

    def find(self, model: str, at: float) -> Price | None:
        """The price of a model (`provider:name`) at a time in seconds since the epoch."""
        quote = self.quote(model, at)
        return quote.price if quote is not None else None

    def quote(self, model: str, at: float) -> Quote | None:
        """The price of a model at a time, with its date and source."""
        day = int(at // _DAY_S)
        if day != self._day:
            self._found, self._day = {}, day
        if model not in self._found:
            self._found[model] = self._look_up(model, datetime.fromtimestamp(at, UTC).date().isoformat())
        return self._found[model]

    def _look_up(self, model: str, today: str) -> Quote | None:
        """Of several tables the one dated last counts, then the row that is valid last, then the longest pattern."""
        provider, _, name = model.partition(":")
        found = [
            candidate
            for table, rows in self._rows.get(provider, ())
            for candidate in _candidates(table, [row for row in rows if _fits(row, name)], today)
        ]
        return max(found, key=lambda candidate: candidate[:3])[3] if found else None


def _by_provider(rows: Iterable[Price]) -> Mapping[str, list[Price]]:
    found: dict[str, list[Price]] = {}
    for row in rows:
        found.setdefault(row.provider, []).append(row)
    return found


def _fits(row: Price, name: str) -> bool:
    if row.match:
        return re.search(row.match, name.lower()) is not None
    return fnmatchcase(name, row.model)


def _candidates(table: PriceTable, fitting: Sequence[Price], today: str) -> Iterable[_Candidate]:
    if table.ordered and fitting:
        first = fitting[0]
        fitting = [row for row in fitting if (row.model, row.match) == (first.model, first.match)]
    return [
        (table.dated, row.valid_from, len(row.model), Quote(row, table.dated, table.source))
        for row in fitting
        if row.valid_from <= today
    ]


# --- applied -----------------------------------------------------------------------------------------------------


def cost_of(price: Price | None, usage: Usage) -> float | None:
    """What a usage of one request costs in the price's currency, or `None` when price or usage is not known."""
    if price is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    rates = rates_for(price, usage.input_tokens)
    cached, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    plain = usage.input_tokens - cached - written
    parts = (
        plain * rates.input,
        cached * (rates.input if rates.cache_read is None else rates.cache_read),
        written * (rates.input if rates.cache_write is None else rates.cache_write),
        usage.output_tokens * rates.output,
    )
    return sum(parts) / 1_000_000


def most_cost(price: Price, input_tokens: int, output_tokens: int) -> float:
    """What a request can cost at most, whatever of it is read from a cache or written to one."""
    rates = rates_for(price, input_tokens)
    dearest = max(rates.input, rates.cache_read or 0.0, rates.cache_write or 0.0)
    return (input_tokens * dearest + output_tokens * rates.output) / 1_000_000


def rates_for(price: Price, input_tokens: int) -> Price | PriceTier:
    """The tier that a request of this length is in; it holds for all of its tokens."""
    reached = [tier for tier in price.tiers if input_tokens > tier.over_tokens]
    return max(reached, key=lambda tier: tier.over_tokens) if reached else price


def says_all(price: Price, messages: Iterable[Message], parts: Iterable[Content] = ()) -> bool:
    """Whether nothing in a request and its answer is priced apart."""
    if not price.apart:
        return True
    contents = [part for message in messages for part in message.parts]
    return not any(_kind(part) in price.apart for part in _flat([*contents, *parts]))


def _flat(parts: Iterable[Content]) -> Iterable[Content]:
    for part in parts:
        if isinstance(part, ToolResult):
            yield from part.content
        else:
            yield part


def _kind(part: Content) -> str:
    return part.media_type.partition("/")[0] if isinstance(part, File) else "text"
