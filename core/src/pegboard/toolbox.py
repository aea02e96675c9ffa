"""The tools of an agent: by name, by tier, and as its model is told of them.

A board makes one toolbox for each agent and hands it to all runs of it, so that a run costs the same with one tool or a
hundred. Which tools an agent has, and when a higher tier is switched on, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from pegboard.errors import ToolDefinitionError, describe
from pegboard.interfaces import HostContext, Tool
from pegboard.tools import TOOL_PARTS, FunctionTool, spec_for
from pegboard.types import Tier, ToolSpec

TIERS: Final[tuple[Tier, ...]] = ("core", "toolchain", "toolbelt")


class BoundTool(NamedTuple):
    """A tool as runs see it."""

    tool: Tool
    tier: Tier = "core"
    """When it is offered; what an agent names itself is offered from the start, whatever its tier."""
    owner: str | None = None
    """The plugin that provides it; `None` for the host program."""
    host: HostContext | None = None
    """That plugin's services."""


class Toolbox(Mapping[str, BoundTool]):
    """Tools by name. It never changes, and what is asked of it is worked out once."""

    __slots__ = ("_names", "_specs", "_tools", "faulty")

    def __init__(self, tools: Iterable[BoundTool] = ()) -> None:
        self.faulty: dict[str, ToolDefinitionError] = {}
        """Tools that no model can be told of, by name."""
        self._tools = {bound.tool.name: bound for bound in tools if self._is_whole(bound)}
        self._names: dict[Tier, tuple[str, ...]] = {}
        self._specs: dict[Tier, tuple[ToolSpec, ...]] = {}

    def names(self, tier: Tier) -> tuple[str, ...]:
        """Names of the tools up to a tier; new tiers come last, so that a cached prefix survives."""
        known = self._names.get(tier)
        if known is None:
            reach = TIERS[: TIERS.index(tier) + 1]
            known = tuple(name for level in reach for name, bound in self._tools.items() if bound.tier == level)
            self._names[tier] = known
        return known

    def specs(self, tier: Tier) -> tuple[ToolSpec, ...]:
        """What a model is told of the tools up to a tier; what cannot be told is left out, and listed in `faulty`."""
        known = self._specs.get(tier)
        if known is None:
            specs = map(self._spec, self.names(tier))
            known = self._specs[tier] = tuple(spec for spec in specs if spec is not None)
        return known

    def _spec(self, name: str) -> ToolSpec | None:
        try:
            return spec_for(self._tools[name].tool)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            text = f"tool `{name}` cannot be described: {type(exc).__name__}: {describe(exc)}"
            self.faulty[name] = exc if isinstance(exc, ToolDefinitionError) else ToolDefinitionError(text)
            return None

    def plus(self, *others: BoundTool) -> Toolbox:
        """A toolbox with more."""
        more = Toolbox([*self._tools.values(), *others])
        more.faulty.update(self.faulty)
        return more

    def _is_whole(self, bound: BoundTool) -> bool:
        """Whether everything that a run must know of a tool can be read; else it is listed in `faulty`."""
        if isinstance(bound.tool, FunctionTool):
            return True
        name, part = type(bound.tool).__name__, "name"
        try:
            name = bound.tool.name
            for part in TOOL_PARTS:
                getattr(bound.tool, part)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            whose = f" of plugin `{bound.owner}`" if bound.owner else ""
            text = f"tool `{name}`{whose} cannot be used: its `{part}` raised {type(exc).__name__}: {describe(exc)}"
            self.faulty[name] = ToolDefinitionError(text, hint="peg help tool.invalid", plugin=bound.owner)
            return False
        return True

    def __getitem__(self, name: str) -> BoundTool:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)


NO_TOOLS: Final = Toolbox()
