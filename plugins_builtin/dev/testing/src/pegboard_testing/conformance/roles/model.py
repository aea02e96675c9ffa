"""What every model promises, whatever its provider."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from pegboard import Agent, Message, ModelBase
from pegboard.errors import ModelFault
from pegboard.types import ModelCapabilities, ModelChunk, ModelRequest, ToolCall, ToolSpec

from pegboard_testing.leaks import assert_no_leaks
from pegboard_testing.tools import FakeTool

SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


class ModelSuite:
    """A model that answers: a real one with a server of the test behind it, or one without a network.

    `model` answers any request with text. `calling_model` calls a tool named `probe`, where models of this kind can; by
    default these rules are skipped.
    """

    @pytest.fixture
    def model(self) -> ModelBase:
        """A model that answers any number of requests with text."""
        raise NotImplementedError("provide the fixture `model`")

    @pytest.fixture
    def calling_model(self) -> ModelBase | None:
        """A model that answers with a call of the tool `probe` with an integer `x`."""
        return None

    def test_it_has_a_provider_and_a_name(self, model: ModelBase) -> None:
        """Names are asked for as `provider:name`, so neither is empty and the provider holds no colon."""
        assert model.provider
        assert model.name
        assert ":" not in model.provider
        assert model.id == f"{model.provider}:{model.name}"

    @pytest.mark.asyncio
    async def test_each_chunk_is_one_thing(self, model: ModelBase) -> None:
        """Exactly one field of a chunk is set, and only the last chunk has the finish."""
        chunks = [chunk async for chunk in model.stream(request_of(model))]

        assert [len(_set(chunk)) for chunk in chunks] == [1] * len(chunks)
        assert [chunk.finish is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]

    @pytest.mark.asyncio
    async def test_it_answers(self, model: ModelBase) -> None:
        """A turn has text, and usage is known or says that it is unknown."""
        result = await model.get_response(Agent("probe"), "Say anything.")

        assert isinstance(result.output, str)
        assert result.output
        assert result.usage.requests == 1
        assert result.usage.input_tokens is None or result.usage.input_tokens >= 0

    @pytest.mark.asyncio
    async def test_streaming_gives_what_asking_gives(self, model: ModelBase) -> None:
        """The deltas together are the answer, and exactly the last event is final."""
        events = [event async for event in model.stream_response(Agent("probe"), "Say anything.")]

        assert [event.is_final for event in events] == [False] * (len(events) - 1) + [True]
        assert "".join(event.content for event in events if event.type == "text") == events[-1].content.output

    @pytest.mark.asyncio
    async def test_turns_may_overlap(self, model: ModelBase) -> None:
        """One model serves several turns at once."""
        results = await asyncio.gather(*(model.get_response(Agent("probe"), f"Say {n}.") for n in range(4)))

        assert all(result.output for result in results)

    @pytest.mark.asyncio
    async def test_a_reader_may_leave_early(self, model: ModelBase) -> None:
        """Closing the stream ends the request; nothing runs on."""
        async with assert_no_leaks(ignore=["descriptor", "thread", "log handler"]):
            stream = model.stream_response(Agent("probe"), "Say anything.")
            async for _ in stream:
                break
            await stream.aclose()

    @pytest.mark.asyncio
    async def test_a_call_is_parsed(self, calling_model: ModelBase | None) -> None:
        """A call has an id of its own and arguments as an object; the tool gets them."""
        model = _or_skip(calling_model)
        probe = FakeTool("probe", input_schema=dict(SCHEMA))

        result = await model.get_response(Agent("probe", tools=[probe]), "Use the tool.")

        calls = [part for message in result.messages for part in message.parts if isinstance(part, ToolCall)]
        assert calls
        assert len({call.id for call in calls} - {""}) == len(calls)
        assert all(isinstance(arguments["x"], int) for arguments in probe.calls)

    @pytest.mark.asyncio
    async def test_a_history_with_results_is_accepted(self, calling_model: ModelBase | None) -> None:
        """What a turn leaves can be sent again."""
        model = _or_skip(calling_model)
        agent = Agent("probe", tools=[FakeTool("probe", input_schema=dict(SCHEMA))])
        first = await model.get_response(agent, "Use the tool.")

        again = await model.get_response(agent, [*first.messages, Message.user("Go on.")])

        assert len(again.messages) > len(first.messages)

    def test_capabilities_are_declared(self, model: ModelBase) -> None:
        """For its own name and for one that it does not know; what is unknown is said to be."""
        for name in (model.name, "a-name-from-the-future"):
            assert isinstance(model.capabilities(name), ModelCapabilities)

    @pytest.mark.parametrize("error", [RuntimeError("x"), OSError(5, "x"), TimeoutError(), KeyError("x"), Exception()])
    def test_any_error_can_be_classified(self, model: ModelBase, error: Exception) -> None:
        """A fault of ours, or `None`; classifying never raises."""
        fault = model.classify_error(error)

        assert fault is None or isinstance(fault, ModelFault)

    @pytest.mark.asyncio
    async def test_tokens_are_counted_or_unknown(self, model: ModelBase) -> None:
        """A number, or `None` where the provider has no counter."""
        count = await model.count_tokens(request_of(model))

        assert count is None or count > 0

    @pytest.mark.asyncio
    async def test_it_can_be_closed(self, model: ModelBase) -> None:
        """Before its first use and after it."""
        await model.get_response(Agent("probe"), "Say anything.")
        await model.aclose()


def request_of(model: ModelBase, tools: Sequence[ToolSpec] = ()) -> ModelRequest:
    """The request that every model of a test answers."""
    return ModelRequest(model=model.id, messages=(Message.user("Say anything."),), tools=tuple(tools))


def _set(chunk: ModelChunk) -> list[str]:
    return [name for name, value in msgspec.structs.asdict(chunk).items() if value is not None]


def _or_skip(model: ModelBase | None) -> ModelBase:
    if model is None:
        pytest.skip("no `calling_model` is provided")
    return model


__all__ = ["SCHEMA", "ModelSuite", "request_of"]
