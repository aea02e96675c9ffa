"""`collect`: every answer, in order, each with its plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pegboard.types import Finding

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench


def _finding(message: str) -> Finding:
    return Finding(severity="info", message=message)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids="".join)
async def test_answers_come_in_order_with_their_plugin(bench: Bench, order: tuple[str, str]) -> None:
    """Registration does not matter; ids do."""
    for plugin in order:
        bench.add(plugin, check_quality=lambda plugin=plugin: [_finding(plugin)])

    answers = await bench.hooks.check_quality("ctx", "result")

    assert answers == [("a", [_finding("a")]), ("b", [_finding("b")])]
    assert answers.missing == ()


async def test_none_is_no_answer(bench: Bench) -> None:
    """`None` is left out, a false value is not."""
    bench.add("a", check_quality=lambda: None)
    bench.add("b", check_quality=lambda: ())

    assert await bench.hooks.check_quality("ctx", "result") == [("b", ())]


@pytest.mark.parametrize("broken", ["a", "b"])
async def test_a_failed_answer_is_missing_and_named(bench: Bench, broken: str) -> None:
    """The other answers stand; the result says whose is missing, and why."""
    other = "ab".replace(broken, "")
    bench.add(broken, check_quality=lambda: 1 / 0)
    bench.add(other, check_quality=lambda: [_finding("x")])

    answers = await bench.hooks.check_quality("ctx", "result")

    assert answers == [(other, [_finding("x")])]
    assert answers.missing == ((broken, "hook.failed"),)


async def test_a_wrong_type_is_missing(bench: Bench) -> None:
    """An answer of another type than the hook wants is an error of its plugin, which names both types."""
    bench.add("a", check_quality=lambda: 7)

    answers = await bench.hooks.check_quality("ctx", "result")

    assert answers == []
    assert answers.missing == (("a", "hook.type"),)
    assert "returned `int` from `check_quality`; it wants `list` or `tuple`" in str(bench.report.faults[0][1])


async def test_a_subclass_is_the_right_type(bench: Bench) -> None:
    """Answers are checked with `isinstance`, not by exact class."""

    class Findings(list[Any]):
        pass

    bench.add("a", check_quality=lambda: Findings())

    assert await bench.hooks.check_quality("ctx", "result") == [("a", [])]


@pytest.mark.parametrize(
    ("hook", "answer"), [("label", frozenset({"tainted", "sensitive"})), ("audit", False)], ids=["label", "audit"]
)
async def test_a_hook_that_fails_closed_answers_for_the_failed(bench: Bench, hook: str, answer: object) -> None:
    """A value that cannot be labelled is the most dangerous one; a record that failed was not accepted."""
    bench.add("a", **{hook: lambda: 1 / 0})

    arguments = ("ctx", "origin", "value") if hook == "label" else ("ctx", "record")
    answers = await getattr(bench.hooks, hook)(*arguments)

    assert answers == [("a", answer)]
    assert answers.missing == (("a", "hook.failed"),)
