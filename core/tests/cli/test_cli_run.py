"""`peg init` and `peg run`: what is run, what is printed, and what comes through pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pegboard.cli.contract import Output
from pegboard.errors import PegboardError
from pegboard.plugins.discovery.state import StateFile


@pytest.fixture
def project(peg: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project as `peg init` writes it."""
    peg("init")
    return place


def test_init_overwrites_nothing(peg: Any, place: Path) -> None:
    """What is there already stays as it is, and is said to be kept."""
    (place / "agent.py").write_text("mine")
    data = peg.json("init")["data"]

    assert (data["kept"], data["written"]) == (["agent.py"], ["tools.py", ".pegboard/config.toml"])
    assert (place / "agent.py").read_text() == "mine"


@pytest.mark.usefixtures("project")
def test_written_agent_runs_and_uses_its_tool(site: Any) -> None:
    """The agent that `init` writes runs at once: no key, no network, and the tool is called."""
    done = site.peg("run", "agent:agent", "what is in this folder?", "-q")

    assert done.returncode == 0, done.stderr
    assert "The tool `list_files` answered: " in done.stdout
    assert '"agent.py","tools.py"' in done.stdout


@pytest.mark.usefixtures("project")
def test_a_model_that_is_asked_for_leads(site: Any, place: Path) -> None:
    """Over the one that the agent names: who types `-m` is not answered by somebody else."""
    text = 'from pegboard import Agent\n\nagent = Agent("clerk", model="nobody:none")\n'
    (place / "clerk.py").write_text(text, encoding="utf-8")

    assert site.peg("run", "clerk:agent", "hello", "-q").returncode == 4
    done = site.peg("run", "clerk:agent", "hello", "-q", "-m", "scripted:demo")

    assert done.returncode == 0, done.stderr
    assert "scripted demo model" in done.stdout


def test_a_run_that_goes_on_takes_no_other_model(peg: Any) -> None:
    """It was begun with one, and what it recorded is of that one."""
    done = peg("run", "--resume", "r1", "-m", "scripted:demo")

    assert done.exit_code == 2
    assert "a run goes on with the model that it began with" in done.stderr


@pytest.mark.usefixtures("project")
def test_json_has_the_result(peg: Any) -> None:
    """`--json` has output, end reason, usage and cost, which is unknown and not 0."""
    data = peg.json("run", "hello")["data"]

    assert (data["end_reason"], data["cost_usd"], data["unpriced_models"]) == ("completed", None, ["scripted:demo"])


@pytest.mark.usefixtures("project")
def test_jsonl_is_the_event_log(peg: Any) -> None:
    """`--jsonl` prints each event as it happens and the result as the last line."""
    lines = [json.loads(line) for line in peg("run", "hello", "--jsonl").stdout.splitlines()]
    kinds = [line["kind"] for line in lines[:-1] if line["run"] != "board"]

    assert (kinds[0], kinds[-1]) == ("run.started", "run.finished")
    assert lines[-1]["schema"] == "peg.run/1"


@pytest.mark.usefixtures("project")
def test_a_pipe_is_added_to_the_task(site: Any) -> None:
    """What comes through a pipe is part of the task; alone it is the task."""
    assert "sum up\n\nthree birds" in site.peg("run", "sum up", input="three birds\n").stdout
    assert "all alone" in site.peg("run", input="all alone").stdout


@pytest.mark.usefixtures("project")
def test_words_are_one_task(peg: Any) -> None:
    """Several words that name nothing are one task."""
    assert "do it now" in peg("run", "do", "it", "now").stdout


@pytest.mark.usefixtures("project")
def test_after_dashes_nothing_is_looked_up(peg: Any) -> None:
    """After `--` even the name of a target is a word."""
    assert "agent:agent" in peg("run", "--", "agent:agent").stdout


@pytest.mark.parametrize(
    ("target", "code", "told"),
    [
        pytest.param("nowhere:agent", 4, "No module named 'nowhere'", id="module"),
        pytest.param("agent:nothing", 4, "has no attribute 'nothing'", id="object"),
        pytest.param("tools:list_files", 4, "is no agent", id="kind"),
        pytest.param("missing.yaml", 2, "there is no file", id="file"),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_target_that_is_not_there_is_told(site: Any, target: str, code: int, told: str) -> None:
    """A word that looks like a target and is none is an error that tells how to say it is a task."""
    done = site.peg("run", target, "hi")

    assert done.returncode == code
    assert told in done.stderr


@pytest.mark.usefixtures("project")
def test_a_missing_object_names_its_file_and_the_agents_in_it(site: Any, place: Path) -> None:
    """The place is that of the module and not a line of pegboard; the hint runs."""
    told = site.peg("run", "agent:nope", "hi").stderr

    assert f"({place / 'agent.py'}); its agents are `agent`" in told
    assert "hint: run `peg run agent:agent`" in told


def test_a_syntax_error_names_file_and_line(site: Any, place: Path) -> None:
    """Also in a module that the agent's module imports."""
    (place / "mine.py").write_text("import broken\n")
    (place / "broken.py").write_text("fine = 1\nif\n")

    told = site.peg("run", "mine:agent", "hi").stderr

    assert f"({place / 'broken.py'}:2)" in told
    assert 'python -c "import mine"' in told


@pytest.mark.usefixtures("project")
def test_a_python_file_is_not_taken_for_a_task(peg: Any) -> None:
    """`agent.py` is near `agent:agent`, and after `--` it is a word."""
    result = peg("run", "agent.py", "hi")

    assert result.exit_code == 2
    assert "did you mean `agent:agent`?" in result.stderr
    assert "agent.py hi" in peg("run", "--", "agent.py", "hi").stdout


@pytest.mark.usefixtures("project")
def test_a_target_without_a_task_is_wrong_usage(site: Any) -> None:
    """An agent is not run on nothing."""
    done = site.peg("run", "agent:agent")

    assert done.returncode == 2
    assert "there is no task for `agent:agent`" in done.stderr


@pytest.mark.usefixtures("project")
def test_a_refused_budget_explains_its_numbers(peg: Any) -> None:
    """What the request takes and what is reserved for the answer; and no id of a run."""
    told = peg("run", "hi", "--budget-tokens", "3").stderr

    assert "the budget of this run is 3 tokens" in told
    assert "for the request, and up to 256 for the answer" in told


def test_a_hint_that_the_help_line_repeats_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """One line says it."""
    Output().show_error(PegboardError("x", hint="peg help error"))

    assert capsys.readouterr().err == "error: x\n\nhelp: peg help error\n"


def test_no_plugins_names_the_option_that_switched_them_off(site: Any, peg: Any) -> None:
    """And not the variable behind it, which nobody set."""
    site.plugin("some", {"hooks": {}})
    (row,) = (
        row for row in peg.json("--no-plugins", "plugins", "list", "--all")["data"]["plugins"] if row["id"] == "some"
    )

    assert "`--no-plugins`" in row["message"]


@pytest.mark.parametrize("hook", ["on_event", "provide_model"])
def test_what_is_not_traced_is_refused(peg: Any, hook: str) -> None:
    """Instead of "was not called", which would be untrue."""
    result = peg("plugins", "trace", hook, "hi")

    assert result.exit_code == 2
    assert "cannot be traced" in result.stderr


@pytest.mark.usefixtures("project")
def test_explain_says_what_it_leaves_out(peg: Any) -> None:
    """A console and a model plugin were called, and that is not denied."""
    peg("plugins", "disable", "recovery")  # it is called around every request
    assert "and `on_event`, are called outside of a run and are not traced" in peg("run", "hi", "--explain").stderr


@pytest.mark.usefixtures("place")
def test_no_task_is_wrong_usage(site: Any) -> None:
    """Without a task nothing is waited for."""
    done = site.peg("run")

    assert done.returncode == 2
    assert "there is no task" in done.stderr


@pytest.mark.usefixtures("project")
def test_core_alone_names_the_plugins_that_have_models(peg: Any) -> None:
    """Without any plugin, `run` says what kind of plugin is missing."""
    result = peg("run", "hi", "--no-plugins")

    assert result.exit_code == 4
    assert "a model plugin with scripted models is missing" in result.stderr


@pytest.mark.usefixtures("project")
def test_help_tells_where_the_default_model_comes_from(peg: Any, place: Path) -> None:
    """The default of an option that is a setting is shown with its file and line."""
    shown = " ".join(peg("run", "--help").stdout.split())

    assert "default: scripted:demo, setting `model` from" in shown
    assert "config.toml:3]" in shown


@pytest.mark.usefixtures("project")
def test_explain_shows_calls_of_plugins(site: Any) -> None:
    """`--explain` shows which plugin was called at which hook."""
    code = (
        "from pegboard import hookimpl\n\n\nclass Plugin:\n"
        "    @hookimpl\n    async def tool_call(self, ctx, call, call_next):\n        return await call_next(call)\n"
    )
    site.plugin("around", {"hooks": {"tool_call": {}}}, {"plugin.py": code})
    done = site.peg("run", "agent:agent", "hi", "--explain", "--json")

    assert {(call["hook"], call["plugin"]) for call in json.loads(done.stdout)["data"]["explain"]} >= {
        ("tool_call", "around")
    }


@pytest.mark.usefixtures("project")
def test_stdout_is_clean_when_a_plugin_prints(site: Any) -> None:
    """Prints of a plugin, at import and in a hook, are on stderr, also those of its subprocesses."""
    code = (
        "import os\nfrom pegboard import hookimpl\nprint('at import')\nos.system('echo by a child')\n\n\n"
        "class Plugin:\n    @hookimpl\n    def on_event(self, event):\n        print('in a hook')\n"
    )
    site.plugin("noisy", {"hooks": {"on_event": {"kinds": ["run."]}}, "hook_reason": "noise"}, {"plugin.py": code})
    done = site.peg("run", "hi", "--json")

    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["ok"]
    assert {"at import", "by a child", "in a hook"} <= set(done.stderr.splitlines())


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("plain", ["", "1"], ids=["live", "plain"])
def test_on_a_terminal_the_answer_appears_once(site: Any, plain: str) -> None:
    """On a terminal the text is streamed and not printed again; with `PEGBOARD_PLAIN` it comes whole."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pegboard", "run", "hello"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PEGBOARD_PLAIN": plain},
    )
    os.close(theirs)
    process.wait(timeout=60)
    shown = os.read(ours, 4096).decode()
    os.close(ours)

    assert shown.count("hello") == 1
    assert "\x1b" not in shown


def test_plugin_folder_is_used_for_one_run(peg: Any, tmp_path: Path, project: Path) -> None:
    """`--plugin PATH` uses a folder under development without installing it."""
    folder = tmp_path / "dev" / "pegboard_dev"
    folder.mkdir(parents=True)
    (folder / "pegboard.toml").write_text(
        'schema = 1\nid = "dev"\nsummary = "x"\napi = ">=1.0,<2"\nentry = "pegboard_dev:Plugin"\n'
        '[hooks.provide_tools]\n[[contributes.tools]]\nname = "dev.hello"\neffect = "pure"\n'
    )
    (folder / "__init__.py").write_text(
        "from pegboard import hookimpl, tool\n\n\n@tool(name='dev.hello', effect='pure')\ndef hello() -> str:\n"
        "    'Say hello.'\n    return 'hello from dev'\n\n\nclass Plugin:\n    @hookimpl\n"
        "    def provide_tools(self, ctx):\n        return [hello]\n"
    )

    assert "hello from dev" in peg("run", "say hello", "--plugin", str(folder)).stdout


NAMES_A_TOOL = """
from pegboard import Agent
from pegboard_replay import ScriptedModel

agent = Agent("reader", model=ScriptedModel(["done"]), tools=["git.status"])
"""


@pytest.mark.parametrize(
    ("arguments", "environment", "hint"),
    [
        (("run", "--no-plugins", "-m", "scripted:demo", "hi"), {}, "leave out `--no-plugins`"),
        (("run", "--no-plugins", "names_a_tool:agent", "hi"), {}, "leave out `--no-plugins`"),
        (("--no-plugins", "run", "--agent", "nobody", "hi"), {}, "leave out `--no-plugins`"),
        (("run", "--agent", "nobody", "hi"), {"PEGBOARD_NO_PLUGINS": "1"}, "run `unset PEGBOARD_NO_PLUGINS`"),
        (("run", "-m", "unheard:of", "hi"), {"PEGBOARD_NO_PLUGINS": "1"}, "run `unset PEGBOARD_NO_PLUGINS`"),
        (("run", "hi"), {"PEGBOARD_NO_PLUGINS": "1"}, "run `unset PEGBOARD_NO_PLUGINS`"),
    ],
    ids=["model", "tool", "agent", "agent by variable", "model by variable", "no model"],
)
def test_what_is_not_found_while_plugins_are_off(
    peg: Any, place: Path, arguments: tuple[str, ...], environment: dict[str, str], hint: str
) -> None:
    """The hint says that they are off and how to have them on, and not what to install."""
    (place / "names_a_tool.py").write_text(NAMES_A_TOOL)

    error = peg.json(*arguments, **environment)["error"]

    assert error["hint"] == f"all plugins are off; {hint}"


def test_what_is_not_found_in_safe_mode(peg: Any, site: Any) -> None:
    """The hint names the culprit, whose end is that of safe mode."""
    site.plugin("killer")

    def change(tables: dict[str, Any]) -> None:
        tables["plugins"]["killer"] = {"dist": "pegboard-killer"}
        tables["starts"]["died"] = ["killer", "killer"]

    StateFile().update(change)

    error = peg.json("run", "--agent", "nobody", "hi")["error"]

    assert error["hint"] == "all plugins are off after starts that died; run `peg plugins disable killer`"


def test_what_is_not_found_with_plugins_on(peg: Any) -> None:
    """Then nothing is said of switches."""
    assert peg.json("run", "--agent", "nobody", "hi")["error"]["hint"] == "peg agents list"
