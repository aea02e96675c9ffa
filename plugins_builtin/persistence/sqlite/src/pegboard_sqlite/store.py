"""The store: runs, blobs and conversations in one file, for any number of processes on one machine.

It implements `Store`, `StoreControl` and `ConversationStore`. What is in the file, who writes to it and who drives a
run is in the modules beside this one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pegboard.clock import SYSTEM_CLOCK
from pegboard.errors import ConfigError, JournalCorruptError, PegboardError
from pegboard.events import Event
from pegboard.interfaces import Clock, ConversationRow, RunRow, StepRecord
from pegboard.journal import BLOB_AT_BYTES
from pegboard.memory import blob_ref
from pegboard.threads import DaemonPool
from pegboard.types import Message

from pegboard_sqlite import blobs, conversations, runs, schema, upkeep
from pegboard_sqlite.conversations import Speech
from pegboard_sqlite.faults import FAULTS, SETTING, check_place, translated
from pegboard_sqlite.owners import Owner
from pegboard_sqlite.presence import Presence
from pegboard_sqlite.records import Addition
from pegboard_sqlite.retention import KEEP_ALL, Retention
from pegboard_sqlite.runs import Runs
from pegboard_sqlite.writer import Writer

T = TypeVar("T")
_THREADS: Final = 2
"""One may wait for the disk while another reads."""
_OWNERS: Final = "owners"


class _Open:
    """What there is while the file is open."""

    def __init__(self, given: Path, pool: DaemonPool, patience_s: float) -> None:
        path = _real(given)
        check_place(path)
        self.owner = Owner(path.with_name(_OWNERS))
        self.runs = Runs(self.owner)
        self.connection = schema.open_writer(path, patience_s)
        self.reader = schema.open_reader(path, patience_s)
        self.reading = threading.Lock()
        # The log and not the file: to close the file anywhere would free SQLite's own locks on it.
        self.log = os.open(f"{path}-wal", os.O_RDWR)
        self._presence = Presence(given, self.log)
        _sync_folder(path.parent)
        self.writer = Writer(
            self.connection,
            sync=self._sync,
            checkpoint=self._checkpoint,
            check=self.check,
            forget=self.runs.forget,
            translate=partial(translated, path=path),
            pool=pool,
            patience_s=patience_s,
        )

    def read(self, function: Callable[..., T], *args: Any) -> T:
        """What a function makes of the connection that reads."""
        self._presence.check()
        with self.reading:
            return function(self.reader, *args)

    def check(self) -> None:
        """Raises `StorageError` where what would be added were not found again, or others may add to the same runs."""
        self._presence.check()
        self.owner.check()

    def close(self) -> None:
        """Let go of the file and of every run."""
        with self.reading:
            self.reader.close()
        self.connection.close()
        os.close(self.log)
        self.owner.close()

    def _sync(self) -> None:
        self.check()
        os.fdatasync(self.log) if hasattr(os, "fdatasync") else os.fsync(self.log)

    def _checkpoint(self) -> None:
        with self.reading:
            self.reader.execute("pragma wal_checkpoint(passive)").fetchall()


class SqliteStore:
    """A `Store` in one file. Nothing is opened before the first use; `aclose` ends it.

    Args:
        path: the file; its folder must be there, on a disk of this machine.
        synchronous: with `normal` only barriers are safe against a power failure, which may cost the last steps; with
            `full` everything is a barrier. A killed process loses nothing either way.
        retention: what is forgotten at the first addition.
        clock: by which runs get old.
        log: told when forgetting failed.
        patience_s: how long to wait for other processes.
    """

    durable = True

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Literal["normal", "full"] = "normal",
        retention: Retention = KEEP_ALL,
        clock: Clock = SYSTEM_CLOCK,
        log: logging.Logger | None = None,
        patience_s: float = 5.0,
    ) -> None:
        self.path = _usable(path)
        self._each_is_barrier = synchronous == "full"
        self._retention = retention
        self._clock = clock
        self._log = log or logging.getLogger(__name__)
        self._patience_s = patience_s
        self._pool = DaemonPool(_THREADS, "pegboard-sqlite")
        self._opening = threading.Lock()
        self._opened: _Open | None = None
        self._forgetting: asyncio.Task[None] | None = None

    # --- runs

    async def append(
        self, row: RunRow, events: Sequence[Event], steps: Sequence[StepRecord], *, barrier: bool = False
    ) -> None:
        """Add to a run's log; from its first addition until it ends this store is the only one that may.

        Raises:
            RunBusyError: another store drives the run, or somebody wrote meanwhile.
            StorageExhaustedError: there is no room; nothing was added.
            StorageError: the file cannot be written; nothing was added.
        """
        opened = self._opened or await self._open()
        addition = Addition(row, events, steps)
        await opened.writer.write(
            partial(opened.runs.add, addition=addition),
            size_bytes=addition.size_bytes,
            barrier=barrier or self._each_is_barrier,
            at_once=opened.runs.drives_only(row.run),
        )
        if self._retention and self._forgetting is None:
            self._forgetting = asyncio.ensure_future(self._forget())

    def append_at_once(self, row: RunRow, events: Sequence[Event], steps: Sequence[StepRecord]) -> bool:
        """As `append`, where nothing has to be waited for; false where nothing was added."""
        opened = self._opened
        if opened is None or self._each_is_barrier or not opened.runs.drives_only(row.run):
            return False
        addition = Addition(row, events, steps)
        if len(addition.steps) > BLOB_AT_BYTES:  # a result may be so large that it becomes a blob
            return False
        return opened.writer.write_at_once(partial(opened.runs.add, addition=addition), addition.size_bytes)

    async def load(self, run: str) -> tuple[RunRow, Sequence[Event], Sequence[StepRecord]]:
        """All of a run. Raises `RunNotFoundError`."""
        return await self._read(runs.load, run)

    async def runs(
        self, *, root: str | None = None, prefix: str | None = None, roots: bool = False, limit: int = 100
    ) -> Sequence[RunRow]:
        """Rows without their inputs: newest first, or with `prefix` in the order of their ids."""
        return await self._read(runs.listed, root, prefix, roots, limit)

    async def put_blob(self, data: bytes) -> str:
        """Keep bytes and return their handle, which is derived from the content."""
        opened = self._opened or await self._open()
        ref = blob_ref(data)
        await opened.writer.write(
            lambda connection: blobs.put(connection, ref, data, opened.owner.id), size_bytes=len(data)
        )
        return ref

    async def get_blob(self, ref: str, start: int = 0, size: int | None = None) -> bytes:
        """A slice of a blob; no more than that is read. Raises `RunNotFoundError` for an unknown handle."""
        return await self._read(blobs.get, ref, start, size)

    # --- those who look after it

    async def events(self, run: str, after: int = -1, limit: int | None = None) -> Sequence[Event]:
        """Events with a `seq` above `after`, without steps and blobs. Raises `RunNotFoundError`."""
        return await self._read(runs.events, run, after, limit)

    async def driven(self, runs: Sequence[str]) -> Collection[str]:
        """Those of the runs that a living process drives."""
        opened = self._opened or await self._open()
        return await self._read(opened.runs.driven, runs)

    async def check(self) -> Sequence[str]:
        """What is wrong with what is stored, in words; empty when all is well."""
        try:
            return await self._read(lambda connection: list(upkeep.problems(connection)))
        except JournalCorruptError as error:
            return [error.message]

    async def remove(self, runs: Sequence[str]) -> int:
        """Forget runs, and the blobs that no other run or conversation mentions; the bytes that were freed.

        Raises:
            RunBusyError: one is being driven; nothing was removed.
        """
        opened = self._opened or await self._open()
        try:
            return await opened.writer.alone(partial(_removed, opened=opened, runs=runs))
        except FAULTS as error:
            raise translated(error, self.path) from error

    async def size_bytes(self) -> int:
        """The room that it takes."""
        path = _real(self.path)
        files = (path, Path(f"{path}-wal"))
        return sum([file.stat().st_size for file in files if file.exists()])

    async def aclose(self) -> None:
        """Finish what is under way, and let others go on with runs that have not ended. It may be used again."""
        if self._forgetting is not None:
            await asyncio.gather(self._forgetting, return_exceptions=True)
            self._forgetting = None
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.writer.drain()
            await self._pool.run(opened.close)
        self._pool.close()

    # --- conversations

    async def append_messages(self, row: ConversationRow, messages: Sequence[Message], *, expect: int) -> None:
        """Add messages to a conversation that has `expect` of them so far. Raises `RunBusyError`."""
        opened = self._opened or await self._open()
        speech = Speech(row, messages, expect)
        await opened.writer.write(
            lambda connection: conversations.add(connection, speech, opened.owner),
            size_bytes=speech.size_bytes,
            barrier=self._each_is_barrier,
        )

    async def load_conversation(self, id: str) -> tuple[ConversationRow, Sequence[Message]]:
        """All of a conversation. Raises `RunNotFoundError`."""
        return await self._read(conversations.load, id)

    async def conversations(self, *, limit: int = 100) -> Sequence[ConversationRow]:
        """Newest first."""
        return await self._read(conversations.newest, limit)

    # --- inside

    async def _open(self) -> _Open:
        return await self._pool.run(self._opened_now)

    def _opened_now(self) -> _Open:
        with self._opening:
            if self._opened is None:
                try:
                    self._opened = _Open(self.path, self._pool, self._patience_s)
                except FAULTS as error:
                    raise translated(error, self.path) from error
            return self._opened

    async def _read(self, function: Callable[..., T], *args: Any) -> T:
        opened = self._opened or await self._open()
        try:
            return await self._pool.run(opened.read, function, *args)
        except FAULTS as error:
            raise translated(error, self.path) from error

    async def _forget(self) -> None:
        opened = self._opened or await self._open()
        before = self._retention.oldest_at(self._clock.time())
        try:
            outdated = await self._read(opened.runs.outdated, before, self._retention.keep_runs)
            if outdated:
                await self.remove(outdated)
        except PegboardError as error:
            self._log.warning("old runs could not be forgotten: %s", error)


def _removed(connection: sqlite3.Connection, opened: _Open, runs: Sequence[str]) -> int:
    opened.check()
    return upkeep.remove(connection, opened.runs, runs)


def _usable(path: str | Path) -> Path:
    """A path that the system takes. Raises `ConfigError`."""
    if "\0" in str(path):
        raise ConfigError(f"the store cannot be at {str(path)!r}", hint=SETTING)
    return Path(path).absolute()


def _real(path: Path) -> Path:
    """Where the file is: SQLite follows links, and its log and the locks are beside the file and not beside a link."""
    return Path(os.path.realpath(path))


def _sync_folder(folder: Path) -> None:
    """Make sure that a new file is found in its folder after a power failure."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
