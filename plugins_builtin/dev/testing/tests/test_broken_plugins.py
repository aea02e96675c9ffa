"""The broken plugins: each is broken in the way that it says, and in no other."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from pegboard.hookspecs import SPECS, options_of
from pegboard_testing import FAULTS, BrokenPlugin, Fault, assert_no_leaks, broken_plugin
from pegboard_testing.broken import _IN_HOOK


def test_every_fault_is_said_in_words() -> None:
    """The table and the type name the same faults."""
    assert set(FAULTS) == set(get_args(Fault))


@pytest.mark.parametrize(("fault", "error"), [("import", ImportError), ("syntax", SyntaxError), ("exit", SystemExit)])
def test_faults_of_the_import(broken_plugin: BrokenPlugin, fault: Fault, error: type[BaseException]) -> None:
    """The module cannot be imported."""
    broken_plugin(fault)

    with pytest.raises(error):
        importlib.import_module("pegboard_broken.plugin")


def test_an_import_that_hangs(tmp_path: Path) -> None:
    """It is still at it when the process is ended."""
    made = broken_plugin(tmp_path, "hang")
    command = [sys.executable, "-c", f"print(1, flush=True); import {made.package}.plugin"]
    with subprocess.Popen(command, env={"PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.5)
        child.kill()


def test_faults_after_the_import(broken_plugin: BrokenPlugin) -> None:
    """The class is missing, cannot be made, or cannot be activated."""
    for fault in ("entry", "init", "activate"):
        broken_plugin(fault, plugin=fault)
    modules = {fault: importlib.import_module(f"pegboard_{fault}.plugin") for fault in ("entry", "init", "activate")}

    assert not hasattr(modules["entry"], "Plugin")
    with pytest.raises(RuntimeError, match="on purpose"):
        modules["init"].Plugin()
    with pytest.raises(RuntimeError, match="on purpose"):
        modules["activate"].Plugin().activate(None)


@pytest.mark.parametrize("hook", sorted(SPECS))
def test_any_hook_can_be_broken(broken_plugin: BrokenPlugin, hook: str) -> None:
    """The implementation has the arguments of its hook."""
    broken_plugin("hook", hook=hook)

    plugin = importlib.import_module("pegboard_broken.plugin").Plugin()

    assert options_of(getattr(plugin, hook)) is not None


async def test_faults_of_a_hook(broken_plugin: BrokenPlugin) -> None:
    """Each does what it says."""

    async def call_next(value: Any) -> str:
        calls.append(value)
        return "result"

    calls: list[Any] = []
    plugins = {}
    for fault in _IN_HOOK:
        broken_plugin(fault, plugin=fault.replace("_", "-"))
        plugins[fault] = importlib.import_module(f"pegboard_{fault}.plugin").Plugin()

    with pytest.raises(RuntimeError, match="on purpose"):
        await plugins["hook"].tool_call(None, None, call_next)
    with pytest.raises(asyncio.CancelledError):
        await plugins["cancel"].tool_call(None, None, call_next)
    with pytest.raises(SystemExit):
        await plugins["exit_hook"].tool_call(None, None, call_next)
    assert type(await plugins["wrong_type"].tool_call(None, None, call_next)) is object
    await plugins["twice"].tool_call(None, "call", call_next)
    assert calls == ["call", "call"]


async def test_a_hook_that_hangs(broken_plugin: BrokenPlugin) -> None:
    """It waits for ever, and can be cancelled."""
    broken_plugin("hang_hook")
    plugin = importlib.import_module("pegboard_broken.plugin").Plugin()

    task = asyncio.create_task(plugin.tool_call(None, None, None))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()


def test_a_plugin_that_leaks(broken_plugin: BrokenPlugin, tmp_path: Path) -> None:
    """Every kind of thing that `assert_no_leaks` knows how to find in a process."""
    made = broken_plugin("leak")
    code = f"""
import pytest
from pegboard_testing import assert_no_leaks, LeakError
from {made.package}.plugin import Plugin
try:
    with assert_no_leaks():
        Plugin().activate(None)
except LeakError as error:
    print(error)
"""

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout

    for what in ("leaked-thread", "environment `1`", "path `/leaked`", "NullHandler", "SIGTERM"):
        assert what in said


@pytest.mark.parametrize(
    ("fault", "hook"), [("hang_hook", "on_event"), ("twice", "provide_tools"), ("nonsense", "tool_call")]
)
def test_faults_that_a_hook_cannot_have(tmp_path: Path, fault: Any, hook: str) -> None:
    """A test that asks for the impossible is told so."""
    with pytest.raises(ValueError, match="fault"):
        broken_plugin(tmp_path, fault, hook=hook)


def test_a_clean_plugin_leaves_nothing(broken_plugin: BrokenPlugin) -> None:
    """The fixture itself leaks nothing into the next test."""
    with assert_no_leaks():
        broken_plugin("hook")
