"""Commands that plugins contribute: found in the index, imported when they are called.

A plugin's command may join a group of core (`name = "agents install"`). An import that fails is the plugin's fault
and never touches another command.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module

import click

from pegboard.cli.contract import Output
from pegboard.cli.groups import Entry, LazyGroup
from pegboard.errors import PluginError, PluginLoadError, describe
from pegboard.plugins.discovery.index import PluginRecord


class PluginCommand:
    """A command in a plugin's manifest."""

    def __init__(self, record: PluginRecord, name: str, target: str) -> None:
        self.record = record
        self.name = name
        self.target = target

    def load(self) -> click.Command:
        """Import the command. What the import prints goes to stderr.

        Raises:
            PluginLoadError: the import raised, or even tried to end the process.
            PluginError: what was found is no click command.
        """
        context = click.get_current_context(silent=True)
        if context is not None:
            out = context.ensure_object(Output)
            out.plugin, out.command = self, f"peg {self.name}"
        module, _, attribute = self.target.partition(":")
        try:
            with redirect_stdout(sys.stderr):
                found: object = import_module(module)
                for part in attribute.split("."):
                    found = getattr(found, part)
        except KeyboardInterrupt:
            raise
        except BaseException as cause:
            raise PluginLoadError.from_cause(self.record.id, self.record.dist, self.record.version, cause) from cause
        if not isinstance(found, click.Command):
            raise self.failed(TypeError(f"`{self.target}` is no click command"))
        return found

    def failed(self, cause: BaseException) -> PluginError:
        """The error for whatever the command raised."""
        what = f"{type(cause).__name__}: {describe(cause)}"
        return PluginError(
            f"command `peg {self.name}` of plugin `{self.record.id}` ({self.record.dist} {self.record.version}) "
            f"failed: {what}",
            hint=f"peg plugins info {self.record.id}",
            plugin=self.record.id,
            dist=self.record.dist,
            version=self.record.version,
        )


def contributed_commands() -> Mapping[tuple[str, ...], Mapping[str, Entry]]:
    """Entries by the path of their group; empty when the index cannot be read, since `--help` must always work."""
    try:
        from pegboard.cli.inventory import Inventory

        ready = Inventory().selection.ready
    except Exception:  # the doctor tells what is wrong; here nothing may be
        return {}
    found: dict[tuple[str, ...], dict[str, Entry]] = defaultdict(dict)
    groups: dict[str, str] = {}
    for record in ready.values():
        for item in (record.manifest or {}).get("contributes", {}).get("commands", ()):
            *path, name = item["name"].split()
            command = PluginCommand(record, item["name"], item["target"])
            found[tuple(path)][name] = Entry(item.get("help", f"From plugin `{record.id}`."), command.load)
            if path:  # of several plugins the first speaks for the group
                summary = str((record.manifest or {}).get("summary") or "Commands of plugins")
                groups.setdefault(path[0], f"{summary.rstrip('.')}.")
    for group in [path for path in found if path and path[0] not in _core_groups()]:
        found[()].setdefault(group[0], _new_group(group[0], found[group], groups[group[0]]))
    return found


def _core_groups() -> Mapping[str, Entry]:
    from pegboard.cli.table import COMMANDS

    return COMMANDS


def _new_group(name: str, entries: Mapping[str, Entry], help: str) -> Entry:
    """A group that exists only because plugins put commands into it."""
    return Entry(help, lambda: LazyGroup(name, entries, path=(name,), help=help))
