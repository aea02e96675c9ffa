"""Commands that plugins mount: found without an import, isolated when they break."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

GOOD = """
import click

print("noise at import")


@click.command()
@click.option("--fail", is_flag=True)
def greet(fail):
    "Greet."
    click.echo("hello")
    if fail:
        raise RuntimeError("broken on purpose")
"""


@pytest.fixture
def greeting(site: Any) -> Any:
    """A plugin with a command of its own, one in a group of core, and one that cannot be imported."""
    commands = [
        {"name": "greet", "target": "pegboard_greeting.commands:greet", "help": "Greet somebody."},
        {"name": "agents greet", "target": "pegboard_greeting.commands:greet", "help": "Greet an agent."},
        {"name": "gone", "target": "pegboard_greeting.gone:command", "help": "Is broken."},
    ]
    site.plugin(
        "greeting", {"contributes": {"commands": commands}}, {"commands.py": GOOD, "gone.py": "raise SystemExit"}
    )
    return site


@pytest.mark.usefixtures("greeting")
def test_commands_are_listed_without_an_import(peg: Any) -> None:
    """A plugin's commands stand in `--help` with the words of the manifest, and nothing of it is imported."""
    assert "greet       Greet somebody." in peg("--help").stdout
    assert "greet     Greet an agent." in peg("agents", "--help").stdout
    assert not any(name.startswith("pegboard_greeting") for name in sys.modules)


@pytest.mark.usefixtures("greeting")
@pytest.mark.parametrize("path", [("greet",), ("agents", "greet")], ids=" ".join)
def test_command_runs_and_owns_stdout(peg: Any, path: tuple[str, ...]) -> None:
    """A mounted command prints to stdout; what its import printed went to stderr."""
    assert peg(*path).stdout == "hello\n"


def test_noise_of_the_import_is_off_stdout(greeting: Any) -> None:
    """In a process of its own, what the import of a command prints is on stderr."""
    done = greeting.peg("greet")

    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert "noise at import" in done.stderr


@pytest.mark.usefixtures("greeting")
def test_broken_command_is_the_fault_of_its_plugin(peg: Any) -> None:
    """A command that cannot be imported is exit code 3 and names plugin, distribution and version."""
    result = peg("gone", "--json")
    error = json.loads(result.stdout)["error"]

    assert result.exit_code == 3
    assert (error["code"], error["plugin"], error["dist"], error["version"]) == (
        "plugin.load",
        "greeting",
        "pegboard-greeting",
        "1.0.0",
    )


@pytest.mark.usefixtures("greeting")
def test_failing_command_is_the_fault_of_its_plugin(peg: Any) -> None:
    """An exception in a mounted command is exit code 3, and no fault of ours."""
    result = peg("greet", "--fail")

    assert result.exit_code == 3
    assert "of plugin `greeting` (pegboard-greeting 1.0.0) failed: RuntimeError" in result.stderr


@pytest.mark.usefixtures("greeting")
def test_misspelt_command_of_a_plugin_is_suggested(peg: Any) -> None:
    """Suggestions know the commands of plugins."""
    assert "did you mean `agents`, `greet`?" in peg("gret").stderr


@pytest.mark.usefixtures("greeting")
def test_a_name_of_core_is_not_taken(peg: Any, site: Any) -> None:
    """A plugin that claims a command of core is rejected, and the command stays core's."""
    site.plugin("thief", {"contributes": {"commands": [{"name": "plugins list", "target": "pegboard_thief.plugin:x"}]}})

    rows = {row["id"]: row for row in peg.json("plugins", "list", "--all")["data"]["plugins"]}

    assert (rows["thief"]["state"], rows["thief"]["reason"]) == ("rejected", "collision")


@pytest.mark.usefixtures("greeting")
def test_safe_mode_mounts_nothing(peg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--no-plugins` no command of a plugin is there."""
    monkeypatch.setenv("PEGBOARD_NO_PLUGINS", "")
    assert "Greet somebody" not in peg("--no-plugins", "--help").stdout


@pytest.mark.usefixtures("greeting")
def test_completion_knows_commands_of_plugins(greeting: Any) -> None:
    """The shell completes a plugin's command without importing it."""
    done = greeting.peg(_PEG_COMPLETE="bash_complete", COMP_WORDS="peg gr", COMP_CWORD="1")

    assert done.stdout.split() == ["plain,greet"]
    assert "noise" not in done.stderr


def test_what_is_no_command_is_the_fault_of_its_plugin(peg: Any, site: Any) -> None:
    """A target that is something else than a click command is exit code 3."""
    site.plugin("odd", {"contributes": {"commands": [{"name": "odd", "target": "pegboard_odd.plugin:Plugin"}]}})
    result = peg("odd")

    assert result.exit_code == 3
    assert "`pegboard_odd.plugin:Plugin` is no click command" in result.stderr


def test_plugins_can_make_a_group_of_their_own(peg: Any, site: Any) -> None:
    """Commands with a first word that core does not have make a group of that name."""
    commands = [{"name": "notes add", "target": "pegboard_notes.commands:greet", "help": "Add a note."}]
    site.plugin("notes", {"contributes": {"commands": commands}}, {"commands.py": GOOD})

    assert "notes" in peg("--help").stdout
    assert "add  Add a note." in peg("notes", "--help").stdout
    assert peg("notes", "add").stdout == "hello\n"


def test_help_works_when_nothing_can_be_read(peg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--help` never fails, whatever is wrong with the index."""
    from pegboard.plugins.discovery import index

    monkeypatch.setattr(index, "load", None)

    assert peg("--help").exit_code == 0


def test_a_group_of_a_plugin_says_what_the_plugin_is_for(peg: Any, site: Any) -> None:
    """In the words of its manifest."""
    commands = [{"name": "flows list", "target": "pegboard_flowing.plugin:x", "help": "List."}]
    site.plugin("flowing", {"summary": "Graphs of agents", "contributes": {"commands": commands}})

    assert "Graphs of agents." in peg("--help").stdout
    assert "Graphs of agents." in peg("flows", "--help").stdout
