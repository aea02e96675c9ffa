"""Importing the plugin is cheap and does nothing else."""

from __future__ import annotations

from pegboard_testing import startup_imports

HEAVY = ["bandit", "griffe", "grimp", "jinja2", "ruff", "sqlite3", "vulture"]


def test_import_is_light() -> None:
    """No tool of the field comes along: a person pays for it at the start of every command."""
    startup_imports("import pegboard_codeanalysis.plugin", forbidden=HEAVY)


def test_agents_are_light() -> None:
    """Nor does it when the agents are there: the tools live in the workers."""
    startup_imports("import pegboard_codeanalysis.agents.team", forbidden=HEAVY)
