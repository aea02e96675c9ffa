"""What models can do, and settings as a line of models takes them."""

from __future__ import annotations

from typing import Any

import pytest
from pegboard.types import Message, ModelRequest, ModelSettings
from pegboard_openai.models import capabilities_of, line_of
from pegboard_openai.tuning import Tuned, tuned


def fit(model: str, run: str = "", **settings: Any) -> Tuned:
    request = ModelRequest(model=f"openai:{model}", messages=(Message.user("?"),), run=run,
                           settings=ModelSettings(**settings))  # fmt: skip
    return tuned(request, line_of(model))


def left_out(found: Tuned) -> list[str]:
    return [omission.what for omission in found.omitted]


@pytest.mark.parametrize(
    ("model", "thinking", "effort", "omitted"),
    [
        ("gpt-6-astra", "high", "high", []),
        ("gpt-6-astra", "off", "none", []),
        ("gpt-6-astra", None, None, []),
        ("gpt-6-astra", 2_048, "low", ["a number of tokens for thinking"]),
        ("gpt-6-astra", 8_192, "medium", ["a number of tokens for thinking"]),
        ("gpt-6-astra", 24_576, "high", ["a number of tokens for thinking"]),
        ("gpt-5-mini", "off", "minimal", ["thinking that is off"]),
        ("o3", "off", "low", ["thinking that is off"]),
        ("gpt-4o", "high", None, ["the setting `thinking`"]),
        ("gpt-4o", "off", None, []),
    ],
)
def test_thinking_is_a_level_of_effort(model: str, thinking: Any, effort: str | None, omitted: list[str]) -> None:
    """The nearest that the model has; where that is not what was asked for, the result says so."""
    found = fit(model, thinking=thinking)

    assert (found.effort, left_out(found)) == (effort, omitted)


def test_sampling_is_not_for_models_that_always_think() -> None:
    """They refuse it; others take it."""
    found = fit("o3", temperature=0.5, top_p=0.9)

    assert left_out(found) == ["the setting `temperature`", "the setting `top_p`"]
    assert found.request.settings == ModelSettings()
    assert fit("gpt-4o", temperature=0.5).request.settings.temperature == 0.5


def test_there_is_no_top_k() -> None:
    """By neither API."""
    assert left_out(fit("gpt-4o", top_k=3)) == ["the setting `top_k`"]


@pytest.mark.parametrize(
    ("run", "cache", "key"),
    [
        ("r1", None, "r1"),
        ("r1.step.2", "auto", "r1"),
        ("r1", "off", None),
        ("", None, None),
        ("r" * 90, None, "r" * 64),
    ],
)
def test_a_run_and_its_children_share_the_cache(run: str, cache: Any, key: str | None) -> None:
    """One key for the whole tree."""
    assert fit("gpt-4o", run, cache=cache).cache_key == key


@pytest.mark.parametrize(
    ("model", "thinks", "structured"),
    [("gpt-4-turbo-x", "no", "no"), ("gpt-4o-mini", "no", "yes"), ("o3", "yes", "yes"), ("gpt-9", "yes", "yes")],
)
def test_what_models_can_do(model: str, thinks: str, structured: str) -> None:
    """Old ones less; one that is not known yet is taken for a new one."""
    found = capabilities_of(model, "responses")

    assert (found.thinking, found.structured_output) == (thinks, structured)


@pytest.mark.parametrize(("api", "has"), [("chat", "yes"), ("responses", "no")])
def test_the_api_decides_too(api: str, has: str) -> None:
    """Seeds and sounds are for Chat Completions only."""
    found = capabilities_of("gpt-audio", api)

    assert (found.seed, found.audio) == (has, has)
