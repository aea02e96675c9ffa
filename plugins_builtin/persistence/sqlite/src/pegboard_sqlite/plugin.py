"""The plugin: its settings, the driver `store:sqlite`, and what `peg doctor --deep` is told of the file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import msgspec
from pegboard import hookimpl
from pegboard.errors import ConfigError, PegboardError, StorageError
from pegboard.interfaces import HostContext
from pegboard.types import HealthFinding

from pegboard_sqlite.faults import SETTING
from pegboard_sqlite.retention import Retention
from pegboard_sqlite.store import SqliteStore


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `[plugins.sqlite]` may say."""

    path: str | None = None
    synchronous: Literal["normal", "full"] = "normal"
    keep_days: float | None = None
    keep_runs: int | None = None


def make_store(ctx: HostContext) -> SqliteStore:
    """The store that the settings describe; nothing is opened before its first use."""
    settings = msgspec.convert(ctx.config or {}, Settings)
    return SqliteStore(
        _path(ctx, settings),
        synchronous=settings.synchronous,
        retention=Retention(keep_days=settings.keep_days, keep_runs=settings.keep_runs),
        clock=ctx.clock,
        log=ctx.log,
    )


class Plugin:
    """Looks after the file; the store itself is the driver."""

    @hookimpl
    async def check_health(self, ctx: HostContext) -> Sequence[HealthFinding] | None:
        """What is wrong with the file, if there is one."""
        settings = msgspec.convert(ctx.config or {}, Settings)
        try:
            async with aclosing(SqliteStore(_path(ctx, settings))) as store:
                if not store.path.exists():
                    return None
                problems = await store.check()
        except PegboardError as error:
            return [HealthFinding(status="fail", what=error.message, fix=error.hint)]
        return [HealthFinding(status="fail", what=problem) for problem in problems]


def _path(ctx: HostContext, settings: Settings) -> Path:
    """Where the file is. Raises `ConfigError` where that is nowhere, `StorageError` where it has no folder."""
    try:
        return Path(settings.path).expanduser() if settings.path else ctx.data_dir / "store.db"
    except RuntimeError as error:  # `~name` of a user that is not there
        raise ConfigError(f"the store cannot be at `{settings.path}`: {error}", hint=SETTING) from error
    except OSError as error:
        what = f"the folder `{error.filename}` for the store cannot be used: {error.strerror}"
        raise StorageError(what, hint=f"ls -ld {error.filename}") from error
