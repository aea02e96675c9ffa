"""A bench for runs: a runner with a dispatcher behind it, and no board around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from pegboard import Agent, AgentRunner, Message, RunResult
from pegboard.clock import SYSTEM_CLOCK
from pegboard.errors import RunNotFoundError
from pegboard.events import event_from_json, event_to_json
from pegboard.hookspecs import hookimpl
from pegboard.interfaces import Clock, Store
from pegboard.journal import Journal
from pegboard.model import ModelBase
from pegboard.plugins.dispatch.dispatcher import CallRecord, Dispatcher
from pegboard.prices import Prices
from pegboard.run import Run, RunServices
from pegboard.toolbox import Toolbox
from pegboard.types import Price, PriceTable, StreamEvent, Tier, ToolResult


class Bench(RunServices):
    """Runs agents with functions as plugins; after each run its log and its history are checked.

    bench.plug(authorize=lambda ctx, action: Deny("no"))
    result = await bench.run(ScriptedModel([call("add", a=1, b=2), "done"]), tools=[add])
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, store: Store | None = None, strict: bool = True) -> None:
        super().__init__()
        self.clock = clock
        self.store = store
        self.faults: list[CallRecord] = []
        self.models: dict[str, ModelBase] = {}
        self.agents: dict[str, Agent] = {}
        self.owners: dict[str, str] = {}
        """The plugin that provides a tool, by the tool's name."""
        self.tiers: dict[str, Tier] = {}
        self.children: dict[str, Run] = {}
        """Child runs by their id."""
        self._tables: list[PriceTable] = []
        self.dispatcher = Dispatcher(self, clock, strict=strict)
        self.hooks, self.explaining = self.dispatcher.hooks, self.dispatcher.explaining

    # --- set up

    def plug(self, plugin_id: str = "plugin", /, **hooks: Callable[..., Any]) -> None:
        """Register functions as the hooks of one plugin."""
        plugin = type("Plugin", (), {})()
        for name, function in hooks.items():
            setattr(plugin, name, hookimpl(function))
        self.dispatcher.register(plugin_id, plugin, context=object())

    def bound(self, **bounds: Any) -> None:
        """What the operator allows at most."""
        self.bounds = msgspec.structs.replace(self.bounds, **bounds)

    def price(self, model: str, *, input: float, output: float) -> None:
        """What a model costs, per million tokens."""
        provider, _, name = model.partition(":")
        price = Price(provider=provider, model=name, input=input, output=output)
        self._tables.append(PriceTable(prices=(price,), dated="2026-01-01", source="test"))
        if self.hooks.provide_prices is None:
            self.plug("prices", provide_prices=lambda ctx: self._tables[0])

    # --- run

    def runner(self, model: ModelBase | None = None) -> AgentRunner:
        """A runner on this bench."""
        return AgentRunner(model, services=self)

    def prepare(
        self,
        model: ModelBase | None,
        inputs: Any = "go",
        *,
        agent: Agent | None = None,
        tools: Sequence[Any] = (),
        **options: Any,
    ) -> Run:
        """A run that has not begun."""
        return self.runner(model).prepare(agent or Agent("agent", tools=tools), inputs, **options)

    async def run(self, model: ModelBase | None, inputs: Any = "go", **options: Any) -> RunResult:
        """A whole run; `options` are those of `prepare`."""
        run = self.prepare(model, inputs, **options)
        result = await self.runner().drive(run)
        self.check(result)
        return result

    async def stream(self, model: ModelBase | None, inputs: Any = "go", **options: Any) -> list[StreamEvent]:
        """A whole run, as its stream events."""
        run = self.prepare(model, inputs, **options)
        events = [event async for event in self.runner().stream(run)]
        self.check(events[-1].content)
        return events

    async def resume(self, before: RunResult, model: ModelBase | None, inputs: Any = "go", **options: Any) -> RunResult:
        """Another life of a run, in the same process."""
        return await self.run(model, inputs, run=before.run, journal=before.journal.again(), **options)

    # --- look

    def events(self, result: RunResult, kind: str) -> list[Mapping[str, Any]]:
        """The data of every event of a kind."""
        return [event.data for event in result.events if event.kind == kind]

    def kinds(self, result: RunResult, *prefixes: str) -> list[str]:
        """The kinds of the events, in order."""
        return [event.kind for event in result.events if event.kind.startswith(prefixes or "")]

    def phases(self, result: RunResult) -> list[str]:
        """The phases that were entered, in order."""
        return [data["phase"] for data in self.events(result, "phase.entered")]

    def results(self, result: RunResult) -> list[ToolResult]:
        """The results of all tool calls, in order."""
        return [part for message in result.messages for part in message.parts if isinstance(part, ToolResult)]

    def check(self, result: RunResult) -> None:
        """What holds for every run, however it ended."""
        check_history(result.messages)
        check_log(result)

    # --- what a run needs of its surroundings

    async def tools(self, agent: Agent) -> Toolbox:
        found = await super().tools(agent)
        return Toolbox(
            bound._replace(tier=self.tiers.get(name, "core"), owner=self.owners.get(name))
            for name, bound in found.items()
        )

    async def model(self, name: str | ModelBase) -> ModelBase:
        return self.models[name] if isinstance(name, str) and name in self.models else await super().model(name)

    async def agent(self, name: str) -> Agent:
        return self.agents[name] if name in self.agents else await super().agent(name)

    @contextmanager
    def tracking(self, run: Run) -> Iterator[None]:
        self.children[run.run] = run
        yield

    async def earlier(self, run: str) -> Journal | None:
        if run in self.children:
            return self.children[run].journal.again()
        try:
            return await Journal.load(self.store, run, self.clock) if self.store is not None else None
        except RunNotFoundError:
            return None

    async def prices(self) -> Prices:
        return Prices(self._tables)

    # --- what the dispatcher tells

    def fault(self, record: CallRecord, error: BaseException) -> None:
        self.faults.append(record)

    def called(self, record: CallRecord) -> None:
        pass


def check_history(messages: Sequence[Message]) -> None:
    """Every call has exactly one result, before anything else is said."""
    open_calls: list[str] = []
    for message in messages:
        if message.role != "tool":
            assert not open_calls, f"calls without result: {open_calls}"
        for part in message.parts:
            if isinstance(part, ToolResult):
                open_calls.remove(part.call_id)
        open_calls += [call.id for call in message.tool_calls]
    assert not open_calls, f"calls without result: {open_calls}"


def check_log(result: RunResult) -> None:
    """Numbers are dense, everything is JSON, and what began has exactly one end."""
    events = list(result.events)
    assert [event.seq for event in events] == list(range(len(events)))
    for event in events:
        line = msgspec.json.encode(event_to_json(event))
        assert msgspec.json.encode(event_to_json(event_from_json(msgspec.json.decode(line)))) == line
    under_way: list[tuple[str, str, int]] = []
    for event in events:
        if event.kind == "phase.entered":
            under_way.append(("phase", event.data["phase"], 0))
        elif event.kind == "phase.left":
            under_way.remove(("phase", event.data["phase"], 0))
        elif event.kind == "step.started":
            under_way.append(("step", event.data["step"], 0))
        elif event.kind in ("step.done", "step.failed"):
            under_way.remove(("step", event.data["step"], 0))
    assert under_way == []
    assert events[-1].kind == "run.finished"


@pytest.fixture
def bench() -> Bench:
    """A runner without a board, whose plugins raise what they raise."""
    return Bench()


@pytest.fixture
def make_bench() -> type[Bench]:
    """Makes benches with a clock, a store, or plugins that are isolated."""
    return Bench
