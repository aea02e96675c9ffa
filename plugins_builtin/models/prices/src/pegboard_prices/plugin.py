"""The plugin: one table of all prices, made when the first cost is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

import msgspec
from pegboard import hookimpl
from pegboard.errors import ConfigError
from pegboard.interfaces import HostContext
from pegboard.types import Price, PriceTable

from pegboard_prices.config import Settings
from pegboard_prices.kept import bundled_table


class Plugin:
    """Offers prices: own rows before the own table before what `genai-prices` knows."""

    def __init__(self) -> None:
        self._settings = Settings()

    def activate(self, ctx: HostContext) -> None:
        """Read the settings."""
        self._settings = msgspec.convert(ctx.config or {}, Settings)

    @hookimpl
    async def provide_prices(self, ctx: HostContext) -> PriceTable:
        """One table, in which the first row that fits a model counts."""
        return await asyncio.to_thread(self._table, ctx)

    def _table(self, ctx: HostContext) -> PriceTable:
        today = datetime.fromtimestamp(ctx.clock.time(), UTC).date()
        tables = self._tables(ctx, today)
        return PriceTable(
            prices=tuple(_in_order([table.prices for table in tables])),
            dated=max((table.dated for table in tables), default=""),
            source=", ".join(table.source for table in tables),
            ordered=True,
        )

    def _tables(self, ctx: HostContext, today: date) -> Sequence[PriceTable]:
        """Those that lead first."""
        settings, tables = self._settings, []
        if settings.rows:
            tables.append(PriceTable(prices=settings.rows, dated=today.isoformat(), source="configuration"))
        if settings.table is not None:
            tables.append(_read(ctx, settings.table))
        if settings.bundled:
            tables.append(bundled_table(ctx, today))
        return tables


def _read(ctx: HostContext, path: str) -> PriceTable:
    try:
        return msgspec.json.decode(ctx.fs.read(path), type=PriceTable)
    except (OSError, msgspec.DecodeError) as exc:
        raise ConfigError(
            f"the price table `{path}` cannot be read: {exc}", hint="peg config explain plugins.prices.table"
        ) from exc


def _in_order(tables: Iterable[Sequence[Price]]) -> Iterable[Price]:
    """The rows of all tables; what a table says of a name, no later table says again, from whatever day on."""
    said: set[tuple[str, str, str]] = set()
    for rows in tables:
        yield from (row for row in rows if _name(row) not in said)
        said.update(map(_name, rows))


def _name(row: Price) -> tuple[str, str, str]:
    return row.provider, row.model, row.match
