"""What a host program may do wrong with a board, and what it is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pegboard import Agent, Event, Pegboard, hookimpl
from pegboard.errors import AgentError, BoardArgumentError, ConfigError, RunningLoopError
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


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("plugins", "git"),
        ("plugins", 3),
        ("plugins", ["git"]),
        ("plugins", [None]),
        ("plugins", [{"tools": []}]),
        ("agents", "helper"),
        ("agents", ["helper"]),
        ("folders", "plugins/mine"),
        ("folders", [3]),
        ("model", 3),
        ("config", "drivers"),
        ("config", [("model", "auto")]),
        ("store", "sqlite"),
        ("store", object()),
        ("workspace", 3),
        ("workspace", "no/such/folder"),
    ],
)
def test_a_wrong_argument_is_refused_where_the_board_is_made(argument: str, value: Any) -> None:
    """Else it would fail much later with an error of Python, or be without effect."""
    with pytest.raises(BoardArgumentError, match=f"^`{argument}`") as caught:
        Pegboard(**{argument: value})

    assert (caught.value.code, caught.value.hint) == ("board.argument", "peg help board.argument")


@pytest.mark.parametrize("config", [{"drivers": "sqlite"}, {"drivers": {"store": 3}}, {3: 4}, {"model": 2**70}])
def test_a_wrong_setting_is_refused_where_the_board_is_made(config: Any) -> None:
    """As a setting in a file would be."""
    with pytest.raises(ConfigError, match=r"^the host: "):
        Pegboard(config=config)


async def test_what_is_given_may_be_any_row_of_things() -> None:
    """A generator is read once, and what it gave is on the board."""
    agents = (Agent(name, model=ScriptedModel(["ok"])) for name in ("one", "two"))
    async with Pegboard(agents=agents) as board:  # type: ignore[arg-type]  # not a sequence
        assert [agent.name for agent in board.agents] == ["one", "two"]
