"""`peg run` and `peg runs` as processes of their own over the real store: killed, followed, resumed, resolved."""

from __future__ import annotations

import json
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.integration.conftest import DEADLINE_S, MakePlace, Place, wait_until

AGENTS = '''
import asyncio
import os
from pathlib import Path
from pegboard import Agent, ToolContext, tool
from pegboard_replay import FunctionModel, call


def note(text):
    with open("notes", "a") as file:
        file.write(text + "\\n")


@tool(effect="idempotent")
async def look(n: int) -> str:
    """Look; the second time only once there is a file `go`."""
    note(f"look {n}")
    while n == 2 and not Path("go").exists():
        await asyncio.sleep(0.01)
    return f"seen {n}"


@tool(effect="unsafe")
async def pay() -> str:
    """Pay, and be killed right afterwards."""
    note("pay")
    if not Path("paid").exists():
        Path("paid").touch()
        os.kill(os.getpid(), 9)
    return "paid anew"


@tool(effect="pure")
async def ask(ctx: ToolContext) -> str:
    """Ask."""
    return str((await ctx.run.call_agent(looker, "look")).output)


def looking(request):
    n = sum(len(message.tool_calls) for message in request.messages) + 1
    return "looked" if n > 3 else call("look", n=n)


def once(name):
    def answer(request):
        return call(name) if len(request.messages) == 1 else request.messages[-1].parts[0].text

    return FunctionModel(answer)


looker = Agent("looker", model=FunctionModel(looking), tools=[look])
host = Agent("host", model=once("ask"), tools=[ask])
payer = Agent("payer", model=once("pay"), tools=[pay])
'''


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    """A place of its own, with the agents."""
    return make_place({"crew.py": AGENTS})


def notes(place: Place) -> list[str]:
    """What tools did, in order."""
    file = place.folder / "notes"
    return file.read_text().splitlines() if file.exists() else []


def store_of(place: Place) -> Path:
    """The file of the store."""
    (file,) = place.home.rglob("store.db")
    return file


def killed(place: Place, agent: str) -> str:
    """A run whose process was killed while a tool was at its second look."""
    process = place.start("run", f"crew:{agent}", "go")
    wait_until(lambda: "look 2" in notes(place))
    process.send_signal(signal.SIGKILL)
    process.wait()
    run: str = place.json("runs", "list")["data"]["runs"][0]["run"]
    return run


def test_a_killed_run_goes_on(place: Place) -> None:
    """It is shown as interrupted; what is recorded is not repeated, also not in a child run."""
    run = killed(place, "host")
    assert place.json("runs", "show", run)["data"]["status"] == "interrupted"
    assert f"go on with it: peg runs resume {run}" in place.peg("runs", "show", run)[2]
    (place.folder / "go").touch()

    code, out, _ = place.peg("runs", "resume", run)
    data = place.json("runs", "show", run)["data"]
    (child,) = data["children"].values()

    assert (code, out) == (0, "looked")
    assert notes(place) == ["look 1", "look 2", "look 2", "look 3"]
    assert (data["status"], child["status"]) == ("completed", "completed")


def test_a_run_is_followed_from_another_process(place: Place) -> None:
    """Until it ends; meanwhile nobody else can go on with it, or forget it."""
    driver = place.start("run", "crew:looker", "go")
    wait_until(lambda: "look 2" in notes(place))
    follower = place.start("runs", "events", "latest", "--follow", "--jsonl")
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline())["kind"] == "run.started"

    busy = place.json("runs", "resume", "latest")["error"]
    forget = place.json("runs", "prune", "latest", "--yes")["error"]
    assert place.json("runs", "list")["data"]["runs"][0]["status"] == "running"
    (place.folder / "go").touch()
    driver.wait()
    lines = [json.loads(line) for line in follower.stdout]

    assert (busy["code"], busy["hint"]) == ("run.busy", f"peg runs events {busy['run']} --follow")
    assert forget["code"] == "run.busy"
    assert (lines[-2]["kind"], lines[-1]["ok"]) == ("run.finished", True)
    assert notes(place) == ["look 1", "look 2", "look 3"]


def test_a_follower_is_told_when_the_process_is_gone(place: Place) -> None:
    """It does not wait for ever, and says how to go on."""
    run = killed(place, "looker")

    code, _, talk = place.peg("runs", "events", run, "--follow")

    assert (code, f"peg runs resume {run}" in talk) == (0, True)


@pytest.mark.parametrize(
    ("said", "answer", "times"),
    [
        (["done", "--result", '{"sum": 5}'], '{"sum":5}', 1),
        (["redo"], "paid anew", 2),
        (["fail"], "a person says that this failed", 1),
    ],
    ids=["done", "redo", "fail"],
)
def test_a_person_resolves_an_unsafe_step(place: Place, said: list[str], answer: str, times: int) -> None:
    """Nobody knows whether it was paid, so it is not paid again before somebody says so."""
    place.peg("run", "crew:payer", "go")
    code, _, talk = place.peg("runs", "resume", "latest")
    run = place.json("runs", "list")["data"]["runs"][0]["run"]
    assert (code, f"peg runs resolve {run} tool.call:pay#1 done" in talk) == (7, True)

    resolved = place.json("runs", "resolve", run, "tool.call:pay#1", *said)["data"]
    out = place.peg("runs", "resume", run)[1]

    assert (resolved["outcome"], resolved["unresolved"]) == (said[0], [])
    assert out == answer
    assert notes(place).count("pay") == times
    again = place.json("runs", "resolve", run, "tool.call:pay#1", *said)["error"]
    assert again["code"] == "run.not_found"


def test_ctrl_c_tells_how_to_go_on(place: Place) -> None:
    """In the error, since the run is in the store; and it does go on."""
    process = place.start("run", "crew:looker", "go")
    wait_until(lambda: "look 2" in notes(place))
    process.send_signal(signal.SIGINT)
    talk = process.communicate(timeout=DEADLINE_S)[1]
    run = place.json("runs", "list")["data"]["runs"][0]
    (place.folder / "go").touch()

    assert (process.returncode, run["status"]) == (130, "cancelled")
    assert f"peg runs resume {run['run']}" in talk
    assert place.peg("runs", "resume", run["run"])[1] == "looked"


def test_a_damaged_run_leaves_the_others_alone(place: Place) -> None:
    """It is listed, said to be corrupt by what needs it, and can be forgotten; so is one whose row is damaged."""
    (place.folder / "go").touch()
    runs = [place.json("run", "crew:looker", "go")["data"]["run"] for _ in range(3)]
    connection = sqlite3.connect(store_of(place))
    connection.execute(
        "update entry set events = x'7b' where slot >> 32 = (select number from run where id = ?)", runs[:1]
    )
    connection.execute("update run set row = x'7b' where id = ?", runs[1:2])
    connection.commit()
    connection.close()

    rows = place.json("runs", "list")["data"]["runs"]
    codes = [(place.json("runs", "export", run)["error"] or {"code": None})["code"] for run in runs]

    assert [(row["run"], row["status"]) for row in rows] == list(
        zip(reversed(runs), ["completed", "parked", "completed"], strict=True)
    )
    assert codes == ["journal.corrupt", "journal.corrupt", None]
    assert place.peg("runs", "prune", *runs[:2], "--yes")[0] == 0
    assert [row["run"] for row in place.json("runs", "list")["data"]["runs"]] == runs[2:]


def test_a_newer_store_is_refused_with_the_fix(place: Place) -> None:
    """By every command, and nothing in it is changed."""
    (place.folder / "go").touch()
    place.peg("run", "crew:looker", "go")
    connection = sqlite3.connect(store_of(place))
    connection.execute("pragma user_version = 99")
    connection.close()

    for command in (["runs", "list"], ["runs", "resume", "latest"], ["run", "crew:looker", "go"]):
        error = place.json(*command)["error"]
        assert (error["code"], error["hint"]) == ("journal.version", "pip install --upgrade pegboard-sqlite")
