"""What the manifests of plugins say of their settings: whether a value may be written, and which may be shown.

Nothing of a plugin is imported. What a plugin that is not installed would keep secret is guessed by the names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pegboard import config, schema, shape
from pegboard.cli.bundle import MASK, SECRET_NAME
from pegboard.cli.inventory import Inventory
from pegboard.config import Config, Key
from pegboard.errors import ConfigError, ToolDefinitionError
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.regular import read_regular

_MAX_SCHEMA_BYTES = 1024 * 1024
_ABOUT_THE_REST = (
    "required",
    "dependentRequired",
    "dependentSchemas",
    "minProperties",
    "anyOf",
    "oneOf",
    "allOf",
    "if",
)
"""What a schema says of several options together; it is judged when all of them are written."""


class PluginSettings:
    """The settings that installed plugins declare."""

    @cached_property
    def records(self) -> Mapping[str, PluginRecord]:
        """Every installed plugin, by id."""
        return {record.id: record for record in Inventory().index.plugins}

    def schema_of(self, plugin: str) -> dict[str, Any] | None:
        """The JSON Schema of a plugin's settings, where it has one that can be read."""
        record = self.records[plugin]
        declared = _declared(record).get("schema")
        if isinstance(declared, str) and record.package_path:
            try:
                declared = json.loads(read_regular(Path(record.package_path, declared), _MAX_SCHEMA_BYTES))
            except (OSError, ValueError, RecursionError):
                return None
        return declared if isinstance(declared, dict) else None

    def check(self, path: Key, value: Any) -> str | None:
        """Whether a value may be written; a warning where nobody can tell.

        Raises:
            ConfigError: the plugin has no such option, or the value does not fit, or a secret is written out.
        """
        if len(path) < 3 or path[0] != "plugins" or path[2] in config.CORE_KEYS:
            return None
        plugin, option = path[1], path[2:]
        if plugin not in self.records:
            near = shape.near(plugin, list(self.records))
            return f"no plugin `{plugin}` is installed, so nobody can tell whether `{config.join_key(path)}` fits{near}"
        if option[0] in self.secrets_of(plugin) and not config.is_reference(value):
            raise ConfigError(
                f"`{config.join_key(path)}` is a secret; write a reference to it, never the secret itself",
                hint=f"peg config set {config.join_key(path[:3])} env:NAME",
            )
        found = self.schema_of(plugin)
        if found is None:
            return None
        if problem := _misfit(found, option, value):
            raise ConfigError(f"`{config.join_key(path)}`: {problem}", hint=f"peg plugins info {plugin}")
        known = list(found.get("properties", {}))
        if known and option[0] not in known and not found.get("patternProperties"):
            return f"plugin `{plugin}` names no option `{option[0]}`{shape.near(option[0], known)}"
        return None

    def secrets_of(self, plugin: str) -> Sequence[str]:
        """The options of an installed plugin that hold secrets."""
        found = _declared(self.records[plugin]).get("secrets", ())
        return found if isinstance(found, list) else ()

    def shown(self, path: Key, value: Any) -> Any:
        """A value, or a table of values, without secrets that are written out."""
        if isinstance(value, Mapping):
            return {name: self.shown((*path, name), inner) for name, inner in value.items()}
        return MASK if len(path) > 2 and path[0] == "plugins" and self._is_secret(path, value) else value

    def _is_secret(self, path: Key, value: Any) -> bool:
        if config.is_reference(value):
            return False
        if path[1] in self.records:
            return path[2] in self.secrets_of(path[1])
        return isinstance(value, (str, list)) and any(SECRET_NAME.search(name) for name in path[2:])


def show_settings(settings: Config, plugins: PluginSettings) -> dict[str, Any]:
    """All settings as they may be shown."""
    found: dict[str, Any] = plugins.shown((), settings.to_dict())
    return found


def _declared(record: PluginRecord) -> Mapping[str, Any]:
    found = (record.manifest or {}).get("config", {})
    return found if isinstance(found, Mapping) else {}


def _misfit(declared: Mapping[str, Any], option: Key, value: Any) -> str | None:
    """What a plugin's schema has against one option, whatever the others are."""
    for name in reversed(option):
        value = {name: value}
    try:
        found = schema.json_faults(declared, value)
    except ToolDefinitionError:
        return None  # nobody could write anything; the doctor and the run tell
    for where, rule, message in found:
        if len(where) >= len(option) or rule not in _ABOUT_THE_REST:
            return message
    return None
