"""Scripted, recording and replaying models for pegboard, and runs that are recorded and replayed.

`ScriptedModel` plays a list of turns, `FunctionModel` computes each from the request. `Recording` writes a cassette of
what the runs of a board are given from outside, `Replay` gives it back; `RecordingModel` and `ReplayModel` do so for
one model without a board.
"""

from __future__ import annotations

from pegboard_replay.board import Recording, Replay
from pegboard_replay.cassette import CASSETTE_VERSION, CassetteError
from pegboard_replay.demo import DemoModel
from pegboard_replay.function import FunctionModel
from pegboard_replay.player import ReplayMissError
from pegboard_replay.recording import RecordingModel, ReplayModel
from pegboard_replay.scripted import ScriptedModel, ScriptExhaustedError
from pegboard_replay.turns import CUT, Gate, Turn, TurnLike, call, raw_call, structured, thinking, turn

__all__ = [
    "CASSETTE_VERSION",
    "CUT",
    "CassetteError",
    "DemoModel",
    "FunctionModel",
    "Gate",
    "Recording",
    "RecordingModel",
    "Replay",
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
