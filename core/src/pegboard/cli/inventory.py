"""What is installed and what may run, for commands that must work while plugins are broken: nothing is imported."""

# ruff: noqa: PTH118
# On the path of `peg --help`, where pathlib would be a tenth of the time.

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from pegboard import folders
from pegboard.errors import PluginNotFoundError
from pegboard.plugins.discovery import index as indexes
from pegboard.plugins.discovery import select as selections
from pegboard.plugins.discovery import state as states
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.discovery.select import Decision
from pegboard.regular import read_regular


class Inventory:
    """Index, remembered state, and the decisions that follow from both."""

    def __init__(self) -> None:
        self.index = indexes.load()
        self.state_file = states.StateFile()
        self.state = self.state_file.read()
        switches = _Switches()
        self.selection = selections.select(
            self.index,
            self.state,
            disabled=switches.disabled,
            overrides=switches.overrides,
            safe_mode=self.state.is_safe_mode(self.index.plugins),
        )

    def find(self, name: str) -> Decision:
        """The decision on a plugin, by its id or the name of its distribution.

        Raises:
            PluginNotFoundError: nothing of this name is installed; the message names near ones.
        """
        found = self.selection.find(name)
        if not found:
            raise PluginNotFoundError(f"no plugin or distribution `{name}` is installed{self._near(name)}")
        return found[0]

    def _near(self, name: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(name, [decision.id for decision in self.selection.decisions], n=1)
        return f"; did you mean `{near[0]}`?" if near else ""


class _Switches:
    """What configuration says about plugins; read only where a file or variable says anything, since TOML is dear."""

    def __init__(self) -> None:
        project = folders.project_dir()
        self.disabled = dict.fromkeys(states.project_disabled(project), "project") if project else {}
        self.overrides: Mapping[str, str] = {}
        if _configured():
            from pegboard import config

            settings = config.load(tolerant=True)
            self.disabled = {**self.disabled, **settings.disabled_plugins()}
            self.overrides = settings.get("overrides", {})


def _configured() -> bool:
    """Whether any layer has a word on plugins."""
    if any(name.startswith(("PEGBOARD__PLUGINS", "PEGBOARD__OVERRIDES")) for name in os.environ):
        return True
    return any(b"plugins" in text or b"overrides" in text for text in map(_content, _config_files()))


def _config_files() -> Iterator[str]:
    project = folders.project_dir()
    for folder in (folders.system_config_dir(), folders.config_dir(), project and f"{project}/.pegboard"):
        if folder:
            yield os.path.join(folder, "config.toml")


def _content(path: str) -> bytes:
    try:
        return read_regular(path, 1 << 20)
    except OSError:
        return b""


def whose(record: PluginRecord) -> str:
    """Distribution and version, for messages."""
    return f"{record.dist} {record.version}" if record.dist else f"`{record.location}`"
