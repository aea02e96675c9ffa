"""`make_board`, `board` and the recorder."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pegboard import Agent, Pegboard, hookimpl
from pegboard.errors import BoardClosedError
from pegboard.hookspecs import SPECS
from pegboard.types import ToolCall, ToolResult
from pegboard_testing import FakeClock, FakeTool, MakeBoard, Recorder, ScriptedModel, assert_no_leaks, call
from pegboard_testing.board import board_maker


class Shouter:
    """A plugin of a test."""

    id = "shouter"

    @hookimpl
    async def tool_call(self, ctx: Any, call: ToolCall, call_next: Any) -> ToolResult:
        result: ToolResult = await call_next(call)
        return result


async def test_a_board_has_no_plugins(board: Pegboard) -> None:
    """Nothing that is installed is found."""
    assert list(board.plugins.records()) == []


async def test_a_board_runs_agents(board: Pegboard) -> None:
    """It is open."""
    result = await board.run(Agent("a", model=ScriptedModel(["done"])), "go")

    assert result.output == "done"


async def test_boards_are_closed() -> None:
    """With the end of the test, and nothing is left behind."""
    async with assert_no_leaks(), board_maker() as make:
        board = await make(plugins=[Shouter()])
    with pytest.raises(BoardClosedError):
        await board.run("x")


async def test_a_board_takes_the_fake_clock(make_board: MakeBoard, fake_clock: FakeClock) -> None:
    """Its events have the time of the test."""
    board = await make_board(clock=fake_clock)

    result = await board.run(Agent("a", model=ScriptedModel(["done"])), "go")

    assert {event.at for event in result.events} == {fake_clock.time()}


async def test_the_recorder_sees_calls_in_order(make_board: MakeBoard) -> None:
    """With their arguments, and without changing what comes out."""
    recorder = Recorder("model_request", "tool_call")
    board = await make_board(plugins=[recorder], strict=True)
    agent = Agent("a", model=ScriptedModel([call("fake", x=1), "done"]), tools=[FakeTool()])

    result = await board.run(agent, "go")

    assert result.output == "done"
    recorder.assert_order("model_request", "tool_call", "model_request")
    assert recorder.calls[1].arguments["call"].arguments == {"x": 1}


async def test_the_recorder_can_stand_in_every_hook(make_board: MakeBoard) -> None:
    """A run goes with it as without it."""
    recorder = Recorder("*")
    board = await make_board(plugins=[recorder], strict=True)
    agent = Agent("a", model=ScriptedModel([call("fake", x=1), "done"]), tools=[FakeTool()])

    events = [event async for event in board.stream(agent, "go")]

    assert events[-1].content.output == "done"
    assert {"initialization", "execution_phase", "model_request", "tool_call", "cleanup"} <= set(recorder.hooks)


def test_a_recorder_of_nothing_is_a_mistake() -> None:
    """A pattern that fits no hook is misspelt."""
    with pytest.raises(ValueError, match="no hook fits tool_cal"):
        Recorder("tool_cal")


def test_the_recorder_has_the_arguments_of_the_hooks() -> None:
    """It implements all of them by name."""
    recorder = Recorder("*")

    assert all(hasattr(recorder, name) for name in SPECS)


def test_a_wrong_order_is_shown() -> None:
    """The message has what was called."""
    with pytest.raises(AssertionError, match=r"called were \[\]"):
        Recorder("tool_call").assert_order("tool_call")


async def test_two_boards_at_once(make_board: MakeBoard) -> None:
    """They do not know each other."""
    boards = await asyncio.gather(make_board(plugins=[Shouter()]), make_board())

    assert [len(board.plugins.records()) for board in boards] == [1, 0]
