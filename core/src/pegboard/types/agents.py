"""What an agent is: data, and optionally code of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import msgspec

from pegboard.types.messages import Json, JsonObject
from pegboard.types.models import DEFAULT_SETTINGS, ModelSettings

if TYPE_CHECKING:
    from pegboard.interfaces import Module, RunContext, Tool
    from pegboard.model import ModelBase
    from pegboard.types.runs import RunState
else:
    ModelBase = Any  # `help()` and `inspect.signature` evaluate the annotations of a struct

Effect = Literal["pure", "idempotent", "keyed", "unsafe"]
Tier = Literal["core", "toolchain", "toolbelt"]
Turns: TypeAlias = "Callable[[RunContext, RunState], Awaitable[RunState]]"


class ContextNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """What context an agent wants, and how much of it."""

    sources: tuple[str, ...] = ()
    min_tokens: int = 0
    optimal_tokens: int | None = None
    max_tokens: int | None = None
    """`None` is `optimal_tokens`."""
    priority: int = 0


class ResourceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Upper limits of one run and all its child runs. `None` is no limit of its own."""

    tokens: int | None = None
    cost_usd: float | None = None
    seconds: float | None = None
    memory_mb: int | None = None
    cpu: float | None = None
    """In cores. Memory and CPU are enforced by isolation plugins only; in-process they are accounting."""
    tool_calls: int | None = None
    requests: int | None = None


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often one step may be repeated. The plugin that decides is `recover`; this is its limit."""

    attempts: int = 4
    repeats_per_run: int = 10


class AgentDependency(msgspec.Struct, frozen=True):
    """Another agent that this one calls."""

    name: str
    version: str = ""
    """A version range as in PEP 440, for example `>=1.2,<2`."""
    required: bool = True


DEFAULT_LIMITS = ResourceLimits()
DEFAULT_RETRY = RetryPolicy()
DEFAULT_NEEDS = ContextNeeds()


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about an agent that is data."""

    name: str = "agent"
    version: str = "0"
    description: str = ""
    model: str | ModelBase = "auto"
    instructions: str = ""
    tools: tuple[Any, ...] = ()
    """Tools, typed functions, or names of tools that plugins provide; a name may end in `*`."""
    modules: tuple[Any, ...] = ()
    tiers: tuple[Tier, ...] = ("core", "toolchain", "toolbelt")
    """The tool tiers that a run may reach."""
    input_schema: JsonObject | None = None
    output: Any = None
    """A type that pydantic can validate, or a JSON Schema; `None` is free text."""
    output_mode: Literal["auto", "native", "tool", "prompt"] = "auto"
    output_retries: int = 2
    quality: Mapping[str, Json] = {}
    """Quality standards by name, for `check_quality` to judge."""
    min_confidence: float = 0.0
    context: ContextNeeds = DEFAULT_NEEDS
    limits: ResourceLimits = DEFAULT_LIMITS
    settings: ModelSettings = DEFAULT_SETTINGS
    max_turns: int = 20
    parallel_tool_calls: int = 10
    dependencies: tuple[AgentDependency, ...] = ()
    conflicts: tuple[AgentDependency, ...] = ()
    capabilities: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    """Names of models, or `agent:NAME`, for recovery to fall back to, in order."""
    required: bool = True
    """As a child run: whether its failure fails the parent."""
    retry: RetryPolicy = DEFAULT_RETRY
    isolation: str = "in-process"


_DEFAULT_CONFIG = AgentConfig()


class Agent:
    """An agent: its configuration, and where a subclass overrides `execute`, its code.

    Keyword arguments are the fields of `AgentConfig`. One agent may run many times, also at once.

        agent = Agent("adder", model=model, tools=[add], instructions="You are terse.")
    """

    __slots__ = ("__weakref__", "config")

    execute: ClassVar[Callable[[Any, RunContext, RunState, Turns], Awaitable[RunState]] | None] = None
    """`async def execute(self, ctx, state, turns) -> RunState` in a subclass replaces the turns of the model, for
    agents that compute, delegate or run a graph. `await turns(ctx, state)` does what would have been done."""

    def __init__(
        self,
        name: str | AgentConfig = "agent",
        *,
        tools: Sequence[Tool | Callable[..., Any] | str] = (),
        modules: Sequence[Module | str] = (),
        **config: Any,
    ) -> None:
        base = name if isinstance(name, AgentConfig) else None
        if base is None:
            self.config = AgentConfig(name=name, tools=tuple(tools), modules=tuple(modules), **config)  # type: ignore[arg-type]  # narrowed by `base`
        elif tools or modules or config:
            both = {"tools": (*base.tools, *tools), "modules": (*base.modules, *modules)}
            self.config = msgspec.structs.replace(base, **both, **config)
        else:
            self.config = base

    @property
    def name(self) -> str:
        """The name it is registered and called by."""
        return self.config.name

    @property
    def version(self) -> str:
        """Its version, as in PEP 440."""
        return self.config.version

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.version}>"
