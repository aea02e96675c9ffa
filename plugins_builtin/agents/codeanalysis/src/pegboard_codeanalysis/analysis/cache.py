"""The content-addressed cache: what was computed of the same bytes by the same version of an analyser is not
computed again. One SQLite file; several processes may share it; losing it costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self

FILE_NAME: Final = "facts-1.sqlite"
MAX_BYTES: Final = 512 * 1024 * 1024
KEPT_DAYS: Final = 30
_DAY_S: Final = 86_400
_BATCH: Final = 500


class CacheError(Exception):
    """Nothing can be kept: the disk is full, or the folder cannot be written."""


class Cache:
    """Bytes by key. Not for several threads."""

    def __init__(self, folder: str | Path) -> None:
        self._path = Path(folder) / FILE_NAME
        self._connection = self._opened()

    def get(self, key: str) -> bytes | None:
        """What is kept under a key."""
        row = self._connection.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What is kept under any of these keys."""
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), _BATCH):
            some = keys[start : start + _BATCH]
            marks = ",".join("?" * len(some))
            found.update(
                self._connection.execute(f"SELECT key, value FROM facts WHERE key IN ({marks})", some)
            )  # only question marks
        return found

    def missing(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys under which nothing is kept; the others are marked as used today."""
        known: set[str] = set()
        today = int(time.time()) // _DAY_S
        for start in range(0, len(keys), _BATCH):
            some = keys[start : start + _BATCH]
            marks = ",".join("?" * len(some))
            rows = self._connection.execute(f"SELECT key, day FROM facts WHERE key IN ({marks})", some).fetchall()
            known.update(key for key, _ in rows)
            old = [(today, key) for key, day in rows if day != today]
            if old:
                self._write("UPDATE facts SET day = ? WHERE key = ?", old)
        return set(keys) - known

    def put_many(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Keep values. Raises `CacheError`."""
        today = int(time.time()) // _DAY_S
        self._write(
            "INSERT OR REPLACE INTO facts (key, value, day) VALUES (?, ?, ?)",
            [(key, value, today) for key, value in rows],
        )

    def put(self, key: str, value: bytes) -> None:
        """Keep one value. Raises `CacheError`."""
        self.put_many([(key, value)])

    def trim(self) -> None:
        """Forget what was not used for long, and everything when it has grown too large."""
        with contextlib.suppress(sqlite3.Error, OSError):
            today = int(time.time()) // _DAY_S
            self._connection.execute("DELETE FROM facts WHERE day < ?", (today - KEPT_DAYS,))
            if self._path.stat().st_size > MAX_BYTES:
                self._connection.execute("DELETE FROM facts WHERE day < ?", (today,))
                self._connection.execute("VACUUM")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(statement, rows)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as exc:
            raise CacheError(f"the cache `{self._path}` cannot be written: {exc}") from exc

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connect(self._path)
        except sqlite3.DatabaseError:
            # It is no database, or a broken one: nothing in it is worth a repair.
            try:
                for suffix in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
                return _connect(self._path)
            except (sqlite3.Error, OSError) as exc:
                raise CacheError(f"the cache `{self._path}` cannot be used: {exc}") from exc


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # what is lost is computed again
        connection.execute("CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value BLOB, day INTEGER)")
        connection.execute("SELECT count(*) FROM (SELECT 1 FROM facts LIMIT 1)")
    except BaseException:
        connection.close()
        raise
    return connection


def key_of(kind: str, version: str, *parts: str) -> str:
    """The key of what an analyser says of something."""
    text = "\0".join((kind, version, *parts))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
