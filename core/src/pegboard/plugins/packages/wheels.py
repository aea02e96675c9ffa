"""Looks into a wheel before it is installed: what it brings, what it would run or overwrite, whether it is whole.

Nothing is extracted and nothing is imported. What is found is told in words; whether it may be installed in spite of
that is the business of the caller.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from pegboard.errors import PluginInstallError
from pegboard.plugins.discovery import manifest as manifests
from pegboard.plugins.discovery.index import normalised
from pegboard.plugins.discovery.scan import GROUP, parse_entry_points
from pegboard.plugins.packages import placing
from pegboard.plugins.packages.placing import Installed

if TYPE_CHECKING:
    from pegboard.plugins.discovery.index import Problem

_MAX_SIZE_BYTES = 2 * 1024**3
_MAX_INDEX_BYTES = 8 * 1024**2
_MAX_TEXT_BYTES = {"METADATA": 1024**2, "RECORD": 8 * 1024**2, "entry_points.txt": 256 * 1024}
_MAX_PLUGINS = 32
_END = struct.Struct("<4s4H2LH")
"""How a zip file ends: the numbers of files and bytes of its table of contents, and a comment of up to 64 KiB."""
_END_BYTES = _END.size + 0xFFFF
_UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, csv.Error, EOFError, ValueError, RuntimeError, KeyError)
"""What reading a broken zip file raises: `RuntimeError` where it is encrypted."""
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


def inspect(path: str | Path, installed: Installed | None = None) -> WheelFile:
    """Everything about a wheel that can be known without running anything of it.

    Raises:
        PluginInstallError: it is no wheel at all.
    """
    path = Path(path)
    name, version = _named(path)
    try:
        _check_index(path)
        with zipfile.ZipFile(path) as archive:
            return _inspect(path, archive, name, version, installed or Installed.here())
    except _UNREADABLE as error:
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
    _check_sizes(archive, info, name)
    entry_points = _text(archive, f"{info}/entry_points.txt")
    metadata = HeaderParser().parsestr(_text(archive, f"{info}/METADATA"))
    scripts = _scripts(entry_points)
    problems = [*_identity(info, metadata, name, version), *_record(archive, info, names)]
    problems += placing.judge(names, scripts, name, installed)
    return WheelFile(
        path=str(path),
        name=name,
        version=version,
        sha256=sha256_of(path),
        size_bytes=path.stat().st_size,
        files=tuple(sorted(names)),
        scripts=tuple(sorted({*scripts, *_script_files(names)})),
        requires=tuple(metadata.get_all("Requires-Dist", ())),
        plugins=tuple(_plugins(archive, entry_points, name)),
        problems=tuple(problems),
    )


# --- is it small enough to be read ----------------------------------------------------------------------------------


def _check_index(path: Path) -> None:
    """Whether the table of contents, which is read as a whole, is small.

    Raises:
        PluginInstallError: it is not, or cannot be found.
    """
    with path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, size_bytes - _END_BYTES))
        tail = file.read()
    end = tail[tail.rfind(b"PK\5\6") :] if b"PK\5\6" in tail else b""
    if len(end) < _END.size:
        raise PluginInstallError(f"`{path.name}` is no readable wheel: it is no zip file")
    *_, entries, index_bytes, _, _ = _END.unpack_from(end)
    if entries == 0xFFFF or index_bytes > _MAX_INDEX_BYTES:
        raise PluginInstallError(f"`{path.name}` is refused: it has more files than a plugin needs")


def _check_sizes(archive: zipfile.ZipFile, info: str, name: str) -> None:
    """Whether its members, as a whole and one by one, may be unpacked to be looked at.

    Raises:
        PluginInstallError: they may not. Python reads no more of a member than is declared for it.
    """
    items = archive.infolist()
    size_bytes = sum(item.file_size for item in items)
    if size_bytes > _MAX_SIZE_BYTES:
        raise PluginInstallError(f"`{name}` is refused: it unpacks to {size_bytes // 1024**2} MiB", dist=name)
    for item in items:
        if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others are unpacked in one piece
            raise PluginInstallError(f"`{name}` is refused: `{item.filename}` is not packed with deflate", dist=name)
        is_manifest = item.filename.endswith(f"/{manifests.FILE_NAME}")
        limit = _MAX_TEXT_BYTES.get(item.filename.removeprefix(f"{info}/"))
        limit = manifests.MAX_SIZE_BYTES if is_manifest else limit
        if limit is not None and item.file_size > limit:
            text = f"`{name}` is refused: its {item.filename} has {item.file_size // 1024} KiB"
            raise PluginInstallError(f"{text}, and {limit // 1024} are the limit", dist=name)


# --- is it whole, and what it says it is ----------------------------------------------------------------------------


def _info_folder(names: list[str], name: str) -> str:
    folders = {top for item in names if (top := item.partition("/")[0]).endswith(".dist-info")}
    if len(folders) != 1:
        raise PluginInstallError(f"`{name}` has {len(folders)} `.dist-info` folders instead of one", dist=name)
    return folders.pop()


def _identity(info: str, metadata: Message, name: str, version: str) -> Iterator[str]:
    """Installers go by the metadata, and a person by the name of the file."""
    stem, _, folder_version = info.removesuffix(".dist-info").partition("-")
    if normalised(stem) != name or not _same_version(folder_version, version):
        yield f"its metadata is in `{info}`, which is not named after `{name}` {version}"
    names, versions = metadata.get_all("Name", ()), metadata.get_all("Version", ())
    if [normalised(str(said)) for said in names] != [name]:
        yield f"its METADATA has the name {', '.join(f'`{said}`' for said in names) or 'of nothing'}, its file `{name}`"
    if len(versions) != 1 or not _same_version(str(versions[0]), version):
        said = ", ".join(map(str, versions)) or "none"
        yield f"its METADATA has the version {said}, its file {version}"


def _same_version(said: str, version: str) -> bool:
    try:
        return Version(said) == Version(version)
    except InvalidVersion:
        return False


def _record(archive: zipfile.ZipFile, info: str, names: list[str]) -> Iterator[str]:
    """Whether RECORD lists exactly what is there, with the right hashes."""
    own = {f"{info}/{name}" for name in _UNLISTED}
    listed = _listed(archive, f"{info}/RECORD", most=2 * len(names) + len(own))
    if not listed:
        yield "it has no RECORD, so nothing can be checked or uninstalled"
        return
    for name in names:
        if name in own:
            continue
        if name not in listed:
            yield f"`{name}` is not listed in RECORD"
        elif listed[name] != _record_hash(archive, name):
            yield f"`{name}` is not what RECORD says"
    for name in listed.keys() - set(names) - own:
        yield f"RECORD lists `{name}`, which is missing"
    if len(set(names)) < len(names):
        yield "it has several files of one name"


def _listed(archive: zipfile.ZipFile, record: str, *, most: int) -> dict[str, str]:
    """Path and hash of each row.

    Raises:
        ValueError: there are more rows than that.
    """
    if record not in archive.NameToInfo:
        return {}
    with archive.open(record) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
        rows = csv.reader(text)
        found = {row[0]: row[1] for row in islice(rows, most) if len(row) == 3}
        if next(rows, None) is not None:
            raise ValueError("its RECORD lists more files than there are")
    return found


def _record_hash(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # zip members are binary files
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


# --- what it brings -------------------------------------------------------------------------------------------------


def _plugins(archive: zipfile.ZipFile, entry_points: str, dist: str) -> Iterator[OfferedPlugin]:
    offered = _section(entry_points, GROUP)
    if len(offered) > _MAX_PLUGINS:
        raise PluginInstallError(f"`{dist}` is refused: it brings more than {_MAX_PLUGINS} plugins", dist=dist)
    for id, package in offered.items():
        raw = _bytes(archive, f"{package}/{manifests.FILE_NAME}", manifests.MAX_SIZE_BYTES)
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


def _text(archive: zipfile.ZipFile, name: str) -> str:
    return (_bytes(archive, name, max(_MAX_TEXT_BYTES.values())) or b"").decode("utf-8")


def _bytes(archive: zipfile.ZipFile, name: str, limit: int) -> bytes | None:
    """A member, and no more of it than one byte above the limit."""
    if name not in archive.NameToInfo:
        return None
    with archive.open(name) as file:
        return file.read(limit + 1)
