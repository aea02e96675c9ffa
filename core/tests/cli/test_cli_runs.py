"""`peg runs`, on runs that really ran and are in a real store."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

TEAM = '''
from pegboard import Agent, ToolContext, tool
from pegboard_replay import FunctionModel, call

TEXT = "be \\u202e terse"


@tool(effect="idempotent", inline=True)
def look(n: int) -> str:
    """Look."""
    with open("looked", "a") as file:
        file.write(str(n))
    return f"seen {n}"


def looking(request):
    n = sum(len(message.tool_calls) for message in request.messages) + 1
    return "looked twice" if n > 2 else call("look", n=n)


def failing(request):
    raise RuntimeError("no power")


expert = Agent("expert", model=FunctionModel(looking), tools=[look], instructions=TEXT)
bad = Agent("bad", model=FunctionModel(failing))


@tool(effect="pure")
async def ask(ctx: ToolContext) -> str:
    """Ask."""
    return str((await ctx.run.call_agent(expert, "how many?")).output)


@tool(effect="pure")
async def ask_bad(ctx: ToolContext) -> str:
    """Ask."""
    return str((await ctx.run.call_agent(bad, "how many?")).output)


def once(tool):
    def answer(request):
        return call(tool) if len(request.messages) == 1 else f"heard: {request.messages[-1].parts[0].text}"

    return FunctionModel(answer)


host = Agent("host", model=once("ask"), tools=[ask])
worried = Agent("worried", model=once("ask_bad"), tools=[ask_bad])
'''


@pytest.fixture(autouse=True)
def team(place: Path) -> Iterator[None]:
    """A module with agents in the working folder."""
    (place / "team_of_runs.py").write_text(TEAM)
    yield
    sys.modules.pop("team_of_runs", None)
    sys.path[:] = [entry for entry in sys.path if entry != str(place)]


def ran(peg: Any, agent: str, task: str = "go") -> str:
    """The id of a run that has ended."""
    run: str = peg.json("run", f"team_of_runs:{agent}", task)["data"]["run"]
    return run


# --- which runs there are ----------------------------------------------------------------------------------------


def test_without_a_run_it_says_so(peg: Any) -> None:
    """An empty list is no error; `latest` of nothing is."""
    assert peg("runs", "list").stdout == "no runs\n"
    assert peg.json("runs", "show", "latest")["error"]["code"] == "run.not_found"


@pytest.mark.parametrize(
    "command", ["show", "events", "prompt", "context", "explain", "resume", "fork", "replay", "export", "prune"]
)
def test_an_id_that_is_not_unicode_is_no_run(peg: Any, command: str) -> None:
    """What a terminal can send is looked for like any other id."""
    ran(peg, "bad")

    error = peg.json("runs", command, "\udcff", *(["--yes"] if command == "prune" else []))["error"]

    assert (error["code"], error["hint"]) == ("run.not_found", "peg runs list")


def test_damaged_runs_are_listed_and_named(peg: Any, tmp_path: Path) -> None:
    """Beside the others, whatever is asked for."""
    first, second = ran(peg, "bad"), ran(peg, "expert")
    (file,) = tmp_path.rglob("store.db")
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("update run set row = 7, at = 1e300 where id = ?", (first,))
    connection.close()

    every, chosen = peg("runs", "list"), peg("runs", "list", "--agent", "expert")

    said = f"what is stored of 1 of the runs cannot be read: `{first}`; peg doctor --deep"
    assert [line.split()[0] for line in every.stdout.splitlines()] == ["RUN", second, first]
    assert [line.split()[0] for line in chosen.stdout.splitlines()] == ["RUN", second]
    assert said in every.stderr
    assert said in chosen.stderr


def test_a_clock_that_was_set_back_makes_no_run_shorter_than_nothing(peg: Any, tmp_path: Path) -> None:
    """It ended before it began, by that clock."""
    run = ran(peg, "bad")
    (file,) = tmp_path.rglob("store.db")
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("update run set row = cast(json_set(cast(row as text), '$.ended_at', 1.0) as blob)")
    connection.close()

    assert peg("runs", "list").stdout.splitlines()[1].split()[5] == "0.0"
    assert peg("runs", "show", run).exit_code == 0


def test_runs_are_listed_newest_first(peg: Any) -> None:
    """With how they ended and what they were asked; child runs only where they are wanted."""
    first, second = ran(peg, "host", "one"), ran(peg, "bad", "two\nthree")

    rows = peg.json("runs", "list")["data"]["runs"]
    lines = peg("runs", "list").stdout.splitlines()

    assert [(row["run"], row["status"], row["task"]) for row in rows] == [
        (second, "failed", "two\nthree"),
        (first, "completed", "one"),
    ]
    assert lines[0].split() == ["RUN", "AGENT", "STATE", "BEGAN", "TOOK", "TOKENS", "COST", "TASK"]
    assert lines[1].endswith("two\\nthree")
    assert len(peg.json("runs", "list", "--children")["data"]["runs"]) == 3


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ("--agent bad", 1),
        ("--state failed", 1),
        ("--state running", 0),
        ("--since 1h", 2),
        ("--since 0s", 0),
    ],
)
def test_a_list_is_narrowed(peg: Any, options: str, count: int) -> None:
    """By agent, by how runs stand, by age."""
    ran(peg, "host")
    ran(peg, "bad")

    assert len(peg.json("runs", "list", *options.split())["data"]["runs"]) == count


def test_a_list_says_when_there_is_more(peg: Any) -> None:
    """And how to see it."""
    ran(peg, "expert")
    ran(peg, "expert")

    assert peg.json("runs", "list", "--limit", "1")["data"]["more"] is True
    assert "… and more: peg runs list --limit 10" in peg("runs", "list", "--limit", "1").stdout
    assert peg.json("runs", "list", "--limit", "2")["data"]["more"] is False


def test_a_run_is_named_by_its_beginning(peg: Any) -> None:
    """Or as `latest`; a child run by its root, which may be shortened, and its step."""
    run = ran(peg, "host")
    child = f"{run}.tool.call:ask#1/agent.call:expert#1"

    for given, found in ((run[:5], run), ("latest", run), (child, child), (f"{run[:5]}{child[16:]}", child)):
        assert peg.json("runs", "show", given)["data"]["row"]["run"] == found
    assert peg.json("runs", "show", f"latest{child[16:]}")["data"]["row"]["run"] == child


def test_what_names_no_run_or_several_is_said(peg: Any) -> None:
    """With the ids that fit."""
    for _ in range(17):  # of so many two begin alike
        ran(peg, "bad")
    heads = [row["run"][0] for row in peg.json("runs", "list", "--limit", "20")["data"]["runs"]]
    twice = next(head for head in heads if heads.count(head) > 1)

    assert "several runs begin with" in peg.json("runs", "show", twice)["error"]["message"]
    assert peg.json("runs", "show", "nothing")["error"]["message"] == "no run `nothing` in the store"


# --- how one went ------------------------------------------------------------------------------------------------


def test_show_draws_the_tree(peg: Any) -> None:
    """Phases, steps by their ids, and child runs under the steps that started them, one line each."""
    ran(peg, "host")

    shown = peg("runs", "show", "latest").stdout
    names = [line.split()[0] for line in shown.split("\n\n")[1].splitlines()]

    assert shown.startswith("run ")
    assert names[:6] == [
        "initialization",
        "execution",
        "execution_phase",
        "model.request#1",
        "tool.call:ask#1",
        "agent.call:expert#1",
    ]
    assert "            tool.call:look#2" in shown
    assert "tokens unknown" in shown


def test_show_tells_what_failed_first(peg: Any) -> None:
    """Wherever in the tree it is, when the run did not complete."""
    run = ran(peg, "bad")

    shown = peg("runs", "show", run).stdout

    assert "failed first: model.request#1: " in shown
    assert shown.count("no power") == 1


def test_show_of_a_child_that_failed(peg: Any) -> None:
    """The tree has it with its own failure, although the run around it went on and completed."""
    data = peg.json("runs", "show", ran(peg, "worried"))["data"]
    (child,) = data["children"].values()

    assert (data["status"], child["status"]) == ("completed", "failed")
    assert child["first_failure"]["step"] == "model.request#1"


def test_events_are_lines(peg: Any) -> None:
    """One each, with number, time, kind and data; from an offset, and of some kinds."""
    run = ran(peg, "expert")

    lines = peg("runs", "events", run).stdout.splitlines()
    some = peg.json("runs", "events", run, "--after", "3", "--kind", "step.")["data"]["events"]
    followed = peg("runs", "events", run, "--follow").stdout.splitlines()

    assert lines[0].split()[::2][:2] == ["0", "run.started"]
    assert all(event["seq"] > 3 and event["kind"].startswith("step.") for event in some)
    assert followed == lines


def test_jsonl_is_an_event_a_line(peg: Any) -> None:
    """And the object of the command at the end."""
    lines = [json.loads(line) for line in peg("runs", "events", ran(peg, "expert"), "--jsonl").stdout.splitlines()]

    assert [line["seq"] for line in lines[:-1]] == list(range(len(lines) - 1))
    assert lines[-1]["schema"] == "peg.runs.events/1"


# --- what was sent -----------------------------------------------------------------------------------------------


def test_prompt_is_exactly_what_was_sent(peg: Any) -> None:
    """The text for people is JSON of the same value, whatever is in it; nothing of it reaches the terminal raw."""
    run = ran(peg, "expert", "look \u202e at \x9b this")

    shown = peg("runs", "prompt", run, "2").stdout
    request = json.loads(shown)

    assert request == peg.json("runs", "prompt", run, "2")["data"]["request"]
    assert request["instructions"] == "be \u202e terse"
    assert request["messages"][0]["parts"][0]["text"] == "look \u202e at \x9b this"
    assert [message["role"] for message in request["messages"]] == ["user", "assistant", "tool"]
    assert not {"\u202e", "\x9b"} & set(shown)


def test_prompt_shows_what_changed(peg: Any) -> None:
    """Against an earlier request, as a diff."""
    run = ran(peg, "expert")

    lines = peg("runs", "prompt", run, "2", "--diff", "1").stdout.splitlines()

    assert any(line.startswith("+") and "seen 1" in line for line in lines)
    assert "the same" in peg("runs", "prompt", run, "2", "--diff", "2").stdout


@pytest.mark.parametrize("command", ["prompt", "explain"])
def test_a_request_that_was_not_sent_is_wrong_usage(peg: Any, command: str) -> None:
    """The message says how many there are."""
    error = peg.json("runs", command, ran(peg, "expert"), "9")["error"]

    assert (error["code"], "has 3 requests, and not 9" in error["message"]) == ("usage", True)


def test_without_a_context_plugin_there_is_no_context(peg: Any) -> None:
    """That is said, and no error."""
    assert peg.json("runs", "context", ran(peg, "expert"))["data"]["build"] is None


def test_explain_tells_who_was_called(peg: Any, site: Any) -> None:
    """With `peg run --explain`: the plugin, and what it changed; without it how to have that."""
    code = """
        import msgspec
        from pegboard import hookimpl

        class Plugin:
            @hookimpl
            async def model_request(self, ctx, request, call_next):
                return await call_next(msgspec.structs.replace(request, instructions="loud"))
    """
    site.plugin("shouter", {"hooks": {"model_request": {}}}, {"plugin.py": dedent(code)})
    plain = ran(peg, "bad")
    peg("run", "--explain", "team_of_runs:expert", "go")

    explained = peg.json("runs", "explain", "latest", "2")["data"]

    assert ("model_request", "shouter") in [(call["hook"], call["plugin"]) for call in explained["calls"]]
    assert "loud" in peg("runs", "explain", "latest").stdout
    assert "peg run --explain" in peg("runs", "explain", plain).stdout
    assert peg.json("runs", "prompt", "latest")["data"]["request"]["instructions"] == "loud"


def test_diff_names_the_places(peg: Any) -> None:
    """The innermost ones, with both values."""
    a, b = ran(peg, "expert", "one"), ran(peg, "expert", "two")

    found = peg.json("runs", "diff", a, b)["data"]["differences"]

    assert {"what": "input.inputs", "a": "one", "b": "two"} in found
    assert "they went alike" in peg("runs", "diff", a, a).stdout


def test_diff_names_the_plugins(peg: Any) -> None:
    """Of two runs between which one was switched off."""
    a = ran(peg, "expert", "one")
    peg("plugins", "disable", "console")
    b = ran(peg, "expert", "one")

    found = peg.json("runs", "diff", a, b)["data"]["differences"]

    assert [one["what"] for one in found if one["what"].startswith("plugin")] == ["plugins.console"]


# --- further lives -----------------------------------------------------------------------------------------------


def test_a_copy_goes_on_before_a_step(peg: Any, place: Path) -> None:
    """What is before it is not done again; stdout is the id of the copy."""
    run = ran(peg, "expert")
    copy = peg("runs", "fork", run, "--before", "tool.call:look#2").stdout.strip()

    assert peg.json("runs", "show", copy)["data"]["status"] == "paused"
    assert peg("runs", "resume", copy).stdout == "looked twice\n"
    assert (place / "looked").read_text() == "122"
    assert peg("runs", "fork", run, "--run").stdout == "looked twice\n"


def test_a_replay_asks_nobody(peg: Any, place: Path) -> None:
    """It has the same answer, and does nothing."""
    run = ran(peg, "host")
    before = (place / "looked").read_text()

    assert peg("runs", "replay", run).stdout == "heard: looked twice\n"
    assert (place / "looked").read_text() == before
    assert len(peg.json("runs", "list")["data"]["runs"]) == 1


def test_a_child_run_goes_on_with_its_root(peg: Any) -> None:
    """It cannot without the run that waits for it."""
    run = ran(peg, "host")

    error = peg.json("runs", "resume", f"{run}.tool.call:ask#1/agent.call:expert#1")["error"]

    assert (error["code"], error["hint"]) == ("usage", f"peg runs resume {run}")


@pytest.mark.parametrize("command", ["resume", "fork", "replay"])
def test_an_agent_that_is_gone_is_said(peg: Any, place: Path, command: str) -> None:
    """With where the run was started, when that is elsewhere."""
    run = ran(peg, "expert")
    (place / "team_of_runs.py").unlink()
    sys.modules.pop("team_of_runs")

    error = peg.json("runs", command, run)["error"]

    assert error["code"] == "agent.not_found"
    assert f"the agent of run `{run}` is not there: `team_of_runs:expert`" in error["message"]


def test_a_plugin_that_is_off_is_said(peg: Any, site: Any) -> None:
    """The agent of the run is its, and the hint switches it on."""
    code = """
        from pegboard import Agent, hookimpl
        from pegboard_replay import ScriptedModel

        class Plugin:
            @hookimpl
            def provide_agents(self, ctx):
                return [Agent("crew.one", model=ScriptedModel(["done"]))]
    """
    manifest = {"hooks": {"provide_agents": {}}, "contributes": {"agents": [{"name": "crew.one"}]}}
    site.plugin("crew", manifest, {"plugin.py": dedent(code)})
    run = peg.json("run", "crew.one", "go")["data"]["run"]
    assert peg("runs", "replay", run).exit_code == 0
    peg("plugins", "disable", "crew")

    error = peg.json("runs", "resume", run)["error"]

    assert (error["code"], error["hint"]) == ("agent.not_found", "peg plugins enable crew")


def test_an_approval_that_nobody_gave_can_be_given_later(peg: Any, site: Any, place: Path) -> None:
    """The hint is the command that goes on with this very run; what was done before is not done again."""
    code = """
        from pegboard import hookimpl, tool

        @tool(name="shop.pay", effect="unsafe")
        def pay() -> str:
            '''Pay.'''
            return "paid"

        class Plugin:
            @hookimpl
            def provide_tools(self, ctx):
                return [pay]
    """
    manifest = {"hooks": {"provide_tools": {}}, "contributes": {"tools": [{"name": "shop.pay"}]}}
    site.plugin("shop", manifest, {"plugin.py": dedent(code)})
    with (place / "team_of_runs.py").open("a") as file:
        file.write("\nbuyer = Agent('buyer', model=once('shop.pay'), tools=['shop.pay'])\n")

    refused = peg.json("run", "team_of_runs:buyer", "go")
    run = peg.json("runs", "list")["data"]["runs"][0]

    assert (run["status"], refused["error"]["code"]) == ("needs_approval", "approval.needed")
    assert refused["error"]["hint"] == f"peg runs resume {run['run']} --allow shop.pay"
    assert peg("runs", "resume", run["run"], "--allow", "shop.pay").stdout == "heard: paid\n"


def test_the_default_agent_is_found_again(peg: Any) -> None:
    """A task without a target is gone on with too."""
    run = peg.json("run", "-m", "scripted:demo", "hello")["data"]["run"]

    assert peg.json("runs", "replay", run, PEGBOARD__MODEL="scripted:demo")["data"]["end_reason"] == "completed"


# --- handing on, forgetting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "code", "hint"),
    [
        ("/dev/full", "storage.exhausted", "df /dev"),
        ("gone/out.jsonl", "storage.failed", "mkdir -p gone"),
        ("x" * 300, "storage.failed", "ls -la ."),
        ("pipe", "storage.failed", "cat pipe"),
    ],
)
def test_export_says_why_a_file_cannot_be_written(peg: Any, place: Path, file: str, code: str, hint: str) -> None:
    """At once, with what helps; a pipe without a reader is not waited for."""
    if sys.platform != "linux":
        pytest.skip("these files are of Linux")
    os.mkfifo(place / "pipe")
    run = peg.json("run", "-m", "scripted:demo", "hello")["data"]["run"]

    error = peg.json("runs", "export", run, "-o", file)["error"]

    assert (error["code"], error["hint"]) == (code, hint)


def test_export_fills_a_pipe_that_is_read(peg: Any, place: Path) -> None:
    """More than a pipe holds; as for a program that packs it."""
    if sys.platform != "linux":
        pytest.skip("there are no such pipes")
    os.mkfifo(place / "pipe")
    run = ran(peg, "expert", "x" * 100_000)
    with (place / "read").open("wb") as file, subprocess.Popen(["cat", "pipe"], cwd=place, stdout=file) as reader:
        try:
            until_done(lambda: peg("runs", "export", run, "-o", "pipe").exit_code == 0)  # once it has begun to read
            reader.wait(timeout=30)
        finally:
            reader.kill()

    lines = (place / "read").read_bytes().splitlines()
    assert {json.loads(line)["type"] for line in lines} == {"run", "step", "event"}
    assert sum(map(len, lines)) > 100_000


def until_done(work: Callable[[], bool]) -> None:
    for _ in range(1000):
        if work():
            return
    pytest.fail("it was never done")


def test_export_has_the_whole_tree(peg: Any, place: Path) -> None:
    """Row, steps and events of the run and of its child runs, one JSON object a line."""
    run = ran(peg, "host", "x \x7f\u202e y")

    lines = [json.loads(line) for line in peg("runs", "export", run).stdout.splitlines()]
    peg("runs", "export", run, "-o", "out.jsonl")
    written = [json.loads(line) for line in (place / "out.jsonl").read_text().splitlines()]

    assert lines == written == peg.json("runs", "export", run)["data"]["lines"]
    assert [line["data"]["run"] for line in lines if line["type"] == "run"] == [
        run,
        f"{run}.tool.call:ask#1/agent.call:expert#1",
    ]
    assert lines[0]["data"]["input"]["inputs"] == "x \x7f\u202e y"


def test_prune_forgets_trees(peg: Any) -> None:
    """Old ones, or all but the newest; what would go can be seen before."""
    first, second = ran(peg, "host"), ran(peg, "bad")

    dry = peg.json("runs", "prune", "--keep", "1", "--dry-run")["data"]
    assert (dry["runs"], dry["with_children"]) == ([first], 2)
    assert peg("runs", "prune", "--older-than", "1h", "--yes").stdout == "nothing to forget\n"
    assert "1 run forgotten" in peg("runs", "prune", "--keep", "1", "--yes").stdout
    assert [row["run"] for row in peg.json("runs", "list", "--children")["data"]["runs"]] == [second]


def test_prune_asks_first(peg: Any) -> None:
    """Where nobody can be asked the hint is the same command with `--yes`."""
    ran(peg, "bad")

    result = peg.json("runs", "prune", "--keep", "0")

    assert (result["error"]["code"], result["error"]["hint"]) == (
        "approval.needed",
        "peg runs prune --keep 0 --yes",
    )
    assert result["data"]["request"]["with_children"] == 1


def test_prune_forgets_a_run_by_its_name(peg: Any) -> None:
    """Also a copy that waits; but not without a word on what to forget."""
    run = ran(peg, "expert")
    copy = peg.json("runs", "fork", run)["data"]["run"]

    assert peg("runs", "prune", "--keep", "0", "--yes").exit_code == 0
    assert [row["run"] for row in peg.json("runs", "list")["data"]["runs"]] == [copy]
    assert peg("runs", "prune", copy, "--yes").exit_code == 0
    assert peg("runs", "list").stdout == "no runs\n"
    assert peg.json("runs", "prune")["error"]["code"] == "usage"
    assert peg.json("runs", "prune", "--older-than", "soon")["error"]["code"] == "usage"


# --- no store ----------------------------------------------------------------------------------------------------


def test_a_store_that_is_switched_off_is_named(peg: Any) -> None:
    """With what switches it on."""
    peg("plugins", "disable", "sqlite")

    error = peg.json("runs", "list")["error"]

    assert (error["code"], error["hint"]) == ("driver.missing", "peg plugins enable sqlite")
