"""A request of ours as parameters of both APIs."""

from __future__ import annotations

from typing import Any

import pegboard_chatwire as chat
import pytest
from pegboard.errors import ModelContextOverflowError, ModelRequestError, ModelUnsupportedError
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
from pegboard_openai import responses
from pegboard_openai.model import CHAT
from pegboard_openai.models import line_of
from pegboard_openai.tuning import tuned

HELLO = Message.user("Hello.")
READ = ToolSpec("files.read", "Read a file.", {"type": "object", "properties": {}})
OPEN = ToolSpec("open", "Take anything.", {"type": "object"})
CLOSED = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
CALL = ToolCall(id="call_1", name="files.read", arguments={"path": "a"})


def request_of(*messages: Message, **fields: Any) -> ModelRequest:
    return ModelRequest(model="openai:gpt-x", messages=messages or (HELLO,), **fields)


def by_responses(*messages: Message, model: str = "gpt-4o", **fields: Any) -> responses.Sending:
    line = line_of(model)
    return responses.Sending(tuned(request_of(*messages, **fields), line), model, line)


def by_chat(*messages: Message, **fields: Any) -> chat.Sending:
    return chat.Sending(request_of(*messages, **fields), "gpt-4o", CHAT)


def settings(**values: Any) -> dict[str, Any]:
    return {"settings": ModelSettings(**values)}


def left_out(sending: responses.Sending | chat.Sending) -> list[str]:
    return [omission.what for omission in sending.omitted]


# --- Responses


def test_the_least_response() -> None:
    """Nothing is set that nobody set, and nothing is stored."""
    assert by_responses().params == {
        "model": "gpt-4o",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello."}]}],
        "store": False,
    }


def test_a_model_that_thinks_is_asked_for_what_it_thought() -> None:
    """Encrypted, since it is stored nowhere; a model that does not think refuses the question."""
    params = by_responses(model="gpt-6-astra", **settings(thinking="low")).params

    assert params["include"] == ["reasoning.encrypted_content"]
    assert params["reasoning"] == {"effort": "low"}


def test_a_turn_of_tools_as_items() -> None:
    """A result that is no success says so in words, since the wire has no field for it."""
    failed = ToolResult(call_id="call_1", status="error", content=(Text("no such file"),))
    said = Message("assistant", (Text("I look."), CALL))
    params = by_responses(HELLO, said, Message("tool", (failed,)), Message.user("And?"), tools=(READ,)).params

    assert params["input"][1:] == [
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "call_1", "name": "files_read", "arguments": '{"path":"a"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "error: no such file"},
        {"role": "user", "content": [{"type": "input_text", "text": "And?"}]},
    ]


def test_a_result_may_be_a_picture() -> None:
    """The wire takes one there."""
    result = ToolResult(call_id="call_1", content=(Text("See:"), File(media_type="image/png", data=b"x")))
    (item,) = by_responses(Message("tool", (result,))).params["input"]

    assert [block["type"] for block in item["output"]] == ["input_text", "input_image"]


def test_own_items_go_back_word_for_word() -> None:
    """Reasoning, calls of server tools, and what a text was for."""
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    own = {"provider": "openai", "model": "gpt-6-astra"}
    parts = (Thinking("hm", Opaque(kind="reasoning", data=item, **own)), Text("So."),
             Opaque(kind="phase", data="commentary", **own))  # fmt: skip
    params = by_responses(HELLO, Message("assistant", parts), model="gpt-6-astra").params

    assert params["input"][1:] == [item, {"role": "assistant", "content": "So.", "phase": "commentary"}]


def test_reasoning_that_nothing_came_of_is_left_out() -> None:
    """The API refuses it; an answer that was cut leaves some."""
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    thought = Opaque(provider="openai", model="gpt-4o", kind="reasoning", data=item)
    sending = by_responses(HELLO, Message("assistant", (thought,)), HELLO)

    assert [sent["role"] for sent in sending.params["input"]] == ["user", "user"]
    assert left_out(sending) == ["thinking"]


def test_what_is_bound_to_another_model_is_left_out_and_said() -> None:
    """What can be seen stays."""
    foreign = Opaque(provider="anthropic", model="c", kind="signature", data="x")
    older = Opaque(provider="openai", model="gpt-3", kind="reasoning", data={"type": "reasoning"})
    parts = (Thinking("hm"), Thinking("aha", foreign), older, UnknownPart({"type": "new"}), Text("Yes."))
    sending = by_responses(HELLO, Message("assistant", parts))

    assert sending.params["input"][1:] == [{"role": "assistant", "content": "Yes."}]
    assert left_out(sending) == ["thinking", "a `signature`", "a `reasoning`", "a `UnknownPart`"]


def test_settings_that_responses_lacks_are_said() -> None:
    """They are left out, and the result tells."""
    assert left_out(by_responses(**settings(seed=1, stop=("x",)))) == ["the setting `seed`", "the setting `stop`"]


@pytest.mark.parametrize("sending", [by_responses, by_chat])
def test_a_schema_that_strict_mode_has_not_is_sent_as_it_is(sending: Any) -> None:
    """And said not to be strict."""
    tools = sending(tools=(READ, OPEN)).params["tools"]
    functions = [tool.get("function", tool) for tool in tools]

    assert [(tool["strict"], tool["parameters"]) for tool in functions] == [(True, CLOSED), (False, {"type": "object"})]


def test_structured_output_of_a_response() -> None:
    """An object natively; anything else in words, which the result says."""
    objects = by_responses(output_schema=READ.input_schema)
    numbers = by_responses(output_schema={"type": "integer"}, instructions="Count.")

    assert objects.params["text"]["format"] == {
        "type": "json_schema", "name": "answer", "schema": CLOSED, "strict": True,
    }  # fmt: skip
    assert "text" not in numbers.params
    assert numbers.params["instructions"].endswith('{"type":"integer"}')
    assert left_out(numbers) == ["the output schema"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tool_choice": "files.read"}, {"tool_choice": {"type": "function", "name": "files_read"}}),
        ({"parallel_tools": False}, {"parallel_tool_calls": False}),
    ],
)
def test_the_choice_of_tools(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """By the words of the API, and only where there are tools."""
    params = by_responses(tools=(READ,), **settings(**given)).params

    assert expected.items() <= params.items()
    assert not expected.keys() & by_responses(**settings(**given)).params.keys()


def test_settings_of_the_provider_pass_as_they_are() -> None:
    """Its own tools come behind ours, and what we send as well is joined."""
    extra = {"tools": [{"type": "web_search"}], "service_tier": "flex", "reasoning": {"summary": "auto"},
             "include": ["web_search_call.results"]}  # fmt: skip
    sending = by_responses(tools=(READ,), model="gpt-6-astra", **settings(thinking="low", extra=extra))

    assert sending.params["tools"][1] == {"type": "web_search"}
    assert sending.extra == {
        "service_tier": "flex",
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content", "web_search_call.results"],
    }


# --- both


@pytest.mark.parametrize("sending", [by_responses, by_chat])
def test_a_long_id_stays_one_id(sending: Any) -> None:
    """Calls and results still belong together, though another provider's id is too long here."""
    long = "c" * 80
    call, result = ToolCall(id=long, name="a"), ToolResult(call_id=long)
    sent = repr(sending(Message("assistant", (call,)), Message("tool", (result,))).params)

    assert long not in sent
    assert sent.count("call_") - sent.count("call_id") - sent.count("call_output") >= 2


@pytest.mark.parametrize("sending", [by_responses, by_chat])
def test_the_same_request_has_the_same_bytes(sending: Any) -> None:
    """Otherwise no prefix is ever found in the cache; and making one changes no value of ours."""
    schema = {"type": "object", "properties": {"b": READ.input_schema}, "required": ["b"]}
    fields: dict[str, Any] = {"tools": (READ,), "output_schema": schema, "instructions": "Be kind."}

    assert repr(sending(**fields).params) == repr(sending(**fields).params)
    assert "additionalProperties" not in repr(schema)


PDF = File(media_type="application/pdf", data=b"x", name="a.pdf")


@pytest.mark.parametrize(
    ("sending", "file", "kind"),
    [
        (by_responses, File(media_type="image/png", data=b"x"), "input_image"),
        (by_responses, File(media_type="image/png", uri="https://example.com/a.png"), "input_image"),
        (by_responses, PDF, "input_file"),
        (by_responses, File(media_type="application/pdf", uri="https://example.com/a.pdf"), "input_file"),
        (by_responses, File(media_type="text/markdown; charset=utf-8", data=b"# x"), "input_text"),
        (by_chat, File(media_type="image/png", data=b"x"), "image_url"),
        (by_chat, PDF, "file"),
        (by_chat, File(media_type="audio/wav", data=b"x"), "input_audio"),
    ],
)
def test_files_that_they_take(sending: Any, file: File, kind: str) -> None:
    """Pictures, PDF and text; Chat Completions takes sounds too."""
    params = sending(Message("user", (Text("See:"), file))).params
    content = params.get("input", params.get("messages"))[0]["content"]

    assert content[1]["type"] == kind


@pytest.mark.parametrize(
    ("sending", "file", "error"),
    [
        (by_responses, File(media_type="audio/wav", data=b"x"), ModelUnsupportedError),
        (by_responses, File(media_type="video/mp4", data=b"x"), ModelUnsupportedError),
        (by_responses, File(media_type="image/png"), ModelRequestError),
        (by_responses, File(media_type="image/png", data=bytes(50_000_001)), ModelContextOverflowError),
        (by_chat, File(media_type="video/mp4", data=b"x"), ModelUnsupportedError),
        (by_chat, File(media_type="application/pdf", uri="https://example.com/a.pdf"), ModelUnsupportedError),
        (by_chat, File(media_type="audio/wav", uri="https://example.com/a.wav"), ModelRequestError),
    ],
)
def test_files_that_they_refuse(sending: Any, file: File, error: type[Exception]) -> None:
    """Before anything is sent."""
    with pytest.raises(error):
        sending(Message("user", (file,)))
