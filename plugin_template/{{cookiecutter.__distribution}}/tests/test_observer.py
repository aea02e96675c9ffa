"""The observer, on a run of a scripted model."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pegboard import Agent
from pegboard_testing import MakeBoard, ScriptedModel

import {{ cookiecutter.__package }}

PLUGIN = Path({{ cookiecutter.__package }}.__file__).parent
"""The folder with the manifest: the board treats it as if it were installed."""


async def test_end_of_a_run_is_logged(make_board: MakeBoard, caplog: pytest.LogCaptureFixture) -> None:
    """Each run leaves one line with its end reason."""
    board = await make_board(folders=[PLUGIN])

    with caplog.at_level(logging.INFO):
        await board.run(Agent("greeter", model=ScriptedModel(["Hello."])), "Hi.")

    assert [record.getMessage().endswith("completed") for record in caplog.records if "ended" in record.msg] == [True]
