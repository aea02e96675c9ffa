"""Blobs by a handle that is derived from their content, and who mentions them.

A run, a conversation, or a store that has put a blob and not yet mentioned it holds the blob. One that nobody holds any
more goes with the last of its holders.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pegboard.errors import RunNotFoundError
from pegboard.memory import blob_ref

from pegboard_sqlite.schema import key

_PIECE_BYTES: Final = 1024 * 1024


def run_holder(number: int) -> str:
    """A run as the holder of blobs."""
    return f"run:{number}"


def conversation_holder(number: int) -> str:
    """A conversation as the holder of blobs."""
    return f"conversation:{number}"


def store_holder(owner: str) -> str:
    """A store as the holder of blobs that it has put."""
    return f"store:{owner}"


def put(connection: sqlite3.Connection, ref: str, data: bytes, owner: str) -> None:
    """Keep bytes. Whoever removes runs meanwhile leaves them alone while the owner lives."""
    connection.execute("insert or ignore into blob (ref, data) values (?, ?)", (ref, data))
    connection.execute("insert or ignore into mention values (?, ?)", (ref, store_holder(owner)))


def mention(connection: sqlite3.Connection, refs: Iterable[str], holder: str, owner: str) -> None:
    """A run or conversation holds blobs, and the store that has put them need not any more."""
    for ref in refs:
        connection.execute("insert or ignore into mention values (?, ?)", (ref, holder))
        connection.execute("delete from mention where ref = ? and holder = ?", (ref, store_holder(owner)))


def let_go(connection: sqlite3.Connection, holder: str) -> None:
    """A holder is gone, and with it the blobs that only it held."""
    connection.execute(
        "delete from blob where ref in (select ref from mention where holder = :holder) "
        "and not exists (select 1 from mention where mention.ref = blob.ref and holder <> :holder)",
        {"holder": holder},
    )
    connection.execute("delete from mention where holder = ?", (holder,))


def forget_holders(connection: sqlite3.Connection, lives: Callable[[str], bool]) -> None:
    """Let go what stores held that are closed by now."""
    prefix = store_holder("")
    found = connection.execute("select distinct holder from mention where holder glob ?", (f"{prefix}*",)).fetchall()
    for (holder,) in found:
        if not lives(holder.removeprefix(prefix)):
            let_go(connection, holder)


def get(connection: sqlite3.Connection, ref: str, start: int, size: int | None) -> bytes:
    """A slice of a blob; no more of it is read. Raises `RunNotFoundError`."""
    found = connection.execute("select number from blob where ref = ?", (key(ref),)).fetchone()
    if found is None:
        raise RunNotFoundError(f"no blob `{ref}` in the store", hint="peg help run.not_found")
    with connection.blobopen("blob", "data", found[0], readonly=True) as blob:
        first, last, _ = slice(start, None if size is None else start + size).indices(len(blob))
        blob.seek(first)
        return blob.read(max(last - first, 0))


def damaged(connection: sqlite3.Connection) -> Iterator[str]:
    """The handles of blobs whose content is not what was put."""
    for number, ref, kind in connection.execute("select number, ref, typeof(data) from blob").fetchall():
        if kind not in ("blob", "text"):  # a number, which cannot be opened
            yield ref
            continue
        with connection.blobopen("blob", "data", number, readonly=True) as blob:
            if blob_ref(blob.read()) != ref:
                yield ref


def exists(connection: sqlite3.Connection, ref: str) -> bool:
    """Whether there is such a blob."""
    return connection.execute("select 1 from blob where ref = ?", (ref,)).fetchone() is not None
