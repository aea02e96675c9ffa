"""`Pegboard`: the embedding API. Builds a board of plugins, runs agents on it, and owns every lifetime.

How a run goes is the runner's business, how plugins live the host's; the terminal is not known here.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack
from weakref import WeakKeyDictionary

import msgspec

from pegboard.agent import AgentRegistry, check_agent
from pegboard.clock import SYSTEM_CLOCK
from pegboard.conversation import ConversationManager
from pegboard.errors import (
    BoardClosedError,
    EngineNotDurableError,
    RunBusyError,
    RunningLoopError,
    RunNotFoundError,
    describe,
)
from pegboard.events import EventLog
from pegboard.interfaces import Clock, HostContext, Module, Store, Tool
from pegboard.journal import Journal
from pegboard.lazy import LazyModule
from pegboard.model import Inputs, ModelBase
from pegboard.plugins.hooks import Hooks
from pegboard.run import CURRENT, BoundModule, Bounds, BoundTool, Run, RunServices, inputs_of
from pegboard.runner import AgentRunner
from pegboard.state import loop_state
from pegboard.tools import as_tool
from pegboard.types import (
    Agent,
    Json,
    JsonObject,
    Message,
    PriceTable,
    Principal,
    ResourceLimits,
    RunResult,
    StreamEvent,
)

if TYPE_CHECKING:
    import pathlib
    from pathlib import Path

    from pegboard import config as settings
    from pegboard.config import Config
    from pegboard.plugins import host
    from pegboard.plugins.attribution import CallRecord
else:
    # Not before the first board: finding, judging and loading plugins costs more than all the rest of core.
    pathlib = LazyModule("pathlib")
    settings = LazyModule("pegboard.config")
    host = LazyModule("pegboard.plugins.host")

T = TypeVar("T")
KEPT_RUNS = 32
"""How many ended runs a board remembers for `resume` and `state`; with 256 each new run costs a tenth more, since
the memory that the oldest one frees has left the processor's caches by then."""


class RunOptions(TypedDict, total=False):
    """What may be said of one run, beside agent and input."""

    history: Sequence[Message]
    """What was said before."""
    run: str
    """An id of yours; starting one twice is refused."""
    conversation: str
    principal: Principal
    workspace: str
    limits: ResourceLimits
    """Tighter limits than those of the agent and the configuration."""
    explain: bool
    """Record every call of every hook, what it took and what it changed."""
    durable: bool
    """Refuse to run when the store would not survive the process."""


class Pegboard:
    """A board of plugins on which agents run.

    As a library it loads nothing by itself: name plugins, or say `autoload=True` to have every installed one.

        async with Pegboard(plugins=[MyPlugin()]) as board:
            result = await board.run(Agent(model=model, tools=[add]), "What is one plus two?")

    Args:
        plugins: plugin objects or classes
        autoload: also every installed plugin that is not switched off, as the command line does
        agents: agents that can be run by name
        model: the model of agents that name none: a model or a name
        config: settings; a mapping is the highest layer over files and environment only when `autoload` is on
        store: where runs are kept; by default the driver that the configuration names, else memory
        workspace: the folder that tools work in
        folders: plugin folders under development, each with a `pegboard.toml`
        strict: raise what a plugin raises instead of isolating it, for tests
        clock: the time, for tests
    """

    def __init__(
        self,
        *,
        plugins: Sequence[object] = (),
        autoload: bool = False,
        agents: Sequence[Agent] = (),
        model: str | ModelBase | None = None,
        config: Config | Mapping[str, Any] | None = None,
        store: Store | None = None,
        workspace: str | Path | None = None,
        folders: Sequence[str | Path] = (),
        strict: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.config = _config(config, autoload)
        self.agents = AgentRegistry()
        self.conversations = ConversationManager(self)
        self.log = EventLog("board")
        self.clock = clock
        self._workspace = str(workspace) if workspace is not None else None
        self._given_agents = tuple(agents)
        self.plugins = host.PluginHost(
            plugins,
            autoload=autoload,
            folders=folders,
            config=self.config,
            clock=clock,
            strict=strict,
            on_state=self._on_state,
            on_fault=self._on_fault,
            on_called=self._on_called,
            workspace=lambda: self._workspace or pathlib.Path.cwd(),
        )
        self._services = BoardServices(self, model if model is not None else self.config.get("model"), store)
        self._runner = AgentRunner(services=self._services)
        self._active: dict[str, Run] = {}
        self._ended: OrderedDict[str, Run] = OrderedDict()
        self._open = False
        self._loop_runner: asyncio.Runner | None = None
        self._thread = 0

    # --- life

    async def start(self) -> Self:
        """Open the board: plugins that start with it are active afterwards."""
        if self._open:
            return self
        try:
            await self.plugins.start()
            self._services.attach(self.plugins.hooks, self.plugins.dispatcher.explaining)
            for agent in self._given_agents:
                await self.add_agent(agent)
        except BaseException:
            await self.plugins.stop()
            raise
        self._open = True
        return self

    async def aclose(self) -> None:
        """Cancel what still runs, close models, deactivate plugins."""
        if not self._open:
            return
        self._open = False
        for run in list(self._active):
            await self.cancel(run, "the board closes")
        await self.plugins.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self._sync(self.start(), "async with Pegboard() as board: …")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close a board that was used through the sync API."""
        if self._loop_runner is not None:
            self._loop_runner.run(self.aclose())
            self._loop_runner.close()
            self._loop_runner = None

    # --- runs

    async def run(
        self, agent: Agent | str, inputs: Inputs | Json = None, *, check: bool = True, **options: Unpack[RunOptions]
    ) -> RunResult:
        """Run an agent to its end.

        Args:
            agent: an agent, the name of one, or with no `inputs` the task for the default agent
            inputs: text, messages, or JSON that fits the agent's input schema
            check: raise when the run did not complete; else the result says so
            options: `history`, `run` (an id of yours; starting one twice is refused), `conversation`, `principal`,
                `workspace`, `limits`, `explain`, `durable`

        Raises:
            PegboardError: the run did not complete its task; `error.run` is the result so far.
        """
        run = await self._new_run(agent, inputs, options)
        result = await self.drive(run)
        return result.raise_for_error() if check else result

    def run_sync(
        self, agent: Agent | str, inputs: Inputs | Json = None, *, check: bool = True, **options: Unpack[RunOptions]
    ) -> RunResult:
        """The same without `await`, on an event loop that the board keeps; for one thread, outside of any loop.

        Raises:
            RunningLoopError: an event loop is running here; the hint says what to write instead.
        """
        return self._sync(self._started_run(agent, inputs, check, options), "await board.run(…)")

    async def stream(
        self, agent: Agent | str, inputs: Inputs | Json = None, **options: Unpack[RunOptions]
    ) -> AsyncGenerator[StreamEvent, None]:
        """The same run as events: text as it comes, tool calls, and one final event with the `RunResult`, also when
        the run failed. Closing the iterator cancels the run.
        """
        run = await self._new_run(agent, inputs, options)
        async with aclosing(self.events(run)) as events:
            async for event in events:
                yield event

    async def resume(self, run: str, *, check: bool = True) -> RunResult:
        """Go on with a run that was interrupted: recorded steps are read back, the first missing one is done.

        Raises:
            RunNotFoundError: neither this board nor its store knows the run.
            RunBusyError: it is running.
        """
        self._check_open()
        if run in self._active:
            raise RunBusyError(f"run `{run}` is running", hint="peg help run.busy", run=run)
        again = await self._again(run)
        result = await self.drive(again)
        return result.raise_for_error() if check else result

    async def cancel(self, run: str, reason: str | None = None) -> None:
        """Ask a run to stop and wait until it has. It ends with `cancelled`, a valid history, and can be resumed."""
        found = self._find(run)
        if run not in self._active or found.is_over:
            return
        found.ended = found.ended or asyncio.Event()
        if not found.cancel.cancelled:  # once: a second one would cut its closing short
            found.cancel.cancelled, found.cancel.reason = True, reason
            if found.driver is not None:
                found.driver.cancel()
        if found.driver is not asyncio.current_task():
            await found.ended.wait()

    def send(self, run: str, message: str | Message) -> None:
        """Queue a message into a running run; it is shown to the model at the next turn.

        Raises:
            RunNotFoundError: the run is not running.
        """
        found = self._active.get(run)
        if found is None:
            raise RunNotFoundError(f"run `{run}` is not running", hint="peg help run.not_found")
        found.inbox.append(Message.user(message) if isinstance(message, str) else message)

    def state(self, run: str) -> JsonObject:
        """A run as the `LoopState` view: phase, task, events, current action, last error, step count, tool tier."""
        found = self._find(run)
        return loop_state(found.journal.events, found.task)

    @property
    def durable(self) -> bool:
        """Whether runs are kept where they outlive the process, so that another one can resume them."""
        return self._services.store is not None and self._services.store.durable

    @property
    def running(self) -> Sequence[str]:
        """The runs that are under way."""
        return tuple(self._active)

    # --- agents and models

    async def add_agent(self, agent: Agent, *, owner: str | None = None) -> Agent:
        """Register an agent, so that it can be run by name; the agent as `registration` left it."""

        async def body(_: Any, given: Agent) -> Agent:
            self.agents.add(given, owner=owner)
            self.agents.resolve(given)
            return given

        layer = self.hooks.registration
        added = await (layer(self.host_context, agent, body) if layer is not None else body(None, agent))
        self._services.known[added] = None
        return added

    async def find_agent(self, agent: Agent | str | None) -> Agent:
        """An agent by name, or the default one."""
        if isinstance(agent, Agent):
            return await self._services.registered(agent)
        if agent is None:
            return await self._default_agent()
        if agent not in self.agents and agent in self.plugins.agents():
            await self.add_agent(await self.plugins.agent(agent), owner=self.plugins.owner("agent", agent))
        return self.agents.get(agent)

    async def model(self, name: str | ModelBase) -> ModelBase:
        """A model by name, alias or `provider:name`; the board closes it at its end."""
        return await self._services.model(name)

    # --- for the rooms below

    @property
    def hooks(self) -> Hooks:
        """The hooks that are called."""
        return self._services.hooks

    @property
    def host_context(self) -> HostContext:
        """The board's own context, for hooks that belong to no run."""
        context: HostContext = self.plugins.context()
        return context

    def prepare(self, agent: Agent, inputs: Inputs | Json, **options: Any) -> Run:
        """A run that has not begun."""
        self._check_open()
        if options.pop("durable", False) and not self.durable:
            raise EngineNotDurableError(
                "a durable run was asked for and the store does not survive the process",
                hint="peg plugins list --all",
            )
        run = self._runner.prepare(agent, inputs, **options)
        if run.run in self._active:
            raise RunBusyError(f"run `{run.run}` is running", hint="peg help run.busy", run=run.run)
        return run

    async def drive(self, run: Run) -> RunResult:
        """Take a run to its end."""
        self._began(run)
        try:
            return await self._runner.drive(run)
        finally:
            self._has_ended(run)

    async def events(self, run: Run) -> AsyncGenerator[StreamEvent, None]:
        """Take a run to its end as a stream."""
        with self.tracking(run):
            async with aclosing(self._runner.stream(run)) as events:
                async for event in events:
                    yield event

    @contextmanager
    def tracking(self, run: Run) -> Iterator[None]:
        """Let a run be seen, messaged and cancelled while it lasts, and be resumed afterwards."""
        self._began(run)
        try:
            yield
        finally:
            self._has_ended(run)

    # --- inside

    def _began(self, run: Run) -> None:
        self._active[run.run] = run
        self._ended.pop(run.run, None)

    def _has_ended(self, run: Run) -> None:
        self._active.pop(run.run, None)
        self._ended[run.run] = run
        if len(self._ended) > KEPT_RUNS:
            self._ended.popitem(last=False)
        if run.ended is not None:
            run.ended.set()

    async def _new_run(self, agent: Agent | str, inputs: Inputs | Json, options: RunOptions) -> Run:
        self._check_open()
        unknown = options.keys() - RunOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"a run has no option `{', '.join(sorted(unknown))}`; see `pegboard.runtime.RunOptions`")
        if inputs is None and isinstance(agent, str):
            return self.prepare(await self._default_agent(), agent, **options)
        return self.prepare(await self.find_agent(agent), "" if inputs is None else inputs, **options)

    async def _default_agent(self) -> Agent:
        named = self.config.get("agent")
        return await self.find_agent(named) if named else self._services.default_agent

    async def _started_run(
        self, agent: Agent | str, inputs: Inputs | Json, check: bool, options: RunOptions
    ) -> RunResult:
        await self.start()
        return await self.run(agent, inputs, check=check, **options)

    async def earlier(self, run: str) -> Journal | None:
        """What an earlier life of a run recorded here or in the store."""
        if run in self._ended:
            return self._ended[run].journal.again()
        if self._services.store is None:
            return None
        try:
            return await Journal.load(self._services.store, run, self.clock)
        except RunNotFoundError:
            return None

    async def _again(self, run: str) -> Run:
        journal = await self.earlier(run)
        if journal is None:
            raise RunNotFoundError(f"no run `{run}` on this board or in its store", hint="peg help run.not_found")
        before = self._ended.get(run)
        if before is not None:
            options = {"history": before.history, **before.options()}
            return self.prepare(before.agent, before.given, run=run, journal=journal, **options)
        inputs, options = inputs_of(journal.row)
        return self.prepare(await self.find_agent(journal.row.agent), inputs, run=run, journal=journal, **options)

    def _find(self, run: str) -> Run:
        found = self._active.get(run) or self._ended.get(run)
        if found is None:
            raise RunNotFoundError(f"no run `{run}` on this board", hint="peg help run.not_found")
        return found

    def _check_open(self) -> None:
        if not self._open:
            raise BoardClosedError(
                "the board is not open; use it inside `async with Pegboard() as board`", hint="peg help board.closed"
            )

    def _sync(self, work: Coroutine[Any, Any, T], instead: str) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._loop_runner is None:
                self._loop_runner, self._thread = asyncio.Runner(), threading.get_ident()
            if self._thread == threading.get_ident():
                return self._loop_runner.run(work)
            work.close()
            raise RunningLoopError(
                "the sync API of a board belongs to the thread that called it first", hint="peg help board.running_loop"
            ) from None
        work.close()
        raise RunningLoopError("the sync API was called inside a running event loop", hint=instead)

    def _on_state(self, plugin: str, old: str, new: str, reason: str) -> None:
        self._board_event("plugin.state", {"plugin": plugin, "from": old, "to": new, "reason": reason}, plugin)

    def _on_fault(self, call: CallRecord, error: BaseException) -> None:
        data = {"hook": call.hook, "outcome": call.outcome, "code": call.error_code, "message": describe(error)}
        run = CURRENT.get()
        if call.hook == "on_event":
            # Kept, but shown to nobody: those who watch are the ones that fail.
            (run.journal.events if run is not None else self.log).append(
                "plugin.fault", self.clock.time(), data, call.plugin
            )
        elif run is not None:
            run.emit("plugin.fault", data, call.plugin)
        else:
            self._board_event("plugin.fault", data, call.plugin)
        if run is None:
            return
        run.degrade(
            f"plugin `{call.plugin}`", f"its `{call.hook}` was skipped", plugin=call.plugin, code=call.error_code
        )

    def _on_called(self, call: CallRecord) -> None:
        run = CURRENT.get()
        # A call of `on_event` is no event: telling of it would be the next call of it.
        if run is not None and run.explain and call.hook != "on_event":
            run.emit("hook.called", msgspec.to_builtins(call, enc_hook=repr), call.plugin)

    def _board_event(self, kind: str, data: JsonObject, plugin: str) -> None:
        self.log.append(kind, self.clock.time(), data, plugin)
        if self.hooks.on_event is not None:
            self.hooks.on_event(self.log.last())


class BoardServices(RunServices):
    """What a board gives to its runs."""

    def __init__(self, board: Pegboard, model: str | ModelBase | None, store: Store | None) -> None:
        super().__init__()
        self._board = board
        self._host = board.plugins
        self.clock = board.clock
        self.store = store
        self.workspace = board._workspace
        self.default_agent = Agent("default")
        self.bounds = _bounds(board.config)
        self._default_model: str | ModelBase = model or "auto"
        self._prices: Sequence[PriceTable] | None = None
        self._toolboxes: WeakKeyDictionary[Agent, tuple[Mapping[str, Tool], Sequence[BoundTool]]] = WeakKeyDictionary()
        self.known: WeakKeyDictionary[Agent, Agent | None] = WeakKeyDictionary()
        """Agents that passed `registration`, and what it made of them."""

    def attach(self, hooks: Hooks, explaining: Hooks) -> None:
        """The board is open: its hooks, and the store that its configuration names."""
        self.hooks, self.explaining = hooks, explaining
        if self.store is None and self._board.config.get("drivers.store"):
            self.store = self._host.driver("store")

    async def registered(self, agent: Agent) -> Agent:
        """An agent that is run without a name, as `registration` left it; asked once."""
        if agent in self.known:
            return self.known[agent] or agent
        registry = self._board.agents

        async def body(_: Any, given: Agent) -> Agent:
            check_agent(given)
            if given.config.dependencies or given.config.conflicts:
                registry.resolve(given)
            return given

        layer = self.hooks.registration
        added = await (layer(self._board.host_context, agent, body) if layer is not None else body(None, agent))
        # The agent itself as the value would keep its own key alive for as long as the board.
        self.known[agent] = None if added is agent else added
        return added

    async def tools(self, agent: Agent) -> Sequence[BoundTool]:
        """The agent's own tools, then those that plugins offer to every agent within its tiers."""
        offered = self._host.offers.tools()
        known = self._toolboxes.get(agent)
        if known is not None and known[0] is offered:  # it is made anew when a plugin comes, goes or is asked again
            return known[1]
        owner = self._board.agents.owner(agent)
        own = [bound for given in agent.config.tools for bound in await self._own(given, owner)]
        names = {bound.tool.name for bound in own}
        others = [
            self._bound(tool, tool.tier)
            for name, tool in offered.items()
            if name not in names and tool.tier in agent.config.tiers
        ]
        self._toolboxes[agent] = offered, [*own, *others]
        return self._toolboxes[agent][1]

    async def _own(self, given: Any, owner: str | None) -> Sequence[BoundTool]:
        if not isinstance(given, str):
            return [BoundTool(as_tool(given), "core", owner, self._host.context(owner) if owner else None)]
        if given.endswith("*"):
            return [self._bound(tool) for name, tool in self._host.tools().items() if name.startswith(given[:-1])]
        return [self._bound(await self._host.tool(given))]

    def _bound(self, tool: Any, tier: Any = "core") -> BoundTool:
        owner = self._host.owner("tool", tool.name)
        return BoundTool(tool, tier, owner, self._host.context(owner) if owner else None)

    async def modules(self, agent: Agent) -> Sequence[BoundModule]:
        """The modules that an agent names; one of a plugin is judged as the plugin's."""
        names = [module for module in agent.config.modules if isinstance(module, str)]
        offered = await self._host.modules(names) if names else {}
        return [
            self._bound_module(offered[given], given) if isinstance(given, str) else BoundModule(given)
            for given in agent.config.modules
        ]

    def _bound_module(self, module: Module, name: str) -> BoundModule:
        owner = self._host.owner("module", name)
        return BoundModule(module, owner, self._host.context(owner) if owner else None)

    async def model(self, name: str | ModelBase) -> ModelBase:
        """A model; the host makes one per name, and closes it."""
        if isinstance(name, ModelBase):
            return name
        if name == "auto" and self._default_model != "auto":
            return await self.model(self._default_model)
        return await self._host.model(name)

    @property
    def stale(self) -> bool:
        """Whether a plugin wishes to be asked again."""
        return self._host.stale

    async def refresh(self) -> None:
        """Ask those plugins again that wish it."""
        await self._host.apply_refreshes()
        self._prices = None

    async def agent(self, name: str) -> Agent:
        """An agent by name."""
        return await self._board.find_agent(name)

    async def earlier(self, run: str) -> Journal | None:
        """What an earlier life of a child run recorded."""
        return await self._board.earlier(run)

    def tracking(self, run: Run) -> AbstractContextManager[None]:
        """Let a child run be seen, messaged and cancelled while it lasts."""
        return self._board.tracking(run)

    async def prices(self) -> Sequence[PriceTable]:
        """Every price table that plugins offer; asked for once."""
        if self._prices is None:
            layer = self.hooks.provide_prices
            found = await layer(self._board.host_context) if layer is not None else []
            self._prices = [table for _, table in found]
        return self._prices


def get_model_for_name(name: str) -> ModelBase:
    """A model by name from the installed plugins, without a board; the caller closes it.

    Raises:
        ModelNotFoundError: no installed plugin knows the name; the message has near names and what to install.
    """

    async def look_up() -> ModelBase:
        plugins = host.PluginHost(autoload=True, config=_config(None, True))
        await plugins.start()
        return await plugins.model(name)

    return _in_thread(look_up())


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work` on an event loop of its own, so that it may be called where another one runs."""
    outcome: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, name="pegboard-look-up", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


def _bounds(config: Config) -> Bounds:
    limits = {name: config.get(f"limits.{name}") for name in ResourceLimits.__struct_fields__}
    resources = ResourceLimits(**limits) if any(value is not None for value in limits.values()) else None
    names = ("turns", "verification_returns", "step_repeats", "run_repeats", "parallel_tool_calls")
    own = {name: value for name in names if (value := config.get(f"limits.{name}")) is not None}
    return Bounds(resources=resources, **own)


def _config(given: Config | Mapping[str, Any] | None, autoload: bool) -> Config:
    if isinstance(given, settings.Config):
        return given
    return settings.load(host=given or {}) if autoload else settings.of(given or {})
