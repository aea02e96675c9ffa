"""What a user sees and is billed in each situation that a provider can bring a model into: the same for all of them.

A situation has a name. How a model gets into it is up to who inherits: by a script, or by a server that breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import pytest
from pegboard import Agent, AgentRunner, Message, ModelBase, RunResult, hookimpl
from pegboard.errors import ModelFault, ModelUnavailableError
from pegboard.interfaces import HostContext
from pegboard.types import (
    EndReason,
    Failure,
    File,
    Price,
    PriceTable,
    Retry,
    StreamEvent,
    Text,
    Thinking,
    ToolResult,
)

from pegboard_testing.board import MakeBoard
from pegboard_testing.conformance.roles.model import SCHEMA, ModelSuite
from pegboard_testing.tools import FakeTool

Situation: TypeAlias = Literal[
    "text",
    "tool",
    "two tools",
    "structured output",
    "thinking",
    "arguments that are no JSON",
    "silence before the answer",
    "silence in the stream",
    "rate limit",
    "overloaded",
    "unavailable",
    "server error",
    "bad request",
    "wrong key",
    "no permission",
    "unknown model",
    "context overflow",
    "quota used up",
    "connection destroyed",
    "nobody there",
    "name without address",
    "stream cut",
    "call cut",
    "stream without end",
    "malformed event",
    "error in the stream",
    "empty answer",
    "garbage",
    "time limit before the answer",
    "time limit in the stream",
    "content refused",
    "output limit",
]
"""What a model is asked in a situation is what the rules ask it; what it has to answer stands at `SituationSuite`."""
Play: TypeAlias = Callable[[Situation], ModelBase]
IMAGE: Final = b"\x89PNG\r\n\x1a\n" + b"not really a picture" * 4
_COUNTED: Final = (11, 7)
"""Tokens of input and output of every answer that is counted."""
_PRICE: Final = (1.0, 10.0)
"""Of them, per million."""


class Fault(NamedTuple):
    """A situation in which no answer comes, and what follows from it."""

    situation: Situation
    codes: Sequence[str]
    """Of the error; several where protocols differ in what can be told."""
    ends: EndReason = "unavailable"
    """Why the run ended; `unavailable` is worth another try later."""
    billed: Literal["nothing", "counted", "unknown"] = "nothing"
    """`unknown` may be estimated, and is never 0."""
    begun: bool = False
    """Whether the user saw something of an answer before."""


FAULTS: Final[Sequence[Fault]] = (
    Fault("rate limit", ["model.rate_limited"]),
    Fault("overloaded", ["model.overloaded"]),
    Fault("unavailable", ["model.overloaded"]),
    Fault("server error", ["model.server_error"]),
    Fault("bad request", ["model.bad_request"], "failed"),
    Fault("wrong key", ["model.auth"], "failed"),
    Fault("no permission", ["model.permission"], "failed"),
    Fault("unknown model", ["model.not_offered"], "failed"),
    Fault("context overflow", ["model.context_overflow"], "failed"),
    Fault("quota used up", ["model.quota_exhausted"], "failed"),
    Fault("connection destroyed", ["model.connection"]),
    Fault("nobody there", ["model.connection"]),
    Fault("name without address", ["model.connection"]),
    Fault("stream cut", ["model.stream_cut"], billed="unknown", begun=True),
    Fault("call cut", ["model.stream_cut"], billed="unknown", begun=True),
    Fault("stream without end", ["model.stream_incomplete"], billed="unknown", begun=True),
    Fault("malformed event", ["model.stream_malformed"], billed="unknown", begun=True),
    Fault("error in the stream", ["model.server_error", "model.overloaded"], billed="unknown", begun=True),
    Fault(
        "empty answer", ["model.empty_response", "model.stream_malformed", "model.stream_incomplete"], billed="unknown"
    ),
    Fault("garbage", ["model.stream_malformed", "model.empty_response", "model.stream_incomplete"], billed="unknown"),
    Fault("time limit before the answer", ["model.timeout"], billed="unknown"),
    Fault("time limit in the stream", ["model.timeout"], billed="unknown", begun=True),
    Fault("content refused", ["model.content_refused"], "failed", "counted", begun=True),
    Fault("output limit", ["model.output_limit"], "failed", "counted", begun=True),
)
"""The fault matrix."""
each_fault: Final = pytest.mark.parametrize("fault", FAULTS, ids=[fault.situation for fault in FAULTS])


class SituationSuite(ModelSuite):
    """A model in every situation. Provide the fixture `play`.

    Every answer that comes to an end has used 11 tokens of input and 7 of output. What is asked, and what is answered:

    * `text`: any number of times, "Say anything." and others, with any text.
    * `tool`: "Use the tool.", with a call of `probe` with `x` = 1; when that has a result, "It was used."
    * `two tools`: "Use it twice.", with two calls of `probe`, `x` = 1 and `x` = 2; then "It was used twice."
    * `structured output`: "Answer natively.", or "Answer by a call." where schema and tools do not go together, with a
      call of `probe`; then `{"x": 7}`, by the schema or by a call of `final_output`.
    * `thinking`: "Think.", with thinking and then text.
    * `arguments that are no JSON`: with a call of `probe` whose arguments are cut; then any text.
    * `silence …`: nothing more, until the client leaves. In the stream that is after some text.
    * faults: any number of times. A rate limit says to come back after 7 seconds.
    """

    @pytest.fixture
    def play(self) -> Play:
        """Gives a model that is in a situation; skips the test where there is no such situation, and says why."""
        raise NotImplementedError("provide the fixture `play`")

    @pytest.fixture
    def model(self, play: Play) -> ModelBase:
        """A model that answers."""
        return play("text")

    @pytest.fixture
    def calling_model(self, play: Play) -> ModelBase | None:
        """A model that calls."""
        return play("tool")

    # --- what it can do

    @pytest.mark.asyncio
    async def test_an_answer_is_counted_and_priced(self, model: ModelBase, make_board: MakeBoard) -> None:
        """By the provider's own numbers."""
        result = (await streamed(make_board, model))[-1].content

        usage = result.raise_for_error().usage
        assert (usage.input_tokens, usage.output_tokens, usage.source) == (*_COUNTED, "provider")
        assert result.cost_usd == pytest.approx(price_of(usage))

    @pytest.mark.asyncio
    async def test_a_tool_with_any_name_makes_the_round_trip(self, play: Play) -> None:
        """Names with characters that a provider refuses are told in another way, and come back as they were."""
        probe = FakeTool("probe", input_schema=dict(SCHEMA))
        odd = FakeTool("files.read", input_schema=dict(SCHEMA))

        result = await AgentRunner(play("tool")).get_response(Agent("probe", tools=[odd, probe]), "Use the tool.")

        result.raise_for_error()
        assert (result.output, result.turns, probe.calls) == ("It was used.", 2, [{"x": 1}])

    @pytest.mark.asyncio
    async def test_parallel_calls_have_ids_and_results_of_their_own(self, play: Play) -> None:
        """Both are done, and both results are sent back."""
        probe = FakeTool("probe", input_schema=dict(SCHEMA))

        result = await AgentRunner(play("two tools")).get_response(Agent("probe", tools=[probe]), "Use it twice.")

        assert result.raise_for_error().output == "It was used twice."
        assert sorted(call["x"] for call in probe.calls) == [1, 2]
        assert len({part.call_id for part in parts_of(result, ToolResult)}) == 2

    @pytest.mark.asyncio
    async def test_structured_output_together_with_tools(self, play: Play) -> None:
        """The tool is used, then the answer fits the schema, whichever way the model is asked for it."""
        model, probe = play("structured output"), FakeTool("probe", input_schema=dict(SCHEMA))
        can = model.capabilities(model.name)
        native = can.structured_output == can.structured_with_tools == "yes"
        agent = Agent("probe", tools=[probe], output=dict(SCHEMA))

        result = await AgentRunner(model).get_response(agent, "Answer natively." if native else "Answer by a call.")

        assert result.raise_for_error().output == {"x": 7}
        assert probe.calls == [{"x": 1}]

    @pytest.mark.asyncio
    async def test_thinking_is_no_part_of_the_answer(self, play: Play) -> None:
        """It is streamed apart, and kept apart."""
        stream = AgentRunner(play("thinking")).stream_response(Agent("probe"), "Think.")
        events = [event async for event in stream]

        result: RunResult = events[-1].content
        thought = "".join(event.content for event in events if event.type == "thinking")
        assert thought
        assert thought == "".join(part.text for part in parts_of(result, Thinking))
        assert result.output == "".join(event.content for event in events if event.type == "text")

    @pytest.mark.asyncio
    async def test_an_image_is_taken(self, model: ModelBase) -> None:
        """Beside text."""
        picture = Message("user", (Text("Say anything."), File(media_type="image/png", data=IMAGE)))

        result = await AgentRunner(model).get_response(Agent("probe"), picture)

        assert result.raise_for_error().output

    @pytest.mark.asyncio
    async def test_arguments_that_are_no_json_reach_no_tool(self, play: Play) -> None:
        """They are not guessed: the model is told, and goes on."""
        model, probe = play("arguments that are no JSON"), FakeTool("probe", input_schema=dict(SCHEMA))

        result = await AgentRunner(model).get_response(Agent("probe", tools=[probe]), "Use the tool.")

        assert (bool(result.raise_for_error().output), probe.calls) == (True, [])
        assert [(part.status, part.code) for part in parts_of(result, ToolResult)] == [("error", "tool.arguments")]

    # --- faults

    @pytest.mark.asyncio
    @each_fault
    async def test_what_the_user_sees(self, play: Play, make_board: MakeBoard, fault: Fault) -> None:
        """One error with a code and a hint, then the end with its reason; what came before is no answer."""
        events = await streamed(make_board, play(fault.situation))

        assert [event.type for event in events if event.type in ("error", "restart")] == ["error"]
        result: RunResult = events[-1].content
        error = result.error
        assert isinstance(error, ModelFault), repr(error)
        assert error.code in fault.codes
        assert (result.end_reason, error.stream_started, bool(error.hint)) == (fault.ends, fault.begun, True)
        assert result.output is None
        assert not any(message.tool_calls for message in result.messages)

    @pytest.mark.asyncio
    @each_fault
    async def test_what_was_billed(self, play: Play, make_board: MakeBoard, fault: Fault) -> None:
        """Nothing for what was refused, what the provider counted, or else an estimate or "unknown", but never 0."""
        result: RunResult = (await streamed(make_board, play(fault.situation)))[-1].content

        usage, cost = result.usage, result.cost_usd
        if fault.billed == "nothing":
            assert (usage.requests, usage.total_tokens, cost) == (0, 0, 0.0)
        elif fault.billed == "counted":
            assert (usage.input_tokens, usage.output_tokens, usage.source) == (*_COUNTED, "provider")
            assert cost == pytest.approx(price_of(usage))
        else:
            assert (usage.requests, usage.source in ("estimated", "unknown")) == (1, True)
            assert cost is None or cost > 0
            assert bool(result.unpriced_models) == (cost is None)

    @pytest.mark.asyncio
    async def test_a_limit_of_the_rate_says_when_to_come_back(self, play: Play) -> None:
        """So that nobody asks earlier."""
        result = await AgentRunner(play("rate limit")).get_response(Agent("probe"), "Say anything.")

        assert getattr(result.error, "retry_after_s", None) == 7.0

    @pytest.mark.asyncio
    @pytest.mark.parametrize("situation", ["rate limit", "overloaded", "server error"])
    async def test_a_storm_has_an_end(self, play: Play, make_board: MakeBoard, situation: Situation) -> None:
        """Attempts are counted; then no model is available, and nothing was billed."""
        events = await streamed(make_board, play(situation), Persistent())

        result: RunResult = events[-1].content
        assert isinstance(result.error, ModelUnavailableError)
        assert sum(event.type == "start" for event in events) == Agent("probe").config.retry.attempts
        assert (result.end_reason, bool(result.error.hint), result.cost_usd) == ("unavailable", True, 0.0)

    # --- cancel

    @pytest.mark.asyncio
    async def test_cancel_in_the_stream(self, play: Play, make_board: MakeBoard) -> None:
        """The run ends with a result: its history is valid, and what the answer cost is not said to be 0."""
        model = play("silence in the stream")
        board = await make_board(plugins=[Priced(model.provider)])
        events: list[StreamEvent] = []
        async for event in board.stream(Agent("probe", model=model), "Say anything.", run="r"):
            events.append(event)
            if event.type == "text":
                await board.cancel("r")

        result: RunResult = events[-1].content
        assert (result.end_reason, result.output, result.usage.requests) == ("cancelled", None, 1)
        assert result.cost_usd is None or result.cost_usd > 0
        assert not any(message.tool_calls for message in result.messages)


class Priced:
    """A plugin with a price for every model."""

    id = "priced"

    def __init__(self, provider: str) -> None:
        self._provider = provider

    @hookimpl
    async def provide_prices(self, ctx: HostContext) -> PriceTable:
        """So much for all models of the provider."""
        before, after = _PRICE
        price = Price(provider=self._provider, model="*", input=before, output=after)
        return PriceTable(prices=(price,), dated="2026-01-01", source="a test")


class Persistent:
    """A plugin that tries everything again."""

    id = "persistent"

    @hookimpl
    async def recover(self, ctx: Any, failure: Failure) -> Retry:
        """At once."""
        return Retry(delay_s=0.0)


async def streamed(make_board: MakeBoard, model: ModelBase, *plugins: Any) -> Sequence[StreamEvent]:
    """What a user sees of a run on a board that knows the price: the events, of which the last one alone is final."""
    board = await make_board(plugins=[Priced(model.provider), *plugins])
    events = [event async for event in board.stream(Agent("probe", model=model), "Say anything.")]
    assert [event.is_final for event in events] == [False] * (len(events) - 1) + [True]
    return events


def price_of(usage: Any) -> float:
    """What a usage costs with the prices of the suite, where nothing was cached."""
    before, after = _PRICE
    return float(usage.input_tokens * before + usage.output_tokens * after) / 1_000_000


def parts_of(result: RunResult, kind: type[Any]) -> list[Any]:
    """The parts of a kind in all messages of a result."""
    return [part for message in result.messages for part in message.parts if isinstance(part, kind)]


__all__ = [
    "FAULTS",
    "IMAGE",
    "Fault",
    "Persistent",
    "Play",
    "Priced",
    "Situation",
    "SituationSuite",
    "each_fault",
    "parts_of",
    "price_of",
    "streamed",
]
