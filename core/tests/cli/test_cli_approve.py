"""`peg run` and approval: `--allow`, a person at a terminal, and nobody."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any, cast

import pytest
from pegboard.cli.approve import Approver, covers, described
from pegboard.cli.contract import Output
from pegboard.interfaces import RunContext
from pegboard.types import Action, ApprovalRequest

PLUGIN = (
    "from pegboard import hookimpl, tool\n\n\n@tool(name='dev.deploy')\ndef deploy(target: str) -> str:\n"
    "    'Deploy to a place.'\n    return f'deployed to {target}'\n\n\nclass Plugin:\n    @hookimpl\n"
    "    def provide_tools(self, ctx):\n        return [deploy]\n"
)
TASK = 'Please deploy to "prod".'


@pytest.fixture
def deployer(site: Any, peg: Any) -> Any:
    """A project with an installed plugin whose tool has the default effect."""
    peg("init")
    schema = {"type": "object", "properties": {"target": {"type": "string"}}, "required": ["target"]}
    deploy = {"name": "dev.deploy", "effect": "unsafe", "input_schema": schema}
    manifest = {"hooks": {"provide_tools": {}}, "contributes": {"tools": [deploy]}}
    site.plugin("dev", manifest, {"plugin.py": PLUGIN})
    return site


def test_without_a_terminal_the_request_is_in_the_json(deployer: Any) -> None:
    """Nobody can be asked: exit code 7, and what was asked is data."""
    done = deployer.peg("run", TASK, "--json")
    request = json.loads(done.stdout)["data"]["request"]

    assert done.returncode == 7
    assert (request["resource"], request["plugin"], request["effect"]) == ("dev.deploy", "dev", "unsafe")
    assert request["arguments"] == {"target": "prod"}


@pytest.mark.parametrize("pattern", ["dev.deploy", "dev.*"])
def test_allow_approves_and_is_recorded(deployer: Any, pattern: str) -> None:
    """`--allow` names a tool or a prefix; the events tell that the command line decided."""
    done = deployer.peg("run", TASK, "--allow", pattern, "--jsonl")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (decided,) = [event["data"] for event in events if event.get("kind") == "approval.decided"]

    assert done.returncode == 0, done.stderr
    assert (decided["granted"], decided["by"]) == (True, "command line")


def test_allow_of_another_tool_allows_nothing(deployer: Any) -> None:
    """A name that differs, or is only a beginning, is not this tool."""
    assert deployer.peg("run", TASK, "--allow", "dev").returncode == 7
    assert [covers("dev.*", "dev.deploy"), covers("dev", "dev.deploy"), covers("*.deploy", "dev.deploy")] == [
        True,
        False,
        False,
    ]


def on_terminal(*arguments: str, answers: str) -> tuple[int, str]:
    """Run `peg` with a pseudo-terminal as stdin and stderr; its exit code and what the terminal showed."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pegboard", *arguments], stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, answers.encode())
    shown = b""
    while piece := _read(ours):
        shown += piece
    os.close(ours)
    return process.wait(timeout=60), shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux says so at the end
        return b""


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
@pytest.mark.parametrize(
    ("answers", "granted", "asked"),
    [("o\n", True, 1), ("d\n", False, 1), ("\nyes\nr\n", True, 3), ("\x04", False, 1)],
    ids=["once", "deny", "no default", "end of input"],
)
def test_a_person_is_asked(
    deployer: Any, monkeypatch: pytest.MonkeyPatch, answers: str, granted: bool, asked: int
) -> None:
    """On a terminal the call is shown and asked for; only an answer in words allows it."""
    monkeypatch.setenv("PYTHONPATH", str(deployer.folder))
    code, shown = on_terminal("run", TASK, answers=answers)

    assert code == 0, shown
    assert "approval needed: tool.call `dev.deploy`" in shown
    assert 'argument target: "prod"' in shown
    assert shown.count("allow? [o]nce") == asked
    assert ("approval granted by terminal" in shown) is granted


def request_for(**fields: Any) -> ApprovalRequest:
    """A request of a model that wants to look harmless."""
    return ApprovalRequest(id="1:x", action=Action(verb="tool.call", resource="shell", **fields))


def test_control_characters_are_spelled_out() -> None:
    """Arguments of a model cannot move the cursor, forge a line or turn the direction of a text."""
    lines = described(request_for(arguments={"command": "rm -r /\r\x1b[2Kls\n\u202e"}))

    assert all(line.isprintable() for line in lines)
    assert "rm -r /" in lines[-1]


async def test_granted_for_the_run_means_these_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """After "this run" the same call is not asked again; the same tool with other arguments is."""
    from pegboard.cli import approve

    out = Output()
    out.interactive = True
    typed = iter(["r\n", "d\n"])
    monkeypatch.setattr(approve, "_line", lambda wake: next(typed))
    approver = approve.Approver(out)
    ctx: Any = type("Run", (), {"root": "r1"})()

    async def granted(digest: str) -> bool:
        answer = await approver.request_approval(ctx, request_for(digest=digest))
        return answer is not None and answer.granted

    assert [await granted("a"), await granted("a"), await granted("b")] == [True, True, False]


@pytest.mark.parametrize(("allowed", "granted"), [(["budget.raise"], True), (["budget.*", "tokens", "*"], False)])
async def test_more_money_is_allowed_by_its_whole_name(allowed: list[str], granted: bool) -> None:
    """And each time anew; what is said of tools is not said of a budget."""
    approver = Approver(Output(), allowed)
    action = Action(verb="budget.raise", resource="tokens")
    answer = await approver.request_approval(cast("RunContext", None), ApprovalRequest(id="1:x", action=action))

    assert (answer is not None and (answer.granted, answer.scope) == (True, "once")) is granted


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe stands for the terminal")
async def test_a_question_that_nobody_waits_for_takes_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed after Ctrl-C is for whoever reads next."""
    terminal, keyboard = os.pipe()
    out = Output()
    out.interactive = True
    ctx: Any = type("Run", (), {"root": "r1"})()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        asking = asyncio.ensure_future(Approver(out).request_approval(ctx, request_for(digest="a")))
        for _ in range(10):  # it waits by then
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        os.write(keyboard, b"hello\n")
        os.close(keyboard)

        assert os.read(terminal, 100) == b"hello\n"


def test_a_question_of_money_names_the_amount() -> None:
    """And why it is asked, in the words of the error."""
    arguments: Any = {"by": 0.25, "of": "this run", "why": "the budget is $0.25"}
    action = Action(verb="budget.raise", resource="cost_usd", arguments=arguments)

    assert described(ApprovalRequest(id="1:x", action=action, prompts=("the budget is $0.25",))) == [
        "approval needed: $0.25 more for the budget of this run",
        "  reason: the budget is $0.25",
    ]
