"""The live display of a board: takes events, and a thread of its own draws what has come of them.

The thread lives from the beginning of the first run to the end of the last one. `take` is in the way of every event and
only remembers it; it acts at once where that cannot wait: when the first run begins, when the last one ends, and when a
person is asked.
"""

from __future__ import annotations

import asyncio
import atexit
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final, TextIO

from pegboard.events import Event

from pegboard_console.footer import footer
from pegboard_console.lines import Line
from pegboard_console.screen import Above, Screen
from pegboard_console.state import State

EVERY_S: Final = 0.1
"""Drawn ten times a second at most,"""
SHARE_OF_TIME: Final = 10
"""and so that of so many seconds one at most is spent with drawing."""
STALLED_S: Final = 2.0
"""After which lines are put behind text that does not come to the end of its line."""
_AT_ONCE: Final = frozenset({"run.started", "run.resumed", "run.finished", "approval.requested", "approval.decided"})
SIGNAL_WAITS_S: Final = 0.5
"""How long a signal waits for a terminal that takes nothing."""


class Live:
    """What is shown of the runs of one board while they go on."""

    def __init__(
        self,
        stream: TextIO,
        say: Callable[[Event], str | None],
        paint: Callable[[Line], str],
        failed: Callable[[Exception, list[str]], None],
        output: Any = None,
    ) -> None:
        """`say` has the line for the history, `paint` colours one, `failed` is told why there is no display any more.

        `output` is the `pegboard.cli.contract.Output` of the command, where there is one.
        """
        self.screen = Screen(stream.fileno(), stream.encoding or "utf-8")
        self._say = say
        self._paint = paint
        self._failed = failed
        self._output = output
        self._events: deque[Event] = deque()
        self._state = State()
        self._roots: set[str] = set()
        self._lines: list[str] = []
        """Lines that wait for the end of a line that is open."""
        self._last_lines: list[str] = []
        """Those about the end of outermost runs, which come behind the answer."""
        self._held_since = 0.0
        self._asked: set[tuple[str, str]] = set()
        """Approvals that wait for an answer: run and id."""
        self._stopping = False
        self._last: asyncio.TimerHandle | None = None
        """What says the last words, where a run has ended."""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._handlers: dict[int, tuple[Any, Any]] = {}
        self._streams: list[tuple[Any, str, Above]] = []

    # --- events

    def take(self, event: Event) -> None:
        """Remember an event."""
        self._events.append(event)
        if event.kind in _AT_ONCE or self._thread is None:
            self._guarded(self._act, event)

    def _act(self, event: Event) -> None:
        with self.screen.lock:
            if event.kind in ("run.started", "run.resumed"):
                self._begun(event)
            elif event.kind == "run.finished":
                self._finished(event)
            elif event.kind == "approval.requested":
                self._ask(event)
            elif event.kind == "approval.decided":
                self._answered({(event.run, str(event.data.get("id")))})
        if not self._roots:
            self.stop()

    def _begun(self, event: Event) -> None:
        if event.parent is None:
            self._roots.add(event.run)
        if self._roots and self._thread is None:
            self._start()

    def _finished(self, event: Event) -> None:
        self._roots.discard(event.run)
        self._answered({key for key in self._asked if key[0] == event.run})

    def _ask(self, event: Event) -> None:
        self._fold()
        self.screen.show(self._ready(force=True), ())
        self._asked.add((event.run, str(event.data.get("id"))))

    def _answered(self, keys: set[tuple[str, str]]) -> None:
        if self._asked & keys:
            self._asked -= keys
            if not self._asked and self.screen.asked:
                self.screen.end_line()

    def _fold(self) -> None:
        """Bring what is known up to date, and the lines that are to be printed."""
        while self._events:
            event = self._events.popleft()
            self._state.fold(event)
            said = self._say(event)
            if said is None:
                continue
            if event.kind == "run.finished" and event.parent is None:
                self._last_lines.append(said)
            else:
                self._lines.append(said)

    # --- drawing

    def _draw(self) -> None:
        with self.screen.lock:
            self._fold()
            if self._asked or self.screen.asked:
                return
            block = footer(self._state, time.time(), self.screen.size, stopping=self._stopping)
            self.screen.show(self._ready(), [self._paint(line) for line in block])

    def _ready(self, *, force: bool = False, all: bool = False) -> list[str]:
        """The lines to print now. Text that comes piece by piece is not cut in two, unless it has stalled."""
        if all or self._roots:
            self._lines, self._last_lines = self._lines + self._last_lines, []
        if not self._lines or not self.screen.is_open:
            self._held_since = 0.0
        elif not force:
            self._held_since = self._held_since or time.monotonic()
            if time.monotonic() - self._held_since < STALLED_S:
                return []
        lines, self._lines = self._lines, []
        return lines

    def _due(self) -> list[str]:
        self._fold()
        return self._ready()

    def _keep_drawing(self) -> None:
        pause = EVERY_S
        while not self._over.wait(pause):
            begun = time.perf_counter()
            if not self._guarded(self._draw):
                return
            pause = max(EVERY_S, SHARE_OF_TIME * (time.perf_counter() - begun))

    def _guarded(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Draw; where that fails, the run goes on with lines alone."""
        try:
            call(*arguments)
        except Exception as error:
            self._give_up(error)
            return False
        return True

    def _give_up(self, error: Exception) -> None:
        self._over.set()
        with suppress(OSError):
            self.screen.clear()
        self._detach()
        events, self._events = list(self._events), deque()
        lines, self._lines, self._last_lines = self._lines + self._last_lines, [], []
        self._failed(error, lines + [said for event in events if (said := self._say(event)) is not None])

    # --- from the first run to the last

    def _start(self) -> None:
        self._over.clear()
        self._stopping = False
        self._forget_last()
        self.screen.due = self._due
        self._attach()
        atexit.register(self.stop)
        self._listen()
        self._thread = threading.Thread(target=self._keep_drawing, name="pegboard-console", daemon=True)
        self._thread.start()

    def stop(self, *, closing: bool = False) -> None:
        """Say what is left to say and take the live lines away; the streams are given back, if need be at once."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._over.set()
            thread.join(1.0)
            self._stop_listening()
            atexit.unregister(self.stop)
        with self.screen.lock:
            self._fold()
            self.screen.clear()
            self.screen.due = None
            if closing:
                self._forget_last()
            if self._streams and not closing and self._answer_follows():
                self.screen.show(self._ready(), ())
                return
            self.screen.show(self._ready(force=True, all=True), ())
            self._detach()

    def settle(self) -> None:
        """Say what waits for the end of an answer: it has ended, and a person is about to type."""
        if not self._roots:
            self.stop(closing=True)

    def _answer_follows(self) -> bool:
        """See to it that what is left to say comes behind the answer, of which the last pieces may still be on the way.

        What a command has not written a moment after the run's end is not waited for; nor is a closing board.
        """
        if self.screen.is_open and not self.screen.asked:
            self.screen.when_ended = self.stop
            return True
        if self._last is not None or not any(name == "data" for _, name, _ in self._streams):
            self._last = None
            return False
        try:
            self._last = asyncio.get_running_loop().call_later(EVERY_S, self.stop)
        except RuntimeError:  # no loop, nobody who writes later
            return False
        return True

    def _forget_last(self) -> None:
        self.screen.when_ended = None
        if self._last is not None:
            self._last.cancel()
            self._last = None

    def _attach(self) -> None:
        """Have the streams that lead to this terminal write above the live lines."""
        if self._streams:
            return
        for holder, name, talk in ((sys, "stderr", True), (sys, "stdout", True), (self._output, "data", False)):
            stream = getattr(holder, name, None)
            stream = stream.stream if isinstance(stream, Above) else stream
            if stream is not None and _same_terminal(stream, self.screen):
                stream.flush()
                above = Above(stream, self.screen, talk=talk)
                setattr(holder, name, above)
                self._streams.append((holder, name, above))

    def _detach(self) -> None:
        for holder, name, above in self._streams:
            if getattr(holder, name) is above:  # else somebody has put another in its place, and is to take it away
                setattr(holder, name, above.stream)
        self._streams = []
        self.screen.when_ended = None

    # --- signals

    def _listen(self) -> None:
        """See to the live lines before a command talks of a signal. The handlers of other programs are left alone."""
        if self._output is None or threading.current_thread() is not threading.main_thread():
            return
        self._handle(signal.SIGINT, self._on_stop)
        self._handle(signal.SIGTERM, self._on_stop)
        self._handle(signal.SIGCONT, self._on_continue)

    def _handle(self, signum: int, handler: Callable[[int, FrameType | None], None]) -> None:
        before = signal.getsignal(signum)
        if callable(before) or signum == signal.SIGCONT:
            self._handlers[signum] = handler, before
            signal.signal(signum, handler)

    def _stop_listening(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for signum, (own, before) in self._handlers.items():
            if signal.getsignal(signum) == own:
                signal.signal(signum, before)
        self._handlers = {}

    def _on_stop(self, signum: int, frame: FrameType | None) -> None:
        """Clear the place for what is said of the signal; that begins with the end of a line and ends with one.

        Nothing is drawn until it is said: a second signal ends the process there, and no block may come behind it.
        """
        self._stopping = True
        mine = self.screen.lock.acquire(timeout=SIGNAL_WAITS_S)
        try:
            if mine:
                self.screen.clear()
                self.screen.end_line()
            self._handlers[signum][1](signum, frame)
        finally:
            if mine:
                self.screen.lock.release()

    def _on_continue(self, signum: int, frame: FrameType | None) -> None:
        """While the process was stopped the terminal belonged to the shell."""
        self.screen.forget()
        before = self._handlers[signum][1]
        if callable(before):
            before(signum, frame)


def _same_terminal(stream: Any, screen: Screen) -> bool:
    try:
        return stream.isatty() and screen.is_same(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False


__all__ = ["EVERY_S", "SHARE_OF_TIME", "SIGNAL_WAITS_S", "STALLED_S", "Live"]
