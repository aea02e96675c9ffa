"""The chunks of a streamed completion, from servers that differ in what they send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk
from pegboard import Agent, AgentRunner, ModelBase, RunResult
from pegboard.types import ModelChunk, ModelRequest
from pegboard_chatwire import Dialect, Receiving, Sending

COUNTS = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens": 9,
          "completion_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 19}  # fmt: skip
OPENAI = Dialect(provider="OpenAI")
LAX = Dialect(provider="A server", usage="asked", thinking=("reasoning_content",))


class Played(ModelBase):
    """A model whose server sends these deltas."""

    provider, name = "x", "y"

    def __init__(self, *deltas: dict[str, Any], finish: str | None, usage: bool, dialect: Dialect) -> None:
        chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        self._chunks = [*chunks, {"choices": [], "usage": COUNTS}] if usage else chunks
        self._dialect = dialect

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        sending = Sending(request, self.name, self._dialect)
        return Receiving(sending, self.name, self._dialect).chunks(self._events())

    async def _events(self) -> AsyncIterator[Any]:
        base: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "y"}
        for chunk in self._chunks:
            yield ChatCompletionChunk.construct(**base, **chunk)


async def asked(
    *deltas: dict[str, Any], finish: str | None = "stop", usage: bool = True, dialect: Dialect = OPENAI
) -> RunResult:
    """What a run comes to."""
    return await AgentRunner(Played(*deltas, finish=finish, usage=usage, dialect=dialect)).get_response(Agent("a"), "?")


async def test_the_counts_of_a_completion() -> None:
    """They come after the finish reason."""
    usage = (await asked({"content": "Yes."})).raise_for_error().usage

    assert (usage.input_tokens, usage.cache_read_tokens, usage.thinking_tokens) == (10, 4, 5)


@pytest.mark.parametrize(
    ("finish", "delta", "code"),
    [
        ("length", {"content": "Once"}, "model.output_limit"),
        ("content_filter", {"content": "Once"}, "model.content_refused"),
        ("stop", {"refusal": "Not that."}, "model.content_refused"),
        (None, {"content": "Once"}, "model.stream_incomplete"),
    ],
)
async def test_how_a_completion_ends(finish: Any, delta: Any, code: str) -> None:
    """A limit, a filter, a refusal in the model's words, or nothing said at all."""
    result = await asked(delta, finish=finish)

    assert getattr(result.error, "code", None) == code


async def test_without_counts_a_stream_was_cut_where_they_were_promised() -> None:
    """With another dialect nobody knows what it cost, and it is no error."""
    cut, lax = await asked({"content": "Yes."}, usage=False), await asked({"content": "Yes."}, usage=False, dialect=LAX)

    assert getattr(cut.error, "code", None) == "model.stream_incomplete"
    assert (lax.output, lax.usage.input_tokens, lax.usage.source) == ("Yes.", None, "unknown")


@pytest.mark.parametrize(
    "deltas",
    [
        [
            {"index": 0, "id": "a", "name": "p", "arguments": "{}"},
            {"index": 0, "id": "b", "name": "p", "arguments": "{}"},
        ],
        [{"index": 0, "name": "p", "arguments": "{}"}, {"index": 1, "name": "p", "arguments": "{}"}],
        [{"name": "p", "arguments": "{"}, {"arguments": "}"}, {"name": "p", "arguments": "{}"}],
        [
            {"index": 0, "id": "a", "name": "p", "arguments": "{}"},
            {"index": 1, "id": "a", "name": "p", "arguments": "{}"},
        ],
    ],
    ids=["one index", "no ids", "neither", "one id"],
)
async def test_two_calls_stay_two(deltas: list[dict[str, Any]]) -> None:
    """Servers number them as they like; each call gets an id of its own."""
    pieces = [{"tool_calls": [as_call(**delta)]} for delta in deltas]

    model = Played(*pieces, finish="stop", usage=True, dialect=OPENAI)

    calls = (await model.get_response(Agent("a"), "?", execute_tools=False)).pending_calls
    assert [(call.name, call.error) for call in calls] == [("p", None)] * 2
    assert len({call.id for call in calls} - {""}) == 2


def as_call(name: str | None = None, arguments: str = "", **fields: Any) -> dict[str, Any]:
    return {"type": "function", **fields, "function": {"name": name, "arguments": arguments}}


async def test_thinking_stands_where_the_dialect_says() -> None:
    """Servers have fields of their own for it."""
    result = await asked({"reasoning_content": "Hm."}, {"content": "Yes."}, dialect=LAX)

    assert [type(part).__name__ for part in result.messages[-1].parts] == ["Thinking", "Text"]


async def test_an_id_that_came_before_is_never_given_again() -> None:
    """Also where its call was replaced at its index: what comes would be added to the arguments of another call."""
    ids = ("a", "b", "a")
    result = await asked({"tool_calls": [as_call("x", "{}", index=0, id=id) for id in ids]}, finish="tool_calls")

    assert len({call.id for call in result.messages[1].tool_calls}) == 3
