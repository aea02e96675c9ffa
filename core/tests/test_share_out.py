"""Sharing a context budget out between agents: the properties of core's rule, and whose rule holds."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from hypothesis import assume, given
from hypothesis import strategies as st
from pegboard.budget import share_out
from pegboard.types import BudgetShare, Grant, evolve
from pegboard_replay import ScriptedModel

if TYPE_CHECKING:
    from core.tests.conftest import Bench


@st.composite
def _share(draw: st.DrawFn) -> BudgetShare:
    least = draw(st.integers(0, 40))
    best = least + draw(st.integers(0, 60))
    return BudgetShare(
        agent="?",
        min_tokens=least,
        optimal_tokens=best,
        max_tokens=draw(st.none() | st.integers(best, best + 20)),
        priority=draw(st.integers(-2, 4)),
        waiting=draw(st.integers(0, 3)),
    )


_SHARES = st.lists(_share(), max_size=6).map(
    lambda shares: [evolve(share, agent=f"agent{number}") for number, share in enumerate(shares)]
)
_TOTAL = st.integers(0, 300)


def most(share: BudgetShare) -> int:
    return share.optimal_tokens if share.max_tokens is None else share.max_tokens


@given(_SHARES, _TOTAL)
def test_never_more_than_there_is(shares: list[BudgetShare], total: int) -> None:
    """The grants together are no more than the total."""
    assert sum(grant.tokens for grant in share_out(shares, total)) <= total


@given(_SHARES, _TOTAL)
def test_each_grant_is_useful_or_deferred(shares: list[BudgetShare], total: int) -> None:
    """A grant lies between minimum and maximum, or it is nothing and says so."""
    for share, grant in zip(shares, share_out(shares, total), strict=True):
        assert grant.agent == share.agent
        if grant.deferred:
            assert grant.tokens == 0
        else:
            assert share.min_tokens <= grant.tokens <= most(share)


@given(_SHARES, _TOTAL)
def test_nothing_is_left_while_somebody_is_hungry(shares: list[BudgetShare], total: int) -> None:
    """What is left stays in the pool only when everybody who was admitted is full."""
    grants = share_out(shares, total)
    hungry = [g for s, g in zip(shares, grants, strict=True) if not g.deferred and g.tokens < s.optimal_tokens]

    assert not hungry or sum(grant.tokens for grant in grants) == total


@given(_SHARES, _TOTAL, st.randoms())
def test_the_order_of_requests_changes_nothing(shares: list[BudgetShare], total: int, random: Random) -> None:
    """Permuting the requests permutes the grants."""
    shuffled = list(shares)
    random.shuffle(shuffled)

    assert {g.agent: g for g in share_out(shuffled, total)} == {g.agent: g for g in share_out(shares, total)}


@given(_SHARES, _TOTAL, st.integers(1, 50))
def test_more_to_share_lowers_nobody(shares: list[BudgetShare], total: int, more: int) -> None:
    """While the same are admitted, everybody gets at least as much of a larger total as before.

    Somebody who is admitted only then has a minimum, which comes before the others' remainder.
    """
    before, after = share_out(shares, total), share_out(shares, total + more)
    assume([grant.deferred for grant in before] == [grant.deferred for grant in after])

    assert all(b.tokens <= a.tokens for b, a in zip(before, after, strict=True))


@given(_SHARES, _TOTAL)
def test_whoever_does_not_fit_keeps_nobody_else_out(shares: list[BudgetShare], total: int) -> None:
    """A deferred request's minimum was more than what the admitted minimums leave."""
    grants = share_out(shares, total)
    admitted = sum(s.min_tokens for s, g in zip(shares, grants, strict=True) if not g.deferred)

    for share, grant in zip(shares, grants, strict=True):
        assert not grant.deferred or admitted + share.min_tokens > total


@given(_SHARES.filter(bool), st.integers(40, 300))
def test_nobody_waits_for_ever(shares: list[BudgetShare], total: int) -> None:
    """With each deferral counted, every request that fits at all is admitted within as many rounds as there are."""
    shares = [evolve(share, priority=0) for share in shares]
    for _ in range(len(shares) + 3):
        grants = share_out(shares, total)
        shares = [
            evolve(share, waiting=share.waiting + 1 if grant.deferred else 0)
            for share, grant in zip(shares, grants, strict=True)
        ]
        if not any(grant.deferred for grant in grants):
            return
    waiting = max(share.waiting for share in shares)
    assert waiting <= len(shares) + 3


def test_priority_weighs_the_remainder() -> None:
    """What is left after the minimums is shared by priority."""
    low = BudgetShare(agent="low", min_tokens=10, optimal_tokens=1000)
    high = BudgetShare(agent="high", min_tokens=10, optimal_tokens=1000, priority=2)

    grants = {grant.agent: grant.tokens for grant in share_out([low, high], 420)}

    assert grants == {"low": 110, "high": 310}


def test_a_silent_zero_is_never_a_grant() -> None:
    """Who gets nothing is deferred, unless nothing was its minimum."""
    first = BudgetShare(agent="a", min_tokens=100, optimal_tokens=100, priority=1)
    second = BudgetShare(agent="b", min_tokens=100, optimal_tokens=100)

    assert share_out([first, second], 150) == [
        Grant(agent="a", tokens=100),
        Grant(agent="b", tokens=0, deferred=True),
    ]


async def test_a_plugin_may_share_out(bench: Bench) -> None:
    """The grants of `allocate_budget` hold where they are within the total; else core's rule does."""
    answers = [[Grant(agent="a", tokens=7)], [Grant(agent="a", tokens=999)], None]

    def allocate_budget(requests: Sequence[BudgetShare], total: int) -> Sequence[Grant] | None:
        return answers.pop(0)

    bench.plug(allocate_budget=allocate_budget)
    run = bench.prepare(ScriptedModel([]))
    share = BudgetShare(agent="a", min_tokens=10, optimal_tokens=50)

    assert [await run.allocate([share], 100) for _ in range(3)] == [
        [Grant(agent="a", tokens=7)],
        [Grant(agent="a", tokens=50)],
        [Grant(agent="a", tokens=50)],
    ]


async def test_without_a_plugin_cores_rule_holds(bench: Bench) -> None:
    """An empty hook is not asked."""
    run = bench.prepare(ScriptedModel([]))

    assert await run.allocate([BudgetShare(agent="a", min_tokens=1, optimal_tokens=5)], 9) == [
        Grant(agent="a", tokens=5)
    ]
