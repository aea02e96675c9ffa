"""A real pseudo-terminal with a program in it, and an emulator that knows what a person would see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

WITHIN_S = 30.0
AGENTS = Path(__file__).with_name("live_agents.py")


class Terminal:
    """`peg`, or another program, on a terminal of its own."""

    def __init__(self, folder: Path, columns: int, rows: int) -> None:
        self.folder = folder
        self.screen = pyte.HistoryScreen(columns, rows, history=1000, ratio=0.5)
        self.raw = b""
        self.pid = 0
        self._stream = pyte.ByteStream(self.screen)
        self._size = columns, rows
        self._descriptor = -1
        self._status: int | None = None

    def start(self, *arguments: str, **environment: str) -> None:
        """Start Python with these arguments."""
        env = {**os.environ, "PYTHONPATH": str(self.folder), "TERM": "xterm-256color", "NO_COLOR": "1", **environment}
        env.pop("PEGBOARD_PLAIN", None)
        env.update(environment)
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:  # pragma: no cover  # in the child
            self._set_size(0)
            os.chdir(self.folder)
            os.execve(sys.executable, [sys.executable, *arguments], env)
        self._set_size(self._descriptor)

    def peg(self, *arguments: str, **environment: str) -> None:
        """Start `peg`."""
        self.start("-m", "pegboard", *arguments, **environment)

    def open(self, gate: str) -> None:
        """Let the agent pass a gate."""
        os.write(self._gates[gate], b"x")

    def gates(self, *names: str) -> None:
        """Make gates that the agent can wait at."""
        self._gates = {}
        for name in names:
            os.mkfifo(self.folder / name)
            self._gates[name] = os.open(self.folder / name, os.O_RDWR)

    def type(self, keys: str) -> None:
        """As a person would."""
        os.write(self._descriptor, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Another size, as when a window is dragged."""
        self._size = columns, rows
        self.screen.resize(rows, columns)
        self._set_size(self._descriptor)

    @property
    def text(self) -> str:
        """What stands on the screen, with what changes from run to run made equal."""
        return normal("\n".join(line.rstrip() for line in self.screen.display).rstrip())

    @property
    def history(self) -> str:
        """What has scrolled away, and the screen."""
        top = ["".join(line[x].data for x in range(self.screen.columns)).rstrip() for line in self.screen.history.top]
        return normal("\n".join([*top, self.text]))

    def until(self, wanted: str | Callable[[str], bool]) -> str:
        """Read until the screen says so; returns it."""
        holds = wanted if callable(wanted) else lambda text: wanted in text
        deadline = time.monotonic() + WITHIN_S
        while not holds(self.text):
            if time.monotonic() > deadline or not self._read(0.5):
                raise AssertionError(f"never seen: {wanted}\n{self.text}\n{self.raw!r}")
        return self.text

    def feed(self, data: bytes) -> None:
        """What another program writes on the terminal."""
        self._stream.feed(data)

    def end(self) -> int:
        """Read to the end; the exit code, negative for a signal."""
        deadline = time.monotonic() + WITHIN_S
        while self._read(0.5):
            assert time.monotonic() < deadline, f"did not end\n{self.text}"
        _, status = os.waitpid(self.pid, 0)
        self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def close(self) -> None:
        """End what still runs."""
        if self.pid and self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        for descriptor in (self._descriptor, *getattr(self, "_gates", {}).values()):
            if descriptor >= 0:
                os.close(descriptor)

    def _set_size(self, descriptor: int) -> None:
        columns, rows = self._size
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self, within_s: float) -> bool:
        """Read what there is; false when the other side is closed."""
        ready, _, _ = select.select([self._descriptor], [], [], within_s)
        if not ready:
            return True
        try:
            data = os.read(self._descriptor, 1 << 16)
        except OSError:
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)


def normal(text: str) -> str:
    """The text without ids and times, which differ from run to run."""
    text = re.sub(r"\brun [0-9a-f]{8,16}\b", "run ID", text)
    text = re.sub(r"\b\d+ ms|\b\d+\.\d s\b", "TIME", text)
    return re.sub(r"\b\d\d:\d\d\b", "00:00", text)


MakeTerminal = Callable[..., Terminal]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[MakeTerminal]:
    """Make a terminal of a size, in a folder where the agents of `live_agents.py` are."""
    made: list[Terminal] = []

    def make(columns: int = 80, rows: int = 24) -> Terminal:
        (tmp_path / AGENTS.name).write_text(AGENTS.read_text())
        made.append(Terminal(tmp_path, columns, rows))
        return made[-1]

    yield make
    for one in made:
        one.close()
