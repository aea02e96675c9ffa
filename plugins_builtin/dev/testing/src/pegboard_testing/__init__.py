"""Test kit and conformance suites for pegboard plugins.

Names resolve on first use (PEP 562): pytest loads this package in every session of an environment that has it, and a
session that needs none of it should not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pegboard.lazy import lazy_names

if TYPE_CHECKING:  # `as`, or a type checker takes these for private names
    from pegboard_replay import CUT as CUT
    from pegboard_replay import FunctionModel as FunctionModel
    from pegboard_replay import Gate as Gate
    from pegboard_replay import Recording as Recording
    from pegboard_replay import RecordingModel as RecordingModel
    from pegboard_replay import Replay as Replay
    from pegboard_replay import ReplayModel as ReplayModel
    from pegboard_replay import ScriptedModel as ScriptedModel
    from pegboard_replay import call as call
    from pegboard_replay import raw_call as raw_call
    from pegboard_replay import structured as structured
    from pegboard_replay import thinking as thinking
    from pegboard_replay import turn as turn

    from pegboard_testing.board import MakeBoard as MakeBoard
    from pegboard_testing.board import board_maker as board_maker
    from pegboard_testing.broken import FAULTS as FAULTS
    from pegboard_testing.broken import BrokenPlugin as BrokenPlugin
    from pegboard_testing.broken import Fault as Fault
    from pegboard_testing.broken import broken_plugin as broken_plugin
    from pegboard_testing.clock import FakeClock as FakeClock
    from pegboard_testing.conformance import Rule as Rule
    from pegboard_testing.conformance import RuleResult as RuleResult
    from pegboard_testing.conformance import rules_of as rules_of
    from pegboard_testing.conformance import run_conformance as run_conformance
    from pegboard_testing.dists import PluginDist as PluginDist
    from pegboard_testing.dists import on_path as on_path
    from pegboard_testing.dists import plugin_dist as plugin_dist
    from pegboard_testing.environments import InstalledHost as InstalledHost
    from pegboard_testing.environments import Wheelhouse as Wheelhouse
    from pegboard_testing.leaks import LeakError as LeakError
    from pegboard_testing.leaks import assert_no_leaks as assert_no_leaks
    from pegboard_testing.network import NetworkBlockedError as NetworkBlockedError
    from pegboard_testing.network import NetworkGuard as NetworkGuard
    from pegboard_testing.recorder import Recorder as Recorder
    from pegboard_testing.startup import Startup as Startup
    from pegboard_testing.startup import startup_imports as startup_imports
    from pegboard_testing.tools import Consent as Consent
    from pegboard_testing.tools import FakeTool as FakeTool
    from pegboard_testing.tools import use_tool as use_tool

_HOMES = {
    "CUT": "pegboard_replay",
    "FAULTS": "pegboard_testing.broken",
    "BrokenPlugin": "pegboard_testing.broken",
    "Consent": "pegboard_testing.tools",
    "FakeClock": "pegboard_testing.clock",
    "FakeTool": "pegboard_testing.tools",
    "Fault": "pegboard_testing.broken",
    "FunctionModel": "pegboard_replay",
    "Gate": "pegboard_replay",
    "InstalledHost": "pegboard_testing.environments",
    "LeakError": "pegboard_testing.leaks",
    "MakeBoard": "pegboard_testing.board",
    "NetworkBlockedError": "pegboard_testing.network",
    "NetworkGuard": "pegboard_testing.network",
    "PluginDist": "pegboard_testing.dists",
    "Recorder": "pegboard_testing.recorder",
    "Recording": "pegboard_replay",
    "RecordingModel": "pegboard_replay",
    "Replay": "pegboard_replay",
    "ReplayModel": "pegboard_replay",
    "Rule": "pegboard_testing.conformance",
    "RuleResult": "pegboard_testing.conformance",
    "ScriptedModel": "pegboard_replay",
    "Startup": "pegboard_testing.startup",
    "Wheelhouse": "pegboard_testing.environments",
    "assert_no_leaks": "pegboard_testing.leaks",
    "board_maker": "pegboard_testing.board",
    "broken_plugin": "pegboard_testing.broken",
    "call": "pegboard_replay",
    "on_path": "pegboard_testing.dists",
    "plugin_dist": "pegboard_testing.dists",
    "raw_call": "pegboard_replay",
    "rules_of": "pegboard_testing.conformance",
    "run_conformance": "pegboard_testing.conformance",
    "startup_imports": "pegboard_testing.startup",
    "structured": "pegboard_replay",
    "thinking": "pegboard_replay",
    "turn": "pegboard_replay",
    "use_tool": "pegboard_testing.tools",
}

__all__ = [*_HOMES]  # built from the table, so that both cannot differ
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
