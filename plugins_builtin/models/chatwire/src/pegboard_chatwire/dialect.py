"""What differs between those who speak Chat Completions."""

from __future__ import annotations

from typing import Literal

import msgspec


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How a server speaks; the defaults are OpenAI's ways."""

    provider: str
    """Its name in messages for people."""
    limit: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """What the limit of an answer is called."""
    strict: bool = True
    """Whether schemas may say `strict`."""
    usage: Literal["required", "asked", "never"] = "required"
    """Whether usage is asked for; where it is required, a stream without it was cut."""
    thinking: tuple[str, ...] = ()
    """Fields of a delta that may have thinking in them, for example `reasoning_content`. It is not sent back."""


__all__ = ["Dialect"]
