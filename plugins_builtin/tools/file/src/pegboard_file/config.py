"""The settings of the plugin; `schemas/config.json` is their JSON Schema, and a test compares them."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Positive = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands under `[plugins.file]`."""

    read_bytes: _Positive = 256 * 1024
    """Of text that one call of `file.read` gives."""
    entries: _Positive = 1000
    """That one call lists or finds at most."""
    search_s: Annotated[float, msgspec.Meta(gt=0, le=100)] = 10.0
    """Seconds after which listing and searching stop and give what they have."""
    trash: str = ""
    """Folder of the workspace that deleted things go to; empty is none, and they are gone."""


__all__ = ["Settings"]
