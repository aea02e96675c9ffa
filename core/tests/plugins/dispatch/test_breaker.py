"""The circuit breaker: what keeps failing is not asked for a while."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pegboard.hookspecs import hookimpl
from pegboard.types import Allow, Deny

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench


class Flaky:
    """An implementation that fails until it is told not to, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.broken = True

    def hook(self, answer: object = None) -> Callable[[], object]:
        def implementation() -> object:
            self.calls += 1
            if self.broken:
                raise ValueError("broken")
            return answer

        return implementation


async def call(bench: Bench, times: int) -> None:
    for _ in range(times):
        await bench.hooks.settle_budget("ctx", "settlement")


async def test_a_thousand_failing_calls_are_three_attempts(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Attempts and log lines are bounded; the others are still told."""
    flaky, told = Flaky(), Flaky()
    told.broken = False
    bench.add("a", settle_budget=flaky.hook())
    bench.add("b", settle_budget=told.hook())

    with caplog.at_level(logging.WARNING, "pegboard.plugins"):
        await call(bench, 1000)

    assert (flaky.calls, told.calls) == (3, 1000)
    assert len(bench.report.faults) == 3
    first, second = (record.getMessage() for record in caplog.records)
    assert re.fullmatch(
        r"plugin `a` failed in hook `settle_budget`: ValueError: broken \(test_breaker.py:\d+ in implementation\)",
        first,
    )
    assert second == ("plugin `a` is not asked in hook `settle_budget` for 30 s: it failed 3 times ValueError: broken")


async def test_errors_count_only_in_a_row(bench: Bench) -> None:
    """A success in between forgets them."""
    flaky = Flaky()
    bench.add("a", settle_budget=flaky.hook())

    for _ in range(5):
        flaky.broken = True
        await call(bench, 2)
        flaky.broken = False
        await call(bench, 1)
    assert flaky.calls == 15


async def test_two_timeouts_open(bench: Bench, forever: Any) -> None:
    """Being slow is worse than being wrong."""
    bench.add("a", settle_budget=hookimpl(timeout_s=0.005)(forever))

    await call(bench, 5)
    assert bench.report.codes == [("a", "hook.timeout")] * 2


async def test_one_success_closes_after_the_pause(bench: Bench) -> None:
    """After 30 s it is tried once; when it answers, all is as before."""
    flaky = Flaky()
    bench.add("a", settle_budget=flaky.hook())
    await call(bench, 5)
    flaky.broken = False

    bench.clock.now += 29.9
    await call(bench, 2)
    assert flaky.calls == 3
    bench.clock.now += 0.1
    await call(bench, 2)
    assert flaky.calls == 5


async def test_the_pause_doubles_up_to_an_hour(bench: Bench) -> None:
    """Each probe that fails prolongs it."""
    flaky = Flaky()
    bench.add("a", settle_budget=flaky.hook())
    await call(bench, 3)

    for pause_s in (30, 60, 120, 240, 480, 960, 1920, 3600, 3600):
        bench.clock.now += pause_s - 0.1
        before = flaky.calls
        await call(bench, 2)
        assert flaky.calls == before
        bench.clock.now += 0.1
        await call(bench, 2)
        assert flaky.calls == before + 1
    assert bench.quarantined == []


async def test_three_openings_in_a_day_are_a_quarantine(bench: Bench) -> None:
    """In whatever hooks of the plugin."""
    flaky = Flaky()
    bench.add("a", settle_budget=flaky.hook(), board_stopping=flaky.hook())

    await call(bench, 3)
    for _ in range(3):
        await bench.hooks.board_stopping("ctx")
    assert bench.quarantined == []
    bench.clock.now += 30
    flaky.broken = False
    await call(bench, 1)
    flaky.broken = True
    await call(bench, 3)
    assert bench.quarantined == ["a"]


async def test_openings_of_other_days_do_not_add_up(bench: Bench) -> None:
    """Three in 24 hours, not three in all."""
    flaky = Flaky()
    bench.add("a", settle_budget=flaky.hook())

    for _ in range(4):
        flaky.broken = True
        await call(bench, 3)
        bench.clock.now += 13 * 3600
        flaky.broken = False
        await call(bench, 1)
    assert bench.quarantined == []


async def test_an_open_gate_denies(bench: Bench) -> None:
    """It is not asked, and not skipped either; after the pause it is asked again."""
    flaky = Flaky()
    bench.add("a", reserve_budget=flaky.hook(Allow()))
    for _ in range(4):
        verdicts = await bench.hooks.reserve_budget("ctx", "request")

    assert flaky.calls == 3
    assert verdicts.verdict == Deny("plugin `a` could not decide: `plugin.quarantined` in `reserve_budget`")

    flaky.broken = False
    bench.clock.now += 30
    assert (await bench.hooks.reserve_budget("ctx", "request")).verdict == Allow()


@pytest.mark.parametrize(
    ("hook", "arguments", "answer"),
    [
        ("redact", ("ctx", "secret", "log"), "[redaction failed]"),
        ("label", ("ctx", "origin", "value"), [("a", frozenset({"tainted", "sensitive"}))]),
        ("audit", ("ctx", "record"), [("a", False)]),
    ],
    ids=["redact", "label", "audit"],
)
async def test_what_fails_closed_stays_closed(
    bench: Bench, hook: str, arguments: tuple[Any, ...], answer: object
) -> None:
    """Leaving it out would be as if nobody had to redact, label or audit."""
    flaky = Flaky()
    bench.add("a", **{hook: flaky.hook()})
    for _ in range(4):
        result = await getattr(bench.hooks, hook)(*arguments)

    assert flaky.calls == 3
    assert result == answer


async def test_a_layer_and_a_transformer_that_are_open_are_left_out(bench: Bench) -> None:
    """The body runs, the stream passes; after the pause they are tried again."""
    flaky = Flaky()
    answer = flaky.hook("mine")

    async def planning_phase() -> object:
        return answer()

    async def body(ctx: Any, state: Any) -> str:
        return "inner"

    async def transform_stream() -> Any:
        yield answer()

    async def source() -> Any:
        yield "1"

    bench.add("a", planning_phase=planning_phase, transform_stream=transform_stream)
    for _ in range(4):
        assert await bench.hooks.planning_phase("ctx", "state", body) == "inner"
        assert [item async for item in bench.hooks.transform_stream("ctx", source())] == ["1"]
    assert flaky.calls == 6

    flaky.broken = False
    bench.clock.now += 30
    assert [item async for item in bench.hooks.transform_stream("ctx", source())] == ["mine"]


def test_a_sync_only_hook_recovers_too(bench: Bench) -> None:
    """`on_event` is left out and tried again like the others."""
    flaky = Flaky()
    bench.add("a", on_event=flaky.hook())
    for _ in range(5):
        bench.hooks.on_event("event")
    assert flaky.calls == 3

    bench.clock.now += 30
    flaky.broken = False
    for _ in range(5):
        bench.hooks.on_event("event")
    assert flaky.calls == 8


async def test_success_costs_nothing_again_after_the_recovery(bench: Bench) -> None:
    """The watched shape is dropped with the first success."""
    flaky = Flaky()
    bench.add("a", settle_budget=flaky.hook())
    flaky.broken = False
    await call(bench, 1)
    free = bench.hooks.settle_budget.__code__
    flaky.broken = True
    await call(bench, 2)
    assert bench.hooks.settle_budget.__code__ is not free
    flaky.broken = False
    await call(bench, 2)
    assert bench.hooks.settle_budget.__code__ is free


async def test_another_registration_starts_anew(bench: Bench) -> None:
    """What a plugin did is forgotten with it."""
    flaky = Flaky()
    bench.add("a", settle_budget=flaky.hook())
    await call(bench, 5)
    bench.dispatcher.unregister("a")
    bench.add("a", settle_budget=flaky.hook())

    await call(bench, 1)
    assert flaky.calls == 4


async def test_a_failure_that_comes_after_the_plugin_went(bench: Bench) -> None:
    """A call in flight when the plugin is unregistered charges nobody's circuit."""
    entered, release = asyncio.Event(), asyncio.Event()

    async def settle_budget() -> None:
        entered.set()
        await release.wait()
        raise ValueError("late")

    bench.add("a", settle_budget=settle_budget)
    task = asyncio.create_task(bench.hooks.settle_budget("ctx", "settlement"))
    await entered.wait()
    bench.dispatcher.unregister("a")
    release.set()
    await task

    assert bench.hooks.settle_budget is None
    assert bench.report.codes == [("a", "hook.failed")]


@pytest.mark.parametrize(("function", "faults"), [("settle_budget", 1), ("helper", 2)])
async def test_charged_from_outside(bench: Bench, function: str, faults: int) -> None:
    """The watchdog opens the circuit of the hook that held the loop at once, or all, where it cannot tell."""
    flaky = Flaky()
    flaky.broken = False
    bench.add("a", settle_budget=flaky.hook(), next_phase=flaky.hook())

    bench.dispatcher.trip("a", function, ValueError("it held the loop"))
    await call(bench, 2)
    assert flaky.calls == 0
    assert len(bench.report.faults) == faults
