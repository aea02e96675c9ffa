"""`gate`: deny beats ask beats allow, all are asked, failing is a deny."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from pegboard.hookspecs import hookimpl
from pegboard.types import Allow, Ask, Deny, Verdict

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench

VERDICTS: tuple[Verdict, ...] = (Allow(), Ask("really?"), Deny("no"))


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
async def test_deny_beats_ask_beats_allow(bench: Bench, order: tuple[int, ...]) -> None:
    """Whatever the order, the strongest holds and every opinion is kept in order."""
    for plugin, index in zip("abc", order, strict=True):
        bench.add(plugin, reserve_budget=lambda index=index: VERDICTS[index])

    verdicts = await bench.hooks.reserve_budget("ctx", "request")

    assert verdicts.verdict == Deny("no")
    assert verdicts.opinions == tuple(zip("abc", (VERDICTS[index] for index in order), strict=True))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
async def test_ask_beats_allow(bench: Bench, order: tuple[int, int]) -> None:
    """An allow of one does not lift the question of another."""
    for plugin, index in zip("ab", order, strict=True):
        bench.add(plugin, reserve_budget=lambda index=index: VERDICTS[index])

    assert (await bench.hooks.reserve_budget("ctx", "request")).verdict == Ask("really?")


async def test_no_opinion_is_no_verdict(bench: Bench) -> None:
    """The hook's default holds then, and whoever asks knows it."""
    bench.add("a", reserve_budget=lambda: None)

    verdicts = await bench.hooks.reserve_budget("ctx", "request")
    assert (verdicts.verdict, verdicts.opinions) == (None, ())


@pytest.mark.parametrize("broken", ["a", "b"])
async def test_an_error_is_a_deny_with_a_reason(bench: Bench, broken: str) -> None:
    """The reason names plugin and code; the others are asked all the same."""
    asked: list[str] = []

    def allow() -> Verdict:
        asked.append("other")
        return Allow()

    bench.add(broken, reserve_budget=lambda: 1 / 0)
    bench.add("ab".replace(broken, ""), reserve_budget=allow)

    verdict = (await bench.hooks.reserve_budget("ctx", "request")).verdict

    assert verdict == Deny(f"plugin `{broken}` could not decide: `hook.failed` in `reserve_budget`")
    assert asked == ["other"]


@pytest.mark.parametrize("answer", [True, "allow", Allow], ids=repr)
async def test_a_wrong_type_is_a_deny(bench: Bench, answer: object) -> None:
    """`True` is not `Allow()`."""
    bench.add("a", reserve_budget=lambda: answer)

    assert isinstance((await bench.hooks.reserve_budget("ctx", "request")).verdict, Deny)
    assert bench.report.codes == [("a", "hook.type")]


async def test_a_timeout_is_a_deny(bench: Bench, forever: Any) -> None:
    """No answer in time is no permission."""

    async def reserve_budget() -> Verdict:
        await forever()
        return Allow()

    bench.add("a", reserve_budget=hookimpl(timeout_s=0.01)(reserve_budget))

    verdict = (await bench.hooks.reserve_budget("ctx", "request")).verdict
    assert isinstance(verdict, Deny)
    assert "hook.timeout" in verdict.reason


async def test_outcomes_are_reported(bench: Bench) -> None:
    """A timed gate says who denied and who asked."""
    for plugin, verdict in zip("abc", VERDICTS, strict=True):
        bench.add(plugin, authorize=lambda verdict=verdict: verdict)

    await bench.hooks.authorize("ctx", "action")
    assert [call.outcome for call in bench.report.calls] == ["ok", "asked", "denied"]
