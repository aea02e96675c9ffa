"""Where the budget is short: the end, a cheaper model, or the question for more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, Pegboard, hookimpl, tool
from pegboard.errors import ApprovalNeededError, BudgetExceededError, ConfigError, ModelRequestError
from pegboard.interfaces import ToolContext
from pegboard.types import (
    Approval,
    ApprovalRequest,
    ModelSettings,
    Price,
    PriceTable,
    ResourceLimits,
    RunState,
    Usage,
    evolve,
)
from pegboard_recovery.policy import settings_of
from pegboard_replay import call, turn

if TYPE_CHECKING:
    from plugins_builtin.recovery.recovery.tests.conftest import Scene

A_THOUSAND_EACH_WAY = Usage(1000, 1000, source="provider")
DEAR, CHEAP = 100.0, 1.0
"""USD for a million tokens: a thousand each way cost 0.2 or 0.002."""


class Desk:
    """Prices for two models, and somebody who answers questions, or does not."""

    def __init__(self, *answers: bool) -> None:
        self._answers = list(answers)
        self.asked: list[ApprovalRequest] = []

    @hookimpl
    def provide_prices(self) -> PriceTable:
        prices = (
            Price(provider="a", model="dear", input=DEAR, output=DEAR),
            Price(provider="b", model="cheap", input=CHEAP, output=CHEAP),
        )
        return PriceTable(prices=prices, dated="2026-11-01", source="a test")

    @hookimpl
    def request_approval(self, request: ApprovalRequest) -> Approval | None:
        if not self._answers:
            return None
        self.asked.append(request)
        return Approval(id=request.id, granted=self._answers.pop(0), by="a person")


@tool(effect="pure")
def look() -> str:
    """Look around."""
    return "nothing"


def agent(cost_usd: float) -> Agent:
    """Its first turn costs 0.2 with the dear model, and reserves a little over 0.1 for 1,000 tokens of answer."""
    settings = ModelSettings(max_output_tokens=1000)
    return Agent("agent", model="a:dear", settings=settings, tools=[look], limits=ResourceLimits(cost_usd=cost_usd))


def two_turns(scene: Scene, name: str) -> None:
    scene.model(name, [turn(call("look"), usage=A_THOUSAND_EACH_WAY), turn("done", usage=A_THOUSAND_EACH_WAY)])


async def board_of(scene: Scene, desk: Desk) -> Pegboard:
    scene.plugins = [desk]
    return await scene.board()


async def test_by_default_a_run_ends_at_its_limit(scene: Scene) -> None:
    """What was done so far is kept, and no other model is asked."""
    two_turns(scene, "a:dear")
    board = await board_of(scene, Desk())
    result = await board.run(agent(0.25), "go", check=False)

    assert (result.end_reason, result.turns, len(scene.sent)) == ("budget", 2, 1)
    assert result.cost_usd == pytest.approx(0.2)


async def test_a_cheaper_model_goes_on_at_the_limit(scene: Scene) -> None:
    """With `degrade`, over the same history and within the limit; the result names both models."""
    scene.settings = {"at_limit": "degrade", "cheaper": ["b:cheap"]}
    two_turns(scene, "a:dear")
    cheap = scene.model("b:cheap", [turn("done", usage=A_THOUSAND_EACH_WAY)])
    board = await board_of(scene, Desk())
    result = await board.run(agent(0.25), "go", check=False)

    assert result.output == "done"
    assert result.cost_usd == pytest.approx(0.202)
    assert [message.role for message in cheap.requests[0].messages] == ["user", "assistant", "tool"]
    (fallback,) = result.degraded
    assert (fallback.what, fallback.why[:56]) == (
        "model `a:dear`", "fell back to `b:cheap`: the budget of this run is $0.25:"
    )  # fmt: skip


async def test_the_limit_holds_for_the_cheaper_model_too(scene: Scene) -> None:
    """Where it is too dear as well, the run ends, and nothing was sent to it."""
    scene.settings = {"at_limit": "degrade", "cheaper": ["b:cheap"]}
    two_turns(scene, "a:dear")
    scene.model("b:cheap", [turn("never", usage=A_THOUSAND_EACH_WAY)])
    board = await board_of(scene, Desk())
    result = await board.run(agent(0.2005), "go", check=False)

    assert (result.end_reason, [name for name, _ in scene.sent]) == ("budget", ["a:dear"])


async def test_more_is_spent_where_a_person_approves(scene: Scene) -> None:
    """With `ask`: as much again as the limit is, and the question says what of and why."""
    scene.settings = {"at_limit": "ask"}
    two_turns(scene, "a:dear")
    desk = Desk(True)
    board = await board_of(scene, desk)
    result = await board.run(agent(0.25), "go", check=False)

    assert result.output == "done"
    assert result.cost_usd == pytest.approx(0.4)
    action = desk.asked[0].action
    assert (action.verb, action.resource, len(desk.asked)) == ("budget.raise", "cost_usd", 1)
    assert isinstance(action.arguments, dict)
    assert (action.arguments["by"], action.arguments["of"]) == (0.25, "this run")
    assert "$0.2 are used or reserved" in action.arguments["why"]


async def test_a_person_who_says_no_is_not_asked_again(scene: Scene) -> None:
    """The run ends with `budget`."""
    scene.settings = {"at_limit": "ask"}
    two_turns(scene, "a:dear")
    desk = Desk(False, True)
    board = await board_of(scene, desk)
    result = await board.run(agent(0.25), "go", check=False)

    assert (result.end_reason, len(desk.asked), len(scene.sent)) == ("budget", 1, 1)
    assert isinstance(result.error, BudgetExceededError)
    assert "a person said no" in result.error.message


async def test_without_anybody_to_ask_a_run_waits_to_be_resumed(scene: Scene) -> None:
    """It needs approval; resumed where somebody is there, it goes on without repeating what it did."""
    scene.settings = {"at_limit": "ask"}
    two_turns(scene, "a:dear")
    desk = Desk()
    board = await board_of(scene, desk)
    ended = await board.run(agent(0.25), "go", run="r1", check=False)
    desk._answers.append(True)
    result = await board.resume("r1", check=False)

    assert (ended.end_reason, type(ended.error)) == ("needs_approval", ApprovalNeededError)
    assert (result.output, len(scene.sent)) == ("done", 2)


async def test_what_was_approved_is_not_asked_again_in_another_life(scene: Scene) -> None:
    """A run that failed later and is resumed has the limit that was approved."""
    scene.settings = {"at_limit": "ask"}
    scene.model("a:dear", [
        turn(call("look"), usage=A_THOUSAND_EACH_WAY),
        ModelRequestError("no"),
        turn("done", usage=A_THOUSAND_EACH_WAY),
    ])  # fmt: skip
    desk = Desk(True)
    board = await board_of(scene, desk)
    ended = await board.run(agent(0.25), "go", run="r1", check=False)
    result = await board.resume("r1", check=False)

    assert isinstance(ended.error, ModelRequestError)
    assert (result.output, len(desk.asked)) == ("done", 1)
    assert result.cost_usd == pytest.approx(0.4)


async def test_the_limit_that_is_short_is_the_one_that_is_raised(scene: Scene) -> None:
    """A child run that the limit of its parent stops asks for more of that one."""
    scene.settings = {"at_limit": "ask"}
    two_turns(scene, "a:dear")
    desk = Desk(True)
    board = await board_of(scene, desk)

    @tool(effect="pure")
    async def delegate(ctx: ToolContext) -> str:
        """Have a child do it."""
        result = await ctx.run.call_agent("child", "go")
        return str(result.output)

    await board.add_agent(Agent("child", model="a:dear", settings=agent(1.0).config.settings, tools=[look]))
    scene.model("b:cheap", [turn(call("delegate"), usage=Usage(0, 0)), turn("all done", usage=Usage(0, 0))])
    parent = Agent("parent", model="b:cheap", tools=[delegate], limits=ResourceLimits(cost_usd=0.25))
    result = await board.run(parent, "go", check=False)

    assert result.output == "all done"
    assert isinstance(desk.asked[0].action.arguments, dict)
    assert desk.asked[0].action.arguments["of"] == "a run above"


async def test_many_that_are_short_at_once_ask_as_often_as_it_takes(scene: Scene) -> None:
    """Children that wait for an answer look whether an earlier one was enough for them too."""
    scene.settings = {"at_limit": "ask"}
    scene.model("a:dear", ["done"] * 16)
    desk = Desk(*[True] * 16)
    board = await board_of(scene, desk)
    child = await board.add_agent(Agent("child", model="a:dear", settings=ModelSettings(max_output_tokens=1000)))

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            await asyncio.gather(*(ctx.call_agent(child, "go") for _ in range(16)))
            return evolve(state, output="done")

    result = await board.run(Parent("parent", limits=ResourceLimits(cost_usd=1.0)), "go", check=False)

    assert result.output == "done"
    assert len(desk.asked) == 1  # of sixteen that reserve a little over 0.1 each, nine fit into 1.0 and all into 2.0


async def test_no_other_limit_can_be_talked_away(scene: Scene) -> None:
    """Of the calls of tools the limit stands, and nobody is asked."""
    scene.settings = {"at_limit": "ask"}
    scene.model("a:dear", [turn(call("look"), call("look")), "done"])
    desk = Desk(True)
    board = await board_of(scene, desk)
    limited = Agent("agent", model="a:dear", tools=[look], limits=ResourceLimits(tool_calls=1))
    result = await board.run(limited, "go", check=False)

    assert (result.end_reason, desk.asked) == ("budget", [])


def test_to_degrade_a_model_must_be_named() -> None:
    """Else the setting would do nothing."""
    with pytest.raises(ConfigError, match="`cheaper` names no model"):
        settings_of({"at_limit": "degrade"})
