"""The settings of the plugin; `schemas/config.json` is their JSON Schema, and a test compares them."""

from __future__ import annotations

import msgspec
from pegboard.types import Price


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands under `[plugins.prices]`. Own rows lead, then the table, then what `genai-prices` knows."""

    rows: tuple[Price, ...] = ()
    """Prices of your own, the first that fits a model."""
    table: str | None = None
    """A JSON file with `prices` as above, and the `dated` and `source` of them all."""
    bundled: bool = True
    """Whether the data of `genai-prices` is used as well."""


__all__ = ["Settings"]
