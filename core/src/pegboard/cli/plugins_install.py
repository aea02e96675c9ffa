"""`peg plugins install`, `update`, `uninstall`: shown first, asked once, tried in a process of its own, or undone."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from pegboard import config, config_edit
from pegboard.cli.contract import Answer, Output, command, option
from pegboard.cli.inventory import Inventory
from pegboard.cli.mending import mend
from pegboard.cli.plugins_list import permission_lines
from pegboard.errors import PluginInstallError, RunCancelledError, UsageError
from pegboard.plugins.discovery import index
from pegboard.plugins.discovery.index import same_name
from pegboard.plugins.packages import installer, programs, transaction
from pegboard.plugins.packages.installer import InstallPlan, NothingToInstallError
from pegboard.plugins.packages.interrupts import Interrupted, Interrupts
from pegboard.plugins.packages.wheels import WheelFile

_YES = option("-y", "--yes", is_flag=True, help="Install without a question.")
_DRY = option("--dry-run", is_flag=True, help="Show what would happen and change nothing.")


@command("install")
@click.argument("spec")
@option("--isolated", is_flag=True, help="Into an environment and a process of its own (not available yet).")
@_DRY
@_YES
def install(spec: str, isolated: bool, dry_run: bool, yes: bool) -> Answer:
    """Install a plugin into the environment of this `peg`.

    SPEC is a name, `name==version`, or the path of a wheel. Only wheels are installed, since a source distribution
    runs code while it is built. Indexes and mirrors are set as for pip: PIP_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX.
    """
    mend()
    if Path(spec).is_dir():
        raise UsageError(f"`{spec}` is a folder, and only wheels are installed", hint=f"peg plugins link {spec}")
    if spec.endswith(".whl") and "://" not in spec and not Path(spec).is_file():
        raise UsageError(f"there is no file `{spec}`", hint="peg plugins install --help")
    if isolated:
        raise PluginInstallError(
            "isolated plugins need a driver for processes, which this version does not have",
            hint=f"peg plugins install {spec}",
        )
    return _transaction(spec, dry_run=dry_run, yes=yes, upgrade=False)


@command("update")
@click.argument("plugin", metavar="[ID]", required=False)
@_DRY
@_YES
def update(plugin: str | None, dry_run: bool, yes: bool) -> Answer:
    """Update a plugin, or all of them. What it asks for is shown again."""
    mend()
    inventory = Inventory()
    decisions = [inventory.find(plugin)] if plugin else inventory.selection.decisions
    dists = sorted({decision.record.dist for decision in decisions if decision.record.dist})
    done = []
    for dist in dists:
        try:
            done.append(_transaction(dist, dry_run=dry_run, yes=yes, upgrade=True))
        except NothingToInstallError:
            continue
    lines = [answer.text for answer in done] or ["everything is up to date"]
    return Answer({"updates": [answer.data for answer in done]}, "\n".join(lines))


def _transaction(spec: str, *, dry_run: bool, yes: bool, upgrade: bool) -> Answer:
    interrupts = Interrupts()
    with _stopped_in_order(interrupts), tempfile.TemporaryDirectory(prefix="pegboard-") as folder:
        plan = installer.prepare(spec, Path(folder), upgrade=upgrade)
        data = plan_json(plan)
        if plan.problems:
            reasons = "; ".join(plan.problems)
            refused = PluginInstallError(f"`{spec}` is refused: {reasons}", hint="peg help plugin.install")
            return Answer(data, plan_text(plan), error=refused)
        if dry_run:
            return Answer(data, plan_text(plan))
        out = Output.current()
        out.say(plan_text(plan))
        if not yes:
            out.ask("install this?", data, hint=f"peg plugins install {spec} --yes")
        with transaction.locked() as lock, interrupts.held():
            transaction.recover()  # of one that died since we began
            installer.carry_out(plan, installer.try_plugins, interrupts, lock=lock)
            _grant(plan)
    names = ", ".join(f"`{plugin.id}`" for _, plugin in plan.plugins)
    return Answer({**data, "installed": True}, f"installed {names} into {plan.environment}")


@contextmanager
def _stopped_in_order(interrupts: Interrupts) -> Iterator[None]:
    """What is begun is ended or taken back before a signal ends this process, with the exit status for that signal."""
    try:
        with interrupts.caught():
            yield
    except Interrupted as stop:
        Output.current().finish(Answer(error=RunCancelledError(f"{stop}; nothing is left half done")))
        raise SystemExit(stop.exit_status) from None


def _grant(plan: InstallPlan) -> None:
    """The person saw what is asked for and said yes, to exactly these files."""
    inventory = Inventory()
    for _, plugin in plan.plugins:
        for record in inventory.index.find(plugin.id):
            inventory.state_file.allow(record)


def plan_json(plan: InstallPlan) -> dict[str, Any]:
    """The plan as data."""
    return {"installed": False, **msgspec.to_builtins(plan)}


def plan_text(plan: InstallPlan) -> str:
    """What a person must know before they say yes."""
    lines = [f"into the environment {plan.environment}"]
    for wheel in plan.wheels:
        lines += _wheel_lines(wheel, plan.replaces.get(wheel.name))
    return "\n".join(lines)


def _wheel_lines(wheel: WheelFile, replaced: str | None) -> list[str]:
    instead = f" (replaces {replaced})" if replaced else ""
    size = f"{len(wheel.files)} files, {max(1, wheel.size_bytes // 1024)} KiB"
    lines = ["", f"{wheel.name} {wheel.version}{instead}: {size}", f"  sha256 {wheel.sha256}"]
    if wheel.scripts:
        lines.append(f"  commands: {', '.join(wheel.scripts)}")
    for plugin in wheel.plugins:
        lines.append(f"  plugin `{plugin.id}`: {(plugin.manifest or {}).get('summary', '')}".rstrip(": "))
        declared = plugin.manifest.get("permissions", {}) if plugin.manifest else None
        lines += [f"  {line}" for line in permission_lines(declared)]
        lines += [f"  warning: {text}" for text in plugin.warnings]
    if wheel.plugins:
        lines += [f"  file {name}" for name in wheel.files]
    return lines


@command("uninstall")
@click.argument("plugin", metavar="ID")
@option("--keep-config", is_flag=True, help="Keep the settings of the plugin.")
def uninstall(plugin: str, keep_config: bool) -> Answer:
    """Remove a plugin with its distribution, its permissions and its settings. Works on a broken plugin."""
    mend()
    inventory = Inventory()
    record = inventory.find(plugin).record
    if record.dist is None:
        raise PluginInstallError(f"plugin `{record.id}` is no installed distribution: it lies in `{record.location}`")
    dist = record.dist
    needed = programs.dependants(dist)
    if needed:
        Output.current().warn(f"{', '.join(f'`{name}`' for name in needed)} will miss `{dist}`")
    ids = [other.id for other in inventory.index.plugins if other.dist and same_name(other.dist, dist)]
    interrupts = Interrupts()
    with _stopped_in_order(interrupts), transaction.locked() as lock, interrupts.held():
        installer.remove(dist, record.info_path, lock=lock)
        for id in ids:
            inventory.state_file.forget(id)
            if not keep_config and (file := config.user_file()):
                config_edit.remove(file, ("plugins", id))
        index.load()
    data = {"dist": dist, "version": record.version, "plugins": ids, "environment": sys.prefix, "needed_by": needed}
    return Answer(data, f"uninstalled `{dist}` {record.version} from {sys.prefix}")
