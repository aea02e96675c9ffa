"""`ScriptedModel` and its vocabulary."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pegboard import Agent, Message, tool
from pegboard.errors import ModelRateLimitedError, ModelStreamError
from pegboard.model import DirectHooks
from pegboard.types import ModelChunk, ModelRequest, ModelResponse, StreamEvent, Text, ToolCall, ToolSpec, Usage
from pegboard_replay import CUT, Gate, ScriptedModel, ScriptExhaustedError, call, raw_call, structured, thinking, turn


@tool(effect="pure", inline=True)
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


def ask(text: str = "hi", **options: Any) -> ModelRequest:
    return ModelRequest(model="scripted:script", messages=(Message.user(text),), **options)


async def answer(model: ScriptedModel, request: ModelRequest | None = None) -> ModelResponse:
    return await model.send(request or ask(), lambda event: None)


async def chunks(model: ScriptedModel, request: ModelRequest | None = None) -> list[ModelChunk]:
    return [chunk async for chunk in model.stream(request or ask())]


async def test_turns_are_played_in_order() -> None:
    """A text is an answer, and each request gets the next one."""
    model = ScriptedModel(["first", "second"])

    assert [(await answer(model)).text, (await answer(model)).text] == ["first", "second"]
    assert model.remaining == 0


async def test_a_call_is_executed_by_the_turn() -> None:
    """`call` asks for a tool; the inherited part of the model executes it."""
    model = ScriptedModel([call("add", a=1, b=2)])

    result = await model.get_response(Agent("adder", tools=[add]), "1 + 2?")

    assert result.messages[-1].parts[0].structured == 3  # type: ignore[union-attr]  # a tool result


async def test_calls_get_ids_of_their_own_each_time() -> None:
    """A script that is played by two runs never gives one id twice."""
    model = ScriptedModel([turn(call("add", a=1, b=2), call("add", a=3, b=4))], each_run=True)

    first = await answer(model, ask(run="r1"))
    second = await answer(model, ask(run="r2"))

    ids = [part.id for part in (*first.tool_calls, *second.tool_calls)]
    assert len(set(ids)) == 4


async def test_a_turn_holds_several_things_in_order() -> None:
    """Thinking, text and calls of one turn become parts in that order, with usage and a finish reason."""
    model = ScriptedModel([turn(thinking("hm"), "Adding.", call("add", a=1, b=2), usage=Usage(12, 5))])

    response = await answer(model)

    assert [type(part).__name__ for part in response.parts] == ["Thinking", "Text", "ToolCall"]
    assert response.usage.total_tokens == 17
    assert response.finish == "tool_calls"


async def test_text_streams_in_pieces_of_the_chosen_size() -> None:
    """`split` is the number of characters per delta; without it a text is one delta."""
    deltas: list[StreamEvent] = []

    await ScriptedModel(["abcdefg"], split=3).send(ask(), deltas.append)

    assert [event.content for event in deltas] == ["abc", "def", "g"]
    assert len(await chunks(ScriptedModel(["abcdefg"]))) == 2


async def test_more_requests_than_turns_fail_loudly() -> None:
    """The error shows the request that had no turn."""
    model = ScriptedModel(["only one"])
    await answer(model)

    with pytest.raises(
        ScriptExhaustedError, match=r"has 1 turns(?s:.*)user: what now(?s:.*)tools offered: add"
    ) as raised:
        await answer(model, ask("what now", tools=(add.spec,)))
    assert raised.value.code == "replay.exhausted"
    assert raised.value.hint is None


async def test_requests_are_kept() -> None:
    """`requests` holds what was asked, unless it is switched off."""
    model, silent = ScriptedModel(["a"]), ScriptedModel(["a"], keep_requests=False)
    request = ask("x")

    await answer(model, request)
    await answer(silent, request)

    assert (model.requests, silent.requests) == ([request], [])


async def test_an_error_is_raised_in_its_place() -> None:
    """A fault stands in a turn; what was streamed before it was streamed."""
    fault = ModelRateLimitedError("slow down", retry_after_s=2)
    seen: list[StreamEvent] = []

    with pytest.raises(ModelRateLimitedError) as raised:
        await ScriptedModel([turn("par", fault)]).send(ask(), seen.append)

    assert [event.content for event in seen] == ["par"]
    assert raised.value.stream_started
    assert raised.value.retry_after_s == 2


async def test_a_fault_is_new_each_time_it_is_played() -> None:
    """What the way up writes into a fault does not stay in the script."""
    fault = ModelRateLimitedError("slow down")
    model = ScriptedModel([turn("par", fault)], each_run=True)

    for run in ("r1", "r2"):
        with pytest.raises(ModelRateLimitedError):
            await answer(model, ask(run=run))

    assert (fault.stream_started, fault.__traceback__) == (False, None)


async def test_a_cut_stream_has_no_finish_reason() -> None:
    """`CUT` ends the stream after what came before it, as a lost connection does."""
    with pytest.raises(ModelStreamError, match="without a finish reason"):
        await answer(ScriptedModel([turn("half a ", "sen", CUT)]))


def test_nothing_can_follow_a_cut() -> None:
    """A script with something after `CUT` is refused when it is made."""
    with pytest.raises(ValueError, match="nothing can follow"):
        ScriptedModel([turn(CUT, "never")])


async def test_a_turn_waits_at_a_gate() -> None:
    """A gate stops a turn until the test opens it; no time passes."""
    gate = Gate()
    model = ScriptedModel([turn("before", gate, "after")])
    seen: list[str] = []

    task = asyncio.ensure_future(model.send(ask(), lambda event: seen.append(event.content)))
    await gate.reached()
    assert seen == ["before"]
    gate.open()
    await task
    assert seen == ["before", "after"]


async def test_a_gate_counts_who_arrives() -> None:
    """A test can wait until several runs stand at one gate."""
    gate = Gate()
    model = ScriptedModel([turn(gate, "x")] * 3)

    tasks = [asyncio.create_task(answer(model)) for _ in range(3)]
    await gate.reached(3)
    gate.open()

    assert [response.text for response in await asyncio.gather(*tasks)] == ["x"] * 3


async def test_each_run_plays_its_own_script() -> None:
    """With `each_run` runs at the same time do not take one another's turns."""
    model = ScriptedModel(["one", "two"], each_run=True)

    texts = [(await answer(model, ask(run=run))).text for run in ("r1", "r2", "r1", "r2")]

    assert texts == ["one", "one", "two", "two"]
    with pytest.raises(ScriptExhaustedError):
        await answer(model, ask(run="r1"))


async def test_a_dict_is_structured_output_as_the_request_asks() -> None:
    """It is a call where `final_output` is offered, else JSON text."""
    offered = ToolSpec("final_output", "", {"type": "object", "properties": {"sum": {"type": "integer"}}})

    by_tool = await answer(ScriptedModel([{"sum": 3}]), ask(tools=(offered,)))
    by_text = await answer(ScriptedModel([{"sum": 3}]))

    assert by_tool.tool_calls[0].arguments == {"sum": 3}
    assert by_text.text == '{"sum":3}'


async def test_structured_output_that_is_no_object_is_wrapped() -> None:
    """Tools take objects, so a plain value becomes the tool's only property."""
    offered = ToolSpec("final_output", "", {"type": "object", "properties": {"value": {"type": "integer"}}})

    response = await answer(ScriptedModel([structured(3)]), ask(tools=(offered,)))

    assert response.tool_calls[0].arguments == {"value": 3}
    assert response.finish == "tool_calls"


async def test_arguments_can_be_what_a_model_wrote() -> None:
    """`raw_call` keeps text that is no JSON, with the reason."""
    response = await answer(ScriptedModel([raw_call("add", '{"a": ')]))

    assert response.tool_calls[0].raw_arguments == '{"a": '
    assert response.tool_calls[0].error is not None


async def test_a_response_can_be_a_turn() -> None:
    """A `ModelResponse` is played as it is, ids and finish reason included."""
    given = ModelResponse(
        parts=(Text("x"), ToolCall(id="mine", name="add")), finish="length", usage=Usage(1, 2), model="scripted:script"
    )

    response = await answer(ScriptedModel([given]), ask())

    assert response == given


async def test_raw_chunks_can_stand_in_a_turn() -> None:
    """Argument deltas are given as chunks."""
    model = ScriptedModel(
        [turn(ModelChunk(call_delta=("c1", "add", '{"a"')), ModelChunk(call_delta=("c1", "", ": 1}")))]
    )

    response = await answer(model)

    assert response.tool_calls[0].arguments == {"a": 1}
    assert response.finish == "tool_calls"


def test_what_cannot_be_played_is_refused_at_once() -> None:
    """A script is checked when it is made, not when it is played."""
    with pytest.raises(TypeError, match="cannot be part of a turn"):
        ScriptedModel([object()])  # type: ignore[list-item]  # the fault under test


async def test_streaming_gives_the_same_as_asking() -> None:
    """Both doors of a model lead through the same turn."""
    agent = Agent("adder", tools=[add])
    streamed = [event async for event in ScriptedModel([call("add", a=1, b=2)]).stream_response(agent, "?")]
    asked = await ScriptedModel([call("add", a=1, b=2)]).get_response(agent, "?")

    assert streamed[-1].content.messages == asked.messages


async def test_direct_hooks_serve_a_script() -> None:
    """A scripted model needs no runner."""
    response, results = await ScriptedModel([call("add", a=2, b=2)]).turn(ask(), DirectHooks({"add": add}))

    assert (response.finish, results[0].text) == ("tool_calls", "4")
