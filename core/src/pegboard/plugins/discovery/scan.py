"""Looks for plugins and named drivers in the folders of `sys.path`, and reads their manifests, importing none of them.

Whatever is wrong with a distribution becomes a problem on its record; one broken plugin never hides another.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pegboard.lazy import json_beside
from pegboard.plugins.discovery import manifest, unfinished
from pegboard.plugins.discovery.index import PluginRecord, foreign_finders, normalised, same_name

if TYPE_CHECKING:
    from pegboard.plugins.discovery.index import Problem

GROUP = "pegboard.plugins"
DRIVERS = "pegboard.drivers."
_MARKS = (GROUP.encode(), DRIVERS.encode())
_MAX_TEXT_BYTES = 4 * 1024 * 1024


class Found(NamedTuple):
    """What a scan brings."""

    plugins: list[PluginRecord]
    drivers: list[dict[str, Any]]
    shadowed: list[dict[str, Any]]
    watched: list[str]
    """Files whose change makes the result stale, although no folder of `sys.path` changes with them."""


class Dist(NamedTuple):
    """A distribution that has entry points of ours."""

    name: str
    version: str
    location: str
    info_path: str
    entry_points: str
    record: str


def scan(search: Sequence[str]) -> Found:
    """Everything that is installed on these paths."""
    importlib.invalidate_caches()
    dists, shadowed = _distributions(search)
    plugins: list[PluginRecord] = []
    drivers: list[dict[str, Any]] = []
    watched: list[str] = []
    for dist in dists:
        watched.append(os.path.join(dist.info_path, "entry_points.txt"))
        for group, name, value in parse_entry_points(dist.entry_points):
            if group == GROUP:
                record = _installed(dist, name, value, search)
                plugins.append(record)
                watched += _manifest_places(record)
            elif group.startswith(DRIVERS):
                kind = group.removeprefix(DRIVERS)
                drivers.append({"kind": kind, "name": name, "value": value, "dist": dist.name, "version": dist.version})
    for record in plugins:
        _resolve_requirements(record, plugins)
    return Found(plugins, drivers, shadowed, watched)


def from_folder(path: str | Path) -> PluginRecord:
    """The record of a plugin that is given by path, during its development.

    The folder is the package that holds `pegboard.toml`, or a project with one such package.
    """
    given = Path(path).absolute()
    folder = _package_folder(given)
    if folder is None:
        problem = ("schema", f"no `{manifest.FILE_NAME}` in `{given}`", "peg plugins new my-plugin")
        return PluginRecord(id=given.name, location=str(given), problems=[problem], source="folder")
    record = PluginRecord(
        id=folder.name, package=folder.name, package_path=str(folder), location=str(folder.parent), source="folder"
    )
    _read_manifest(record, [str(folder)], None)
    if record.manifest:
        record.id = record.manifest["id"]
    _resolve_requirements(record, [record])
    return record


def parse_entry_points(text: str) -> Iterator[tuple[str, str, str]]:
    """Group, name and value of each entry point."""
    group = ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield group, name.strip(), value.partition("[")[0].strip()


# --- distributions -----------------------------------------------------------------------------------------------


def _distributions(search: Sequence[str]) -> tuple[list[Dist], list[dict[str, Any]]]:
    """Those with entry points of ours; the first of a name wins, as for the import system, the others are shadowed."""
    winners: dict[str, str] = {}
    ours: list[Dist] = []
    shadowed: list[dict[str, Any]] = []
    for location in search:
        for name, info_path, dist in _of_location(location):
            by = winners.setdefault(name, info_path)
            if dist is None:
                continue
            if by == info_path:
                ours.append(dist)
            else:
                shadowed.append({"dist": dist.name, "version": dist.version, "path": info_path, "by": by})
    ours += [
        dist for dist in _foreign(search) if winners.setdefault(normalised(dist.name), dist.info_path) == dist.info_path
    ]
    return ours, shadowed


def _of_location(location: str) -> Iterator[tuple[str, str, Dist | None]]:
    """Normalised name, path and, where it concerns us, content of each distribution in one entry of `sys.path`."""
    if os.path.isfile(location):
        for dist in _described(importlib.metadata.distributions(path=[location]), location):
            yield normalised(dist.name), dist.info_path, dist
        return
    try:
        names = sorted(entry.name for entry in os.scandir(location) if _is_metadata(entry.name))
    except (OSError, ValueError):
        return
    for name in names:
        info_path = os.path.join(location, name)
        stem = name.rpartition(".")[0]
        yield normalised(stem.partition("-")[0]), info_path, _read_dist(location, info_path, stem)


def _is_metadata(name: str) -> bool:
    return name.endswith((".dist-info", ".egg-info")) and not name.startswith(unfinished.STASH)


def _read_dist(location: str, info_path: str, stem: str) -> Dist | None:
    raw = _read(os.path.join(info_path, "entry_points.txt"))
    if raw is None or not any(mark in raw for mark in _MARKS):
        return None
    headers = _read(os.path.join(info_path, "METADATA")) or _read(os.path.join(info_path, "PKG-INFO")) or b""
    name, _, version = stem.partition("-")
    for line in headers.decode("utf-8", "replace").splitlines():
        if not line:
            break
        if line.startswith("Name:"):
            name = line[5:].strip()
        elif line.startswith("Version:"):
            version = line[8:].strip()
    record = _read(os.path.join(info_path, "RECORD")) or b""
    return Dist(name, version, location, info_path, raw.decode("utf-8", "replace"), record.decode("utf-8", "replace"))


def _foreign(search: Sequence[str]) -> Iterator[Dist]:
    """Distributions that only a finder of somebody else knows of."""
    for finder in foreign_finders():
        try:
            found = list(finder.find_distributions(importlib.metadata.DistributionFinder.Context(path=list(search))))
        except Exception:  # a finder's fault is not ours, and must not cost the plugins
            continue
        yield from _described(found, repr(finder))


def _described(found: Iterable[importlib.metadata.Distribution], location: str) -> Iterator[Dist]:
    for dist in found:
        try:
            text = dist.read_text("entry_points.txt") or ""
            name, version = dist.metadata["Name"], dist.version
        except Exception:  # broken metadata of whatever kind
            continue
        if name and any(mark.decode() in text for mark in _MARKS):
            path = str(getattr(dist, "_path", "")) or f"{location}/{name}"
            yield Dist(name, version or "", location, path, text, dist.read_text("RECORD") or "")


# --- records -----------------------------------------------------------------------------------------------------


def _installed(dist: Dist, name: str, value: str, search: Sequence[str]) -> PluginRecord:
    record = PluginRecord(
        id=name,
        dist=dist.name,
        version=dist.version,
        package=value,
        location=dist.location,
        info_path=dist.info_path,
        file_hash=_file_hash(dist.record),
    )
    record.problems = (*_blocked(dist), *_torn(dist))
    if not value.isidentifier():
        message = f"its entry point `{name} = {value}` must name a top-level package, without dots or colons"
        record.problems += (("schema", message, _uninstall(dist)),)
        return record
    spec = _find_package(value, search)
    if spec is None:
        message = (
            f"the distribution {dist.name} {dist.version} is recorded in `{dist.info_path}`, but its package "
            f"`{value}` is not there: left over from an uninstall, or the folder of an editable install is gone"
        )
        record.problems += (("files", message, _uninstall(dist)),)
        return record
    places = list(spec.submodule_search_locations or [])
    if not places:
        message = (
            f"its entry point `{name} = {value}` names a module; a plugin is a package with `pegboard.toml` inside"
        )
        record.problems += (("schema", message, _uninstall(dist)),)
        return record
    record.package_path = places[0]
    _read_manifest(record, places, spec)
    return record


def _find_package(name: str, search: Sequence[str]) -> importlib.machinery.ModuleSpec | None:
    """Where a top-level package lies. The finders are asked directly: `find_spec` answers from `sys.modules` first."""
    finders: list[Any] = [importlib.machinery.PathFinder]
    finders += [finder for finder in sys.meta_path if finder not in finders]
    for finder in finders:
        find = getattr(finder, "find_spec", None)
        try:
            spec = find(name, list(search) if finder is finders[0] else None) if find else None
        except Exception:  # a finder's fault is not ours, and must not cost the plugins
            continue
        # A folder that is no package any more still gives a namespace, which has no loader to run.
        if spec is not None and (spec.origin is not None or _has_manifest(spec)):
            return spec  # type: ignore[no-any-return]  # finders are duck-typed
    return None


def _has_manifest(spec: importlib.machinery.ModuleSpec) -> bool:
    return any(
        os.path.isfile(os.path.join(place, manifest.FILE_NAME)) for place in spec.submodule_search_locations or ()
    )


def _manifest_places(record: PluginRecord) -> list[str]:
    """Where a manifest is, or would be."""
    if record.package_path is None:
        return []
    plain = os.path.join(record.package_path, manifest.FILE_NAME)
    own = record.id.partition("/")[2]
    return [os.path.join(record.package_path, own, manifest.FILE_NAME), plain] if own else [plain]


def _read_manifest(record: PluginRecord, places: list[str], spec: importlib.machinery.ModuleSpec | None) -> None:
    for place in places:
        record.package_path = place
        for path in _manifest_places(record):
            raw = _read_bounded(path, spec)
            if raw is not None:
                record.package_path = os.path.dirname(path)
                record.manifest_path = path
                _judge(record, raw)
                return
    record.package_path = places[0]
    record.warnings = ("it has no manifest: it is loaded at every start, and its permissions are unknown",)


def _judge(record: PluginRecord, raw: bytes) -> None:
    record.manifest_hash = manifest.digest(raw)
    try:
        data = manifest.parse(raw)
        name = record.id if record.dist else data.get("id", record.id)
        judgement = manifest.judge(data, plugin=name, dist=record.dist, package=record.package)
    except manifest.ManifestFault as exc:
        record.problems += (("schema", f"`{record.manifest_path}` {exc}", _fix(record, "schema", "")),)
        return
    record.problems += tuple(
        (reason, f"`{record.manifest_path}`: {text}", _fix(record, reason, hint))
        for reason, text, hint in judgement.problems
    )
    record.warnings = judgement.warnings
    if not any(reason == "schema" for reason, _, _ in judgement.problems):
        record.manifest = data
        record.permissions_hash = manifest.permissions_digest(data)


def _fix(record: PluginRecord, reason: str, hint: str) -> str:
    """What to type. A manifest can be mended by its author only; who installed it can live without the plugin."""
    if reason != "schema":
        return hint
    return f"peg plugins disable {record.id}" if record.dist else f"peg plugins validate '{record.package_path}'"


def _resolve_requirements(record: PluginRecord, plugins: list[PluginRecord]) -> None:
    """Compare ranges now, so that choosing later needs no `packaging`."""
    found: list[tuple[str, str, str, list[str | None]]] = []
    for text in (record.manifest or {}).get("requires", ()):
        if text.startswith("cap:"):
            found.append(("cap", text[4:], "", []))
            continue
        name = text.rstrip()
        for sign in "<>=!~":
            name = name.partition(sign)[0]
        wanted = text[len(name) :].strip()
        inside = [other.dist for other in plugins if other.id == name.strip() and _fits(other.version, wanted)]
        found.append(("plugin", name.strip(), wanted, inside))
    record.requires = tuple(found)


def _fits(version: str | None, wanted: str) -> bool:
    return not wanted or version is None or bool(manifest.in_range(version, wanted))


def _blocked(dist: Dist) -> Iterator[Problem]:
    """Entries of the block list that ships with core."""
    for entry in json_beside(__name__, "blocklist.json")["blocked"]:
        if same_name(entry["dist"], dist.name) and manifest.in_range(dist.version, entry.get("versions", "")):
            reason = f"{dist.name} {dist.version} is on the block list: {entry['reason']}"
            yield "blocked", reason, f"peg plugins update {dist.name}"


def _torn(dist: Dist) -> Iterator[Problem]:
    """What an install that is under way, or was interrupted, has left half done."""
    text = unfinished.torn(dist.location, dist.name)
    if text is not None:
        yield "files", text, unfinished.FIX


def _file_hash(record: str) -> str | None:
    """A hash over the files that RECORD lists, without those that an installer writes for itself."""
    lines = sorted(line for line in record.splitlines() if line and ".dist-info/" not in line and ".pyc," not in line)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else None


def _uninstall(dist: Dist) -> str:
    return f"peg plugins uninstall {dist.name}"


def _package_folder(given: Path) -> Path | None:
    if (given / manifest.FILE_NAME).is_file():
        return given
    inside = [path.parent for pattern in ("src/*/", "*/") for path in sorted(given.glob(pattern + manifest.FILE_NAME))]
    return inside[0] if len(inside) == 1 else None


# --- files -------------------------------------------------------------------------------------------------------


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_TEXT_BYTES)
    except (OSError, ValueError):
        return None


def _read_bounded(path: str, spec: importlib.machinery.ModuleSpec | None) -> bytes | None:
    """A manifest, and one byte more than it may have, so that a large one is noticed without being read."""
    try:
        with open(path, "rb") as file:
            return file.read(manifest.MAX_SIZE_BYTES + 1)
    except (OSError, ValueError):
        return _read_zipped(path, getattr(spec.loader, "archive", None) if spec else None)


def _read_zipped(path: str, archive: str | None) -> bytes | None:
    if archive is None:
        return None
    inside = os.path.relpath(path, archive).replace(os.sep, "/")
    try:
        with zipfile.ZipFile(archive) as file, file.open(inside) as member:
            return member.read(manifest.MAX_SIZE_BYTES + 1)
    except (OSError, KeyError, zipfile.BadZipFile):
        return None
