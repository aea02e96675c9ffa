"""The rows of the bundled data, kept in the cache folder: making them takes half a second, reading them a few ms.

The file belongs to one version of the data and of what makes rows of it. One that is damaged or missing is made anew.
"""

from __future__ import annotations

import zlib
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from pegboard.errors import PegboardError
from pegboard.interfaces import HostContext
from pegboard.lazy import LazyModule
from pegboard.types import Price, PriceTable

if TYPE_CHECKING:
    from pegboard_prices import bundled
else:
    bundled = LazyModule("pegboard_prices.bundled")  # its data takes half a second to load


class Rows(msgspec.Struct, frozen=True):
    """What was made of the data."""

    dates: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Those that the data mentions."""
    prices: tuple[Price, ...]


def bundled_table(ctx: HostContext, today: date) -> PriceTable:
    """Every price of the bundled data, dated with the newest date that it mentions and that is not to come."""
    data = version("genai-prices")
    rows = _rows(ctx, data)
    dated = max(day for day in rows.dates if day <= today.isoformat())
    return PriceTable(prices=rows.prices, dated=dated, source=f"genai-prices {data}", ordered=True)


def _rows(ctx: HostContext, data: str) -> Rows:
    try:
        file = ctx.cache_dir / f"genai-prices-{data}-{_maker():08x}.msgpack"
    except (OSError, PegboardError) as exc:  # without a place for it, only time is lost
        ctx.log.debug("prices cannot be kept: %s", exc)
        return _made()
    try:
        return msgspec.msgpack.decode(file.read_bytes(), type=Rows)
    except FileNotFoundError:
        return _kept(ctx, file, _made())
    except (OSError, msgspec.DecodeError) as exc:
        ctx.log.warning("`%s` is damaged, and is made anew: %s", file, exc)
        return _kept(ctx, file, _made())


def _maker() -> int:
    """Changes with the code that makes the rows, so that nobody reads what other code has made."""
    return zlib.crc32(Path(__file__).with_name("bundled.py").read_bytes())


def _made() -> Rows:
    prices = bundled.rows()
    return Rows(bundled.dates(prices), prices)


def _kept(ctx: HostContext, file: Path, rows: Rows) -> Rows:
    try:
        ctx.fs.write(file, msgspec.msgpack.encode(rows))
    except OSError as exc:
        ctx.log.debug("prices cannot be kept: %s", exc)
    return rows


__all__ = ["Rows", "bundled_table"]
