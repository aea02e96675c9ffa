"""However a run is brought to its end, it ends once: with its closing phases, one last event and a typed error."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, ModelBase, Pegboard, RunContext, ToolContext, deadline, tool
from pegboard.errors import AgentError, LoopLimitError, RunFailedError
from pegboard.types import ResourceLimits, RunState
from pegboard_replay import ScriptedModel, call, turn

if TYPE_CHECKING:
    from core.tests.conftest import Bench


class Odd(BaseException):
    """No `Exception`."""


ODD = pytest.mark.parametrize(
    "error", [Odd(), SystemExit(3), GeneratorExit(), BaseExceptionGroup("g", [Odd()])], ids=lambda e: type(e).__name__
)


class Module:
    """Does as it is told, and notes what was asked of it."""

    name = "module"
    description = "test"

    def __init__(self, *, begin: BaseException | None = None, end: BaseException | None = None) -> None:
        self.begin, self.end = begin, end
        self.ended = 0

    def tools(self) -> list[Any]:
        return []

    async def initialize(self, ctx: RunContext) -> None:
        if self.begin is not None:
            raise self.begin

    async def cleanup(self) -> None:
        self.ended += 1
        if self.end is not None:
            raise self.end


def agent_that(execute: Any, model: ModelBase | None = None) -> Agent:
    """An agent with code of its own."""
    made: Agent = type("Ours", (Agent,), {"execute": execute})(model=model or ScriptedModel(["ok"]))
    return made


# --- what is no `Exception` --------------------------------------------------------------------------------------


@ODD
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("inline", [False, True])
async def test_whatever_a_tool_raises_is_a_result(
    bench: Bench, error: BaseException, times: int, waits: bool, inline: bool
) -> None:
    """The model is told, and the run goes on; one call or several."""

    @tool(effect="pure", inline=inline)
    async def odd() -> str:
        """Raise."""
        if waits:
            await asyncio.sleep(0)
        raise error

    result = await bench.run(ScriptedModel([turn(*[call("odd")] * times), "done"]), tools=[odd])

    assert result.output == "done"
    assert [(r.code, type(error).__name__ in r.text) for r in bench.results(result)] == [("tool.failed", True)] * times


@ODD
async def test_whatever_an_agent_raises_ends_the_run(bench: Bench, error: BaseException) -> None:
    """With a typed error and its last event."""

    async def execute(self: Agent, ctx: RunContext, state: RunState, turns: Any) -> RunState:
        await asyncio.sleep(0)
        raise error

    result = await bench.run(None, agent=agent_that(execute))

    assert (result.end_reason, type(result.error)) == ("failed", RunFailedError)


@pytest.mark.parametrize("value", [None, 5, "x", [1]])
async def test_an_agent_must_return_a_state(bench: Bench, value: Any) -> None:
    """The error says what came instead, and the run has its end."""

    async def execute(self: Agent, ctx: RunContext, state: RunState, turns: Any) -> Any:
        return value

    result = await bench.run(None, agent=agent_that(execute))

    assert isinstance(result.error, AgentError)
    assert f"`{type(value).__name__}`" in str(result.error)


@ODD
async def test_a_broken_cleanup_costs_no_other(bench: Bench, error: BaseException) -> None:
    """Every module has its turn, and what one raises is an event."""
    first, second = Module(), Module(end=error)
    second.name = "second"

    result = await bench.run(ScriptedModel(["ok"]), agent=Agent(modules=[first, second]))

    assert (result.output, first.ended, second.ended) == ("ok", 1, 1)
    assert len(bench.events(result, "cleanup.error")) == 1


@ODD
async def test_a_module_that_cannot_begin_is_cleaned_up(bench: Bench, error: BaseException) -> None:
    """Its run fails with a typed error."""
    module = Module(begin=error)

    result = await bench.run(ScriptedModel(["ok"]), agent=Agent(modules=[module]))

    assert (type(result.error), module.ended) == (RunFailedError, 1)


async def test_a_keyboard_interrupt_goes_up_when_everything_is_closed() -> None:
    """The modules are cleaned up and the run has its last event before the host hears of it."""
    module = Module(begin=KeyboardInterrupt())
    async with Pegboard() as board:
        with pytest.raises(KeyboardInterrupt) as caught:
            await board.run(Agent(model=ScriptedModel(["ok"]), modules=[module]), "go", check=False)

    run = caught.value.run  # type: ignore[attr-defined]  # as on a cancellation
    assert module.ended == 1
    assert [event.kind for event in run.events].count("run.finished") == 1


async def test_a_child_in_an_abandoned_tool_has_its_end(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    """What is closed from outside may not wait any more; its log is still closed."""
    monkeypatch.setattr(deadline, "GRACE_S", 0.01)
    module = Module()

    async def execute(self: Agent, ctx: RunContext, state: RunState, turns: Any) -> Any:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

    child = type("Child", (Agent,), {"execute": execute})(name="child", modules=[module])

    @tool(effect="pure", timeout_s=0.02)
    async def ask(ctx: ToolContext) -> str:
        """Ask the child."""
        return str(await ctx.run.call_agent(child, "x"))

    result = await bench.run(ScriptedModel([call("ask"), "done"]), tools=[ask])

    (run,) = bench.children.values()
    assert (result.output, module.ended) == ("done", 1)
    assert [event.kind for event in run.journal.events].count("run.finished") == 1


# --- cancelled ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
async def test_a_tool_cannot_undo_a_cancel(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Neither by swallowing it nor by `Task.uncancel`."""
    monkeypatch.setattr(deadline, "GRACE_S", 0.02)
    started = asyncio.Event()

    @tool(effect="pure")
    async def stubborn() -> str:
        """Stay."""
        while True:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                task.uncancel()

    async with Pegboard() as board, asyncio.timeout(5):
        model = ScriptedModel([turn(*[call("stubborn")] * times), "done"])
        running = asyncio.create_task(board.run(Agent(model=model, tools=[stubborn]), "go", check=False, run="r"))
        await started.wait()
        await board.cancel("r")
        result = await running

    assert result.end_reason == "cancelled"
    assert result.degraded


@pytest.mark.parametrize("times", [1, 2])
async def test_a_tool_may_cancel_its_own_run(times: int) -> None:
    """The run ends with a result, and no cancel is left for whoever waits next."""

    @tool(effect="pure")
    async def stop(ctx: ToolContext) -> str:
        """Stop."""
        await board.cancel(ctx.run.run, "enough")
        return "stopped"

    async with Pegboard() as board, asyncio.timeout(5):
        model = ScriptedModel([turn(*[call("stop")] * times), "done"])
        result = await board.run(Agent(model=model, tools=[stop]), "go", check=False)
        await asyncio.sleep(0)

    assert result.end_reason == "cancelled"
    assert "enough" in str(result.error)


# --- out of time -------------------------------------------------------------------------------------------------


async def test_no_time_at_all_ends_a_run_that_never_waits(bench: Bench) -> None:
    """A limit of 0 seconds is one, also where nothing suspends."""
    result = await bench.run(ScriptedModel(["ok"]), limits=ResourceLimits(seconds=0))

    assert (result.end_reason, type(result.error)) == ("limit", LoopLimitError)


async def test_no_calls_at_once_is_one_call(bench: Bench) -> None:
    """With 0 nothing would ever begin; a board refuses such an agent, and a runner alone goes on."""

    @tool(effect="pure")
    async def look() -> str:
        """Look."""
        return "seen"

    agent = Agent(parallel_tool_calls=0, tools=[look])
    async with asyncio.timeout(5):
        result = await bench.run(ScriptedModel([turn(call("look"), call("look")), "done"]), agent=agent)

    assert result.output == "done"


async def test_a_child_agent_is_checked_before_it_runs(bench: Bench) -> None:
    """Also one that is no agent of the board's."""

    async def execute(self: Agent, ctx: RunContext, state: RunState, turns: Any) -> Any:
        await ctx.call_agent(Agent(max_turns=-1), "x")
        return state

    assert isinstance((await bench.run(None, agent=agent_that(execute))).error, AgentError)
