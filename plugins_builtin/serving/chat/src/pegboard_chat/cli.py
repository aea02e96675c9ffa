"""`peg chat`: opens the board and a conversation, and reads what is said until there is no more."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from pegboard.cli import targets
from pegboard.cli.approve import Approver
from pegboard.cli.contract import Answer, Number, Output, WholeNumber, command, option
from pegboard.cli.render import escaped, table
from pegboard.cli.run import SettingOption, hint_at_switches, settings_of, warn_of_unknown
from pegboard.cli.stored import open_store
from pegboard.cli.watch import EventPrinter
from pegboard.errors import DriverMissingError, PegboardError, UsageError
from pegboard.interfaces import ConversationRow, ConversationStore
from pegboard.lazy import LazyModule
from pegboard.runtime import Pegboard
from pegboard.types import ResourceLimits

from pegboard_chat.commands import completions, described
from pegboard_chat.loop import converse
from pegboard_chat.reading import Lines, PlainLines
from pegboard_chat.session import Chat

if TYPE_CHECKING:
    from pegboard_chat import prompting
else:
    prompting = LazyModule("pegboard_chat.prompting")  # of no use but on a terminal

_LISTED = 100
_NO_KEEPER = "no store is installed that keeps conversations"
_KEEPER_HINT = "peg plugins install pegboard-sqlite"


@command("chat", stream=True)
@option("-m", "--model", cls=SettingOption, setting="model", help="The model: a name, an alias or provider:name.")
@option("--agent", metavar="NAME|MODULE:OBJECT|FILE", cls=SettingOption, setting="agent", help="Who answers.")
@option(
    "--resume",
    metavar="[ID]",
    is_flag=False,
    flag_value="",
    help="Go on with a conversation, by its id or the beginning of it; without one with the newest.",
)
@option("--list", "listing", is_flag=True, help="List the conversations that are kept, and talk to nobody.")
@option("--budget-usd", type=Number(min=0), show_default="no limit", help="Money for this chat.")
@option("--budget-tokens", type=WholeNumber(min=0), show_default="no limit", help="Tokens, likewise.")
@option(
    "--allow",
    multiple=True,
    metavar="TOOL",
    help="Approve the calls of a tool, by its name or a beginning of it with `*`. May be repeated.",
)
@option("--plugin", "folders", multiple=True, type=click.Path(exists=True), help="A plugin folder under development.")
@option("--no-plugins", is_flag=True, help="Use no installed plugin.")
def chat(**options: Any) -> Answer:
    """Talk to an agent, turn by turn.

    On a terminal Enter sends, Alt-Enter begins another line, and `/help` lists what else can be typed. Through a pipe
    each line is a message, and so are the lines between two lines of three quotes; answers go to stdout.
    """
    out = Output.current()
    out.talks = True
    try:
        return asyncio.run(_listed() if options["listing"] else _chat(options, out))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _listed() -> Answer:
    async with open_store() as store:
        if not isinstance(store, ConversationStore):
            raise DriverMissingError(_NO_KEEPER, hint=_KEEPER_HINT)
        rows = await store.conversations(limit=_LISTED + 1)
    head = ["ID", "LAST", "AGENT", "MESSAGES", "TITLE"]
    shown = rows[:_LISTED]
    text = table(head, [_cells(row) for row in shown]) if shown else "no conversations"
    if len(rows) > _LISTED:
        text += f"\n… and older ones: the newest {_LISTED} are shown"
    return Answer({"conversations": msgspec.to_builtins(shown), "more": len(rows) > _LISTED}, text)


def _cells(row: ConversationRow) -> list[str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.at))
    return [escaped(row.id), when, escaped(row.last or "-"), str(row.messages), escaped(row.title) or "-"]


async def _chat(options: dict[str, Any], out: Output) -> Answer:
    async with Pegboard(
        autoload=not options["no_plugins"],
        config=settings_of(options),
        folders=[Path(folder) for folder in options["folders"]],
        plugins=[Approver(out, options["allow"]), *([EventPrinter(out)] if out.jsonl else [])],
        workspace=Path.cwd(),
    ) as board:
        board.locate_agents(targets.agent_object)
        try:
            chat = await _opened(board, options, out)
        except PegboardError as error:
            hint_at_switches(error, board, no_plugins=options["no_plugins"])
            raise
        is_person = out.interactive and not out.machine
        if is_person:
            await _greet(chat)
        try:
            return await converse(chat, _lines(chat, is_person=is_person), is_person=is_person)
        finally:
            await chat.aclose()


async def _opened(board: Pegboard, options: dict[str, Any], out: Output) -> Chat:
    agent = (await targets.resolve(board, (), 0)).agent
    if options["model"] is not None:
        await (await board.model(options["model"])).connect()
    limits = ResourceLimits(tokens=options["budget_tokens"], cost_usd=options["budget_usd"])
    chat = Chat(
        board,
        out,
        agent,
        limits=limits,
        no_plugins=options["no_plugins"],
        model=options["model"],
    )
    if options["resume"] is not None:
        if not isinstance(board.store, ConversationStore):
            raise DriverMissingError(_NO_KEEPER, hint=_KEEPER_HINT)
        await chat.resume(options["resume"] or None, agent if options["agent"] is not None else None)
    warn_of_unknown(board, chat.agent, options["allow"], out)
    if chat.agent.config.input_schema is not None:
        raise UsageError(
            f"agent `{chat.agent.name}` takes structured input, and no talk", hint=f"peg agents info {chat.agent.name}"
        )
    return chat


async def _greet(chat: Chat) -> None:
    """Say who answers, and what is missing."""
    try:
        answers = (await chat.model()).id
    except PegboardError as error:
        chat.out.show_error(error)
        answers = "no model"
    chat.out.say(f"{chat.agent.name} with {answers} · {described(chat)} · /help")
    if not isinstance(chat.board.store, ConversationStore):
        chat.out.warn(f"this conversation is not kept: {_NO_KEEPER}; {_KEEPER_HINT}")


def _lines(chat: Chat, *, is_person: bool) -> Lines:
    """Edited on a terminal that can; else as they come."""
    out = chat.out
    if not is_person or out.plain or os.environ.get("TERM", "dumb") == "dumb":
        return PlainLines(prompts=is_person)
    return prompting.PromptedLines(completions(), chat.model_names, out.warn, coloured=out.colored(sys.stderr))
