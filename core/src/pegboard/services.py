"""What a board gives to its runs, its own and that of its plugins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pegboard import __version__, agent_files, agent_names
from pegboard.agent import AgentRegistry, check_agent
from pegboard.counting import ESTIMATE, Counting
from pegboard.errors import PegboardError, describe
from pegboard.interfaces import Clock, Module, Store, Tool
from pegboard.journal import Journal
from pegboard.model import ModelBase
from pegboard.plugins.dispatch.attribution import CallRecord
from pegboard.plugins.dispatch.hooks import Hooks
from pegboard.prices import Prices
from pegboard.run import CURRENT, BoundModule, Bounds, Run, RunServices
from pegboard.runs import Runs
from pegboard.toolbox import BoundTool, Toolbox
from pegboard.tools import as_tool
from pegboard.types import Agent, ResourceLimits
from pegboard.types.agents import AUTO

if TYPE_CHECKING:
    from pegboard.config import Config
    from pegboard.plugins.host import PluginHost

_NOT_ASKED = Agent("not asked")


class BoardServices(RunServices):
    """What a board gives to its runs: agents, tools, modules, models and prices, of its own and of its plugins."""

    def __init__(
        self,
        host: PluginHost,
        agents: AgentRegistry,
        config: Config,
        *,
        model: str | ModelBase | None,
        store: Store | None,
        workspace: str | None,
        clock: Clock,
    ) -> None:
        super().__init__()
        self._host = host
        self._agents = agents
        self.locate: Callable[[str], Agent] | None = None
        """How an agent is found that is named as `module:object`."""
        self._config = config
        self.clock = clock
        self.store = store
        self.workspace = workspace
        self.runs = Runs(self)
        self.bounds = _bounds(config)
        self._default_agent = Agent("default")
        self._default_model: str | ModelBase = model or config.get("model") or AUTO
        self._prices: Prices | None = None
        self._counting: dict[str, tuple[object, Counting]] = {}
        self._toolboxes: WeakKeyDictionary[Agent, tuple[Mapping[str, Tool], Toolbox]] = WeakKeyDictionary()
        self._known: WeakKeyDictionary[Agent, Agent | None] = WeakKeyDictionary()
        """Agents that passed `registration`, and what it made of them."""

    def attach(self, hooks: Hooks, explaining: Hooks) -> None:
        """The board is open: its hooks, and the store that its configuration names, or the only one installed."""
        self.hooks, self.explaining = hooks, explaining
        if self.store is None and self._host.has_driver("store"):
            self.store = self._host.driver("store")

    # --- agents

    async def add_agent(self, agent: Agent, owner: str | None = None) -> Agent:
        """Register an agent by its name; the agent as `registration` left it."""

        async def body(_: Any, given: Agent) -> Agent:
            self._agents.add(given, owner=owner)
            self._agents.resolve(given)
            return given

        added = await self._registration(agent, body)
        self._known[added] = None
        return added

    async def agent(self, name: str) -> Agent:
        """An agent by name, from the registry or from a plugin that offers it; `default` is that of those without."""
        if name == self._default_agent.name and name not in self._agents:
            return await self.registered(self._default_agent)
        if name not in self._agents and name in self._host.agents():
            await self.add_agent(await self._host.agent(name), self._host.owner("agent", name))
        return self._agents.get(name)

    async def find_agent(self, name: str) -> Agent:
        """The agent of a name, or, where that is allowed here, `module:object` or the one in a file."""
        if self.locate is None or name in self._agents:
            return await self.agent(name)
        if agent_names.is_file(name):
            return await self.registered(await self.read_agent(name))
        return await (self.registered(self.locate(name)) if ":" in name else self.agent(name))

    async def read_agent(self, path: str) -> Agent:
        """The agent in a file. Raises as `agent_files.read` does."""
        return await agent_files.read(self._host, path)

    async def default_agent(self) -> Agent:
        """The agent of those that name none; a file may be named by the settings, which strangers cannot make so."""
        file = agent_files.of_setting(self._config)
        if file is not None:
            return await self.registered(await self.read_agent(file))
        named = self._config.get("agent")
        return await self.find_agent(named) if named else await self.registered(self._default_agent)

    def known(self, agent: Agent) -> Agent | None:
        """An agent as `registration` left it, or `None` where it was not asked yet."""
        found = self._known.get(agent, _NOT_ASKED)
        return None if found is _NOT_ASKED else found or agent

    async def registered(self, agent: Agent) -> Agent:
        """An agent that is run without a name, as `registration` left it; asked once."""
        known = self.known(agent)
        if known is not None:
            return known

        async def body(_: Any, given: Agent) -> Agent:
            check_agent(given)
            if given.config.dependencies or given.config.conflicts:
                self._agents.resolve(given)
            return given

        added = await self._registration(agent, body)
        # The agent itself as the value would keep its own key alive for as long as the board.
        self._known[agent] = None if added is agent else added
        return added

    async def _registration(self, agent: Agent, body: Callable[[Any, Agent], Awaitable[Agent]]) -> Agent:
        layer = self.hooks.registration
        return await (layer(self._host.context(), agent, body) if layer is not None else body(None, agent))

    # --- tools and modules

    async def tools(self, agent: Agent) -> Toolbox:
        """The agent's own tools, then those that plugins offer to every agent within its tiers."""
        offered = self._host.offers.tools()
        known = self._toolboxes.get(agent)
        if known is not None and known[0] is offered:  # it is made anew when a plugin comes, goes or is asked again
            return known[1]
        owner = self._agents.owner(agent)
        own = Toolbox([bound for given in agent.config.tools for bound in await self._own(given, owner)])
        others = [
            self._bound(tool, tool.tier)
            for name, tool in offered.items()
            if name not in own and name not in own.faulty and tool.tier in agent.config.tiers
        ]
        self._toolboxes[agent] = offered, own.plus(*others)
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

    def charge(self, plugin: str | None, hook: str, error: PegboardError) -> None:
        """Charge a plugin with what was found wrong in its offers."""
        if plugin is not None:
            self._host.faults.fault(CallRecord(hook=hook, plugin=plugin, outcome="error", error_code=error.code), error)

    # --- models and their prices

    async def model(self, name: str | ModelBase) -> ModelBase:
        """A model; the host makes one per name, and closes it."""
        if isinstance(name, ModelBase):
            return name
        if name == AUTO and self._default_model != AUTO:
            return await self.model(self._default_model)
        return await self._host.model(name)

    @property
    def finds_models(self) -> bool:
        """Whether the model of agents that name none is found by a name, and is not an object of the host program."""
        return isinstance(self._default_model, str)

    @property
    def stale(self) -> bool:
        """Whether a plugin wishes to be asked again."""
        return self._host.stale

    async def refresh(self) -> None:
        """Ask those plugins again that wish it."""
        await self._host.apply_refreshes()
        self._prices = None

    async def prices(self) -> Prices:
        """Every price that plugins offer; asked for once."""
        if self._prices is not None:
            return self._prices
        layer = self.hooks.provide_prices
        found = await layer(self._host.context()) if layer is not None else []
        prices = Prices([table for _, table in found])
        if not getattr(found, "missing", ()):  # who failed is asked again, since a cost that is unknown stays so
            self._prices = prices
        return prices

    async def counting(self, model: str) -> Counting:
        """The counter that a plugin offers for a model; each model is asked for once, and again with other plugins."""
        layer = self.hooks.provide_token_counter
        known = self._counting.get(model)
        if layer is None or (known is not None and known[0] is layer):
            return ESTIMATE if known is None or layer is None else known[1]

        def failed(error: BaseException) -> None:
            if (run := CURRENT.get()) is not None:
                run.degrade(
                    f"counting tokens of `{model}`", f"its counter failed, they are estimated: {describe(error)}"
                )

        counting = Counting(await layer(self._host.context(), model), failed)
        self._counting[model] = self.hooks.provide_token_counter, counting  # the first call of a hook compiles it
        return counting

    def plugin_digest(self) -> str:
        """A digest of the plugin set; only where a run is kept."""
        return self._host.digest() if self.store is not None and self.store.durable else ""

    def plugin_versions(self) -> Mapping[str, str]:
        """The version of each plugin, and core's; only where a run is kept."""
        if self.store is None or not self.store.durable:
            return {}
        return {"core": __version__, **self._host.versions()}

    # --- runs

    async def earlier(self, run: str) -> Journal | None:
        """What an earlier life of a run recorded, here or in the store."""
        return await self.runs.earlier(run)

    def tracking(self, run: Run) -> AbstractContextManager[None]:
        """Let a child run be seen, messaged and cancelled while it lasts."""
        return self.runs.tracking(run)


def _bounds(config: Config) -> Bounds:
    limits = {name: config.get(f"limits.{name}") for name in ResourceLimits.__struct_fields__}
    resources = ResourceLimits(**limits) if any(value is not None for value in limits.values()) else None
    names = ("turns", "verification_returns", "step_repeats", "run_repeats", "parallel_tool_calls")
    own = {name: value for name in names if (value := config.get(f"limits.{name}")) is not None}
    return Bounds(resources=resources, **own)
