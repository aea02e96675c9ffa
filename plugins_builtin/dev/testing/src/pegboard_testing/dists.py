"""Real distributions in a folder: metadata, entry points, RECORD, and a package with a manifest.

Discovery, the index and uninstalling read what an installer writes, so tests about them need the same files and no
shortcuts.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit

_TRIVIAL_PLUGIN = '"""A plugin that does nothing."""\n\n\nclass Plugin:\n    """Nothing."""\n'


class PluginDist(NamedTuple):
    """A distribution that stands in a folder as an installer would have left it."""

    site: Path
    name: str
    version: str
    plugin: str
    package: str

    @property
    def info(self) -> Path:
        """Its `.dist-info`."""
        return self.site / f"{_file_name(self.name)}-{self.version}.dist-info"

    @property
    def manifest(self) -> Path:
        """Its `pegboard.toml`, which need not be there."""
        return self.site / self.package / "pegboard.toml"

    def write(self, name: str, content: str | bytes) -> Path:
        """Put a file into the package, or replace it, as editing does: RECORD stays as it was."""
        return _write(self.site / self.package / name, content)

    def remove(self) -> None:
        """Uninstall it: everything that RECORD lists, and folders that are empty then."""
        listed = [
            line.rpartition(",")[0].rpartition(",")[0] for line in (self.info / "RECORD").read_text().splitlines()
        ]
        for name in listed:
            (self.site / name).unlink(missing_ok=True)
        folders = {parent for name in listed for parent in Path(name).parents} - {Path()}
        for folder in sorted((self.site / parent for parent in folders), reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def plugin_dist(
    site: Path,
    manifest: Mapping[str, Any] | str | bytes | None,
    files: Mapping[str, str | bytes] | None = None,
    *,
    plugin: str | None = None,
    dist: str | None = None,
    package: str | None = None,
    version: str = "1.0.0",
    requires: Sequence[str] = (),
    entry_points: Mapping[str, Mapping[str, str]] | None = None,
) -> PluginDist:
    """Install a plugin into the folder `site`, which is made where it is missing.

    Args:
        site: a folder for `sys.path` or `PYTHONPATH`; see `on_path`.
        manifest: a mapping, to which `schema`, `id`, `api` and `entry` are added where they are missing; or the text or
            bytes of the file as they are; or `None` for no file.
        files: what else is in the package, by path inside it. A `plugin.py` that is missing does nothing.
        plugin: the id; else that of the manifest.
        dist: the distribution's name; else `pegboard-<id>`.
        package: the top-level package; else made of the distribution's name.
        version: of the distribution.
        requires: its dependencies.
        entry_points: by group and name; else the plugin's one.

    Returns:
        Where everything is, with `write` to edit and `remove` to uninstall.
    """
    given = manifest if isinstance(manifest, Mapping) else {}
    plugin = plugin or str(given.get("id", "demo"))
    name = dist or f"pegboard-{plugin.partition('/')[0]}"
    package = package or _file_name(name)
    made = PluginDist(site, name, version, plugin, package)
    contents = {"__init__.py": "", "plugin.py": _TRIVIAL_PLUGIN, **(files or {})}
    text = manifest_text(manifest, plugin, package)
    if text is not None:
        contents["pegboard.toml"] = text
    written = [made.write(path, content) for path, content in contents.items()]
    points = entry_points if entry_points is not None else {"pegboard.plugins": {plugin: package}}
    _write_info(made, written, requires, points)
    return made


def manifest_text(manifest: Mapping[str, Any] | str | bytes | None, plugin: str, package: str) -> str | bytes | None:
    """The text of a manifest, completed where it is a mapping."""
    if not isinstance(manifest, Mapping):
        return manifest
    defaults = {"schema": 1, "id": plugin, "summary": "A plugin of a test", "api": ">=1.0,<2"}
    return tomlkit.dumps({**defaults, "entry": f"{package}.plugin:Plugin", **manifest})


@contextmanager
def on_path(site: Path) -> Iterator[Path]:
    """Have a folder first on `sys.path`; afterwards its modules are forgotten."""
    sys.path.insert(0, str(site))
    try:
        yield site
    finally:
        sys.path.remove(str(site))
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(f"{site}/"):
                del sys.modules[name]


def _write_info(made: PluginDist, written: Sequence[Path], requires: Sequence[str], points: Any) -> None:
    metadata = ["Metadata-Version: 2.4", f"Name: {made.name}", f"Version: {made.version}"]
    metadata += [f"Requires-Dist: {need}" for need in requires]
    groups = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()) for group, entries in points.items()]
    files = [
        *written,
        _write(made.info / "METADATA", "\n".join(metadata) + "\n"),
        _write(
            made.info / "WHEEL",
            "Wheel-Version: 1.0\nGenerator: pegboard-testing\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        _write(made.info / "INSTALLER", "pegboard-testing\n"),
        _write(made.info / "entry_points.txt", "\n".join(groups)),
    ]
    record = "".join(
        f"{path.relative_to(made.site).as_posix()},{_digest(path)},{path.stat().st_size}\n" for path in files
    )
    _write(made.info / "RECORD", f"{record}{made.info.name}/RECORD,,\n")


def _write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _digest(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _file_name(dist: str) -> str:
    return dist.replace("-", "_").replace(".", "_").lower()


__all__ = ["PluginDist", "manifest_text", "on_path", "plugin_dist"]
