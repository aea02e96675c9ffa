"""The scripted model keeps the rules for models, in every situation: the suite of the providers, without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from pegboard import ModelBase
from pegboard.errors import (
    ModelAuthError,
    ModelConnectionError,
    ModelContextOverflowError,
    ModelNotOfferedError,
    ModelOverloadedError,
    ModelPermissionError,
    ModelQuotaError,
    ModelRateLimitedError,
    ModelRequestError,
    ModelServerError,
    ModelStreamCutError,
    ModelStreamMalformedError,
    ModelTimeoutError,
)
from pegboard.types import ModelChunk, Usage
from pegboard_replay import CUT, Gate, ScriptedModel, TurnLike, call, raw_call, thinking, turn
from pegboard_testing.conformance.roles import Play, Situation, SituationSuite

USAGE = Usage(11, 7, source="provider")
BEGUN = "This is the begin of "
MANY = 10
FAULTY: Mapping[Situation, TurnLike] = {
    "rate limit": ModelRateLimitedError("slow down", status=429, retry_after_s=7.0),
    "overloaded": ModelOverloadedError("busy", status=529),
    "unavailable": ModelOverloadedError("busy", status=529),
    "server error": ModelServerError("boom", status=500),
    "bad request": ModelRequestError("no such field", status=400),
    "wrong key": ModelAuthError("no such key", status=401),
    "no permission": ModelPermissionError("not for you", status=403),
    "unknown model": ModelNotOfferedError("no such model", status=404),
    "context overflow": ModelContextOverflowError("too long", status=400),
    "quota used up": ModelQuotaError("pay first", status=429),
    "connection destroyed": ModelConnectionError("no connection", phase="connect"),
    "nobody there": ModelConnectionError("no connection", phase="connect"),
    "name without address": ModelConnectionError("no connection", phase="connect"),
    "stream cut": turn(BEGUN, ModelStreamCutError("cut", phase="stream")),
    "call cut": turn(ModelChunk(call_delta=("1", "probe", '{"x"')), ModelStreamCutError("cut", phase="stream")),
    "stream without end": turn(BEGUN, CUT),
    "malformed event": turn(BEGUN, ModelStreamMalformedError("no event", phase="parse")),
    "error in the stream": turn(BEGUN, ModelServerError("boom", phase="stream")),
    "empty answer": turn(),
    "garbage": ModelStreamMalformedError("a page of a proxy", phase="parse"),
    "time limit before the answer": ModelTimeoutError("nothing came", phase="stream"),
    "time limit in the stream": turn(BEGUN, ModelTimeoutError("nothing more came", phase="stream")),
    "content refused": turn("Not that.", usage=USAGE, finish="refused"),
    "output limit": turn(BEGUN, usage=USAGE, finish="length"),
}
"""Turns that are no answer."""


def script_of(situation: Situation) -> Sequence[TurnLike]:
    """What the model plays; for abilities as a rule asks for them, for faults again and again."""
    match situation:
        case "text":
            return ["Anything at all."] * MANY
        case "tool":
            return [call("probe", x=1), "It was used."]
        case "two tools":
            return [turn(call("probe", x=1), call("probe", x=2)), "It was used twice."]
        case "structured output":
            return [call("probe", x=1), {"x": 7}]
        case "thinking":
            return [turn(thinking("One thing after another."), "Thought.")]
        case "arguments that are no JSON":
            return [raw_call("probe", '{"x": '), "So be it."]
        case "silence before the answer":
            return [turn(Gate())]
        case "silence in the stream":
            return [turn(BEGUN, Gate())]
        case _:
            return [FAULTY[situation]] * MANY


class TestScripted(SituationSuite):
    """A script for each situation."""

    @pytest.fixture
    def play(self) -> Play:
        def played(situation: Situation) -> ModelBase:
            usage = None if situation == "empty answer" else USAGE
            return ScriptedModel(script_of(situation), usage=usage)

        return played

    @pytest.fixture
    def calling_model(self) -> ModelBase:
        return ScriptedModel([call("probe", x=1), "Done."])
