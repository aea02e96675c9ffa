"""Imports a plugin that is being written, in a process of its own, and says in JSON what its code offers.

`python -P -m pegboard.plugins.authoring.describe FOLDER ENTRY`, with the folder above the package. `compiling` writes
it into the manifest.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from importlib import import_module
from typing import Any

import msgspec

from pegboard.hookspecs import ImplOptions, options_of
from pegboard.plugins.host import PluginHost


def hooks_of(plugin: object) -> dict[str, dict[str, Any]]:
    """Every marked function of a plugin, with those options that are not the default."""
    found = {}
    for name in dir(plugin):
        options = options_of(getattr(plugin, name, None))
        if options is not None:
            default = msgspec.to_builtins(ImplOptions())
            given: dict[str, Any] = msgspec.to_builtins(options)
            found[name] = {key: value for key, value in given.items() if value != default[key]}
    return found


async def tools_of(plugin: Any) -> list[dict[str, Any]] | None:
    """The tools that a plugin provides; `None` where it has none to provide."""
    if not hasattr(plugin, "provide_tools"):
        return None
    host = PluginHost()
    await host.start()
    context = host.context()
    try:
        if hasattr(plugin, "activate"):
            await _settled(plugin.activate(context))
        wanted = inspect.signature(plugin.provide_tools).parameters
        tools = await _settled(plugin.provide_tools(**({"ctx": context} if "ctx" in wanted else {})))
        return [_tool(tool) for tool in tools or ()]
    finally:
        await host.stop()


async def _settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _tool(tool: Any) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "effect": tool.effect,
        "tier": tool.tier,
    }


def describe(entry: str) -> dict[str, Any]:
    """What the code behind an entry offers, or why that cannot be said."""
    module, _, attribute = entry.partition(":")
    try:
        plugin: Any = import_module(module)
        for part in attribute.split(".") if attribute else ():
            plugin = getattr(plugin, part)
        plugin = plugin() if isinstance(plugin, type) else plugin
        return {"ok": True, "hooks": hooks_of(plugin), "tools": asyncio.run(tools_of(plugin))}
    except BaseException as error:  # an import may raise anything, `SystemExit` too
        return {"ok": False, "reason": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Describe the plugin that the command line names."""
    answer = os.fdopen(os.dup(1), "wb", 0)
    os.dup2(2, 1)
    sys.path.insert(0, sys.argv[1])
    answer.write(msgspec.json.encode(describe(sys.argv[2])) + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
