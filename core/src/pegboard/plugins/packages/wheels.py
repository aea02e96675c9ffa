"""Looks into a wheel before it is installed: what it brings, what it would run or overwrite, whether it is whole.

Nothing is extracted and nothing is imported. What is found is told in words; whether it may be installed in spite of
that is the business of the caller.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from pegboard.errors import PluginInstallError
from pegboard.plugins.discovery import manifest as manifests
from pegboard.plugins.discovery.index import normalised
from pegboard.plugins.discovery.scan import GROUP, parse_entry_points

if TYPE_CHECKING:
    from pegboard.plugins.discovery.index import Problem

_MAX_SIZE_BYTES = 2 * 1024**3
_SCHEMES = ("purelib", "platlib", "scripts", "data", "headers")
_UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")


class OfferedPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin in a wheel."""

    id: str
    package: str
    manifest: dict[str, Any] | None
    """`None` where there is none: its permissions are unknown."""
    permissions_hash: str | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


class WheelFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a wheel is and brings."""

    path: str
    name: str
    version: str
    sha256: str
    size_bytes: int
    files: tuple[str, ...]
    scripts: tuple[str, ...]
    requires: tuple[str, ...]
    plugins: tuple[OfferedPlugin, ...]
    problems: tuple[str, ...]
    """Why it must not be installed."""


class Installed(NamedTuple):
    """What is installed already and must not be overwritten by somebody else's wheel."""

    owners: Mapping[str, str]
    """Path below site-packages, and the distribution that owns it."""
    packages: Mapping[str, str]
    """Top-level package with an `__init__`, and the distribution that owns it."""
    scripts: Mapping[str, str]

    @classmethod
    def here(cls) -> Installed:
        """What is installed in the environment of this process."""
        owners: dict[str, str] = {}
        packages: dict[str, str] = {}
        scripts: dict[str, str] = {}
        for dist in importlib.metadata.distributions():
            name = normalised(dist.name or "")
            for file in dist.files or ():
                owners.setdefault(file.as_posix(), name)
                if len(file.parts) == 2 and file.name == "__init__.py":
                    packages.setdefault(file.parts[0], name)
            for script in _scripts(dist.read_text("entry_points.txt") or ""):
                scripts.setdefault(script, name)
        return cls(owners, packages, scripts)


def inspect(path: str | Path, installed: Installed | None = None) -> WheelFile:
    """Everything about a wheel that can be known without running anything of it.

    Raises:
        PluginInstallError: it is no wheel at all.
    """
    path = Path(path)
    name, version = _named(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _inspect(path, archive, name, version, installed or Installed.here())
    except (OSError, zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise PluginInstallError(f"`{path.name}` is no readable wheel: {error}", dist=name, version=version) from error


def sha256_of(path: Path) -> str:
    """The hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(path: Path) -> tuple[str, str]:
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise PluginInstallError(f"`{path.name}` is not named as a wheel is: {error}") from error
    return name, str(version)


def _inspect(path: Path, archive: zipfile.ZipFile, name: str, version: str, installed: Installed) -> WheelFile:
    names = [item.filename for item in archive.infolist() if not item.is_dir()]
    info = _info_folder(names, name)
    entry_points = _text(archive, f"{info}/entry_points.txt")
    scripts = sorted({*_scripts(entry_points), *_script_files(names)})
    problems = [*_sizes(archive), *_escapes(names), *_record(archive, info, names)]
    problems += [*_start_code(names), *_shadows(names, info, name, installed), *_taken(scripts, name, installed)]
    return WheelFile(
        path=str(path),
        name=name,
        version=version,
        sha256=sha256_of(path),
        size_bytes=path.stat().st_size,
        files=tuple(sorted(names)),
        scripts=tuple(scripts),
        requires=tuple(_headers(archive, info, "Requires-Dist")),
        plugins=tuple(_plugins(archive, entry_points, name)),
        problems=tuple(problems),
    )


# --- is it whole, and does it stay in its place ---------------------------------------------------------------------


def _info_folder(names: list[str], name: str) -> str:
    folders = {top for item in names if (top := item.partition("/")[0]).endswith(".dist-info")}
    if len(folders) != 1:
        raise PluginInstallError(f"`{name}` has {len(folders)} `.dist-info` folders instead of one", dist=name)
    return folders.pop()


def _sizes(archive: zipfile.ZipFile) -> Iterator[str]:
    size_bytes = sum(item.file_size for item in archive.infolist())
    if size_bytes > _MAX_SIZE_BYTES:
        yield f"unpacks to {size_bytes // 1024**2} MiB"


def _escapes(names: list[str]) -> Iterator[str]:
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
            yield f"`{name}` would be written outside of its folder"


def _record(archive: zipfile.ZipFile, info: str, names: list[str]) -> Iterator[str]:
    """Whether RECORD lists exactly what is there, with the right hashes."""
    text = _text(archive, f"{info}/RECORD")
    if not text:
        yield "it has no RECORD, so nothing can be checked or uninstalled"
        return
    listed = {row[0]: row[1] for row in csv.reader(io.StringIO(text)) if len(row) == 3}
    own = {f"{info}/{name}" for name in _UNLISTED}
    for name in names:
        if name in own:
            continue
        if name not in listed:
            yield f"`{name}` is not listed in RECORD"
        elif listed[name] != _record_hash(archive, name):
            yield f"`{name}` is not what RECORD says"
    for name in listed.keys() - set(names) - own:
        yield f"RECORD lists `{name}`, which is missing"


def _record_hash(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # zip members are binary files
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _start_code(names: list[str]) -> Iterator[str]:
    for name in names:
        target = _installed_path(name)
        if "/" not in target and (target.endswith(".pth") or target in ("sitecustomize.py", "usercustomize.py")):
            yield f"`{name}` would run at every start of Python"


# --- does it take what belongs to others ----------------------------------------------------------------------------


def _shadows(names: list[str], info: str, dist: str, installed: Installed) -> Iterator[str]:
    tops: dict[str, str] = {}
    for name in names:
        target = _installed_path(name)
        owner = installed.owners.get(target)
        if owner not in (None, dist):
            yield f"`{target}` belongs to `{owner}` and would be overwritten"
        top = target.partition("/")[0]
        if top != info and not name.partition("/")[0].endswith(".data"):
            tops.setdefault(top.removesuffix(".py") if "/" not in target else top, name)
    for top in sorted(tops):
        owner = installed.packages.get(top)
        if top in sys.stdlib_module_names:
            yield f"`{top}` would hide a module of Python itself"
        elif owner not in (None, dist):
            yield f"`{top}` is a package of `{owner}`, and files would be added to it"


def _taken(scripts: list[str], dist: str, installed: Installed) -> Iterator[str]:
    folder = Path(sysconfig.get_path("scripts"))
    for script in scripts:
        owner = installed.scripts.get(script)
        if owner not in (None, dist):
            yield f"the command `{script}` belongs to `{owner}` and would be overwritten"
        elif owner is None and (folder / script).exists():
            yield f"the command `{script}` is there already and would be overwritten"


def _installed_path(name: str) -> str:
    """Where a member goes below site-packages; members of a `.data` folder lose scheme and folder."""
    first, _, rest = name.partition("/")
    if first.endswith(".data") and rest.partition("/")[0] in _SCHEMES[:2]:
        return rest.partition("/")[2]
    return name


# --- what it brings -------------------------------------------------------------------------------------------------


def _plugins(archive: zipfile.ZipFile, entry_points: str, dist: str) -> Iterator[OfferedPlugin]:
    for id, package in _section(entry_points, GROUP).items():
        raw = _bytes(archive, f"{package}/{manifests.FILE_NAME}")
        if raw is None:
            yield OfferedPlugin(id=id, package=package, manifest=None, warnings=("it has no manifest",))
            continue
        try:
            data = manifests.parse(raw)
        except manifests.ManifestFault as fault:
            problem = ("schema", f"its manifest {fault}", "peg plugins validate")
            yield OfferedPlugin(id=id, package=package, manifest=None, problems=(problem,))
            continue
        judgement = manifests.judge(data, plugin=id, dist=dist, package=package)
        yield OfferedPlugin(
            id=id,
            package=package,
            manifest=data,
            permissions_hash=manifests.permissions_digest(data),
            problems=judgement.problems,
            warnings=judgement.warnings,
        )


def _scripts(entry_points: str) -> list[str]:
    return [*_section(entry_points, "console_scripts"), *_section(entry_points, "gui_scripts")]


def _script_files(names: list[str]) -> list[str]:
    parts = [name.split("/") for name in names]
    return [path[2] for path in parts if len(path) == 3 and path[0].endswith(".data") and path[1] == "scripts"]


def _section(entry_points: str, group: str) -> dict[str, str]:
    return {name: value for section, name, value in parse_entry_points(entry_points) if section == group}


def _headers(archive: zipfile.ZipFile, info: str, name: str) -> list[str]:
    prefix = f"{name}: "
    head = _text(archive, f"{info}/METADATA").partition("\n\n")[0]
    return [line.removeprefix(prefix).strip() for line in head.splitlines() if line.startswith(prefix)]


def _text(archive: zipfile.ZipFile, name: str) -> str:
    return (_bytes(archive, name) or b"").decode("utf-8")


def _bytes(archive: zipfile.ZipFile, name: str) -> bytes | None:
    try:
        return archive.read(name)
    except KeyError:
        return None
