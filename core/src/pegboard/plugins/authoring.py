"""For those who write plugins: does the manifest agree with the code, write it from the code, use a folder in place.

Checking reads code without running it; only `code_of` runs it, in a process of its own.
"""

from __future__ import annotations

import json
import sysconfig
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit

from pegboard.errors import PluginInstallError, PluginLoadError, PluginManifestError
from pegboard.plugins import reading, scan, throwaway
from pegboard.plugins.index import PluginRecord, normalised
from pegboard.plugins.manifest import FILE_NAME
from pegboard.plugins.reading import Reading

# --- does the manifest agree with the code ----------------------------------------------------------------------------


def judged(record: PluginRecord) -> Reading:
    """What is wrong with a manifest, its files, and what it says of the code; the code is read and not run."""
    problems = [text for _, text, _ in record.problems]
    if record.manifest is None or record.package_path is None:
        return Reading(problems or ["there is no manifest"], list(record.warnings), [])
    folder = Path(record.package_path)
    found = reading.compare(record.manifest, folder)
    problems += [*_schema_files(record.manifest, folder), *found.problems]
    return Reading(problems, [*record.warnings, *found.warnings], found.unchecked)


def _schema_files(manifest: Mapping[str, Any], folder: Path) -> Iterator[str]:
    for place, value in _schemas(manifest):
        if isinstance(value, str):
            try:
                json.loads((folder / value).read_text("utf-8"))
            except (OSError, ValueError) as error:
                yield f"{place}: `{value}` is no readable JSON: {error}"


def _schemas(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "config.schema", manifest.get("config", {}).get("schema")
    for tool in manifest.get("contributes", {}).get("tools", ()):
        for key in ("input_schema", "output_schema"):
            yield f"tool `{tool.get('name')}`: {key}", tool.get(key)


# --- writing it from the code -----------------------------------------------------------------------------------------


def code_of(record: PluginRecord) -> dict[str, Any]:
    """What the code of a plugin offers: `{hooks, tools}`.

    Raises:
        PluginLoadError: it cannot be imported, or raised while it was asked.
    """
    package = Path(record.package_path or record.location)
    entry = (record.manifest or {}).get("entry") or f"{package.name}.plugin:Plugin"
    answer = throwaway.ask("pegboard.plugins.describe", str(package.parent), entry)
    if not answer["ok"]:
        raise PluginLoadError(
            f"plugin `{record.id}`: `{entry}` could not be asked what it offers: {answer['reason']}",
            hint=f"peg plugins validate {package}",
            plugin=record.id,
        )
    return answer


def compiled(text: str, code: Mapping[str, Any]) -> str:
    """The text of a manifest with the hooks and tools of the code; everything else in it stays.

    Raises:
        PluginManifestError: the text is not TOML.
    """
    try:
        document: Any = tomlkit.parse(text)
    except tomlkit.exceptions.TOMLKitError as error:
        raise PluginManifestError(f"`{FILE_NAME}` is not TOML: {error}", hint="peg plugins validate") from error
    _compile_hooks(document, code["hooks"])
    if code["tools"] is not None:
        _compile_tools(document, code["tools"])
    return tomlkit.dumps(document)


def left_over(before: str, after: str, folder: Path) -> list[str]:
    """Schema files that one manifest names and the next does not; they are the author's, and would still be shipped."""
    named, still = (
        {value for _, value in _schemas(tomllib.loads(text)) if isinstance(value, str)} for text in (before, after)
    )
    return sorted(name for name in named - still if (folder / name).is_file())


def _compile_hooks(document: Any, hooks: Mapping[str, Mapping[str, Any]]) -> None:
    if not hooks:
        document.pop("hooks", None)
        return
    table = document.setdefault("hooks", tomlkit.table(is_super_table=True))
    for name in [name for name in table if name not in hooks]:
        del table[name]
    for name, options in hooks.items():
        written = table.get(name)
        if written is None or dict(written) != dict(options):
            table[name] = dict(options) or tomlkit.table()


def _compile_tools(document: Any, tools: list[dict[str, Any]]) -> None:
    contributes = document.setdefault("contributes", tomlkit.table(is_super_table=True))
    known = {item["name"]: dict(item) for item in contributes.get("tools", ())}
    array = tomlkit.aot()
    for tool in tools:
        row = {**known.get(tool["name"], {}), **{key: tool[key] for key in ("name", "description", "effect")}}
        if tool["tier"] != "core" or "tier" in row:
            row["tier"] = tool["tier"]
        if not isinstance(row.get("input_schema"), str):  # a schema in a file of its own is the author's
            row["input_schema"] = tomlkit.inline_table()
            row["input_schema"].update(tool["input_schema"])
        array.append(tomlkit.item(row))
    if [dict(item) for item in contributes.get("tools", ())] != [dict(item) for item in array]:
        contributes["tools"] = array


# --- using a folder in place ------------------------------------------------------------------------------------------


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
        raise PluginInstallError(text, hint="peg plugins new") from error
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
        raise PluginInstallError(f"`{folder}` has no package with a `{FILE_NAME}`", hint="peg plugins new")
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
