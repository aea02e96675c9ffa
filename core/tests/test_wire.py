"""What model plugins share: tool names within an alphabet, and what answers of HTTP and errors of a transport mean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pegboard.errors import (
    CredentialsInvalidError,
    CredentialsMissingError,
    ModelFault,
    ModelRateLimitedError,
    ModelStreamMalformedError,
)
from pegboard.types import Omission
from pegboard.wire import (
    MOST_NAMES,
    Omissions,
    SdkClient,
    ToolNames,
    fault_of_status,
    fault_of_transport,
    ids_of,
    is_described,
    retry_after_s,
    told,
    usable_key,
    without_empty,
)


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "temperature: must be below 1", "model.bad_request"),
        (400, "prompt is too long: 210000 tokens > 200000 maximum", "model.context_overflow"),
        (400, "This model's maximum context length is 8192 tokens.", "model.context_overflow"),
        (400, "The input token count (9) exceeds the maximum number of tokens allowed (8).", "model.context_overflow"),
        (400, "Your credit balance is too low to access the API.", "model.quota_exhausted"),
        (401, "invalid x-api-key", "model.auth"),
        (402, "pay", "model.quota_exhausted"),
        (403, "not for you", "model.permission"),
        (404, "model: claude-9", "model.not_offered"),
        (408, "slow", "model.timeout"),
        (413, "too large", "model.context_overflow"),
        (422, "what?", "model.bad_request"),
        (429, "Rate limited", "model.rate_limited"),
        (429, "You exceeded your current quota, please check your plan and billing details.", "model.quota_exhausted"),
        (500, "boom", "model.server_error"),
        (503, "soon", "model.overloaded"),
        (504, "slow", "model.timeout"),
        (529, "Overloaded", "model.overloaded"),
    ],
)
def test_a_status_has_one_meaning(status: int, message: str, code: str) -> None:
    """Where a status means several things, what the provider says decides."""
    fault = fault_of_status(status, message)

    assert (fault.code, fault.status, fault.message) == (code, status, message)


def test_a_request_can_be_asked_about() -> None:
    """Its id is in the fault, whichever header the provider uses."""
    assert fault_of_status(500, "", {"x-request-id": "r1"}).request_id == "r1"
    assert fault_of_status(500, "", {"request-id": "r2"}).request_id == "r2"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "7"}, 7.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_when_to_come_again(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds, or nothing where nothing can be made of it."""
    assert retry_after_s(headers) == seconds


def test_when_to_come_again_as_a_date() -> None:
    """RFC 9110 allows one; one in the past is now."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=100), usegmt=True)

    assert 90 < (retry_after_s({"retry-after": soon}) or 0) <= 100
    assert retry_after_s({"retry-after": past}) == 0.0


class TransportError(Exception):
    """As HTTP libraries have them."""


class ReadError(TransportError):
    """A connection was reset."""


class RemoteProtocolError(TransportError):
    """The other side did something that is not HTTP."""


class TimeoutException(TransportError):  # so they call it
    """Too slow."""


class ConnectTimeout(TimeoutException):
    """Not even connected."""


class APIConnectionError(Exception):
    """As SDKs have it."""


@pytest.mark.parametrize(
    ("error", "code", "phase"),
    [
        (TransportError("no route"), "model.connection", "connect"),
        (ConnectionRefusedError("no"), "model.connection", "connect"),
        (APIConnectionError("no"), "model.connection", "connect"),
        (RemoteProtocolError("Server disconnected without sending a response."), "model.connection", "connect"),
        (RemoteProtocolError("peer closed connection"), "model.stream_cut", "stream"),
        (ReadError(""), "model.stream_cut", "stream"),
        (TimeoutException(""), "model.timeout", "stream"),
        (ConnectTimeout(""), "model.timeout", "connect"),
        (TimeoutError(), "model.timeout", "stream"),
        (json.JSONDecodeError("x", "y", 0), "model.stream_malformed", "parse"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), "model.stream_malformed", "parse"),
    ],
    ids=repr,
)
def test_errors_below_an_sdk(error: Exception, code: str, phase: str) -> None:
    """Told apart by their names, since core knows no HTTP library."""
    fault = fault_of_transport(error)

    assert fault is not None
    assert (fault.code, fault.phase) == (code, phase)


def test_other_errors_are_not_explained_away() -> None:
    """A bug stays one."""
    assert fault_of_transport(KeyError("x")) is None


def test_tool_names_go_there_and_back() -> None:
    """With what a provider refuses replaced; two that would be the same stay two, and short enough."""
    long = "a" * 70
    names = ToolNames(["files.read", "files_read", "files-read", "", f"{long}1", f"{long}2"])

    wires = [names.wire(name) for name in ("files.read", "files_read", "files-read", "", f"{long}1", f"{long}2")]

    assert wires[:3] == ["files_read", "files_read_2", "files-read"]
    assert len(set(wires)) == 6
    assert all(len(wire) <= 64 for wire in wires)
    assert [names.own(wire) for wire in wires] == ["files.read", "files_read", "files-read", "", f"{long}1", f"{long}2"]


def test_a_name_that_a_model_made_up_stays() -> None:
    """The call is answered by an error that names it."""
    assert ToolNames(["a"]).own("made_up") == "made_up"


def test_a_tool_of_the_history_has_a_name_too() -> None:
    """It need not be offered any more."""
    assert ToolNames([]).wire("old.tool") == "old_tool"


class Client:
    """As SDKs have it."""

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


async def test_a_client_is_made_once_and_closed_once() -> None:
    """Turns that begin together share it, and the key is asked for once; after its end another one is made."""
    asked: list[str] = []

    async def key() -> str:
        asked.append("k")
        return "k"

    sdk = SdkClient(Client, key)
    await sdk.close()

    first, second = await asyncio.gather(sdk.get(), sdk.get())
    await sdk.close()
    await sdk.close()

    assert first is second
    assert (first.key, first.closed, asked, sdk.made) == ("k", 1, ["k"], None)
    assert await sdk.get() is not first


async def test_a_client_that_could_not_be_made_is_tried_again() -> None:
    """A key may be there the next time."""
    keys: list[str] = []

    async def key() -> str:
        return keys[0]

    sdk = SdkClient(Client, key)
    with pytest.raises(IndexError):
        await sdk.get()
    keys.append("k")

    assert (await sdk.get()).key == "k"


def test_what_was_left_out_is_said_once() -> None:
    """However many parts of a history it concerns; in the order in which it came up."""
    omitted = Omissions([Omission("a", "b")])

    omitted.note("c", "d")
    omitted.note("a", "b")
    omitted.note("a", "e")

    assert omitted == [Omission("a", "b"), Omission("c", "d"), Omission("a", "e")]


def test_a_parameter_that_says_nothing_is_not_sent() -> None:
    """Nor is one that is empty; 0 and `False` are answers."""
    given = without_empty(a=None, b="", c=[], d={}, e=0, f=False, g="x")

    assert given == {"e": 0, "f": False, "g": "x"}


# --- what may be told ----------------------------------------------------------------------------------------------


def test_a_fault_that_is_told_holds_no_key() -> None:
    """Not in its message, its notes or the id of its request; a cause that says it is let go."""
    fault = ModelFault("wrong key sk-1", request_id="req sk-1")
    fault.add_note("it was sk-1")
    fault.__cause__ = ValueError("Illegal header value b'Bearer sk-1'")

    shown = told(fault, ("sk-1",))

    assert (str(shown), shown.message, shown.request_id) == ("wrong key ***", "wrong key ***", "req ***")
    assert (shown.__notes__, shown.__cause__) == (["it was ***"], None)


def test_a_cause_without_a_key_stays() -> None:
    """It says where things went wrong."""
    fault, cause = ModelFault("a"), ValueError("b")
    fault.__cause__ = cause

    assert told(fault, ("sk-1", "")).__cause__ is cause


def test_what_a_provider_says_is_one_line() -> None:
    """It can neither imitate a hint of ours nor start a command of the terminal, and has an end."""
    shown = told(ModelFault("bad\r\n\nhint: run `x`\x1b[2J\u202e" + "y" * 10_000, request_id="\x1b[31mr\n"))

    assert shown.message.startswith(r"bad hint: run `x`\x1b[2J\u202eyyy")
    assert len(shown.message) == 501
    assert shown.request_id == r"\x1b[31mr"


def test_a_model_that_explains_itself_keeps_its_lines() -> None:
    """As long as nobody else said it."""
    assert told(ModelFault("a\nb"), is_own=True).message == "a\nb"
    assert told(ModelFault("a\nb", status=400), is_own=True).message == "a b"


@pytest.mark.parametrize("wait", ["soon", -1.0, float("inf"), float("nan")], ids=repr)
def test_a_wait_that_is_none_is_not_kept(wait: object) -> None:
    """A plugin may take it from a provider as it is."""
    assert told(ModelRateLimitedError("a", retry_after_s=wait)).retry_after_s is None  # type: ignore[arg-type]


def test_a_key_is_sent_without_the_white_space_around_it() -> None:
    """A file ends with a line break, and a shell keeps it."""
    assert usable_key(" sk-1\r\n") == "sk-1"


def test_white_space_is_no_key() -> None:
    """As if there were none."""
    with pytest.raises(CredentialsMissingError):
        usable_key(" \n")


@pytest.mark.parametrize("key", ["sk-se\ncret", "sk\u2013secret", "sk-secret\x00", "\ufeffsk-secret"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str) -> None:
    """The error says where it is wrong."""
    with pytest.raises(CredentialsInvalidError) as refused:
        usable_key(key)

    assert "se" not in str(refused.value).replace("sent", "")
    assert (refused.value.code, refused.value.__context__) == ("credentials.invalid", None)


async def test_a_client_gets_the_key_as_it_is_sent() -> None:
    """And nobody who tells of an error may repeat it."""

    async def key() -> str:
        return "sk-1\n"

    sdk = SdkClient(Client, key)

    assert (await sdk.get()).key == "sk-1"
    await sdk.close()
    assert sdk.secrets == ("sk-1",)


async def test_a_key_that_an_sdk_has_found_is_treated_alike() -> None:
    """SDKs look into the environment by themselves."""
    sdk = SdkClient(lambda _: Client("sk-2\n"), own=("key", "other"))

    assert (await sdk.get()).key == "sk-2"
    assert sdk.secrets == ("sk-2",)


# --- lists and descriptions ----------------------------------------------------------------------------------------


class Named:
    """As SDKs have models."""

    id = "m"


async def endless() -> AsyncIterator[Named]:
    while True:
        yield Named()


async def test_a_list_without_an_end_has_one() -> None:
    """By one name more it is known that there were others."""

    async def pages() -> AsyncIterator[Named]:
        return endless()

    assert len(await ids_of(pages())) == MOST_NAMES + 1


class NotFound(Exception):
    """As SDKs have it."""

    status_code = 404


async def answering(answer: object) -> object:
    if isinstance(answer, Exception):
        raise answer
    return answer


async def test_a_gateway_that_describes_no_model_may_have_it() -> None:
    """Of the provider itself the same answer means that there is none."""
    assert await is_described(answering(Named()), "https://gateway.example/v1", "api.example")
    assert not await is_described(answering(NotFound()), "https://gateway.example/v1", "api.example")
    with pytest.raises(NotFound):
        await is_described(answering(NotFound()), "https://api.example/v1", "api.example")
    with pytest.raises(ModelStreamMalformedError):
        await is_described(answering(object()), "https://gateway.example/v1", "api.example")
