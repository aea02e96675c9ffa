"""The settings, and the schema that is known before anything is imported."""

from __future__ import annotations

import json
from importlib.resources import files

import msgspec

from {{ cookiecutter.__package }}.config import Settings

PACKAGE = "{{ cookiecutter.__package }}"


def test_schema_is_that_of_the_settings() -> None:
    """`schemas/config.json` is what `Settings` says."""
    exported = files(PACKAGE).joinpath("schemas/config.json").read_text("utf-8")
    schema = json.loads(msgspec.json.encode(msgspec.json.schema(Settings)))
    assert json.loads(exported) == schema["$defs"]["Settings"]


def test_every_setting_has_a_default() -> None:
    """The plugin works with an empty configuration."""
    assert msgspec.convert({}, Settings) == Settings()
