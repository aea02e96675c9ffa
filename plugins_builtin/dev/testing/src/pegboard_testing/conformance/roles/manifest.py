"""What every manifest promises of tools and settings: before any code is imported, models and people see the same."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from pegboard.tools import as_tool

_JUDGED: Final = ("default", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
"""What a schema says of a setting that its type says as well; prose is the author's."""


class ManifestSuite:
    """The folder with the `pegboard.toml`, the tools of the code, and the type of the settings."""

    @pytest.fixture
    def package(self) -> Path:
        """The folder of the package."""
        raise NotImplementedError("provide the fixture `package`")

    @pytest.fixture
    def tools(self) -> Sequence[Any]:
        """The tools, or functions that become some; none unless there are."""
        return ()

    @pytest.fixture
    def settings(self) -> type[Any] | None:
        """A `msgspec.Struct` with a default for each setting; `None` for a plugin without any."""
        return None

    def test_it_lists_the_tools_as_they_are(self, package: Path, tools: Sequence[Any]) -> None:
        """`peg plugins compile` writes them anew, except for time limits, which it need not list."""
        listed = {item["name"]: item for item in _manifest(package).get("contributes", {}).get("tools", [])}

        assert {name: _as_listed(item, package) for name, item in listed.items()} == {
            tool.name: _as_coded(tool, listed.get(tool.name, {})) for tool in map(as_tool, tools)
        }

    def test_its_schema_has_the_settings_as_they_are(self, package: Path, settings: type[Any] | None) -> None:
        """Their names, defaults, choices and limits; it may set limits of its own."""
        schema = _manifest(package).get("config", {}).get("schema")
        said = {} if schema is None else _read(schema, package)["properties"]
        own = _properties(settings)

        assert {name: _judged(item, own.get(name, {})) for name, item in said.items()} == {
            name: _judged(item, item) for name, item in own.items()
        }


def _manifest(package: Path) -> dict[str, Any]:
    return tomllib.loads((package / "pegboard.toml").read_text(encoding="utf-8"))


def _read(schema: Any, package: Path) -> Any:
    """A schema that stands in the manifest or in a file that it names."""
    return json.loads((package / schema).read_text(encoding="utf-8")) if isinstance(schema, str) else schema


def _as_listed(item: Mapping[str, Any], package: Path) -> dict[str, Any]:
    said = {name: item.get(name) for name in ("description", "effect", *({"timeout_s"} & item.keys()))}
    return {**said, "input_schema": _read(item.get("input_schema"), package)}


def _as_coded(tool: Any, item: Mapping[str, Any]) -> dict[str, Any]:
    names = ("description", "effect", "input_schema", *({"timeout_s"} & item.keys()))
    return {name: getattr(tool, name) for name in names}


def _properties(settings: type[Any] | None) -> dict[str, Any]:
    if settings is None:
        return {}
    schema = msgspec.json.encode(msgspec.json.schema(settings))  # and back, since a default may be a tuple
    properties: dict[str, Any] = msgspec.json.decode(schema)["$defs"][settings.__name__]["properties"]
    return properties


def _judged(item: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Of a setting, what `wanted` says too; the order of choices says nothing."""
    judged = {name: item.get(name) for name in _JUDGED if name in wanted}
    return {**judged, "enum": sorted(judged["enum"] or (), key=str)} if "enum" in judged else judged


__all__ = ["ManifestSuite"]
