"""What comes back, beyond what the conformance suite asks: reasoning, server tools, refusals, counts, odd servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pegboard import Agent, AgentRunner, ModelBase, RunResult
from pegboard.types import Citation, ModelSettings, Opaque, Text, Thinking, ToolCall
from pegboard_openai.config import Settings
from pegboard_openai.model import OpenAIModel
from pegboard_testing.wire_server import WireServer, wire_server

KEY = "sk-of-a-test"
USAGE = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
         "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 19}  # fmt: skip
THINKING = (Path(__file__).parent / "data" / "responses" / "thinking.sse").read_bytes()


def response(*middle: dict[str, Any], end: str = "completed", **fields: Any) -> bytes:
    """A stream of Responses: these events between its first and its last one."""
    whole = {"id": "resp_1", "object": "response", "model": "gpt-x", "status": end, "output": [], "usage": USAGE}
    events = [{"type": "response.created", "response": {**whole, "usage": None}}, *middle,
              {"type": f"response.{end}", "response": {**whole, **fields}}]  # fmt: skip
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def item(index: int, whole: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    """A whole item."""
    return [
        {"type": "response.output_item.added", "output_index": index, "item": {**whole, "content": []}},
        *({"output_index": index, "item_id": "i", "content_index": 0, **delta} for delta in deltas),
        {"type": "response.output_item.done", "output_index": index, "item": whole},
    ]


def text(index: int, text: str, **content: Any) -> list[dict[str, Any]]:
    whole = {"type": "message", "id": "m", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": text, "annotations": [], **content}]}  # fmt: skip
    return item(index, whole, {"type": "response.output_text.delta", "delta": text})


def call(index: int, arguments: str, *pieces: str) -> list[dict[str, Any]]:
    whole = {"type": "function_call", "id": "fc", "call_id": "call_1", "name": "probe", "arguments": arguments}
    kind = "response.function_call_arguments.delta"
    return item(index, whole, *({"type": kind, "delta": piece} for piece in pieces))


def completion(*deltas: dict[str, Any], finish: str | None = "stop", usage: bool = True) -> bytes:
    """A stream of Chat Completions with these deltas."""
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-x"}
    chunks: list[dict[str, Any]] = [{**base, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    counts = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens": 9,
              "completion_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 19}  # fmt: skip
    chunks += [{**base, "choices": [], "usage": counts}] if usage else []
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks) + b"data: [DONE]\n\n"


@pytest.fixture
def wire() -> Iterator[WireServer]:
    with wire_server() as server:
        yield server


async def opened(wire: WireServer, api: Any) -> AsyncIterator[ModelBase]:
    async def key() -> str:
        return KEY

    model = OpenAIModel("gpt-x", key=key, settings=Settings(api=api, base_url=f"{wire.url}/v1"))
    yield model
    await model.aclose()


@pytest_asyncio.fixture
async def model(wire: WireServer) -> AsyncIterator[ModelBase]:
    async for model in opened(wire, "responses"):
        yield model


@pytest_asyncio.fixture
async def chat_model(wire: WireServer) -> AsyncIterator[ModelBase]:
    async for model in opened(wire, "chat"):
        yield model


async def asked(model: ModelBase, wire: WireServer, body: bytes) -> RunResult:
    wire.answer(body)
    return await AgentRunner(model).get_response(Agent("a"), "?")


def code_of(result: RunResult) -> str | None:
    return getattr(result.error, "code", None)


# --- Responses


async def test_reasoning_is_kept_as_it_came(model: ModelBase, wire: WireServer) -> None:
    """Its summary can be read; what is encrypted is bound to the model, and so is what a text was for."""
    result = (await asked(model, wire, THINKING)).raise_for_error()

    thought, said, phase = result.messages[-1].parts
    assert isinstance(thought, Thinking)
    assert thought.text == "Two and two.\n\nFour."
    assert thought.bound is not None
    assert (thought.bound.model, thought.bound.data["encrypted_content"]) == ("gpt-x", "SIGNATURE")
    assert said == Text("It is four.")
    assert phase == Opaque(provider="openai", model="gpt-x", kind="phase", data="final_answer")


async def test_the_counts_of_a_response(model: ModelBase, wire: WireServer) -> None:
    """What was cached is a part of the input, and thinking one of the output."""
    usage = (await asked(model, wire, response(*text(0, "Yes.")))).usage

    assert (usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens) == (10, 4, 2)
    assert (usage.output_tokens, usage.thinking_tokens) == (9, 5)


async def test_a_tool_of_the_server_is_kept_and_sent_back(model: ModelBase, wire: WireServer) -> None:
    """Its item goes back word for word."""
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    wire.answer(response(*item(0, search), *text(1, "Found.")))
    agent = Agent("a", settings=ModelSettings(extra={"tools": [{"type": "web_search"}]}))
    first = await model.get_response(agent, "?")

    await model.get_response(agent, first.messages)

    assert wire.requests[0].json["tools"] == [{"type": "web_search"}]
    assert wire.requests[1].json["input"][1:] == [search, {"role": "assistant", "content": "Found."}]


async def test_citations_follow_their_text(model: ModelBase, wire: WireServer) -> None:
    """With the page they are from."""
    note = {"type": "url_citation", "url": "https://example.com", "title": "E", "start_index": 3, "end_index": 7}
    result = await asked(model, wire, response(*text(0, "So it is.", annotations=[note])))

    assert result.messages[-1].parts == (Text("So it is."), Citation(source="https://example.com", span=(3, 7)))


async def test_a_refusal_says_why(model: ModelBase, wire: WireServer) -> None:
    """In the model's words."""
    whole = {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "content": [{"type": "refusal", "refusal": "Not that."}],
    }
    body = response(*item(0, whole, {"type": "response.refusal.delta", "delta": "Not that."}))

    result = await asked(model, wire, body)

    assert code_of(result) == "model.content_refused"
    assert "Not that." in str(result.error)


@pytest.mark.parametrize(
    ("reason", "code"),
    [("max_output_tokens", "model.output_limit"), ("content_filter", "model.content_refused")],
)
async def test_an_answer_that_is_incomplete_says_so(model: ModelBase, wire: WireServer, reason: str, code: str) -> None:
    """What it cost is known."""
    begun = text(0, "Once upon")[:-1]
    body = response(*begun, end="incomplete", incomplete_details={"reason": reason})

    result = await asked(model, wire, body)

    assert (code_of(result), result.usage.total_tokens) == (code, 19)


@pytest.mark.parametrize(("status", "code"), [("incomplete", "model.output_limit"), ("failed", "model.server_error")])
async def test_a_completed_event_is_no_more_than_its_status(
    model: ModelBase, wire: WireServer, status: str, code: str
) -> None:
    """A gateway that ends every stream so does not make a cut answer a whole one."""
    begun = text(0, "Once upon")[:-1]
    details = {"reason": "max_output_tokens"}
    body = response(*begun, end="completed", status=status, incomplete_details=details)

    assert code_of(await asked(model, wire, body)) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": "server_error", "message": "boom"}, "model.server_error"),
        ({"code": "rate_limit_exceeded", "message": "slow"}, "model.rate_limited"),
        ({"code": "invalid_prompt", "message": "no"}, "model.content_refused"),
        ({"code": "context_length_exceeded", "message": "long"}, "model.context_overflow"),
        ({"code": "image_too_large", "message": "large", "type": "invalid_request_error"}, "model.bad_request"),
        (None, "model.server_error"),
    ],
)
async def test_a_response_that_failed_has_its_kind(model: ModelBase, wire: WireServer, error: Any, code: str) -> None:
    """By its code; what it cost is counted."""
    result = await asked(model, wire, response(*text(0, "Once"), end="failed", error=error))

    assert (code_of(result), result.usage.input_tokens) == (code, 10)


async def test_a_response_that_failed_shows_no_key(model: ModelBase, wire: WireServer) -> None:
    """Gateways repeat it."""
    error = {"code": "server_error", "message": f"the key {KEY} broke down"}

    result = await asked(model, wire, response(end="failed", error=error))

    assert str(result.error) == "the key *** broke down"


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "code": "insufficient_quota", "message": "pay", "param": None},
        {"type": "error", "error": {"type": "insufficient_quota", "code": "insufficient_quota", "message": "pay"}},
    ],
)
async def test_an_error_within_a_stream_has_its_kind(model: ModelBase, wire: WireServer, error: Any) -> None:
    """Its status was 200 long before, and it comes in two shapes."""
    result = await asked(model, wire, f"event: error\ndata: {json.dumps(error)}\n\n".encode())

    assert code_of(result) == "model.quota_exhausted"


async def test_arguments_may_come_whole(model: ModelBase, wire: WireServer) -> None:
    """Gateways send them without pieces."""
    result = await model_turn(model, wire, response(*call(0, '{"x": 1}')))

    assert result.pending_calls == (ToolCall(id="call_1", name="probe", arguments={"x": 1}),)


@pytest.mark.parametrize(
    "broken",
    [
        text(0, "a")[1:],
        text(0, "a")[:-1],
        [*text(0, "a"), text(0, "a")[-1]],
        call(0, '{"x": 1}', '{"x": '),
        [{"type": "response.output_item.added", "output_index": 0}],
        [{"type": "response.output_text.delta", "output_index": 7, "delta": "x"}],
    ],
    ids=["no begin", "no end", "two ends", "lost arguments", "no item", "no such item"],
)
async def test_an_item_out_of_place_is_malformed(model: ModelBase, wire: WireServer, broken: Any) -> None:
    """So a message is not put together from pieces of which one is missing."""
    assert code_of(await asked(model, wire, response(*broken))) == "model.stream_malformed"


async def test_what_is_new_in_a_stream_is_no_error(model: ModelBase, wire: WireServer) -> None:
    """The provider adds kinds of events at any time."""
    result = await asked(model, wire, response({"type": "response.news"}, *text(0, "Yes.")))

    assert result.output == "Yes."


async def model_turn(model: ModelBase, wire: WireServer, body: bytes) -> RunResult:
    wire.answer(body)
    return await model.get_response(Agent("a"), "?", execute_tools=False)


# --- Chat Completions


async def test_a_completion_without_the_counts_was_cut(chat_model: ModelBase, wire: WireServer) -> None:
    """They were asked for, and come right before the end."""
    assert code_of(await asked(chat_model, wire, completion({"content": "Yes."}, usage=False))) == (
        "model.stream_incomplete"
    )


async def test_an_error_within_a_completion_has_its_kind(chat_model: ModelBase, wire: WireServer) -> None:
    """Gateways write a status as the code."""
    error = {"error": {"code": 529, "message": "busy"}}
    result = await asked(chat_model, wire, f"data: {json.dumps(error)}\n\n".encode())

    assert code_of(result) == "model.overloaded"
