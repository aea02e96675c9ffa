"""The tools, called by a scripted model on a real board."""

from __future__ import annotations

from pathlib import Path

from pegboard import Agent
from pegboard.types import ToolResult
from pegboard_testing import MakeBoard, ScriptedModel, call

import {{ cookiecutter.__package }}

PLUGIN = Path({{ cookiecutter.__package }}.__file__).parent
"""The folder with the manifest: the board treats it as if it were installed."""
TOOL = "{{ cookiecutter.name }}.count_words"


async def test_words_are_counted(make_board: MakeBoard) -> None:
    """The result of the tool reaches the model."""
    model = ScriptedModel([call(TOOL, text="one two three"), "done"])
    board = await make_board(folders=[PLUGIN])

    await board.run(Agent("counter", model=model, tools=[TOOL]), "How many words?")

    (answer,) = model.requests[-1].messages[-1].parts
    assert isinstance(answer, ToolResult)
    assert answer.text == "3"
