"""Writes the hooks and tools of a manifest from the code, which runs in a process of its own to say what it offers."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit

from pegboard.errors import PluginLoadError, PluginManifestError
from pegboard.plugins.authoring.agreement import schemas
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.discovery.manifest import FILE_NAME
from pegboard.plugins.packages import throwaway


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
