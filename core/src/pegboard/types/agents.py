"""What an agent is: data, and optionally code of its own."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, TypeAlias, overload

import msgspec

from pegboard.errors import AgentError
from pegboard.types.messages import Json, JsonObject
from pegboard.types.models import DEFAULT_SETTINGS, ModelSettings

if TYPE_CHECKING:
    from typing import Unpack

    from typing_extensions import TypeVar

    from pegboard.interfaces import Module, RunContext, Tool
    from pegboard.model import ModelBase
    from pegboard.types.options import AgentOptions
    from pegboard.types.runs import RunState

    Output = TypeVar("Output", default=Any)
    """What an agent answers with. With the default, `Agent` alone is `Agent[Any]`, as in PEP 696."""
else:
    from typing import TypeVar

    Output = TypeVar("Output")
    ModelBase = Any  # `help()` and `inspect.signature` evaluate the annotations of a struct

AUTO: Final = "auto"
"""The model of agents that name none: what the configuration names, else one that is ready."""
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

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            limit = getattr(self, name)
            if limit is not None and not (isinstance(limit, int | float) and limit >= 0):
                raise AgentError(
                    f"the limit `{name}` is {limit!r}, and must be a number from 0", hint="peg help agent.invalid"
                )


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often one step may be repeated. The plugin that decides is `recover`; this is its limit."""

    attempts: int = 4
    """Of one step with one model; a fallback has attempts of its own, and no step more than 10 in all."""
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
    model: str | ModelBase = AUTO
    instructions: str = ""
    tools: tuple[Any, ...] = ()
    """Tools, typed functions, or names of tools that plugins provide; a name may end in `*`.

    Beside these an agent is offered every tool of the plugins on its board, up to its `tiers`; with `tiers=()` it has
    the tools that are named here and no others.
    """
    modules: tuple[Any, ...] = ()
    tiers: tuple[Tier, ...] = ("core", "toolchain", "toolbelt")
    """The tool tiers that a run may reach."""
    input_schema: JsonObject | None = None
    output: Any = None
    """A type that pydantic can validate, or a JSON Schema; `None` is free text."""
    answer: Any = None
    """What a model is asked for, where `execute` makes the output of it and of what it computes; `None` is `output`."""
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
    workflow: JsonObject | None = None
    """A graph of other agents instead of turns. A plugin that runs workflows makes it, at `registration`, into an agent
    whose `execute` runs the graph; without one the agent is refused."""


_DEFAULT_CONFIG = AgentConfig()


class Agent(Generic[Output]):
    """An agent: its configuration, and where a subclass overrides `execute`, its code.

    Keyword arguments are the fields of `AgentConfig`. One agent may run many times, also at once. For type checkers it
    is `Agent[T]` when its `output` is the type `T`, and `Agent[str]` without one; so is the `RunResult` of its runs.

        agent = Agent("adder", model=model, tools=[add], instructions="You are terse.")
    """

    __slots__ = ("__weakref__", "config")

    execute: ClassVar[Callable[[Any, RunContext, RunState, Turns], Awaitable[RunState]] | None] = None
    """`async def execute(self, ctx, state, turns) -> RunState` in a subclass replaces the turns of the model, for
    agents that compute, delegate or run a graph. `await turns(ctx, state)` does what would have been done."""

    @overload
    def __init__(
        self: Agent[Output],
        name: str | AgentConfig = ...,
        *,
        output: type[Output],
        tools: Sequence[Tool | Callable[..., Any] | str] = ...,
        modules: Sequence[Module | str] = ...,
        **config: Unpack[AgentOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: Agent[str],
        name: str = ...,
        *,
        tools: Sequence[Tool | Callable[..., Any] | str] = ...,
        modules: Sequence[Module | str] = ...,
        **config: Unpack[AgentOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: Agent[Any],
        name: str | AgentConfig = ...,
        *,
        output: Any = ...,
        tools: Sequence[Tool | Callable[..., Any] | str] = ...,
        modules: Sequence[Module | str] = ...,
        **config: Unpack[AgentOptions],
    ) -> None: ...

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

    def using(self, model: str | ModelBase) -> Agent[Output]:
        """The same agent with another model."""
        other = copy.copy(self)
        other.config = msgspec.structs.replace(self.config, model=model)
        return other

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
