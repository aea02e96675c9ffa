"""What a host program may do wrong with a board, and what it is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pegboard import Agent, Event, Pegboard, hookimpl
from pegboard.errors import AgentError, RunningLoopError
from pegboard_replay import ScriptedModel


async def test_an_observer_that_fails_is_not_told_of_its_own_failure() -> None:
    """Else each failure of `on_event` would be the next event, and the next failure, without end."""
    seen: list[str] = []

    class Observer:
        @hookimpl
        def on_event(self, event: Event) -> None:
            seen.append(event.kind)
            raise RuntimeError("no")

    async with Pegboard(plugins=[Observer()]) as board:
        result = await board.run(Agent(model=ScriptedModel(["ok"])), "hi")

    assert result.output == "ok"
    assert "plugin.fault" in [event.kind for event in result.events]
    assert "plugin.fault" not in seen


async def test_an_option_that_a_run_does_not_have_is_refused() -> None:
    """A misspelt limit must not be a limit that does not hold."""
    async with Pegboard() as board:
        with pytest.raises(TypeError, match="limts"):
            await board.run(Agent(model=ScriptedModel(["ok"])), "hi", limts=None)  # type: ignore[call-arg]  # misspelt
        with pytest.raises(AgentError, match="must be ResourceLimits"):
            await board.run(Agent(model=ScriptedModel(["ok"])), "hi", limits={"tokens": 3})  # type: ignore[arg-type]  # a dict


def test_the_sync_api_belongs_to_one_thread() -> None:
    """A second thread gets an error with a code, not a half-run event loop."""
    with Pegboard() as board, ThreadPoolExecutor(1) as other:
        board.run_sync(Agent(model=ScriptedModel(["ok"])), "hi")
        with pytest.raises(RunningLoopError, match="thread"):
            other.submit(board.run_sync, Agent(model=ScriptedModel(["ok"])), "hi").result()


@pytest.mark.parametrize(("field", "value"), [("model", 3), ("limits", {}), ("max_turns", "many"), ("output", 3)])
async def test_a_field_of_a_wrong_type_is_refused(field: str, value: Any) -> None:
    """Before the run begins, and in words."""
    agent = Agent(**{"model": ScriptedModel(["ok"]), field: value})
    async with Pegboard() as board:
        with pytest.raises(AgentError, match=f"`{field}`"):
            await board.run(agent, "hi")
