"""The plugin as a distribution: its settings and its manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pegboard_recovery
from pegboard_recovery.config import Settings
from pegboard_testing import startup_imports

PACKAGE = Path(pegboard_recovery.__file__).parent


def test_the_schema_has_every_setting() -> None:
    """With the same default."""
    schema = json.loads((PACKAGE / "schemas" / "config.json").read_text())["properties"]

    assert {name: item["default"] for name, item in schema.items()} == {
        name: list(value) if isinstance(value := getattr(Settings(), name), tuple) else value
        for name in Settings.__struct_fields__
    }


def test_no_sdk_is_imported() -> None:
    """Faults are known by their codes."""
    startup_imports("import pegboard_recovery.plugin", forbidden=["anthropic", "openai", "google.genai", "httpx2"])
