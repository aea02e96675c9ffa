"""What comes back, beyond what the conformance suite asks: signatures, server tools, stops, counts, Google's errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.genai import types
from pegboard import Agent, AgentRunner, Message, ModelBase, RunResult
from pegboard.errors import ModelFault
from pegboard.types import Citation, File, ModelRequest, ModelSettings, Opaque, Text, Thinking, to_json
from pegboard_gemini.config import Settings
from pegboard_gemini.model import GeminiModel
from pegboard_gemini.receiving import BLOCKED, FAULTS, REASONS
from pegboard_gemini.sending import PART, SIGNATURE
from pegboard_testing.tools import FakeTool
from pegboard_testing.wire_server import STALL, WireServer, wire_server

DATA = Path(__file__).parent / "data"
HARMS = ("HARASSMENT", "HATE_SPEECH")
SIGNED = "c2lnbmVk"
USAGE = {"promptTokenCount": 10, "candidatesTokenCount": 4, "totalTokenCount": 14}


def piece(*parts: Mapping[str, Any], reason: str | None = None, usage: Any = None, **candidate: Any) -> dict[str, Any]:
    """One event of a stream."""
    found: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0, **candidate}
    if reason is not None:
        found["finishReason"] = reason
    return {"candidates": [found], **({"usageMetadata": usage} if usage is not None else {})}


def stream(*pieces: Mapping[str, Any]) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(piece).encode() for piece in pieces)


def whole(*parts: Mapping[str, Any], **rest: Any) -> bytes:
    """An answer in one piece."""
    return stream(piece(*parts, reason=rest.pop("reason", "STOP"), usage=rest.pop("usage", USAGE), **rest))


@pytest.fixture
def wire() -> Iterator[WireServer]:
    with wire_server() as server:
        yield server


@pytest_asyncio.fixture
async def model(wire: WireServer) -> Any:
    async def key() -> str:
        return "k"

    model = GeminiModel("gemini-x", key=key, settings=Settings(base_url=wire.url))
    yield model
    await model.aclose()


async def run(model: ModelBase, *tools: FakeTool, **settings: Any) -> RunResult:
    agent = Agent("a", tools=tools, settings=ModelSettings(**settings))
    return await AgentRunner(model).get_response(agent, "?")


def parts(result: RunResult) -> Sequence[Any]:
    return result.messages[-1].parts


def fault(result: RunResult) -> ModelFault:
    assert isinstance(result.error, ModelFault), repr(result)
    return result.error


async def test_thinking_and_the_cache_are_counted(model: ModelBase, wire: WireServer) -> None:
    """Gemini counts thinking and what its tools brought apart; with us they are output and input."""
    counts = {"thoughtsTokenCount": 6, "cachedContentTokenCount": 3, "toolUsePromptTokenCount": 2}
    wire.answer(whole({"text": "Yes."}, usage={**USAGE, **counts}))

    usage = (await model.get_response(Agent("a"), "?")).usage

    assert (usage.input_tokens, usage.output_tokens) == (12, 10)
    assert (usage.cache_read_tokens, usage.thinking_tokens) == (3, 6)


async def test_calls_keep_their_signature(model: ModelBase, wire: WireServer) -> None:
    """Of parallel calls the first one has it; all go back as they came, with their results."""
    calls = [{"functionCall": {"name": "probe", "args": {"x": x}, "id": f"c{x}"}} for x in (1, 2)]
    wire.answer(stream(piece({**calls[0], "thoughtSignature": SIGNED}), piece(calls[1], reason="STOP", usage=USAGE)))
    wire.answer(whole({"text": "Done."}))

    result = await run(model, FakeTool("probe"))

    assert (result.raise_for_error().output, result.turns) == ("Done.", 2)
    asked, answered = wire.requests[1].json["contents"][1:]
    assert asked == {"role": "model", "parts": [{**calls[0], "thoughtSignature": SIGNED}, calls[1]]}
    assert [part["functionResponse"]["id"] for part in answered["parts"]] == ["c1", "c2"]


@pytest.mark.parametrize("reason", ["STOP", "FUNCTION_CALL"])
async def test_calls_without_an_id_get_one_of_ours(model: ModelBase, wire: WireServer, reason: str) -> None:
    """A different one for each, also in later turns; the turn may end with either reason."""
    probe = {"functionCall": {"name": "probe"}}
    for _ in range(2):
        wire.answer(whole(probe, probe, reason=reason))
    wire.answer(whole({"text": "Done."}))

    result = await run(model, FakeTool("probe", input_schema={"type": "object"}))

    calls = [part for message in result.raise_for_error().messages for part in message.tool_calls]
    assert len({call.id for call in calls}) == 4
    assert all(call.arguments == {} for call in calls)


async def test_text_that_is_signed(model: ModelBase, wire: WireServer) -> None:
    """The signature says how much of the text before it is signed; nothing of the SDK is in it."""
    wire.answer(stream(piece({"text": "Once "}), piece({"text": "upon", "thoughtSignature": SIGNED}, reason="STOP")))

    result = await model.get_response(Agent("a"), "?")

    text, signature = parts(result)
    assert text == Text("Once upon")
    assert (signature.kind, signature.data) == (SIGNATURE, {"signature": SIGNED, "characters": 4})
    assert to_json(result.messages[-1])


async def test_thinking_is_bound_to_the_model(model: ModelBase, wire: WireServer) -> None:
    """Also where it came without a signature: which model thought it is known."""
    signed = {"text": "b", "thought": True, "thoughtSignature": SIGNED}
    wire.answer(whole({"text": "a", "thought": True}, signed, {"text": "c", "thought": True}, {"text": "Yes."}))

    *thoughts, text = parts(await model.get_response(Agent("a"), "?"))

    assert [(part.text, part.bound.data, part.bound.model) for part in thoughts] == [
        ("a", None, "gemini-x"),
        ("b", SIGNED, "gemini-x"),
        ("c", None, "gemini-x"),
    ]
    assert isinstance(thoughts[0], Thinking)
    assert text == Text("Yes.")


async def test_tools_of_the_server_are_kept_and_sent_back(model: ModelBase, wire: WireServer) -> None:
    """Code that was run, with its result: word for word; a picture that it made is a file."""
    code = {"executableCode": {"code": "1+1", "language": "PYTHON"}}
    outcome = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}
    search: dict[str, Any] = {"toolCall": {"id": "t", "toolType": "GOOGLE_SEARCH_WEB"}, "thoughtSignature": SIGNED}
    picture = {"inlineData": {"mimeType": "image/png", "data": "eHl6"}}
    wire.answer(whole(code, outcome, search, picture, {"text": "Two."}))
    wire.answer(whole({"text": "Again."}))
    first = await run(model, extra={"tools": [{"code_execution": {}}]})

    await model.get_response(Agent("a"), [*first.raise_for_error().messages, Message.user("Again?")])

    assert wire.requests[0].json["tools"] == [{"codeExecution": {}}]
    kept = parts(first)
    assert [part.kind for part in kept if isinstance(part, Opaque)] == [PART] * 3
    assert kept[3] == File(media_type="image/png", data=b"xyz")
    sent = wire.requests[1].json["contents"][1]["parts"]
    search["toolCall"] = {"id": "t", "tool_type": "GOOGLE_SEARCH_WEB"}  # the SDK's spelling, which the API reads too
    picture["inlineData"] = {"mime_type": "image/png", "data": "eHl6"}
    assert sent == [code, outcome, search, picture, {"text": "Two."}]


async def test_sources_follow_the_text(model: ModelBase, wire: WireServer) -> None:
    """Each page once."""
    web = [{"web": {"uri": "https://example.com/a", "title": "A"}}] * 2
    grounding = {"groundingMetadata": {"groundingChunks": web, "webSearchQueries": ["x"]}}
    wire.answer(whole({"text": "So it is."}, **grounding))

    assert parts(await model.get_response(Agent("a"), "?")) == (
        Text("So it is."),
        Citation(source="https://example.com/a"),
    )


def test_every_reason_of_the_sdk_is_known() -> None:
    """A new one shows here first."""
    assert {reason.value for reason in types.FinishReason} <= {*REASONS, *FAULTS}


@pytest.mark.parametrize(
    "reason", [name for name, finish in REASONS.items() if finish == "refused" and name != BLOCKED]
)
async def test_a_refusal_says_why(model: ModelBase, wire: WireServer, reason: str) -> None:
    """By the name of the reason and what was rated as blocked; what it cost is known."""
    ratings = [{"category": f"HARM_CATEGORY_{name}", "blocked": name == "HARASSMENT"} for name in HARMS]
    wire.answer(whole(reason=reason, safetyRatings=ratings))

    result = await run(model)

    assert fault(result).code == "model.content_refused"
    assert str(result.error).endswith(f"`{reason}`: HARM_CATEGORY_HARASSMENT")
    assert result.usage.total_tokens == 14


async def test_a_prompt_that_is_blocked_says_why(model: ModelBase, wire: WireServer) -> None:
    """There is no candidate then, and no finish reason."""
    wire.answer(stream({"promptFeedback": {"blockReason": "BLOCKLIST"}, "usageMetadata": {"promptTokenCount": 10}}))

    result = await run(model)

    assert fault(result).code == "model.content_refused"
    assert str(result.error).endswith("`PROMPT_BLOCKED`: BLOCKLIST")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("MAX_TOKENS", "model.output_limit"),
        ("MALFORMED_FUNCTION_CALL", "model.stream_malformed"),
        ("MALFORMED_RESPONSE", "model.stream_malformed"),
        ("UNEXPECTED_TOOL_CALL", "model.stream_malformed"),
        ("MISSING_THOUGHT_SIGNATURE", "model.bad_request"),
        ("PUP_LIMITED_DISABLED", "model.permission"),
        ("CONTINUATION", "model.stream_incomplete"),
    ],
)
async def test_an_end_that_is_none(model: ModelBase, wire: WireServer, reason: str, code: str) -> None:
    """Is a fault, and what it cost is known."""
    wire.answer(whole({"text": "Once"}, reason=reason))

    result = await run(model)

    assert fault(result).code == code
    assert (result.usage.input_tokens, result.usage.output_tokens) == (10, 4)


async def test_a_reason_from_the_future_is_no_error(model: ModelBase, wire: WireServer) -> None:
    """And no warning of the SDK."""
    wire.answer(whole({"text": "Once"}, reason="SUNSET"))

    assert (await run(model)).raise_for_error().output == "Once"


async def test_an_answer_in_two_requests_is_one(model: ModelBase, wire: WireServer) -> None:
    """The server cuts it and gives a token for the rest; both requests are counted."""
    wire.answer(whole({"text": "Once "}, reason="CONTINUATION", continuationToken=SIGNED))
    wire.answer(whole({"text": "upon."}))

    result = await model.get_response(Agent("a"), "?")

    assert (result.output, len(result.messages)) == ("Once upon.", 2)
    assert (result.usage.requests, result.usage.total_tokens) == (2, 28)
    assert wire.requests[1].json["continuationToken"] == SIGNED
    assert wire.requests[1].json["contents"] == wire.requests[0].json["contents"]


async def test_a_cut_after_a_checkpoint_is_not_repeated(model: ModelBase, wire: WireServer) -> None:
    """The SDK would ask again by itself."""
    wire.answer(stream(piece({"text": "Once "}, continuationToken=SIGNED)))

    result = await run(model)

    assert (fault(result).code, len(wire.requests)) == ("model.stream_incomplete", 1)


async def test_what_was_thought_unseen_is_billed(model: ModelBase, wire: WireServer) -> None:
    """Of an answer that was cut: the counts that came before the cut."""
    wire.answer(stream(piece({"text": "Once"}, usage={"promptTokenCount": 10, "thoughtsTokenCount": 90})))

    result = await run(model)

    assert (result.usage.input_tokens, result.usage.output_tokens) == (10, 90)


@pytest.mark.parametrize(
    ("status", "error", "code", "retry_after_s"),
    [
        (400, {"message": "API key not valid. Please pass a valid API key."}, "model.auth", None),
        (400, {"message": "User location is not supported for the API use."}, "model.permission", None),
        (400, {"message": "Function calling is not enabled for models/x"}, "model.unsupported", None),
        (429, {"message": "You exceeded your current quota, see billing", "details": [
            {"@type": "QuotaFailure", "violations": [{"quotaId": "RequestsPerMinutePerProject"}]},
            {"@type": "RetryInfo", "retryDelay": "34.5s"}]}, "model.rate_limited", 34.5),
        (429, {"message": "You exceeded your current quota, see billing", "details": [
            {"@type": "QuotaFailure", "violations": [{"quotaId": "RequestsPerDayPerProject"}]},
            {"@type": "RetryInfo", "retryDelay": "9s"}]}, "model.quota_exhausted", 9.0),
    ],
    ids=["key", "place", "feature", "minute", "day"],
)  # fmt: skip
async def test_errors_of_google(
    model: ModelBase, wire: WireServer, status: int, error: Any, code: str, retry_after_s: float | None
) -> None:
    """Details say what status and words do not: one status for a wrong key and a bad request, one text for limits."""
    wire.fail(status, {"error": {"code": status, "status": "X", **error}})

    found = fault(await run(model))

    assert (found.code, found.retry_after_s, found.status) == (code, retry_after_s, status)


async def test_an_error_within_a_stream_has_its_kind(model: ModelBase, wire: WireServer) -> None:
    """Its status was 200 long before."""
    wire.answer(stream(piece({"text": "Once"}, usage=USAGE), {"error": {"code": 503, "message": "Overloaded."}}))

    result = await run(model)

    assert fault(result).code == "model.overloaded"
    assert result.usage.input_tokens == 10


@pytest.mark.parametrize(
    "broken",
    [{"text": 5}, {"functionCall": {"name": "x", "args": "no object"}}, {"text": "x", "thoughtSignature": "="}],
)
async def test_a_part_that_is_not_as_the_protocol_has_it(model: ModelBase, wire: WireServer, broken: Any) -> None:
    """Is malformed; what it held is not told on."""
    wire.answer(whole(broken))

    found = fault(await run(model))

    assert found.code == "model.stream_malformed"
    assert "no object" not in str(found)


async def test_a_setting_that_the_sdk_does_not_know(model: ModelBase, wire: WireServer) -> None:
    """Is a bad request, before anything is sent."""
    found = fault(await run(model, extra={"no_such_setting": 1}))

    assert (found.code, wire.requests) == ("model.bad_request", [])
    assert "no_such_setting" in str(found)


async def test_what_is_new_in_a_stream_is_no_error(model: ModelBase, wire: WireServer) -> None:
    """The provider adds fields and kinds of parts at any time."""
    wire.answer(stream({"news": 1}, piece({"newPart": {"x": 1}}, {"text": "Yes.", "new": 1}, reason="STOP", new=2)))

    assert (await model.get_response(Agent("a"), "?")).output == "Yes."


async def test_a_model_that_answers_for_another_is_named(model: ModelBase, wire: WireServer) -> None:
    """Old names are routed to new models."""
    wire.answer(stream({**piece({"text": "Yes."}, reason="STOP"), "modelVersion": "gemini-y"}))
    chunks = [chunk async for chunk in model.stream(ModelRequest(model=model.id, messages=(Message.user("?"),)))]

    assert chunks[-1].finish is not None
    assert chunks[-1].finish.model == "gemini-y"


async def test_leaving_closes_the_connection_at_once(model: ModelBase, wire: WireServer) -> None:
    """Not when the garbage collector comes."""
    wire.answer(whole({"text": "Once"}, reason=None), STALL)
    chunks = model.stream(ModelRequest(model=model.id, messages=(Message.user("?"),)))
    await anext(chunks)

    await chunks.aclose()  # type: ignore[attr-defined]  # it is a generator

    assert wire.client_left.wait(10)


async def test_instructions_and_tools_are_counted_as_text(model: ModelBase, wire: WireServer) -> None:
    """The counter of the API takes messages alone."""
    wire.answer(b'{"totalTokens": 31}', content_type="application/json")
    request = ModelRequest(model=model.id, messages=(Message.user("?"),), instructions="Be kind.")

    assert await model.count_tokens(request) == 31
    assert [content["parts"][0]["text"] for content in wire.requests[0].json["contents"]] == ["?", "Be kind."]
