"""The plugin: says of each event of a run what is to be said, as a plain line or above the live lines of a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TextIO

import msgspec
from pegboard import hookimpl
from pegboard.events import Event
from pegboard.interfaces import HostContext
from pegboard.lazy import LazyModule

from pegboard_console.lines import Line, Tone, Verbosity, is_plain_to_see, is_told_otherwise, line_for, summary, unsaid
from pegboard_console.passed_on import PassedOn
from pegboard_console.text import allows_colour, coloured, visible

if TYPE_CHECKING:
    import pegboard_console.live as display
else:
    display = LazyModule("pegboard_console.live")  # of no use but on a terminal

_COLOURS: Final[dict[Tone, str]] = {"good": "green", "bad": "red", "warn": "yellow", "faint": "dim"}
_TOLD_BY_PEG: Final = frozenset(
    (
        "approval.requested",
        "approval.decided",
        "run.degraded",
        "run.paused",
        "run.cancelled",
        "step.failed",
        "phase.error",
    )
)
"""Of which nothing is said under `peg --quiet`, which asks and tells of the end itself, and of no talk but errors."""
_SHORT_ID: Final = 8
_BOARD: Final = "board"
"""The run of events that belong to no run."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `[plugins.console]` may say."""

    verbosity: Verbosity = "normal"
    stream: Literal["stderr", "stdout"] = "stderr"
    live: Literal["auto", "on", "off"] = "auto"


class _Place(NamedTuple):
    """Where a run stands."""

    depth: int
    lead: str
    """What its lines begin with."""


_OUTERMOST: Final = _Place(0, "")


class Plugin:
    """Line output of runs. Without live lines it keeps nothing but where the runs that are going on stand."""

    def __init__(self) -> None:
        self._settings = Settings()
        self._unsaid = unsaid(self._settings.verbosity)
        self._colour = False
        self._places: dict[str, _Place] = {}
        self._passed_on = PassedOn()
        self._in_peg = False
        """Whether a command of `peg` runs us, which tells of the error that ends the run."""
        self._talks = False
        """Whether that command is a talk with a person, who knows that they asked and sees the answer."""
        self._broken = False
        self._silent = False
        self._live: display.Live | None = None

    async def activate(self, ctx: HostContext) -> None:
        """Read the settings, and what the terminal allows.

        A coroutine, since it is called where the command runs, whose output is known there and in no other thread.
        """
        self._settings = msgspec.convert(ctx.config or {}, Settings)
        self._unsaid = unsaid(self._settings.verbosity)
        if os.environ.get("PEGBOARD_QUIET"):  # `peg --quiet`: nothing but what went wrong
            self._settings = msgspec.structs.replace(self._settings, verbosity="quiet")
            self._unsaid = unsaid("quiet") | _TOLD_BY_PEG
            self._silent = True
        stream = self._stream
        self._colour = stream is not None and allows_colour(stream, os.environ)
        output = _output()
        self._in_peg = output is not None
        self._talks = output is not None and output.talks
        if output is not None and output.no_color:
            self._colour = False
        if stream is not None and may_be_live(self._settings.live, stream, output):
            self._live = display.Live(stream, self._said, self._coloured, self._only_lines, output)
            if output is not None:
                output.before_prompt.append(self._live.settle)
            self._unsaid = frozenset()
        elif output is not None and not self._silent and stream is not None and stream.isatty():
            output.live = False  # nothing here would keep a line apart from an answer that comes piece by piece

    async def deactivate(self, ctx: HostContext) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop(closing=True)

    @hookimpl
    def on_event(self, event: Event) -> None:
        """Write what is to be said of the event."""
        if event.kind in self._unsaid:  # most of them: everything here is in the way of a run
            return
        if self._live is not None:
            self._live.take(event)
            return
        said = self._said(event)
        if said is not None:
            self._write(f"{said}\n")

    def _said(self, event: Event) -> str | None:
        place = self._places.get(event.run) or self._found(event)
        line = self._line(event, place)
        if event.kind == "run.finished":
            self._places.pop(event.run, None)
            self._passed_on.forget(event.run)
        return None if line is None else f"{place.lead}{self._coloured(line)}"

    def _only_lines(self, error: Exception, lines: list[str]) -> None:
        """There are no live lines any more; `lines` were not said yet."""
        self._live = None
        self._unsaid = unsaid(self._settings.verbosity)
        note = self._coloured(Line(f"live lines ended: {type(error).__name__}: {visible(error)}", "warn"))
        self._write("".join(f"{line}\n" for line in [note, *lines]))

    def _line(self, event: Event, place: _Place) -> Line | None:
        if event.kind == "run.finished" and (self._silent or place.depth == 0):
            return None if self._silent else summary(event)
        if self._settings.verbosity != "verbose":
            if is_told_otherwise(event) or self._is_told(event, place):
                return None
            if self._talks and place.depth == 0 and is_plain_to_see(event):
                return None
        if self._live is not None and event.kind == "workflow.node" and event.data.get("state") == "failed":
            return line_for(event, "verbose")  # the live list has no room to keep it
        return line_for(event, self._settings.verbosity)

    def _is_told(self, event: Event, place: _Place) -> bool:
        """Whether a fault is passed on, or the one that ends the outermost run, of which `peg` tells at the end."""
        is_news = self._passed_on.is_news(event)
        last = event.kind == "phase.error" and place.depth == 0 and event.data.get("decision") == "abort"
        logged = event.kind == "plugin.fault" and event.data.get("hook") == "activation" and not self._silent
        return ((last or logged) and self._in_peg) or not is_news

    def _found(self, event: Event) -> _Place:
        """How many runs this one is inside of; a parent that was not seen counts as one."""
        above = self._places.get(event.parent, _OUTERMOST) if event.parent else None
        depth = 0 if above is None else above.depth + 1
        run = f"run {visible(event.run[:_SHORT_ID])} " if event.run != _BOARD else ""
        place = self._places[event.run] = _Place(depth, f"{'  ' * depth}{run}")
        return place

    def _coloured(self, line: Line) -> str:
        if self._colour and line.tone in _COLOURS:
            return coloured(line.words, _COLOURS[line.tone])
        return line.words

    def _write(self, text: str) -> None:
        stream = self._stream
        if stream is None or self._broken:
            return
        try:
            stream.write(text if text.isascii() else _encodable(text, stream))
            stream.flush()
        except (OSError, ValueError):
            # Whoever read has gone. A run does not fail because nobody watches it any more.
            self._broken = True

    @property
    def _stream(self) -> TextIO | None:
        """`None` where there is none, as under `pythonw`."""
        # Looked up each time: whoever redirects the stream for a while gets these lines too.
        return sys.stderr if self._settings.stream == "stderr" else sys.stdout


def may_be_live(wanted: str, stream: TextIO, output: Any) -> bool:
    """Whether live lines are wanted, and the stream leads to a terminal that can show them.

    `output` is what a command of `peg` writes to; other programs write what they like, and have to ask for live lines.
    """
    if wanted == "off" or (output is None and wanted == "auto"):
        return False
    if output is not None and (output.machine or output.quiet):
        return False
    environ = os.environ
    if environ.get("PEGBOARD_PLAIN") or environ.get("PEGBOARD_QUIET") or environ.get("TERM", "dumb") == "dumb":
        return False
    try:
        return os.name == "posix" and stream.isatty() and bool("·…".encode(stream.encoding or "ascii"))
    except (OSError, UnicodeError, ValueError):
        return False


def _output() -> Any:
    """What the command of `peg` that runs us writes to. Nothing is imported for it: where it runs, both are there."""
    contract, click = sys.modules.get("pegboard.cli.contract"), sys.modules.get("click")
    context = click.get_current_context(silent=True) if contract is not None and click is not None else None
    return context.find_object(contract.Output) if context is not None and contract is not None else None


def _encodable(text: str, stream: TextIO) -> str:
    """The text with escapes for what the stream cannot say."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
