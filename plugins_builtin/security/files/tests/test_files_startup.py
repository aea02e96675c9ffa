"""Importing the driver is cheap and does nothing else."""

from __future__ import annotations

from pegboard_testing import startup_imports


def test_the_driver_is_light() -> None:
    """No heavy module comes along: a person pays for it at the start of a run."""
    startup_imports("import pegboard_files.driver", forbidden=["pydantic", "jsonschema", "asyncio", "rich"])
