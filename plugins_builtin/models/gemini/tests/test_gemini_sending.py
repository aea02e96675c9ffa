"""A request of ours as contents and configuration of the API."""

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
from pegboard_gemini.sending import PART, SIGNATURE, Sending

MODEL = "gemini-3.8-flash"
HELLO = Message.user("Hello.")
READ = ToolSpec("files.read", "Read a file.", {"type": "object", "properties": {"path": {"type": "string"}}})
NOW = ToolSpec("now", "The time.", {"type": "object", "properties": {}})
ALWAYS = {"automatic_function_calling": {"disable": True}, "automatic_continuation": False}
OLD = "gemini-2.5-flash"


def sent(*messages: Message, model: str = MODEL, **fields: Any) -> Sending:
    return Sending(ModelRequest(model=f"gemini:{model}", messages=messages or (HELLO,), **fields), model)


def settings(**values: Any) -> dict[str, Any]:
    return {"settings": ModelSettings(**values)}


def bound(kind: str, data: Any, model: str = MODEL) -> Opaque:
    return Opaque(provider="gemini", model=model, kind=kind, data=data)


def call(id: str, signature: str | None = None, model: str = MODEL) -> ToolCall:
    return ToolCall(id=id, name="now", bound=bound(SIGNATURE, signature, model) if signature else None)


def test_the_least_request() -> None:
    """Nothing is set that nobody set, but that the SDK does nothing by itself."""
    sending = sent()

    assert sending.contents == [{"role": "user", "parts": [{"text": "Hello."}]}]
    assert sending.config == ALWAYS


def test_instructions_and_system_messages_are_one() -> None:
    """Whoever wrote a system message later, the API has one place for it."""
    sending = sent(Message("system", (Text("Be brief."),)), HELLO, instructions="Be kind.")

    assert sending.config["system_instruction"] == "Be kind.\n\nBe brief."
    assert len(sending.contents) == 1


def test_results_of_parallel_calls_are_one_content() -> None:
    """With the names and ids of their calls; what a person says after them is another one."""
    results = [
        Message("tool", (ToolResult(call_id="1", content=(Text("noon"),)),)),
        Message("tool", (ToolResult(call_id="2", status="error", content=(Text("no"),)),)),
    ]
    sending = sent(HELLO, Message("assistant", (call("1", "c2ln"), call("2"))), *results, Message.user("And?"))

    assert sending.contents[1]["parts"] == [
        {"function_call": {"id": "1", "name": "now", "args": {}}, "thought_signature": "c2ln"},
        {"function_call": {"id": "2", "name": "now", "args": {}}},
    ]
    assert sending.contents[2:] == [
        {"role": "user", "parts": [
            {"function_response": {"id": "1", "name": "now", "response": {"output": "noon"}}},
            {"function_response": {"id": "2", "name": "now", "response": {"error": "no"}}}]},
        {"role": "user", "parts": [{"text": "And?"}]},
    ]  # fmt: skip


def test_a_picture_that_a_tool_gave() -> None:
    """Within the result where the model takes it there, else beside it."""
    picture = File(media_type="image/png", data=b"x")
    message = Message("tool", (ToolResult(call_id="1", content=(Text("here"), picture)),))
    inline = {"inline_data": {"data": b"x", "mime_type": "image/png"}}

    (within,) = sent(message).contents[0]["parts"]
    _, beside = sent(message, model=OLD).contents[0]["parts"]

    assert within["function_response"]["parts"] == [inline]
    assert beside == inline


def test_what_is_bound_to_another_model_is_left_out_and_said() -> None:
    """Signatures of another model break a history; what can be seen stays."""
    foreign = Opaque(provider="openai", model="o9", kind="reasoning", data="x")
    older = bound(SIGNATURE, {"signature": "c2ln", "characters": 4}, OLD)
    parts = (Thinking("hm"), Thinking("aha", foreign), foreign, UnknownPart({"type": "new"}), Text("Yes."), older)
    sending = sent(HELLO, Message("assistant", parts))

    assert sending.contents[1]["parts"] == [{"text": "Yes."}]
    assert [omission.what for omission in sending.omitted] == [
        "thinking", "thinking", "a `reasoning`", "a part of an unknown kind", "a `signature`",
    ]  # fmt: skip


def test_a_call_of_another_model_says_that_its_signature_is_not_to_be_checked() -> None:
    """Later models refuse a turn whose first call has none; older ones never asked for it."""
    history = (HELLO, Message("assistant", (call("1", "c2ln", OLD), call("2"))))

    new, old = sent(*history), sent(*history, model=OLD)

    assert [part.get("thought_signature") for part in new.contents[1]["parts"]] == [
        "skip_thought_signature_validator",
        None,
    ]
    assert [omission.what for omission in new.omitted] == ["a `signature`"]
    assert old.contents[1]["parts"][0]["thought_signature"] == "c2ln"
    assert old.omitted == []


@pytest.mark.parametrize(
    ("characters", "expected"),
    [
        (0, [{"text": "Once upon"}, {"text": "", "thought_signature": "c2ln"}]),
        (4, [{"text": "Once "}, {"text": "upon", "thought_signature": "c2ln"}]),
        (9, [{"text": "Once upon", "thought_signature": "c2ln"}]),
        (99, [{"text": "Once upon", "thought_signature": "c2ln"}]),
    ],
)
def test_a_signature_signs_the_part_that_it_signed(characters: int, expected: list[dict[str, Any]]) -> None:
    """The end of a text, of which the beginning came in parts that were not signed."""
    signature = bound(SIGNATURE, {"signature": "c2ln", "characters": characters})

    assert sent(Message("assistant", (Text("Once upon"), signature))).contents[0]["parts"] == expected


def test_parts_of_this_model_go_back_as_they_came() -> None:
    """Thinking with and without a signature, calls of server tools, a signed picture."""
    code = {"executableCode": {"code": "1+1", "language": "PYTHON"}}
    parts = (
        Thinking("hm", bound(SIGNATURE, "c2ln")),
        Thinking("so", bound(SIGNATURE, None)),
        bound(PART, code),
        File(media_type="image/png", data=b"x"),
        bound(SIGNATURE, {"signature": "c2ln", "characters": 0}),
    )
    sending = sent(Message("assistant", parts))

    assert sending.omitted == []
    assert sending.contents[0]["parts"] == [
        {"text": "hm", "thought": True, "thought_signature": "c2ln"},
        {"text": "so", "thought": True},
        code,
        {"inline_data": {"data": b"x", "mime_type": "image/png"}, "thought_signature": "c2ln"},
    ]


def test_a_message_with_nothing_left_is_not_sent() -> None:
    """The API refuses an empty one."""
    contents = sent(HELLO, Message("assistant", (Thinking("hm"),)), HELLO).contents

    assert contents == [{"role": "user", "parts": [{"text": "Hello."}, {"text": "Hello."}]}]


@pytest.mark.parametrize(
    ("model", "thinking", "expected", "is_said"),
    [
        (MODEL, "high", {"thinking_level": "HIGH", "include_thoughts": True}, False),
        (MODEL, "off", {"thinking_level": "LOW", "include_thoughts": False}, True),
        (MODEL, 5_000, {"thinking_level": "MEDIUM", "include_thoughts": True}, True),
        (MODEL, 99_000, {"thinking_level": "HIGH", "include_thoughts": True}, True),
        ("gemini-3-pro-preview", "medium", {"thinking_level": "HIGH", "include_thoughts": True}, True),
        ("gemini-3.5-flash-lite", "off", {"thinking_level": "MINIMAL", "include_thoughts": False}, True),
        (OLD, "low", {"thinking_budget": 2_048, "include_thoughts": True}, False),
        (OLD, 2_000, {"thinking_budget": 2_000, "include_thoughts": True}, False),
        (OLD, "off", {"thinking_budget": 0, "include_thoughts": False}, False),
        ("gemini-2.5-pro", "off", {"thinking_budget": 128, "include_thoughts": False}, True),
        ("gemini-2.0-flash", "high", None, True),
        ("gemini-2.0-flash", "off", None, False),
    ],
)
def test_thinking_is_asked_for_as_the_model_knows_it(model: str, thinking: Any, expected: Any, is_said: bool) -> None:
    """By a level or by tokens; what it cannot do is said, and the nearest to it is asked for."""
    sending = sent(model=model, **settings(thinking=thinking))

    assert sending.config.get("thinking_config") == expected
    assert bool(sending.omitted) == is_said


def test_tools_are_declared() -> None:
    """With names that the API takes; one without properties has no schema, since an empty one is refused."""
    odd = ToolSpec("2fa", "", {"type": "object", "properties": {"x": {}}})

    (tool,) = sent(tools=(READ, NOW, odd)).config["tools"]

    assert tool["function_declarations"] == [
        {"name": "files_read", "description": "Read a file.", "parameters_json_schema": READ.input_schema},
        {"name": "now", "description": "The time."},
        {"name": "_fa", "description": "", "parameters_json_schema": odd.input_schema},
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ("files.read", {"mode": "ANY", "allowed_function_names": ["files_read"]}),
    ],
)
def test_the_choice_of_tools(choice: str, expected: dict[str, Any]) -> None:
    """By the words of the API."""
    config = sent(tools=(READ,), **settings(tool_choice=choice)).config

    assert config["tool_config"] == {"function_calling_config": expected}


def test_tools_of_the_server_stand_beside_ours() -> None:
    """Both kinds together must be asked for, where the model can have them."""
    extra = {"tools": [{"google_search": {}}], "service_tier": "flex"}
    both = sent(tools=(NOW,), **settings(extra=extra)).config
    alone = sent(**settings(extra=extra)).config

    assert both["tools"][1] == {"google_search": {}}
    assert both["tool_config"] == {"include_server_side_tool_invocations": True}
    assert (alone["tools"], alone["service_tier"]) == ([{"google_search": {}}], "flex")
    assert "tool_config" not in alone


def test_settings_have_the_words_of_the_api() -> None:
    """All of them."""
    values: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "top_k": 3, "seed": 7, "max_output_tokens": 100}

    assert sent(**settings(stop=("END",), **values)).config == {**values, "stop_sequences": ["END"], **ALWAYS}


def test_a_schema_asks_for_json() -> None:
    """As it is: the API takes JSON Schema."""
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    config = sent(output_schema=schema).config

    assert (config["response_json_schema"], config["response_mime_type"]) == (schema, "application/json")


def test_a_setting_that_there_is_not_is_said() -> None:
    """It is left out, and the result tells."""
    sending = sent(tools=(NOW,), **settings(parallel_tools=False))

    assert [omission.what for omission in sending.omitted] == ["the setting `parallel_tools`"]


@pytest.mark.parametrize(
    ("media_type", "told"),
    [
        ("image/webp", "image/webp"),
        ("application/pdf", "application/pdf"),
        ("audio/wav", "audio/wav"),
        ("text/markdown; charset=utf-8", "text/plain"),
    ],
)
def test_files_that_it_takes(media_type: str, told: str) -> None:
    """Pictures, PDF, sound and text, within the request."""
    (part,) = sent(Message("user", (File(media_type=media_type, data=b"x"),))).contents[0]["parts"]

    assert part == {"inline_data": {"data": b"x", "mime_type": told}}


def test_a_file_by_its_address() -> None:
    """The API fetches it."""
    (part,) = sent(Message("user", (File(media_type="image/png", uri="https://example.com/a.png"),))).contents[0][
        "parts"
    ]

    assert part == {"file_data": {"file_uri": "https://example.com/a.png", "mime_type": "image/png"}}


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ([File(media_type="application/zip", data=b"x")], ModelUnsupportedError),
        ([File(media_type="image/png")], ModelRequestError),
        ([File(media_type="image/png", data=b"")], ModelRequestError),
        ([File(media_type="image/png", data=bytes(50_000_001))], ModelContextOverflowError),
        ([File(media_type="application/pdf", data=bytes(40_000_000))] * 2, ModelContextOverflowError),
    ],
    ids=["type", "nothing", "empty", "one", "together"],
)
def test_files_that_it_refuses(files: list[File], error: type[Exception]) -> None:
    """Before anything is sent."""
    with pytest.raises(error):
        sent(Message("user", tuple(files)))


def test_the_same_request_has_the_same_values() -> None:
    """Otherwise no prefix is ever found in the cache; and making one changes no value of ours."""
    request: dict[str, Any] = {"tools": (READ,), "instructions": "Be kind."}
    history = [HELLO, Message("assistant", (call("1"),))]

    first, second = sent(*history, **request), sent(*history, **request)

    assert (first.contents, first.config) == (second.contents, second.config)
