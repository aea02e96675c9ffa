"""The plugin: writes a line for each event of a run to stderr, or to stdout where the settings say so."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Final, Literal, TextIO

import msgspec
from pegboard import hookimpl
from pegboard.events import Event
from pegboard.interfaces import HostContext

from pegboard_console.lines import Line, Tone, Verbosity, line_for, summary, unsaid
from pegboard_console.text import allows_colour, coloured, visible

_COLOURS: Final[dict[Tone, str]] = {"good": "green", "bad": "red", "warn": "yellow", "faint": "dim"}
_SHORT_ID: Final = 8
_BOARD: Final = "board"
"""The run of events that belong to no run."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `[plugins.console]` may say."""

    verbosity: Verbosity = "normal"
    stream: Literal["stderr", "stdout"] = "stderr"


class Plugin:
    """Line output of runs. It keeps nothing but the depth of the runs that are going on."""

    def __init__(self) -> None:
        self._settings = Settings()
        self._unsaid = unsaid(self._settings.verbosity)
        self._colour = False
        self._depths: dict[str, int] = {}
        self._broken = False
        self._silent = False

    def activate(self, ctx: HostContext) -> None:
        """Read the settings, and whether colour is allowed."""
        self._settings = msgspec.convert(ctx.config or {}, Settings)
        self._unsaid = unsaid(self._settings.verbosity)
        if os.environ.get("PEGBOARD_QUIET"):  # `peg --quiet`: nothing but what went wrong
            self._settings = msgspec.structs.replace(self._settings, verbosity="quiet")
            self._silent = True
        stream = self._stream
        self._colour = stream is not None and allows_colour(stream, os.environ)

    @hookimpl
    def on_event(self, event: Event) -> None:
        """Write what is to be said of the event."""
        if event.kind in self._unsaid:  # most of them: everything here is in the way of a run
            return
        depth = self._depth(event)
        for line in self._lines(event, depth):
            self._write(self._rendered(event, line, depth))
        if event.kind == "run.finished":
            self._depths.pop(event.run, None)

    def _lines(self, event: Event, depth: int) -> Iterable[Line]:
        if event.kind == "run.finished" and depth == 0:
            went_well = event.data.get("end_reason") == "completed" and not event.data.get("degraded")
            return () if self._silent and went_well else (summary(event),)
        line = line_for(event, self._settings.verbosity)
        return (line,) if line is not None else ()

    def _depth(self, event: Event) -> int:
        """How many runs this one is inside of; a parent that was not seen counts as one."""
        depth = self._depths.get(event.run)
        if depth is None:
            depth = self._depths.get(event.parent, 0) + 1 if event.parent else 0
            self._depths[event.run] = depth
        return depth

    def _rendered(self, event: Event, line: Line, depth: int) -> str:
        words = line.words
        if self._colour and line.tone in _COLOURS:
            words = coloured(words, _COLOURS[line.tone])
        run = f"run {visible(event.run[:_SHORT_ID])} " if event.run != _BOARD else ""
        return f"{'  ' * depth}{run}{words}\n"

    def _write(self, text: str) -> None:
        stream = self._stream
        if stream is None or self._broken:
            return
        try:
            encoding = getattr(stream, "encoding", None) or "utf-8"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except (OSError, ValueError):
            # Whoever read has gone. A run does not fail because nobody watches it any more.
            self._broken = True

    @property
    def _stream(self) -> TextIO | None:
        """`None` where there is none, as under `pythonw`."""
        # Looked up each time: whoever redirects the stream for a while gets these lines too.
        return sys.stderr if self._settings.stream == "stderr" else sys.stdout
