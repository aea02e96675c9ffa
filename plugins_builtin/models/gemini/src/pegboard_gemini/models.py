"""What is known of the Gemini models. An id that is newer than this release is sent all the same."""

from __future__ import annotations

import fnmatch
from functools import lru_cache
from typing import Final, Literal

import msgspec
from pegboard.types import ModelCapabilities

_Thinks = Literal["no", "budget", "level"]
"""How thinking is asked for: not at all, by a number of tokens (2.5), or by a level (3 and later)."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What the models of a line have in common."""

    pattern: str
    thinks: _Thinks = "level"
    levels: tuple[str, ...] = ("low", "medium", "high")
    """The levels of thinking that there are, the least one first."""
    least_budget: int = 0
    """Tokens of the least thinking, for lines that go by tokens; 0 switches it off."""
    is_third: bool = True
    """Of the third generation or later: signed calls, structured output with tools, files in results of tools."""
    context_window: int | None = 1_048_576
    max_output: int | None = 65_536


_ALL_LEVELS: Final = ("minimal", "low", "medium", "high")
_LINES: Final = (
    Line(pattern="gemini-1*", thinks="no", is_third=False, max_output=8_192),
    Line(pattern="gemini-2.0*", thinks="no", is_third=False, max_output=8_192),
    Line(pattern="gemini-2.5-pro*", thinks="budget", is_third=False, least_budget=128),
    Line(pattern="gemini-2.5*", thinks="budget", is_third=False),
    Line(pattern="gemini-3-pro*", levels=("low", "high")),
    Line(pattern="gemini-3*flash-lite*", levels=_ALL_LEVELS),
    Line(pattern="gemini-3-flash*", levels=_ALL_LEVELS),
    Line(pattern="gemini-3.[56]-flash*", levels=_ALL_LEVELS),
    Line(pattern="gemini-3*"),
    Line(pattern="gemini-4-argon*", max_output=None),
    Line(pattern="*", context_window=None, max_output=None),
)
"""The first that fits. Source: the pages on models and on thinking of the Gemini API, November 2026;
of `gemini-4-argon` the data of `genai-prices` 0.2.3."""


@lru_cache
def line_of(model: str) -> Line:
    """The line of a model; for an unknown one what new models have."""
    name = model.removeprefix("models/")
    return next(line for line in _LINES if fnmatch.fnmatchcase(name, line.pattern))


@lru_cache  # asked more than once at each request
def capabilities_of(model: str) -> ModelCapabilities:
    """What a model can do, as far as it is known."""
    line = line_of(model)
    return ModelCapabilities(
        tools="yes",
        parallel_tools="yes",
        structured_output="yes",
        structured_with_tools="yes" if line.is_third else "no",
        thinking="no" if line.thinks == "no" else "yes",
        vision="yes",
        audio="yes",
        files="yes",
        prompt_cache="implicit",
        system_role="yes",
        seed="yes",
        context_window=line.context_window,
        max_output=line.max_output,
    )


__all__ = ["Line", "capabilities_of", "line_of"]
