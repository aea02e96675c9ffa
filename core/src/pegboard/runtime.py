"""`Pegboard`: the embedding API. Builds a board of plugins, runs agents on it, and owns every lifetime.

How a run goes is the runner's business, how plugins live the host's; the terminal is not known here.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import msgspec

from pegboard.agent import AgentRegistry
from pegboard.clock import SYSTEM_CLOCK
from pegboard.conversation import ConversationManager
from pegboard.counting import Counting
from pegboard.errors import (
    BoardClosedError,
    EngineNotDurableError,
    RunningLoopError,
    RunNotFoundError,
    describe,
    where,
)
from pegboard.events import BoardLog
from pegboard.interfaces import Clock, HostContext, Store
from pegboard.journal import Journal
from pegboard.lazy import LazyModule
from pegboard.model import Inputs, ModelBase
from pegboard.plugins.dispatch.hooks import Hooks
from pegboard.prices import Prices
from pegboard.run import CURRENT, Run
from pegboard.runner import AgentRunner
from pegboard.runs import inputs_of
from pegboard.services import BoardServices
from pegboard.state import loop_state
from pegboard.toolbox import Toolbox
from pegboard.types import (
    Agent,
    Json,
    JsonObject,
    Message,
    ResourceLimits,
    RunResult,
    StreamEvent,
)
from pegboard.types.agents import AUTO, Output
from pegboard.types.options import RunOptions

if TYPE_CHECKING:
    import pathlib
    from pathlib import Path

    from pegboard import arguments
    from pegboard import config as settings
    from pegboard.config import Config
    from pegboard.plugins import host, undeclared
    from pegboard.plugins.dispatch.attribution import CallRecord
    from pegboard.plugins.undeclared import Use
else:
    # Not before the first board: finding, judging and loading plugins costs more than all the rest of core.
    arguments = LazyModule("pegboard.arguments")
    pathlib = LazyModule("pathlib")
    settings = LazyModule("pegboard.config")
    host = LazyModule("pegboard.plugins.host")
    undeclared = LazyModule("pegboard.plugins.undeclared")

T = TypeVar("T")


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

    Raises:
        BoardArgumentError: an argument cannot be what its name says.
        ConfigError: a setting does not exist or has a wrong type.
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
        _check(plugins, model, store, workspace)
        self.config: Config = _config(config, autoload)
        """The settings that hold."""
        self.agents = AgentRegistry()
        """The agents that can be run by name."""
        self.conversations = ConversationManager(self)
        """Runs over one shared history."""
        self.log = BoardLog()
        """What happened to plugins outside of any run, the newest of it; `log.dropped` counts what is gone."""
        self.clock = clock
        self._workspace = str(workspace) if workspace is not None else None
        self._given_agents = arguments.agents_of(agents) if agents != () else ()
        self.plugins = host.PluginHost(
            plugins,
            autoload=autoload,
            folders=arguments.folders_of(folders) if folders != () else (),
            config=self.config,
            clock=clock,
            strict=strict,
            on_state=self._on_state,
            on_fault=self._on_fault,
            on_called=self._on_called,
            on_undeclared=self._on_undeclared,
            workspace=self._workspace_now,
        )
        self._services = BoardServices(
            self.plugins,
            self.agents,
            self.config,
            model=model,
            store=store,
            workspace=self._workspace,
            clock=clock,
        )
        self._runs = self._services.runs
        self._runner = AgentRunner(services=self._services)
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
        for run in self.running:
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
        self,
        agent: Agent[Output] | str,
        inputs: Inputs | Json = None,
        *,
        check: bool = True,
        **options: Unpack[RunOptions],
    ) -> RunResult[Output]:
        """Run an agent to its end.

        Args:
            agent: an agent, the name of one, or with no `inputs` the task for the default agent
            inputs: text, messages, or JSON that fits the agent's input schema
            check: raise when the run did not complete; else the result says so
            options: `history`, `run` (an id of yours; starting one twice is refused), `conversation`, `principal`,
                `workspace`, `limits`, `explain`, `target`, `durable`

        Raises:
            PegboardError: the run did not complete its task; `error.run` is the result so far.
        """
        run = await self._new_run(agent, inputs, options)
        with self._runs.tracking(run):
            result = await self._runner.drive(run)
        return result.raise_for_error() if check else result

    def run_sync(
        self,
        agent: Agent[Output] | str,
        inputs: Inputs | Json = None,
        *,
        check: bool = True,
        **options: Unpack[RunOptions],
    ) -> RunResult[Output]:
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

    async def resume(self, run: str, *, check: bool = True, limits: ResourceLimits | None = None) -> RunResult:
        """Go on with a run that was interrupted: recorded steps are read back, the first missing one is done.

        `limits` take the place of those that the run began with; what it has used counts against them.

        Raises:
            RunNotFoundError: neither this board nor its store knows the run.
            RunBusyError: it is running.
        """
        self._check_open()
        self._runs.check_free(run)
        await self.plugins.before_run(self._runs.live)
        again = await self._life(run, run, await self._earlier(run), limits)
        result = await self.drive(again)
        return result.raise_for_error() if check else result

    async def fork(self, run: str, *, before: str | None = None) -> str:
        """Copy a run under a new id, with its past up to a step; `resume` goes on from there. The first one stays.

        Args:
            run: a run that has ended, on this board or in its store
            before: the step that the copy is to do anew, for example `model.request#3`; all is copied without one

        Returns:
            The id of the copy.

        Raises:
            RunNotFoundError: there is no such run, or no such step in it.
        """
        self._check_open()
        self._runs.check_free(run)
        copy = os.urandom(8).hex()
        journal = (await self._earlier(run)).forked(copy, before)
        await journal.flush(barrier=True)
        self._runs.has_ended(await self._life(run, copy, journal))
        return copy

    async def replay(self, run: str) -> RunResult:
        """Run it again from its record alone: no model, tool or child is asked, and nothing is stored.

        Raises:
            RunNotFoundError: there is no such run.
            JournalDivergedError: in the result: something was to be done that is not recorded.
        """
        self._check_open()
        copy = os.urandom(8).hex()
        return await self.drive(await self._life(run, copy, (await self._earlier(run)).only_recorded(copy)))

    async def cancel(self, run: str, reason: str | None = None) -> None:
        """Ask a run to stop and wait until it has. It ends with `cancelled`, a valid history, and can be resumed."""
        await self._runs.cancel(run, reason)

    def send(self, run: str, message: str | Message) -> None:
        """Queue a message into a running run; it is shown to the model at the next turn.

        Raises:
            RunNotFoundError: the run is not running.
        """
        self._runs.send(run, message)

    def state(self, run: str) -> JsonObject:
        """A run as the `LoopState` view: phase, task, events, current action, last error, step count, tool tier."""
        found = self._runs.find(run)
        return loop_state(found.journal.events, found.task)

    @property
    def durable(self) -> bool:
        """Whether runs are kept where they outlive the process, so that another one can resume them."""
        return self._services.store is not None and self._services.store.durable

    @property
    def store(self) -> Store | None:
        """Where runs are kept; `None` while they live in memory alone."""
        return self._services.store

    def locate_agents(self, locate: Callable[[str], Agent]) -> None:
        """Have agents found that are named as `module:object` or by a file, as the nodes of a workflow may.

        To import one runs code, and so may reading one, so without this they are refused; `peg` does it for whoever
        names the file of a workflow or trusts its folder. See `read_agent` for a file that the program itself names.
        """
        self._services.locate = locate

    @property
    def running(self) -> Sequence[str]:
        """The runs that are under way."""
        return self._runs.running

    # --- agents and models

    async def add_agent(self, agent: Agent, *, owner: str | None = None) -> Agent:
        """Register an agent, so that it can be run by name; the agent as `registration` left it."""
        return await self._services.add_agent(agent, owner)

    async def read_agent(self, path: str | Path) -> Agent:
        """The agent in a file, by the plugin that reads such files; run it, or `add_agent` it to have it by its name.

        Raises:
            AgentFileError: there is no such file, or what is in it is no sound agent.
            AgentReaderError: no plugin on this board reads agents from such files.
        """
        return await self._services.read_agent(str(path))

    async def find_agent(self, agent: Agent | str | None) -> Agent:
        """An agent by name, or the default one; what changed of plugins under development is loaded before."""
        if self.plugins.wants_before_run:
            await self.plugins.before_run(self._runs.live)
        if isinstance(agent, Agent):
            return self._services.known(agent) or await self._services.registered(agent)
        if agent is None:
            return await self._services.default_agent()
        return await self._services.find_agent(agent)

    async def model(self, name: str | ModelBase) -> ModelBase:
        """A model by name, alias or `provider:name`; the board closes it at its end."""
        return await self._services.model(name)

    async def prices(self) -> Prices:
        """What models cost, by all plugins that know prices."""
        return await self._services.prices()

    async def tools(self, agent: Agent) -> Toolbox:
        """The tools that an agent has here: its own, and those that plugins offer to every agent."""
        return await self._services.tools(agent)

    async def counting(self, model: str) -> Counting:
        """How the tokens for a model are counted here: by a plugin, else by the rule of thumb."""
        return await self._services.counting(model)

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
        if "journal" in options:
            self._runs.check_free(run.run)
        else:
            self._runs.check_new(run.run)
        return run

    async def drive(self, run: Run) -> RunResult:
        """Take a run to its end."""
        with self._runs.tracking(run):
            return await self._runner.drive(run)

    def events(self, run: Run) -> AsyncGenerator[StreamEvent, None]:
        """Take a run to its end as a stream."""
        return self._runner.stream(run, during=self._runs.tracking(run))

    # --- inside

    async def _new_run(self, agent: Agent | str, inputs: Inputs | Json, options: RunOptions) -> Run:
        self._check_open()
        if options and (unknown := options.keys() - RunOptions.__annotations__.keys()):
            known = ", ".join(RunOptions.__annotations__)
            raise TypeError(f"a run has no option `{', '.join(sorted(unknown))}`; there are {known}")
        if inputs is None and isinstance(agent, str):
            return self.prepare(await self.find_agent(None), agent, **options)
        return self.prepare(await self.find_agent(agent), "" if inputs is None else inputs, **options)

    async def _started_run(
        self, agent: Agent | str, inputs: Inputs | Json, check: bool, options: RunOptions
    ) -> RunResult:
        await self.start()
        return await self.run(agent, inputs, check=check, **options)

    async def _earlier(self, run: str) -> Journal:
        journal = await self._runs.earlier(run)
        if journal is None:
            raise RunNotFoundError(f"no run `{run}` on this board or in its store", hint="peg runs list")
        return journal

    async def _life(self, run: str, name: str, journal: Journal, limits: ResourceLimits | None = None) -> Run:
        """Another life of a run, under its own name or that of a copy, with what was recorded."""
        other = {} if limits is None else {"limits": limits}
        before = self._runs.ended(run)
        if before is not None:
            options = {"history": before.history, **before.options(), "model": before.asked_model, **other}
            return self.prepare(before.agent, before.given, run=name, journal=journal, **options)
        inputs, options = inputs_of(journal.row)
        agent = await self.find_agent(journal.row.agent)
        if options.get("model") is None and agent.config.model == AUTO and self._services.finds_models:
            options["model"] = journal.first_model()
        return self.prepare(agent, inputs, run=name, journal=journal, **{**options, **other})

    def _workspace_now(self) -> str | Path:
        """What plugins may call the workspace: that of the run that calls them leads."""
        run = CURRENT.get()
        return (run.workspace if run is not None else None) or self._workspace or pathlib.Path.cwd()

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
        if new in ("ready", "disabled", "quarantined"):  # the agents that it gave go with it
            for agent in [each for each in self.agents if self.agents.owner(each) == plugin]:
                self.agents.remove(agent)
        self._board_event("plugin.state", {"plugin": plugin, "from": old, "to": new, "reason": reason}, plugin)

    def _on_fault(self, call: CallRecord, error: BaseException) -> None:
        data = {"hook": call.hook, "outcome": call.outcome, "code": call.error_code, "message": describe(error)}
        if (place := where(error)) is not None:
            data["where"] = place
        run = CURRENT.get()
        if call.hook == "on_event":
            # Kept, but shown to nobody: those who watch are the ones that fail.
            (run.journal.events if run is not None else self.log).append(
                "plugin.fault", self.clock.time(), data, call.plugin
            )
        elif run is not None:
            run.record("plugin.fault", data, call.plugin)
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
            run.record("hook.called", msgspec.to_builtins(call, enc_hook=repr), call.plugin)

    def _on_undeclared(self, use: Use) -> None:
        data = {"plugin": use.plugin, "what": use.what, "target": use.target}
        run = CURRENT.get()
        (self._board_event if run is None else run.record)(undeclared.KIND, data, use.plugin)

    def _board_event(self, kind: str, data: JsonObject, plugin: str) -> None:
        self.log.append(kind, self.clock.time(), data, plugin)
        if self.hooks.on_event is not None:
            self.hooks.on_event(self.log.last())


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


def _check(plugins: object, model: object, store: object, workspace: object) -> None:
    """Look at what was given; what is at its default costs a comparison."""
    if plugins != ():
        arguments.check_many("plugins", plugins)
    if model is not None:
        arguments.check_model(model)
    if store is not None:
        arguments.check_store(store)
    if workspace is not None:
        arguments.check_workspace(workspace)


def _config(given: Config | Mapping[str, Any] | None, autoload: bool) -> Config:
    if isinstance(given, settings.Config):
        return given
    if given is not None:
        arguments.check_config(given)
    return settings.load(host=given or {}) if autoload else settings.of(given or {})
