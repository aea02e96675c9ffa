"""What bounds a workflow, and how the plugin makes agents that are graphs into agents that run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pegboard_workflow
import pytest
from pegboard import Agent, Pegboard, RunResult
from pegboard.errors import PegboardError
from pegboard.types import ResourceLimits, evolve
from pegboard_testing import MakeBoard
from pegboard_workflow import Flow, Share, WorkflowAgent
from pegboard_workflow.plugin import Plugin


class Asks(Agent):
    """An agent that notes what it may use, and says its name."""

    seen: dict[str, tuple[float | None, float | None]] = {}

    async def execute(self, ctx: Any, state: Any, turns: Any) -> Any:
        self.seen[self.name] = ctx.budget.remaining("tokens"), ctx.budget.remaining("cost_usd")
        return evolve(state, output=self.name)


@pytest.fixture
async def board(make_board: MakeBoard) -> Pegboard:
    """A board with the plugin and nothing else."""
    Asks.seen.clear()
    return await make_board(plugins=[Plugin()])


async def result_of(board: Pegboard, flow: Flow, **limits: Any) -> RunResult:
    return await board.run(flow.agent(), "go", limits=ResourceLimits(**limits), check=False)


# --- the plugin --------------------------------------------------------------------------------------------------


async def test_an_agent_that_is_a_graph_can_be_run(board: Pegboard) -> None:
    """The plugin makes it executable at its registration; whoever runs it need not know."""
    await board.add_agent(Agent("counts", workflow={"nodes": {"count": {"transform": "count"}}}))

    assert (await board.run("counts", "four")).output == 4


async def test_a_graph_that_is_wrong_is_refused_when_it_is_run(board: Pegboard) -> None:
    """Everything that is wrong is told, and nothing was started."""
    await board.add_agent(Agent("wrong", workflow={"nodes": {"a": {"agnet": "x"}, "b": {"agent": "nobody"}}}))

    with pytest.raises(PegboardError, match="agnet") as caught:
        await board.run("wrong", "go")
    assert caught.value.code == "workflow.invalid"


async def test_the_operator_caps_what_runs_at_once(make_board: MakeBoard) -> None:
    """`max_parallel` holds whatever the workflow says."""
    folder = Path(pegboard_workflow.__file__).parent
    board = await make_board(folders=[folder], config={"plugins": {"workflow": {"max_parallel": 2}}})
    agent = await board.add_agent(Agent("a", workflow={"parallel": 9, "nodes": {"x": {"transform": "text"}}}))

    assert isinstance(agent, WorkflowAgent)
    assert agent.max_parallel == 2


# --- budgets -----------------------------------------------------------------------------------------------------


async def test_children_are_limited_to_their_share(board: Pegboard) -> None:
    """Minimums first, the rest by priority up to each optimum; what is left over comes back."""
    flow = Flow("flow", parallel=1)
    flow.add("a", agent=Asks("a"), tokens=Share(min=100, optimal=1000), priority=1)
    flow.add("b", agent=Asks("b"), tokens=Share(min=300, optimal=300))
    flow.add("c", agent=Asks("c"), tokens=Share(min=0, optimal=900), priority=-1)
    await result_of(board, flow, tokens=1000)

    assert {name: tokens for name, (tokens, _) in Asks.seen.items()} == {"a": 550, "b": 300, "c": 900}


async def test_money_is_shared_out_too(board: Pegboard) -> None:
    """The same rule, in dollars."""
    flow = Flow("flow")
    flow.add("a", agent=Asks("a"), cost_usd=Share(min=0.25))
    await result_of(board, flow, cost_usd=1.0)

    assert Asks.seen["a"][1] == pytest.approx(0.25)


async def test_items_share_what_their_node_has(board: Pegboard) -> None:
    """Each child run has an equal part of it."""
    flow = Flow("flow")
    flow.add("a", agent=Asks("a"), foreach=[1, 2, 3, 4], tokens=Share(min=400))
    await result_of(board, flow, tokens=1000)

    assert Asks.seen["a"][0] == 100


async def test_without_a_limit_nothing_is_shared_out(board: Pegboard) -> None:
    """What a node could make good use of is no limit of its own."""
    flow = Flow("flow")
    flow.add("a", agent=Asks("a"), tokens=Share(min=10, optimal=20))
    await result_of(board, flow)

    assert Asks.seen["a"] == (None, None)


async def test_a_minimum_that_never_fits_ends_the_run_by_its_budget(board: Pegboard) -> None:
    """Nothing could come back that would make it fit."""
    flow = Flow("flow")
    flow.add("a", agent=Asks("a"), tokens=Share(min=500))
    result = await result_of(board, flow, tokens=100)

    assert result.end_reason == "budget"
    assert "needs 500 tokens, and 100 are left" in str(result.error)


async def test_a_node_waits_until_its_minimum_fits(board: Pegboard) -> None:
    """It is told as waiting, and runs when another has left something."""
    flow = Flow("flow")
    flow.add("a", agent=Asks("a"), tokens=Share(min=80), priority=1)
    flow.add("b", agent=Asks("b"), tokens=Share(min=80))
    result = await result_of(board, flow, tokens=100)

    assert result.output == {"a": "a", "b": "b"}
    assert list(Asks.seen) == ["a", "b"]
