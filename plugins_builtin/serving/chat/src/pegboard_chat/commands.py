"""Slash commands: what is typed in a chat and is not said. Each takes the chat and what stands behind its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from pegboard.cli.contract import Answer
from pegboard.cli.render import table
from pegboard.errors import UsageError
from pegboard.shape import near

from pegboard_chat.session import Chat

SLASH: Final = "/"


class Command(NamedTuple):
    """A slash command."""

    argument: str
    """As `/help` shows it; empty where it takes none."""
    help: str
    run: Callable[[Chat, str], Awaitable[Answer]]


class Leave(Exception):
    """The chat is to end."""


async def obey(chat: Chat, typed: str) -> Answer:
    """Do what a line says that begins with a slash.

    Raises:
        UsageError: there is no such command, or it takes nothing.
        Leave: it was `/exit`.
    """
    name, *rest = typed.strip().split(maxsplit=1)
    argument = rest[0] if rest else ""
    command = COMMANDS.get(name)
    if command is None:
        otherwise = f"; to say it, write it with one slash more: `/{name}`"
        raise UsageError(f"there is no command `{name}`{near(name, list(COMMANDS)) or otherwise}", hint="/help")
    if argument and not command.argument:
        raise UsageError(f"`{name}` takes nothing behind it", hint="/help")
    return await command.run(chat, argument)


async def _help(_: Chat, __: str) -> Answer:
    rows = [[f"{name} {command.argument}".rstrip(), command.help] for name, command in COMMANDS.items()]
    keys = 'Alt-Enter begins another line, and so does Enter between two lines of """; Ctrl-C stops an answer'
    return Answer({"commands": list(COMMANDS)}, f"{table(['COMMAND', 'WHAT IT DOES'], rows)}\n{keys}")


async def _model(chat: Chat, argument: str) -> Answer:
    model = await (chat.use_model(argument) if argument else chat.model())
    why = f" ({model.why})" if model.why else ""
    return Answer({"model": model.id}, f"{model.id} answers{' from now on' if argument else ''}{why}")


async def _cost(chat: Chat, _: str) -> Answer:
    spending = await chat.spending()
    return Answer(spending.to_json(), spending.text())


async def _context(chat: Chat, _: str) -> Answer:
    room = await chat.room()
    return Answer(room.to_json(), room.text())


async def _undo(chat: Chat, _: str) -> Answer:
    before = chat.talk.id
    undone = chat.undo()
    data = {"conversation": chat.talk.id, "before": before, "undone": undone.text}
    return Answer(data, f"before the last turn, in a conversation of its own\nthe one with that turn: /resume {before}")


async def _retry(chat: Chat, _: str) -> Answer:
    return await chat.say(chat.undo())


async def _resume(chat: Chat, argument: str) -> Answer:
    await chat.resume(argument or None)
    return Answer({"conversation": chat.talk.id}, described(chat))


async def _new(chat: Chat, _: str) -> Answer:
    way_back = f"; back with /resume {chat.talk.id}" if chat.talk.messages else ""
    chat.begin_anew()
    return Answer({"conversation": chat.talk.id}, f"a new conversation{way_back}")


async def _exit(_: Chat, __: str) -> Answer:
    raise Leave


def completions() -> Sequence[str]:
    """What Tab may complete, with the space before an argument."""
    return [f"{name} " if command.argument else name for name, command in COMMANDS.items()]


def described(chat: Chat) -> str:
    """Which conversation it is, and what was said last."""
    messages = chat.talk.messages
    asked = [messages[turn].text for turn in chat.talk.turns]
    last = f", last of it: {_short(asked[-1])}" if asked else ""
    turns = f"{len(asked)} turn{'s' if len(asked) != 1 else ''}"
    return f"conversation {chat.talk.id}: {turns}{last}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


_SHOWN: Final = 80
COMMANDS: Final[dict[str, Command]] = {
    "/help": Command("", "Show this list.", _help),
    "/model": Command("[NAME]", "Show which model answers, or have another one answer from now on.", _model),
    "/cost": Command("", "Show what this conversation used and cost, by model.", _cost),
    "/context": Command("", "Show what the next request would hold, part by part.", _context),
    "/undo": Command("", "Go on from before the last turn; nothing is deleted.", _undo),
    "/retry": Command("", "Undo the last turn, and say the same again.", _retry),
    "/resume": Command("[ID]", "Go on with an earlier conversation, the newest without ID.", _resume),
    "/new": Command("", "Begin another conversation.", _new),
    "/exit": Command("", "End the chat; so does Ctrl-D.", _exit),
}
