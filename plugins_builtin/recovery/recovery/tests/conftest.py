"""A board with the plugin, scripted models by name, and time that passes only where everybody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pegboard_recovery
import pytest
from pegboard import Agent, Pegboard, RunResult, hookimpl
from pegboard.model import ModelBase
from pegboard_replay import ScriptedModel, TurnLike
from pegboard_testing import FakeClock, MakeBoard

PACKAGE = Path(pegboard_recovery.__file__).parent
T = TypeVar("T")


class Models:
    """Scripted models of several providers, by `provider:name`."""

    def __init__(self) -> None:
        self.made: dict[str, ModelBase] = {}

    @hookimpl
    def provide_model(self, name: str) -> ModelBase | None:
        return self.made.get(name)


class Scene:
    """Runs agents on a board with the plugin under test."""

    def __init__(self, make_board: MakeBoard, clock: FakeClock) -> None:
        self._make_board = make_board
        self.clock = clock
        self.models = Models()
        self.settings: dict[str, Any] = {}
        self.agents: list[Agent] = []
        self.plugins: list[object] = []
        """Further ones."""
        self.sent: list[tuple[str, float]] = []
        """Which model was asked when."""

    def model(self, name: str, script: Iterable[TurnLike]) -> ScriptedModel:
        """A model that other models can fall back to by its name."""
        scene = self

        class Timed(ScriptedModel):
            def stream(self, request: Any) -> Any:
                scene.sent.append((self.id, scene.clock.monotonic()))
                return super().stream(request)

        provider, _, plain = name.partition(":")
        made = Timed(script, name=plain)
        made.provider = provider
        self.models.made[name] = made
        return made

    async def board(self, **options: Any) -> Pegboard:
        """An open board."""
        config = {"plugins": {"recovery": self.settings}, **options.pop("config", {})}
        board = await self._make_board(
            folders=[PACKAGE],
            plugins=[self.models, *self.plugins],
            clock=self.clock,
            config=config,
            agents=self.agents,
            **options,
        )
        await board.run(Agent("warm", model=ScriptedModel(["up"])), "go")  # the first run activates the plugin
        return board

    async def run(self, agent: Agent, inputs: Any = "go", **options: Any) -> RunResult:
        """A whole run, however it ends."""
        board = await self.board()
        return await self.through(board.run(agent, inputs, check=False, **options))

    async def through(self, work: Awaitable[T]) -> T:
        """Let time pass, in small steps and only while somebody waits for it, until the work is done."""
        task = asyncio.ensure_future(work)
        while not task.done():
            waiting = asyncio.ensure_future(self.clock.sleeping())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not task.done():
                self.clock.advance(0.125)
                for _ in range(50):  # whoever was woken goes as far as it can
                    await asyncio.sleep(0)
        return task.result()


@pytest.fixture
def scene(make_board: MakeBoard, fake_clock: FakeClock) -> Scene:
    return Scene(make_board, fake_clock)
