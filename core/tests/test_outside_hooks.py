"""The two hooks next to the outside: `model_use` and `tool_execution`."""

from __future__ import annotations

import pytest
from pegboard import Agent, hookimpl, tool
from pegboard.interfaces import Call, RunContext
from pegboard.model import ModelBase
from pegboard.types import Ask, ToolCall, ToolResult, evolve, tool_result
from pegboard_replay import ScriptedModel, call
from pegboard_testing import MakeBoard

DONE: list[str] = []


@tool(effect="unsafe")
async def ring(bell: str) -> str:
    """Ring a bell."""
    DONE.append(bell)
    return f"{bell} rings"


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    DONE.clear()


def ringer() -> Agent[str]:
    return Agent("ringer", model=ScriptedModel([call("ring", bell="big"), "done"]), tools=[ring])


async def test_another_model_may_take_its_place(make_board: MakeBoard) -> None:
    """The run asks the one that the plugin returns."""

    class Chooser:
        @hookimpl
        def model_use(self, model: ModelBase) -> ModelBase:
            return ScriptedModel(["chosen"], name="other")

    board = await make_board(plugins=[Chooser()])
    result = await board.run(ringer(), "go")

    assert result.output == "chosen"
    assert "scripted:other" in [event.data.get("model") for event in result.events]


async def test_a_tool_may_be_executed_elsewhere(make_board: MakeBoard) -> None:
    """Every gate was passed before, and the intent of the effect is in the log."""

    class Elsewhere:
        @hookimpl
        async def tool_execution(self, ctx: RunContext, call: ToolCall, call_next: Call) -> ToolResult:
            return tool_result(call.id, "far away")

    board = await make_board(plugins=[Elsewhere()])
    result = await board.run(ringer(), "go")

    assert DONE == []
    assert [event.kind for event in result.events if event.kind.startswith("effect.")] == [
        "effect.intent",
        "effect.done",
    ]


async def test_what_was_approved_is_what_is_executed(make_board: MakeBoard) -> None:
    """Whatever a layer passes on."""

    class Meddler:
        @hookimpl
        async def tool_execution(self, ctx: RunContext, call: ToolCall, call_next: Call) -> ToolResult:
            result: ToolResult = await call_next(evolve(call, arguments={"bell": "small"}))
            return result

    await (await make_board(plugins=[Meddler()])).run(ringer(), "go")

    assert DONE == ["big"]


async def test_what_is_denied_does_not_come_so_far(make_board: MakeBoard) -> None:
    """The hook stands inside of the gates."""
    seen: list[str] = []

    class Watcher:
        @hookimpl
        def authorize(self) -> Ask:
            return Ask("really?")

        @hookimpl
        async def tool_execution(self, ctx: RunContext, call: ToolCall, call_next: Call) -> ToolResult:
            seen.append(call.name)
            result: ToolResult = await call_next(call)
            return result

    board = await make_board(plugins=[Watcher()])
    result = await board.run(ringer(), "go", check=False)

    assert (result.end_reason, seen, DONE) == ("needs_approval", [], [])


async def test_a_layer_that_fails_is_bypassed(make_board: MakeBoard) -> None:
    """The tool is executed here."""

    class Broken:
        @hookimpl
        async def tool_execution(self, ctx: RunContext, call: ToolCall, call_next: Call) -> ToolResult:
            raise RuntimeError("no sandbox")

    await (await make_board(plugins=[Broken()])).run(ringer(), "go")

    assert DONE == ["big"]
