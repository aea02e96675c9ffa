"""The one connection that writes, and who may use it when.

What is to be written within one tick of the event loop is committed together at its end, in the loop: handing it to a
thread costs several times as much as the commit. What has to wait, for another process, for a slow disk, or since there
is much of it, is done in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final, TypeVar

from pegboard.errors import PegboardError
from pegboard.threads import DaemonPool

from pegboard_sqlite.faults import is_busy

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

IN_LOOP_BYTES: Final = 256 * 1024
"""More than this is committed in a thread."""
CHECKPOINT_PAGES: Final = 4000
_PAGE_BYTES: Final = 4096
_PAGES_OF_COMMIT: Final = 2
"""How many pages a commit changes beside those that it fills."""
_CHECK_EVERY_S: Final = 0.001
"""To look at every commit would cost a tenth of it where they come without a pause."""
_IN_A_ROW: Final = 64
"""So many may be written at once before the loop gets its turn: who writes without a pause would have it alone."""
_FAST_SYNC_S: Final = 0.001
"""A disk that syncs faster is synced in the loop, which a hand-over to a thread and back would keep busy as well."""
_SLOW_SYNCS: Final = 8
"""How many syncs go to the thread after one that was not so fast."""


class Write:
    """Something to be written, and who waits for it."""

    __slots__ = ("_future", "_settled", "barrier", "error", "result", "size_bytes", "work")

    def __init__(self, work: Work, size_bytes: int, barrier: bool) -> None:
        self.work = work
        self.size_bytes = size_bytes
        self.barrier = barrier
        self.result: Any = None
        self.error: BaseException | None = None
        self._settled = False
        self._future: asyncio.Future[None] | None = None

    def settle(self) -> None:
        """Let go on who waits."""
        self._settled = True
        if self._future is not None and not self._future.done():  # it is, where who waited was cancelled
            self._future.set_result(None)

    async def outcome(self) -> Any:
        """What came of it, once it is settled."""
        if not self._settled:
            self._future = asyncio.get_running_loop().create_future()
            await self._future
        if self.error is not None:
            raise self.error
        return self.result


class Writer:
    """Commits in groups.

    Args:
        connection: used by nobody else.
        sync: returns when everything committed so far is safe against a power failure.
        checkpoint: moves what was committed into the file itself, beside writers.
        check: called before commits; what it raises undoes the transaction.
        forget: called when a transaction was undone.
        translate: what to raise for an error of SQLite or the system.
        pool: where it waits.
        patience_s: for how long, for other processes.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        sync: Callable[[], None],
        checkpoint: Callable[[], None],
        check: Callable[[], None],
        forget: Callable[[], None],
        translate: Callable[[BaseException], BaseException],
        pool: DaemonPool,
        patience_s: float,
    ) -> None:
        self._connection = connection
        self._sync = sync
        self._checkpoint = checkpoint
        self._check = check
        self._check_at = 0.0
        self._forget = forget
        self._translate = translate
        self._pool = pool
        self._patience_ms = int(patience_s * 1000)
        self._lock = threading.Lock()
        self._waiting: list[Write] = []
        self._unsynced: list[Write] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        """That of the tick that will commit."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._syncing: asyncio.Task[None] | None = None
        self._slow_syncs = 1  # the first: nothing is known of the disk yet
        self._pages = 0
        self._in_a_row = 0
        self._connection.execute("pragma busy_timeout = 0")

    async def write(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        size_bytes: int = 0,
        barrier: bool = False,
        at_once: bool = False,
    ) -> T:
        """Do `work` in a transaction, and return when it is committed.

        Args:
            work: changes nothing before it raises a `PegboardError`; with other errors the transaction is undone
            size_bytes: about how much it writes
            barrier: return only when it is safe against a power failure
            at_once: nothing else can be expected in this tick
        """
        write = Write(work, size_bytes, barrier)
        self._waiting.append(write)
        if at_once and len(self._waiting) == 1 and self._in_a_row < _IN_A_ROW:
            self._in_a_row += 1
            self._tick()
        elif self._loop is not (loop := asyncio.get_running_loop()):
            self._loop = loop
            loop.call_soon(self._tick)
            self._in_a_row = 0
        result: T = await write.outcome()
        return result

    def write_at_once(self, work: Work, size_bytes: int) -> bool:
        """Do `work` in a transaction now; false where nothing was done, since it would have to be waited for."""
        if self._waiting or size_bytes > IN_LOOP_BYTES or self._in_a_row >= _IN_A_ROW:
            return False
        if not self._lock.acquire(blocking=False):
            return False
        write = Write(work, size_bytes, barrier=False)
        self._in_a_row += 1
        try:
            busy = self._commit([write])
        finally:
            self._lock.release()
        if busy is not None:
            return False
        self._committed([write])
        if write.error is not None:
            raise write.error
        return True

    async def alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in a thread, while nobody else writes; it begins and ends its transactions itself."""
        return await self._pool.run(self._alone, work)

    async def drain(self) -> None:
        """Wait for everything that is under way."""
        while self._tasks or self._waiting:
            if self._waiting:
                self._tick()
            tasks = list(self._tasks)
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.difference_update(tasks)  # on Python 3.12 to await done ones is no turn of the loop

    # --- in the loop

    def _tick(self) -> None:
        self._loop = None
        writes, self._waiting = self._waiting, []
        if not writes:
            return
        large = sum([write.size_bytes for write in writes]) > IN_LOOP_BYTES
        if large or not self._lock.acquire(blocking=False):
            self._start(self._in_thread(writes))
            return
        try:
            busy = self._commit(writes)
        finally:
            self._lock.release()
        if busy is None:
            self._committed(writes)
        else:
            self._start(self._in_thread(writes))

    def _committed(self, writes: Sequence[Write]) -> None:
        for write in writes:
            if write.barrier and write.error is None:
                self._unsynced.append(write)
            else:
                write.settle()
        if self._unsynced and self._syncing is None:
            if self._slow_syncs:
                self._syncing = self._start(self._sync_in_thread())
            else:
                self._sync_now()
        if self._pages > CHECKPOINT_PAGES:
            self._pages = 0
            self._start(self._pool.run(self._checkpoint_all))

    async def _in_thread(self, writes: Sequence[Write]) -> None:
        await self._pool.run(self._commit_patiently, writes)
        self._committed(writes)

    def _sync_now(self) -> None:
        writes, self._unsynced = self._unsynced, []
        self._timed_sync(writes)
        for write in writes:
            write.settle()

    async def _sync_in_thread(self) -> None:
        try:
            while self._unsynced:
                writes, self._unsynced = self._unsynced, []
                await self._pool.run(self._timed_sync, writes)
                for write in writes:
                    write.settle()
        finally:
            self._syncing = None

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- anywhere

    def _commit(self, writes: Sequence[Write]) -> sqlite3.Error | None:
        """Commit, all together or else one by one; an error where another process is at it and nothing was tried."""
        try:
            self._together(writes)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and is_busy(error):
                return error
            for write in writes:
                self._by_itself(write)
        return None

    def _by_itself(self, write: Write) -> None:
        write.error = None
        try:
            self._together([write])
        except Exception as error:
            write.error = self._translate(error)

    def _together(self, writes: Sequence[Write]) -> None:
        connection = self._connection
        connection.execute("begin immediate")
        began = perf_counter()
        try:
            for write in writes:
                try:
                    write.result = write.work(connection)
                except PegboardError as error:
                    write.error = error
            if began > self._check_at:
                self._check()
                self._check_at = began + _CHECK_EVERY_S
            connection.execute("commit")
        except BaseException:
            self._forget()
            with contextlib.suppress(sqlite3.Error):
                connection.execute("rollback")
            raise
        self._pages += _PAGES_OF_COMMIT + sum([write.size_bytes for write in writes]) // _PAGE_BYTES

    def _timed_sync(self, writes: Sequence[Write]) -> None:
        began = perf_counter()
        try:
            self._sync()
        except (OSError, PegboardError) as error:
            for write in writes:
                write.error = self._translate(error)
        took = perf_counter() - began
        self._slow_syncs = _SLOW_SYNCS if took > _FAST_SYNC_S else max(self._slow_syncs - 1, 0)

    # --- in a thread

    def _commit_patiently(self, writes: Sequence[Write]) -> None:
        with self._lock, self._patience():
            busy = self._commit(writes)
            if busy is not None:
                for write in writes:
                    write.error = self._translate(busy)

    def _alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, self._patience():
            return work(self._connection)

    def _checkpoint_all(self) -> None:
        """Most of it beside writers, then the rest while nobody writes: only then is the log begun anew."""
        with contextlib.suppress(sqlite3.Error):  # another process is at it, or the next time will do
            self._checkpoint()
            with self._lock:
                self._connection.execute("pragma wal_checkpoint(passive)").fetchall()

    @contextlib.contextmanager
    def _patience(self) -> Any:
        self._connection.execute(f"pragma busy_timeout = {self._patience_ms}")
        try:
            yield
        finally:
            self._connection.execute("pragma busy_timeout = 0")
