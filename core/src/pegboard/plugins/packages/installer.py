"""Installing a distribution as one transaction: resolve, look into it, put it in, try it, or put everything back.

Consent is asked between `prepare` and `carry_out`, by whoever has a person at hand.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from pegboard.errors import PluginInstallError
from pegboard.plugins.discovery.index import same_name
from pegboard.plugins.packages import programs, throwaway, transaction, wheels
from pegboard.plugins.packages.interrupts import Interrupts
from pegboard.plugins.packages.placing import Installed
from pegboard.plugins.packages.wheels import OfferedPlugin, WheelFile


class NothingToInstallError(PluginInstallError):
    """What was asked for is there already."""


class InstallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What installing something would do."""

    spec: str
    environment: str
    """The prefix of the environment it goes into, the one that this process runs in."""
    wheels: tuple[WheelFile, ...]
    replaces: dict[str, str]
    """Versions of distributions that would be replaced."""
    problems: tuple[str, ...]
    """Why it is refused."""

    @property
    def plugins(self) -> tuple[tuple[WheelFile, OfferedPlugin], ...]:
        """The plugins that it brings, each with its wheel."""
        return tuple((wheel, plugin) for wheel in self.wheels for plugin in wheel.plugins)


def prepare(spec: str, folder: Path, *, upgrade: bool = False) -> InstallPlan:
    """Resolve `spec` (a name, `name==version`, or the path of a wheel) and look into every wheel, in `folder`.

    Raises:
        NothingToInstallError: it is installed already.
        PluginInstallError: it cannot be resolved or downloaded.
    """
    files = _files(spec, folder, upgrade=upgrade)
    if not files:
        raise NothingToInstallError(f"`{spec}` is installed already", hint="peg plugins list")
    installed = Installed.here()
    found = tuple(wheels.inspect(file, installed) for file in files)
    versions = programs.installed_versions()
    return InstallPlan(
        spec=spec,
        environment=sys.prefix,
        wheels=found,
        replaces={wheel.name: versions[wheel.name] for wheel in found if wheel.name in versions},
        problems=tuple(_problems(found)),
    )


def _files(spec: str, folder: Path, *, upgrade: bool) -> list[Path]:
    """The wheels to install. One that is at hand and needs nothing more is found without pip."""
    local = Path(shutil.copy(spec, folder)) if spec.endswith(".whl") and Path(spec).is_file() else None
    if local is not None and not programs.conflicts([wheels.inspect(local)]):
        return [local]
    files = programs.fetch(programs.resolve(spec, folder, upgrade=upgrade), folder)
    if local is not None and local not in files:
        # pip has nothing to do when the version is there; what is in the file may still be new.
        files.append(local)
    return files


def _problems(found: Sequence[WheelFile]) -> list[str]:
    problems = [f"`{wheel.name}` {wheel.version}: {problem}" for wheel in found for problem in wheel.problems]
    offered = [(wheel, plugin) for wheel in found for plugin in wheel.plugins]
    problems += [f"plugin `{plugin.id}`: {message}" for _, plugin in offered for _, message, _ in plugin.problems]
    if not offered:
        problems.append("no plugin is in it: no wheel has an entry point in the group `pegboard.plugins`")
    return problems + programs.conflicts(found)


def carry_out(
    plan: InstallPlan, test: Callable[[Sequence[str]], None], interrupts: Interrupts, *, lock: int | None
) -> None:
    """Install the wheels of a plan and try its plugins; on any failure everything is as it was before.

    Args:
        plan: what `prepare` made.
        test: tries plugins by id, and raises when one does not work.
        interrupts: a section of it is open; only the trial may be broken off.
        lock: what `transaction.locked` gave, which is held.
    """
    journal = transaction.begin_install(plan.wheels)
    try:
        programs.install([wheel.path for wheel in plan.wheels], lock=lock)
        importlib.invalidate_caches()
        with interrupts.let_through():
            test([plugin.id for _, plugin in plan.plugins])
    except BaseException:
        transaction.undo(journal)
        raise
    transaction.end(journal)


def try_plugins(ids: Sequence[str], *, limit_s: float = 60.0) -> None:
    """Activate plugins in a process of their own, which is thrown away.

    Raises:
        PluginInstallError: one could not be activated, or ended the process, or did not return.
    """
    for id in ids:
        result = probe(id, limit_s=limit_s)
        if not result["ok"]:
            raise PluginInstallError(f"plugin `{id}` does not work: {result['reason']}", plugin=id)


def probe(id: str, *, limit_s: float = 60.0) -> dict[str, Any]:
    """Whether a plugin can be activated, found out in a process of its own: `{ok, reason, state}`."""
    return throwaway.ask("pegboard.plugins.packages.probe", id, limit_s=limit_s)


def remove(dist: str, info_path: str | None, *, lock: int | None = None) -> None:
    """Take a distribution out, however broken it is: what pip or uv will not touch is removed by its own RECORD.

    Raises:
        PluginInstallError: something of it is still there.
    """
    info = Path(info_path) if info_path else None
    journal = transaction.begin_uninstall(dist, info)
    try:
        if info is None:
            programs.uninstall([dist], lock=lock)
            return
        if (info / "RECORD").is_file() and same_name(info.name.partition("-")[0], dist):
            with suppress(PluginInstallError):
                programs.uninstall([dist], lock=lock)
        if info.is_dir():
            _remove_by_record(info)
    finally:
        if journal is not None:
            transaction.end(journal)
        importlib.invalidate_caches()


def _remove_by_record(info: Path) -> None:
    """Delete the files of a `.dist-info` folder's RECORD that lie beside it, and the folder."""
    root = info.parent.resolve()
    found = importlib.metadata.Distribution.at(info).files or ()
    paths = [Path(str(file.locate())).resolve() for file in found]
    for path in paths:
        if root in path.parents:
            path.unlink(missing_ok=True)
    for folder in sorted({path.parent for path in paths}, reverse=True):
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        if root in folder.parents and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    shutil.rmtree(info, ignore_errors=True)
    if info.exists():
        raise PluginInstallError(f"`{info}` could not be removed", hint=f"pip uninstall {info.name.partition('-')[0]}")
