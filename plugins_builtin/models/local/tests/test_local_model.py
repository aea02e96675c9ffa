"""What servers of one's own do that OpenAI does not: no counts, no ids, no `[DONE]`, tags, no tools."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from pegboard import Agent, AgentRunner, ModelBase, RunResult
from pegboard.types import Message, ModelSettings, Text, Thinking
from pegboard_local.model import LocalModel
from pegboard_local.servers import PRESETS, Server
from pegboard_testing import FakeTool
from pegboard_testing.wire_server import WireServer, wire_server

OLLAMA, LLAMACPP, *_ = PRESETS
NO_TOOLS = "registry.ollama.example/library/gemma2:2b does not support tools"


@pytest.fixture
def wire() -> Iterator[WireServer]:
    with wire_server() as server:
        yield server


@pytest_asyncio.fixture
async def model(wire: WireServer) -> AsyncIterator[ModelBase]:
    model = LocalModel("qwen3:8b", Server(preset=OLLAMA, url=f"{wire.url}/v1"))
    yield model
    await model.aclose()


def completion(*deltas: dict[str, Any], finish: str | None = "stop") -> bytes:
    """A stream with neither counts nor `[DONE]`, and no more fields than it needs."""
    choices: list[dict[str, Any]] = [{"delta": delta} for delta in deltas] + [{"delta": {}, "finish_reason": finish}]
    return b"".join(f"data: {json.dumps({'choices': [choice]})}\n\n".encode() for choice in choices)


async def asked(model: ModelBase, wire: WireServer, *deltas: dict[str, Any], **options: Any) -> RunResult:
    wire.answer(completion(*deltas, **options))
    return await model.get_response(Agent("a"), "?", execute_tools=False)


async def test_a_finish_reason_is_enough(model: ModelBase, wire: WireServer) -> None:
    """Counts that nobody sends are unknown, and not 0."""
    result = await asked(model, wire, {"role": "assistant", "content": "Yes."})

    assert (result.output, result.usage.input_tokens, result.usage.source) == ("Yes.", None, "unknown")


async def test_the_words_of_older_servers_are_used(model: ModelBase, wire: WireServer) -> None:
    """The limit has its older name, nothing is strict, counts are asked for."""
    wire.answer(completion({"content": "{}"}))
    agent = Agent("a", tools=[FakeTool("probe")], settings=ModelSettings(max_output_tokens=9, seed=1))

    await model.get_response(agent, "?")

    sent = wire.requests[0].json
    assert (sent["max_tokens"], sent["seed"], sent["stream_options"]) == (9, 1, {"include_usage": True})
    assert "strict" not in sent["tools"][0]["function"]


async def test_calls_without_ids_get_some(model: ModelBase, wire: WireServer) -> None:
    """One each, also where the server gives both the same."""
    calls = [{"index": n, "id": "", "function": {"name": "p", "arguments": "{}"}} for n in range(2)]
    same = [{**call, "id": "x"} for call in calls]

    for deltas in (calls, same):
        wire.answers.clear()
        result = await asked(model, wire, *({"tool_calls": [call]} for call in deltas), finish="tool_calls")
        assert len({call.id for call in result.pending_calls} - {""}) == 2


@pytest.mark.parametrize(
    "deltas",
    [
        [{"content": "<thi"}, {"content": "nk>\nHm.\n</th"}, {"content": "ink>\n\nYes."}],
        [{"reasoning_content": "Hm."}, {"content": "Yes."}],
        [{"reasoning": "Hm.", "content": ""}, {"content": "Yes."}],
    ],
    ids=["tags", "llama.cpp", "Ollama"],
)
async def test_thinking_is_told_apart(model: ModelBase, wire: WireServer, deltas: list[dict[str, Any]]) -> None:
    """In tags or in a field; the answer is the text alone."""
    result = await asked(model, wire, *deltas)

    assert result.messages[-1].parts == (Thinking("Hm."), Text("Yes."))
    assert result.output == "Yes."


async def test_a_call_after_thinking_in_tags(model: ModelBase, wire: WireServer) -> None:
    """Nothing of either is lost."""
    call = {"index": 0, "id": "x", "function": {"name": "p", "arguments": "{}"}}
    result = await asked(model, wire, {"content": "<think>Hm.</think>\n\n"}, {"tool_calls": [call]}, finish="stop")

    assert [type(part).__name__ for part in result.messages[-1].parts] == ["Thinking", "ToolCall"]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, NO_TOOLS),
        (500, "tools param requires --jinja flag"),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    ],
    ids=["Ollama", "llama.cpp", "vLLM"],
)
async def test_a_refusal_of_tools_is_remembered(model: ModelBase, wire: WireServer, status: int, message: str) -> None:
    """For the process: the next request with tools is not sent, and one without them is."""
    wire.fail(status, {"error": {"message": message, "type": "api_error"}})
    agent = Agent("a", tools=[FakeTool("probe")])
    before = model.capabilities(model.name).tools

    first = await AgentRunner(model).get_response(agent, "?")
    second = await AgentRunner(LocalModel(model.name, model._server)).get_response(agent, "?")  # type: ignore[attr-defined]

    assert [getattr(result.error, "code", None) for result in (first, second)] == ["model.unsupported"] * 2
    assert (before, model.capabilities(model.name).tools) == ("unknown", "no")
    assert len(wire.requests) == 1
    wire.answers.clear()
    assert (await asked(model, wire, {"content": "Yes."})).output == "Yes."


async def test_a_model_that_is_not_there_has_a_hint(model: ModelBase, wire: WireServer) -> None:
    """What to type to get it."""
    wire.fail(404, {"error": {"message": "model 'qwen3:8b' not found", "type": "api_error"}})

    result = await AgentRunner(model).get_response(Agent("a"), "?")

    assert getattr(result.error, "code", None) == "model.not_offered"
    assert getattr(result.error, "hint", None) == "ollama pull qwen3:8b"


async def test_a_server_that_is_not_there_has_a_hint(wire: WireServer) -> None:
    """What to type to start it."""
    wire.stop()
    model = LocalModel("m", Server(preset=LLAMACPP, url=f"{wire.url}/v1"))

    result = await AgentRunner(model).get_response(Agent("a"), "?")
    await model.aclose()

    assert getattr(result.error, "hint", None) == "llama-server -m MODEL.gguf"


async def test_a_proxy_is_for_other_machines(
    model: ModelBase, wire: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of this one is asked directly."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)

    assert (await asked(model, wire, {"content": "Yes."})).output == "Yes."


async def test_what_has_no_word_in_common_is_left_out(model: ModelBase, wire: WireServer) -> None:
    """And said; the server's own words pass as they are."""
    wire.answer(completion({"content": "Yes."}))
    settings = ModelSettings(thinking="high", extra={"reasoning_effort": "high"})

    result = await model.get_response(Agent("a", settings=settings), [Message.user("?")])

    assert [entry.what for entry in result.degraded] == ["the setting `thinking`"]
    assert wire.requests[0].json["reasoning_effort"] == "high"
