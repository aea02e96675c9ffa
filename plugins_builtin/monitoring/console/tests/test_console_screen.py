"""The display inside a program: its streams, its thread, what it costs, and what becomes of it when it breaks."""

from __future__ import annotations

import os
import pty
import signal
import sys
import threading
from collections.abc import Iterator
from time import perf_counter, time
from types import FrameType, SimpleNamespace
from typing import Any, TextIO, cast

import pytest
from pegboard import Agent, Pegboard, tool
from pegboard.events import Event
from pegboard_console import live as module
from pegboard_console.footer import Size
from pegboard_console.lines import Line
from pegboard_console.live import Live
from pegboard_console.plugin import Plugin, may_be_live
from pegboard_console.screen import Screen
from pegboard_replay import ScriptedModel, call

MOST_US = 3.0
WITHIN_S = 30.0


class Sight:
    """A pseudo-terminal, and what was written to it."""

    patch: pytest.MonkeyPatch

    def __init__(self) -> None:
        ours, theirs = pty.openpty()
        self.stream: TextIO = os.fdopen(theirs, "w", encoding="utf-8")
        self._ours = ours
        self._data = b""
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def be_stderr(self) -> None:
        """Called in a test, since pytest has a stderr of its own for each part of it."""
        self.patch.setattr(sys, "stderr", self.stream)

    def until(self, wanted: str) -> str:
        """Wait until it was written."""
        with self._more:
            assert self._more.wait_for(lambda: wanted.encode() in self._data, WITHIN_S), self._data
            return self._data.decode()

    def all(self) -> str:
        """Close it; everything that was written."""
        self.stream.close()
        self._thread.join()
        return self._data.decode()

    def _read(self) -> None:
        while piece := self._piece():
            with self._more:
                self._data += piece
                self._more.notify_all()
        os.close(self._ours)

    def _piece(self) -> bytes:
        try:
            return os.read(self._ours, 65536)
        except OSError:
            return b""


@pytest.fixture
def sight(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sight]:
    """A terminal that can be the stderr of this process."""
    for name in ("PEGBOARD_PLAIN", "PEGBOARD_QUIET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    sight = Sight()
    sight.patch = monkeypatch
    yield sight
    if not sight.stream.closed:
        sight.all()


def event(kind: str, /, run: str = "r1", parent: str | None = None, **data: Any) -> Event:
    return Event(id="x", run=run, parent=parent, seq=0, kind=kind, at=time(), data=data)


def display(sight: Sight, broken: list[Any] | None = None, output: Any = None) -> Live:
    sight.be_stderr()

    def failed(error: Exception, lines: list[str]) -> None:
        assert broken is not None, error
        broken.append((str(error), lines))

    return Live(sight.stream, lambda event: event.kind, lambda line: line.words, failed, output)


async def test_the_streams_are_given_back(sight: Sight) -> None:
    """While a run goes on they go through the display; after it they do not, and no thread is left."""
    sight.be_stderr()
    meanwhile: list[tuple[bool, bool]] = []

    @tool(effect="pure")
    async def look() -> str:
        """Look."""
        meanwhile.append((sys.stderr is sight.stream, drawing()))
        return "seen"

    agent = Agent("a", model=ScriptedModel([call("look"), "x"]), tools=[look])
    async with Pegboard(autoload=True, config={"plugins": {"console": {"live": "on"}}}) as board:
        await board.run(agent, "x")
        assert meanwhile == [(False, True)]
        assert (sys.stderr is sight.stream, drawing()) == (True, False)


def drawing() -> bool:
    return any(thread.name == "pegboard-console" for thread in threading.enumerate())


def test_what_a_program_prints_goes_above(sight: Sight) -> None:
    """Whole lines and pieces of them, through the stream that everybody has."""
    console = display(sight)
    console.take(event("run.started"))
    print("one", file=sys.stderr)
    sight.until("00:0")
    sys.stderr.writelines(["tw", "o\n"])
    console.take(event("run.finished"))

    assert sys.stderr is sight.stream
    written = sight.all()
    assert written.startswith("run.started\r\none\r\n")
    assert "two\r\n" in written
    assert written.endswith("run.finished\r\n")


def test_a_question_takes_the_live_lines_away(sight: Sight) -> None:
    """Also one of which no event tells: a line that is left open on stderr."""
    console = display(sight)
    console.take(event("run.started"))
    sight.until("00:0")
    print("sure? ", end="", file=sys.stderr, flush=True)
    asked = sight.until("sure? ")
    console._draw()

    assert asked.endswith("\x1b[Jsure? ")
    console.take(event("run.finished"))
    assert sight.all() == f"{asked}\r\nrun.finished\r\n"


def test_who_asks_elsewhere_is_not_drawn_over_either(sight: Sight) -> None:
    """From the event that a person is asked, to the one with the answer, nothing is drawn, whoever asks and how."""
    console = display(sight)
    console.take(event("run.started"))
    sight.until("00:0")
    console.take(event("approval.requested", id="a"))
    asked = sight.until("approval.requested")
    console._draw()
    assert console.screen._rows == 0
    console.take(event("approval.decided", id="a"))
    console._draw()

    assert console.screen._rows == 1
    console.take(event("run.finished"))
    assert sight.all().startswith(asked)


def test_nothing_is_drawn_while_something_is_said_of_a_signal(sight: Sight) -> None:
    """A second signal ends the process with its last words, and those have to be the last line."""
    free: list[bool] = []

    def say(signum: int, frame: FrameType | None) -> None:
        other = threading.Thread(target=lambda: free.append(console.screen.lock.acquire(blocking=False)))
        other.start()
        other.join()

    before = signal.signal(signal.SIGTERM, say)
    try:
        console = display(sight, output=SimpleNamespace(data=None))
        console.take(event("run.started"))
        signal.raise_signal(signal.SIGTERM)
        console.take(event("run.finished"))
    finally:
        signal.signal(signal.SIGTERM, before)

    assert free == [False]


def test_drawing_that_fails_ends_the_display_and_not_the_run(sight: Sight, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not said yet is handed back, to be said as plain lines."""
    told = threading.Event()
    broken: list[Any] = []

    class Told(list[Any]):
        def append(self, item: Any) -> None:
            broken.append(item)
            told.set()

    def draw(*_: Any, **__: Any) -> list[Line]:
        raise ZeroDivisionError("no picture")

    monkeypatch.setattr(module, "footer", draw)
    console = display(sight, Told())
    console.take(event("run.started"))
    assert told.wait(WITHIN_S)

    assert broken == [("no picture", ["run.started"])]
    assert sys.stderr is sight.stream


async def test_after_a_failure_there_are_plain_lines(sight: Sight, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin says what happened, and goes on without live lines."""

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("no picture")

    monkeypatch.setattr(Live, "_start", broken)
    sight.be_stderr()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    plugin = Plugin()
    await plugin.activate(cast(Any, type("Context", (), {"config": {"live": "on"}})))
    for kind in ("run.started", "run.finished"):
        plugin.on_event(event(kind, end_reason="completed"))

    assert sight.all() == (
        "\x1b[33mlive lines ended: ZeroDivisionError: no picture\x1b[0m\r\n"
        "run r1 started agent\r\nrun r1 \x1b[32mfinished: completed, cost unknown\x1b[0m\r\n"
    )


def test_an_event_costs_nearly_nothing(sight: Sight) -> None:
    """It is remembered; what becomes of it is the thread's business."""
    console = display(sight)
    console.take(event("run.started"))
    one = event("step.done", op="tool.call:x", step="s")
    times = []
    for _ in range(50):
        begun = perf_counter()
        for _ in range(100):
            console.take(one)
        times.append((perf_counter() - begun) * 1e6 / 100)
    console.take(event("run.finished"))

    assert min(times) < MOST_US


@pytest.mark.parametrize(
    ("wanted", "environment", "live"),
    [
        ("on", {}, True),
        ("auto", {}, False),
        ("off", {}, False),
        ("on", {"TERM": "dumb"}, False),
        ("on", {"PEGBOARD_PLAIN": "1"}, False),
        ("on", {"PEGBOARD_QUIET": "1"}, False),
    ],
)
def test_who_gets_live_lines(
    sight: Sight, monkeypatch: pytest.MonkeyPatch, wanted: str, environment: dict[str, str], live: bool
) -> None:
    """A program that is not `peg` has to ask for them, and nobody gets them where they cannot be."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert may_be_live(wanted, sight.stream, None) is live


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("abc", "abc"),
        ("abc\n", ""),
        ("0123456789", "0123456789"),
        ("0123456789x", "x"),
        ("日本語日本語", "語"),
        ("old\rnew", "new"),
        ("\x1b[31m0123456789\x1b[0mx", "x"),
        ("01234567\t89", "9"),
    ],
)
def test_the_row_that_is_written_in_is_known(
    sight: Sight, monkeypatch: pytest.MonkeyPatch, text: str, row: str
) -> None:
    """Of ten columns: where a text that wraps has its end."""
    monkeypatch.setattr(Screen, "size", Size(10, 24))
    screen = Screen(sight.stream.fileno())
    screen.write(text)

    assert screen._row == row
