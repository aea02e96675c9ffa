"""What plugins promise that watch, judge, or bring modules and agents."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

import pytest
from pegboard import Agent, Module, RunResult, Tool
from pegboard.events import EVENT_KINDS, Event
from pegboard.hookspecs import SPECS, options_of
from pegboard.types import Effect
from pegboard_replay import ScriptedModel, call

from pegboard_testing.board import MakeBoard
from pegboard_testing.tools import FakeTool

EFFECTS: tuple[Effect, ...] = ("pure", "idempotent", "keyed", "unsafe")


class ObserverSuite:
    """A plugin that watches events."""

    @pytest.fixture
    def plugin(self) -> Any:
        """The plugin, as it is before its activation."""
        raise NotImplementedError("provide the fixture `plugin`")

    def test_it_watches_by_a_plain_function(self, plugin: Any) -> None:
        """Nothing waits in `on_event`."""
        assert options_of(plugin.on_event) is not None
        assert not iscoroutinefunction(plugin.on_event)

    @pytest.mark.asyncio
    async def test_no_event_is_too_strange(self, plugin: Any, make_board: MakeBoard) -> None:
        """Every kind, with no data and with data of any shape; kinds of other plugins too."""
        board = await make_board(plugins=[plugin], strict=True)
        shapes: list[dict[str, Any]] = [{}, {"op": None, "phase": 1, "usage": "x", "degraded": [None], "prompts": 3}]

        for seq, kind in enumerate([*EVENT_KINDS, "other.thing"]):
            for data in shapes:
                event = Event(id=f"r.{seq}", run="r", seq=seq, kind=kind, at=0.0, data=data)
                assert board.hooks.on_event is not None
                board.hooks.on_event(event)

    @pytest.mark.asyncio
    async def test_a_run_goes_as_without_it(self, plugin: Any, make_board: MakeBoard) -> None:
        """Watching changes nothing."""
        board = await make_board(plugins=[plugin], strict=True)

        assert (await _run(board, FakeTool())).output == "done"


class GateSuite:
    """A plugin that allows, asks and denies."""

    @pytest.fixture
    def plugin(self) -> Any:
        """The plugin, as it is before its activation."""
        raise NotImplementedError("provide the fixture `plugin`")

    def test_it_is_a_gate(self, plugin: Any) -> None:
        """At least one of its hooks is of that kind."""
        assert [name for name in _hooks(plugin) if SPECS[name].kind == "gate"]

    @pytest.mark.parametrize("effect", EFFECTS)
    @pytest.mark.asyncio
    async def test_every_effect_gets_an_answer(self, plugin: Any, make_board: MakeBoard, effect: Effect) -> None:
        """A verdict or no opinion; an error would deny, and nobody would know why."""
        board = await make_board(plugins=[plugin])

        result = await _run(board, FakeTool(effect=effect))

        assert [event.data for event in result.events if event.kind == "plugin.fault"] == []

    @pytest.mark.asyncio
    async def test_strange_arguments_get_an_answer(self, plugin: Any, make_board: MakeBoard) -> None:
        """A model may send anything."""
        board = await make_board(plugins=[plugin])

        result = await _run(board, FakeTool(), nested={"deep": [[[None]]]}, text="\x00\u202e" * 100, number=1e308)

        assert [event.data for event in result.events if event.kind == "plugin.fault"] == []


class ModuleSuite:
    """A module that agents can use."""

    @pytest.fixture
    def module(self) -> Module:
        """The module, as it is before a run."""
        raise NotImplementedError("provide the fixture `module`")

    def test_it_is_a_module(self, module: Module) -> None:
        """With a name and a description."""
        assert isinstance(module, Module)
        assert module.name
        assert module.description

    def test_its_tools_are_tools(self, module: Module) -> None:
        """With names of their own, the same each time they are asked for."""
        names = [tool.name for tool in module.tools()]

        assert all(isinstance(tool, Tool) for tool in module.tools())
        assert len(set(names)) == len(names)
        assert [tool.name for tool in module.tools()] == names

    @pytest.mark.asyncio
    async def test_it_lives_through_a_run(self, module: Module, make_board: MakeBoard) -> None:
        """It is initialised and cleaned up, and can be used again."""
        board = await make_board()
        for _ in range(2):
            result = await board.run(Agent("probe", model=ScriptedModel(["done"]), modules=[module]), "go")
            assert [event.data for event in result.events if event.kind == "cleanup.error"] == []

    @pytest.mark.asyncio
    async def test_cleaning_up_needs_no_initialisation(self, module: Module) -> None:
        """It is always called, also after `initialize` failed."""
        await module.cleanup()


class AgentSuite:
    """An agent that can be run by name."""

    @pytest.fixture
    def agent(self) -> Agent:
        """The agent."""
        raise NotImplementedError("provide the fixture `agent`")

    def test_its_name_can_be_typed(self, agent: Agent) -> None:
        """As one word on a command line."""
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", agent.name)

    def test_it_is_described(self, agent: Agent) -> None:
        """People and other agents choose by the description."""
        assert agent.config.description.strip()

    def test_its_version_can_be_compared(self, agent: Agent) -> None:
        """As in PEP 440, or ranges of dependants cannot be judged."""
        assert re.fullmatch(r"\d+(\.\d+)*([abrc.+-].*)?", agent.version)

    @pytest.mark.asyncio
    async def test_it_registers(self, agent: Agent, make_board: MakeBoard) -> None:
        """A board takes it, with everything that it depends on."""
        board = await make_board()

        await board.add_agent(agent)

        assert (await board.find_agent(agent.name)).name == agent.name


async def _run(board: Any, tool: FakeTool, /, **arguments: Any) -> RunResult:
    model = ScriptedModel([call(tool.name, **arguments), "done"])
    result: RunResult = await board.run(Agent("probe", model=model, tools=[tool]), "go", check=False)
    return result


def _hooks(plugin: Any) -> dict[str, Callable[..., Any]]:
    names = {name: getattr(plugin, name, None) for name in SPECS}
    return {name: function for name, function in names.items() if options_of(function) is not None and function}


__all__ = ["EFFECTS", "AgentSuite", "GateSuite", "ModuleSuite", "ObserverSuite"]
