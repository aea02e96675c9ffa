"""`peg chat` through a pipe: each line is a message, stdout has the answers alone, and nothing is asked."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

DEMO = ("chat", "-m", "scripted:demo")


def test_each_line_is_answered_on_stdout(place: Any) -> None:
    """In order, without colour and prompts; empty lines are nothing, and the last line needs no end."""
    done = place.peg(*DEMO, input="one\n\n \ntwo\r\nthree", FORCE_COLOR="1")

    assert [line.split('"')[1] for line in done.stdout.splitlines()] == ["one", "two", "three"]
    assert "\x1b" not in done.stdout
    assert ">" not in done.stderr
    assert done.returncode == 0


def test_lines_between_quotes_are_one_message(place: Any) -> None:
    """Also where the first stands behind the quotes."""
    done = place.peg(*DEMO, input='"""\none\ntwo\n"""\n"""a\n\nb"""\n')

    assert 'You asked "one\ntwo".' in done.stdout
    assert 'You asked "a\n\nb".' in done.stdout


def test_what_was_asked_for_is_shown_also_in_quiet(place: Any) -> None:
    """It is no talk."""
    done = place.peg("-q", *DEMO, input="hello\n/cost\n")

    assert done.stderr.splitlines()[0].split() == ["MODEL", "REQUESTS", "IN", "CACHED", "OUT", "COST"]


def test_a_closed_stdin_is_an_empty_one(place: Any) -> None:
    """There is nothing to answer, and nothing is wrong."""
    peg = [sys.executable, "-m", "pegboard", *DEMO]
    closed = ["/bin/sh", "-c", '"$@" <&-', "sh", *peg]
    done = subprocess.run(closed, cwd=place.folder, env=place.environment(), timeout=60)

    assert done.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /dev/full")
def test_a_full_disk_is_no_fault_of_the_plugin(place: Any) -> None:
    """The answer cannot be written, and that is all there is to say."""
    peg = ["/bin/sh", "-c", '"$@" >/dev/full', "sh", sys.executable, "-m", "pegboard", *DEMO]
    done = subprocess.run(
        peg, cwd=place.folder, env=place.environment(), input=b"hello\n", stderr=subprocess.PIPE, timeout=60
    )

    assert done.returncode == 1
    assert b"the answer cannot be written: No space left on device" in done.stderr
    assert b"plugin" not in done.stderr


def test_a_block_that_is_not_closed_is_not_sent(place: Any) -> None:
    """It may be half of what was meant."""
    done = place.peg(*DEMO, input='"""\nrm the old\n')

    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing of that block was sent" in done.stderr


def test_a_slash_command_is_never_sent(place: Any) -> None:
    """An unknown one is an error that names the nearest; two slashes send what begins with one."""
    done = place.peg(*DEMO, input="/cots\n//cots\n")

    assert "there is no command `/cots`; did you mean `/cost`?" in done.stderr
    assert done.stdout.count("You asked") == 1
    assert 'You asked "/cots".' in done.stdout
    assert done.returncode == 2


def test_the_exit_code_is_that_of_the_last_failure(place: Any) -> None:
    """A turn that fails is told of and the next one is taken; the message is still in the conversation."""
    done = place.peg("chat", "-m", "scripted:demo", input="/model nobody:knows\nhello\n")

    assert "nobody:knows" in done.stderr
    assert 'You asked "hello".' in done.stdout
    assert done.returncode != 0


def test_json_is_one_object_of_all_turns(place: Any) -> None:
    """With what was said, what came of it, and the conversation."""
    answer = place.json(*DEMO, input="hello\n/cost\n/nothing\n")
    turns = answer["data"]["turns"]

    assert answer["schema"] == "peg.chat/1"
    assert [turn["said"] for turn in turns] == ["hello", "/cost", "/nothing"]
    assert turns[0]["data"]["end_reason"] == "completed"
    assert turns[1]["data"]["models"]["scripted:demo"]["cost_usd"] is None
    assert turns[2]["error"]["code"] == "usage"
    assert (answer["ok"], answer["error"]["code"]) == (False, "usage")
    assert answer["data"]["conversation"] == place.conversations()[0]["id"]


def test_jsonl_is_the_events_and_the_object(place: Any) -> None:
    """A line each, as `peg run --jsonl`."""
    lines = [json.loads(line) for line in place.peg(*DEMO, "--jsonl", input="hello\n").stdout.splitlines()]

    assert [line["kind"] for line in lines if line.get("kind", "").startswith("run.")] == [
        "run.started",
        "run.finished",
    ]
    assert lines[-1]["schema"] == "peg.chat/1"


def test_nobody_is_asked_for_an_approval(place: Any, deployer: Any) -> None:
    """The hint is the command that allows the tool in this conversation; `--allow` does."""
    task = 'Please deploy to "prod".\n'
    refused = place.peg(*DEMO, "--plugin", str(deployer), input=task)
    allowed = place.peg(*DEMO, "--plugin", str(deployer), "--allow", "dev.deploy", input=task)

    assert refused.returncode == 7
    assert f"peg chat --resume {place.conversations()[1]['id']} --allow dev.deploy" in refused.stderr
    assert "deployed to prod" in allowed.stdout


@pytest.mark.parametrize("limit", ["20", "30"])
def test_the_budget_is_that_of_the_chat(place: Any, limit: str) -> None:
    """What one turn used is not there for the next."""
    done = place.peg(*DEMO, "--budget-tokens", "5000", input="hello\n" * 3)
    spent = place.peg(*DEMO, "--budget-tokens", limit, input="hello\n" * 3)

    assert done.returncode == 0
    assert spent.returncode == 6
    assert f"`peg chat --resume {place.conversations()[0]['id']} --budget-tokens …` goes on" in spent.stderr


def test_an_agent_that_takes_structured_input_is_refused(place: Any) -> None:
    """Before anything is said; the hint shows what it takes."""
    (place.folder / "mine.py").write_text(
        "from pegboard import Agent\nagent = Agent('form', input_schema={'type': 'object'})\n"
        "talker = Agent('talker', model='scripted:demo')\n"
    )
    refused = place.peg("chat", "--agent", "mine:agent", input="hello\n")
    taken = place.peg("chat", "--agent", "mine:talker", input="hello\n")

    assert refused.returncode == 2
    assert "takes structured input" in refused.stderr
    assert "talker" in place.conversations()[0]["last"]
    assert 'You asked "hello".' in taken.stdout
