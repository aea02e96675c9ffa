"""The gate before a provider: nobody passes while it is closed, and then one after the other."""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent
from pegboard.errors import ModelRateLimitedError
from pegboard_recovery.gate import FIRST_INTERVAL_S, LOOK_AGAIN_S, PAUSE_S, Gate

if TYPE_CHECKING:
    from plugins_builtin.recovery.recovery.tests.conftest import Scene

RUNS = 16
LONGEST_S = 300.0
"""That a gate may be closed."""


def test_an_open_gate_keeps_nobody() -> None:
    """Nothing is counted where nothing was refused."""
    gate = Gate(LONGEST_S)

    assert (gate.is_open, gate.wait_s(gate.ticket(), 5.0)) == (True, 0.0)


def test_of_many_refusals_at_once_one_counts() -> None:
    """Requests that were under way together say the same thing."""
    gate, single = Gate(LONGEST_S), Gate(LONGEST_S)
    single.refused(0.0, 1.0, 10.0)
    for _ in range(16):
        gate.refused(0.0, 1.0, 10.0)

    assert gate._interval_s == single._interval_s == FIRST_INTERVAL_S


def test_another_refusal_widens_and_answers_narrow_until_it_is_open() -> None:
    """The rate returns slowly."""
    gate = Gate(LONGEST_S)
    gate.refused(0.0, 1.0, 0.0)
    gate.refused(2.0, 3.0, 0.0)
    answers = 0
    while not gate.is_open:
        gate.answered(4.0)
        answers += 1

    assert answers > 8


def test_an_answer_to_an_older_request_says_nothing() -> None:
    """It was sent before the gate was closed."""
    gate = Gate(LONGEST_S)
    gate.refused(0.0, 1.0, 5.0)
    for _ in range(50):
        gate.answered(0.5)

    assert not gate.is_open


@pytest.mark.parametrize("asked", [1e12, 1e308, math.inf, 10**400], ids=["years", "ages", "inf", "digits"])
def test_no_provider_closes_it_for_longer_than_the_deadline(asked: float) -> None:
    """All runs stand behind it, and a date in the wrong century is no wish."""
    gate = Gate(LONGEST_S)
    gate.refused(0.0, 1.0, asked)

    assert gate.wait_s(gate.ticket(), 1.0) == LONGEST_S
    assert gate.wait_s(gate.ticket(), 1.0 + LONGEST_S) <= LOOK_AGAIN_S


@pytest.mark.parametrize(
    ("asked", "pause_s"),
    [
        (-5, 0.0),
        (-(10**400), 0.0),
        (-math.inf, 0.0),
        (math.nan, PAUSE_S),
        (None, PAUSE_S),
        ("soon", PAUSE_S),
        (True, PAUSE_S),
    ],
    ids=["past", "digits", "-inf", "nan", "none", "text", "bool"],
)
def test_what_is_no_time_is_the_usual_pause(asked: Any, pause_s: float) -> None:
    """Of the past it is none, and nothing raises: plugins of anybody's make these errors."""
    gate = Gate(LONGEST_S)
    gate.refused(0.0, 1.0, asked)

    assert gate.due_s(gate.ticket(), 1.0) == pause_s + FIRST_INTERVAL_S


def test_nobody_waits_for_those_who_left() -> None:
    """A hundred were cancelled: the next one is the first."""
    gate = Gate(LONGEST_S)
    gate.refused(0.0, 1.0, 3.0)
    for ticket in [gate.ticket() for _ in range(100)]:
        gate.leave(ticket)

    assert gate.due_s(gate.ticket(), 1.0) == 3.0 + FIRST_INTERVAL_S


async def test_cancelled_runs_leave_the_gate(scene: Scene) -> None:
    """Whoever comes after them waits as if they had never been there."""
    scene.settings = {"attempts": 1}
    scene.model("a:one", [ModelRateLimitedError("slow down", retry_after_s=3), "done"])
    board = await scene.board()
    agent = Agent("agent", model="a:one")
    await board.run(agent, "go", check=False)
    waiting = [asyncio.create_task(board.run(agent, "go", run=f"run{number}", check=False)) for number in range(RUNS)]
    await scene.clock.sleeping()
    for number in range(RUNS):
        await board.cancel(f"run{number}")
    await asyncio.gather(*waiting)
    result = await scene.through(board.run(agent, "go"))

    assert result.output == "done"
    assert scene.clock.monotonic() < 3 + RUNS * FIRST_INTERVAL_S / 2


@pytest.mark.parametrize("asked", ["soon", math.nan, -1], ids=str)
async def test_a_wish_that_is_none_is_no_fault(scene: Scene, asked: Any) -> None:
    """The request is repeated as after a refusal without one."""
    scene.model("a:one", [ModelRateLimitedError("slow down", retry_after_s=asked), "done"])

    assert (await scene.run(Agent("agent", model="a:one"))).output == "done"


async def test_an_absurd_wish_keeps_the_next_run_for_the_deadline_at_most(scene: Scene) -> None:
    """Also where another model of the same provider is fallen back to."""
    scene.settings = {"deadline_s": 60}
    scene.model("a:one", [ModelRateLimitedError("in 2099", retry_after_s=1e12), "well again"])
    scene.model("a:two", ["spared"])
    board = await scene.board()
    first = await scene.through(board.run(Agent("agent", model="a:one", fallbacks=("a:two",)), "go"))
    second = await scene.through(board.run(Agent("agent", model="a:one"), "go"))

    assert (first.output, second.output) == ("spared", "well again")
    assert scene.clock.monotonic() < 65


async def test_parallel_runs_wait_behind_one_gate(scene: Scene) -> None:
    """One is refused: no other sends anything until the provider allows it, and then they come one by one."""
    scene.model("a:one", [ModelRateLimitedError("slow down", retry_after_s=30), *["done"] * (RUNS + 1)])
    board = await scene.board()
    agent = Agent("agent", model="a:one")
    first = asyncio.create_task(board.run(agent, "go"))
    await scene.clock.sleeping()
    others = [asyncio.create_task(board.run(agent, "go")) for _ in range(RUNS)]
    results = await scene.through(asyncio.gather(first, *others))

    refused, *times = sorted(at for _, at in scene.sent)
    assert [result.output for result in results] == ["done"] * (RUNS + 1)
    assert len(times) == RUNS + 1
    assert times[0] >= refused + 30
    assert all(later > earlier for earlier, later in itertools.pairwise(times[:8]))
    assert times[-1] - times[0] < RUNS * FIRST_INTERVAL_S


async def test_runs_that_were_refused_together_come_back_one_by_one(scene: Scene) -> None:
    """Nobody comes before Retry-After, and nobody is refused a second time by the own fellows."""
    refusal = ModelRateLimitedError("slow down", retry_after_s=20)
    scene.model("a:one", [*[refusal] * RUNS, *["done"] * RUNS])
    board = await scene.board()
    agents = [board.run(Agent("agent", model="a:one"), "go") for _ in range(RUNS)]
    results = await scene.through(asyncio.gather(*agents))

    times = sorted(at for _, at in scene.sent)[RUNS:]
    assert all(result.ok for result in results)
    assert times[0] >= 20
    assert times[7] - times[0] > 1


async def test_another_provider_does_not_wait(scene: Scene) -> None:
    """A gate is one provider's."""
    scene.model("a:one", [ModelRateLimitedError("slow down", retry_after_s=30), "late"])
    scene.model("b:two", ["at once"])
    board = await scene.board()
    slow = asyncio.create_task(board.run(Agent("agent", model="a:one"), "go"))
    await scene.clock.sleeping()

    assert (await board.run(Agent("agent", model="b:two"), "go")).output == "at once"
    assert (await scene.through(slow)).output == "late"


async def test_a_run_says_that_it_waits_and_can_be_cancelled(scene: Scene) -> None:
    """Nothing is sent for it, and no plugin is blamed for the time."""
    scene.settings = {"attempts": 1}
    scene.model("a:one", [ModelRateLimitedError("slow down", retry_after_s=200), "never"])
    board = await scene.board()
    await board.run(Agent("agent", model="a:one"), "go", check=False)
    waiting = asyncio.create_task(board.run(Agent("agent", model="a:one"), "go", run="second", check=False))
    await scene.clock.sleeping()
    await board.cancel("second")
    result = await waiting

    assert (result.end_reason, len(scene.sent)) == ("cancelled", 1)
    assert [event.data for event in result.events if event.kind == "recovery.waiting"] == [
        {"provider": "a", "seconds": 200 + FIRST_INTERVAL_S}
    ]
    assert not [event for event in result.events if event.kind.startswith("plugin.")]
