"""The settings of the plugin; `schemas/config.json` is their JSON Schema, and a test compares them."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands under `[plugins.gemini]`."""

    api_key: str = "env:GEMINI_API_KEY"
    """Where the key is: `env:NAME`, or what a plugin for secrets understands."""
    other_api_key: str = "env:GOOGLE_API_KEY"
    """Where it is asked for if `api_key` leads to nothing."""
    base_url: str | None = None
    """Another address of the API, for a gateway; by default `GOOGLE_GEMINI_BASE_URL`, else Google's own."""
    api_version: str | None = None
    """Version in the path, such as `v1beta`; by default `GOOGLE_GENAI_API_VERSION`, else what the SDK speaks: `v1`."""
    default_model: str = "gemini-3.8-flash"
    """What `auto` becomes."""
    connect_timeout_s: _Seconds = 10.0
    read_timeout_s: _Seconds = 120.0
    """Seconds without a byte of the answer; the API is silent while a model thinks unseen."""
    answer_timeout_s: _Seconds = 1800.0
    """Seconds that a whole answer may take, however much of it comes."""


__all__ = ["Settings"]
