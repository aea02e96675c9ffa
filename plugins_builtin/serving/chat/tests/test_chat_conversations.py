"""What becomes of conversations: resumed, undone, moved to another model, and cut off in the middle of an answer."""

from __future__ import annotations

from typing import Any

import pytest
from pegboard_testing.wire_server import CUT, STALL, WireServer

DEMO = ("chat", "-m", "scripted:demo")
PRICE = '[[plugins.prices.rows]]\nprovider = "local"\nmodel = "teller"\ninput = 1.0\noutput = 2.0\n'


def test_another_process_goes_on(place: Any) -> None:
    """By its id, by the beginning of it, or with the newest; the list has its title."""
    place.peg(*DEMO, input="first thing\n")
    (row,) = place.conversations()
    for resumed in (row["id"], row["id"][:6], ""):
        assert place.peg(*DEMO, *filter(None, ("--resume", resumed)), input="more\n").returncode == 0

    (row,) = place.conversations()
    assert (row["title"], row["messages"], row["last"]) == ("first thing", 8, "default")


def test_there_may_be_nothing_to_go_on_with(place: Any) -> None:
    """An id that nobody has, and a store with nothing in it, are errors that say what to type."""
    assert "there is no conversation in the store yet" in place.peg(*DEMO, "--resume").stderr
    unknown = place.peg(*DEMO, "--resume", "zzz")

    assert unknown.returncode != 0
    assert "peg chat --list" not in unknown.stdout
    assert "peg chat --list" in unknown.stderr


def test_undo_leaves_the_old_conversation_where_it_was(place: Any) -> None:
    """The next message goes on from before the last turn, in a conversation of its own; nothing is deleted."""
    turns = place.json(*DEMO, input="one\ntwo\n/undo\nthree\n")["data"]["turns"]
    old, new = turns[2]["data"]["before"], turns[2]["data"]["conversation"]
    stored = {row["id"]: row for row in place.conversations()}

    assert turns[2]["data"]["undone"] == "two"
    assert (stored[old]["messages"], stored[new]["messages"]) == (4, 4)
    assert place.peg(*DEMO, "--resume", old, input="/resume\n").returncode == 0


def test_undo_to_the_beginning_and_beyond(place: Any) -> None:
    """Turn by turn; where there is none left that is an error, and nothing else happens."""
    turns = place.json(*DEMO, input="one\ntwo\n/undo\n/undo\n/undo\n/context\n")["data"]["turns"]

    assert [turn["error"] and turn["error"]["code"] for turn in turns] == [None, None, None, None, "usage", None]
    assert "what you said" not in [part["what"] for part in turns[-1]["data"]["parts"]]


def test_an_agent_of_ones_own_has_to_be_named_again(place: Any) -> None:
    """A store knows its name, and not where its code is."""
    (place.folder / "mine.py").write_text("from pegboard import Agent\nme = Agent('me', model='scripted:demo')\n")
    place.peg("chat", "--agent", "mine:me", input="hello\n")
    refused = place.peg("chat", "--resume", input="again\n")
    resumed = place.peg("chat", "--resume", "--agent", "mine:me", input="again\n")

    assert "--agent module:object" in refused.stderr
    assert 'You asked "again".' in resumed.stdout


def test_retry_says_the_same_again(place: Any) -> None:
    """In a conversation that forks before the last turn."""
    done = place.peg(*DEMO, input="hello\n/retry\n")

    assert done.stdout.count('You asked "hello".') == 2
    assert [row["messages"] for row in place.conversations()] == [2, 2]


def test_another_model_answers_in_mid_conversation(place: Any, server: WireServer, piece: Any, end: bytes) -> None:
    """It is shown what was said before; the cost has a line for each."""
    server.answer(piece("I am another one."), end)
    turns = place.json(*DEMO, input="hello\n/model local:other\nwho are you?\n/cost\n/model\n")["data"]["turns"]
    said = server.requests[-1].json["messages"]

    assert turns[2]["data"]["output"] == "I am another one."
    assert [message["role"] for message in said] == ["user", "assistant", "user"]
    assert sorted(turns[3]["data"]["models"]) == ["local:other", "scripted:demo"]
    assert turns[3]["data"]["models"]["local:other"]["usage"]["output_tokens"] == 7
    assert turns[4]["data"]["model"] == "local:other"


def test_a_turn_that_fails_is_not_lost(place: Any, server: WireServer, piece: Any, end: bytes) -> None:
    """The error is shown, the chat goes on, and `/retry` says the same again."""
    server.fail(401, {"error": {"message": "no"}})
    server.answer(piece("Here I am."), end)
    done = place.peg("chat", "-m", "local:shaky", input="are you there?\n/retry\n")

    assert "error:" in done.stderr
    assert done.stdout == "Here I am.\n"
    assert [message["content"] for message in server.requests[-1].json["messages"]] == ["are you there?"]


def test_a_chat_that_was_killed_goes_on(place: Any, server: WireServer, terminal: Any, piece: Any, end: bytes) -> None:
    """What was said before the answer is in the store, and the history is one that a provider accepts."""
    server.answer(piece("It begins"), STALL)
    server.answer(piece("All is well."), end)
    chat = terminal("chat", "-m", "local:teller")
    chat.until_prompt()
    chat.type("tell me\r")
    chat.until("It begins")
    chat.kill()
    done = place.peg("chat", "-m", "local:teller", "--resume", input="still there?\n")

    assert done.stdout == "All is well.\n", done.stderr
    assert [message["role"] for message in server.requests[-1].json["messages"]][-1] == "user"
    assert "tell me" in str(server.requests[-1].json["messages"])


def test_an_answer_that_was_killed_counts_as_unknown(
    place: Any, server: WireServer, terminal: Any, piece: Any, end: bytes
) -> None:
    """Nobody told what it used, and a provider may want to be paid for it."""
    place.set(PRICE + f'[plugins.local]\nbase_url = "{server.url}/v1"\n')
    server.answer(piece("It begins"), STALL)
    server.answer(piece("All is well."), end)
    chat = terminal("chat", "-m", "local:teller")
    chat.until_prompt()
    chat.type("tell me\r")
    chat.until("It begins")
    chat.kill()
    turns = place.json("chat", "-m", "local:teller", "--resume", input="/cost\nstill there?\n/cost\n")["data"]["turns"]
    killed, both = turns[0]["data"], turns[2]["data"]

    assert (killed["total"]["usage"]["requests"], killed["total"]["cost_usd"]) == (1, None)
    assert killed["unpriced"] == ["local:teller"]
    assert (both["total"]["usage"]["requests"], both["total"]["cost_usd"]) == (2, None)


MEDDLED = """\
import subprocess, sys
from pegboard import Agent, tool
from pegboard_replay import ScriptedModel, call

@tool(effect="pure")
def meddle() -> str:
    "Have another chat speak in this conversation."
    peg = [sys.executable, "-m", "pegboard", "chat", "--agent", "mine:other", "--resume"]
    subprocess.run(peg, input=b"yours\\n", check=True, capture_output=True)
    return "done"

other = Agent("other", model="scripted:demo")
meddled = Agent("meddled", model=ScriptedModel([call("meddle"), "here you are"]), tools=[meddle])
"""


def test_an_answer_that_could_not_be_added_was_paid_for(place: Any) -> None:
    """Somebody else spoke meanwhile: it counts as cost, and is gone from the budget."""
    (place.folder / "mine.py").write_text(MEDDLED)
    arguments = ("chat", "--agent", "mine:meddled", "--budget-tokens", "50000")
    turns = place.json(*arguments, input="mine\n/cost\n/resume\nmine again\n")["data"]["turns"]

    assert [turn["error"] and turn["error"]["code"] for turn in turns] == ["run.busy", None, None, "budget.exceeded"]
    assert turns[1]["data"]["total"]["usage"]["requests"] == 2


def test_what_is_not_known_is_taken_as_it_was_reserved(place: Any, server: WireServer, piece: Any, end: bytes) -> None:
    """The rest of the budget is still there, and what was done is said."""
    server.answer(b": there is more to come\n\n", CUT)
    server.answer(piece("Here I am."), end)
    done = place.peg("chat", "-m", "local:shaky", "--budget-tokens", "50000", input="are you there?\n/retry\n")

    assert done.stdout == "Here I am.\n", done.stderr
    assert "how many tokens that turn used is not known, so that what was reserved for it is taken from" in done.stderr


def test_a_conversation_keeps_its_model(place: Any, server: WireServer, piece: Any, end: bytes) -> None:
    """Who goes on without a model gets the one that was chosen; one that is named is another choice."""
    server.answer(piece("Hello."), end)
    place.peg(*DEMO, input="hello\n/model local:other\nhello\n")
    kept = place.peg("chat", "--resume", input="/model\n").stderr
    named = place.peg(*DEMO, "--resume", input="/model\n").stderr

    assert "local:other answers" in kept
    assert "scripted:demo answers" in named


def test_a_model_that_is_gone_is_told_of(place: Any, server: WireServer, piece: Any, end: bytes) -> None:
    """Another one goes on, and never in silence."""
    server.answer(piece("Hello."), end)
    (place.folder / "mine.py").write_text("from pegboard import Agent\nme = Agent('me', model='scripted:demo')\n")
    place.peg("chat", "--agent", "mine:me", input="/model local:other\nhello\n")
    told = place.peg("chat", "--agent", "mine:me", "--resume", input="/model\n", PEGBOARD_PLUGINS="chat,replay,sqlite")

    assert "warning: `local:other`, which answered last, cannot be asked now" in told.stderr
    assert "scripted:demo answers" in told.stderr


def test_the_model_of_the_command_line_beats_that_of_an_agent(place: Any) -> None:
    """It was named last, and by a person."""
    (place.folder / "mine.py").write_text("from pegboard import Agent\nme = Agent('me', model='local:own')\n")
    done = place.peg(*DEMO, "--agent", "mine:me", input="hello\n")

    assert 'You asked "hello".' in done.stdout, done.stderr


def test_the_cost_of_a_resumed_conversation(place: Any) -> None:
    """It is that of all its runs, whoever made them; the total is known where every part is."""
    place.set('[[plugins.prices.rows]]\nprovider = "scripted"\nmodel = "demo"\ninput = 1.0\noutput = 2.0\n')
    place.peg(*DEMO, input="hello\n")
    first, _, both = (
        turn["data"] for turn in place.json(*DEMO, "--resume", input="/cost\nhello\n/cost\n")["data"]["turns"]
    )

    assert (first["runs"], both["runs"]) == (1, 2)
    assert first["total"]["cost_usd"] == pytest.approx((1 * 1.0 + 20 * 2.0) / 1e6)
    assert both["models"]["scripted:demo"]["usage"]["requests"] == 2
    assert both["total"]["cost_usd"] > 2 * first["total"]["cost_usd"]


def test_a_cost_that_is_unknown_has_the_name_of_its_model(place: Any) -> None:
    """And there is no total then: unknown is never 0."""
    shown = place.peg(*DEMO, input="hello\n/cost\n").stderr

    assert "cost unknown of scripted:demo: no price is known" in shown
    assert shown.splitlines()[-3].split() == ["total", "1", "1", "unknown", "20", "unknown"]


def test_an_answer_that_was_cut_counts(place: Any, server: WireServer, piece: Any) -> None:
    """The provider may want to be paid for it: how much is not known, and neither is the total."""
    server.answer(piece("It beg"), CUT)
    turns = place.json("chat", "-m", "local:shaky", input="tell me\n/cost\n")["data"]["turns"]
    spent = turns[1]["data"]["models"]["local:shaky"]

    assert turns[0]["error"]["code"].startswith("model.")
    assert (spent["usage"]["requests"], spent["usage"]["input_tokens"], spent["cost_usd"]) == (1, None, None)
    assert turns[1]["data"]["total"]["cost_usd"] is None


def test_an_undone_turn_was_paid_for(place: Any) -> None:
    """What it cost is still counted in this chat."""
    turns = place.json(*DEMO, input="hello\n/undo\n/cost\n")["data"]["turns"]

    assert turns[-1]["data"]["models"]["scripted:demo"]["usage"]["requests"] == 1


def test_context_has_parts_and_their_owners(place: Any, deployer: Any) -> None:
    """Tools by plugin, messages by who said them; what is estimated is said to be."""
    shown = place.peg(*DEMO, "--plugin", str(deployer), input="hello\n/context\n").stderr
    words = [line.split() for line in shown.splitlines()]

    assert ["tools", "dev", "1", "about"] in [line[:4] for line in words]
    assert ["answers", "this", "conversation", "1", "about"] in [line[:5] for line in words]
    assert "the model's window is not known; what you say next is added to it" in shown
