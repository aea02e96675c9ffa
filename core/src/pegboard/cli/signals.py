"""Which signal ends this process, from its first line on: Ctrl-C has another exit code than SIGTERM."""

from __future__ import annotations

import signal
from types import FrameType

from pegboard.errors import ExitCode, PegboardError, RunCancelledError

_received: set[int] = set()


def listen() -> None:
    """Have SIGTERM end what Ctrl-C ends: what is on the disk is put in order, and nobody is blamed for our end."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)


def note(signum: int) -> None:
    """Remember a signal for the exit code."""
    _received.add(signum)


def exit_code() -> ExitCode:
    """That of a process which a signal ended."""
    return ExitCode.TERMINATED if signal.SIGTERM in _received else ExitCode.INTERRUPTED


def cancelled(cause: BaseException | str) -> PegboardError:
    """The error for what a signal ended; where there is one already, that one with the exit code."""
    error = cause if isinstance(cause, PegboardError) else RunCancelledError(str(cause))
    error.exit_code = exit_code()
    return error


def _terminated(signum: int, frame: FrameType | None) -> None:
    note(signum)
    on_interrupt = signal.getsignal(signal.SIGINT)
    if not callable(on_interrupt):
        raise KeyboardInterrupt
    # While an event loop runs that is the loop's: an exception in the middle of it could leave it waiting for ever.
    on_interrupt(signal.SIGINT, frame)
