"""Scripted, recording and replaying models for pegboard.

`ScriptedModel` plays a list of turns, `FunctionModel` computes each from the request, `RecordingModel` writes a
cassette of what any model answers, `ReplayModel` answers from one.
"""

from __future__ import annotations

from pegboard_replay.cassette import CASSETTE_VERSION, CassetteError
from pegboard_replay.demo import DemoModel
from pegboard_replay.function import FunctionModel
from pegboard_replay.recording import RecordingModel, ReplayMissError, ReplayModel
from pegboard_replay.scripted import ScriptedModel, ScriptExhaustedError
from pegboard_replay.turns import CUT, Gate, Turn, TurnLike, call, raw_call, structured, thinking, turn

__all__ = [
    "CASSETTE_VERSION",
    "CUT",
    "CassetteError",
    "DemoModel",
    "FunctionModel",
    "Gate",
    "RecordingModel",
    "ReplayMissError",
    "ReplayModel",
    "ScriptExhaustedError",
    "ScriptedModel",
    "Turn",
    "TurnLike",
    "call",
    "raw_call",
    "structured",
    "thinking",
    "turn",
]
