"""What the manifest says of the tools and settings is what the code does, and little of it is imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pegboard_file
import pytest
from pegboard.interfaces import Tool
from pegboard_file.config import Settings
from pegboard_file.tools import FileTools
from pegboard_testing import startup_imports
from pegboard_testing.conformance.roles import ManifestSuite


class TestFileManifest(ManifestSuite):
    @pytest.fixture
    def package(self) -> Path:
        return Path(pegboard_file.__file__).parent

    @pytest.fixture
    def tools(self) -> Sequence[Tool]:
        return FileTools(Settings()).all()

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings


def test_the_schemas_are_short() -> None:
    """Each turn pays for them."""
    tools = [[tool.description, tool.input_schema] for tool in FileTools(Settings()).all()]

    assert len(json.dumps(tools)) < 6000


def test_the_plugin_is_light() -> None:
    """Nothing heavy is imported before the first call."""
    startup_imports("import pegboard_file.plugin", forbidden=["pydantic", "jsonschema", "regex", "pathspec", "rich"])
