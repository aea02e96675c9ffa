"""The settings of the plugin; `schemas/config.json` is their JSON Schema, and a test compares them."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands under `[plugins.anthropic]`."""

    api_key: str = "env:ANTHROPIC_API_KEY"
    """Where the key is: `env:NAME`, or what a plugin for secrets understands."""
    base_url: str | None = None
    """Another address of the API, for a gateway; by default `ANTHROPIC_BASE_URL`, else Anthropic's own."""
    default_model: str = "claude-sonnet-5-5"
    """What `auto` becomes."""
    connect_timeout_s: _Seconds = 10.0
    read_timeout_s: _Seconds = 120.0
    """Seconds without a byte of the answer; the API sends pings while a model thinks."""
    answer_timeout_s: _Seconds = 1800.0
    """Seconds that a whole answer may take, however much of it comes."""


__all__ = ["Settings"]
