"""The tools of an agent by name, by tier, and as its model is told of them."""

from __future__ import annotations

from pegboard import Agent, AgentRunner
from pegboard.toolbox import BoundTool, Toolbox
from pegboard_replay import ScriptedModel
from pegboard_testing import FakeTool, MakeBoard


def toolbox() -> Toolbox:
    return Toolbox(
        [
            BoundTool(FakeTool("far"), "toolbelt"),
            BoundTool(FakeTool("near")),
            BoundTool(FakeTool("next"), "toolchain"),
        ]
    )


def test_a_higher_tier_comes_after_the_lower_ones() -> None:
    """What a lower tier offers stays in front, so that a provider's cached prefix survives."""
    tools = toolbox()

    assert tools.names("core") == ("near",)
    assert tools.names("toolchain") == ("near", "next")
    assert tools.names("toolbelt") == ("near", "next", "far")
    assert [spec.name for spec in tools.specs("toolchain")] == ["near", "next"]


def test_what_a_model_is_told_is_made_once() -> None:
    """Two requests with the same tools hold the very same description of them."""
    tools = toolbox()

    assert tools.specs("toolbelt") is tools.specs("toolbelt")


def test_one_more_tool_is_another_toolbox() -> None:
    """Runs share a toolbox, so what one of them adds does not show in the others."""
    tools = toolbox()
    tools.specs("core")
    more = tools.plus(BoundTool(FakeTool("read")))

    assert (list(tools), list(more)) == (["far", "near", "next"], ["far", "near", "next", "read"])
    assert [spec.name for spec in more.specs("core")] == ["near", "read"]


async def test_runs_of_an_agent_share_its_toolbox(make_board: MakeBoard) -> None:
    """A run costs the same with one tool or a hundred."""
    board = await make_board()
    model = ScriptedModel(["one", "two"])
    agent = Agent(model=model, tools=[FakeTool("add")])
    await board.run(agent, "go")
    await board.run(agent, "go")

    first, second = model.requests
    assert first.tools is second.tools


async def test_a_run_without_a_board_has_the_tools_of_its_agent() -> None:
    """A runner alone needs no board for that."""
    model = ScriptedModel(["done"])
    await AgentRunner(model).get_response(Agent(tools=[FakeTool("add")]), "go")

    assert [spec.name for spec in model.requests[0].tools] == ["add"]
