"""The settings of the plugin; `schemas/config.json` is their JSON Schema, and a test compares them."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Positive = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands under `[plugins.git]`."""

    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """Seconds for one call of git."""
    patch_bytes: _Positive = 256 * 1024
    """Of a patch or file that one call gives."""
    entries: _Positive = 1000
    """Files, commits, branches or lines that one call gives at most."""


__all__ = ["Settings"]
