"""Installs the folder of a plugin in place: metadata, and a path that leads to its code, without building anything."""

from __future__ import annotations

import json
import sysconfig
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pegboard.errors import PluginInstallError
from pegboard.plugins.discovery import scan
from pegboard.plugins.discovery.index import normalised
from pegboard.plugins.discovery.manifest import FILE_NAME


class Project(NamedTuple):
    """What a `pyproject.toml` says of itself."""

    name: str
    version: str
    requires: tuple[str, ...]
    plugins: Mapping[str, str]


def read_project(folder: Path) -> Project:
    """The project in a folder.

    Raises:
        PluginInstallError: there is no `pyproject.toml`, or it has no plugin in it.
    """
    try:
        data = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
        project = data["project"]
        plugins = project["entry-points"][scan.GROUP]
        name = project["name"]
    except (OSError, ValueError, KeyError) as error:
        text = f"`{folder}` is no plugin's project: {type(error).__name__}: {error}"
        raise PluginInstallError(text, hint="peg plugins new my-plugin") from error
    return Project(name, project.get("version", "0"), tuple(project.get("dependencies", ())), plugins)


def link(folder: Path, site: Path | None = None) -> Project:
    """Install a project in place, without building it: metadata, and a path that leads to its folder.

    Raises:
        PluginInstallError: it is no plugin's project, or site-packages cannot be written.
    """
    folder = folder.resolve()
    project = read_project(folder)
    record = scan.from_folder(folder)
    if record.package_path is None:
        raise PluginInstallError(f"`{folder}` has no package with a `{FILE_NAME}`", hint="peg plugins new my-plugin")
    site = site or Path(sysconfig.get_path("purelib"))
    stem = normalised(project.name).replace("-", "_")
    info = site / f"{stem}-{project.version}.dist-info"
    files = _link_files(project, folder, info.name, stem, str(Path(record.package_path).parent))
    try:
        info.mkdir(exist_ok=True)
        for name, text in files.items():
            (site / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise PluginInstallError(f"`{site}` cannot be written: {error.strerror}") from error
    return project


def _link_files(project: Project, folder: Path, info: str, stem: str, path: str) -> dict[str, str]:
    requires = "".join(f"Requires-Dist: {text}\n" for text in project.requires)
    points = "".join(f"{id} = {package}\n" for id, package in project.plugins.items())
    files = {
        f"_pegboard_link_{stem}.pth": path + "\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {project.version}\n{requires}",
        f"{info}/entry_points.txt": f"[{scan.GROUP}]\n{points}",
        f"{info}/INSTALLER": "pegboard\n",
        f"{info}/direct_url.json": json.dumps({"url": folder.as_uri(), "dir_info": {"editable": True}}),
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    return files
