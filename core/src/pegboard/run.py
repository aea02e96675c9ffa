"""One run from inside: what every phase, turn and call of it shares, and what it needs of its surroundings.

`Run` is the `RunContext` that plugins see. `RunServices` is what a board gives to its runs; the plain one here serves a
runner that is used alone. The order of things is the runner's business.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import msgspec

from pegboard import deadline
from pegboard.budget import Account, share_out, tighter
from pegboard.clock import SYSTEM_CLOCK
from pegboard.counting import ESTIMATE, Counting
from pegboard.errors import (
    AgentError,
    AgentNotFoundError,
    ModelNoneError,
    PegboardError,
    ToolNotFoundError,
)
from pegboard.events import Event, event_of_plugin
from pegboard.history import MessageLog
from pegboard.interfaces import Clock, HostContext, Module, RunRow, Store
from pegboard.journal import Journal, Step
from pegboard.locks import Holder, ResourceLocks
from pegboard.memory import MemoryStore
from pegboard.model import ModelBase, Sink, capabilities_of, normalize
from pegboard.output import StructuredOutput
from pegboard.plugins.dispatch.hooks import Hooks
from pegboard.prices import Prices, cost_of, says_all
from pegboard.signs import storable
from pegboard.spent import count_inside
from pegboard.state import ScopedState
from pegboard.toolbox import NO_TOOLS, BoundTool, Toolbox
from pegboard.tools import as_tool
from pegboard.trouble import Trouble
from pegboard.types import (
    Agent,
    AgentConfig,
    BudgetShare,
    Content,
    ContextBuild,
    Degradation,
    Finding,
    Grant,
    Json,
    JsonObject,
    Message,
    Price,
    Principal,
    ResourceLimits,
    RunResult,
    RunState,
    StreamEvent,
    Tier,
    ToolResult,
    Usage,
    to_json,
)
from pegboard.types.agents import AUTO, DEFAULT_LIMITS
from pegboard.types.models import NO_USAGE

LOCAL = Principal()


NO_PRICES = Prices()


class BoundModule(NamedTuple):
    """A module, and the plugin that provides it with its services; both `None` for one of the host program."""

    module: Module
    owner: str | None = None
    host: HostContext | None = None


CURRENT: ContextVar[Run | None] = deadline.UNDER_WAY
"""The run that is under way in this task, so that a plugin's fault is said in the run that met it."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator allows every run at most; an agent may only be content with less."""

    resources: ResourceLimits | None = None
    turns: int = 20
    verification_returns: int = 3
    step_repeats: int = 3
    run_repeats: int = 10
    parallel_tool_calls: int = 10


class RunServices:
    """What runs need of their surroundings. Without a board: the agent's own tools and model, and no hooks."""

    hooks: Hooks = Hooks()
    explaining: Hooks = hooks
    clock: Clock = SYSTEM_CLOCK
    store: Store | None = None
    workspace: str | None = None
    offload_over_tokens: int = 2000
    bounds: Bounds = Bounds()
    unknown_price: str = "refuse"
    """With a money limit and a model without price: `refuse` or `allow`."""

    def __init__(self) -> None:
        self._blobs = MemoryStore()

    @property
    def blobs(self) -> Store:
        """Where large outputs go; without a store they live as long as the board."""
        return self.store or self._blobs

    async def tools(self, agent: Agent) -> Toolbox:
        """The tools that an agent names, in its order."""
        for given in agent.config.tools:
            if isinstance(given, str):
                raise ToolNotFoundError(f"agent `{agent.name}` names tool `{given}`, and no plugin provides it")
        return Toolbox(BoundTool(as_tool(given)) for given in agent.config.tools)

    async def modules(self, agent: Agent) -> Sequence[BoundModule]:
        """The modules that an agent names."""
        return [BoundModule(module) for module in agent.config.modules if not isinstance(module, str)]

    async def model(self, name: str | ModelBase) -> ModelBase:
        """The model of a name."""
        if isinstance(name, ModelBase):
            return name
        raise ModelNoneError(f"model `{name}` is a name, and only a board can look names up")

    async def agent(self, name: str) -> Agent:
        """The agent of a name."""
        raise AgentNotFoundError(f"agent `{name}` is a name, and only a board can look names up")

    async def find_agent(self, name: str) -> Agent:
        """The agent that a plugin asks for."""
        return await self.agent(name)

    async def prices(self) -> Prices:
        """Every price there is."""
        return NO_PRICES

    async def counting(self, model: str) -> Counting:
        """What counts the tokens for a model."""
        return ESTIMATE

    @property
    def stale(self) -> bool:
        """Whether plugins have new offers."""
        return False

    async def refresh(self) -> None:
        """Have new offers of plugins take effect."""

    async def earlier(self, run: str) -> Journal | None:
        """What an earlier life of a child run recorded."""
        return None

    def charge(self, plugin: str | None, hook: str, error: PegboardError) -> None:
        """Charge a plugin with what core found wrong in its offers; `None` is the host program."""

    def show(self, event: Event) -> None:
        """Show an event to whoever watches now: a plugin that fails or goes is not asked for the rest of a run."""
        if (on_event := self.hooks.on_event) is not None:
            on_event(event)

    def tracking(self, run: Run) -> AbstractContextManager[None]:
        """Let a child run be seen, messaged and cancelled while it lasts."""
        return nullcontext()

    def plugin_digest(self) -> str:
        """A digest of the plugin set, for the record."""
        return ""

    def plugin_versions(self) -> Mapping[str, str]:
        """The version of each plugin, for the record."""
        return {}


class CancelState:
    """Whether somebody wants the run to stop."""

    __slots__ = ("cancelled", "reason", "served")

    def __init__(self) -> None:
        self.cancelled = False
        self.reason: str | None = None
        self.served = False
        """Whether the run has heard of it; a further cancellation is one of the task around it."""


class Run:
    """One execution of one agent on one task."""

    __slots__ = (
        "__weakref__",
        "_account",
        "_cancel",
        "_limits",
        "_scoped",
        "agent",
        "approved",
        "asked_model",
        "builds",
        "clock",
        "confidence",
        "config",
        "context_tokens",
        "conversation",
        "cost_usd",
        "counting",
        "degraded",
        "driver",
        "ended",
        "explain",
        "extending",
        "failed_step",
        "fallbacks",
        "findings",
        "given",
        "history",
        "hooks",
        "inbox",
        "input",
        "instructions",
        "is_over",
        "journal",
        "locks",
        "log",
        "loop_counts",
        "model",
        "modules",
        "output",
        "parent",
        "parent_run",
        "principal",
        "record",
        "replaying",
        "resumed",
        "root",
        "run",
        "services",
        "settings",
        "sink",
        "start_child",
        "started",
        "state",
        "target",
        "task",
        "tier",
        "tier_granted",
        "tier_wanted",
        "tools",
        "troubles",
        "turn",
        "unfinished",
        "unpriced",
        "usage",
        "wants_final_answer",
        "workspace",
    )

    def __init__(
        self,
        agent: Agent,
        services: RunServices,
        *,
        input: Json,
        given: Any,
        task: str,
        history: Sequence[Message],
        start_child: Callable[..., Awaitable[RunResult]],
        run: str | None = None,
        parent: Run | None = None,
        conversation: str | None = None,
        principal: Principal = LOCAL,
        workspace: str | None = None,
        model: str | ModelBase | None = None,
        limits: ResourceLimits | None = None,
        explain: bool = False,
        target: str | None = None,
        sink: Sink | None = None,
        journal: Journal | None = None,
    ) -> None:
        if model is None and parent is not None and agent.config.model == AUTO:
            model = parent.asked_model
        self.agent = agent if model is None else agent.using(model)
        self.asked_model: str | ModelBase | None = model
        """What was said of this run, whatever its agent names."""
        self.config: AgentConfig = self.agent.config
        self.services = services
        self.clock = services.clock
        self.explain = explain
        self.target = target
        self.hooks: Hooks = services.explaining if explain else services.hooks
        self.run = run or os.urandom(16).hex()
        self.parent_run = parent
        self.parent = parent.run if parent else None
        self.root: str = parent.root if parent else self.run
        self.conversation = conversation
        self.principal: Principal = parent.principal if parent else principal
        self.workspace: str | None = workspace or (parent.workspace if parent else services.workspace)
        self._cancel: CancelState | None = None
        self.replaying = self.resumed = journal is not None
        self.input = input
        self.given = given
        self.task = task
        self.history = history
        self.log = MessageLog(history)
        self.inbox: list[Message] = []
        self.sink = sink
        self.driver: asyncio.Task[Any] | None = None
        self.ended: asyncio.Event | None = None
        self.is_over = False
        """Whether it has come to its end, also while a reader of its stream has not."""
        self.start_child = start_child
        self.locks: ResourceLocks | None = parent.locks if parent else None
        self.extending: asyncio.Lock | None = None
        self.usage = NO_USAGE
        self.cost_usd: float | None = 0.0
        self.unpriced: tuple[str, ...] = ()
        self.degraded: tuple[Degradation, ...] = ()
        self.findings: tuple[Finding, ...] = ()
        self.confidence: float | None = None
        self.state: RunState | None = None
        """As the last phase that succeeded left it."""
        self.model: ModelBase | None = None
        self.modules: Sequence[Module] = ()
        self.tools: Toolbox = NO_TOOLS
        self.counting = ESTIMATE
        self.tier: Tier = "core"
        self.tier_wanted: Tier | None = None
        self.approved: frozenset[tuple[str, ...]] = frozenset()
        """What a person granted for the rest of this run: verb, tool, and the plugins that asked."""
        self.tier_granted: Tier | None = None
        """What the gate has let pass and is not switched on yet."""
        self.turn = 0
        self.wants_final_answer = False
        self.failed_step: Step | None = None
        self.troubles: dict[str, Trouble] = {}
        self.fallbacks: list[str] = []
        self.unfinished: tuple[Content, ...] = ()
        """An answer that was cut or refused, until it is clear whether another one takes its place."""
        self.loop_counts: dict[tuple[str, bytes], tuple[int, str]] | None = None
        self.settings = self.config.settings
        self.instructions: str | None = None
        self.output: StructuredOutput | None = None
        self.builds: tuple[ContextBuild, ...] = ()
        self.context_tokens: int | None = None
        self._scoped: ScopedState | None = None
        self._account: Account | None = None
        bounds = services.bounds.resources if parent is None else None
        self._limits = limits if bounds is None else bounds if limits is None else tighter(limits, bounds)
        self.journal = journal or self._new_journal()
        # Not a method of this run: a cycle would keep it until the garbage collector comes by.
        watch = None if services.hooks.on_event is None else services.show
        self.journal.attach(watch, self._redacted if self.hooks.redact is not None else None)
        self.record = self.journal.emit  # bound once: some twenty calls a run go through it
        self.started = self.clock.monotonic()

    # --- what plugins see

    @property
    def cancel(self) -> CancelState:
        """Whether somebody wants the run to stop."""
        if self._cancel is None:
            self._cancel = CancelState()
        return self._cancel

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` says so, without making one to find out."""
        return self._cancel is not None and self._cancel.cancelled

    @property
    def is_ending(self) -> bool:
        """Whether it is to stop or its time is over, here or above; so that no tool can hide it by `uncancel`."""
        run: Run | None = self
        while run is not None:
            if run.is_cancelled or (run.driver is not None and run.driver.cancelling()):
                return True
            run = run.parent_run
        left = self.seconds_left
        return left is not None and left <= 0

    @property
    def budget(self) -> Account:
        """The account of this run in the budget tree."""
        if self._account is None:
            self._account = self._open_account()
        return self._account

    @property
    def is_bounded(self) -> bool:
        """Whether any limit of the budget tree holds for this run; no account is opened to find out."""
        if self._account is None and self._limits is None and self.parent_run is None:
            return self.config.limits is not DEFAULT_LIMITS and self.budget.bound
        return self.budget.bound

    @property
    def seconds_left(self) -> float | None:
        """Wall clock that is left to this run and those above it; `None` is no limit."""
        if self._limits is None and self.parent_run is None and self.config.limits.seconds is None:
            return None
        return self.budget.remaining("seconds")

    @property
    def has_scoped(self) -> bool:
        """Whether anything was put into `scoped`."""
        return self._scoped is not None

    @property
    def scoped(self) -> ScopedState:
        """Values with a time to live, and nested states."""
        if self._scoped is None:
            self._scoped = ScopedState(self.clock)
        return self._scoped

    def emit(self, kind: str, data: JsonObject) -> None:
        """Write an event of a plugin; what core itself says goes to `record`, which checks nothing."""
        self.record(kind, event_of_plugin(kind, data))

    async def step(self, op: str, params: Json, call: Callable[[], Awaitable[Any]]) -> Any:
        """Do what must not happen twice by accident; its result is plain JSON."""

        async def live() -> Any:
            self.replaying = False
            return await call()

        return await self.journal.step(f"plugin:{op}", params, live, partial(count_inside, self))

    async def wait(self, seconds: float) -> None:
        """Wait on the run's clock; the time limit of a hook stands still meanwhile."""
        await deadline.held(self.clock.sleep(seconds))

    async def call_agent(self, agent: str | Agent, task: str, **options: Any) -> RunResult:
        """A child run, under this run's budget and policy. Options: `inputs`, `required`, `limits`."""
        return await self.start_child(self, agent, task, **options)

    async def find_agent(self, name: str) -> Agent:
        """The agent of a name."""
        return await self.services.find_agent(name)

    async def allocate(self, shares: Sequence[BudgetShare], total: int) -> Sequence[Grant]:
        """What each of several agents gets of `total` tokens, by a plugin's rule or by core's."""
        layer = self.hooks.allocate_budget
        grants = await layer(self, shares, total) if layer is not None else None
        if grants is not None and sum(grant.tokens for grant in grants) <= total:
            return grants
        return share_out(shares, total)

    async def read_blob(self, ref: str, start: int = 0, size: int | None = None) -> bytes:
        """A slice of an output that was too long to show."""
        return await self.services.blobs.get_blob(ref, start, size)

    # --- what the runner uses

    def tool_results(self, results: Sequence[ToolResult]) -> None:
        """Put the results of a turn's calls into the history, and show them to whoever streams."""
        self.log.append(Message("tool", tuple(results)))
        if self.sink is not None:
            for result in results:
                self.sink.put(StreamEvent("tool_result", result, run=self.run))

    async def use(self, model: ModelBase) -> None:
        """Go on with a model; an output is asked for in the way that it can."""
        layer = self.hooks.model_use
        model = model if layer is None else await layer(self, model)
        self.model, self.output = model, None
        if model.why:
            self.record("model.chosen", {"model": model.id, "why": model.why})
        if self.config.output is not None or self.config.answer is not None:
            can = capabilities_of(model)
            self.output = StructuredOutput(self.config, can, has_tools=bool(self.tools))

    async def equip(self) -> None:
        """Have the tools and modules of the agent at hand; also anew, when what is offered or the agent has changed."""
        self.tools = await self.services.tools(self.agent)
        if not self.config.modules:
            return
        for bound in await self.services.modules(self.agent):
            if not any(bound.module is known for known in self.modules):
                self.modules = [*self.modules, bound.module]  # before: `cleanup` also follows a failure
                await bound.module.initialize(self)
            for tool in bound.module.tools():
                if tool.name in self.tools:
                    raise AgentError(
                        f"agent `{self.config.name}`: module `{bound.module.name}` brings tool `{tool.name}`, "
                        "which is there already"
                    )
                self.tools = self.tools.plus(BoundTool(tool, "core", bound.owner, bound.host))

    def degrade(self, what: str, why: str, *, plugin: str | None = None, code: str | None = None) -> None:
        """Something was skipped, cut, replaced or unavailable: said in the result and as an event."""
        entry = Degradation(what=what, why=why, plugin=plugin, code=code)
        if entry not in self.degraded:
            self.degraded = (*self.degraded, entry)
            self.record("run.degraded", {"what": what, "why": why, "code": code}, plugin)

    def left_behind(self, what: str) -> None:
        """Say that something did not stop when it was cancelled, since it may still be at work."""
        if what:
            self.degrade(what, f"it did not stop within {deadline.GRACE_S:g} s and was left behind")

    def charge(self, **amounts: float | None) -> None:
        """Count against the budget what an earlier life of the run used."""
        if self.is_bounded:
            known: dict[Any, float] = {unit: amount for unit, amount in amounts.items() if amount is not None}
            self.budget.charge(known)

    def restart(self, cause: str, attempt: int = 1) -> None:
        """Tell whoever streams that what an attempt showed is void."""
        if self.sink is not None:
            data = {"cause": cause, "attempt": attempt, "model": self.model.id if self.model else None}
            self.sink.put(StreamEvent("restart", None, run=self.run, attempt=attempt, data=data))

    async def price_of(self, model: str, messages: Sequence[Message], parts: Sequence[Content] = ()) -> Price | None:
        """The price of a request and its answer, or `None` when it is not known."""
        if self.services.hooks.provide_prices is None:
            return None
        price = (await self.services.prices()).find(model, self.clock.time())
        return price if price is None or says_all(price, messages, parts) else None

    async def account_for(
        self, usage: Usage, model: str, messages: Sequence[Message] = (), parts: Sequence[Content] = ()
    ) -> float | None:
        """Add the usage and cost of a request to the run; the cost, or `None` when it is not known."""
        self.usage = self.usage + usage
        cost = cost_of(await self.price_of(model, messages, parts), usage)
        if cost is None:
            if model not in self.unpriced:
                self.add_unpriced(model)
            self.cost_usd = None
        elif self.cost_usd is not None:
            self.cost_usd += cost
        return cost

    def add_usage(self, result: RunResult) -> None:
        """Add the usage and cost of a child run to the run."""
        self.usage = self.usage + result.usage
        self.add_unpriced(*result.unpriced_models)
        if result.cost_usd is None:
            self.cost_usd = None
        elif self.cost_usd is not None:
            self.cost_usd += result.cost_usd

    def add_unpriced(self, *models: str) -> None:
        """Models whose cost is not known."""
        self.unpriced = tuple(sorted({*self.unpriced, *models}))

    def descends_from(self, other: Holder) -> bool:
        """Whether `other` is a proper ancestor of this run."""
        run = self.parent_run
        while run is not None:
            if run is other:
                return True
            run = run.parent_run
        return False

    def result(self, **fields: Any) -> RunResult:
        """What the run came to so far."""
        return RunResult(
            run=self.run,
            agent=self.config.name,
            messages=self.log.view(),
            usage=self.usage,
            cost_usd=self.cost_usd if self.usage.requests else 0.0,
            unpriced_models=self.unpriced,
            confidence=self.confidence,
            degraded=self.degraded,
            findings=self.findings,
            turns=self.turn,
            journal=self.journal,
            **fields,
        )

    def _open_account(self) -> Account:
        limits = self.config.limits
        if self._limits is not None:
            limits = tighter(limits, self._limits)
        parent = self.parent_run.budget if self.parent_run else None
        return Account(limits, self.clock, parent=parent, name=self.run, warn=self._warn)

    def _warn(self, account: str, unit: str, share: float, limit: float) -> None:
        self.record("budget.warning", {"account": account, "unit": unit, "share": round(share, 3), "limit": limit})

    def options(self) -> dict[str, Any]:
        """What the run was started with beside its input; another life of it begins with the same."""
        return {
            "conversation": self.conversation,
            "principal": self.principal,
            "workspace": self.workspace,
            "model": self.asked_model if isinstance(self.asked_model, str) else None,
            "limits": self._limits,
            "explain": self.explain,
            "target": self.target,
        }

    def _new_journal(self) -> Journal:
        row = RunRow(
            run=self.run,
            root=self.root,
            parent=self.parent,
            agent=self.config.name,
            task=self.task if len(self.task) <= 200 else self.task[:199] + "…",
            input=self._kept_input() if self.services.store else None,
            plugin_digest=self.services.plugin_digest(),
            at=self.clock.time(),
        )
        return Journal(row, self.clock, store=self.services.store)

    def _kept_input(self) -> Json:
        said = isinstance(self.input, str) and not isinstance(self.given, str)  # messages; `input` is only their text
        messages = storable(to_json(normalize(self.given))) if said else None
        history = to_json(self.history)
        options = to_json(self.options())
        return {"inputs": self.input, "messages": messages, "history": history, "options": options, **self._graph()}

    def _graph(self) -> JsonObject:
        """The graph of an agent out of a file, which may be another one when the run is gone on with."""
        is_of_file = self.target is not None and os.path.isabs(self.target)  # noqa: PTH117  # `pathlib` is dear
        return {"workflow": self.config.workflow} if is_of_file and self.config.workflow is not None else {}

    async def _redacted(self, value: Json) -> Json:
        return await redacted(self, value, "event")

    def __repr__(self) -> str:
        return f"<run {self.run} of {self.config.name}>"


async def redacted(run: Run, value: Json, sink: str) -> Json:
    """A value without what must not be seen there."""
    layer = run.hooks.redact
    return value if layer is None else await layer(run, value, sink)
