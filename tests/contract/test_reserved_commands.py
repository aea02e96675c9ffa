"""What core keeps for its own commands."""

from __future__ import annotations

from pegboard.cli.table import COMMANDS
from pegboard.plugins.discovery import reserved


def test_the_reserved_names_are_those_of_the_command_line() -> None:
    """Every command of core, and no other, is known below the command line."""
    assert {name: tuple(entry.children or ()) for name, entry in COMMANDS.items()} == reserved.COMMANDS
