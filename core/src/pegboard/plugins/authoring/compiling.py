"""Writes the hooks and tools of a manifest from the code, which runs in a process of its own to say what it offers."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit

from pegboard.errors import PluginLoadError, PluginManifestError
from pegboard.plugins.authoring.agreement import schemas
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.discovery.manifest import FILE_NAME
from pegboard.plugins.packages import throwaway

_TABLES_DEEP = 2
"""`[contributes.tools.input_schema.properties]` is a table of its own; what is in one of those is not."""


def code_of(record: PluginRecord) -> dict[str, Any]:
    """What the code of a plugin offers: `{hooks, tools}`.

    Raises:
        PluginLoadError: it cannot be imported, or raised while it was asked.
    """
    package = Path(record.package_path or record.location)
    entry = (record.manifest or {}).get("entry") or f"{package.name}.plugin:Plugin"
    answer = throwaway.ask("pegboard.plugins.authoring.describe", str(package.parent), entry)
    if not answer["ok"]:
        raise PluginLoadError(
            f"plugin `{record.id}`: `{entry}` could not be asked what it offers: {answer['reason']}",
            hint=f"peg plugins validate {package}",
            plugin=record.id,
        )
    return answer


class Compiled(NamedTuple):
    """A manifest as the code has it."""

    text: str
    files: Mapping[str, str]
    """Schema files that are to be written, by their path below the package."""
    differing: tuple[str, ...]
    """Schema files of the author that say something else than the code, in words."""


def compiled(text: str, code: Mapping[str, Any], folder: Path) -> Compiled:
    """The text of a manifest with the hooks and tools of the code; everything else in it stays.

    A schema stays where it is: in the manifest or in a file. A file that is named after its tool, `schemas/TOOL.json`,
    is compiled too; one with another name is the author's and only compared.

    Raises:
        PluginManifestError: the text is not TOML.
    """
    try:
        document: Any = tomlkit.parse(text)
    except tomlkit.exceptions.TOMLKitError as error:
        raise PluginManifestError(f"`{FILE_NAME}` is not TOML: {error}", hint="peg plugins validate") from error
    files: dict[str, str] = {}
    differing: list[str] = []
    _compile_hooks(document, code["hooks"])
    if code["tools"] is not None:
        known = {item["name"]: item.unwrap() for item in document.get("contributes", {}).get("tools", ())}
        rows = [_row(tool, known.get(tool["name"], {}), str(document.get("id", ""))) for tool in code["tools"]]
        _compile_tools(document, rows)
        for row, tool in zip(rows, code["tools"], strict=True):
            name = row["input_schema"]
            if isinstance(name, str) and _stored(folder / name) != tool["input_schema"]:
                if name == own_file(tool["name"], str(document.get("id", ""))):
                    files[name] = json.dumps(tool["input_schema"], indent=2) + "\n"
                else:
                    differing.append(f"`{name}` differs from the code of the tool `{tool['name']}`")
    return Compiled(tomlkit.dumps(document), files, tuple(differing))


def schema_differences(record: PluginRecord) -> list[str]:
    """Input schemas of the manifest, in it or in files, that are not those of the code, in words; the code is run.

    Raises:
        PluginLoadError: it cannot be imported, or raised while it was asked.
    """
    listed = (record.manifest or {}).get("contributes", {}).get("tools", ())
    given = {item["name"]: item["input_schema"] for item in listed if item.get("input_schema")}
    if not given:
        return []
    coded = {tool["name"]: tool["input_schema"] for tool in code_of(record)["tools"] or ()}
    found = []
    for name, said in given.items():
        schema = _stored(Path(record.package_path or "", said)) if isinstance(said, str) else said
        where = f"`{said}`" if isinstance(said, str) else "input_schema"
        if name not in coded:
            found.append(f"tool `{name}`: the code offers no tool of this name")
        elif schema != coded[name]:
            found.append(f"tool `{name}`: {where} differs from the code, so the model would be told something else")
    return found


def own_file(tool: str, plugin: str) -> str:
    """The schema file of a tool that is compiled with the manifest."""
    return f"schemas/{tool.removeprefix(f'{plugin}.')}.json"


def left_over(before: str, after: str, folder: Path) -> list[str]:
    """Schema files that one manifest names and the next does not; they are the author's, and would still be shipped."""
    named, still = (
        {value for _, value in schemas(tomllib.loads(text)) if isinstance(value, str)} for text in (before, after)
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


def _row(tool: Mapping[str, Any], known: Mapping[str, Any], plugin: str) -> dict[str, Any]:
    """A tool as the manifest is to list it."""
    row = {**known, **{key: tool[key] for key in ("name", "description", "effect")}}
    if tool["tier"] != "core" or "tier" in row:
        row["tier"] = tool["tier"]
    if not isinstance(row.get("input_schema"), str):
        # TOML has no null, which is what an argument that may be left out has as its default.
        row["input_schema"] = (
            own_file(tool["name"], plugin) if _has_null(tool["input_schema"]) else tool["input_schema"]
        )
    return row


def _compile_tools(document: Any, rows: list[dict[str, Any]]) -> None:
    contributes = document.setdefault("contributes", tomlkit.table(is_super_table=True))
    if [item.unwrap() for item in contributes.get("tools", ())] == rows:
        return
    array = tomlkit.aot()
    for row in rows:
        array.append(_table(row, depth=0))
    contributes["tools"] = array


def _table(values: Mapping[str, Any], *, depth: int) -> Any:
    """A table that people can read: what is deep in it stands in one line, and an empty line ends it."""
    table = tomlkit.table()
    inner = {key: value for key, value in values.items() if isinstance(value, dict) and depth < _TABLES_DEEP}
    for key, value in values.items():
        if key not in inner:
            table.add(key, _inline(value))
    table.add(tomlkit.nl())
    for key, value in inner.items():
        table.add(key, _table(value, depth=depth + 1))
    return table


def _inline(value: Any) -> Any:
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update({key: _inline(each) for key, each in value.items()})
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend([_inline(each) for each in value])
        return array
    return value


def _has_null(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_has_null, inside))


def _stored(path: Path) -> Any:
    """The schema in a file; `None` where there is none that can be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
