"""`peg plugins enable`, `disable`, `grant`, `revoke`: switches that work on the most broken plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pegboard import config, folders
from pegboard.cli.contract import Answer, Output, command, option
from pegboard.cli.inventory import Inventory
from pegboard.cli.mending import mend, try_to_mend
from pegboard.cli.plugins_list import permission_lines, state_word, summary
from pegboard.errors import ConfigError
from pegboard.plugins.discovery import state
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.discovery.select import READY
from pegboard.plugins.discovery.state import StateFile

_SCOPE = option(
    "--scope", type=click.Choice(["user", "project"]), default="user", help="For you everywhere, or in this folder."
)


@command("disable")
@click.argument("plugin", metavar="ID")
@_SCOPE
def disable(plugin: str, scope: str) -> Answer:
    """Switch a plugin off. ID may also be the name of a distribution."""
    try_to_mend()
    inventory = Inventory()
    record = inventory.find(plugin).record
    _file(inventory, scope).disable(record.id, scope)
    _end_safe_mode(inventory, record.id)
    where = "in this project" if scope == "project" else "for you"
    return _now(record.id, f"plugin `{record.id}` is off {where}")


@command("enable")
@click.argument("plugin", metavar="ID")
@_SCOPE
@option("--test", is_flag=True, help="Try it first, in a process of its own; it stays off when that fails.")
@option("-y", "--yes", is_flag=True, help="Grant what it asks for without a question.")
def enable(plugin: str, scope: str, test: bool, yes: bool) -> Answer:
    """Switch a plugin on, or out of quarantine. ID may also be the name of a distribution."""
    mend()
    inventory = Inventory()
    record = inventory.find(plugin).record
    if inventory.state.grant(record.id, record.dist) is None:
        _consent(record, yes=yes, hint=f"peg plugins enable {record.id} --yes")
    if test:
        from pegboard.plugins.packages import installer

        installer.try_plugins([record.id])
    if inventory.state.grant(record.id, record.dist) is None:
        _file(inventory).allow(record)
    _file(inventory, scope).enable(record.id)
    _file(inventory).enable(record.id)
    _end_safe_mode(inventory, record.id)
    return _now(record.id, f"plugin `{record.id}` is on")


@command("grant")
@click.argument("plugin", metavar="ID")
@option("-y", "--yes", is_flag=True, help="Grant without a question.")
def grant(plugin: str, yes: bool) -> Answer:
    """Grant the permissions that a plugin asks for now."""
    mend()
    inventory = Inventory()
    record = inventory.find(plugin).record
    _consent(record, yes=yes, hint=f"peg plugins grant {record.id} --yes")
    _file(inventory).allow(record)
    return _now(record.id, f"granted to plugin `{record.id}` what it asks for")


@command("revoke")
@click.argument("plugin", metavar="ID")
def revoke(plugin: str) -> Answer:
    """Take the permissions of a plugin back; its checked services then refuse everything."""
    try_to_mend()
    inventory = Inventory()
    if not inventory.selection.find(plugin) and inventory.state.grant(plugin) is not None:
        inventory.state_file.forget(plugin)
        return Answer({"id": plugin, "state": None}, f"what `{plugin}` was granted is gone; it is not installed")
    record = inventory.find(plugin).record

    def change(tables: dict[str, Any]) -> None:
        tables["grants"].pop(record.id, None)
        # Remembered as known, or the next start would take it for a newcomer and grant again.
        tables["plugins"].setdefault(record.id, {"dist": record.dist, "version": record.version})

    _file(inventory).update(change)
    return _now(record.id, f"plugin `{record.id}` has no permissions any more")


def _consent(record: PluginRecord, *, yes: bool, hint: str) -> None:
    """Show what a plugin asks for, and go on only when a person agrees."""
    declared = (record.manifest or {}).get("permissions", {}) if record.manifest else None
    if yes or declared == {}:
        return
    out = Output.current()
    for line in permission_lines(declared):
        out.say(line)
    request = {"plugin": record.id, "dist": record.dist, "version": record.version, "permissions": declared}
    out.ask(f"grant this to plugin `{record.id}`?", request, hint=hint)


def _file(inventory: Inventory, scope: str = "user") -> StateFile:
    if scope == "project":
        return state.project_state(folders.project_dir() or str(Path.cwd()))
    if inventory.state_file.path is None:
        hint = "export PEGBOARD_HOME=FOLDER"
        raise ConfigError("nothing can be remembered, since no home folder is known", hint=hint)
    return inventory.state_file


def _end_safe_mode(inventory: Inventory, plugin: str) -> None:
    if inventory.state.culprit == plugin:
        inventory.state_file.started()


def _now(plugin: str, text: str) -> Answer:
    """The state that a plugin has after the change; another switch may still hold it."""
    decision = Inventory().find(plugin)
    lines = [text, f"its state is now {state_word(decision)}"]
    if decision.message:
        lines.append(f"why: {decision.message}")
    if decision.state != READY and (fix := _written_off(plugin) or decision.hint):
        lines.append(f"fix: {fix}")
    return Answer(summary(decision), "\n".join(lines))


def _written_off(plugin: str) -> str | None:
    """The command that takes `enabled = false` out of a file of settings, which no switch here touches."""
    key = config.join_key(("plugins", plugin, "enabled"))
    found = config.load(tolerant=True).explain(key)
    if found is None or found.value is not False or found.layer not in ("system", "user", "project"):
        return None
    return f"peg config set {key} --unset --scope {found.layer}"
