"""A terminal that several write to, with a block of live lines that is always the last thing on it.

Whatever the streams of this process write goes above the block, and the block is drawn again in the same write: text
that comes piece by piece stays whole. The cursor rests in the line below the block and is never hidden, and no mode of
the terminal is changed, so that a process that is killed at any moment leaves whole lines and a usable terminal.

Not `rich.live.Live`: it hides the cursor, ends text without a line break by force, and costs 60 ms at each start.
"""

from __future__ import annotations

import os
import re
import select
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TextIO

from pegboard_console.cells import cells_of
from pegboard_console.footer import Size

_UP: Final = "\x1b[{}A"
_CLEAR_BELOW: Final = "\x1b[J"
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_TAB: Final = 8
_USUAL: Final = Size(80, 24)


class Screen:
    """The terminal behind a file descriptor. All of it may be called from any thread, and from a signal handler."""

    def __init__(self, descriptor: int, encoding: str = "utf-8") -> None:
        self.lock = threading.RLock()
        self.asked = False
        """Whether a line is left open on a stream that is for talk: a question, and the answer belongs behind it."""
        self.due: Callable[[], list[str]] | None = None
        """Lines of what happened before the text that somebody writes now: they go above it."""
        self.when_ended: Callable[[], None] | None = None
        """Called when somebody ends the line that is open."""
        self._descriptor = descriptor
        self._encoding = encoding
        self._process = os.getpid()
        self._block: tuple[str, ...] = ()
        self._rows = 0
        """Rows that the block takes on the terminal now."""
        self._columns = 0
        """How wide the terminal was when the block was made."""
        self._row = ""
        """What stands in the row that is written in, where the last write did not end it."""
        self._is_talk = False
        """Whether that was written on a stream that is for talk."""

    @property
    def size(self) -> Size:
        """The room there is now."""
        try:
            columns, rows = os.get_terminal_size(self._descriptor)
        except OSError:
            return _USUAL
        return Size(columns or _USUAL.columns, rows or _USUAL.rows)

    @property
    def is_open(self) -> bool:
        """Whether the last line was not ended yet."""
        return bool(self._row)

    def is_same(self, descriptor: int) -> bool:
        """Whether another descriptor leads to the same terminal."""
        return os.fstat(descriptor).st_rdev == os.fstat(self._descriptor).st_rdev

    def is_own(self) -> bool:
        """Whether this is the process that draws, and not one that was forked from it."""
        return os.getpid() == self._process

    def write(self, text: str, *, question: bool = False) -> None:
        """Put text of somebody above the block. A `question` that leaves its line open takes the block away."""
        with self.lock:
            due = self.due() if self.due is not None and not self.is_open else ()
            begin = self._erased() + "".join(f"{line}\n" for line in due)
            if question and self.is_open and not self._is_talk:  # of an answer, in which no word of others belongs
                begin, self._row = f"{begin}\n", ""
            self._is_talk = question
            self._advance(text)
            self.asked = question and self.is_open
            self._send(begin + text + ("" if self.asked else self._drawn()))
            if self.when_ended is not None and not self.is_open:
                self.when_ended()

    def show(self, lines: Iterable[str], block: Sequence[str]) -> None:
        """Put whole lines above the block, and change the block."""
        with self.lock:
            above = "".join(f"{line}\n" for line in lines)
            if not above and self._rows == len(block) and self._block == tuple(block):
                return
            begin = self._erased()
            if above and self.is_open:
                begin, self._row = f"{begin}\n", ""
            self._block, self._columns = tuple(block), self.size.columns
            self._send(begin + above + self._drawn())

    def clear(self) -> None:
        """Take the block away; the cursor stands where the text ends."""
        with self.lock:
            erased, self._block = self._erased(), ()
            if erased:
                self._send(erased)

    def end_line(self) -> None:
        """Somebody else, as a person with the return key, has ended the line that was open."""
        with self.lock:
            self._row, self.asked = "", False

    def forget(self) -> None:
        """Others have written where this knows nothing of it: leave what stands there and begin below."""
        with self.lock:
            self._rows, self._row = 0, ""

    # --- what is sent

    def _erased(self) -> str:
        """What removes the block and brings the cursor to the end of the text."""
        rows, self._rows = self._rows, 0
        if not rows:
            return ""
        erased = f"\r{_UP.format(rows)}{_CLEAR_BELOW}"
        # The row is written again: a cursor behind its last column cannot be put there by moving it.
        return f"{erased}{_UP.format(1)}\r{self._row}" if self._row else erased

    def _drawn(self) -> str:
        if not self._block or self.size.columns != self._columns:  # in another width its lines would wrap
            return ""
        self._rows = len(self._block)
        return ("\n" if self._row else "") + "".join(f"{line}\n" for line in self._block)

    def _advance(self, text: str) -> None:
        """Follow what a text does to the row that is written in."""
        row = text.rpartition("\n")[2] if "\n" in text else self._row + text
        row = row.rpartition("\r")[2]
        self._row = row if row.isascii() and row.isprintable() and len(row) <= self.size.columns else self._wrapped(row)

    def _wrapped(self, row: str) -> str:
        """The part of a long line that stands in its last row."""
        columns, column, begin, position = self.size.columns, 0, 0, 0
        while position < len(row):
            colour = _COLOUR.match(row, position)
            if colour:
                position = colour.end()
                continue
            width = cells_of(row[position])
            if row[position] == "\t":
                width = min(_TAB - column % _TAB, columns - 1 - column)
            if column + width > columns:
                begin, column = position, 0
            column += width
            position += 1
        return row[begin:]

    def _send(self, text: str) -> None:
        data = text.encode(self._encoding, "backslashreplace")
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody made the terminal non-blocking; it is ours to wait then
                select.select((), (self._descriptor,), ())


class Above:
    """Stands for a stream that leads to the terminal: what is written to it goes above the block."""

    def __init__(self, stream: TextIO, screen: Screen, *, talk: bool) -> None:
        self.stream = stream
        self._screen = screen
        self._talk = talk

    def write(self, text: str) -> int:
        """Write it at once."""
        if not self._screen.is_own():
            return self.stream.write(text)
        if text:
            self._screen.write(text, question=self._talk)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write them at once."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Nothing is held back here."""
        if not self._screen.is_own():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


__all__ = ["Above", "Screen"]
