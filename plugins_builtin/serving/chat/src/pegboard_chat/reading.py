"""What a person or a pipe says, message by message: lines, blocks between `\"\"\"`, and who reads them.

On a terminal `prompting` edits the lines; here they are read as they come.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Protocol

from pegboard.cli import signals
from pegboard.errors import ExitCode, UsageError
from pegboard.threads import DaemonPool

FENCE: Final = '"""'
_PIECE_BYTES: Final = 1 << 16


class Interrupted(Exception):
    """Ctrl-C was pressed at the prompt; what had been typed is gone."""

    def __init__(self, *, dropped: bool = False) -> None:
        super().__init__()
        self.dropped = dropped
        """Whether something had been typed, as far as that is known."""


class Lines(Protocol):
    """Where the next line comes from."""

    async def line(self, prompt: str) -> str | None:
        """The next line, or with an editor that can, several; `None` at the end. Raises `Interrupted`."""


async def next_message(lines: Lines) -> str | None:
    r"""The next message: a line, or the lines between two `\"\"\"`; `None` at the end.

    Raises:
        Interrupted: Ctrl-C was pressed.
        UsageError: the input ended inside a block; nothing of it is sent.
    """
    said = await lines.line("> ")
    if said is None or not said.lstrip().startswith(FENCE):
        return said
    said = said.lstrip().removeprefix(FENCE)
    while not said.rstrip().endswith(FENCE):
        try:
            more = await lines.line("… ")
        except Interrupted:
            raise Interrupted(dropped=True) from None
        if more is None:
            raise UsageError(f"the input ended inside of {FENCE}; nothing of that block was sent")
        said = f"{said}\n{more}"
    return said.rstrip().removesuffix(FENCE).strip("\n")


class PlainLines:
    """Lines as they come. On a terminal the prompt is written first, and Ctrl-C drops what was typed."""

    def __init__(self, *, prompts: bool) -> None:
        self._prompts = prompts
        self._pool = DaemonPool(size=1, name="pegboard-chat")
        self._rest = b""
        self._ended = False
        self._reading: asyncio.Task[bytes] | None = None
        """Also after Ctrl-C: a thread that waits for the terminal cannot be called back."""

    async def line(self, prompt: str) -> str | None:
        """The next line without its end. Raises `Interrupted`."""
        if self._prompts:
            sys.stderr.write(prompt)
            sys.stderr.flush()
        while b"\n" not in self._rest and not self._ended:
            piece = await self._piece()
            self._ended = not piece
            self._rest += piece
        if not self._rest:
            return None
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "replace").removesuffix("\r")

    async def _piece(self) -> bytes:
        if self._reading is None:
            self._reading = asyncio.create_task(self._pool.run(_read))
        reading = self._reading
        if self._prompts:
            with _interrupting() as interrupted:
                either: list[asyncio.Future[Any]] = [reading, interrupted]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if interrupted.done():
                    sys.stderr.write("\n")
                    self._rest = b""
                    raise Interrupted
        piece = await asyncio.shield(reading)
        self._reading = None
        return piece


def _read() -> bytes:
    """Not through `sys.stdin`: a thread that waits holds its lock, also at the exit. One that is closed has no more."""
    if sys.stdin is None:
        return b""
    return os.read(sys.stdin.fileno(), _PIECE_BYTES)


@contextmanager
def _interrupting() -> Iterator[asyncio.Future[None]]:
    """A future that is done when Ctrl-C is pressed. SIGTERM ends the chat as it would without this."""
    loop = asyncio.get_running_loop()
    interrupted: asyncio.Future[None] = loop.create_future()
    main = asyncio.current_task()

    def pressed() -> None:
        if signals.exit_code() == ExitCode.TERMINATED and main is not None:
            main.cancel()
        elif not interrupted.done():
            interrupted.set_result(None)

    def handler(_: int, __: FrameType | None) -> None:
        # Nothing is raised here: in the middle of the loop it could leave the loop waiting for ever.
        loop.call_soon_threadsafe(pressed)

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
        interrupted.cancel()
