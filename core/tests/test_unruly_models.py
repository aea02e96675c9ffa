"""Models that hang, swallow their cancel, raise what is no error or answer with what is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, ModelBase, Pegboard, deadline
from pegboard.errors import ModelConnectionError, ModelFault
from pegboard.memory import MemoryStore
from pegboard.types import (
    Abort,
    Failure,
    Finish,
    ModelChunk,
    ModelRequest,
    ResourceLimits,
    RunResult,
    Text,
    ToolCall,
    Usage,
)
from pegboard_replay import ScriptedModel

if TYPE_CHECKING:
    from core.tests.conftest import Bench

Stream = Callable[[Any, ModelRequest], AsyncIterator[ModelChunk]]


class Odd(BaseException):
    """No `Exception`."""


def model_of(stream: Any, **methods: Any) -> ModelBase:
    """A model with these methods."""
    body = {"provider": "odd", "name": "m", "stream": stream, **methods}
    made: ModelBase = type("OddModel", (ModelBase,), body)()
    return made


def raising(error: BaseException) -> Any:
    def method(*_: object) -> Any:
        raise error

    return method


async def swallowing(_: object, request: ModelRequest) -> AsyncIterator[ModelChunk]:
    """Never ends, whatever is asked of it."""
    yield ModelChunk(text="a")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()


async def hanging_finally(_: object, request: ModelRequest) -> AsyncIterator[ModelChunk]:
    """Ends its stream with something that never comes."""
    try:
        yield ModelChunk(text="a")
        await asyncio.Event().wait()
    finally:
        await asyncio.Event().wait()


class Closing:
    """A stream that raises, with an `aclose` of its own."""

    def __init__(self, close: Callable[[], Any]) -> None:
        self.aclose = close

    def __aiter__(self) -> Closing:
        return self

    async def __anext__(self) -> ModelChunk:
        raise ValueError("broken stream")


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "GRACE_S", 0.02)


# --- it does not stop --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [swallowing, hanging_finally], ids=["swallows", "finally"])
async def test_a_time_limit_ends_a_run_whose_model_does_not_stop(stream: Stream) -> None:
    """It has the grace that a tool has, and is left behind; the result says so."""
    async with Pegboard() as board, asyncio.timeout(5):
        agent = Agent(model=model_of(stream))
        result = await board.run(agent, "go", check=False, limits=ResourceLimits(seconds=0.02))

    assert result.end_reason == "limit"
    assert [entry.what for entry in result.degraded] == ["model `odd:m` `stream`"]


@pytest.mark.parametrize("stream", [swallowing, hanging_finally], ids=["swallows", "finally"])
async def test_a_cancel_ends_a_run_whose_model_does_not_stop(stream: Stream) -> None:
    """`board.cancel` returns, and so does the run."""
    async with Pegboard() as board, asyncio.timeout(5):
        events = board.stream(Agent(model=model_of(stream)), "go", run="r")
        async for event in events:
            if event.type == "text":
                break
        await board.cancel("r")
        final = [event async for event in events][-1]

    assert final.content.end_reason == "cancelled"
    assert final.content.degraded


async def test_a_board_closes_although_a_model_does_not_stop() -> None:
    """The end of a board waits for no model."""
    async with asyncio.timeout(5):
        async with Pegboard() as board:
            events = board.stream(Agent(model=model_of(swallowing)), "go", run="r")
            async for event in events:
                if event.type == "text":
                    break
        final = [event async for event in events][-1]

    assert final.content.end_reason == "cancelled"


@pytest.mark.parametrize("close", [raising(KeyError("close")), lambda: asyncio.Event().wait()], ids=["raises", "hangs"])
async def test_how_a_stream_closes_hides_no_error(bench: Bench, close: Callable[[], Any]) -> None:
    """The model's own error is what the run ends with."""
    async with asyncio.timeout(5):
        result = await bench.run(model_of(lambda *_: Closing(close)))

    assert isinstance(result.error, ModelFault)
    assert "broken stream" in result.error.message
    assert "could not be closed" in result.error.__notes__[0]


# --- it raises ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [Odd(), SystemExit(2), GeneratorExit(), asyncio.CancelledError()], ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("waits", [False, True])
async def test_whatever_a_model_raises_is_a_fault(bench: Bench, error: BaseException, waits: bool) -> None:
    """Also what is no `Exception`, before and after it has waited."""

    async def stream(_: object, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        yield ModelChunk(text="half")
        if waits:
            await asyncio.sleep(0)
        raise error

    result = await bench.run(model_of(stream))

    assert (result.end_reason, type(result.error)) == ("failed", ModelFault)
    assert type(error).__name__ in str(result.error)


@pytest.mark.parametrize(
    "classify",
    [raising(ValueError("c")), raising(Odd()), raising(GeneratorExit()), lambda *_: 5, lambda *_: "x"],
    ids=["raises", "odd", "generator_exit", "int", "str"],
)
async def test_a_broken_classification_leaves_a_fault_that_recover_sees(bench: Bench, classify: Any) -> None:
    """`classify_error` is code of the plugin too."""
    seen: list[str] = []

    def recover(failure: Failure) -> Abort:
        seen.append(failure.code)
        return Abort()

    bench.plug(recover=recover)

    result = await bench.run(model_of(raising(ValueError("first")), classify_error=classify))

    assert seen == ["model.unknown"]
    assert "first" in str(result.error)


async def test_a_classification_that_works_holds(bench: Bench) -> None:
    """What the provider knows goes up."""
    model = model_of(raising(ValueError("first")), classify_error=lambda *_: ModelConnectionError("gone"))

    assert isinstance((await bench.run(model)).error, ModelConnectionError)


@pytest.mark.parametrize("says", [raising(Odd()), raising(SystemExit(1)), lambda *_: None, lambda *_: 5])
async def test_broken_capabilities_are_a_fault(bench: Bench, says: Any) -> None:
    """A run whose model cannot say what it can do fails with a typed error."""
    model = model_of(swallowing, capabilities=says)

    result = await bench.run(model, agent=Agent(model=model, output=dict))

    assert type(result.error) is ModelFault
    assert "capabilities" in str(result.error)


# --- it answers with what is no answer ---------------------------------------------------------------------------


async def answered(*chunks: ModelChunk, store: bool = True) -> RunResult:
    """A run with a model that answers so."""

    async def stream(_: object, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        for chunk in chunks:
            yield chunk

    async with Pegboard(store=MemoryStore() if store else None) as board:
        return await board.run(Agent(model=model_of(stream)), "go", check=False)


@pytest.mark.parametrize("name", [None, ["t"], 5])
async def test_a_call_of_no_name_is_a_fault_of_the_model(name: Any) -> None:
    """Nobody could look for such a tool."""
    result = await answered(
        ModelChunk(tool_call=ToolCall(id="c", name=name)), ModelChunk(finish=Finish("tool_calls", Usage(1, 1)))
    )

    assert type(result.error) is ModelFault


async def test_a_part_that_is_none_is_a_fault_of_the_model() -> None:
    """It could neither be stored nor shown."""
    result = await answered(ModelChunk(part=object()), ModelChunk(finish=Finish("stop")))  # type: ignore[arg-type]

    assert type(result.error) is ModelFault


@pytest.mark.parametrize("finish", [Finish("odd"), Finish(object()), Finish("stop", None, object())])  # type: ignore[arg-type]
async def test_an_odd_finish_is_told_as_other(finish: Finish) -> None:
    """The answer is there; only how it ended is not known."""
    result = await answered(ModelChunk(text="x"), ModelChunk(finish=finish))

    assert (result.end_reason, result.output) == ("completed", "x")


@pytest.mark.parametrize("chunk", [ModelChunk(text="caf\udce9"), ModelChunk(part=Text("caf\udce9"))])
async def test_text_that_no_encoding_carries_is_spelled_out(chunk: ModelChunk) -> None:
    """A store takes it, and the next provider too."""
    result = await answered(chunk, ModelChunk(finish=Finish("stop")))

    assert (result.end_reason, result.output) == ("completed", "caf\\udce9")


async def test_deltas_that_no_encoding_carries_are_spelled_out(bench: Bench) -> None:
    """Whoever streams gets text that can be written."""

    async def stream(_: object, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        yield ModelChunk(thinking="hm\udce9")
        yield ModelChunk(text="caf\udce9")
        yield ModelChunk(finish=Finish("stop"))

    events = await bench.stream(model_of(stream))

    assert [event.content for event in events if event.type in ("text", "thinking")] == ["hm\\udce9", "caf\\udce9"]


@pytest.mark.parametrize("given", ["caf\udce9", {"name": "caf\udce9"}], ids=["text", "json"])
async def test_a_task_that_no_encoding_carries_is_spelled_out(given: Any) -> None:
    """As a name of a file from the command line may be."""
    async with Pegboard(store=MemoryStore()) as board:
        result = await board.run(Agent(model=ScriptedModel(["ok"])), given, check=False)

    assert result.output == "ok"
    assert "caf\\" in result.messages[0].text


async def test_a_model_that_cannot_say_its_keys_fails_as_it_did() -> None:
    """What is in the way of hiding them hides no error."""
    model = model_of(raising(ValueError("broken stream")), secrets=raising(RuntimeError("no")))

    with pytest.raises(ModelFault, match="ValueError: broken stream"):
        await model.send(ModelRequest(model="odd:m", messages=()), None)
