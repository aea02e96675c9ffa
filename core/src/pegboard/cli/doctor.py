"""`peg doctor`: whether everything that pegboard needs is in order. Without `--deep` no plugin is imported."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pegboard import __version__, config, folders
from pegboard.cli.bundle import facts, write_bundle
from pegboard.cli.contract import Answer, command, option
from pegboard.cli.findings import answer_of
from pegboard.cli.inventory import Inventory
from pegboard.cli.plugin_settings import PluginSettings, show_settings
from pegboard.config import Config
from pegboard.errors import PegboardError
from pegboard.file_lock import lock_owner
from pegboard.plugins.checkup import check_plugins
from pegboard.types import HealthFinding

_NETWORK_LIMIT_S = 3.0


@command("doctor")
@option("--bundle", is_flag=True, help="Write all of it to a file for a report, without secrets.")
@option("--network", is_flag=True, help="Also try to reach the hosts that plugins ask for.")
@option("--deep", is_flag=True, help="Also import and activate every plugin, each in a process of its own.")
def doctor(bundle: bool, network: bool, deep: bool) -> Answer:
    """Check Python, settings, keys, folders, plugins, drivers. The exit code is 0, 3 or 4 by the worst finding."""
    inventory = Inventory()
    settings = config.load(tolerant=True)
    findings = [
        *_python(),
        *_files(settings),
        *_folders(),
        *_lock(inventory),
        *_tools(),
        *_keys(),
        *_drivers(inventory, settings),
    ]
    findings += check_plugins(inventory.index, inventory.state, inventory.selection, settings)
    findings += _network(inventory) if network else []
    findings += asyncio.run(check_deep(inventory, settings)) if deep else []
    answer = answer_of(findings, facts(), config_broken=bool(settings.problems))
    if bundle:
        path = write_bundle(
            "doctor", {"what": "doctor", "settings": show_settings(settings, PluginSettings()), **answer.data}
        )
        answer.data["bundle"] = str(path) if path else None
        answer.text += f"\nwritten to {path}; read it before you send it" if path else "\nno folder could be written"
    return answer


def _python() -> Iterator[HealthFinding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield _ok(f"pegboard {__version__}, Python {version}, in {sys.prefix}")


def _files(settings: Config) -> Iterator[HealthFinding]:
    files = " < ".join(settings.files) or "none"
    yield _ok(f"settings, the last one wins: {files}")
    if settings.project is not None:
        yield _ok(f"project {settings.project} is {'trusted' if settings.trusted else 'not trusted'}")
    yield from (HealthFinding(status="warn", what=text, fix="peg config show") for text in settings.warnings)


def _folders() -> Iterator[HealthFinding]:
    for name, folder in (
        ("cache", folders.cache_dir()),
        ("config", folders.config_dir()),
        ("data", folders.data_dir()),
    ):
        if folder is None:
            fix = "export PEGBOARD_HOME=FOLDER"
            yield HealthFinding(status="warn", what=f"no {name} folder is known: there is no home folder", fix=fix)
        elif not _writable(Path(folder)):
            fix = f"chmod u+w {folder}"
            yield HealthFinding(status="warn", what=f"the {name} folder {folder} cannot be written", fix=fix)
        else:
            yield _ok(f"{name} folder {folder}")


def _lock(inventory: Inventory) -> Iterator[HealthFinding]:
    """A process that stopped while it wrote what is remembered of plugins: everybody who writes waits for it."""
    if inventory.state_file.path and (owner := lock_owner(inventory.state_file.path + ".lock")):
        what = f"process {owner} holds the lock on {inventory.state_file.path}"
        yield HealthFinding(status="warn", what=what, fix=f"ps -p {owner}")


def _writable(folder: Path) -> bool:
    there = next(part for part in (folder, *folder.parents) if part.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()  # what a file system allows, only trying tells
    except OSError:
        return False
    return True


def _tools() -> Iterator[HealthFinding]:
    uv = shutil.which("uv")
    yield _ok(f"uv is {uv}" if uv else "uv is not there; plugins are installed with pip")


def _keys() -> Iterator[HealthFinding]:
    names = sorted(name for name, value in os.environ.items() if name.endswith("_API_KEY") and value)
    yield _ok(f"keys in the environment: {', '.join(names) or 'none'}")


def _drivers(inventory: Inventory, settings: Config) -> Iterator[HealthFinding]:
    there = {(driver["kind"], driver["name"]) for driver in inventory.index.drivers}
    for kind, name in sorted(settings.get("drivers", {}).items()):
        if (kind, name) not in there:
            fix = f"peg config set drivers.{kind} --unset"
            yield HealthFinding(status="fail", what=f"driver `{name}` for `{kind}` is not installed", fix=fix)
    for kind in ("store", "process", "sandbox"):
        found = sorted(name for known, name in there if known == kind)
        yield _ok(f"drivers for `{kind}`: {', '.join(found) or 'none'}")


def _network(inventory: Inventory) -> list[HealthFinding]:
    """Whether the hosts that plugins name can be reached; a connection is opened and nothing is sent."""
    hosts = {
        host
        for record in inventory.selection.ready.values()
        for host in (record.manifest or {}).get("permissions", {}).get("net", ())
        if "*" not in host
    }
    return [_reached(host) for host in sorted(hosts)] or [_ok("no plugin names a host")]


def _reached(host: str) -> HealthFinding:
    name, _, port = host.rpartition(":")
    try:
        socket.create_connection((name, int(port)), timeout=_NETWORK_LIMIT_S).close()
    except OSError as error:
        return HealthFinding(status="warn", what=f"{host} cannot be reached: {error}", fix="peg doctor --network")
    return _ok(f"{host} can be reached")


async def check_deep(inventory: Inventory, settings: Config) -> list[HealthFinding]:
    """Each plugin alone in a process, then the health checks of those that work, on a board."""
    from pegboard.plugins.packages import installer

    findings: list[HealthFinding] = []
    for plugin in inventory.selection.ready:
        result = await asyncio.to_thread(installer.probe, plugin)
        if result["ok"]:
            findings.append(_ok(f"plugin `{plugin}` can be activated"))
        else:
            what = f"plugin `{plugin}` cannot be activated: {result['reason']}"
            findings.append(HealthFinding(status="fail", what=what, fix=f"peg plugins disable {plugin}"))
    if any(finding.status == "fail" for finding in findings):
        return findings
    try:
        return findings + await _health(settings)
    except PegboardError as error:
        what = f"no board can be opened: {error.message}"
        return [*findings, HealthFinding(status="fail", what=what, fix=error.hint)]


async def _health(settings: Config) -> list[HealthFinding]:
    """What plugins say of themselves; one that fails says enough."""
    from pegboard.runtime import Pegboard

    async with Pegboard(autoload=True, config=settings) as board:
        layer = board.hooks.check_health
        if layer is None:
            return []
        reports = await layer(board.host_context)
    said = [finding for _, found in reports for finding in found]
    return said + [_unwell(plugin, code) for plugin, code in reports.missing]


def _unwell(plugin: str, code: str) -> HealthFinding:
    """A plugin that could not even say how it is."""
    what = f"plugin `{plugin}` failed when it was asked for its health (`{code}`)"
    return HealthFinding(status="fail", what=what, fix=f"peg plugins info {plugin}")


def _ok(what: str) -> HealthFinding:
    return HealthFinding(status="ok", what=what)
