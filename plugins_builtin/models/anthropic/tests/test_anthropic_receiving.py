"""What comes back, beyond what the conformance suite asks: server tools, citations, refusals, counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from pegboard import Agent, AgentRunner, Message, ModelBase
from pegboard.types import Citation, ModelSettings, Opaque, Text
from pegboard_anthropic.config import Settings
from pegboard_anthropic.model import AnthropicModel
from pegboard_testing.wire_server import WireServer, wire_server

START = {"type": "message_start", "message": {
    "id": "m", "type": "message", "role": "assistant", "content": [], "model": "claude-x", "stop_reason": None,
    "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 5,
                                     "cache_creation_input_tokens": 3}}}  # fmt: skip


def events(*middle: Mapping[str, Any], reason: str = "end_turn", **delta: Any) -> bytes:
    """A stream: these events between its first and its last ones."""
    end = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None, **delta},
           "usage": {"output_tokens": 9}}  # fmt: skip
    all = [START, *middle, end, {"type": "message_stop"}]
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in all)


def block(index: int, content: Mapping[str, Any], *deltas: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A whole block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


@pytest.fixture
def wire() -> Iterator[WireServer]:
    with wire_server() as server:
        yield server


@pytest_asyncio.fixture
async def model(wire: WireServer) -> Any:
    async def key() -> str:
        return "k"

    model = AnthropicModel("claude-x", key=key, settings=Settings(base_url=wire.url))
    yield model
    await model.aclose()


async def test_input_is_counted_whole(model: ModelBase, wire: WireServer) -> None:
    """Anthropic counts what was cached apart; with us it is a part of the input."""
    wire.answer(events(*text(0, "Yes.")))

    usage = (await model.get_response(Agent("a"), "?")).usage

    assert (usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens) == (18, 5, 3)
    assert usage.output_tokens == 9


async def test_a_count_that_is_none_is_unknown(model: ModelBase, wire: WireServer) -> None:
    """The answer stands, and is not taken for free."""
    wire.answer(events(*text(0, "Yes.")).replace(b'"input_tokens": 10', b'"input_tokens": "ten"'))

    result = await model.get_response(Agent("a"), "?")

    assert (result.messages[-1].text, result.usage.input_tokens, result.usage.requests) == ("Yes.", None, 1)


async def test_a_tool_of_the_server_is_kept_and_sent_back(model: ModelBase, wire: WireServer) -> None:
    """Its call and its result go back word for word; a long turn that pauses goes on by itself."""
    search = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}
    asked = block(0, search, {"type": "input_json_delta", "partial_json": '{"query": "x"}'})
    wire.answer(events(*asked, *block(1, found), reason="pause_turn"))
    wire.answer(events(*text(0, "Found.")))
    agent = Agent("a", settings=ModelSettings(extra={"tools": [{"type": "web_search_20250305", "name": "web_search"}]}))

    result = await AgentRunner(model).get_response(agent, "?")

    assert (result.raise_for_error().output, result.turns) == ("Found.", 2)
    sent = wire.requests[1].json["messages"][1]["content"]
    assert [part["type"] for part in sent] == ["server_tool_use", "web_search_tool_result"]
    assert sent[0]["input"] == {"query": "x"}


async def test_redacted_thinking_is_kept(model: ModelBase, wire: WireServer) -> None:
    """Nobody can read it, and the provider wants it back."""
    wire.answer(events(*block(0, {"type": "redacted_thinking", "data": "xyz"}), *text(1, "Yes.")))

    result = await model.get_response(Agent("a"), "?")

    kept = result.messages[-1].parts[0]
    assert isinstance(kept, Opaque)
    assert kept.data == {"type": "redacted_thinking", "data": "xyz"}


async def test_citations_follow_their_text(model: ModelBase, wire: WireServer) -> None:
    """With the document they are from."""
    citation = {"type": "char_location", "cited_text": "x", "document_index": 0, "document_title": "Law",
                "start_char_index": 3, "end_char_index": 7}  # fmt: skip
    said: list[dict[str, Any]] = [
        {"type": "text_delta", "text": "So it is."},
        {"type": "citations_delta", "citation": citation},
    ]
    wire.answer(events(*block(0, {"type": "text", "text": ""}, *said)))

    result = await model.get_response(Agent("a"), "?")

    assert result.messages[-1].parts == (Text("So it is."), Citation(source="Law", span=(3, 7)))


async def test_a_refusal_says_why(model: ModelBase, wire: WireServer) -> None:
    """In the provider's words."""
    details = {"type": "refusal", "category": "bio", "explanation": "Not about viruses."}
    wire.answer(events(reason="refusal", stop_details=details))

    result = await AgentRunner(model).get_response(Agent("a"), "?")

    assert getattr(result.error, "code", None) == "model.content_refused"
    assert "Not about viruses." in str(result.error)


async def test_an_answer_that_is_cut_says_so(model: ModelBase, wire: WireServer) -> None:
    """The limit was reached; what it cost is known."""
    wire.answer(events(*text(0, "Once upon"), reason="max_tokens"))

    result = await AgentRunner(model).get_response(Agent("a"), "?")

    assert getattr(result.error, "code", None) == "model.output_limit"
    assert result.usage.total_tokens == 27


async def test_an_error_within_a_stream_has_its_kind(model: ModelBase, wire: WireServer) -> None:
    """Its status was 200 long before."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    body = events(*text(0, "Once"))
    wire.answer(body[: body.index(b"event: message_delta")], f"event: error\ndata: {json.dumps(error)}\n\n".encode())

    result = await AgentRunner(model).get_response(Agent("a"), "?")

    assert getattr(result.error, "code", None) == "model.overloaded"
    assert result.usage.input_tokens == 18


async def test_a_block_out_of_place_is_malformed(model: ModelBase, wire: WireServer) -> None:
    """So a message is not put together from pieces of which one is missing."""
    for broken in (text(0, "a")[1:], text(0, "a")[:-1], [*text(0, "a"), text(0, "a")[-1]]):
        wire.answers.clear()
        wire.answer(events(*broken))

        result = await AgentRunner(model).get_response(Agent("a"), "?")

        assert getattr(result.error, "code", None) == "model.stream_malformed"


async def test_what_is_new_in_a_stream_is_no_error(model: ModelBase, wire: WireServer) -> None:
    """The provider adds kinds of events and deltas at any time."""
    wire.answer(events({"type": "ping"}, {"type": "news"}, *text(0, "Yes.")))

    assert (await model.get_response(Agent("a"), [Message.user("?")])).output == "Yes."
