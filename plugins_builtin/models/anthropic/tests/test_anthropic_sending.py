"""A request of ours as parameters of the Messages API."""

from __future__ import annotations

from typing import Any

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
from pegboard_anthropic.sending import Sending, strict

HELLO = Message.user("Hello.")
READ = ToolSpec("files.read", "Read a file.", {"type": "object", "properties": {}})


def sent(*messages: Message, model: str = "claude-sonnet-5-5", **fields: Any) -> Sending:
    return Sending(ModelRequest(model=f"anthropic:{model}", messages=messages or (HELLO,), **fields), model)


def settings(**values: Any) -> dict[str, Any]:
    return {"settings": ModelSettings(cache="off", **values)}


def test_the_least_request() -> None:
    """A number of tokens is always asked for; nothing is set that nobody set."""
    assert sent(**settings()).params == {
        "model": "claude-sonnet-5-5",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello."}]}],
        "max_tokens": 16_384,
    }


def test_instructions_and_system_messages_are_one() -> None:
    """Whoever wrote a system message later, the API has one place for it."""
    params = sent(Message("system", (Text("Be brief."),)), HELLO, instructions="Be kind.", **settings()).params

    assert params["system"] == [{"type": "text", "text": "Be kind.\n\nBe brief."}]
    assert len(params["messages"]) == 1


def test_results_stand_where_the_api_wants_them() -> None:
    """Those of one turn in one user message, also when a person said something after them."""
    call = ToolCall(id="call 1", name="files.read", arguments={"path": "a"})
    failed = ToolResult(call_id="call 1", status="error", content=(Text("no"),))
    params = sent(
        HELLO,
        Message("assistant", (call,)),
        Message("tool", (failed,)),
        Message.user("And?"),
        tools=(READ,),
        **settings(),
    ).params

    assert params["messages"][1:] == [
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "call_1", "name": "files_read", "input": {"path": "a"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "no"}],
             "is_error": True},
            {"type": "text", "text": "And?"}]},
    ]  # fmt: skip


def test_what_is_bound_to_another_model_is_left_out_and_said() -> None:
    """Signatures of another model break a history; what can be seen stays."""
    foreign = Opaque(provider="openai", model="o9", kind="reasoning", data="x")
    parts = (Thinking("hm"), Thinking("aha", foreign), foreign, UnknownPart({"type": "new"}), Text("Yes."))
    sending = sent(HELLO, Message("assistant", parts), **settings())

    assert sending.params["messages"][1]["content"] == [{"type": "text", "text": "Yes."}]
    assert [omission.what for omission in sending.omitted] == [
        "thinking", "thinking", "a `reasoning`", "a part of an unknown kind",
    ]  # fmt: skip


def test_a_message_with_nothing_left_is_not_sent() -> None:
    """The API refuses an empty one."""
    assert len(sent(HELLO, Message("assistant", (Thinking("hm"),)), HELLO, **settings()).params["messages"]) == 1


@pytest.mark.parametrize(
    ("model", "thinking", "expected"),
    [
        ("claude-sonnet-5-5", "off", {"thinking": {"type": "disabled"}}),
        ("claude-sonnet-5-5", "high", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        ("claude-sonnet-5-5", 2000, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ("claude-3-7-sonnet-x", "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
    ],
)
def test_thinking_is_asked_for_as_the_model_knows_it(model: str, thinking: Any, expected: dict[str, Any]) -> None:
    """A level for those that choose how long they think, a number of tokens for older ones."""
    params = sent(model=model, **settings(thinking=thinking)).params

    assert {name: params[name] for name in ("thinking", "output_config") if name in params} == expected


def test_the_answer_comes_on_top_of_thinking() -> None:
    """The limit covers both, and must be above the budget of thinking."""
    params = sent(**settings(thinking=20_000, max_output_tokens=1_000)).params

    assert params["max_tokens"] == 21_000


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "files.read"}, {"type": "tool", "name": "files_read"}),
        ({"tool_choice": "none", "parallel_tools": False}, {"type": "none"}),
        ({"parallel_tools": False}, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
def test_the_choice_of_tools(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """By the words of the API."""
    assert sent(tools=(READ,), **settings(**given)).params["tool_choice"] == expected


def test_a_setting_that_there_is_not_is_said() -> None:
    """It is left out, and the result tells."""
    assert [omission.what for omission in sent(**settings(seed=1)).omitted] == ["the setting `seed`"]


def test_settings_of_the_provider_pass_as_they_are() -> None:
    """And its own tools come behind ours."""
    web = {"type": "web_search_20250305", "name": "web_search"}
    params = sent(tools=(READ,), **settings(extra={"tools": [web], "service_tier": "auto"})).params

    assert params["tools"][1] == web
    assert params["extra_body"]["service_tier"] == "auto"


def test_the_prefix_is_cached_by_default() -> None:
    """After the instructions, which the tools stand before, and after the last message."""
    params = sent(HELLO, Message.assistant("Hi."), HELLO, instructions="Be kind.", tools=(READ,)).params

    marked = [block for message in params["messages"] for block in message["content"] if "cache_control" in block]
    assert "cache_control" in params["system"][0]
    assert "cache_control" not in params["tools"][0]
    assert marked == [params["messages"][2]["content"][0]]


def test_four_breakpoints_are_set_at_most() -> None:
    """The last ones of those that the layout asks for."""
    messages = [HELLO, Message.assistant("Hi.")] * 4
    params = sent(*messages, instructions="Be kind.", cache_marks=tuple(range(8))).params

    marked = [index for index, message in enumerate(params["messages"]) if "cache_control" in message["content"][-1]]
    assert marked == [5, 6, 7]


def test_the_same_request_has_the_same_bytes() -> None:
    """Otherwise no prefix is ever found in the cache; and making one changes no value of ours."""
    schema = {"type": "object", "properties": {"b": {"type": "object"}, "a": {"enum": ["x"]}}}
    request: dict[str, Any] = {"tools": (READ,), "output_schema": schema, "instructions": "Be kind."}

    assert repr(sent(**request).params) == repr(sent(**request).params)
    assert "additionalProperties" not in repr(schema)


def test_objects_of_a_schema_are_closed() -> None:
    """In every depth; what is data and no schema stays."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "object"}}},
        "default": {"type": "object"},
    }

    closed = strict(schema)

    assert closed["additionalProperties"] is False
    assert closed["properties"]["a"]["items"] == {"type": "object", "additionalProperties": False}
    assert closed["default"] == {"type": "object"}


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (File(media_type="image/png", data=b"x"), "image"),
        (File(media_type="image/png", uri="https://example.com/a.png"), "image"),
        (File(media_type="application/pdf", data=b"x", name="a.pdf"), "document"),
        (File(media_type="text/markdown; charset=utf-8", data=b"# x", name="a.md"), "document"),
    ],
)
def test_files_that_it_takes(file: File, kind: str) -> None:
    """Pictures, PDF and text."""
    (block,) = sent(Message("user", (file,)), **settings()).params["messages"][0]["content"]

    assert block["type"] == kind
    assert block.get("title") == (file.name if kind == "document" else None)


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (File(media_type="audio/wav", data=b"x"), ModelUnsupportedError),
        (File(media_type="image/png"), ModelRequestError),
        (File(media_type="image/png", data=b""), ModelRequestError),
        (File(media_type="image/png", data=bytes(6_000_000)), ModelContextOverflowError),
        (File(media_type="application/pdf", data=bytes(26_000_000)), ModelContextOverflowError),
    ],
)
def test_files_that_it_refuses(file: File, error: type[Exception]) -> None:
    """Before anything is sent."""
    with pytest.raises(error):
        sent(Message("user", (file,)))
