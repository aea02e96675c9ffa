"""Writes the pages of `docs/reference/` on built-in plugins: their commands, their tools, the API of workflows.

`--check` only compares, as that of `generate.py`, whose sections these pages are made of.
"""

from __future__ import annotations

import ast
import json
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import generate
import pegboard_workflow
from pegboard.cli.app import peg
from pegboard.cli.fields import rows_of
from pegboard_workflow.transforms import NAMED, schema_after, schema_taken

Manifest = Mapping[str, Any]


def manifests() -> Iterator[tuple[Path, Manifest]]:
    """Of each built-in plugin the folder and the manifest, in the order of their ids."""
    paths = generate.ROOT.glob("plugins_builtin/*/*/src/*/pegboard.toml")
    found = [(path.parent, tomllib.loads(path.read_text(encoding="utf-8"))) for path in paths]
    yield from sorted(found, key=lambda pair: str(pair[1]["id"]))


# --- commands ------------------------------------------------------------------------------------------------------


def command_section(name: str, target: str) -> str:
    """What `--help` prints for a command of a plugin."""
    module, _, attribute = target.partition(":")
    context = click.Context(peg, info_name="peg", terminal_width=generate.HELP_WIDTH)
    *groups, last = name.split()
    for group in groups:
        context = click.Context(click.Group(group), context, group, terminal_width=generate.HELP_WIDTH)
    command = getattr(import_module(module), attribute)
    return generate.command_section(click.Context(command, context, last, terminal_width=generate.HELP_WIDTH))


def commands_page() -> str:
    """Every command that a built-in plugin adds."""
    found = [item for _, manifest in manifests() for item in manifest.get("contributes", {}).get("commands", ())]
    with generate.nobodys_settings():
        sections = [command_section(item["name"], item["target"]) for item in found]
    return generate.page(
        "Commands of plugins", "What `--help` prints, for the commands that built-in plugins add to `peg`.", *sections
    )


# --- tools ---------------------------------------------------------------------------------------------------------


def tool_section(folder: Path, tool: Mapping[str, Any]) -> str:
    """A tool with its arguments."""
    limit = f"{tool['timeout_s']} s" if "timeout_s" in tool else "none"
    facts = generate.table(("effect", "limit"), (f"`{tool['effect']}`", limit))
    arguments = json.loads((folder / tool["input_schema"]).read_text(encoding="utf-8"))
    defaults = {name: part["default"] for name, part in arguments.get("properties", {}).items() if "default" in part}
    rows = [
        (f"`{name}`", kind, required, f"`{json.dumps(defaults[name])}`" if name in defaults else "", told)
        for name, kind, required, told in rows_of(arguments)
    ]
    listed = (
        generate.table(("argument", "type", "required", "default", "meaning"), *rows)
        if rows
        else "It takes no arguments."
    )
    return "\n\n".join([f"### `{tool['name']}`", tool["description"], facts, listed])


def tools_page() -> str:
    """Every tool that a built-in plugin offers."""
    blocks = []
    for folder, manifest in manifests():
        tools = manifest.get("contributes", {}).get("tools", ())
        blocks += [f"## Plugin `{manifest['id']}`", f"{manifest['summary']}."] if tools else []
        blocks += [tool_section(folder, tool) for tool in tools]
    return generate.page(
        "Tools",
        "What a model may call when a plugin is on the board, with the arguments of each tool. The effect decides"
        " whether a call is asked for: see [Approve calls](../how-to/approve.md).",
        *blocks,
    )


# --- workflows -----------------------------------------------------------------------------------------------------


def api_section(name: str, module: str) -> str:
    """One name that `pegboard_workflow` exports."""
    body = generate.source_of(module).body
    node = next(item for item in body if getattr(item, "name", None) == name)
    if isinstance(node, ast.ClassDef):
        return generate.class_section(node, f"### `{name}`")
    assert isinstance(node, ast.FunctionDef)
    return generate.function_section(node, f"### `{name}`", body)


def transforms_table() -> str:
    """What each named transform takes, gives and does."""
    rows = [
        (f"`{name}`", _type(schema_taken(name)), _type(schema_after(name, None)), generate.summary(function.__doc__))
        for name, function in NAMED.items()
    ]
    return generate.table(("transform", "takes", "gives", "meaning"), *rows)


def _type(schema: Any) -> str:
    kind = schema.get("type", "any") if isinstance(schema, Mapping) else "any"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def workflow_page() -> str:
    """What a program imports to write workflows, and the transforms."""
    return generate.page(
        "Workflows in Python",
        "What `pegboard_workflow` exports. How workflows are written is in [Workflows](../how-to/workflows.md).",
        *(api_section(name, module) for name, module in sorted(pegboard_workflow._HOMES.items())),
        "## Transforms",
        "Types are those of JSON Schema. A transform that is given another type fails the node; where the type is known"
        " before, `peg workflow check` tells it.",
        transforms_table(),
    )


def pages() -> dict[str, Callable[[], str]]:
    """Every page by its path below `docs/reference/`."""
    return {"plugin-commands.md": commands_page, "tools.md": tools_page, "workflows.md": workflow_page}


if __name__ == "__main__":
    sys.exit(generate.main(sys.argv[1:], pages()))
