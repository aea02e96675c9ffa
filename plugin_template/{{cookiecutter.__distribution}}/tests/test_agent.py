"""The agent, found by its name and run with a scripted model."""

from __future__ import annotations

from pathlib import Path

from pegboard_testing import MakeBoard, ScriptedModel

import {{ cookiecutter.__package }}

PLUGIN = Path({{ cookiecutter.__package }}.__file__).parent
"""The folder with the manifest: the board treats it as if it were installed."""


async def test_agent_runs_by_name(make_board: MakeBoard) -> None:
    """It is found by its name, and tells the model its instructions."""
    model = ScriptedModel(["Yes."])
    board = await make_board(folders=[PLUGIN], model=model)

    result = await board.run("{{ cookiecutter.name }}", "Are you there?")

    assert result.output == "Yes."
    assert model.requests[0].instructions.startswith("Answer briefly.")
