"""What the manifest says of the tools and settings is what the code does."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pegboard_git
import pytest
from pegboard.tools import FunctionTool
from pegboard_git.config import Settings
from pegboard_git.tools import GitTools
from pegboard_testing import startup_imports

PACKAGE = Path(pegboard_git.__file__).parent
MANIFEST: dict[str, Any] = tomllib.loads((PACKAGE / "pegboard.toml").read_text())
LISTED = {item["name"]: item for item in MANIFEST["contributes"]["tools"]}
TOOLS = [tool for tool in GitTools(Settings()).all() if isinstance(tool, FunctionTool)]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_manifest_has_the_tool_as_it_is(tool: FunctionTool) -> None:
    """Before it is imported a model sees the same. `PEGBOARD_WRITE_GOLDEN=1` writes the schemas anew."""
    item = LISTED[tool.name]
    path = PACKAGE / item["input_schema"]
    if os.environ.get("PEGBOARD_WRITE_GOLDEN"):
        path.write_text(json.dumps(tool.input_schema, indent=2, ensure_ascii=False) + "\n")

    assert json.loads(path.read_text()) == tool.input_schema
    assert (item["description"], item["effect"], item["timeout_s"]) == (tool.description, tool.effect, tool.timeout_s)


def test_the_schemas_are_short() -> None:
    """Each turn pays for them."""
    assert len(json.dumps([[tool.description, tool.input_schema] for tool in TOOLS])) < 9000


def test_the_schema_has_every_setting() -> None:
    """With the same default."""
    schema = json.loads((PACKAGE / "schemas" / "config.json").read_text())["properties"]

    assert {name: item["default"] for name, item in schema.items()} == {
        name: getattr(Settings(), name) for name in Settings.__struct_fields__
    }


def test_the_plugin_is_light() -> None:
    """Nothing heavy is imported before the first call."""
    startup_imports("import pegboard_git.plugin", forbidden=["pydantic", "jsonschema", "rich"])
