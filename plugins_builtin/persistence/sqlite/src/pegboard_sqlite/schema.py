"""The file: its tables, how an older one is brought up to date, and how it is opened.

A migration is never changed once it was released. All that are missing are done in one transaction.
"""

from __future__ import annotations

import sqlite3
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pegboard.errors import JournalCorruptError, JournalVersionError, StorageError

from pegboard_sqlite.faults import SETTING, is_busy

APPLICATION_ID: Final = 0x70656730
"""By which the file is known as ours."""
SLOT_BITS: Final = 32
"""Entries of a run and messages of a conversation lie side by side: their row ids are the number of their owner, and in
the lowest bits their place. A table without row ids would do the same, and spill whatever is over a kilobyte."""
MIGRATIONS: Final = (
    """
    create table migration (number integer primary key, by text not null, at real not null);
    create table run (
        number integer primary key, id text not null unique, root text not null, state text not null,
        at real not null, owner text, row blob not null, input blob not null
    );
    create index run_root on run (root);
    create table entry (slot integer primary key, count integer not null, events blob not null, steps blob not null);
    create table blob (number integer primary key, ref text not null unique, data blob not null);
    create table mention (ref text not null, holder text not null, primary key (ref, holder)) without rowid;
    create index mention_holder on mention (holder);
    create table conversation (
        number integer primary key, id text not null unique, at real not null, count integer not null, row blob not null
    );
    create index conversation_at on conversation (at);
    create table message (slot integer primary key, data blob not null);
    """,
)
"""The n-th makes version n of the n - 1-th."""
_PAUSE_S: Final = 0.02
_LARGEST: Final = 2**63 - 1


def key(text: str) -> str | bytes:
    """What an id is looked up by; one that is not Unicode is in no file, and as bytes equals no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def at_most(limit: int) -> int:
    """A limit as SQLite takes it, for which a negative one is none."""
    return max(0, min(limit, _LARGEST))


def open_writer(path: Path, patience_s: float) -> sqlite3.Connection:
    """A connection that writes, to a file that is ours and up to date.

    Raises:
        JournalVersionError: a newer version of this distribution wrote it.
        StorageError: it is the file of somebody else, or its disk is not fit for it.
    """
    give_up = time.monotonic() + patience_s
    while True:
        connection = _connect(path, patience_s)
        try:
            _prepare(connection, path)
        except sqlite3.OperationalError as error:
            connection.close()
            # Who makes a file at the same time locks it in an order that SQLite does not wait for.
            if not is_busy(error) or time.monotonic() > give_up:
                raise
            time.sleep(_PAUSE_S)
        except BaseException:
            connection.close()
            raise
        else:
            return connection


def open_reader(path: Path, patience_s: float) -> sqlite3.Connection:
    """A connection that only reads, beside one that writes."""
    connection = _connect(path, patience_s)
    connection.execute("pragma query_only = on")
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")  # a damaged name costs no other row
    return connection


def _connect(path: Path, patience_s: float) -> sqlite3.Connection:
    # Each connection has a lock around it, and no thread of its own.
    return sqlite3.connect(path, timeout=patience_s, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _check(connection, path)
    connection.execute("pragma auto_vacuum = incremental")  # of effect in an empty file only
    mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
    if mode != "wal":
        raise StorageError(
            f"the file system of `{path}` cannot hold a write-ahead log (mode `{mode}`)",
            hint=SETTING,
        )
    connection.execute("pragma synchronous = full")
    _migrate(connection, path)
    connection.execute("pragma synchronous = normal")
    connection.execute("pragma wal_autocheckpoint = 0")  # the writer has it done in a thread


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Whether the file is ours and not newer; nothing is written."""
    ours = connection.execute("pragma application_id").fetchone()[0]
    if ours != APPLICATION_ID:
        if connection.execute("select count(*) from sqlite_master").fetchone()[0] or _version(connection):
            raise StorageError(f"`{path}` is the database of another program", hint=SETTING)
        return
    found = _version(connection)
    if found > len(MIGRATIONS):
        raise JournalVersionError(
            f"the store `{path}` has version {found} and was written by {_writer(connection)}; this is pegboard-sqlite "
            f"{version('pegboard-sqlite')}, which reads up to version {len(MIGRATIONS)}",
            hint="pip install --upgrade pegboard-sqlite",
        )
    if found < 1:
        raise JournalCorruptError(
            f"the store `{path}` is damaged: it says to be of version {found}", hint="peg doctor --deep"
        )


def _writer(connection: sqlite3.Connection) -> str:
    """Who wrote the newest version; it may be of a kind that is not known here."""
    try:
        found = connection.execute("select by from migration order by number desc limit 1").fetchone()
    except sqlite3.OperationalError as error:
        if is_busy(error):
            raise
        found = None
    return str(found[0]) if found is not None else "an unknown program"


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("begin immediate")
    try:
        _check(connection, path)  # another process may have been faster
        for number in range(_version(connection) + 1, len(MIGRATIONS) + 1):
            _apply(connection, number)
        connection.execute(f"pragma user_version = {len(MIGRATIONS)}")
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _apply(connection: sqlite3.Connection, number: int) -> None:
    for statement in MIGRATIONS[number - 1].split(";"):  # not `executescript`, which commits before
        connection.execute(statement)
    by = f"pegboard-sqlite {version('pegboard-sqlite')}"
    connection.execute("insert into migration values (?, ?, ?)", (number, by, time.time()))


def _version(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("pragma user_version").fetchone()[0]
    return found
