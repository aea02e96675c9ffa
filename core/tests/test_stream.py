"""Streams: the same run as events, one final event, and what happens when the reader is slow or leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, RunResult, ToolContext, tool
from pegboard.errors import ModelFault, ModelServerError, RunCancelledError
from pegboard.history import settled
from pegboard.model import Sink, stream_from
from pegboard.types import (
    ModelRequest,
    ModelResponse,
    ResourceLimits,
    RunState,
    StreamEvent,
    Text,
    Usage,
    evolve,
)
from pegboard_replay import CUT, FunctionModel, Gate, ScriptedModel, call, thinking, turn

if TYPE_CHECKING:
    from core.tests.conftest import Bench


@tool(effect="pure", inline=True)
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


SCRIPT = [
    turn(thinking("hm"), "let me see ", call("add", a=1, b=2), usage=Usage(5, 2, source="provider")),
    turn("it is 3", usage=Usage(9, 3, source="provider")),
]


def kinds(events: Sequence[StreamEvent]) -> list[str]:
    return [event.type for event in events]


def shown(events: Sequence[StreamEvent]) -> str:
    text = ""
    for event in events:
        text = "" if event.type == "restart" else text + event.content if event.type == "text" else text
    return text


# --- the same run ------------------------------------------------------------------------------------------------


async def test_a_stream_is_the_same_run(bench: Bench) -> None:
    """Messages, usage, output and events are those of `get_response`."""
    streamed = (await bench.stream(ScriptedModel(SCRIPT), tools=[add]))[-1].content
    plain = await bench.run(ScriptedModel(SCRIPT), tools=[add])

    assert list(streamed.messages) == list(plain.messages)
    assert (streamed.usage, streamed.output, streamed.turns) == (plain.usage, plain.output, plain.turns)
    assert bench.kinds(streamed) == bench.kinds(plain)


async def test_the_events_of_a_run(bench: Bench) -> None:
    """Each attempt begins with `start`, results come with their turn, and the final event is the last."""
    events = await bench.stream(ScriptedModel(SCRIPT, split=7), tools=[add])

    assert kinds(events) == [
        "start",
        "thinking",
        "text",
        "text",
        "tool_call",
        "usage",
        "tool_result",
        "start",
        "text",
        "usage",
        "final",
    ]
    assert [event.seq for event in events] == list(range(len(events)))
    assert len({event.run for event in events}) == 1
    assert repr(events[2]) == "StreamEvent('text', 'let me ', attempt=1, seq=2)"


async def test_a_model_streams_alone(bench: Bench) -> None:
    """A turn without a runner has the same events and a final one."""
    model = ScriptedModel([SCRIPT[0]])
    events = [event async for event in model.stream_response(Agent("a", tools=[add]), "go")]

    assert kinds(events) == ["thinking", "text", "tool_call", "usage", "tool_result", "final"]
    assert events[-1].content.messages[-1].parts[0].text == "3"


async def test_a_runner_streams_alone(bench: Bench) -> None:
    """`stream_response` is a whole run, with nothing around it."""
    runner = bench.runner(ScriptedModel(SCRIPT))
    events = [event async for event in runner.stream_response(Agent("a", tools=[add]), "go")]

    assert (kinds(events)[-1], shown(events)) == ("final", "let me see it is 3")


@pytest.mark.parametrize(
    ("script", "end"),
    [
        pytest.param(["ok"], "completed", id="success"),
        pytest.param([ModelServerError("down")], "unavailable", id="failure"),
        pytest.param([turn("half", CUT)], "unavailable", id="cut"),
        pytest.param([ModelFault("odd")], "failed", id="unknown"),
    ],
)
async def test_there_is_exactly_one_final_event_and_it_is_the_last(bench: Bench, script: list[Any], end: str) -> None:
    """Also when the run failed; it holds the result."""
    events = await bench.stream(ScriptedModel(script))

    assert [event.is_final for event in events] == [False] * (len(events) - 1) + [True]
    assert isinstance(events[-1].accumulated, RunResult)
    assert events[-1].content.end_reason == end


async def test_a_run_that_is_cancelled_by_name_ends_its_stream(bench: Bench) -> None:
    """The reader gets a final event that says so."""
    gate = Gate()
    run = bench.prepare(ScriptedModel([turn("half", gate)]))
    events: list[StreamEvent] = []

    async def read() -> None:
        events.extend([event async for event in bench.runner().stream(run)])

    reading = asyncio.create_task(read())
    await gate.reached()
    run.cancel.cancelled, run.cancel.reason = True, "enough"
    assert run.driver is not None
    run.driver.cancel()
    await reading

    assert kinds(events) == ["start", "text", "final"]
    assert isinstance(events[-1].content.error, RunCancelledError)


async def test_accumulated_is_the_text_so_far(bench: Bench) -> None:
    """It is joined when it is read, and the event keeps its own place."""
    events = await bench.stream(ScriptedModel(["abc"], split=1))

    assert [event.accumulated for event in events if event.type == "text"] == ["a", "ab", "abc"]
    assert events[0].accumulated == ""


async def test_usage_is_that_of_the_attempt(bench: Bench) -> None:
    """Never a sum over attempts, never a delta."""
    events = await bench.stream(ScriptedModel(SCRIPT), tools=[add])

    assert [event.content.input_tokens for event in events if event.type == "usage"] == [5, 9]


async def test_a_tool_tells_how_far_it_is(bench: Bench) -> None:
    """Progress is shown before the result, and without a reader it goes nowhere."""

    @tool(effect="pure", inline=True)
    def work(ctx: ToolContext) -> str:
        """Work."""
        ctx.progress("half way", 0.5)
        return "done"

    events = await bench.stream(ScriptedModel([call("work"), "ok"]), tools=[work])
    results = [event for event in events if event.type == "tool_result"]

    assert (results[0].content, results[0].data) == ("half way", {"progress": 0.5})
    assert results[1].content.text == "done"
    assert (await bench.run(ScriptedModel([call("work"), "ok"]), tools=[work])).ok


async def test_progress_of_a_tool_never_waits_for_the_reader(bench: Bench) -> None:
    """A tool that tells a lot is not slowed down by a reader who is behind."""

    @tool(effect="pure", inline=True)
    def work(ctx: ToolContext) -> str:
        """Work."""
        for number in range(500):
            ctx.progress(str(number))
        return "done"

    events = await bench.stream(ScriptedModel([call("work"), "ok"]), tools=[work])

    assert len([event for event in events if event.type == "tool_result"]) == 501


# --- the reader --------------------------------------------------------------------------------------------------


async def test_a_slow_reader_slows_the_stream(bench: Bench) -> None:
    """What waits for the reader is bounded: the model is asked for no more."""
    sent = 0

    async def chatty(request: ModelRequest) -> AsyncGenerator[str, None]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield "x"

    runner = bench.runner(FunctionModel(chatty))
    async with aclosing(runner.stream_response(Agent("a"), "go")) as events:
        await anext(events)
        for _ in range(20):
            await asyncio.sleep(0)
        assert sent <= 65
        rest = [event async for event in events]

    assert sent == 1000
    assert rest[-1].content.output == "x" * 1000


@pytest.mark.parametrize("after", range(1, 7))
async def test_closing_the_stream_cancels_the_run(bench: Bench, after: int) -> None:
    """Within a second everything has ended, with a valid history, wherever the reader left."""
    ended: list[str] = []

    @tool(effect="pure", timeout_s=None)
    async def wait() -> None:
        """Wait for ever."""
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("tool")

    run = bench.prepare(ScriptedModel([turn("abcd", call("wait")), "never"], split=1), tools=[wait])
    loop = asyncio.get_running_loop()
    async with aclosing(bench.runner().stream(run)) as events:
        for _ in range(after):
            await anext(events)
        began = loop.time()

    assert loop.time() - began < 1
    assert run.driver is not None
    assert run.driver.done()
    assert settled(list(run.log)) == list(run.log)
    assert bench.kinds(run.result(), "run.")[-2:] == ["run.cancelled", "run.finished"]


async def test_leaving_while_a_tool_works_closes_its_call(bench: Bench) -> None:
    """The tool is cancelled too, and its call has a result."""
    gate = Gate()
    states: list[str] = []

    @tool(effect="pure", timeout_s=None)
    async def wait() -> None:
        """Wait for ever."""
        try:
            await gate.wait()
        except asyncio.CancelledError:
            states.append("cancelled")
            raise

    run = bench.prepare(ScriptedModel([call("wait")]), tools=[wait])
    async with aclosing(bench.runner().stream(run)) as events:
        async for event in events:
            if event.type == "tool_call":
                await gate.reached()
                break

    assert states == ["cancelled"]
    assert [r.status for r in bench.results(run.result())] == ["cancelled"]


async def test_many_results_of_one_turn_wait_for_the_reader(bench: Bench) -> None:
    """Without a runner too: all of them arrive, in order."""
    model = ScriptedModel([turn(*(call("add", a=n, b=0) for n in range(200)))])
    events = [event async for event in model.stream_response(Agent("a", tools=[add]), "go")]

    results = [event.content.text for event in events if event.type == "tool_result"]
    assert results == [str(n) for n in range(200)]


async def test_whoever_reads_may_be_cancelled(bench: Bench) -> None:
    """What the run still tells while it closes finds nobody, and disturbs nobody."""
    gate = Gate()

    @tool(effect="pure", timeout_s=None)
    async def wait() -> None:
        """Wait for ever."""
        await gate.wait()

    run = bench.prepare(ScriptedModel([turn(call("wait"), call("wait"))]), tools=[wait])

    async def read() -> None:
        async for _ in bench.runner().stream(run):
            pass

    reading = asyncio.create_task(read())
    await gate.reached(2)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert [r.status for r in bench.results(run.result())] == ["cancelled", "cancelled"]


async def test_an_error_of_the_work_reaches_the_reader() -> None:
    """What is no result is raised, after the events before it."""

    async def work(sink: Sink) -> RunResult:
        sink.put(StreamEvent("text", "a"))
        raise RuntimeError("broken")

    events = stream_from(work)
    assert (await anext(events)).content == "a"
    with pytest.raises(RuntimeError, match="broken"):
        await anext(events)


async def test_writers_that_wait_are_all_woken() -> None:
    """Several tasks may write into one stream; none of them is forgotten."""

    async def work(sink: Sink) -> RunResult:
        async def write(name: str) -> None:
            for _ in range(100):
                waiting = sink.put(StreamEvent("text", name))
                if waiting is not None:
                    await waiting

        await asyncio.gather(*(write(name) for name in "abc"))
        return RunResult(run="r")

    events = [event async for event in stream_from(work)]

    assert len(events) == 301
    assert [event.seq for event in events] == list(range(301))


async def test_a_cancelled_writer_does_not_take_the_others_along() -> None:
    """Those who wait for room wait for the same thing and are cancelled one by one."""
    sink = Sink(limit=1)
    first, second = (asyncio.ensure_future(sink.put(StreamEvent("text", n)) or _done()) for n in "ab")
    await asyncio.sleep(0)
    first.cancel()
    reader = sink.__aiter__()
    await anext(reader)
    await anext(reader)
    sink.close()
    assert [event async for event in reader] == []

    await second
    assert first.cancelled()


async def _done() -> None: ...


# --- plugins -----------------------------------------------------------------------------------------------------


async def test_a_plugin_may_transform_what_is_shown(bench: Bench) -> None:
    """The user sees the transformed text; the answer itself stays as it was."""

    async def transform_stream(stream: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
        async for event in stream:
            if event.type == "text":
                event.content = event.content.upper()
            yield event

    bench.plug(transform_stream=transform_stream)
    events = await bench.stream(ScriptedModel(["abc"], split=1))

    assert shown(events) == "ABC"
    assert events[-1].content.output == "abc"


async def test_a_transformer_that_ends_early_stops_nothing(bench: Bench) -> None:
    """What it does not take is not shown, and the model goes on to its end."""

    async def transform_stream(stream: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
        async for event in stream:
            yield event
            return

    bench.plug(transform_stream=transform_stream)
    events = await asyncio.wait_for(bench.stream(ScriptedModel(["x" * 500], split=1)), 5)

    assert shown(events) == "x"
    assert events[-1].content.output == "x" * 500


@pytest.mark.parametrize("strict", [False, True])
async def test_a_transformer_that_fails_never_hangs_the_run(make_bench: type[Bench], strict: bool) -> None:
    """Isolated, the events pass from there on; strict, its error ends the run."""
    bench = make_bench(strict=strict)

    async def transform_stream(stream: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
        seen = 0
        async for event in stream:
            seen += 1
            if seen > 2:
                raise RuntimeError("broken")
            yield event

    bench.plug(transform_stream=transform_stream)
    events = await asyncio.wait_for(bench.stream(ScriptedModel(["x" * 500], split=1)), 5)

    assert events[-1].content.ok is not strict
    assert strict or shown(events) == "x" * 500


async def test_leaving_a_transformed_stream_ends_everything(bench: Bench) -> None:
    """Neither the model nor the transformer is left behind."""
    ended: list[str] = []

    async def transform_stream(stream: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
        try:
            async for event in stream:
                yield event
        finally:
            ended.append("transformer")

    bench.plug(transform_stream=transform_stream)
    before = asyncio.all_tasks()
    runner = bench.runner(ScriptedModel(["x" * 500], split=1))
    async with aclosing(runner.stream_response(Agent("a"), "go")) as events:
        for _ in range(4):
            await anext(events)

    for _ in range(10):
        await asyncio.sleep(0)
    assert ended == ["transformer"]
    assert asyncio.all_tasks() == before


async def test_without_a_reader_nothing_is_transformed(bench: Bench) -> None:
    """The hook is for what is shown."""

    async def transform_stream(stream: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
        raise AssertionError
        yield

    bench.plug(transform_stream=transform_stream)

    assert (await bench.run(ScriptedModel(["ok"]))).output == "ok"


async def test_text_that_a_layer_replaced_is_shown_anew(bench: Bench) -> None:
    """What was streamed is void, and the new text follows."""

    async def model_request(request: ModelRequest, call_next: Any) -> ModelResponse:
        response: ModelResponse = await call_next(request)
        return evolve(response, parts=(Text("better"),))

    bench.plug(model_request=model_request)
    events = await bench.stream(ScriptedModel(["worse"]))

    assert kinds(events) == ["start", "text", "restart", "text", "final"]
    assert events[2].data == {"cause": "replaced", "attempt": 1, "model": "scripted:script"}
    assert (shown(events), events[3].accumulated, events[-1].content.output) == ("better", "better", "better")


async def test_a_layer_that_answers_itself_gives_one_text(bench: Bench) -> None:
    """Nothing was streamed, so nothing is void."""

    async def model_request(request: ModelRequest, call_next: Any) -> ModelResponse:
        return ModelResponse(parts=(Text("from the cache"),), model=request.model)

    bench.plug(model_request=model_request)
    model = ScriptedModel(["never"])
    events = await bench.stream(model)

    assert kinds(events) == ["start", "text", "final"]
    assert (shown(events), model.requests) == ("from the cache", [])


async def test_a_layer_that_changes_no_text_changes_nothing_shown(bench: Bench) -> None:
    """Only other words are told anew."""

    async def model_request(request: ModelRequest, call_next: Any) -> ModelResponse:
        response: ModelResponse = await call_next(request)
        return evolve(response, usage=Usage(1, 1))

    bench.plug(model_request=model_request)

    assert kinds(await bench.stream(ScriptedModel(["same"]))) == ["start", "text", "final"]


async def test_a_limit_ends_a_stream_with_its_result(bench: Bench) -> None:
    """Wall clock holds while streaming too."""
    run = bench.prepare(ScriptedModel([turn("half", Gate())]), limits=ResourceLimits(seconds=0.01))
    events = [event async for event in bench.runner().stream(run)]

    assert events[-1].content.end_reason == "limit"


async def test_an_agent_that_computes_has_a_stream(bench: Bench) -> None:
    """Nothing is streamed but the final event."""

    class Quiet(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            return evolve(state, output=1)

    assert kinds(await bench.stream(None, agent=Quiet("quiet"))) == ["final"]
