"""A request of ours as parameters of Chat Completions."""

from __future__ import annotations

from typing import Any

import pytest
from pegboard.errors import ModelRequestError
from pegboard.types import (
    File,
    Message,
    ModelRequest,
    ModelSettings,
    Opaque,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    UnknownPart,
)
from pegboard_chatwire import Dialect, Sending

OPENAI = Dialect(provider="OpenAI")
HELLO = Message.user("Hello.")
READ = ToolSpec("files.read", "Read a file.", {"type": "object", "properties": {}})
OPEN = ToolSpec("open", "Take anything.", {"type": "object"})
CLOSED = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
CALL = ToolCall(id="call_1", name="files.read", arguments={"path": "a"})


def by_chat(*messages: Message, dialect: Dialect = OPENAI, **fields: Any) -> Sending:
    return Sending(ModelRequest(model="a:b", messages=messages or (HELLO,), **fields), "gpt-4o", dialect)


def settings(**values: Any) -> dict[str, Any]:
    return {"settings": ModelSettings(**values)}


def left_out(sending: Sending) -> list[str]:
    return [omission.what for omission in sending.omitted]


def test_the_least_chat() -> None:
    """Usage is asked for, since a stream has none by itself."""
    assert by_chat().params == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hello."}],
        "stream_options": {"include_usage": True},
    }


def test_a_turn_of_tools_as_messages() -> None:
    """A picture in a result follows the results, since those are text."""
    failed = ToolResult(call_id="call_1", status="error", content=(Text("no"),))
    seen = ToolResult(call_id="call_2", content=(File(media_type="image/png", data=b"x"),))
    said = Message("assistant", (CALL, ToolCall(id="call_2", name="files.read")))
    sending = by_chat(HELLO, said, Message("tool", (seen,)), Message("tool", (failed,)), HELLO, instructions="Be kind.")
    sent = sending.params["messages"]

    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool", "tool", "user", "user"]
    assert sent[2] == {
        "role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "files_read", "arguments": '{"path":"a"}'}},
            {"id": "call_2", "type": "function", "function": {"name": "files_read", "arguments": "{}"}}]}  # fmt: skip
    assert sent[4] == {"role": "tool", "tool_call_id": "call_1", "content": "error: no"}
    assert [block["type"] for block in sent[5]["content"]] == ["text", "image_url"]


def test_chat_takes_text_and_calls_from_a_model() -> None:
    """What else there is, is left out and said; a message with nothing left is not sent."""
    sending = by_chat(HELLO, Message("assistant", (Thinking("hm"), UnknownPart({"type": "new"}))))

    assert len(sending.params["messages"]) == 1
    assert left_out(sending) == ["thinking", "a `UnknownPart`"]


def test_a_server_does_not_want_its_thinking_back() -> None:
    """So nothing is said of it, turn after turn; what is bound to another provider is a loss."""
    dialect = Dialect(provider="A server", thinking=("reasoning",))
    bound = Opaque(provider="anthropic", model="claude-x", kind="signature", data="s")

    assert left_out(by_chat(Message("assistant", (Thinking("hm"), Text("Yes."))), dialect=dialect)) == []
    assert left_out(by_chat(Message("assistant", (Thinking("hm", bound),)), dialect=dialect)) == ["thinking"]


def test_settings_of_chat() -> None:
    """It has seeds and stops, and its own name for the limit."""
    params = by_chat(**settings(seed=1, stop=("x",), max_output_tokens=9, tool_choice="open"), tools=(OPEN,)).params

    assert (params["seed"], params["stop"], params["max_completion_tokens"]) == (1, ["x"], 9)
    assert params["tool_choice"] == {"type": "function", "function": {"name": "open"}}


def test_another_dialect() -> None:
    """An older name for the limit, nothing strict, and no question for usage."""
    dialect = Dialect(provider="A server", limit="max_tokens", strict=False, usage="never")
    params = by_chat(dialect=dialect, tools=(READ,), output_schema=CLOSED, **settings(max_output_tokens=9)).params

    assert params["max_tokens"] == 9
    assert params["response_format"]["json_schema"] == {"name": "answer", "schema": CLOSED}
    assert "strict" not in params["tools"][0]["function"]
    assert "stream_options" not in params


def test_structured_output_of_a_completion() -> None:
    """Objects by a strict schema; what cannot be said so, in words."""
    objects = by_chat(output_schema=READ.input_schema)
    numbers = by_chat(output_schema={"type": "integer"})

    expected = {"name": "answer", "schema": CLOSED, "strict": True}
    assert objects.params["response_format"] == {"type": "json_schema", "json_schema": expected}
    assert "response_format" not in numbers.params
    assert numbers.params["messages"][0]["content"].endswith('{"type":"integer"}')
    assert left_out(numbers) == ["the output schema"]


def test_an_empty_picture_is_refused() -> None:
    """Before anything is sent; an empty text is one."""
    with pytest.raises(ModelRequestError, match=r"the file `a\.png` is empty"):
        by_chat(Message("user", (File(media_type="image/png", data=b"", name="a.png"),)))
    sending = by_chat(Message("user", (File(media_type="text/plain", data=b"", name="a.txt"),)))
    assert sending.params["messages"] == [{"role": "user", "content": "a.txt:\n"}]
