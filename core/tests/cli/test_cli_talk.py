"""What is said on stderr: logs as much as was asked for, hints that can be run, pages for every code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pegboard import Agent, Pegboard
from pegboard.cli.init import FILES
from pegboard.cli.run import answer_of_run
from pegboard.errors import ModelNoneError, ModelOutputInvalidError, RunNotFoundError

LOUD = """
from pegboard import hookimpl


class Plugin:
    def activate(self, ctx):
        ctx.log.info("so it goes")
        ctx.log.warning("look out\\x1b[2J")
        try:
            1 / 0
        except ZeroDivisionError:
            ctx.log.debug("deep down", exc_info=True)

    @hookimpl
    def on_event(self, event):
        pass
"""


@pytest.fixture
def loud(site: Any) -> Any:
    """A plugin that logs at three levels."""
    site.plugin("loud", {"hooks": {"on_event": {}}, "activation": ["onHook:on_event"]}, {"plugin.py": LOUD})
    return site


@pytest.mark.parametrize(
    ("option", "said", "unsaid"),
    [
        ([], ["warning: look out\\x1b[2J\n"], ["so it goes", "deep down"]),
        (["-q"], [], ["look out", "so it goes"]),
        (["-v"], ["info: pegboard.plugin.loud: so it goes", "look out"], ["deep down", "Traceback"]),
        (["-vv"], ["debug: pegboard.plugin.loud: deep down", "ZeroDivisionError"], []),
    ],
    ids=["plain", "quiet", "verbose", "very"],
)
def test_logs_are_shown_as_asked(loud: Any, option: list[str], said: list[str], unsaid: list[str]) -> None:
    """Warnings always, more with `-v`, tracebacks with `-vv`, errors alone with `-q`."""
    told = loud.peg("run", "-m", "scripted:demo", "hi", *option).stderr

    assert [text for text in said if text not in told] == []
    assert [text for text in unsaid if text in told] == []


@pytest.mark.parametrize("command", [[], ["run"], ["plugins", "list"]], ids=["root", "command", "of-group"])
def test_h_is_help(peg: Any, command: list[str]) -> None:
    """Everybody tries it."""
    assert peg(*command, "-h").stdout == peg(*command, "--help").stdout


def test_json_and_jsonl_exclude_each_other(peg: Any) -> None:
    """One of them would be ignored."""
    result = peg("run", "-m", "scripted:demo", "hi", "--json", "--jsonl")

    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (2, "usage")


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--budget-usd", "much", "`much` is not a valid number"),
        ("--budget-usd", "nan", "`nan` is not a valid number"),
        ("--budget-tokens", "1.5", "`1.5` is not a valid whole number"),
    ],
)
def test_a_number_that_is_none_is_told_in_words(peg: Any, option: str, value: str, told: str) -> None:
    """Not in those of the library that reads the command line."""
    assert told in peg("run", "hi", option, value).stderr


def test_one_is_no_plural(peg: Any) -> None:
    """A budget of one token is one token."""
    assert "is 1 token:" in peg("run", "-m", "scripted:demo", "hi", "--budget-tokens", "1").stderr


def test_an_option_without_its_value_names_its_command(peg: Any) -> None:
    """The hint is about the command that was called."""
    assert "hint: run `peg run --help`" in peg("run", "hi", "-m").stderr


async def test_a_tool_that_needs_approval_is_named_in_the_hint() -> None:
    """The hint is how to allow it."""
    from pegboard import tool
    from pegboard.cli.contract import Output
    from pegboard.hookspecs import hookimpl
    from pegboard.types import Ask
    from pegboard_replay import ScriptedModel, call

    class Gate:
        @hookimpl
        def authorize(self, action: Any) -> Ask:
            return Ask("really?")

    @tool(effect="unsafe")
    def drop() -> str:
        """Drop it."""
        return "dropped"

    async with Pegboard(plugins=[Gate()]) as board:
        result = await board.run(Agent("a", model=ScriptedModel([call("drop")]), tools=[drop]), "go", check=False)

    error = answer_of_run(result, Output()).error
    assert error is not None
    assert error.hint == 'peg run --allow drop "…"'


async def test_a_board_without_plugins_is_not_sent_to_install_one() -> None:
    """What is installed is not on it; another one would not be either."""
    async with Pegboard() as board:
        with pytest.raises(ModelNoneError) as caught:
            await board.run(Agent("a"), "hi")

    assert "autoload=True" in (caught.value.hint or "")


def test_hints_lead_somewhere() -> None:
    """An answer that does not fit is nothing for the doctor; a run that is not there is."""
    assert ModelOutputInvalidError("no").hint is None
    assert RunNotFoundError("no").hint == "peg doctor"


def test_a_code_of_a_plugin_has_a_page(peg: Any) -> None:
    """From its source."""
    page = peg.json("help", "replay.miss")["data"]

    assert (page["plugin"], page["text"].startswith("A request is not in the cassette")) == ("replay", True)


def test_a_code_without_a_prefix_is_found_too(peg: Any, site: Any) -> None:
    """The class that has the code tells whose it is; of an unknown one the plugin's id does."""
    code = "class E(PegboardError):\n    'It is odd.'\n    code: str = 'odd'\n\n\nraise SystemExit\n"
    site.plugin("strange", {}, {"errors.py": code})

    assert "It is odd.\n\nan error of plugin `strange`" in peg("help", "odd").stdout
    assert "more of it: peg plugins info strange" in peg("help", "strange.nothing").stdout


def test_settings_as_variables_are_explained(peg: Any) -> None:
    """The page on the environment names the general rule."""
    assert "PEGBOARD__A__B=value sets `a.b`" in peg("help", "environment").stdout


def test_why_knows_kinds_and_models(peg: Any) -> None:
    """A model is found by its whole name, and a kind that does not exist is told."""
    assert "of plugin `replay`" in peg("plugins", "why", "model:scripted:demo").stdout
    result = peg("plugins", "why", "modl:scripted")

    assert (result.exit_code, "did you mean `model`?" in result.stderr) == (2, True)


def test_validate_of_broken_code_does_not_hint_at_compile(peg: Any, site: Any) -> None:
    """Which would only hint at `validate`."""
    site.plugin("broken", {}, {"plugin.py": "if\n"})

    assert "python -m compileall" in peg("plugins", "validate", "broken").stderr


@pytest.mark.parametrize("where", ["switch", "settings"])
def test_enable_names_what_still_holds_a_plugin(peg: Any, where: str) -> None:
    """The command that it names switches it on."""
    if where == "switch":
        peg("plugins", "disable", "replay", "--scope", "project")
    else:
        peg("config", "set", "plugins.replay.enabled", "false", "--scope", "project")
    fix = peg("plugins", "enable", "replay", "--yes").stdout.rpartition("fix: peg ")[2].split()
    peg(*fix, *(["--yes"] if where == "switch" else []))

    assert "--scope" in fix
    assert "ready" in peg("plugins", "info", "replay").stdout


def test_a_full_disk_leaves_no_half_file(peg: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next `init` would keep it as something of the person's."""
    monkeypatch.setitem(FILES, "agent.py", "\udcff")  # what cannot be written, as little as on a full disk

    assert peg("init").exit_code != 0
    assert not (place / "agent.py").exists()
