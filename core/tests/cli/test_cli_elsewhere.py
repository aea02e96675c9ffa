"""Commands that are not core's: what is said where their plugin is off, or not installed."""

from __future__ import annotations

from typing import Any

from pegboard.cli import elsewhere
from pegboard.cli.table import COMMANDS

COMMAND = "import click\n\n\n@click.command()\ndef greet():\n    print('hello')\n"


def test_a_well_known_command_tells_what_to_install(peg: Any, monkeypatch: Any) -> None:
    """The first word is enough; what is typed behind it is not looked at."""
    monkeypatch.setattr(elsewhere, "COMMANDS", {"juggle": "pegboard-juggle"})
    result = peg("juggle", "--balls", "3")

    assert result.exit_code == 2
    assert "`peg juggle` is a command of pegboard-juggle, which is not installed" in result.stderr
    assert "peg plugins install pegboard-juggle" in result.stderr


def test_a_command_of_a_plugin_that_is_off_tells_how_to_have_it_on(site: Any, peg: Any) -> None:
    """It is not unknown, and is not to be installed once more."""
    command = {"name": "greet them", "target": "pegboard_greeter.commands:greet"}
    site.plugin("greeter", {"contributes": {"commands": [command]}}, {"commands.py": COMMAND})
    peg("plugins", "disable", "greeter")
    result = peg("greet", "them")

    assert result.exit_code == 2
    assert "`peg greet` is of plugin `greeter`, which is off" in result.stderr
    assert "peg plugins enable greeter" in result.stderr


def test_core_has_none_of_them() -> None:
    """The table is for others."""
    assert not elsewhere.COMMANDS.keys() & COMMANDS.keys()
