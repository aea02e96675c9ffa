"""What plugins offer: tools, modules and agents by name, with proxies for those of plugins that are not active yet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pegboard.errors import (
    PegboardError,
    PluginCollisionError,
    PluginContributionsError,
    PluginManifestError,
    describe,
)
from pegboard.plugins.discovery.manifest import contributed
from pegboard.plugins.discovery.reserved import TOOLS
from pegboard.regular import read_regular
from pegboard.tools import FunctionTool, check_arguments

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from pegboard.interfaces import Tool, ToolContext
    from pegboard.plugins.peg import Peg
    from pegboard.types import Effect, JsonObject, Tier, ToolResult

Kind = Literal["tools", "modules", "agents"]
KINDS: tuple[Kind, ...] = ("tools", "modules", "agents")
DEFAULT_TOOL_TIMEOUT_S = 120.0
_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MAX_SCHEMA_BYTES = 1024 * 1024


class Offers:
    """What active plugins gave, and what ready ones have announced."""

    def __init__(self) -> None:
        self._given: dict[Kind, dict[str, tuple[Peg, Any]]] = {kind: {} for kind in KINDS}
        self._announced: dict[Kind, dict[str, Peg]] = {kind: {} for kind in KINDS}
        self._proxies: dict[str, Tool] = {}
        self._tools: dict[str, Tool] | None = None
        self._faulty: dict[str, tuple[Peg, PegboardError]] = {}
        """Tools that were given and cannot be offered to a model."""

    def announce(self, peg: Peg, activate: Callable[[str], Awaitable[Tool]]) -> None:
        """Take over what a ready plugin's manifest lists; `activate(name)` is to give the real tool.

        Raises:
            PluginManifestError: a tool's schema cannot be used; in a run it would be everybody's fault.
        """
        proxies = [ToolProxy(peg, item, activate) for item in contributed(peg.record.manifest, "tools")]
        for proxy in proxies:
            proxy.read_schemas()
        self._proxies.update({proxy.name: proxy for proxy in proxies})
        for kind in KINDS:
            for item in contributed(peg.record.manifest, kind):
                self._announced[kind][item["name"]] = peg
        self._tools = None

    def add(self, peg: Peg, kind: Kind, values: Sequence[Any]) -> None:
        """Take over what an active plugin gave, in place of what it gave before.

        A function of which no schema can be made is not offered, and costs its plugin no more than that; see `faulty`.

        Raises:
            PluginContributionsError: other names than the manifest lists, one name twice, what cannot even tell what
                it is, or tools that say something else of themselves than the manifest does.
            PluginCollisionError: another plugin or core has a name already, or a plugin has announced it.
        """
        names = [_name(peg, kind, value) for value in values]
        _compare(peg, kind, names)
        faulty = {}
        if kind == "tools":
            _compare_tools(peg, values)
            faulty = {tool.name: (peg, error) for tool in values if (error := _schema_fault(peg, tool))}
        for name in names:
            other = self.owner(kind, name)
            if other is not None and other is not peg:
                raise _taken(peg, other, kind, name)
        self._forget_given(peg, kind)
        self._given[kind].update({value.name: (peg, value) for value in values if value.name not in faulty})
        for name in faulty:
            self._announced["tools"].pop(name, None)
            self._proxies.pop(name, None)
        self._faulty.update(faulty)
        self._tools = None

    def withdraw(self, peg: Peg) -> None:
        """Forget everything of a plugin."""
        for kind in KINDS:
            self._forget_given(peg, kind)
            for name in [name for name, owner in self._announced[kind].items() if owner is peg]:
                del self._announced[kind][name]
                if kind == "tools":
                    del self._proxies[name]
        self._tools = None

    def owner(self, kind: Kind, name: str) -> Peg | None:
        """The plugin that gave or announced a name."""
        given = self._given[kind].get(name)
        return given[0] if given else self._announced[kind].get(name)

    def faulty(self, peg: Peg) -> dict[str, PegboardError]:
        """The tools of a plugin that cannot be offered, each with the reason."""
        return {name: error for name, (owner, error) in self._faulty.items() if owner is peg}

    def fault(self, kind: Kind, name: str) -> PegboardError | None:
        """Why a tool that a plugin gave is not offered."""
        return self._faulty[name][1] if kind == "tools" and name in self._faulty else None

    def get(self, kind: Kind, name: str) -> Any:
        """What an active plugin gave under a name; else `None`."""
        given = self._given[kind].get(name)
        return given[1] if given else None

    def names(self, kind: Kind) -> dict[str, Peg]:
        """Every name and whose it is, sorted, so that every machine offers the same order to a model."""
        found = {**self._announced[kind], **{name: peg for name, (peg, _) in self._given[kind].items()}}
        return dict(sorted(found.items()))

    def tools(self) -> dict[str, Tool]:
        """Every tool by name."""
        if self._tools is None:
            self._tools = {name: self.get("tools", name) or self._proxies[name] for name in self.names("tools")}
        return self._tools

    def _forget_given(self, peg: Peg, kind: Kind) -> None:
        if kind == "tools":
            self._faulty = {name: found for name, found in self._faulty.items() if found[0] is not peg}
        for name in [name for name, (owner, _) in self._given[kind].items() if owner is peg]:
            del self._given[kind][name]


class ToolProxy:
    """A tool that is known from a manifest; its plugin is activated at the first call."""

    __slots__ = (
        "_activate",
        "_item",
        "_peg",
        "_schemas",
        "description",
        "effect",
        "name",
        "permissions",
        "tier",
        "timeout_s",
    )

    def __init__(self, peg: Peg, item: Mapping[str, Any], activate: Callable[[str], Awaitable[Tool]]) -> None:
        self._peg = peg
        self._item = item
        self._activate = activate
        self._schemas: dict[str, JsonObject | None] = {}
        self.name: str = item["name"]
        self.description: str = item.get("description", "")
        self.effect: Effect = item.get("effect", "unsafe")
        self.tier: Tier = item.get("tier", "core")
        self.timeout_s: float | None = item.get("timeout_s", DEFAULT_TOOL_TIMEOUT_S)
        self.permissions: Mapping[str, tuple[str, ...]] = {
            kind: tuple(values) for kind, values in peg.manifest.get("permissions", {}).items()
        }

    @property
    def input_schema(self) -> JsonObject:
        """JSON Schema of the arguments; any object where the manifest gives none."""
        return self._schema("input_schema") or {"type": "object"}

    @property
    def output_schema(self) -> JsonObject | None:
        """JSON Schema of the result, where the manifest gives one."""
        return self._schema("output_schema")

    def read_schemas(self) -> None:
        """Read both now. Raises `PluginManifestError` when one cannot be used."""
        self._schema("input_schema"), self._schema("output_schema")

    def resources(self, args: Mapping[str, Any]) -> frozenset[str] | None:
        """As for a tool that declares none: what may change something excludes every other call."""
        return None if self.effect == "unsafe" else frozenset()

    async def execute(self, args: Mapping[str, Any], ctx: ToolContext) -> ToolResult:
        """Activate the plugin, and call the real tool with arguments that it has checked itself.

        Raises:
            PluginContributionsError: the real tool has another effect than the one by which this call was judged.
        """
        tool = await self._activate(self.name)
        if self.effect not in (tool.effect, "unsafe"):
            raise _differs(self._peg, "tools", _effect_text(self.name, tool.effect, self.effect))
        call = msgspec.structs.replace(ctx.call, arguments=dict(args))
        return await tool.execute(check_arguments(tool, call), ctx)

    def _schema(self, key: str) -> JsonObject | None:
        if key not in self._schemas:
            self._schemas[key] = read_schema(self._peg, self._item.get(key))
        return self._schemas[key]

    def __repr__(self) -> str:
        return f"<tool {self.name}, not active>"


def read_schema(peg: Peg, source: Any) -> JsonObject | None:
    """A JSON Schema that a manifest gives, in place or as a path inside the package.

    Raises:
        PluginManifestError: the file is missing, no JSON, or outside the package.
    """
    if not isinstance(source, str):
        return source if source else None
    try:
        root = Path(peg.record.package_path or ".").resolve()
        file = (root / source).resolve()
        if not file.is_relative_to(root):
            raise ValueError("it lies outside the package")
        data = json.loads(read_regular(file, _MAX_SCHEMA_BYTES))
        if not isinstance(data, dict):
            raise TypeError("it is no table")
    except (OSError, ValueError, TypeError, RecursionError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise PluginManifestError(
            f"plugin `{peg.id}` ({peg.owner}): its schema `{source}` cannot be used: {reason}",
            plugin=peg.id,
            dist=peg.dist,
            version=peg.version,
        ) from exc
    return data


def _name(peg: Peg, kind: Kind, value: Any) -> str:
    """The name of what a plugin gave; of a tool also whether it can be offered to a model at all."""
    try:
        name, shown = value.name, value.name if isinstance(value.name, str) else type(value.name).__name__
        if kind == "tools" and not isinstance(value, FunctionTool):  # that one has its schema from its annotations
            json.dumps([value.description, value.input_schema, value.output_schema])
    except Exception as exc:
        raise _unusable(peg, kind, f"`{type(value).__name__}` cannot be used: {describe(exc)}") from exc
    if not isinstance(name, str) or (kind == "tools" and not _TOOL_NAME.fullmatch(name)):
        raise _unusable(peg, kind, f"{shown[:80]!r} is no name; it must fit `{_TOOL_NAME.pattern}`")
    if kind == "tools" and name in TOOLS:
        raise PluginCollisionError(
            f"the tool `{name}` of plugin `{peg.id}` ({peg.owner}) has the name of one of pegboard's own",
            hint=f"peg plugins disable {peg.id}",
            plugin=peg.id,
            dist=peg.dist,
            version=peg.version,
        )
    return name


def _schema_fault(peg: Peg, tool: Any) -> PegboardError | None:
    """Why no schema can be made of a function, which otherwise would be found out in the middle of a run."""
    if not isinstance(tool, FunctionTool):
        return None
    try:
        json.dumps(tool.input_schema)
    except Exception as exc:
        error = _unusable(peg, "tools", f"`{tool.name}` cannot be used: {describe(exc)}")
        error.__cause__ = exc
        return error
    return None


def _unusable(peg: Peg, kind: Kind, text: str) -> PluginContributionsError:
    return PluginContributionsError(
        f"plugin `{peg.id}` ({peg.owner}): of its {kind}, {text}", plugin=peg.id, dist=peg.dist, version=peg.version
    )


def _compare(peg: Peg, kind: Kind, names: Iterable[str]) -> None:
    given = list(names)
    listed = {item["name"] for item in contributed(peg.record.manifest, kind)}
    twice = sorted({name for name in given if given.count(name) > 1})
    missing = sorted(listed - set(given))
    extra = sorted(set(given) - listed) if listed else []
    if not (twice or missing or extra):
        return
    parts = [("gives twice", twice), ("does not give", missing), ("gives, unlisted,", extra)]
    text = "; ".join(f"{verb} {', '.join(f'`{name}`' for name in found)}" for verb, found in parts if found)
    raise _differs(peg, kind, f"it {text}")


def _compare_tools(peg: Peg, tools: Iterable[Any]) -> None:
    """A call is judged by the manifest before the code is there, so both must say the same."""
    listed = {item["name"]: item for item in contributed(peg.record.manifest, "tools")}
    for tool in tools:
        item = listed.get(tool.name, {})
        if item.get("effect", tool.effect) != tool.effect:
            raise _differs(peg, "tools", _effect_text(tool.name, tool.effect, item["effect"]))
        if item.get("tier", tool.tier) != tool.tier:
            text = f"`{tool.name}` has the tier `{tool.tier}` in code and `{item['tier']}` in the manifest"
            raise _differs(peg, "tools", text)


def _effect_text(tool: str, coded: str, listed: str) -> str:
    return f"`{tool}` has the effect `{coded}` in code and `{listed}` in the manifest"


def _differs(peg: Peg, kind: Kind, text: str) -> PluginContributionsError:
    return PluginContributionsError(
        f"plugin `{peg.id}` ({peg.owner}): its {kind} differ from its manifest: {text}",
        plugin=peg.id,
        dist=peg.dist,
        version=peg.version,
    )


def _taken(peg: Peg, other: Peg, kind: Kind, name: str) -> PluginCollisionError:
    return PluginCollisionError(
        f"the {kind[:-1]} `{name}` of plugin `{peg.id}` ({peg.owner}) is that of plugin `{other.id}` ({other.owner}), "
        "which keeps it",
        hint=f"peg plugins disable {peg.id}",
        plugin=peg.id,
        dist=peg.dist,
        version=peg.version,
    )
