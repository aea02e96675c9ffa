"""The model, found by its name and asked through a real board."""

from __future__ import annotations

from pathlib import Path

from pegboard import Agent
from pegboard_testing import MakeBoard

import {{ cookiecutter.__package }}

PLUGIN = Path({{ cookiecutter.__package }}.__file__).parent
"""The folder with the manifest: the board treats it as if it were installed."""


async def test_model_answers(make_board: MakeBoard) -> None:
    """It answers with what it was asked."""
    board = await make_board(folders=[PLUGIN])

    result = await board.run(Agent("parrot", model="{{ cookiecutter.name }}:echo"), "Good morning.")

    assert result.output == "Good morning."
