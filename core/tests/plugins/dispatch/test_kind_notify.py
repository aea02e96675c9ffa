"""`notify`: all run, results are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pegboard.events import Event
from pegboard.hookspecs import hookimpl

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench


def event(kind: str) -> Event:
    return Event(id="r.0", run="r", seq=0, kind=kind, at=0.0)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids="".join)
async def test_all_are_told_in_order_of_their_ids(bench: Bench, order: tuple[str, str]) -> None:
    """Every implementation is told, by id and not by registration."""
    told: list[str] = []
    for plugin in order:
        bench.add(plugin, settle_budget=lambda settlement, plugin=plugin: told.append(plugin + settlement))

    assert await bench.hooks.settle_budget("ctx", "!") is None
    assert told == ["a!", "b!"]


@pytest.mark.parametrize("broken", ["a", "b"])
async def test_an_error_is_recorded_and_the_rest_go_on(bench: Bench, broken: str) -> None:
    """One that raises is charged; the other one is told, whether before or after."""
    told: list[str] = []
    bench.add(broken, settle_budget=lambda: 1 / 0)
    bench.add("ab".replace(broken, ""), settle_budget=lambda settlement: told.append(settlement))

    await bench.hooks.settle_budget("ctx", "!")

    assert told == ["!"]
    assert bench.report.codes == [(broken, "hook.failed")]


async def test_a_result_is_ignored(bench: Bench) -> None:
    """What an implementation returns does not matter."""
    bench.add("a", settle_budget=lambda: 3)

    assert await bench.hooks.settle_budget("ctx", "!") is None
    assert bench.report.faults == []


async def test_async_implementations_are_awaited(bench: Bench, forever: Any) -> None:
    """`async def` and `def` may be mixed."""
    told: list[str] = []

    async def settle_budget(ctx: str) -> None:
        told.append(ctx)

    bench.add("a", settle_budget=settle_budget)
    bench.add("b", settle_budget=lambda: told.append("b"))

    await bench.hooks.settle_budget("a", "!")
    assert told == ["a", "b"]


def test_a_sync_only_hook_is_called_without_await(bench: Bench) -> None:
    """`on_event` gives a plain function, also outside of an event loop."""
    seen: list[str] = []
    bench.add("a", on_event=lambda event: seen.append(event.kind))
    bench.add("b", on_event=lambda: 1 / 0)

    assert bench.hooks.on_event(event("run.started")) is None
    assert bench.hooks.on_event(event("run.done")) is None
    assert seen == ["run.started", "run.done"]
    assert bench.report.codes == [("b", "hook.failed")] * 2


def test_kinds_choose_the_events(bench: Bench) -> None:
    """An implementation that names prefixes sees these kinds only."""
    seen: list[str] = []

    @hookimpl(kinds=("run.", "step."))
    def on_event(event: Event) -> None:
        seen.append(event.kind)

    bench.add("a", on_event=on_event)

    for kind in ("run.started", "tool.loop", "step.done"):
        bench.hooks.on_event(event(kind))
    assert seen == ["run.started", "step.done"]


async def test_a_late_plugin_is_told_the_last_value(bench: Bench) -> None:
    """`replay` hooks are repeated for plugins that were activated after the call."""
    told: list[str] = []
    await bench.hooks.board_started("ctx")
    bench.add("a", board_started=lambda ctx: told.append(ctx))

    await bench.dispatcher.replay("a")
    assert told == ["ctx"]
