"""Ctrl-C during a run: once stops kindly, so that the history stays valid; twice stops now."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pegboard.errors import ExitCode
from pegboard.runtime import Pegboard


@contextmanager
def stopped_by_interrupt(board: Pegboard, run: str) -> Iterator[None]:
    """While this is open, the first Ctrl-C cancels the run and the second ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopper = _Stopper(board, run)
    before = signal.signal(signal.SIGINT, stopper)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Stopper:
    def __init__(self, board: Pegboard, run: str) -> None:
        self._board = board
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._asked = False
        self._stopping: asyncio.Task[None] | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self._asked:
            way_on = f"; go on with: peg run --resume {self._run}" if self._board.durable else ""
            os.write(2, f"\nstopped now{way_on}\n".encode())
            os._exit(ExitCode.INTERRUPTED)
        self._asked = True
        # Not `print`: where the signal came in the middle of one, a second one inside it is refused.
        os.write(2, b"\nstopping; once more to stop now\n")
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._run in self._board.running:
            self._stopping = self._loop.create_task(self._board.cancel(self._run, "Ctrl-C"))
        elif self._main is not None:
            self._main.cancel()
