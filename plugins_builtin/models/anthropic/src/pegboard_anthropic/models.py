"""What is known of Anthropic's models. An id that is newer than this release is sent all the same."""

from __future__ import annotations

import fnmatch
from functools import lru_cache
from typing import Final

import msgspec
from pegboard.types import ModelCapabilities


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What the models of a line have in common."""

    pattern: str
    usual_output: int
    """Tokens that an answer may have where nobody says; the API demands a number."""
    max_output: int | None = None
    context_window: int | None = 200_000
    adaptive: bool = True
    """Whether the model chooses how long it thinks, by effort; else thinking is given a number of tokens."""
    structured: bool = True
    """Whether it can be made to keep to a JSON Schema."""


_OF_A_MILLION: Final = (
    "claude-opus-4-[678]*", "claude-sonnet-4-6*", "claude-opus-5*", "claude-sonnet-5*", "claude-haiku-5-5*",
    "claude-fable-5*", "claude-mythos-5-2*",
)  # fmt: skip
"""Lines with a window of a million tokens. Source: the data of `genai-prices` 0.2.3."""
_LINES: Final = (
    Line(pattern="claude-3-haiku*", usual_output=4_096, max_output=4_096, adaptive=False, structured=False),
    Line(pattern="claude-3-opus*", usual_output=4_096, max_output=4_096, adaptive=False, structured=False),
    Line(pattern="claude-3-5-*", usual_output=8_192, max_output=8_192, adaptive=False, structured=False),
    Line(pattern="claude-3-7-*", usual_output=16_384, max_output=64_000, adaptive=False, structured=False),
    Line(pattern="claude-opus-4-[01]*", usual_output=16_384, max_output=32_000, adaptive=False, structured=False),
    Line(pattern="claude-opus-4-20*", usual_output=16_384, max_output=32_000, adaptive=False, structured=False),
    Line(pattern="claude-sonnet-4-20*", usual_output=16_384, max_output=64_000, adaptive=False, structured=False),
    Line(pattern="claude-*-4-5*", usual_output=16_384, max_output=64_000, adaptive=False),
    *(Line(pattern=pattern, usual_output=16_384, context_window=1_000_000) for pattern in _OF_A_MILLION),
    Line(pattern="*", usual_output=16_384, context_window=None),
)
"""The first that fits. Source: the provider's model overview and the tables of the SDK's version 2.12."""


@lru_cache
def line_of(model: str) -> Line:
    """The line of a model; for an unknown one what new models have."""
    return next(line for line in _LINES if fnmatch.fnmatchcase(model, line.pattern))


@lru_cache  # asked more than once at each request
def capabilities_of(model: str) -> ModelCapabilities:
    """What a model can do, as far as it is known."""
    line = line_of(model)
    return ModelCapabilities(
        tools="yes",
        parallel_tools="yes",
        structured_output="yes" if line.structured else "no",
        structured_with_tools="yes" if line.structured else "no",
        thinking="no" if model.startswith(("claude-3-haiku", "claude-3-opus", "claude-3-5-")) else "yes",
        vision="yes",
        audio="no",
        files="yes",
        prompt_cache="explicit",
        system_role="yes",
        seed="no",
        context_window=line.context_window,
        max_output=line.max_output,
    )


__all__ = ["Line", "capabilities_of", "line_of"]
