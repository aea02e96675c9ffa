"""Who is on a board: records of what the host program and paths give, of what is installed, and what was decided.

This is done once, at the start of the board, and the environment is read then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from inspect import isclass, ismodule
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pegboard.arguments import check_plugin
from pegboard.config import Config
from pegboard.errors import PluginCollisionError, PluginManifestError
from pegboard.lazy import LazyModule
from pegboard.plugins.discovery import index, manifest, select
from pegboard.plugins.discovery.index import Index, PluginRecord
from pegboard.plugins.discovery.state import State, StateFile, project_disabled
from pegboard.plugins.peg import Peg

if TYPE_CHECKING:
    from pegboard.plugins.discovery import scan
    from pegboard.plugins.discovery.select import Decision
else:
    scan = LazyModule("pegboard.plugins.discovery.scan")  # importlib.metadata, not before a folder or an old index

_NOTHING = Index([], [], [])


class Given:
    """What the host program passes in."""

    def __init__(self, plugins: Sequence[object], folders: Sequence[str | Path]) -> None:
        self.objects = {record.id: (record, plugin) for record, plugin in _records(plugins)}
        self._folders = folders

    def records(self) -> list[PluginRecord]:
        """The records, those of objects first."""
        return [*(record for record, _ in self.objects.values()), *map(scan.from_folder, self._folders)]

    def object_of(self, record: PluginRecord) -> object:
        """The plugin object, where this record is that of one."""
        return self.objects[record.id][1] if record.source == "object" else None


class Roster:
    """The pegs of a board."""

    def __init__(self, given: Given, config: Config, *, autoload: bool, environ: Mapping[str, str]) -> None:
        self._given = given
        self._config = config
        self._autoload = autoload
        self._environ = environ
        self.state_file = StateFile()
        self.look()
        self.pegs = [Peg(decision, given.object_of(decision.record)) for decision in self.selection.decisions]
        known = [peg.id for peg in self.pegs]
        self.warnings = [*self.selection.warnings, *(config.unknown_plugins(known) if autoload else ())]
        if self.safe_mode:
            culprit = self.state.culprit
            died = f"{self.state.failed_starts} starts died, the last one while `{culprit}` was activated"
            self.warnings.append(f"safe mode, no installed plugin is used: {died}; peg plugins disable {culprit}")
        self._main = {peg.id: peg for peg in sorted(self.pegs, key=_importance)}

    def look(self) -> None:
        """Read what is installed and remembered now, and decide on it. The pegs stay as they are."""
        config = self._config
        self.index = index.load() if self._autoload else _NOTHING
        self.state = self.state_file.read() if self._autoload else State({})
        self.safe_mode = self.state.is_safe_mode(self.index.plugins)
        project = project_disabled(str(config.project)) if config.project else ()
        self.selection = select.select(
            self.index,
            self.state,
            extra=self._given.records(),
            environ=self._environ,
            disabled={**dict.fromkeys(project, "project"), **config.disabled_plugins()},
            overrides=config.get("overrides", {}),
            safe_mode=self.safe_mode,
        )
        if self._autoload:
            self.state = self._accept()

    def decision(self, peg: Peg) -> Decision | None:
        """What was decided on a plugin when `look` was last called; `None` when it was not there any more."""
        found = self.selection.find(peg.id)
        return next((each for each in found if (each.id, each.record.dist) == (peg.id, peg.dist)), None)

    def release(self, peg: Peg) -> None:
        """Let a plugin whose files changed out of quarantine."""
        if peg.record.source == "entry_point":
            with contextlib.suppress(OSError):  # a disk that cannot be written holds nobody in quarantine either
                self.state_file.release(peg.id)

    def under_development(self, peg: Peg) -> bool:
        """Whether it is to be reloaded when its files change: linked with `--reload`, or given as a folder."""
        record = peg.record
        if record.source != "entry_point" or not self.state.reloads(peg.id, peg.dist):
            return record.source == "folder"
        # The mark outlives the link where something else is installed over it.
        return record.info_path is not None and Path(record.info_path, "direct_url.json").is_file()

    def get(self, plugin: str) -> Peg | None:
        """The peg of an id; where several claim it, the one that has it."""
        return self._main.get(plugin)

    def ready(self) -> list[Peg]:
        """Those that may be activated: given ones first, those that judge others next, else by id; needs before all."""
        ready = {peg.id: peg for peg in self.pegs if peg.state == select.READY}
        ordered: dict[str, Peg] = {}
        for peg in sorted(ready.values(), key=lambda peg: (peg.record.source != "object", _guards(peg), peg.id)):
            self._with_needs(peg, ready, ordered)
        return list(ordered.values())

    def requirements(self, peg: Peg) -> Iterator[str]:
        """The plugins that one requires by id."""
        return (name for kind, name, _, _ in peg.record.requires if kind == "plugin")

    def dependants(self, plugin: str) -> list[str]:
        """The plugins that require one."""
        return sorted(peg.id for peg in self.pegs if plugin in self.requirements(peg))

    def drivers(self) -> list[dict[str, Any]]:
        """The installed drivers, without those of plugins that may not run."""
        off = {peg.dist for peg in self.pegs if peg.dist and peg.state in _OFF}
        return [entry for entry in self.index.drivers if entry["dist"] not in off]

    def _with_needs(self, peg: Peg, ready: Mapping[str, Peg], ordered: dict[str, Peg]) -> None:
        if peg.id in ordered:
            return
        for name in self.requirements(peg):
            if name in ready and name != peg.id:
                self._with_needs(ready[name], ready, ordered)
        ordered[peg.id] = peg

    def _accept(self) -> State:
        accepted = {
            plugin: (record, select.claims_of(record))
            for plugin, record in self.selection.ready.items()
            if record.source == "entry_point"
        }
        try:
            return self.state_file.accept(accepted, {record.dist for record in self.index.plugins})
        except OSError:
            # A disk that cannot be written remembers nothing; that is no reason not to start.
            return self.state


_OFF = (select.REJECTED, select.DISABLED, select.BLOCKED, select.QUARANTINED)


def _importance(peg: Peg) -> int:
    """What comes last has the id."""
    return 1 if peg.state == select.READY else 0


def _guards(peg: Peg) -> int:
    """Those that judge what may be loaded come before what is loaded."""
    return 0 if "admit_plugin" in peg.manifest.get("hooks", {}) else 1


def _records(plugins: Sequence[object]) -> Iterator[tuple[PluginRecord, object]]:
    seen: set[str] = set()
    for given in plugins:
        plugin = given() if isclass(given) else given
        check_plugin(plugin)
        record = _record(plugin)
        if record.id in seen:
            raise PluginCollisionError(
                f"two plugins with the id `{record.id}` are given; set `plugin_id` on one", plugin=record.id
            )
        seen.add(record.id)
        yield record, plugin


def _record(plugin: object) -> PluginRecord:
    name = _id_of(plugin)
    data = getattr(plugin, "manifest", None)
    if data is None:
        return PluginRecord(id=name, source="object")
    judgement = manifest.judge({"schema": 1, "id": name, "api": ">=1.0", "entry": "given", **data}, plugin=name)
    if judgement.problems:
        raise PluginManifestError(f"plugin `{name}`: {judgement.problems[0][1]}", plugin=name)
    return PluginRecord(
        id=name,
        manifest=dict(data),
        permissions_hash=manifest.permissions_digest(data),
        warnings=judgement.warnings,
        source="object",
    )


def _id_of(plugin: object) -> str:
    for attribute in ("plugin_id", "id"):
        name = getattr(plugin, attribute, None)
        if isinstance(name, str) and name:
            return name
    if ismodule(plugin):
        return plugin.__name__.rpartition(".")[2].removeprefix("pegboard_").replace("_", "-")
    return type(plugin).__name__.lower()
