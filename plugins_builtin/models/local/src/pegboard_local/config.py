"""The settings of the plugin; `schemas/config.json` is their JSON Schema, and a test compares them."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands under `[plugins.local]`."""

    base_url: str | None = None
    """The server of `local:MODEL`, any that speaks Chat Completions, with its `/v1`."""
    api_key: str | None = None
    """Where the key of that server is: `env:NAME`, or what a plugin for secrets understands; most need none."""
    ollama_url: str | None = None
    """By default `OLLAMA_HOST`, else port 11434 of this machine."""
    llamacpp_url: str | None = None
    """By default port 8080 of this machine."""
    vllm_url: str | None = None
    """By default port 8000 of this machine."""
    lmstudio_url: str | None = None
    """By default `LMSTUDIO_API_URL`, else port 1234 of this machine."""
    connect_timeout_s: _Seconds = 10.0
    read_timeout_s: _Seconds = 600.0
    """Seconds without a byte of the answer; a server says nothing while it loads a model."""
    answer_timeout_s: _Seconds = 1800.0
    """Seconds that a whole answer may take, however much of it comes."""


__all__ = ["Settings"]
