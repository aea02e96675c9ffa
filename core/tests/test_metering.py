"""What a token budget does with an answer: reserved by what is left, counted while it comes, cut, settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, ModelBase, RunContext
from pegboard.errors import ModelOutputLimitError, RunCancelledError
from pegboard.metering import CHARACTERS_A_TOKEN, Meter
from pegboard.turns import LEAST_OUTPUT_TOKENS
from pegboard.types import (
    Allow,
    BudgetRequest,
    Finish,
    ModelChunk,
    ModelRequest,
    ModelSettings,
    ResourceLimits,
    RunState,
    StreamEvent,
    ToolCall,
    Usage,
)
from pegboard_replay import ScriptedModel

if TYPE_CHECKING:
    from core.tests.conftest import Bench


class Flood(ModelBase):
    """Streams without an end, or up to a usage that it then claims."""

    provider, name = "test", "flood"

    def __init__(self, chunk: ModelChunk, *, times: int | None = None, usage: Usage | None = None) -> None:
        self.chunk, self.times, self.usage = chunk, times, usage
        self.asked: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        self.asked.append(request)
        sent = 0
        while self.times is None or sent < self.times:
            sent += 1
            await asyncio.sleep(0)
            yield self.chunk
        yield ModelChunk(finish=Finish("stop", self.usage))


@pytest.mark.parametrize(
    "chunk",
    [
        ModelChunk(text="word " * 100),
        ModelChunk(thinking="hm " * 100),
        ModelChunk(call_delta=("c", "add", "1" * 500)),
        ModelChunk(tool_call=ToolCall(id="c", name="add", arguments={"text": "x" * 500})),
        ModelChunk(text=""),
    ],
    ids=["text", "thinking", "call_delta", "call", "nothing"],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_endless_answer_is_cut(bench: Bench, chunk: ModelChunk, streamed: bool) -> None:
    """The run ends with its budget, whatever the model goes on with and whether somebody reads along."""
    limits = ResourceLimits(tokens=1000)
    async with asyncio.timeout(10):
        if streamed:
            result = (await bench.stream(Flood(chunk), limits=limits))[-1].content
        else:
            result = await bench.run(Flood(chunk), limits=limits)

    assert (result.end_reason, result.error.code) == ("budget", "budget.exceeded")


async def test_a_transformed_stream_is_counted_too(bench: Bench) -> None:
    """A plugin between model and reader changes nothing."""

    async def transform(ctx: RunContext, stream: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
        async for event in stream:
            yield event

    bench.plug(transform_stream=transform)
    async with asyncio.timeout(10):
        events = await bench.stream(Flood(ModelChunk(text="word " * 100)), limits=ResourceLimits(tokens=1000))

    assert events[-1].content.end_reason == "budget"


async def test_a_cut_answer_with_budget_left_is_an_output_limit(bench: Bench) -> None:
    """It went beyond what it was told, and not beyond what the run may use."""
    model = Flood(ModelChunk(text="word " * 100))
    agent = Agent(settings=ModelSettings(max_output_tokens=300))

    result = await bench.run(model, agent=agent, limits=ResourceLimits(tokens=100_000))

    assert isinstance(result.error, ModelOutputLimitError)


async def test_without_a_limit_nothing_is_counted(bench: Bench) -> None:
    """An answer may be as long as it likes."""
    result = await bench.run(Flood(ModelChunk(text="word " * 10_000), times=10))

    assert (result.end_reason, len(result.output)) == ("completed", 500_000)


def test_an_honest_answer_is_not_cut() -> None:
    """One of English words with as many tokens as were reserved is within the limit."""
    meter = Meter()
    meter.begin(1000)

    for _ in range(1000):
        meter.count(StreamEvent("text", "words "))

    assert not meter.is_over
    assert CHARACTERS_A_TOKEN > 6


def test_the_pieces_of_a_call_are_counted_once() -> None:
    """The whole call that follows its pieces is nothing new."""
    meter = Meter()
    meter.begin(1000)
    arguments = {"text": "x" * 400}

    meter.count(StreamEvent("tool_call_delta", "x" * 411))
    meter.count(StreamEvent("tool_call", ToolCall(id="c", name="t", arguments=arguments)))

    assert meter.tokens == 411 // 4


async def test_what_was_overspent_is_charged_and_told(bench: Bench) -> None:
    """A usage beyond the reservation counts, and the next request is refused."""
    model = Flood(ModelChunk(text="x"), times=1, usage=Usage(10, 10**7))

    async def execute(self: Agent, ctx: Any, state: RunState, turns: Any) -> RunState:
        await turns(ctx, state)
        done: RunState = await turns(ctx, state)
        return done

    agent = type("Twice", (Agent,), {"execute": execute})(model=model)
    result = await bench.run(None, agent=agent, limits=ResourceLimits(tokens=5000))

    assert (result.end_reason, len(model.asked)) == ("budget", 1)
    assert bench.events(result, "budget.warning")[-1]["share"] > 1


# --- how much is reserved ----------------------------------------------------------------------------------------


async def test_a_small_budget_caps_the_answer_instead_of_refusing_it(bench: Bench) -> None:
    """What is left is reserved, and the model is told."""
    model = Flood(ModelChunk(text="x"), times=1, usage=Usage(10, 5))

    result = await bench.run(model, limits=ResourceLimits(tokens=3000))

    told = model.asked[0].settings.max_output_tokens
    assert result.output == "x"
    assert told is not None
    assert 2900 < told < 3000


async def test_too_small_a_budget_is_refused(bench: Bench) -> None:
    """An answer of fewer than 256 tokens is none."""
    model = Flood(ModelChunk(text="x"), times=1)

    result = await bench.run(model, limits=ResourceLimits(tokens=LEAST_OUTPUT_TOKENS))

    assert (result.end_reason, model.asked) == ("budget", [])


async def test_whoever_wants_less_needs_less(bench: Bench) -> None:
    """A limit of the agent's own below that is enough."""
    agent = Agent(settings=ModelSettings(max_output_tokens=20))

    assert (await bench.run(ScriptedModel(["ok"]), agent=agent, limits=ResourceLimits(tokens=60))).output == "ok"


async def test_a_child_cancelled_while_a_gate_thinks_holds_nothing(bench: Bench) -> None:
    """What it had reserved is free again in the accounts above."""
    thinking = asyncio.Event()

    async def reserve(ctx: RunContext, request: BudgetRequest) -> Allow:
        if ctx.parent and request.kind == "model":
            thinking.set()
            await asyncio.Event().wait()
        return Allow()

    bench.plug(reserve_budget=reserve)
    used: list[float] = []

    async def execute(self: Agent, ctx: Any, state: RunState, turns: Any) -> RunState:
        child = asyncio.create_task(ctx.call_agent(Agent(model=ScriptedModel(["kid"])), "x"))
        await thinking.wait()
        (run,) = bench.children.values()
        run.cancel.cancelled = True
        assert run.driver is not None
        run.driver.cancel()
        with pytest.raises(RunCancelledError):
            await child
        used.append(ctx.budget.used("tokens"))
        done: RunState = await turns(ctx, state)
        return done

    agent = type("Boss", (Agent,), {"execute": execute})(model=ScriptedModel(["boss"]))
    result = await bench.run(None, agent=agent, limits=ResourceLimits(tokens=8000))

    assert (result.output, used) == ("boss", [0])
