"""What is done to the file as a whole: whether it is sound, and giving room back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from pegboard.errors import PegboardError

from pegboard_sqlite import blobs, conversations, runs


def problems(connection: sqlite3.Connection) -> Iterator[str]:
    """What is wrong: pages first, then what they hold."""
    for (said,) in connection.execute("pragma integrity_check").fetchall():
        if said != "ok":
            yield said
    for run in runs.each(connection):
        yield from _of_run(connection, run)
    for (conversation,) in connection.execute("select id from conversation").fetchall():
        try:
            row, messages = conversations.load(connection, conversation)
        except PegboardError as error:
            yield error.message
        else:
            if len(messages) != row.messages:
                yield f"conversation `{conversation}` has {len(messages)} of {row.messages} messages"
    for ref in blobs.damaged(connection):
        yield f"blob `{ref}` holds something else than was put"


def _of_run(connection: sqlite3.Connection, run: str) -> Iterator[str]:
    try:
        _, events, steps = runs.load(connection, run)
    except PegboardError as error:
        yield error.message
        return
    if [event.seq for event in events] != list(range(len(events))):
        yield f"run `{run}` lacks events"
    for step in steps:
        if step.artifact is not None and not blobs.exists(connection, step.artifact):
            yield f"step `{step.step}` of run `{run}` lacks its result, blob `{step.artifact}`"


def remove(connection: sqlite3.Connection, owned: runs.Runs, ids: Sequence[str]) -> int:
    """Forget runs and give the room back; how many bytes. Raises `RunBusyError` where one is being driven."""
    before = _used_bytes(connection)
    connection.execute("begin immediate")
    try:
        owned.remove(connection, ids)
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    freed = max(before - _used_bytes(connection), 0)
    # It gives back a page at each step, and `execute` takes one step where there are no columns.
    connection.executescript("pragma incremental_vacuum")
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    return freed


def _used_bytes(connection: sqlite3.Connection) -> int:
    size, pages, free = (
        connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    used: int = size * (pages - free)
    return used
