"""The store that the configuration names, for commands that look at runs; no plugin is activated for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from pegboard import config, views
from pegboard.cli.contract import Output
from pegboard.errors import DriverMissingError, JournalCorruptError, RunNotFoundError
from pegboard.interfaces import RunRow, Store, StoreControl
from pegboard.plugins.host import PluginHost

_SHOWN = 3


@asynccontextmanager
async def open_store() -> AsyncIterator[Store]:
    """The store of runs.

    Raises:
        DriverMissingError: no store is installed that outlives the process, or it is switched off.
    """
    host = PluginHost(autoload=True, config=config.load())
    host.look()
    try:
        if not host.has_driver("store"):
            raise _without_store(host)
        yield host.driver("store")
    finally:
        await host.stop()


def _without_store(host: PluginHost) -> DriverMissingError:
    """Why there is no store, and what gives one."""
    for decision in host.roster.selection.decisions:
        drivers = (decision.record.manifest or {}).get("contributes", {}).get("drivers", ())
        if any(driver["kind"] == "store" for driver in drivers):
            return DriverMissingError(
                f"runs are not kept: plugin `{decision.id}`, which has a store, is off: {decision.message}",
                hint=decision.hint or f"peg plugins info {decision.id}",
            )
    return DriverMissingError(
        "runs are not kept: no store is installed that outlives the process", hint="peg plugins install pegboard-sqlite"
    )


def control_of(store: Store, what: str) -> StoreControl:
    """The part of a store for those who look after it.

    Raises:
        DriverMissingError: this store has none.
    """
    if not isinstance(store, StoreControl):
        raise DriverMissingError(f"the store in use cannot {what}", hint="peg config explain drivers.store")
    return store


async def driven_of(store: Store, rows: Sequence[RunRow]) -> Collection[str]:
    """The runs among these that a living process drives; where the store cannot tell, all that say so."""
    candidates = [row.run for row in rows if row.state in views.DRIVEN]
    if not candidates or not isinstance(store, StoreControl):
        return candidates
    return await store.driven(candidates)


def warn_of_damaged(rows: Sequence[RunRow]) -> None:
    """Say which of the runs cannot be read: a list has no more of them than that they are there."""
    damaged = [row.run for row in rows if _is_damaged(row)]
    if damaged:
        ids = ", ".join(f"`{run}`" for run in damaged[:_SHOWN]) + (", …" if len(damaged) > _SHOWN else "")
        Output.current().warn(f"what is stored of {len(damaged)} of the runs cannot be read: {ids}; peg doctor --deep")


def _is_damaged(row: RunRow) -> bool:
    error = (row.summary or {}).get("error") or {}
    return error.get("code") == JournalCorruptError.code


async def find_run(store: Store, given: str) -> RunRow:
    """A run, given by its id, by a beginning that only one run has, or as `latest`; its row has no input.

    The id of a child run is that of its root, a full stop, and the step that started it: the root may be shortened.

    Raises:
        RunNotFoundError: none or several fit.
    """
    root, dot, step = given.partition(".")
    found = await _newest(store) if given == "latest" else await _only(store, given, roots=not dot)
    if found is None and dot:
        above = await _newest(store) if root == "latest" else await _only(store, root, roots=True)
        found = await _only(store, f"{above.run}.{step}", roots=False) if above is not None else None
    if found is None:
        raise RunNotFoundError(f"no run `{given}` in the store", hint="peg runs list")
    return found


async def _newest(store: Store) -> RunRow:
    rows = await store.runs(roots=True, limit=1)
    if not rows:
        raise RunNotFoundError("there is no run in the store yet", hint='peg run "what is in this folder?"')
    return rows[0]


async def _only(store: Store, given: str, *, roots: bool) -> RunRow | None:
    """The run of this id, or the only one whose id begins so."""
    rows = await store.runs(prefix=given, roots=roots, limit=_SHOWN) if given else ()
    if len(rows) < 2 or rows[0].run == given:
        return rows[0] if rows else None
    ids = ", ".join(f"`{row.run}`" for row in rows)
    raise RunNotFoundError(f"several runs begin with `{given}`: {ids}", hint="peg runs list")
