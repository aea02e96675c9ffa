"""What is known of OpenAI's models. An id that is newer than this release is sent all the same."""

from __future__ import annotations

import fnmatch
from functools import lru_cache
from typing import Final, Literal

import msgspec
from pegboard.types import ModelCapabilities


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What the models of a line have in common."""

    pattern: str
    thinks: bool = True
    least: Literal["none", "minimal", "low"] = "none"
    """The least effort that the model takes; only `none` is no thinking."""
    samples: bool = True
    """Whether it takes `temperature` and `top_p`."""
    tools: bool = True
    structured: bool = True
    """Whether it can be made to keep to a JSON Schema."""
    vision: bool = True
    audio: bool = False
    context_window: int | None = None
    max_output: int | None = None


_WINDOWS: Final = (
    ("gpt-5.[12]*", 400_000),
    ("gpt-5.3", 128_000),
    ("gpt-5.3-codex*", 400_000),
    ("gpt-5.4-mini*", 400_000),
    ("gpt-5.4-nano*", 400_000),
    ("gpt-5.4", 1_050_000),
    ("gpt-5.4-pro*", 1_050_000),
    ("gpt-5.5", 1_000_000),
    ("gpt-5.5-pro*", 1_000_000),
    ("gpt-5.6-[lst]*", 1_050_000),  # luna, sol, terra
    ("gpt-6-astra*", 1_050_000),
    ("gpt-6-luna*", 1_050_000),
    ("gpt-6-sol*", 1_050_000),
    ("gpt-6.1-[st]*", 1_050_000),  # sol, terra
)
"""Of lines of which nothing else differs from new models. Source: the data of `genai-prices` 0.2.3."""
_LINES: Final = (
    Line(pattern="gpt-3.5*", thinks=False, structured=False, vision=False, context_window=16_385, max_output=4_096),
    Line(pattern="*audio*", thinks=False, structured=False, vision=False, audio=True, context_window=128_000),
    Line(pattern="chatgpt-*", thinks=False, tools=False, structured=False, context_window=128_000),
    Line(pattern="*-chat-latest", thinks=False, context_window=128_000, max_output=16_384),
    Line(pattern="gpt-4o*", thinks=False, context_window=128_000, max_output=16_384),
    Line(pattern="gpt-4.1*", thinks=False, context_window=1_047_576, max_output=32_768),
    Line(pattern="gpt-4-turbo*", thinks=False, structured=False, context_window=128_000, max_output=4_096),
    Line(pattern="gpt-4*", thinks=False, structured=False, vision=False, context_window=8_192, max_output=8_192),
    Line(pattern="o[0-9]*", least="low", samples=False, context_window=200_000, max_output=100_000),
    Line(pattern="gpt-5", least="minimal", samples=False, context_window=400_000, max_output=128_000),
    Line(pattern="gpt-5-*", least="minimal", samples=False, context_window=400_000, max_output=128_000),
    *(Line(pattern=pattern, context_window=window) for pattern, window in _WINDOWS),
    Line(pattern="*"),
)
"""The first that fits. Source: the provider's pages of its models, and the tables of the SDK's version 3.54."""


@lru_cache
def line_of(model: str) -> Line:
    """The line of a model; for an unknown one what new models have."""
    return next(line for line in _LINES if fnmatch.fnmatchcase(model, line.pattern))


@lru_cache  # asked more than once at each request
def capabilities_of(model: str, api: str) -> ModelCapabilities:
    """What a model can do by one of the APIs, as far as it is known."""
    line = line_of(model)
    return ModelCapabilities(
        tools="yes" if line.tools else "no",
        parallel_tools="yes" if line.tools else "no",
        structured_output="yes" if line.structured else "no",
        structured_with_tools="yes" if line.structured else "no",
        thinking="yes" if line.thinks else "no",
        vision="yes" if line.vision else "no",
        audio="yes" if line.audio and api == "chat" else "no",
        files="yes" if line.vision else "no",
        prompt_cache="implicit",
        system_role="yes",
        seed="yes" if api == "chat" else "no",
        context_window=line.context_window,
        max_output=line.max_output,
    )


__all__ = ["Line", "capabilities_of", "line_of"]
