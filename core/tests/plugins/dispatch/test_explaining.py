"""Explaining: who was called, in which order, for how long, and what it changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from pegboard.plugins.dispatch.diff import changes
from pegboard.types import RunState, evolve

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench


async def test_every_call_is_timed_and_ordered(bench: Bench) -> None:
    """Also of hooks that are not timed otherwise."""
    bench.add("a", redact=lambda value: value + "a")
    bench.add("b", redact=lambda: None)

    assert await bench.hooks.redact("ctx", "-", "log") == "-a"
    assert bench.report.calls == []
    explaining: Any = bench.dispatcher.explaining
    assert await explaining.redact("ctx", "-", "log") == "-a"

    assert [(call.plugin, call.order, call.changed) for call in bench.report.calls] == [
        ("a", 0, {"value": ("-", "-a")}),
        ("b", 1, None),
    ]
    assert all(call.duration_ms is not None for call in bench.report.calls)


async def test_a_layer_shows_both_ways(bench: Bench) -> None:
    """What it made of the value, and of the result."""

    async def planning_phase(state: RunState, call_next: Any) -> RunState:
        inner: RunState = await call_next(evolve(state, task="asked"))
        return evolve(inner, turn=5)

    async def body(ctx: Any, state: RunState) -> RunState:
        return evolve(state, turn=1)

    bench.renew(explain=True)
    bench.add("a", planning_phase=planning_phase)

    await bench.hooks.planning_phase("ctx", RunState(task="t"), body)
    assert bench.report.calls[0].changed == {"in.task": ("t", "asked"), "out.turn": (1, 5)}


async def test_both_facades_follow_registration(bench: Bench) -> None:
    """A plugin that comes later is in both."""
    explaining: Any = bench.dispatcher.explaining
    before = explaining.redact
    bench.add("a", redact=lambda: "x")

    assert before is None
    assert await explaining.redact("ctx", "-", "log") == "x"
    assert await bench.hooks.redact("ctx", "-", "log") == "x"
    assert len(bench.report.calls) == 1


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (1, 1, {}),
        ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}, {"value.b.c": (2, 3)}),
        ({"a": 1}, {"b": 1}, {"value.a": (1, "(absent)"), "value.b": ("(absent)", 1)}),
        ([1, 2], [1, 2, 3], {"value.2": ("(absent)", 3)}),
        ("a", ["a"], {"value": ("a", ["a"])}),
    ],
    ids=["equal", "nested", "keys", "longer", "another type"],
)
def test_a_diff_names_the_places(before: object, after: object, found: Mapping[str, Any]) -> None:
    """Dotted paths to before and after."""
    assert changes(before, after) == found


def test_a_diff_is_bounded() -> None:
    """Nobody reads a thousand changes."""
    assert len(changes(list(range(1000)), list(range(1, 1001)))) == 50
