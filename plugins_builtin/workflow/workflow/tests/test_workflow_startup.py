"""What a board pays that has no workflow."""

from __future__ import annotations

from pegboard_testing import startup_imports

HEAVY = ["pydantic", "jsonschema", "rich", "yaml", "pegboard_workflow.execution", "pegboard_workflow.model"]


def test_import_is_light() -> None:
    """Nothing that a workflow needs comes along before there is one."""
    startup_imports("import pegboard_workflow.plugin", forbidden=HEAVY)
