"""`peg chat` as a person has it: line editing, history, Ctrl-C, Ctrl-D, completion."""

from __future__ import annotations

import os
import re
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
from pegboard_testing.wire_server import CUT, STALL, WireServer


@pytest.fixture
def chat(terminal: Any) -> Any:
    """A chat with the demo model that waits for the first message."""
    started: Any = terminal()
    started.until_prompt()
    return started


def test_an_answer_follows_what_is_typed(chat: Any) -> None:
    """Enter sends; below the answer stand tokens, cost and context, and what is unknown is said to be."""
    chat.type("hello\r")
    shown = chat.until("context 21 tokens")

    assert 'You asked "hello".' in shown
    assert "1 in · 20 out · cost unknown" in shown


@pytest.mark.parametrize(
    "keys",
    ["one\x1b\rtwo\r", "\x1b[200~one\ntwo\x1b[201~\r", '"""\rone\rtwo\r"""\r'],
    ids=["Alt-Enter", "pasted", "between quotes"],
)
def test_several_lines_are_one_message(chat: Any, keys: str) -> None:
    """However they came."""
    chat.type(keys)

    assert 'You asked "one\ntwo".' in chat.until("context ")


def test_control_c_twice_where_nothing_is_typed_ends_the_chat(chat: Any, place: Any) -> None:
    """The way on is told only where something was said."""
    chat.type("\x03")
    chat.until("Ctrl-C once more")
    chat.until_prompt()
    chat.type("\x03")

    assert chat.end() == 0
    assert "go on with" not in chat.text
    assert place.conversations() == []


def test_control_c_only_drops_what_was_typed(chat: Any) -> None:
    """Also a second time, and in a block: that is no wish to leave, and neither is one before it any more."""
    chat.type("\x03")
    chat.until("Ctrl-C once more")
    chat.until_prompt()
    for number, (keys, shown) in enumerate([("first", "first"), ("second", "second"), ('"""\r', "…")], 1):
        chat.type(keys)
        chat.until(shown)
        chat.type("\x03")
        chat.until(lambda text, most=number: text.count("\n>") > most and text.endswith("\n>"))
    chat.type("still here\r")

    told = chat.until('You asked "still here".')
    assert told.count("Ctrl-C once more") == 1


def test_pasted_bytes_may_be_anything(chat: Any) -> None:
    """What is no UTF-8 is replaced, as in what comes through a pipe."""
    chat.type_bytes(b"\x1b[200~caf\xe9\x1b[201~\r")

    assert 'You asked "caf\ufffd".' in chat.until("context ")


def test_control_d_ends_and_tells_the_way_on(chat: Any, place: Any) -> None:
    """The command that is shown goes on with this conversation."""
    chat.type("hello\r")
    chat.until("context ")
    chat.until_prompt()
    chat.type("\x04")

    assert chat.end() == 0
    assert f"go on with: peg chat --resume {place.conversations()[0]['id']}" in chat.text


def test_what_was_typed_is_there_in_the_next_chat(chat: Any, terminal: Any, place: Any) -> None:
    """In a file for its owner alone."""
    chat.type("remember me\r")
    chat.until("context ")
    chat.until_prompt()
    chat.type("\x04")
    chat.end()
    later = terminal()
    later.until_prompt()
    later.type("\x1b[A")
    later.until("> remember me")

    history = place.home / "data" / "chat-history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_a_long_history_is_shortened(place: Any, terminal: Any) -> None:
    """To its newest entries; the file is made private where it is not."""
    history = place.home / "data" / "chat-history"
    history.parent.mkdir()
    history.write_text("".join(f"\n# 2026-01-01\n+message {number:07}\n" for number in range(50_000)))
    history.chmod(0o644)
    started = terminal()
    started.until_prompt()
    started.type("\x1b[A")
    started.until("> message 0049999")

    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert history.stat().st_size <= 1 << 19
    assert history.read_text().startswith("\n# 2026")


def test_tab_completes_commands_and_models(server: WireServer, terminal: Any, place: Any) -> None:
    """The names of commands, and after `/model` those of models and aliases."""
    place.set('[models.aliases]\nfavourite = "scripted:demo"\n')
    chat = terminal()
    chat.until_prompt()
    chat.type("/mod\tfav\t")
    chat.until("> /model favourite")
    chat.type("\r")

    assert "scripted:demo answers from now on" in chat.until("from now on")


def test_control_c_stops_an_answer_and_the_chat_goes_on(
    server: WireServer, terminal: Any, piece: Any, end: bytes
) -> None:
    """What was said stays, and the history is one that a provider accepts."""
    server.answer(piece("Once upon a time"), STALL)
    server.answer(piece("The end."), end)
    chat = terminal("chat", "-m", "local:teller")
    chat.until_prompt()
    chat.type("tell me a story\r")
    chat.until("Once upon a time")
    chat.type("\x03")
    chat.until("stopped; what was said so far is kept")
    chat.until_prompt()
    chat.type("and then?\r")
    chat.until("The end.")

    assert server.client_left.wait(10)
    assert [(message["role"], message["content"]) for message in server.requests[-1].json["messages"]] == [
        ("user", "tell me a story"),
        ("assistant", "Once upon a time"),
        ("user", "and then?"),
    ]


def test_an_answer_that_was_stopped_does_not_use_up_the_budget(
    server: WireServer, terminal: Any, piece: Any, end: bytes
) -> None:
    """What came of it is counted; the rest is there for the next one."""
    server.answer(piece("Once upon a time"), STALL)
    server.answer(piece("The end."), end)
    chat = terminal("chat", "-m", "local:teller", "--budget-tokens", "6000")
    chat.until_prompt()
    chat.type("tell me a story\r")
    chat.until("Once upon a time")
    chat.type("\x03")
    chat.until("stopped; what was said so far is kept")
    chat.until_prompt()
    chat.type("and then?\r")

    assert "warning" not in chat.until("The end.")


@pytest.mark.parametrize("plain", ["", "1"], ids=["edited", "plain"])
def test_sigterm_at_the_prompt_ends_the_chat(terminal: Any, plain: str) -> None:
    """As it ends every other command, and the terminal is as it was."""
    chat = terminal("chat", "-m", "scripted:demo", PEGBOARD_PLAIN=plain)
    chat.until_prompt()
    os.kill(chat.pid, signal.SIGTERM)

    assert chat.end() == 143


HOLDER = """\
import asyncio, sys
from pegboard import Agent, tool
from pegboard_replay import ScriptedModel, call

@tool(effect="pure")
async def hold() -> str:
    "Hold on to it."
    print("held", file=sys.stderr)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue

holder = Agent("holder", model=ScriptedModel([call("hold")]), tools=[hold])
"""


def test_control_c_twice_ends_at_once_and_tells_the_way_on(terminal: Any, place: Any) -> None:
    """Where an answer does not stop when it is asked to; what was said is in the store."""
    (place.folder / "mine.py").write_text(HOLDER)
    chat = terminal("chat", "--agent", "mine:holder")
    chat.until_prompt()
    chat.type("hold this\r")
    chat.until("held")
    chat.type("\x03")
    chat.until("once more to stop now")
    chat.type("\x03")

    assert chat.end() == 130
    (row,) = place.conversations()
    assert f"stopped now; go on with: peg chat --resume {row['id']}" in chat.text
    assert row["messages"] == 1


def test_those_who_watch_have_spoken_before_the_prompt(terminal: Any) -> None:
    """The summary of a run stands above the next prompt, and not in the line that is typed."""
    chat = terminal("chat", "-m", "scripted:demo", PEGBOARD_PLUGINS="chat,console,replay")
    chat.until_prompt()
    chat.type("hello\r")
    chat.until("context 21 tokens")
    lines = chat.until_prompt().splitlines()

    assert "finished: completed" in lines[-3]
    assert lines[-2].startswith("context 21 tokens")


README = Path(__file__).parents[1] / "README.md"


def _same(text: str) -> str:
    """Without ids and times, which differ from chat to chat, and with lines as wide as the terminal has them."""
    return re.sub(r"\d+ ms", "0 ms", re.sub(r"\b[0-9a-f]{8}([0-9a-f]{8})?\b", "ID", text)).replace("\n", "")


def test_the_readme_shows_what_is_printed(terminal: Any) -> None:
    """With the console plugin and without a price."""
    sample = README.read_text().split("```\n$ peg ")[1].split("\n```")[0]
    command, *shown = sample.splitlines()
    chat = terminal(*command.split(), PEGBOARD_PLUGINS="chat,console,replay,sqlite")
    said = [line.removeprefix("> ") for line in shown if line.startswith("> ")]
    chat.until_prompt()
    for number, typed in enumerate(said, 2):
        chat.type(f"{typed}\r")
        chat.until(lambda text, prompts=number: text.count("\n>") == prompts and text.endswith("\n>"))

    assert _same(chat.text) == _same("\n".join([*shown, ">"]))


def test_text_that_became_void_is_marked(terminal: Any, server: WireServer, piece: Any, end: bytes) -> None:
    """A person has read it; `--quiet` has no say in that."""
    server.answer(piece("Once upon"), CUT)
    server.answer(piece("Once upon a time."), end)
    chat = terminal("chat", "-q", "-m", "local:teller", PEGBOARD_PLUGINS="chat,local,recovery")
    chat.until(">")
    chat.type("tell me a story\r")

    marked = "Once upon\n(the text above is void; the answer begins anew)\nOnce upon a time.\n"
    assert marked in chat.until(marked)


def test_two_chats_in_one_conversation(chat: Any, place: Any) -> None:
    """Whoever comes second is told before a model is asked, and goes on with what the hint says."""
    chat.type("mine\r")
    chat.until("context ")
    chat.until_prompt()
    place.peg("chat", "-m", "scripted:demo", "--resume", input="yours\n")
    (row,) = place.conversations()
    chat.type("mine again\r")
    chat.until(f"hint: run `/resume {row['id']}`")
    chat.until_prompt()
    chat.type(f"/resume {row['id']}\r")
    chat.until("2 turns, last of it: yours")
    chat.until_prompt()
    chat.type("mine again\r")

    chat.until('You asked "mine again".')


def test_nothing_is_lost_where_no_store_keeps_it(terminal: Any) -> None:
    """That is said at the beginning; an undone turn is there as long as the chat is."""
    chat = terminal("chat", "-m", "scripted:demo", PEGBOARD_PLUGINS="chat,replay")
    assert "this conversation is not kept" in chat.until_prompt()
    for message in ("one", "two"):
        chat.type(f"{message}\r")
        chat.until(f'You asked "{message}"')
        chat.until_prompt()
    chat.type("/undo\r")
    (before,) = set(re.findall(r"/resume (\w+)", chat.until("/resume ")))
    chat.until_prompt()
    chat.type(f"/resume {before}\r")

    assert f"conversation {before}: 2 turns, last of it: two" in chat.until("2 turns")


def test_plain_lines_without_an_editor(terminal: Any) -> None:
    """`PEGBOARD_PLAIN=1`: no cursor is moved; Ctrl-C drops the line, and the end of the input ends the chat."""
    chat = terminal("chat", "-m", "scripted:demo", PEGBOARD_PLAIN="1")
    chat.until_prompt()
    chat.type("never mind\x03")
    chat.until("Ctrl-C once more")
    chat.until_prompt()
    chat.type("hello\r")
    chat.until('You asked "hello".')
    chat.until_prompt()
    chat.type("\x04")

    assert chat.end() == 0
    assert "\x1b" not in chat.raw


def test_an_approval_is_asked_for_in_the_chat(terminal: Any, deployer: Any) -> None:
    """The terminal is free for it: what is typed there is the answer, and not the next message."""
    chat = terminal("chat", "-m", "scripted:demo", "--plugin", str(deployer))
    chat.until_prompt()
    chat.type('Please deploy to "prod".\r')
    chat.until("allow? [o]nce")
    chat.type("o\r")
    chat.until("deployed to prod")
    chat.until_prompt()
    chat.type("/exit\r")

    assert chat.end() == 0
