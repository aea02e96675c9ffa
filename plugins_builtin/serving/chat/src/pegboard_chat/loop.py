"""One message after another: reads it, has it answered or obeyed, shows what came of it, until there is no more."""

from __future__ import annotations

import sys
from typing import Any

from pegboard.cli import signals
from pegboard.cli.contract import Answer
from pegboard.errors import ExitCode, PegboardError, UsageError

from pegboard_chat.commands import SLASH, Leave, obey
from pegboard_chat.reading import Interrupted, Lines, next_message
from pegboard_chat.session import Chat, was_stopped

_ENDING_INTERRUPTS = 2


async def converse(chat: Chat, lines: Lines, *, is_person: bool) -> Answer:
    """Talk until the input ends. For a pipe what failed last is the exit code; a person was told of it already."""
    talk = _Talk(chat, is_person=is_person)
    while await talk.goes_on(lines):
        pass
    if chat.way_on is not None:
        chat.out.say(f"go on with: {chat.way_on}")
    return talk.outcome()


class _Talk:
    def __init__(self, chat: Chat, *, is_person: bool) -> None:
        self._chat = chat
        self._is_person = is_person
        self._interrupts = 0
        """How often in a row Ctrl-C was pressed where nothing was typed."""
        self._turns: list[dict[str, Any]] = []
        """For programs: what was said, and what came of it."""
        self._failure: Answer | None = None

    async def goes_on(self, lines: Lines) -> bool:
        """Take the next message; false when it was the last."""
        self._chat.out.settle()
        try:
            said = await next_message(lines)
        except Interrupted as interrupted:
            return self._goes_on_after(interrupted)
        except UsageError as error:
            self._take("", Answer(error=error))
            return False
        self._interrupts = 0
        if said is None:
            return False
        if not said.strip():
            return True
        try:
            answer = await _answer(self._chat, said)
        except Leave:
            return False
        return self._take(said, answer)

    def _goes_on_after(self, interrupted: Interrupted) -> bool:
        """The first one drops what was typed, or tells what a second one does."""
        if interrupted.dropped:
            self._interrupts = 0
            return True
        self._interrupts += 1
        if self._interrupts < _ENDING_INTERRUPTS:
            self._chat.out.say("Ctrl-C once more, or Ctrl-D, ends the chat")
        return self._interrupts < _ENDING_INTERRUPTS

    def _take(self, said: str, answer: Answer) -> bool:
        """Show what came of it; false when that is the end of the chat."""
        out = self._chat.out
        if answer.error is not None:
            self._failure = answer
        if out.machine:
            error = answer.error.to_json() if answer.error is not None else None
            self._turns.append({"said": said, "data": answer.data, "error": error})
        elif answer.text:  # it was asked for: `--quiet` has no say here
            sys.stderr.write(out.shown(f"{answer.text}\n"))
        if not was_stopped(answer):
            if answer.error is not None and not out.machine:
                out.show_error(answer.error)
            return True
        out.say("stopped; what was said so far is kept")
        return self._is_person and signals.exit_code() != ExitCode.TERMINATED

    def outcome(self) -> Answer:
        """For programs all of it; else nothing, since it was shown as it came."""
        chat, failure = self._chat, self._failure
        data = {"conversation": chat.talk.id, "kept": chat.talk.is_kept, "turns": self._turns}
        if failure is None or (self._is_person and signals.exit_code() != ExitCode.TERMINATED):
            return Answer(data)
        return Answer(data, error=failure.error if chat.out.machine else None, exit_code=failure.exit_code)


async def _answer(chat: Chat, said: str) -> Answer:
    try:
        if said.startswith(SLASH) and not said.startswith(2 * SLASH):
            return await obey(chat, said)
        return await chat.say(said.removeprefix(SLASH) if said.startswith(SLASH) else said)
    except PegboardError as error:
        return Answer(error=error)
