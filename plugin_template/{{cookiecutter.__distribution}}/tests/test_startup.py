"""Importing the plugin is cheap and does nothing else."""

from __future__ import annotations

from pegboard_testing import startup_imports

HEAVY = ["pydantic", "jsonschema", "rich", "requests", "httpx"]


def test_import_is_light() -> None:
    """No heavy module comes along: a person pays for it at the start of every command."""
    startup_imports("import {{ cookiecutter.__package }}.plugin", forbidden=HEAVY)
