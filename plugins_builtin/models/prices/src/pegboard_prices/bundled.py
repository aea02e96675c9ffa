"""The data of `genai-prices` as rows of ours. What our rows cannot say is left out, and its cost stays unknown.

Its matching is kept: of a provider's models the first whose clause fits counts, so the rows stand in its order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from genai_prices import types as theirs
from genai_prices.data import providers
from pegboard.types import Price, PriceTier

OUR_PROVIDERS: Final[Mapping[str, str]] = {"google": "gemini"}
"""Providers that have another name here."""
_RATES: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
}
_APART: Final = re.compile(r"(?:^|_)(audio|image|video)(?:_read|_write)?_mtok$")
_CHARGED_BESIDE: Final = frozenset({"cache_write_1h_mtok", "web_searches_kcount", "storage_searches_kcount"})
"""What a usage says nothing of: caches of an hour, and tools of the provider's own. Not part of a cost; see README."""
_UNKNOWN: Final[dict[str, Any]] = {"input": 0.0, "output": 0.0, "valid_from": "9999-12-31"}
"""A row that never counts."""
_DATE: Final = re.compile(r"\b20\d\d-[01]\d-[0-3]\d\b")
_SPECIAL: Final = re.compile(r"[*?\[]")


def rows() -> tuple[Price, ...]:
    """Every price that our rows can say."""
    return tuple(row for provider in providers for row in _rows_of(provider))


def inexpressible(provider: str) -> Mapping[str, str]:
    """The models of a provider (by its name there) that our rows cannot say, with the reason."""
    (found,) = [known for known in providers if known.id == provider]
    return {model.id: reason for model in found.models if (reason := _obstacle(model))}


def _rows_of(provider: theirs.Provider) -> Iterator[Price]:
    name = OUR_PROVIDERS.get(provider.id, provider.id)
    for model in provider.models:
        # Also what cannot be said has its rows: else a later model with a wider pattern would take its name.
        terms = [_UNKNOWN] if _obstacle(model) else list(_terms(model))
        for pattern in _patterns(model.match):
            yield from (Price(provider=name, **{**pattern, **each}) for each in terms)


# --- names -------------------------------------------------------------------------------------------------------


def _patterns(clause: Any) -> list[dict[str, Any]]:
    """What fits, as patterns where they can say it and a regular expression where not."""
    if isinstance(clause, theirs.ClauseOr):
        return [pattern for part in clause.or_ for pattern in _patterns(part)]
    text = _wildcard(clause)
    return [{"model": text}] if text is not None else [{"match": _regex(clause)}]


def _wildcard(clause: Any) -> str | None:
    text = getattr(clause, "equals", None) or getattr(clause, "starts_with", None) or getattr(clause, "ends_with", None)
    text = text or getattr(clause, "contains", None)
    if text is None or _SPECIAL.search(text) or text != text.lower():
        return None
    before = "" if isinstance(clause, theirs.ClauseEquals | theirs.ClauseStartsWith) else "*"
    after = "" if isinstance(clause, theirs.ClauseEquals | theirs.ClauseEndsWith) else "*"
    return f"{before}{text}{after}"


def _regex(clause: Any) -> str:
    """A regular expression that is found in the lower-case name exactly where the clause fits."""
    if isinstance(clause, theirs.ClauseRegex):
        return str(clause.regex)
    if isinstance(clause, theirs.ClauseAnd):
        return "^" + "".join(f"(?=.*?(?:{_regex(part)}))" for part in clause.and_)
    if isinstance(clause, theirs.ClauseOr):
        return "|".join(f"(?:{_regex(part)})" for part in clause.or_)
    if isinstance(clause, theirs.ClauseEquals):
        return rf"^{re.escape(clause.equals.lower())}\Z"
    if isinstance(clause, theirs.ClauseStartsWith):
        return f"^{re.escape(clause.starts_with.lower())}"
    if isinstance(clause, theirs.ClauseEndsWith):
        return rf"{re.escape(clause.ends_with.lower())}\Z"
    return re.escape(str(clause.contains).lower())


# --- prices ------------------------------------------------------------------------------------------------------


def _obstacle(model: theirs.ModelInfo) -> str:
    """Why our rows cannot say what a model costs; empty where they can."""
    for condition in _conditions(model):
        if not isinstance(condition.constraint, theirs.StartDateConstraint | None):
            return "its price depends on the time of day"
        known = {key for key, value in vars(condition.prices).items() if value is not None}
        if not {"input_mtok", "output_mtok"} <= known:
            return "it is not priced by tokens in and out"
        odd = {key for key in known - _RATES.keys() - _CHARGED_BESIDE if not _APART.search(key)}
        if odd:
            return f"it is priced by {', '.join(sorted(odd))}"
    return ""


def _conditions(model: theirs.ModelInfo) -> list[theirs.ConditionalPrice]:
    return model.prices if isinstance(model.prices, list) else [theirs.ConditionalPrice(prices=model.prices)]


def _terms(model: theirs.ModelInfo) -> Iterator[dict[str, Any]]:
    """What it costs from when on."""
    for condition in _conditions(model):
        prices = {key: value for key, value in vars(condition.prices).items() if value is not None}
        rates = {ours: prices[key] for key, ours in _RATES.items() if key in prices}
        starts = sorted({tier.start for rate in rates.values() for tier in getattr(rate, "tiers", ())})
        start = getattr(condition.constraint, "start_date", None)
        yield {
            **{name: _rate(rate, 0) for name, rate in rates.items()},
            "tiers": tuple(
                PriceTier(over_tokens=at, **{name: _rate(rate, at + 1) for name, rate in rates.items()})
                for at in starts
            ),
            "apart": tuple(sorted({found[1] for key in prices if (found := _APART.search(key))})),
            "valid_from": start.isoformat() if start is not None else "",
        }


def _rate(rate: Decimal | theirs.TieredPrices, input_tokens: int) -> float:
    if isinstance(rate, theirs.TieredPrices):
        reached = [tier.price for tier in rate.tiers if input_tokens > tier.start]
        return float(reached[-1] if reached else rate.base)
    return float(rate)


def dates(prices: Iterable[Price]) -> tuple[str, ...]:
    """The data has no date of its own; its comments and the days from which prices hold do."""
    comments = [provider.price_comments for provider in providers]
    comments += [model.price_comments for provider in providers for model in provider.models]
    found = {day for comment in comments for day in _DATE.findall(comment or "")}
    return tuple(sorted(found | {row.valid_from for row in prices}))


__all__ = ["OUR_PROVIDERS", "dates", "inexpressible", "rows"]
