"""Which plugins are installed, known without importing any of them.

What a scan found is kept on disk and trusted while the folders of `sys.path`, and the entry points and manifests of our
plugins, are unchanged; so the usual start costs a few `stat` calls and no more with 500 distributions than with 50.
Only `os`, `sys` and `marshal` are imported here; looking for plugins anew is the business of `scan`.
"""

from __future__ import annotations

import marshal
import os
import sys

from pegboard import __version__, folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    Stamp: TypeAlias = tuple[str, int, int]
    """Path, `st_mtime_ns`, and inode (folders) or size (files); -1 twice for what is not there."""
    Problem: TypeAlias = tuple[str, str, str]
    """Reason, message, hint."""
    Requirement: TypeAlias = tuple[str, str, str, list[str | None]]
    """`cap` or `plugin`, name, range, and the distributions found that are inside the range."""

FORMAT = 1
_MAGIC = b"PEGX"
_RACY_NS = 2_000_000_000
_FIELDS = (
    "id",
    "dist",
    "version",
    "package",
    "package_path",
    "location",
    "info_path",
    "manifest",
    "manifest_path",
    "manifest_hash",
    "permissions_hash",
    "file_hash",
    "requires",
    "problems",
    "warnings",
    "source",
)


class PluginRecord:
    """One plugin that was found: plain data, no code of it."""

    __slots__ = _FIELDS

    def __init__(
        self,
        *,
        id: str,
        dist: str | None = None,
        version: str | None = None,
        package: str = "",
        package_path: str | None = None,
        location: str = "",
        info_path: str | None = None,
        manifest: dict[str, Any] | None = None,
        manifest_path: str | None = None,
        manifest_hash: str | None = None,
        permissions_hash: str | None = None,
        file_hash: str | None = None,
        requires: Sequence[Requirement] = (),
        problems: Sequence[Problem] = (),
        warnings: Sequence[str] = (),
        source: str = "entry_point",
    ) -> None:
        self.id = id
        self.dist = dist
        self.version = version
        self.package = package
        """The top-level package that the entry point names."""
        self.package_path = package_path
        """The folder that holds the manifest."""
        self.location = location
        """The entry of `sys.path` where the distribution was found."""
        self.info_path = info_path
        self.manifest = manifest
        """The judged manifest; `None` where there is none or it is unusable."""
        self.manifest_path = manifest_path
        self.manifest_hash = manifest_hash
        self.permissions_hash = permissions_hash
        self.file_hash = file_hash
        """Over what the distribution's RECORD lists."""
        self.requires = tuple(requires)
        self.problems = tuple(problems)
        """Why it cannot run."""
        self.warnings = tuple(warnings)
        self.source = source
        """`entry_point`, `folder` or `object`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it is cached and printed."""
        return {name: getattr(self, name) for name in _FIELDS}

    def __repr__(self) -> str:
        return f"<plugin {self.id} of {self.dist} {self.version}>"


class Index:
    """What a scan found."""

    __slots__ = ("drivers", "from_cache", "plugins", "shadowed")

    def __init__(
        self,
        plugins: list[PluginRecord],
        drivers: list[dict[str, Any]],
        shadowed: list[dict[str, Any]],
        from_cache: bool = False,
    ) -> None:
        self.plugins = plugins
        self.drivers = drivers
        """`{kind, name, value, dist, version}` of each entry point in `pegboard.drivers.<kind>`."""
        self.shadowed = shadowed
        """`{dist, version, path, by}` of each distribution that a copy earlier on `sys.path` hides."""
        self.from_cache = from_cache

    def find(self, name: str) -> list[PluginRecord]:
        """Plugins with this id, or else of the distribution of this name."""
        found = [record for record in self.plugins if record.id == name]
        return found or [record for record in self.plugins if record.dist and same_name(record.dist, name)]


def load(paths: Sequence[str] | None = None, *, cache: bool = True) -> Index:
    """The index of `paths` (`sys.path`), from the cache where that is valid, else from a scan."""
    search = _absolute(sys.path if paths is None else paths)
    # What a foreign finder would answer has no time stamp, so it is asked each time.
    cached = cache and not foreign_finders()
    path = cache_path(search) if cached else None
    data = _read(path, search) if path else None
    if data is not None:
        return _index(data, from_cache=True)
    from pegboard.plugins.discovery import scan

    stamps = [_folder_stamp(folder) for folder in search]
    found = scan.scan(search)
    data = {
        "key": _key(search),
        "folders": stamps,
        "files": [file_stamp(name) for name in found.watched],
        "plugins": [record.to_dict() for record in found.plugins],
        "drivers": found.drivers,
        "shadowed": found.shadowed,
    }
    if path:
        _write(path, data)
    return _index(data, from_cache=False)


def clear() -> int:
    """Remove the cached indexes of this user; how many there were."""
    folder = _cache_folder()
    count = 0
    try:
        names = os.listdir(folder) if folder else []
    except OSError:
        return 0
    for name in names:
        if name.startswith("index-") and folder:
            try:
                os.unlink(os.path.join(folder, name))
                count += 1
            except OSError:
                continue
    return count


def cache_path(paths: Sequence[str]) -> str | None:
    """The file for these search paths; `None` when no cache folder is known."""
    folder = _cache_folder()
    return os.path.join(folder, f"index-{folders.digest(repr(_key(paths))):016x}.bin") if folder else None


def foreign_finders() -> list[Any]:
    """Finders of distributions beside the interpreter's own, which reads the folders of `sys.path`."""
    return [
        finder
        for finder in sys.meta_path
        if hasattr(finder, "find_distributions") and getattr(finder, "__module__", "") != "_frozen_importlib_external"
    ]


def file_stamp(path: str) -> Stamp:
    """What tells that a file is unchanged."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return path, -1, -1
    return path, stat.st_mtime_ns, stat.st_size


def same_name(one: str, other: str) -> bool:
    """Whether two names mean one distribution."""
    return normalised(one) == normalised(other)


def normalised(name: str) -> str:
    """A distribution's name in lower case, with single dashes for runs of `-`, `_` and `.`."""
    parts = name.lower().replace("_", "-").replace(".", "-").split("-")
    return "-".join(part for part in parts if part)


def _absolute(paths: Sequence[str]) -> list[str]:
    seen: dict[str, None] = {}
    for path in paths:
        if path.__class__ is str:
            seen[path if os.path.isabs(path) else os.path.abspath(path)] = None
    return list(seen)


def _key(paths: Sequence[str]) -> tuple[Any, ...]:
    return (FORMAT, __version__, sys.hexversion, sys.implementation.cache_tag, sys.platform, sys.prefix, *paths)


def _folder_stamp(path: str) -> Stamp:
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return path, -1, -1
    return path, stat.st_mtime_ns, stat.st_ino


def _index(data: dict[str, Any], from_cache: bool) -> Index:
    return Index([PluginRecord(**item) for item in data["plugins"]], data["drivers"], data["shadowed"], from_cache)


# --- the file ----------------------------------------------------------------------------------------------------


def _cache_folder() -> str | None:
    base = folders.cache_dir()
    return os.path.join(base, "index") if base else None


def _read(path: str, search: Sequence[str]) -> dict[str, Any] | None:
    """The cached data, if it is ours, whole, for these paths, and nothing changed since; else `None`."""
    try:
        if not _ours(os.stat(os.path.dirname(path))):
            return None
        if not os.path.isfile(path):  # a pipe would keep us waiting
            return None
        with open(path, "rb") as file:
            stat = os.fstat(file.fileno())
            data = _parse(file.read()) if _ours(stat) else None
        if data is None or tuple(data["key"]) != _key(search):
            return None
        return data if _unchanged(data, stat.st_mtime_ns - _RACY_NS) else None
    except Exception:  # whatever is wrong with the file, a scan puts it right
        return None


def _unchanged(data: dict[str, Any], trusted_ns: int) -> bool:
    """Whether every stamp is as it was, and old enough that no later change can have left the same stamp."""
    folders_same = all(
        at <= trusted_ns and _folder_stamp(path) == (path, at, node) for path, at, node in data["folders"]
    )
    return folders_same and all(
        at <= trusted_ns and file_stamp(path) == (path, at, size) for path, at, size in data["files"]
    )


def _ours(stat: os.stat_result) -> bool:
    """Whether nobody else can have written it."""
    if not hasattr(os, "geteuid"):
        return True
    return stat.st_uid == os.geteuid() and not stat.st_mode & 0o022


def _parse(raw: bytes) -> dict[str, Any] | None:
    body = raw[12:]
    if raw[:4] != _MAGIC or raw[4:12] != _checksum(body):
        return None
    if body[:1] == b"{":
        import json

        data: dict[str, Any] = json.loads(body)
        return data
    loaded: dict[str, Any] = marshal.loads(body)
    return loaded


def _checksum(body: bytes) -> bytes:
    return (int.from_bytes(body, "big") % 18446744073709551557).to_bytes(8, "big")


def _dump(data: dict[str, Any]) -> bytes:
    try:
        body = marshal.dumps(data)
        marshal.loads(body)
    except Exception:  # an audit hook may refuse marshal
        import json

        body = json.dumps(data).encode()
    return _MAGIC + _checksum(body) + body


def _write(path: str, data: dict[str, Any]) -> None:
    folder = os.path.dirname(path)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
        if not os.path.isdir(folder):
            os.mkdir(folder, 0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(_dump(data))
        os.replace(temporary, path)
    except OSError:
        _remove(temporary)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
