"""What a model of a provider promises on top of every situation, over the provider's own SDK and a real server.

Answers come from `aimock`, which speaks the provider's protocol, and faults from a server that replays a recorded
stream and breaks it. What only a server sees is judged here: requests, connections, and the key.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import pytest
import pytest_asyncio
from pegboard import Agent, AgentRunner, Message, ModelBase, RunResult
from pegboard.errors import ModelAuthError, ModelFault, ModelNotOfferedError
from pegboard.types import File, ModelSettings, Opaque, Text, Thinking

from pegboard_testing.aimock import Aimock, aimock_server
from pegboard_testing.board import MakeBoard
from pegboard_testing.conformance.roles.model import request_of
from pegboard_testing.conformance.roles.situations import (
    IMAGE,
    Fault,
    Persistent,
    Play,
    Situation,
    SituationSuite,
    each_fault,
    parts_of,
    streamed,
)
from pegboard_testing.wire_server import CUT, STALL, Piece, WireServer, wire_server

Opened = Callable[..., ModelBase]

FIXTURES = Path(__file__).parents[1] / "data" / "aimock.json"
SECRET = "sk-a-secret-that-nobody-may-see"
WITHIN_S = 10.0
_SOON_S: Final = 0.3
"""The time limit of a model that is to reach it."""
_NOWHERE: Final = "http://nowhere.invalid"
"""A name that never has an address (RFC 6761 section 6.4)."""
_BY_AIMOCK: Final[frozenset[Situation]] = frozenset({"text", "tool", "two tools", "structured output"})
_SETTINGS: Final[Mapping[str, tuple[Any, bytes]]] = {
    "temperature": (0.25, rb":\s*0\.25\b"),
    "top_p": (0.75, rb":\s*0\.75\b"),
    "top_k": (37, rb":\s*37\b"),
    "seed": (4242, rb":\s*4242\b"),
    "stop": (("HALT",), rb"\"HALT\""),
    "max_output_tokens": (1234, rb":\s*1234\b"),
    "extra": ({"made_up": "of-tomorrow"}, rb"of-tomorrow"),
}
"""Settings of a model, each with a pattern of how it looks in JSON: keys of caches have digits too."""
_NOT_SENT: Final[frozenset[Situation]] = frozenset({"nobody there", "name without address"})


class Refusal(NamedTuple):
    """An answer of HTTP that is an error."""

    status: int
    message: str = "the provider's own words"
    kind: str = "error"
    headers: Mapping[str, str] = {}


_REFUSALS: Final[Mapping[Situation, Refusal]] = {
    "rate limit": Refusal(429, kind="rate_limit_error", headers={"retry_after": "7"}),
    "overloaded": Refusal(529, kind="overloaded_error"),
    "unavailable": Refusal(503),
    "server error": Refusal(500, kind="api_error"),
    "bad request": Refusal(400, kind="invalid_request_error"),
    "wrong key": Refusal(401, f"the key {SECRET} is wrong", "authentication_error"),
    "no permission": Refusal(403, kind="permission_error"),
    "unknown model": Refusal(404, kind="not_found_error"),
}


class ProviderSuite(SituationSuite):
    """A model behind a network. Subclass it, and say how a model is made and what the protocol looks like.

    `streams` is a folder with recorded bodies. Counts are 11 tokens of input and 7 of output.

    * `text.sse`: an answer of several deltas
    * `thinking.sse`: one with thinking before its text; what is signed or encrypted of it holds the text `SIGNATURE`
    * `tool.sse`: one that is a call of a tool
    * `arguments.sse`: one that is a call of `probe` with arguments that are cut
    * `refused.sse`, `length.sse`: one that the provider refused, and one that reached the limit of the output
    * `error.sse`: one that breaks off with an error of the server, in whose words the key is repeated: `SECRET`
    """

    streams: ClassVar[Path]
    lacks: ClassVar[Mapping[str, str]] = {}
    """Recordings, and settings, that there cannot be with this protocol, and why: their rules are skipped."""
    overflow: ClassVar[Refusal]
    """How the provider refuses a request that is too long."""
    quota: ClassVar[Refusal]
    """How it says that the account is used up."""
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
    async def opened(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opened]:
        """Makes models, and closes them at the end."""
        for scheme in ("HTTP", "HTTPS", "ALL"):  # a proxy of the environment would be asked for a name that is none
            monkeypatch.delenv(f"{scheme}_PROXY", raising=False)
            monkeypatch.delenv(f"{scheme.lower()}_proxy", raising=False)
        models: list[ModelBase] = []

        def open_one(url: str, **options: Any) -> ModelBase:
            models.append(self.make(url, **options))
            return models[-1]

        yield open_one
        for model in models:
            await model.aclose()

    @pytest.fixture
    def play(self, wire: WireServer, opened: Opened, request: pytest.FixtureRequest) -> Play:
        """A model whose server is in a situation."""

        def played(situation: Situation) -> ModelBase:
            if situation in _BY_AIMOCK:
                aimock: Aimock = request.getfixturevalue("aimock")
                aimock.reset()
                return opened(aimock.url)
            if situation == "name without address":
                return opened(_NOWHERE)
            if situation == "nobody there":
                wire.stop()
            else:
                self.break_down(wire, situation)
            return opened(wire.url, read_timeout_s=_SOON_S if situation.startswith("time limit") else WITHIN_S)

        return played

    def break_down(self, wire: WireServer, situation: Situation) -> None:
        """Have a server answer as it does in a situation."""
        refusals = {**_REFUSALS, "context overflow": self.overflow, "quota used up": self.quota}
        refusal = refusals.get(situation)
        if refusal is not None:
            wire.fail(refusal.status, self.error_body(refusal), **refusal.headers)
            return
        wire.answer(*self.pieces(situation))
        if situation == "arguments that are no JSON":
            wire.answer(*self.recorded())

    def pieces(self, situation: Situation) -> Sequence[Piece]:
        """What a server sends in a situation, with status 200."""
        sent: Mapping[Situation, Callable[[], Sequence[Piece]]] = {
            "thinking": lambda: self.recorded("thinking"),
            "arguments that are no JSON": lambda: self.recorded("arguments"),
            "silence before the answer": lambda: (self.keepalive, STALL),
            "silence in the stream": lambda: (*self.begun(), STALL),
            "time limit before the answer": lambda: (self.keepalive, STALL),
            "time limit in the stream": lambda: (*self.begun(), STALL),
            "connection destroyed": lambda: (CUT,),
            "stream cut": lambda: (*self.begun(), CUT),
            "call cut": lambda: (*self.begun("tool"), CUT),
            "stream without end": self.begun,
            "malformed event": self.malformed,
            "error in the stream": lambda: self.recorded("error"),
            "empty answer": tuple,
            "garbage": lambda: (b"<html>a page of a proxy</html>",),
            "content refused": lambda: self.recorded("refused"),
            "output limit": lambda: self.recorded("length"),
        }
        return sent[situation]()

    def recorded(self, name: str = "text") -> list[bytes]:
        """A recorded stream, event by event."""
        if name in self.lacks:
            pytest.skip(self.lacks[name])
        body = (self.streams / f"{name}.sse").read_bytes()
        return [event + b"\n\n" for event in re.split(rb"\r?\n\r?\n", body) if event.strip()]

    def begun(self, name: str = "text") -> list[bytes]:
        """The first events of a recorded answer, to its middle."""
        events = self.recorded(name)
        return events[: len(events) // 2]

    def malformed(self) -> list[bytes]:
        """A recorded answer with half an event in its middle."""
        events = self.recorded()
        middle = len(events) // 2
        return [*events[:middle], events[middle][: len(events[middle]) // 2] + b"\n\n", *events[middle + 1 :]]

    # --- what is sent

    @pytest.mark.asyncio
    async def test_tokens_are_counted_or_unknown(self, model: ModelBase) -> None:
        """A number or `None`; where the server has no counter, a classified fault and nothing raw."""
        try:
            count = await model.count_tokens(request_of(model))
        except ModelNotOfferedError:
            return
        assert count is None or count > 0

    @pytest.mark.asyncio
    @pytest.mark.parametrize("setting", _SETTINGS)
    async def test_a_setting_is_sent_or_said_to_be_left_out(
        self, wire: WireServer, opened: Opened, setting: str
    ) -> None:
        """It stands in the request, or the result says under `degraded` that it does not; none breaks a request."""
        if setting in self.lacks:
            pytest.skip(self.lacks[setting])
        wire.answer(*self.recorded())
        value, sent = _SETTINGS[setting]
        agent = Agent("probe", settings=ModelSettings(**{setting: value}))

        result = (await AgentRunner(opened(wire.url)).get_response(agent, "Hello.")).raise_for_error()

        is_sent = re.search(sent, wire.requests[0].body) is not None
        assert is_sent != any(setting in entry.what for entry in result.degraded)

    @pytest.mark.asyncio
    async def test_an_image_is_sent(self, wire: WireServer, opened: Opened) -> None:
        """Inline, as base64."""
        wire.answer(*self.recorded())
        picture = Message("user", (Text("What is this?"), File(media_type="image/png", data=IMAGE)))

        (await AgentRunner(opened(wire.url)).get_response(Agent("probe"), picture)).raise_for_error()

        assert base64.b64encode(IMAGE) in wire.requests[0].body

    @pytest.mark.asyncio
    async def test_an_image_that_is_too_large_is_not_sent(self, wire: WireServer, opened: Opened) -> None:
        """The error comes before the request, not after it, and nothing is billed."""
        wire.answer(*self.recorded())
        picture = Message("user", (File(media_type="image/png", data=bytes(50 * 1024 * 1024)),))

        result = await AgentRunner(opened(wire.url)).get_response(Agent("probe"), picture)

        assert code_of(result) in ("model.context_overflow", "model.bad_request")
        assert getattr(result.error, "hint", None)
        assert (wire.requests, result.usage.requests, result.cost_usd) == ([], 0, 0.0)

    @pytest.mark.asyncio
    async def test_thinking_goes_back_to_the_same_model_only(self, wire: WireServer, opened: Opened) -> None:
        """Signed thinking is replayed word for word; another model gets the text alone, and the result says so.

        What is not signed nobody wants back, so that nothing is lost without it.
        """
        thoughts = self.recorded("thinking")
        signed = b"SIGNATURE" in b"".join(thoughts)
        wire.answer(*thoughts)
        first = await opened(wire.url).get_response(Agent("probe"), "Think.")
        thought = [*parts_of(first, Thinking), *parts_of(first, Opaque)]
        wire.answers.clear()
        wire.answer(*self.recorded())

        history = [*first.messages, Message.user("Go on.")]
        same = await opened(wire.url).get_response(Agent("probe"), history)
        other = await opened(wire.url, name="another-model").get_response(Agent("probe"), history)

        assert thought
        assert [b"SIGNATURE" in request.body for request in wire.requests] == [False, signed, False]
        assert (bool(same.degraded), bool(other.degraded)) == (False, signed)

    # --- faults

    @pytest.mark.asyncio
    @each_fault
    async def test_a_fault_is_asked_once_and_shows_no_key(
        self, play: Play, wire: WireServer, make_board: MakeBoard, fault: Fault
    ) -> None:
        """No SDK repeats by itself, and whatever a provider repeats in its error, nobody sees the key."""
        model = play(fault.situation)
        events = await streamed(make_board, model)

        error = events[-1].content.error
        assert isinstance(error, ModelFault), repr(error)
        assert SECRET not in f"{error}{error!r}{error.to_json()}{model!r}{events}"
        assert len(wire.requests) == (0 if fault.situation in _NOT_SENT else 1)
        if fault.situation in _REFUSALS:
            assert error.status == _REFUSALS[fault.situation].status

    @pytest.mark.asyncio
    async def test_a_wrong_key_says_where_a_right_one_belongs(self, play: Play) -> None:
        """Only the plugin knows; no command that looks at everything can tell."""
        result = await AgentRunner(play("wrong key")).get_response(Agent("probe"), "Say anything.")

        assert isinstance(result.error, ModelAuthError)
        assert result.error.hint not in (None, ModelAuthError.default_hint)

    @pytest.mark.asyncio
    @pytest.mark.parametrize("body", [b"data: \n\n", b"\x00\xff\xfe" * 50], ids=["nothing", "bytes"])
    async def test_garbage_of_other_kinds(self, wire: WireServer, opened: Opened, body: bytes) -> None:
        """An answer that is none is never taken for an empty one."""
        wire.answer(body)

        result = await AgentRunner(opened(wire.url)).get_response(Agent("probe"), "Say anything.")

        assert code_of(result) in ("model.stream_malformed", "model.empty_response", "model.stream_incomplete")

    @pytest.mark.asyncio
    @pytest.mark.parametrize("situation", ["time limit before the answer", "time limit in the stream"])
    async def test_after_a_time_limit_the_connection_is_closed(
        self, play: Play, wire: WireServer, situation: Situation
    ) -> None:
        """A server that says nothing more is given up."""
        await AgentRunner(play(situation)).get_response(Agent("probe"), "Say anything.")

        assert await asyncio.to_thread(wire.client_left.wait, WITHIN_S)

    @pytest.mark.asyncio
    async def test_a_storm_is_as_many_requests_as_attempts(
        self, play: Play, wire: WireServer, make_board: MakeBoard
    ) -> None:
        """One owner repeats; two would multiply."""
        await streamed(make_board, play("overloaded"), Persistent())

        assert len(wire.requests) == Agent("probe").config.retry.attempts

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
    async def test_cancel_in_the_stream_closes_the_connection(self, play: Play, wire: WireServer) -> None:
        """The provider stops to count."""
        stream = AgentRunner(play("silence in the stream")).stream_response(Agent("probe"), "Say anything.")
        async for event in stream:
            if event.type == "text":
                break
        await stream.aclose()

        assert await asyncio.to_thread(wire.client_left.wait, WITHIN_S)

    @pytest.mark.asyncio
    async def test_cancel_before_the_answer_closes_the_connection(self, play: Play, wire: WireServer) -> None:
        """Also a request that waits for its first byte."""
        task = asyncio.create_task(play("silence before the answer").get_response(Agent("probe"), "Say anything."))
        await asyncio.to_thread(wire.came.wait, WITHIN_S)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(wire.client_left.wait, WITHIN_S)


def code_of(result: RunResult) -> str:
    """The code of the error that ended a run."""
    return getattr(result.error, "code", repr(result.error))


__all__ = ["FIXTURES", "SECRET", "WITHIN_S", "Opened", "ProviderSuite", "Refusal", "code_of"]
