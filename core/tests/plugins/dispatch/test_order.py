"""The order of implementations."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pegboard.hookspecs import ImplOptions
from pegboard.plugins.dispatch.order import Arrangement, Place, arrange


def place(plugin: str, provides: tuple[str, ...] = (), **options: Any) -> Place:
    return Place(plugin=plugin, options=ImplOptions(**options), provides=frozenset(provides))


def ids(arrangement: Arrangement) -> str:
    return "".join(row.plugin for row in arrangement.rows)


def reasons(arrangement: Arrangement, plugin: str) -> tuple[str, ...]:
    return next(row.reasons for row in arrangement.rows if row.plugin == plugin)


def test_bands_lead_then_ids() -> None:
    """Low bands first; within one, the id."""
    assert ids(arrange([place("d", band=60), place("c"), place("b"), place("a", band=60)])) == "bcad"


def test_before_and_after_within_a_band() -> None:
    """Soft wishes beat the id, and are named as reasons."""
    arrangement = arrange([place("a", after=("b",)), place("b"), place("c", before=("b",))])

    assert ids(arrangement) == "cba"
    assert reasons(arrangement, "a") == ("band 0", "after `b`")


def test_bands_beat_wishes() -> None:
    """A wish cannot lift an implementation out of its band."""
    arrangement = arrange([place("a", band=60, before=("b",)), place("b")])

    assert ids(arrangement) == "ba"
    assert reasons(arrangement, "a") == ("band 60", "before `b`: decided by the bands")


def test_an_absent_target_is_ignored_and_said() -> None:
    """Whoever is not there cannot be waited for."""
    assert reasons(arrange([place("a", after=("gone",))]), "a") == ("band 0", "after `gone` ignored: not there")


def test_a_capability_names_all_that_provide_it() -> None:
    """`cap:x` is every plugin that offers x, but not the one that asks."""
    places = [place("a", after=("cap:log",), provides=("log",)), place("b", provides=("log",)), place("c")]

    assert ids(arrange(places)) == "bac"


def test_positions_part_a_band() -> None:
    """`outermost` is first and `innermost` last within the band."""
    places = [place("a", position="innermost"), place("b"), place("c", position="outermost"), place("d", band=-60)]

    assert ids(arrange(places)) == "dcba"


def test_a_cycle_drops_the_wishes_of_the_highest_id() -> None:
    """It is reported, and the others keep theirs."""
    arrangement = arrange([place("a", after=("b",)), place("b", after=("c",)), place("c", after=("a",))])

    assert ids(arrangement) == "cba"
    assert len(arrangement.cycles) == 1
    assert sorted(set(arrangement.cycles[0])) == ["a", "b", "c"]
    assert "its wishes are dropped, they form a cycle" in reasons(arrangement, "c")[-1]


def test_the_highest_id_that_wishes_something_loses() -> None:
    """A cycle may be made by others about a plugin that wishes nothing."""
    arrangement = arrange([place("a", after=("z",), before=("z",)), place("z")])

    assert ids(arrangement) == "az"
    assert len(arrangement.cycles) == 1


def test_two_cycles() -> None:
    """Each loses what it must."""
    pairs = [place("a", after=("b",)), place("b", after=("a",)), place("c", after=("d",)), place("d", after=("c",))]

    arrangement = arrange(pairs)
    assert ids(arrangement) == "badc"
    assert len(arrangement.cycles) == 2


@pytest.mark.parametrize("seed", range(4))
def test_the_order_never_depends_on_the_order_of_registration(seed: int) -> None:
    """100 shuffles, one result, cycles and all."""
    chance = random.Random(seed)
    names = "abcdefghij"
    places = [
        place(name, band=chance.choice((0, 0, 60)), after=tuple(chance.sample(names, 2)), before=chance.choice(names))
        for name in names
    ]
    results = set()
    for _ in range(100):
        chance.shuffle(places)
        results.add(arrange(places).rows)
    assert len(results) == 1
