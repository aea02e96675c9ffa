"""The runs in the file: who drives them, what is added to them, and how they are read.

What is added at once is one entry: a row with the events and steps as lines. That is half the price of a row for each.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

from pegboard.errors import JournalCorruptError, RunBusyError, RunNotFoundError
from pegboard.events import Event
from pegboard.interfaces import RunRow, StepRecord

from pegboard_sqlite.blobs import forget_holders, let_go, mention, run_holder
from pegboard_sqlite.owners import Owner
from pegboard_sqlite.records import Addition, corrupt, events_of, joined_row, row_of, split_row, steps_of
from pegboard_sqlite.schema import SLOT_BITS, at_most, key

_DRIVEN: Final = frozenset({"queued", "running"})
"""In any other state nobody drives the run, and whoever comes first may go on with it."""
_LAST_SLOT: Final = (1 << SLOT_BITS) - 1
_LAST_SIGN: Final = chr(sys.maxunicode)
_AT_ONCE: Final = 256
"""Entries that are decoded in one go: an event loop beside it shall not wait long."""


class Held:
    """What is remembered of a run that this store drives."""

    __slots__ = ("is_new", "loose", "next_seq", "number", "row")

    def __init__(self, number: int, row: RunRow | None, next_seq: int, *, loose: bool) -> None:
        self.number = number
        self.row = row
        """What was last written; `None` where that is not known."""
        self.next_seq = next_seq
        self.loose = loose
        """Whether there are steps already where the next event belongs."""

    @property
    def slot(self) -> int:
        """Where the next entry belongs."""
        return self.number << SLOT_BITS | self.next_seq


class Listed(NamedTuple):
    """What decides whether a run may be forgotten."""

    id: str
    number: int
    owner: str | None


class Runs:
    """Adds to runs. Only within a transaction of the one connection that writes."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._held: dict[str, Held] = {}

    def drives_only(self, run: str) -> bool:
        """Whether this store drives a run and no other."""
        return len(self._held) == 1 and run in self._held

    def forget(self) -> None:
        """A transaction was undone: what is remembered may be wrong."""
        self._held.clear()

    def add(self, connection: sqlite3.Connection, addition: Addition) -> None:
        """Add to a run's log, as its only driver.

        Raises:
            RunBusyError: somebody else drives it, or wrote meanwhile; nothing was added.
        """
        row = addition.row
        held = self._held.get(row.run)
        if held is None:
            held = self._found(connection, row.run)
        if addition.first not in (None, held.next_seq if held is not None else 0):
            raise RunBusyError(
                f"run `{row.run}` was written by somebody else at event {held.next_seq if held is not None else 0}",
                hint="peg help run.busy",
                run=row.run,
            )
        if held is None:
            held = self._begun(connection, row)
        if addition.events or addition.steps:
            _put(connection, held, addition)
        if row is not held.row:
            self._write_row(connection, held, row)
        if addition.mentions:
            mention(connection, addition.mentions, run_holder(held.number), self._owner.id)
        held.next_seq += addition.count
        held.loose = not addition.count and (held.loose or bool(addition.steps))
        if row.state in _DRIVEN:
            self._held[row.run] = held
        else:
            self._held.pop(row.run, None)

    def remove(self, connection: sqlite3.Connection, runs: Sequence[str]) -> None:
        """Forget runs, and the blobs that nobody else mentions.

        Raises:
            RunBusyError: one is being driven; nothing was removed.
        """
        found = [listed for run in runs if (listed := _listed(connection, run)) is not None]
        for listed in found:
            if listed.owner is not None and self._owner.lives(listed.owner):
                raise RunBusyError(f"run `{listed.id}` is running", hint="peg help run.busy", run=listed.id)
        for listed in found:
            connection.execute("delete from entry where slot between ? and ?", _slots(listed.number))
            connection.execute("delete from run where number = ?", (listed.number,))
            let_go(connection, run_holder(listed.number))
        forget_holders(connection, self._owner.lives)

    def driven(self, connection: sqlite3.Connection, runs: Sequence[str]) -> Collection[str]:
        """Those of the runs that a living store drives."""
        found = [listed for run in runs if (listed := _listed(connection, run)) is not None]
        living = {owner: self._owner.lives(owner) for owner in {listed.owner for listed in found} if owner is not None}
        return {listed.id for listed in found if listed.owner is not None and living[listed.owner]}

    def outdated(self, connection: sqlite3.Connection, before: float | None, keep: int | None) -> Sequence[str]:
        """Whole trees of runs that began before, or come after so many newer trees; none that somebody waits for."""
        found = connection.execute("select root, min(at) from run group by root order by min(number) desc").fetchall()
        old = [
            root
            for place, (root, at) in enumerate(found)
            if (before is not None and isinstance(at, float) and at < before) or (keep is not None and place >= keep)
        ]
        return [run for root in old for run in self._idle_tree(connection, root)]

    def _idle_tree(self, connection: sqlite3.Connection, root: str) -> Sequence[str]:
        """The runs of a tree, or none where one of them waits or is being driven."""
        rows = connection.execute("select id, state, owner from run where root = ?", (root,)).fetchall()
        waits = any(state == "paused" or (owner is not None and self._owner.lives(owner)) for _, state, owner in rows)
        return [] if waits else [id for id, _, _ in rows]

    def _found(self, connection: sqlite3.Connection, run: str) -> Held | None:
        """A run that is there and that nobody else drives."""
        listed = _listed(connection, run)
        if listed is None:
            return None
        if listed.owner not in (None, self._owner.id) and self._owner.lives(str(listed.owner)):
            raise RunBusyError(f"run `{run}` is being driven by another process", hint="peg help run.busy", run=run)
        last = connection.execute(
            "select slot, count from entry where slot between ? and ? order by slot desc limit 1",
            _slots(listed.number),
        ).fetchone()
        if last is None:
            return Held(listed.number, None, 0, loose=False)
        if not isinstance(last[1], int):
            raise corrupt(run, TypeError(f"an entry counts `{last[1]}` events"))
        return Held(listed.number, None, (last[0] & _LAST_SLOT) + last[1], loose=not last[1])

    def _begun(self, connection: sqlite3.Connection, row: RunRow) -> Held:
        small, input = split_row(row)
        cursor = connection.execute(
            "insert into run (id, root, state, at, owner, row, input) values (?, ?, ?, ?, ?, ?, ?)",
            (row.run, row.root, row.state, row.at, self._owner_in(row), small, input),
        )
        assert cursor.lastrowid is not None
        return Held(cursor.lastrowid, row, 0, loose=False)

    def _write_row(self, connection: sqlite3.Connection, held: Held, row: RunRow) -> None:
        small, input = split_row(row)
        values = (row.root, row.state, row.at, self._owner_in(row), small)
        connection.execute(
            "update run set root = ?, state = ?, at = ?, owner = ?, row = ? where number = ?", (*values, held.number)
        )
        if held.row is None or held.row.input is not row.input:
            connection.execute("update run set input = ? where number = ? and input <> ?", (input, held.number, input))
        held.row = row

    def _owner_in(self, row: RunRow) -> str | None:
        return self._owner.id if row.state in _DRIVEN else None


def _put(connection: sqlite3.Connection, held: Held, addition: Addition) -> None:
    if held.loose:
        connection.execute(
            "update entry set count = ?, events = ?, steps = cast(steps || ? as blob) where slot = ?",
            (addition.count, addition.events, addition.steps, held.slot),
        )
        return
    try:
        connection.execute(
            "insert into entry values (?, ?, ?, ?)", (held.slot, addition.count, addition.events, addition.steps)
        )
    except sqlite3.IntegrityError as error:
        run = addition.row.run
        raise RunBusyError(f"run `{run}` was written by somebody else", hint="peg help run.busy", run=run) from error


def _listed(connection: sqlite3.Connection, run: str) -> Listed | None:
    found = connection.execute("select id, number, owner from run where id = ?", (key(run),)).fetchone()
    return None if found is None else Listed(*found)


def _slots(number: int) -> tuple[int, int]:
    return number << SLOT_BITS, number << SLOT_BITS | _LAST_SLOT


# --- reading -----------------------------------------------------------------------------------------------------


def load(connection: sqlite3.Connection, run: str) -> tuple[RunRow, Sequence[Event], Sequence[StepRecord]]:
    """All of a run, as it was at one moment. Raises `RunNotFoundError`."""
    connection.execute("begin")
    try:
        number, row, input = _row(connection, run)
        events: list[Event] = []
        steps: list[bytes] = []
        found = connection.execute("select events, steps from entry where slot between ? and ?", _slots(number))
        while entries := found.fetchmany(_AT_ONCE):
            events.extend(events_of([entry[0] for entry in entries], run))
            steps.extend([entry[1] for entry in entries])
    finally:
        connection.execute("rollback")
    return joined_row(row, input, run), events, steps_of(steps, run)


def events(connection: sqlite3.Connection, run: str, after: int, limit: int | None) -> Sequence[Event]:
    """Events above an offset. Raises `RunNotFoundError`."""
    number = _row(connection, run)[0]
    first, last = _slots(number)
    wanted = max(after + 1, 0)
    if limit is not None:
        last = min(last, first + wanted + limit - 1)
    found = connection.execute(
        "select events from entry where slot between "
        "coalesce((select max(slot) from entry where slot between ? and ?), ?) and ?",
        (first, min(first + wanted, _slots(number)[1]), first, last),
    )
    chosen: list[Event] = []
    while entries := found.fetchmany(_AT_ONCE):
        chosen.extend(events_of([entry[0] for entry in entries], run))
    start = next((index for index, event in enumerate(chosen) if event.seq >= wanted), len(chosen))
    return chosen[start:] if limit is None else chosen[start : start + limit]


def listed(
    connection: sqlite3.Connection, root: str | None, prefix: str | None, roots: bool, limit: int
) -> Sequence[RunRow]:
    """Rows of runs without their inputs: those first that began last, or with a prefix in the order of their ids."""
    only: dict[str, Sequence[str | bytes]] = {"1": ()}
    if root is not None:
        only["root = ?"] = (key(root),)
    if prefix is not None:
        only["id between ? and ?"] = (key(prefix), key(prefix + _LAST_SIGN))
    if roots:
        only["root = id"] = ()
    order = "number desc" if prefix is None else "id"
    found = connection.execute(
        f"select row, id, root, at from run where {' and '.join(only)} order by {order} limit ?",
        (*(value for values in only.values() for value in values), at_most(limit)),
    )
    return [_listed_row(*values) for values in found]


def _listed_row(row: bytes, run: str, root: str, at: Any) -> RunRow:
    """A row; of one that cannot be read what stands beside it, so that the others are listed all the same."""
    try:
        return row_of(row, run)
    except JournalCorruptError as error:
        said = {"code": error.code, "message": error.message}
        began = at if isinstance(at, float) else 0.0
        return RunRow(run=str(run), root=str(root), state="parked", at=began, summary={"error": said})


def each(connection: sqlite3.Connection) -> Iterator[str]:
    """The id of every run."""
    for (run,) in connection.execute("select id from run").fetchall():
        yield run


def _row(connection: sqlite3.Connection, run: str) -> tuple[int, bytes, bytes]:
    found: tuple[int, bytes, bytes] | None = connection.execute(
        "select number, row, input from run where id = ?", (key(run),)
    ).fetchone()
    if found is None:
        raise RunNotFoundError(f"no run `{run}` in the store", hint="peg runs list", run=run)
    return found
