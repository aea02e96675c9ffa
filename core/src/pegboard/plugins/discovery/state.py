"""What is remembered about plugins between starts: switched off, granted, quarantined, and who was here last.

One small JSON file per Python environment, and one in a project that can only switch plugins off. Reading tolerates
whatever it finds, since the commands that repair things stand on it; writing is locked and replaces the file whole.
"""

from __future__ import annotations

import os
import sys
import time

from pegboard import folders
from pegboard.file_lock import file_lock
from pegboard.regular import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from pegboard.plugins.discovery.index import PluginRecord

SAFE_MODE_AFTER = 2
"""So many starts in a row that died during activation switch every plugin off for the next one."""
PROJECT_FILE = os.path.join(".pegboard", "plugins.json")
MAX_UNDECLARED = 50
_USE = {"what", "target", "at"}
_MAX_SIZE_BYTES = 16 * 1024 * 1024
_TABLES = ("disabled", "grants", "quarantine", "plugins", "starts", "reloaded", "undeclared")


class State:
    """The content of the file, as it was when it was read."""

    __slots__ = ("data", "fault")

    def __init__(self, data: dict[str, Any], fault: str | None = None) -> None:
        self.data = {name: value if isinstance(value := data.get(name), dict) else {} for name in _TABLES}
        grants = self.data["grants"].items()
        self.data["grants"] = {plugin: entry for plugin, entry in grants if _dist(entry) is not None}
        self.fault = fault
        """Why the file could not be read, for the doctor; its content counts as empty then."""

    def disabled(self, plugin: str) -> str | None:
        """The scope that a plugin is switched off in."""
        scope = self.data["disabled"].get(plugin)
        return scope if isinstance(scope, str) else None

    def known_dist(self, plugin: str) -> str | None:
        """The distribution that had this id when the plugins were last accepted, installed or not."""
        entry = self.data["plugins"].get(plugin)
        return entry.get("dist") if isinstance(entry, dict) else None

    def holds(self, plugin: str, claim: str) -> bool:
        """Whether a plugin had this contribution when the plugins were last accepted."""
        entry = self.data["plugins"].get(plugin)
        return isinstance(entry, dict) and claim in _list(entry.get("claims"))

    def grant(self, plugin: str, dist: str | None = None) -> dict[str, Any] | None:
        """What was granted, and to which distribution; with `dist` only what that one was granted."""
        entry = self.data["grants"].get(plugin)
        if not isinstance(entry, dict) or dist not in (None, entry.get("dist")):
            return None
        permissions = entry.get("permissions")
        kept = permissions if isinstance(permissions, dict) else {}
        return {**entry, "permissions": {kind: _list(values) for kind, values in kept.items()}}

    def quarantine(self, record: PluginRecord) -> dict[str, Any] | None:
        """Why this very version of a plugin is in quarantine; an upgrade has another key."""
        entry = self.data["quarantine"].get(record.id)
        if not isinstance(entry, dict) or entry.get("key") != quarantine_key(record):
            return None
        return entry

    def undeclared(self, record: PluginRecord) -> list[dict[str, Any]]:
        """What this very version of a plugin did without permission: `{what, target, at}`, in the order of time."""
        entry = self.data["undeclared"].get(record.id)
        uses = entry.get("uses") if isinstance(entry, dict) and entry.get("key") == quarantine_key(record) else None
        return [use for use in _list(uses) if isinstance(use, dict) and use.keys() == _USE]

    def reloads(self, plugin: str, dist: str | None) -> bool:
        """Whether a plugin is under development, so that a board reloads it when its files change."""
        return dist is not None and self.data["reloaded"].get(plugin) == dist

    @property
    def failed_starts(self) -> int:
        """Starts in a row that ended during an activation."""
        entries = self.data["starts"].get("died")
        return len(entries) if isinstance(entries, list) else 0

    @property
    def culprit(self) -> str | None:
        """The plugin that was being activated when the last start died."""
        entries = self.data["starts"].get("died")
        return str(entries[-1]) if isinstance(entries, list) and entries else None

    def is_safe_mode(self, records: Iterable[PluginRecord]) -> bool:
        """Whether starts died in a row and the culprit is still installed as it was; an upgrade is a new chance."""
        if self.failed_starts < SAFE_MODE_AFTER:
            return False
        key = self.data["starts"].get("key")
        return any(record.id == self.culprit and key in (None, quarantine_key(record)) for record in records)


class StateFile:
    """The file of one Python environment. Without a folder to keep it in, nothing is remembered and nothing fails."""

    __slots__ = ("path",)

    def __init__(self, path: str | None = None) -> None:
        self.path = default_path() if path is None else path

    def read(self) -> State:
        """The state; empty when there is none or it cannot be read. A start that died since is counted."""
        state = _read(self.path)
        _count_death(state.data["starts"])
        return state

    def update(self, change: Callable[[dict[str, Any]], object]) -> State:
        """Read, change and write under a lock. `change` gets the tables by name, and may be called twice.

        Raises:
            OSError: the folder cannot be written.
        """
        state = self.read()
        if not _changes(state, change) or self.path is None:
            return state
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        with file_lock(self.path + ".lock"):
            state = self.read()
            if state.fault:
                os.replace(self.path, self.path + ".broken")
            if _changes(state, change):
                _write(self.path, state.data)
        return state

    def disable(self, plugin: str, scope: str = "user") -> None:
        """Switch a plugin off."""
        self.update(lambda tables: tables["disabled"].__setitem__(plugin, scope))

    def enable(self, plugin: str) -> None:
        """Switch a plugin on again, and let it out of quarantine."""

        def change(tables: dict[str, Any]) -> None:
            tables["disabled"].pop(plugin, None)
            tables["quarantine"].pop(plugin, None)

        self.update(change)

    def allow(self, record: PluginRecord, at: float | None = None) -> None:
        """Grant what the manifest declares, to this distribution."""
        self.update(lambda tables: tables["grants"].__setitem__(record.id, _grant(record, at)))

    def reload(self, plugins: Iterable[str], dist: str, *, on: bool) -> None:
        """Have boards reload these plugins of a linked distribution when their files change, or not any more."""

        def change(tables: dict[str, Any]) -> None:
            for plugin in plugins:
                tables["reloaded"].pop(plugin, None)
                if on:
                    tables["reloaded"][plugin] = dist

        self.update(change)

    def remember_undeclared(self, uses: Iterable[tuple[PluginRecord, str, str]], at: float | None = None) -> None:
        """Remember what plugins did without permission: record, what, target. Of each plugin the first so many."""
        now = time.time() if at is None else at

        def change(tables: dict[str, Any]) -> None:
            for record, what, target in uses:
                known = State(tables).undeclared(record)
                if len(known) < MAX_UNDECLARED and all((use["what"], use["target"]) != (what, target) for use in known):
                    known.append({"what": what, "target": target, "at": now})
                tables["undeclared"][record.id] = {"key": quarantine_key(record), "uses": known}

        self.update(change)

    def release(self, plugin: str) -> None:
        """Let a plugin out of quarantine: its files changed, which is a new chance."""
        self.update(lambda tables: tables["quarantine"].pop(plugin, None))

    def put_in_quarantine(self, record: PluginRecord, reason: str, at: float | None = None) -> None:
        """Remember that this version of a plugin must not be started."""
        entry = {"key": quarantine_key(record), "reason": reason, "at": time.time() if at is None else at}
        self.update(lambda tables: tables["quarantine"].__setitem__(record.id, entry))

    def forget(self, plugin: str) -> None:
        """An uninstall: grants, quarantine and switches go; the id stays known, so a new owner inherits nothing."""

        def change(tables: dict[str, Any]) -> None:
            for name in ("grants", "quarantine", "disabled", "reloaded", "undeclared"):
                tables[name].pop(plugin, None)
            if State(tables).culprit == plugin:
                tables["starts"].clear()

        self.update(change)

    def accept(self, accepted: Mapping[str, tuple[PluginRecord, list[str]]], installed: set[str | None]) -> State:
        """Remember who is on the board, grant newcomers what they declare, and let grants die with their distribution.

        `accepted` holds record and claims by id; a claim that a plugin held is its own when a newcomer wants it too.

        A newcomer is an id that was never seen: a person has just installed it into this environment. An id that was
        seen before, under another distribution or before an uninstall, gets nothing until `peg plugins enable`.
        """

        def change(tables: dict[str, Any]) -> None:
            for plugin in [name for name, entry in tables["grants"].items() if _dist(entry) not in installed]:
                del tables["grants"][plugin]
            for plugin in [name for name, dist in tables["reloaded"].items() if dist not in installed]:
                del tables["reloaded"][plugin]
            # Safe mode ends with the plugin that was the reason for it.
            if (culprit := State(tables).culprit) and _dist(tables["plugins"].get(culprit)) not in installed:
                tables["starts"].clear()
            for plugin, (record, claims) in accepted.items():
                if plugin not in tables["plugins"]:
                    tables["grants"][plugin] = _grant(record, None)
                tables["plugins"][plugin] = {"dist": record.dist, "version": record.version, "claims": claims}

        return self.update(change)

    def starting(self, plugin: str, key: str | None = None) -> None:
        """Before a plugin's code runs: if the process dies now, the next start knows whom to blame."""
        active = {"pid": os.getpid(), "plugin": plugin, "key": key}
        self.update(lambda tables: tables["starts"].__setitem__("active", active))

    def interrupted(self) -> None:
        """A start was given up, by a person or by the program: that says nothing about the plugin at hand."""
        self.update(lambda tables: tables["starts"].pop("active", None))

    def started(self) -> None:
        """After the activations of a start: it lived."""
        self.update(lambda tables: tables["starts"].clear())


def default_path(environ: dict[str, str] | None = None) -> str | None:
    """Where the state of the running Python environment lies."""
    base = folders.data_dir(environ)
    return os.path.join(base, "environments", folders.environment_key(), "plugins.json") if base else None


def project_disabled(project: str) -> tuple[str, ...]:
    """Plugins that a project switches off; the only thing that its file can say."""
    return tuple(_read(os.path.join(project, PROJECT_FILE)).data["disabled"])


def project_state(project: str) -> StateFile:
    """The file of a project, for `disable` and `enable` with scope `project`."""
    return StateFile(os.path.join(project, PROJECT_FILE))


def quarantine_key(record: PluginRecord) -> str:
    """Distribution, version and manifest: whatever differs is a new chance."""
    return f"{record.dist}|{record.version}|{record.manifest_hash}"


def _changes(state: State, change: Callable[[dict[str, Any]], object]) -> bool:
    before = repr(state.data)
    change(state.data)
    return repr(state.data) != before


def _grant(record: PluginRecord, at: float | None) -> dict[str, Any]:
    return {
        "dist": record.dist,
        "version": record.version,
        "permissions": dict((record.manifest or {}).get("permissions", {})),
        "permissions_hash": record.permissions_hash,
        "file_hash": record.file_hash,
        "at": time.time() if at is None else at,
    }


def _count_death(starts: dict[str, Any]) -> None:
    """Take the mark of a start that ended in the middle of an activation for what it is."""
    active = starts.get("active")
    if isinstance(active, dict) and not _alive(active.get("pid")):
        died = _list(starts.get("died"))
        same = died[-1:] == [active.get("plugin")]  # only what dies again and again has one culprit
        starts["died"] = [*(died if same else []), active.get("plugin")]
        starts["key"] = active.get("key")
        del starts["active"]


def _dist(entry: Any) -> str | None:
    dist = entry.get("dist") if isinstance(entry, dict) else None
    return dist if isinstance(dist, str) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _alive(pid: Any) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    if sys.platform == "win32":
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


# --- the file ----------------------------------------------------------------------------------------------------


def _read(path: str | None) -> State:
    if path is None:
        return State({})
    try:
        raw = read_regular(path, _MAX_SIZE_BYTES)
    except OSError as exc:
        missing = isinstance(exc, (FileNotFoundError, NotADirectoryError))
        return State({}, None if missing else f"`{path}` cannot be read: {exc.strerror}")
    import json

    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        return State({}, f"`{path}` is not JSON: {exc}")
    return State(data) if isinstance(data, dict) else State({}, f"`{path}` is not a table")


def _write(path: str, data: dict[str, Any]) -> None:
    import json

    temporary = f"{path}.{os.getpid()}.tmp"
    text = json.dumps({"schema": 1, **data}, indent=1)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
