"""The settings of the plugin; `schemas/config.json` is their JSON Schema, and a test compares them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

_Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands under `[plugins.openai]`."""

    api_key: str = "env:OPENAI_API_KEY"
    """Where the key is: `env:NAME`, or what a plugin for secrets understands."""
    api: Literal["responses", "chat"] = "responses"
    """Which API is spoken: Responses, or the older Chat Completions, which gateways have more often."""
    base_url: str | None = None
    """Another address of the API, with its `/v1`; by default `OPENAI_BASE_URL`, else OpenAI's own."""
    organization: str | None = None
    """Who pays, where a key belongs to several; by default `OPENAI_ORG_ID`."""
    project: str | None = None
    """By default `OPENAI_PROJECT_ID`."""
    default_model: str = "gpt-6-astra"
    """What `auto` becomes."""
    connect_timeout_s: _Seconds = 10.0
    read_timeout_s: _Seconds = 300.0
    """Seconds without a byte of the answer; the API says nothing while a model thinks."""
    answer_timeout_s: _Seconds = 1800.0
    """Seconds that a whole answer may take, however much of it comes."""


__all__ = ["Settings"]
