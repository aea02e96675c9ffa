"""What errors of Chat Completions mean, beyond what their status says."""

from __future__ import annotations

import httpx2
import openai
import pytest
from pegboard.errors import ModelFault
from pegboard_chatwire.faults import StreamFaults, fault_in_stream, fault_of

REQUEST = httpx2.Request("POST", "https://example.com")


def refused(status: int, **body: str) -> openai.APIStatusError:
    """An answer of HTTP as the SDK raises it."""
    response = httpx2.Response(status, request=REQUEST, headers={"X-Request-Id": "r1", "Retry-After": "3"})
    return openai.APIStatusError("Error code", response=response, body=body)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (429, {"code": "insufficient_quota", "message": "no"}, "model.quota_exhausted"),
        (429, {"code": "rate_limit_exceeded", "message": "no"}, "model.rate_limited"),
        (429, {"code": "rate_limit_exceeded", "message": "Request too large for gpt-x"}, "model.context_overflow"),
        (400, {"code": "context_length_exceeded", "message": "no"}, "model.context_overflow"),
        (400, {"code": "unsupported_parameter", "message": "no"}, "model.unsupported"),
        (400, {"code": "unsupported_value", "message": "no"}, "model.unsupported"),
        (400, {"code": "invalid_prompt", "message": "no"}, "model.content_refused"),
        (400, {"code": "some_new_policy_violation", "message": "no"}, "model.content_refused"),
        (400, {"code": "model_not_found", "message": "no"}, "model.not_offered"),
        (400, {"code": "another", "type": "invalid_request_error", "message": "no"}, "model.bad_request"),
        (404, {"code": "model_not_found", "message": "no"}, "model.not_offered"),
        (529, {"message": "busy"}, "model.overloaded"),
    ],
)
def test_a_code_says_more_than_a_status(status: int, body: dict[str, str], code: str) -> None:
    """Whatever kind it becomes, it keeps what the answer said of itself."""
    fault = fault_of(refused(status, **body))

    assert fault is not None
    assert (fault.code, fault.status, fault.request_id, fault.retry_after_s) == (code, status, "r1", 3.0)
    assert fault.message == body["message"]


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        (("insufficient_quota",), "model.quota_exhausted"),
        (("unknown", "rate_limit_error"), "model.rate_limited"),
        (("503",), "model.overloaded"),
        (("server_error",), "model.server_error"),
        ((), "model.server_error"),
    ],
)
def test_an_error_in_a_stream_has_a_code_alone(codes: tuple[str, ...], code: str) -> None:
    """Its status was 200; without a word of it, it is the provider's error."""
    fault = fault_in_stream("no", codes)

    assert (fault.code, fault.phase) == (code, "stream")


def test_an_error_that_is_a_text_is_told() -> None:
    """So do some servers write it."""
    assert str(fault_of(openai.APIError("An error occurred", REQUEST, body="out of memory"))) == "out of memory"


def test_a_connection_that_is_lost_in_the_stream_is_cut() -> None:
    """The SDK has the same words for one that was never made."""
    lost = openai.APIConnectionError(request=REQUEST)
    lost.__cause__ = httpx2.RemoteProtocolError("peer closed connection")

    before = fault_of(lost)
    with pytest.raises(ModelFault) as within, StreamFaults():
        raise lost

    assert before is not None
    assert (before.code, within.value.code) == ("model.connection", "model.stream_cut")


def test_a_timeout_in_the_stream_stays_one() -> None:
    """So does whatever else is raised there."""
    with pytest.raises(openai.APITimeoutError), StreamFaults():
        raise openai.APITimeoutError(REQUEST)
