"""The gate before a provider: nobody passes while it is closed, and then one after the other."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from pegboard import Agent
from pegboard.errors import ModelRateLimitedError
from pegboard_recovery.gate import FIRST_INTERVAL_S, Gate

if TYPE_CHECKING:
    from plugins_builtin.recovery.recovery.tests.conftest import Scene

RUNS = 16


def test_an_open_gate_keeps_nobody() -> None:
    """Nothing is counted where nothing was refused."""
    gate = Gate()

    assert (gate.is_open, gate.wait_s(gate.ticket(), 5.0)) == (True, 0.0)


def test_of_many_refusals_at_once_one_counts() -> None:
    """Requests that were under way together say the same thing."""
    gate, single = Gate(), Gate()
    single.refused(0.0, 1.0, 10.0)
    for _ in range(16):
        gate.refused(0.0, 1.0, 10.0)

    assert gate._interval_s == single._interval_s == FIRST_INTERVAL_S


def test_another_refusal_widens_and_answers_narrow_until_it_is_open() -> None:
    """The rate returns slowly."""
    gate = Gate()
    gate.refused(0.0, 1.0, 0.0)
    gate.refused(2.0, 3.0, 0.0)
    answers = 0
    while not gate.is_open:
        gate.answered(4.0)
        answers += 1

    assert answers > 8


def test_an_answer_to_an_older_request_says_nothing() -> None:
    """It was sent before the gate was closed."""
    gate = Gate()
    gate.refused(0.0, 1.0, 5.0)
    for _ in range(50):
        gate.answered(0.5)

    assert not gate.is_open


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
    scene.settings = {"deadline_s": 1}
    scene.model("a:one", [ModelRateLimitedError("slow down", retry_after_s=3000), "never"])
    board = await scene.board()
    await board.run(Agent("agent", model="a:one"), "go", check=False)
    waiting = asyncio.create_task(board.run(Agent("agent", model="a:one"), "go", run="second", check=False))
    await scene.clock.sleeping()
    await board.cancel("second")
    result = await waiting

    assert (result.end_reason, len(scene.sent)) == ("cancelled", 1)
    assert [event.data for event in result.events if event.kind == "recovery.waiting"] == [
        {"provider": "a", "seconds": 3000.0}
    ]
    assert not [event for event in result.events if event.kind.startswith("plugin.")]
