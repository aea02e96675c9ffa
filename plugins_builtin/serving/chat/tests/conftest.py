"""`peg chat` in a process of its own: through a pipe, and on a pseudo-terminal with an emulator behind it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest
from pegboard_testing.wire_server import WireServer, wire_server

WITHIN_S = 30.0
PLUGINS = "chat,local,prices,replay,sqlite"
DEMO = ("chat", "-m", "scripted:demo")


class Place:
    """A folder with settings, history and store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.home = folder / "home"
        self.folder.mkdir()
        (self.home / "config").mkdir(parents=True)

    def set(self, toml: str) -> None:
        """Write the settings."""
        (self.home / "config" / "config.toml").write_text(toml)

    def environment(self, **more: str) -> dict[str, str]:
        """What a process here gets."""
        own = {"PEGBOARD_HOME": str(self.home), "PEGBOARD_PLUGINS": PLUGINS, "NO_COLOR": "1", "PATH": ""}
        return {**own, "TERM": "xterm-256color", **more}

    def peg(self, *arguments: str, input: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `peg` with a pipe as its input."""
        return subprocess.run(
            [sys.executable, "-m", "pegboard", *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def json(self, *arguments: str, input: str = "") -> dict[str, Any]:
        """The one object of `--json`."""
        done = self.peg(*arguments, "--json", input=input)
        assert done.stdout.count("\n") == 1, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def conversations(self) -> list[dict[str, Any]]:
        """Those of the store, newest first."""
        found: list[dict[str, Any]] = self.json("chat", "--list")["data"]["conversations"]
        return found


class Terminal:
    """`peg` on a terminal of its own."""

    def __init__(self, place: Place, *arguments: str, **environment: str) -> None:
        self.screen = pyte.Screen(100, 40)
        self.raw = ""
        self._stream = pyte.ByteStream(self.screen)
        self._status: int | None = None
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:  # pragma: no cover  # in the child
            os.chdir(place.folder)
            command = [sys.executable, "-m", "pegboard", *arguments]
            os.execve(sys.executable, command, place.environment(**environment))
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))

    def type(self, keys: str) -> None:
        """As a person would."""
        self.type_bytes(keys.encode())

    def type_bytes(self, keys: bytes) -> None:
        """As a terminal sends it."""
        os.write(self._descriptor, keys)

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def until(self, wanted: str | Callable[[str], bool]) -> str:
        """Read until the screen says so; returns it."""
        holds = wanted if callable(wanted) else lambda text: wanted in text
        deadline = time.monotonic() + WITHIN_S
        while not holds(self.text):
            if time.monotonic() > deadline or not self._read(0.5):
                raise AssertionError(f"never seen: {wanted}\n{self.text}")
        return self.text

    def until_prompt(self) -> str:
        """Read until the next thing can be typed."""
        return self.until(lambda text: text.endswith("\n>"))

    def kill(self) -> None:
        """End it as no program can refuse."""
        os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def end(self) -> int:
        """Read to the end; the exit code, negative for a signal."""
        deadline = time.monotonic() + WITHIN_S
        while self._read(0.5):
            assert time.monotonic() < deadline, f"did not end\n{self.text}"
        return self._wait()

    def close(self) -> None:
        """End what still runs."""
        if self._status is None:
            self.kill()
        os.close(self._descriptor)

    def _wait(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def _read(self, within_s: float) -> bool:
        """Read what there is; false when the other side is closed."""
        ready, _, _ = select.select([self._descriptor], [], [], within_s)
        if not ready:
            return True
        try:
            data = os.read(self._descriptor, 1 << 16)
        except OSError:  # Linux says so at the end
            return False
        self.raw += data.decode(errors="replace")
        self._stream.feed(data)
        return bool(data)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty folder to chat in."""
    return Place(tmp_path)


MakeTerminal = Callable[..., Terminal]


@pytest.fixture
def terminal(place: Place) -> Iterator[MakeTerminal]:
    """Start `peg` on a terminal."""
    made: list[Terminal] = []

    def make(*arguments: str, **environment: str) -> Terminal:
        made.append(Terminal(place, *(arguments or DEMO), **environment))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _data(chunk: dict[str, Any]) -> bytes:
    whole = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", **chunk}
    return b"data: " + json.dumps(whole).encode() + b"\n\n"


def _piece(text: str) -> bytes:
    return _data({"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]})


@pytest.fixture
def piece() -> Callable[[str], bytes]:
    """Make a piece of an answer in Chat Completions."""
    return _piece


@pytest.fixture
def end() -> bytes:
    """The end of an answer in Chat Completions, with its usage."""
    finish = _data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    return finish + _data({"choices": [], "usage": usage}) + b"data: [DONE]\n\n"


@pytest.fixture
def server(place: Place) -> Iterator[WireServer]:
    """A provider on this machine that answers as a test says; its models are `local:NAME`."""
    with wire_server() as running:
        place.set(f'[plugins.local]\nbase_url = "{running.url}/v1"\n')
        yield running


DEPLOYER = (
    "from pegboard import hookimpl, tool\n\n\n@tool(name='dev.deploy')\ndef deploy(target: str) -> str:\n"
    "    'Deploy to a place.'\n    return f'deployed to {target}'\n\n\nclass Plugin:\n    @hookimpl\n"
    "    def provide_tools(self, ctx):\n        return [deploy]\n"
)
MANIFEST = """\
schema = 1
id = "dev"
api = ">=1.0,<2"
entry = "deployer:Plugin"

[hooks.provide_tools]

[[contributes.tools]]
name = "dev.deploy"
effect = "unsafe"

[contributes.tools.input_schema]
type = "object"
properties = {target = {type = "string"}}
required = ["target"]
"""


@pytest.fixture
def deployer(place: Place) -> Path:
    """A plugin folder under development, whose tool has the default effect."""
    folder = place.folder / "deployer"
    folder.mkdir()
    (folder / "pegboard.toml").write_text(MANIFEST)
    (folder / "__init__.py").write_text(DEPLOYER)
    return folder
