"""What the words of `peg run` are: an agent, its inputs, or a task; what was mistyped is not paid for unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pegboard.cli.inputs import inputs_for
from pegboard.errors import UsageError
from pegboard.types import Agent

REVIEWER = """
from pegboard import Agent, hookimpl


class Plugin:
    @hookimpl
    def provide_agents(self, ctx):
        return [Agent("reviewer", model="scripted:demo")]
"""
SCHEMA = {
    "type": "object",
    "properties": {
        "depth": {"type": "integer"},
        "folder": {"type": "string"},
        "deep": {"type": "boolean"},
        "share": {"type": "number"},
        "note": {"type": "string"},
        "tags": {"type": "array"},
        "label": {"$ref": "#/$defs/label"},
    },
    "required": ["depth", "folder"],
    "$defs": {"label": {"type": ["string", "null"]}},
}


@pytest.fixture
def reviewer(site: Any) -> Any:
    """A plugin that offers an agent."""
    manifest = {"hooks": {"provide_agents": {}}, "contributes": {"agents": [{"name": "reviewer"}]}}
    site.plugin("reviewer", manifest, {"plugin.py": REVIEWER})
    return site


def agent(schema: dict[str, Any] | None) -> Agent:
    return Agent("analyst", input_schema=schema)


def test_a_name_that_is_nearly_an_agent_is_told(reviewer: Any, peg: Any) -> None:
    """It becomes part of the task, and the person hears of it."""
    result = peg("run", "-m", "scripted:demo", "reviewr", "this")

    assert "`reviewr` is no agent and becomes part of the task; did you mean `reviewer`?" in result.stderr
    assert "reviewr this" in result.stdout


@pytest.mark.parametrize("words", [["look at the reviewr"], ["--", "reviewr"], ["see", "reviewr"]])
def test_only_a_first_word_is_taken_for_a_name(reviewer: Any, peg: Any, words: list[str]) -> None:
    """A sentence is a sentence, and after `--` everything is the task."""
    assert "did you mean" not in peg("run", "-m", "scripted:demo", *words).stderr


def test_an_agent_of_a_plugin_that_is_off_is_no_task(reviewer: Any, peg: Any) -> None:
    """Nothing is sent to a model; the way to have the agent is the hint."""
    peg("plugins", "disable", "reviewer")
    result = peg("run", "-m", "scripted:demo", "reviewer", "this")

    assert (result.exit_code, result.stdout) == (4, "")
    assert "run `peg plugins enable reviewer`" in result.stderr
    assert peg("run", "-m", "scripted:demo", "--", "reviewer", "this").exit_code == 0


@pytest.mark.parametrize("words", [[""], ["  "], ["", ""]], ids=["empty", "blank", "two"])
def test_an_empty_task_is_none(peg: Any, words: list[str]) -> None:
    """Nothing is sent."""
    result = peg("run", "-m", "scripted:demo", *words)

    assert (result.exit_code, "there is no task" in result.stderr) == (2, True)


def test_an_agent_is_found_beside_the_settings_of_its_project(
    site: Any, peg: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a folder of the project as from its top."""
    peg("init")
    (place / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(place / "deep" / "down")

    done = site.peg("run", "-q", "agent:agent", "hi")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["depth=2", "."], {"depth": 2, "folder": "."}, id="rest-is-required-text"),
        pytest.param(["depth=2", "folder=a", "b", "c"], {"depth": 2, "folder": "a", "note": "b c"}, id="rest-is-next"),
        pytest.param(["depth=2", "folder=1"], {"depth": 2, "folder": "1"}, id="string-stays"),
        pytest.param(["depth=2", "deep=yes", "x"], {"depth": 2, "deep": True, "folder": "x"}, id="boolean"),
        pytest.param(["depth=2", "share=1", "x"], {"depth": 2, "share": 1, "folder": "x"}, id="number"),
        pytest.param(["depth=2", 'tags=["a"]', "x"], {"depth": 2, "tags": ["a"], "folder": "x"}, id="array"),
        pytest.param(["depth=2", "label=7", "x"], {"depth": 2, "label": "7", "folder": "x"}, id="reference"),
        pytest.param(["depth=2", "a=b"], {"depth": 2, "folder": "a=b"}, id="unknown-name-is-text"),
        pytest.param(['{"depth": 1, "folder": "."}'], {"depth": 1, "folder": "."}, id="json"),
        pytest.param(["depth=1", "5"], {"depth": 1, "folder": "5"}, id="number-is-text"),
    ],
)
def test_words_fill_an_input_schema(words: list[str], expected: dict[str, Any]) -> None:
    """`name=value` sets a property, the rest is text; JSON is taken as it is."""
    assert inputs_for(agent(SCHEMA), words) == expected


def test_a_pipe_is_part_of_the_text() -> None:
    """What was piped follows the words."""
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}

    assert inputs_for(agent(schema), ["sum up"], "three lines") == {"text": "sum up\n\nthree lines"}
    assert inputs_for(agent(schema), []) == {}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["depth=far", "."], "wants `depth` to be integer, and `far` is none", id="type"),
        pytest.param(["."], "needs `depth`", id="missing"),
        pytest.param([], "needs `depth` and `folder`", id="nothing"),
    ],
)
def test_words_that_fit_nothing_are_told(words: list[str], told: str) -> None:
    """The message says which property, and the hint shows the schema."""
    with pytest.raises(UsageError, match=told) as caught:
        inputs_for(agent(SCHEMA), words)

    assert caught.value.hint == "peg agents info analyst"


def test_text_for_an_agent_that_takes_none_is_told() -> None:
    """There is no property that it could be."""
    with pytest.raises(UsageError, match="no property for a text"):
        inputs_for(agent({"type": "object", "properties": {"depth": {"type": "integer"}}}), ["deep"])


def test_a_tool_that_nobody_has_is_not_allowed_in_silence(peg: Any) -> None:
    """`--allow` of a mistyped name would leave the one that was meant unallowed."""
    result = peg("run", "-m", "scripted:demo", "--allow", "final_outptu", "--allow", "nosuch.*", "hi")

    assert "--allow final_outptu: there is no such tool; did you mean `final_output`?" in result.stderr
    assert "--allow nosuch.*: there is no such tool" in result.stderr


@pytest.mark.parametrize("file", ["workflows/letters.yaml", "agents/letters.md"])
def test_a_name_out_of_a_folder_that_is_not_trusted_is_no_task(place: Path, peg: Any, file: str) -> None:
    """Who types it means what is there, and not a model; after `--` it is a task."""
    path = place / ".pegboard" / file
    path.parent.mkdir(parents=True)
    path.write_text("nodes: {a: {transform: text}}")
    result = peg("run", "-m", "scripted:demo", "letters", "four")

    assert result.exit_code == 4
    assert f"`letters` is {path}" in result.stderr
    assert f"peg config set trusted_folders '[\"{place}\"]'" in result.stderr
    assert peg("run", "-m", "scripted:demo", "--", "letters", "four").exit_code == 0
    peg("config", "set", "trusted_folders", f'["{place}"]')
    assert peg("run", "-m", "scripted:demo", "letters", "four").exit_code == 0


def test_an_input_that_does_not_fit_leads_to_what_does(peg: Any, place: Path) -> None:
    """By what the person typed for the agent."""
    source = "from pegboard import Agent\nschema = {'type': 'object', 'properties': {'n': {'enum': [1]}}}\n"
    (place / "picky_crew.py").write_text(source + "one = Agent('one', model='scripted:demo', input_schema=schema)\n")
    result = peg("run", "picky_crew:one", '{"n": 2}')

    assert "the input of agent `one` does not fit" in result.stderr
    assert "hint: run `peg agents info picky_crew:one`" in result.stderr
