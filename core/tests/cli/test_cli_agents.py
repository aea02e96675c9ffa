"""`peg agents`: what plugins offer, what one agent is made of, and whether agents are sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pegboard.cli.fields import fields

CODE = """
from pegboard import Agent, hookimpl


class Plugin:
    @hookimpl
    def provide_agents(self, ctx):
        return [Agent("reviewer", version="1.2", instructions="Review.")]
"""


@pytest.fixture
def reviewer(site: Any) -> Any:
    """A plugin that offers an agent."""
    manifest = {
        "hooks": {"provide_agents": {}},
        "contributes": {"agents": [{"name": "reviewer", "summary": "Reviews changes"}]},
    }
    return site.plugin("reviewer", manifest, {"plugin.py": CODE})


@pytest.mark.usefixtures("reviewer")
def test_list_reads_manifests(peg: Any) -> None:
    """Agents are listed with plugin and summary, without importing anything."""
    lines = [line.split() for line in peg("agents", "list").stdout.splitlines()]

    assert ["reviewer", "reviewer", "Reviews", "changes"] in lines


@pytest.mark.usefixtures("reviewer")
def test_info_of_an_agent_of_a_plugin(peg: Any) -> None:
    """An agent is shown with what it is made of."""
    assert peg.json("agents", "info", "reviewer")["data"]["instructions"] == "Review."
    assert "version: 1.2" in peg("agents", "info", "reviewer").stdout


@pytest.mark.usefixtures("reviewer")
def test_run_takes_the_name_of_an_agent(peg: Any) -> None:
    """`peg run NAME TASK` runs the agent of this name, and `--agent` does for a task."""
    assert peg.json("run", "reviewer", "hello", "-m", "scripted:demo")["data"]["agent"] == "reviewer"
    assert peg.json("run", "hello", "--agent", "reviewer", "-m", "scripted:demo")["data"]["agent"] == "reviewer"


@pytest.mark.usefixtures("reviewer")
def test_validate_checks_all_that_plugins_offer(peg: Any) -> None:
    """Without a name every offered agent is checked."""
    assert "reviewer: sound" in peg("agents", "validate").stdout.splitlines()


def test_validate_names_what_is_wrong(site: Any, place: Path) -> None:
    """An agent that is not sound is exit code 4, and the others are still judged."""
    (place / "mine.py").write_text(
        "from pegboard import Agent\nfrom pegboard.types import AgentDependency\n"
        "good = Agent('good')\nbad = Agent('bad', dependencies=(AgentDependency('nobody'),))\n"
    )
    done = site.peg("agents", "validate", "mine:good", "mine:bad", "mine:none")

    assert done.returncode == 4
    assert "mine:good: sound" in done.stdout
    assert "nobody" in done.stdout
    assert "mine:none: `mine:none` could not be loaded" in done.stdout


@pytest.mark.usefixtures("reviewer")
def test_validate_resolves_every_name(site: Any, place: Path) -> None:
    """A name of its own, of a tool, a module or a model that cannot be used is a line each, with what is near."""
    site.plugin("note", {"hooks": {"provide_tools": {}}, "contributes": {"tools": [{"name": "note.tool"}]}})
    (place / "mine.py").write_text(
        "from pegboard import Agent\n"
        "bad = Agent('Bad Name!', tools=['nope.tool', 'git.*'], modules=['nomod'], model='script:demo')\n"
        "good = Agent('good', tools=['note.tool'], model='scripted:demo')\n"
    )
    done = site.peg("agents", "validate", "mine:bad", "mine:good")
    name, tool, module, model, good = done.stdout.splitlines()

    assert done.returncode == 4
    assert "`Bad Name!` must be letters" in name
    assert "no plugin provides the tool `nope.tool`; did you mean `note.tool`?" in tool
    assert "no plugin provides the module `nomod`" in module
    assert "no installed plugin knows the model `script:demo`; near: `scripted:`" in model
    assert good == "mine:good: sound"


def test_an_agent_with_a_schema_takes_json(site: Any, place: Path) -> None:
    """An agent with an input schema is given the JSON in the task; anything else is wrong usage."""
    (place / "mine.py").write_text(
        "from pegboard import Agent\nagent = Agent('sums', input_schema={'type': 'object', 'required': ['n']})\n"
    )

    assert site.peg("run", "mine:agent", '{"n": 1}', "-m", "scripted:demo").returncode == 0
    done = site.peg("run", "mine:agent", "add one", "-m", "scripted:demo")
    assert done.returncode == 2
    assert "takes JSON" in done.stderr


def test_a_schema_is_a_table_of_fields() -> None:
    """Name, type, whether it is required, and what it means; of nested objects two levels, references followed."""
    schema = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "A folder."},
            "least": {"type": ["string", "null"], "enum": ["high", "low", None]},
            "claims": {"type": "array", "items": {"$ref": "#/$defs/claim"}},
            "claim": {"$ref": "#/$defs/claim"},
            "either": {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]},
            "anything": True,
        },
        "required": ["path"],
        "$defs": {"claim": {"type": "object", "description": "Said.", "properties": {"text": {"type": "string"}}}},
    }
    rows = [" ".join(line.split()) for line in fields(schema).splitlines()]

    assert rows == [
        "FIELD TYPE REQUIRED MEANING",
        "path string yes A folder.",
        "least high or low no",
        "claims list of object no",
        "claim object no Said.",
        "claim.text string no",
        "either integer or string no",
        "anything any no",
    ]
    assert fields({"type": "array", "items": {"type": "number"}}) == "list of number"


def test_info_shows_fields_for_people_and_schemas_for_programs(peg: Any, place: Path) -> None:
    """Neither words without order nor a dictionary of Python."""
    source = "from pegboard import Agent\nschema = {'type': 'object', 'properties': {'n': {'type': 'integer'}}}\n"
    (place / "shown_crew.py").write_text(source + "one = Agent('one', input_schema=schema, output=schema)\n")
    shown = peg("agents", "info", "shown_crew:one").stdout

    assert "input_schema:\n  FIELD  TYPE     REQUIRED  MEANING\n  n      integer  no" in shown
    assert "{" not in shown
    assert peg.json("agents", "info", "shown_crew:one")["data"]["output"]["properties"] == {"n": {"type": "integer"}}


def test_validate_looks_for_what_is_fallen_back_to(peg: Any, site: Any, place: Path) -> None:
    """A model that nobody makes, and an agent that is not there, would be found out when the first one fails."""
    (place / "spare.py").write_text(
        "from pegboard import Agent\n"
        'spare = Agent("spare", model="scripted:demo", fallbacks=("nope", "agent:gone", "scripted:x"))\n'
    )
    told = peg("agents", "validate", "spare:spare").stdout

    assert "spare:spare: no installed plugin knows the model `nope`" in told
    assert "spare:spare: `fallbacks` names the agent `gone`, which is not there" in told
    assert len(told.splitlines()) == 2
