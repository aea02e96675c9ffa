"""The model, found by its name and asked through a real board."""

from __future__ import annotations

from pathlib import Path

import pytest
from pegboard import Agent
from pegboard_testing import MakeBoard

import {{ cookiecutter.__package }}

PLUGIN = Path({{ cookiecutter.__package }}.__file__).parent
"""The folder with the manifest: the board treats it as if it were installed."""


@pytest.mark.parametrize("name", ["{{ cookiecutter.name }}:echo", "{{ cookiecutter.name }}-large", "{{ cookiecutter.name }}:{{ cookiecutter.name }}-large"])
async def test_model_answers(make_board: MakeBoard, name: str) -> None:
    """Each name that the manifest announces answers with what it was asked."""
    board = await make_board(folders=[PLUGIN])

    result = await board.run(Agent("parrot", model=name), "Good morning.")

    assert result.output == "Good morning."
