"""Our rows against `genai-prices` itself: for every model that they can say, the same cost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pegboard_prices
import pytest
from genai_prices import types as theirs
from genai_prices.data import providers
from pegboard.prices import Prices, cost_of
from pegboard.types import PriceTable, Usage
from pegboard_prices.bundled import OUR_PROVIDERS, inexpressible, rows

README = Path(pegboard_prices.__file__).parents[2] / "README.md"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CHECKED = ("anthropic", "openai", "google")
USAGES = {
    "plain": (1_000, 500, 0, 0),
    "cached": (10_000, 700, 6_000, 1_000),
    "long": (300_000, 4_000, 0, 0),
    "long and cached": (1_200_000, 9_000, 900_000, 50_000),
}


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices([PriceTable(prices=rows(), dated="2026-01-01", source="test", ordered=True)])


def known(provider: str) -> theirs.Provider:
    return next(each for each in providers if each.id == provider)


def names(clause: Any, model: str) -> Iterator[str]:
    """Names that a clause may fit; which of them fits what is for both sides to say."""
    yield model.lower()
    for text in (getattr(clause, kind, None) for kind in ("equals", "starts_with", "ends_with", "contains")):
        if text is not None:
            yield from (text.lower(), f"{text}-2025-01-01".lower(), f"x-{text}".lower(), f"{text}-mini".lower())
    if (regex := getattr(clause, "regex", None)) is not None:
        yield re.sub(r"[^a-z0-9.-]", "", regex)
    for part in getattr(clause, "or_", None) or getattr(clause, "and_", None) or ():
        yield from names(part, model)


def their_cost(provider: theirs.Provider, model: theirs.ModelInfo, usage: Usage, at: datetime) -> float:
    told = theirs.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    return float(model.calc_price(told, provider, genai_request_timestamp=at).total_price)


@pytest.mark.parametrize("at", [NOW, datetime(2025, 2, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)], ids=str)
@pytest.mark.parametrize("provider_id", CHECKED)
def test_every_model_costs_what_genai_prices_says(prices: Prices, provider_id: str, at: datetime) -> None:
    """Plain, cached and long, whatever name it is called by; what we cannot say is unknown."""
    provider = known(provider_id)
    ours = OUR_PROVIDERS.get(provider_id, provider_id)
    silent = inexpressible(provider_id)
    checked = 0
    for name in sorted({name for model in provider.models for name in names(model.match, model.id)}):
        model = provider._match_model(name)
        price = prices.find(f"{ours}:{name}", at.timestamp())
        if model is None or model.id in silent:
            assert price is None, name
            continue
        assert price is not None, name
        for label, counts in USAGES.items():
            usage = Usage(*counts)
            expected = their_cost(provider, model, usage, at)
            assert cost_of(price, usage) == pytest.approx(expected, rel=1e-9), (name, label)
        checked += 1

    assert checked > 20


@pytest.mark.parametrize(
    ("model", "usage", "cost"),
    [
        ("anthropic:claude-3-5-haiku-latest", Usage(1_000_000, 1_000_000), 0.8 + 4),
        ("anthropic:claude-3-5-haiku-latest", Usage(1_000_000, 0, 600_000, 400_000), 0.6 * 0.08 + 0.4 * 1),
        ("openai:gpt-4o-mini", Usage(1_000_000, 1_000_000), 0.15 + 0.6),
        ("gemini:gemini-2.5-pro", Usage(100_000, 10_000), 0.125 + 0.1),
        ("gemini:gemini-2.5-pro", Usage(400_000, 10_000), 1.0 + 0.15),
    ],
)
def test_known_models_cost_what_their_pages_say(prices: Prices, model: str, usage: Usage, cost: float) -> None:
    """Read off the providers' pages, so that no mistake of a table is compared with itself alone."""
    assert cost_of(prices.find(model, NOW.timestamp()), usage) == pytest.approx(cost)


def test_an_unknown_model_has_no_price(prices: Prices) -> None:
    """Nothing is guessed from a similar name."""
    assert prices.find("anthropic:of-the-future", NOW.timestamp()) is None
    assert prices.find("scripted:demo", NOW.timestamp()) is None


def test_what_has_other_prices_for_sound_says_so(prices: Prices) -> None:
    """Our usages do not tell the kinds of tokens apart."""
    price = prices.find("gemini:gemini-2.5-flash", NOW.timestamp())

    assert price is not None
    assert price.apart == ("audio",)


def test_the_readme_lists_what_cannot_be_said() -> None:
    """All of it, and no more."""
    text = README.read_text("utf-8")
    listed = {provider: set(re.findall(r"`([^`]+)`", line)) for provider, line in _lines(text)}

    assert listed == {provider: set(inexpressible(provider)) for provider in CHECKED}


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for provider in CHECKED:
        (line,) = [line for line in text.splitlines() if line.startswith(f"* {provider}: ")]
        yield provider, line
