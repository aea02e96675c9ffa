"""What a model of a provider promises on top of every model, over the provider's own SDK and a real server.

Answers come from `aimock`, which speaks the provider's protocol, and faults from a server that replays a recorded
stream and breaks it: where a stream ends, what a status means and what was billed is the same rule for all providers.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import pytest_asyncio
from pegboard import Agent, AgentRunner, Message, ModelBase, RunResult
from pegboard.errors import ModelFault, ModelNotOfferedError
from pegboard.types import File, Opaque, Text, Thinking, ToolResult

from pegboard_testing.aimock import Aimock, aimock_server
from pegboard_testing.conformance.roles.model import SCHEMA, ModelSuite, request_of
from pegboard_testing.tools import FakeTool
from pegboard_testing.wire_server import CUT, STALL, Piece, WireServer, wire_server

Opened = Callable[..., ModelBase]

FIXTURES = Path(__file__).parents[1] / "data" / "aimock.json"
SECRET = "sk-a-secret-that-nobody-may-see"
WITHIN_S = 10.0
IMAGE = b"\x89PNG\r\n\x1a\n" + b"not really a picture" * 4


class Refusal(NamedTuple):
    """An answer of HTTP that is an error, and what it must become."""

    status: int
    code: str
    message: str = "the provider's own words"
    kind: str = "error"
    headers: Mapping[str, str] = {}


class ProviderSuite(ModelSuite):
    """A model behind a network. Subclass it, and say how a model is made and what the protocol looks like."""

    streams: ClassVar[Path]
    """Folder with recorded bodies: `text.sse`, an answer of several deltas; `thinking.sse`, one with thinking, where
    the provider has it, that is signed or encrypted with the text `SIGNATURE`."""
    overflow: ClassVar[Refusal]
    """How the provider refuses a request that is too long."""
    quota: ClassVar[Refusal]
    """How it says that the account is used up."""
    most_requests: ClassVar[int] = 1
    keepalive: ClassVar[bytes] = b": wait\n\n"
    """What a server sends before it has anything to say: a comment, or what else the SDK passes over."""

    def make(self, url: str, *, name: str = "a-model", read_timeout_s: float = WITHIN_S) -> ModelBase:
        """A model whose key is `SECRET`, and whose server is at `url`, without a path."""
        raise NotImplementedError("say how a model is made")

    def error_body(self, refusal: Refusal) -> Mapping[str, Any]:
        """The body of an error, as the provider writes it."""
        return {"error": {"message": refusal.message, "type": refusal.kind}}

    @pytest.fixture(scope="class")
    @classmethod
    def aimock(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
        """The mock server."""
        with aimock_server(FIXTURES, tmp_path_factory.mktemp("aimock")) as server:
            yield server

    @pytest.fixture
    def wire(self) -> Iterator[WireServer]:
        """The server that breaks."""
        with wire_server() as server:
            yield server

    @pytest_asyncio.fixture
    async def opened(self) -> AsyncIterator[Opened]:
        """Makes models, and closes them at the end."""
        models: list[ModelBase] = []

        def open_one(url: str, **options: Any) -> ModelBase:
            models.append(self.make(url, **options))
            return models[-1]

        yield open_one
        for model in models:
            await model.aclose()

    @pytest.fixture
    def model(self, aimock: Aimock, opened: Opened) -> ModelBase:
        """A model that answers."""
        aimock.reset()
        return opened(aimock.url)

    @pytest.fixture
    def calling_model(self, model: ModelBase) -> ModelBase:
        """The same: it calls what it is asked to call."""
        return model

    def recorded(self, name: str = "text") -> list[bytes]:
        """A recorded stream, event by event."""
        body = (self.streams / f"{name}.sse").read_bytes()
        return [event + b"\n\n" for event in re.split(rb"\r?\n\r?\n", body) if event.strip()]

    # --- what it can do

    @pytest.mark.asyncio
    async def test_usage_is_what_the_provider_counted(self, model: ModelBase) -> None:
        """Input and output, as numbers of the provider."""
        result = await model.get_response(Agent("probe"), "Say anything.")

        usage = result.usage
        assert (usage.input_tokens, usage.output_tokens, usage.source) == (11, 7, "provider")

    @pytest.mark.asyncio
    async def test_a_tool_with_any_name_makes_the_round_trip(self, model: ModelBase) -> None:
        """Names with characters that a provider refuses are told in another way, and come back as they were."""
        probe = FakeTool("probe", input_schema=dict(SCHEMA))
        odd = FakeTool("files.read", input_schema=dict(SCHEMA))

        result = await AgentRunner(model).get_response(Agent("probe", tools=[odd, probe]), "Use the tool.")

        result.raise_for_error()
        assert (result.output, result.turns, probe.calls) == ("It was used.", 2, [{"x": 1}])

    @pytest.mark.asyncio
    async def test_tokens_are_counted_or_unknown(self, model: ModelBase) -> None:
        """A number or `None`; where the server has no counter, a classified fault and nothing raw."""
        try:
            count = await model.count_tokens(request_of(model))
        except ModelNotOfferedError:
            return
        assert count is None or count > 0

    @pytest.mark.asyncio
    async def test_parallel_calls_have_ids_and_results_of_their_own(self, model: ModelBase) -> None:
        """Both are done, and both results are sent back."""
        probe = FakeTool("probe", input_schema=dict(SCHEMA))

        result = await AgentRunner(model).get_response(Agent("probe", tools=[probe]), "Use it twice.")

        assert result.raise_for_error().output == "It was used twice."
        assert sorted(call["x"] for call in probe.calls) == [1, 2]
        assert len({part.call_id for part in parts_of(result, ToolResult)}) == 2

    @pytest.mark.asyncio
    async def test_structured_output_together_with_tools(self, model: ModelBase) -> None:
        """The tool is used, then the answer fits the schema, whichever way the model is asked for it."""
        probe = FakeTool("probe", input_schema=dict(SCHEMA))
        can = model.capabilities(model.name)
        native = can.structured_output == can.structured_with_tools == "yes"
        agent = Agent("probe", tools=[probe], output=dict(SCHEMA))

        result = await AgentRunner(model).get_response(agent, "Answer natively." if native else "Answer by a call.")

        assert result.raise_for_error().output == {"x": 7}
        assert probe.calls == [{"x": 1}]

    @pytest.mark.asyncio
    async def test_an_image_is_sent(self, wire: WireServer, opened: Opened) -> None:
        """Inline, as base64."""
        wire.answer(*self.recorded())
        picture = Message("user", (Text("What is this?"), File(media_type="image/png", data=IMAGE)))

        (await AgentRunner(opened(wire.url)).get_response(Agent("probe"), picture)).raise_for_error()

        assert base64.b64encode(IMAGE) in wire.requests[0].body

    @pytest.mark.asyncio
    async def test_an_image_that_is_too_large_is_not_sent(self, wire: WireServer, opened: Opened) -> None:
        """The error comes before the request, not after it."""
        wire.answer(*self.recorded())
        picture = Message("user", (File(media_type="image/png", data=bytes(50 * 1024 * 1024)),))

        result = await AgentRunner(opened(wire.url)).get_response(Agent("probe"), picture)

        assert code_of(result) in ("model.context_overflow", "model.bad_request")
        assert wire.requests == []

    @pytest.mark.asyncio
    async def test_thinking_goes_back_to_the_same_model_only(self, wire: WireServer, opened: Opened) -> None:
        """Signed thinking is replayed word for word; another model gets the text alone, and the result says so."""
        if not (self.streams / "thinking.sse").exists():
            pytest.skip("this provider shows no thinking that it wants back")
        wire.answer(*self.recorded("thinking"))
        first = await opened(wire.url).get_response(Agent("probe"), "Think.")
        thought = [*parts_of(first, Thinking), *parts_of(first, Opaque)]
        wire.answers.clear()
        wire.answer(*self.recorded())

        history = [*first.messages, Message.user("Go on.")]
        same = await opened(wire.url).get_response(Agent("probe"), history)
        other = await opened(wire.url, name="another-model").get_response(Agent("probe"), history)

        assert thought
        assert [b"SIGNATURE" in request.body for request in wire.requests] == [False, True, False]
        assert (bool(same.degraded), bool(other.degraded)) == (False, True)

    # --- faults: what the user sees, what was billed, and that it was asked once

    @pytest.mark.asyncio
    @pytest.mark.parametrize(
        "refusal",
        [
            Refusal(429, "model.rate_limited", kind="rate_limit_error", headers={"retry_after": "7"}),
            Refusal(529, "model.overloaded", kind="overloaded_error"),
            Refusal(503, "model.overloaded"),
            Refusal(500, "model.server_error", kind="api_error"),
            Refusal(400, "model.bad_request", kind="invalid_request_error"),
            Refusal(401, "model.auth", f"the key {SECRET} is wrong", "authentication_error"),
            Refusal(403, "model.permission", kind="permission_error"),
            Refusal(404, "model.not_offered", kind="not_found_error"),
        ],
        ids=lambda refusal: f"{refusal.status}",
    )
    async def test_a_refusal_is_classified(self, wire: WireServer, opened: Opened, refusal: Refusal) -> None:
        """By its status; it cost nothing, is asked once, and shows no key."""
        fault = await self.refused(wire, opened, refusal)

        assert fault.status == refusal.status
        assert fault.retry_after_s == (7.0 if refusal.status == 429 else None)

    @pytest.mark.asyncio
    async def test_a_request_that_is_too_long_is_told_apart(self, wire: WireServer, opened: Opened) -> None:
        """So that the context can shrink."""
        await self.refused(wire, opened, self.overflow)

    @pytest.mark.asyncio
    async def test_an_account_that_is_used_up_is_told_apart(self, wire: WireServer, opened: Opened) -> None:
        """It looks like a limit of the rate, and is never worth a repeat."""
        await self.refused(wire, opened, self.quota)

    async def refused(self, wire: WireServer, opened: Opened, refusal: Refusal) -> ModelFault:
        """The fault of a run that was refused in this way."""
        wire.fail(refusal.status, self.error_body(refusal), **refusal.headers)
        fault, _ = await self.failed(wire, opened)
        assert fault.code == refusal.code
        assert not fault.stream_started
        return fault

    async def failed(
        self, wire: WireServer, opened: Opened, *, read_timeout_s: float = WITHIN_S
    ) -> tuple[ModelFault, RunResult]:
        """A streamed run that fails: one request, one final event, a classified fault without the key."""
        model = opened(wire.url, read_timeout_s=read_timeout_s)
        events = [event async for event in AgentRunner(model).stream_response(Agent("probe"), "Say anything.")]
        assert [event.is_final for event in events] == [False] * (len(events) - 1) + [True]
        result: RunResult = events[-1].content
        fault = result.error
        assert isinstance(fault, ModelFault), repr(fault)
        assert SECRET not in f"{fault}{fault!r}{fault.to_json()}{model!r}"
        assert len(wire.requests) == self.most_requests
        return fault, result

    @pytest.mark.asyncio
    async def test_a_connection_that_is_destroyed_at_once(self, wire: WireServer, opened: Opened) -> None:
        """Nothing came, nothing is billed."""
        wire.answer(CUT)

        fault, result = await self.failed(wire, opened)

        assert (fault.code, fault.stream_started) == ("model.connection", False)
        assert not result.usage.total_tokens

    @pytest.mark.asyncio
    async def test_a_stream_that_is_cut(self, wire: WireServer, opened: Opened) -> None:
        """What came is no answer; the user saw that it began."""
        wire.answer(*self.begun(), CUT)

        fault, result = await self.failed(wire, opened)

        assert (fault.code, fault.stream_started) == ("model.stream_cut", True)
        assert result.output is None

    @pytest.mark.asyncio
    async def test_a_stream_that_ends_early(self, wire: WireServer, opened: Opened) -> None:
        """No finish reason is an error, though the SDK says nothing."""
        wire.answer(*self.begun())

        fault, _ = await self.failed(wire, opened)

        assert (fault.code, fault.stream_started) == ("model.stream_incomplete", True)

    @pytest.mark.asyncio
    async def test_a_malformed_event(self, wire: WireServer, opened: Opened) -> None:
        """Half an event in the middle of a good stream is an error, not a gap in the text."""
        events = self.recorded()
        middle = len(self.begun())
        wire.answer(*events[:middle], events[middle][: len(events[middle]) // 2] + b"\n\n", *events[middle + 1 :])

        fault, _ = await self.failed(wire, opened)

        assert fault.code == "model.stream_malformed"

    @pytest.mark.asyncio
    @pytest.mark.parametrize("body", [b"", b"<html>a page of a proxy</html>", b"data: \n\n", b"\x00\xff\xfe" * 50])
    async def test_garbage_with_status_200(self, wire: WireServer, opened: Opened, body: bytes) -> None:
        """An answer that is none is never taken for an empty one."""
        wire.answer(*([body] if body else []))

        fault, _ = await self.failed(wire, opened)

        assert fault.code in ("model.stream_malformed", "model.empty_response", "model.stream_incomplete")

    @pytest.mark.asyncio
    @pytest.mark.parametrize("begun", [False, True], ids=["before", "in the stream"])
    async def test_a_stall(self, wire: WireServer, opened: Opened, begun: bool) -> None:
        """A server that says nothing more is given up after the limit."""
        pieces: Sequence[Piece] = [*self.begun(), STALL] if begun else [self.keepalive, STALL]
        wire.answer(*pieces)

        fault, _ = await self.failed(wire, opened, read_timeout_s=0.3)

        assert (fault.code, fault.stream_started) == ("model.timeout", begun)
        assert wire.client_left.wait(WITHIN_S)

    @pytest.mark.asyncio
    async def test_nobody_there(self, wire: WireServer, opened: Opened) -> None:
        """A port at which nobody listens; an SDK raises the same where a name has no address."""
        wire.stop()

        result = await AgentRunner(opened(wire.url)).get_response(Agent("probe"), "Say anything.")

        assert code_of(result) == "model.connection"

    @pytest.mark.asyncio
    async def test_a_repeat_is_a_request_of_its_own(self, aimock: Aimock, opened: Opened) -> None:
        """The SDK repeats nothing by itself: the first failure is seen, and the next request is a new one."""
        aimock.reset()
        model = opened(aimock.url)

        first = await AgentRunner(model).get_response(Agent("probe"), "Fail once.")
        second = await AgentRunner(model).get_response(Agent("probe"), "Fail once.")

        assert (code_of(first), second.output) == ("model.server_error", "recovered")
        assert len(aimock.journal()) == 2

    # --- cancel

    @pytest.mark.asyncio
    async def test_cancel_in_the_stream_closes_the_connection(self, wire: WireServer, opened: Opened) -> None:
        """The provider stops to count, and the history stays valid."""
        wire.answer(*self.begun(), STALL)
        model = opened(wire.url)
        stream = AgentRunner(model).stream_response(Agent("probe"), "Say anything.")
        async for event in stream:
            if event.type == "text":
                break
        await stream.aclose()

        assert await asyncio.to_thread(wire.client_left.wait, WITHIN_S)

    @pytest.mark.asyncio
    async def test_cancel_before_the_answer_closes_the_connection(self, wire: WireServer, opened: Opened) -> None:
        """Also a request that waits for its first byte."""
        wire.answer(self.keepalive, STALL)
        model = opened(wire.url)
        task = asyncio.create_task(model.get_response(Agent("probe"), "Say anything."))
        await asyncio.to_thread(wire.came.wait, WITHIN_S)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(wire.client_left.wait, WITHIN_S)

    def begun(self) -> list[bytes]:
        """The first events of the recorded answer, to the middle of its text."""
        events = self.recorded()
        return events[: len(events) // 2]


def parts_of(result: RunResult, kind: type[Any]) -> list[Any]:
    """The parts of a kind in all messages of a result."""
    return [part for message in result.messages for part in message.parts if isinstance(part, kind)]


def code_of(result: RunResult) -> str:
    """The code of the error that ended a run."""
    return getattr(result.error, "code", repr(result.error))


__all__ = ["FIXTURES", "IMAGE", "SECRET", "WITHIN_S", "Opened", "ProviderSuite", "Refusal", "code_of", "parts_of"]
