"""`first`: the first answer wins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids="".join)
async def test_the_first_answer_wins_and_the_others_are_not_asked(bench: Bench, order: tuple[str, str]) -> None:
    """The order of ids decides; the loser is not called."""
    asked: list[str] = []

    def answering(plugin: str) -> Callable[[], str]:
        def next_phase() -> str:
            asked.append(plugin)
            return plugin

        return next_phase

    for plugin in order:
        bench.add(plugin, next_phase=answering(plugin))

    assert await bench.hooks.next_phase("ctx", "state", "idle") == "a"
    assert asked == ["a"]


async def test_none_passes_the_question_on(bench: Bench) -> None:
    """`None` is no opinion; a false value is an answer."""
    bench.add("a", next_phase=lambda: None)
    bench.add("b", next_phase=lambda: "")
    bench.add("c", next_phase=lambda: "c")

    assert await bench.hooks.next_phase("ctx", "state", "idle") == ""


async def test_nobody_answers(bench: Bench) -> None:
    """`None` when nobody has an opinion."""
    bench.add("a", next_phase=lambda: None)

    assert await bench.hooks.next_phase("ctx", "state", "idle") is None


async def test_the_next_is_asked_after_an_error_or_a_wrong_type(bench: Bench) -> None:
    """Failing is no answer."""
    bench.add("a", next_phase=lambda: 1 / 0)
    bench.add("b", next_phase=lambda: 7)
    bench.add("c", next_phase=lambda proposed: proposed)

    assert await bench.hooks.next_phase("ctx", "state", "idle") == "idle"
    assert bench.report.codes == [("a", "hook.failed"), ("b", "hook.type")]


async def test_a_timed_answer_is_reported(bench: Bench) -> None:
    """The winner's duration is told too, although nothing follows it."""
    bench.add("a", context_chunk=lambda: list())  # noqa: C408  # a class can be no hook

    assert await bench.hooks.context_chunk("ctx", "source") == []
    assert [(call.plugin, call.outcome) for call in bench.report.calls] == [("a", "ok")]
    assert bench.report.calls[0].duration_ms is not None
