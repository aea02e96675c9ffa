"""The prompt of a terminal: line editing, history, several lines, completion. `prompt_toolkit` does it.

It owns the terminal only while a line is typed: between two prompts answers are written and approvals asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from pegboard import folders
from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from pegboard_chat.reading import Interrupted

_HISTORY: Final = "chat-history"
_KEPT_BYTES: Final = 1 << 20
"""Of a history that is longer, the newest half of this is kept."""
_MODEL: Final = "/model "
"""Behind this, names of models are completed."""
_ENTRY: Final = b"\n# "
Names = Callable[[], Sequence[str]]


class PromptedLines:
    """Lines that are edited on the terminal: Enter sends, Alt-Enter begins another line, Tab completes."""

    def __init__(self, commands: Sequence[str], models: Names, warn: Callable[[str], None], *, coloured: bool) -> None:
        output = create_output(stdout=sys.stderr)
        completer = _Completer(commands, models)
        if isinstance(output, Vt100_Output):
            # The answer of the terminal to that question may come when somebody else reads, for example an approval.
            output.enable_cpr = False
        self._session: PromptSession[str] = PromptSession(
            input=create_input(stdin=sys.stdin),
            output=output,
            color_depth=None if coloured else ColorDepth.DEPTH_1_BIT,
            history=_history(warn),
            completer=completer,
            complete_style=CompleteStyle.READLINE_LIKE,
            complete_while_typing=False,
            multiline=True,
            key_bindings=_keys(),
            prompt_continuation="… ",
        )
        self._session.default_buffer.on_text_changed += completer.look_ahead

    async def line(self, prompt: str) -> str | None:
        """What was typed or pasted, which may be several lines. Raises `Interrupted`."""
        try:
            # Ctrl-C is a key here. A signal of that number comes from elsewhere and ends the command, as SIGTERM does.
            typed = await self._session.prompt_async(prompt, handle_sigint=False)
        except KeyboardInterrupt:
            raise Interrupted(dropped=bool(self._session.default_buffer.text)) from None
        except EOFError:
            return None
        return typed.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # pasted bytes may be anything


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


class _Completer(Completer):
    """Names of commands, and of models after `/model`."""

    def __init__(self, commands: Sequence[str], models: Names) -> None:
        self._commands = commands
        self._models = models

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        typed = text.removeprefix(_MODEL)
        names = self._models() if text.startswith(_MODEL) else self._commands
        return [Completion(name, -len(typed)) for name in names if name.startswith(typed)]

    def look_ahead(self, buffer: Buffer) -> None:
        """Have models looked for as soon as they may be asked for: it takes a while, and Tab does not wait."""
        if buffer.text.startswith(_MODEL):
            self._models()


def _history(warn: Callable[[str], None]) -> History:
    """That of earlier chats, in a file for its owner alone; of this one where there is no place for a file."""
    folder = folders.data_dir()
    if folder is None:
        return InMemoryHistory()
    try:
        return FileHistory(str(_private_file(Path(folder) / _HISTORY)))
    except OSError as error:
        warn(f"what you type is not remembered: `{error.filename}`: {error.strerror}")
        return InMemoryHistory()


def _private_file(path: Path) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        path.chmod(0o600)
        if os.fstat(descriptor).st_size > _KEPT_BYTES:
            _shorten(file)
    return path


def _shorten(file: BinaryIO) -> None:
    """Keep the newest entries; each begins with its date behind `#`, and no other line does."""
    file.seek(-_KEPT_BYTES // 2, os.SEEK_END)
    _, mark, rest = file.read().partition(_ENTRY)
    file.seek(0)
    file.truncate()
    file.write(mark + rest)
