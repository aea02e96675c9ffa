"""The contract, walked through every command of the tree: a new command without a row here fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click
import pytest
from pegboard.cli.groups import Entry
from pegboard.cli.table import COMMANDS

ROWS: dict[str, tuple[str, ...]] = {
    "init": (),
    "run": ("how are you", "-m", "scripted:demo"),
    "runs list": (),
    "runs show": ("latest",),
    "runs events": ("latest",),
    "runs prompt": ("latest",),
    "runs context": ("latest",),
    "runs explain": ("latest",),
    "runs diff": ("latest", "latest"),
    "runs resume": ("latest",),
    "runs fork": ("latest",),
    "runs replay": ("latest",),
    "runs resolve": ("latest", "tool.call:x#1", "done"),
    "runs export": ("latest",),
    "runs prune": ("--older-than", "30d", "--yes"),
    "agents list": (),
    "agents info": ("nowhere:agent",),
    "agents validate": (),
    "models list": (),
    "models check": ("scripted:demo",),
    "plugins list": (),
    "plugins info": ("replay",),
    "plugins why": ("git.status",),
    "plugins order": ("on_event",),
    "plugins trace": ("on_event", "hello", "-m", "scripted:demo"),
    "plugins install": ("something", "--isolated"),
    "plugins uninstall": ("nothing",),
    "plugins update": ("nothing",),
    "plugins enable": ("replay", "--yes"),
    "plugins disable": ("replay",),
    "plugins grant": ("replay", "--yes"),
    "plugins revoke": ("replay",),
    "plugins doctor": (),
    "plugins lock": (),
    "plugins verify": (),
    "plugins reindex": (),
    "plugins new": ("nothing", "--template", "nowhere"),
    "plugins link": (".",),
    "plugins validate": ("replay",),
    "plugins compile": ("nothing",),
    "plugins check": ("nothing",),
    "config show": (),
    "config explain": ("model",),
    "config schema": (),
    "config set": ("model", "scripted:demo"),
    "doctor": (),
    "help": ("plugin.load",),
    "completion": ("zsh",),
}
"""Arguments with which each command gives an answer at once: no network, nobody to ask."""

OPENS_A_BOARD = {"run", "agents info", "agents validate", "models list", "models check", "plugins trace"}
BROKEN = {"id": "broken", "activation": ["onStartup"], "startup_reason": "to be met"}


def leaves(entries: Mapping[str, Entry], above: str = "") -> Iterator[tuple[str, Entry]]:
    """Every command, by its path."""
    for name, entry in entries.items():
        if entry.children is None:
            yield f"{above}{name}", entry
        else:
            yield from leaves(entry.children, f"{above}{name} ")


COMMAND_LIST = dict(leaves(COMMANDS))
every_command = pytest.mark.parametrize("path", COMMAND_LIST)


def test_every_command_has_a_row() -> None:
    """The rows of this matrix are the commands of `peg`, no more and no less."""
    assert set(ROWS) == set(COMMAND_LIST)


@every_command
def test_help_of_the_table_is_that_of_the_command(path: str, peg: Any) -> None:
    """The line that a group shows without importing a command is its own first line, in substance: both are there."""
    entry = COMMAND_LIST[path]
    command = entry.load()

    assert entry.help.endswith(".")
    assert command.help
    assert command.name == path.split()[-1]


@every_command
def test_help_works_and_names_defaults(path: str, peg: Any) -> None:
    """`--help` shows the usage, and the default of every option that takes a value."""
    result = peg(*path.split(), "--help")
    command = COMMAND_LIST[path].load()
    context = click.Context(command, info_name=path)
    given = [param for param in command.params if isinstance(param, click.Option)]
    options = [param for param in given if not param.is_flag and not param.count]
    records = [record[1] for option in options if (record := option.get_help_record(context))]

    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: peg {path}")
    assert [text for text in records if "default: " not in text and "required" not in text] == []


@every_command
def test_json_is_one_object(path: str, peg: Any) -> None:
    """`--json` prints one object with the name of the command in its schema, whatever becomes of the command."""
    value = peg.json(*path.split(), *ROWS[path])

    assert list(value) == ["schema", "ok", "data", "error"]
    assert value["schema"] == f"peg.{path.replace(' ', '.')}/1"
    assert value["ok"] is (value["error"] is None)


@every_command
def test_exit_code_is_that_of_the_error(path: str, peg: Any) -> None:
    """The exit code is the one in the error object, 0 without one, and never that of a fault of ours."""
    result = peg(*path.split(), *ROWS[path], "--json")
    error = json.loads(result.stdout)["error"]

    assert result.exit_code == (error["exit_code"] if error else 0)
    assert result.exit_code != 70


@every_command
def test_unknown_option_is_wrong_usage(path: str, peg: Any) -> None:
    """An option that does not exist is exit code 2, with the help of this command as the hint."""
    result = peg(*path.split(), "--no-such-option")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"hint: run `peg {path} --help`" in result.stderr


@every_command
def test_people_get_no_traceback(path: str, peg: Any) -> None:
    """Without `--json` nothing that is printed is a traceback, and an error ends with the name of its page."""
    result = peg(*path.split(), *ROWS[path])

    assert "Traceback" not in result.output
    assert result.exit_code == 0 or "\nhelp: peg help " in result.stderr


@pytest.mark.parametrize("path", sorted(COMMAND_LIST.keys() - {"plugins verify"}))
def test_a_broken_plugin_changes_no_exit_code(path: str, peg: Any, site: Any) -> None:
    """With a plugin installed that cannot be imported, each command ends as it did without; but `verify`, which
    compares the set of plugins.
    """
    before = peg(*path.split(), *ROWS[path], "--json").exit_code
    site.plugin("broken", BROKEN, {"plugin.py": "print('noise'); raise SystemExit(9)"})

    result = peg(*path.split(), *ROWS[path], "--json")

    assert result.exit_code == before
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize("path", sorted(COMMAND_LIST.keys() - OPENS_A_BOARD))
def test_no_plugin_is_imported(path: str, peg: Any, site: Any) -> None:
    """Every command that needs no board works without importing a plugin."""
    site.plugin("quiet", {"hooks": {"on_event": {}}})

    peg(*path.split(), *ROWS[path])

    assert [name for name in sys.modules if name.startswith("pegboard_quiet")] == []
