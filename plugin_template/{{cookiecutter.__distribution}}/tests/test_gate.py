"""The gate, between a scripted model and a tool."""

from __future__ import annotations

from pathlib import Path

from pegboard import Agent, tool
from pegboard.types import ToolResult
from pegboard_testing import MakeBoard, ScriptedModel, call

import {{ cookiecutter.__package }}

PLUGIN = Path({{ cookiecutter.__package }}.__file__).parent
"""The folder with the manifest: the board treats it as if it were installed."""
SETTINGS = {"denied_tools": ["open_door"]}


@tool(effect="pure", inline=True)
def open_door() -> str:
    """Open the door."""
    return "open"


def last_result(model: ScriptedModel) -> ToolResult:
    """What the model was told about its call."""
    (answer,) = model.requests[-1].messages[-1].parts
    assert isinstance(answer, ToolResult)
    return answer


async def test_listed_tool_is_denied(make_board: MakeBoard) -> None:
    """A tool that the settings name is not called, and the model is told why."""
    model = ScriptedModel([call("open_door"), "It stays shut."])
    board = await make_board(folders=[PLUGIN], config={"plugins": {"{{ cookiecutter.name }}": SETTINGS{{ "}}" }})

    await board.run(Agent("porter", model=model, tools=[open_door]), "Open the door.")

    assert "deny `open_door`" in last_result(model).text


async def test_other_tool_is_called(make_board: MakeBoard) -> None:
    """The gate has no opinion on other tools."""
    model = ScriptedModel([call("open_door"), "It is open."])
    board = await make_board(folders=[PLUGIN])

    await board.run(Agent("porter", model=model, tools=[open_door]), "Open the door.")

    assert last_result(model).text == "open"
