"""Signals that ask us to end, while installed files are being changed: they wait until nothing is half done."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ASKING = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """We were asked to end, and what had been begun is ended."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def exit_status(self) -> int:
        """What a shell calls an end by this signal."""
        return 128 + self.signum


class Interrupts:
    """Turns the signals into `Interrupted`: at once, or at the end of a section that must not be left half way."""

    def __init__(self) -> None:
        self._held = False
        self._came: int | None = None

    @contextmanager
    def caught(self) -> Iterator[None]:
        """While this is open, the signals are ours; only the main thread can have them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {signum: signal.signal(signum, self._on_signal) for signum in _ASKING}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A section that is not left half way; a signal that came meanwhile is raised at its end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._raise()

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Inside of such a section: a part that may be broken off, since whoever holds the section mends that."""
        self._raise()
        self._held = False
        try:
            yield
        finally:
            self._held = True

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._came is None and self._held:
            # Not `print`: where the signal came in the middle of one, a second one inside it is refused.
            os.write(2, b"\nstopping as soon as nothing is left half done\n")
        self._came = signum
        if not self._held:
            self._raise()

    def _raise(self) -> None:
        if self._came is not None:
            raise Interrupted(self._came)
