"""Ctrl-C or SIGTERM during a run: once stops kindly, so that the history stays valid; twice stops now."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pegboard.cli import signals
from pegboard.runtime import Pegboard

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@contextmanager
def stoppable(run: str, *, way_on: str | None = None) -> Iterator[Stopper]:
    """While this is open, the first signal cancels what goes on and the second ends the process.

    Args:
        run: what is cancelled
        way_on: the command that goes on after the second signal, where the store keeps runs; else that of the run
    """
    stopper = Stopper(run, way_on or f"peg runs resume {run}")
    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    before = {signum: signal.signal(signum, stopper) for signum in _NAMES}
    try:
        yield stopper
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


class Stopper:
    """What the signals call. Until it knows a board it can only give up the whole command."""

    def __init__(self, run: str, way_on: str) -> None:
        self.board: Pegboard | None = None
        """The board that drives the run, as soon as it is open."""
        self._run = run
        self._way_on = way_on
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._asked = False
        self._stopping: asyncio.Task[None] | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        signals.note(signum)
        if self._asked:
            durable = self.board is not None and self.board.durable
            way_on = f"; go on with: {self._way_on}" if durable else ""
            _tell(f"\nstopped now{way_on}\n")
            os._exit(signals.exit_code())
        self._asked = True
        _tell("\nstopping; once more to stop now\n")
        # Nothing is raised here: in the middle of the loop it could leave the loop waiting for ever.
        self._loop.call_soon_threadsafe(self._stop, _NAMES[signal.Signals(signum)])

    def _stop(self, reason: str) -> None:
        if self.board is not None and self._run in self.board.running:
            self._stopping = self._loop.create_task(self.board.cancel(self._run, reason))
        elif self._main is not None:
            self._main.cancel()


def _tell(text: str) -> None:
    # Not `print`: where the signal came in the middle of one, a second one inside it is refused.
    try:
        os.write(2, text.encode())
    except OSError:
        pass
