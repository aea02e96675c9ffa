"""What plugins may call the workspace, which their permissions name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pegboard import Agent, Pegboard
from pegboard.interfaces import RunContext
from pegboard.types import RunState, evolve


async def test_the_workspace_of_a_run_leads(tmp_path: Path) -> None:
    """A plugin that works in it stays within its permissions; outside of runs it is that of the board."""

    class Looks(Agent):
        async def execute(self, ctx: RunContext, state: RunState, turns: Any) -> RunState:
            return evolve(state, output=str(board.plugins.workspace()))

    async with Pegboard(workspace=tmp_path) as board:
        given = await board.run(Looks("looks"), "go", workspace=str(tmp_path / "other"))
        own = await board.run(Looks("looks"), "go")

        assert (given.output, own.output) == (str(tmp_path / "other"), str(tmp_path))
        assert board.plugins.workspace() == tmp_path
