"""The order of the implementations of a hook: bands, position, soft `before` and `after`, then the plugin's id.

Never the order of installation, of entry points or of a file system: two machines must call in the same order.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pegboard.hookspecs import ImplOptions

LOWEST_BAND, HIGHEST_BAND = -100, 100
OPERATOR_BANDS = frozenset((*range(-100, -79), *range(80, 101)))
"""Only the operator's configuration may place an implementation here."""

_POSITIONS = {"outermost": -1, None: 0, "innermost": 1}
_Edge = tuple[str, str, str]
"""Who is first, who is second, and who wants it."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one implementation that is to be ordered."""

    plugin: str
    options: ImplOptions
    provides: frozenset[str] = frozenset()
    """Capabilities, which others may name as `cap:<name>`."""


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """One implementation at its place, and why it is there."""

    plugin: str
    band: int
    reasons: tuple[str, ...]


class Arrangement(msgspec.Struct, frozen=True, kw_only=True):
    """All implementations of a hook, first or outermost first."""

    rows: tuple[OrderRow, ...]
    cycles: tuple[tuple[str, ...], ...] = ()
    """Plugins whose wishes contradict one another; some of these wishes were dropped."""


def arrange(places: Iterable[Place]) -> Arrangement:
    """Put implementations into their order; the same for every order of `places`."""
    ranked = sorted(places, key=lambda place: (*_rank(place), place.plugin))
    notes: dict[str, list[str]] = {place.plugin: [_band_note(place)] for place in ranked}
    wishes = list(_wishes(ranked, notes))
    rows: list[OrderRow] = []
    cycles: list[tuple[str, ...]] = []
    for _, group in groupby(ranked, key=_rank):
        members = {place.plugin: place for place in group}
        edges = [edge for edge in wishes if edge[0] in members and edge[1] in members]
        rows.extend(
            OrderRow(plugin=plugin, band=members[plugin].options.band, reasons=tuple(notes[plugin]))
            for plugin in _sorted(members, edges, notes, cycles)
        )
    return Arrangement(rows=tuple(rows), cycles=tuple(cycles))


def _rank(place: Place) -> tuple[int, int]:
    return place.options.band, _POSITIONS[place.options.position]


def _band_note(place: Place) -> str:
    position = place.options.position
    return f"band {place.options.band}" + (f", {position}" if position else "")


def _wishes(ranked: Sequence[Place], notes: dict[str, list[str]]) -> Iterable[_Edge]:
    """Every wish whose target exists and that bands and positions leave open."""
    rank = {place.plugin: _rank(place) for place in ranked}
    for place in ranked:
        for word, targets in (("before", place.options.before), ("after", place.options.after)):
            for target in targets:
                found = _resolve(target, ranked, place.plugin)
                if not found:
                    notes[place.plugin].append(f"{word} `{target}` ignored: not there")
                for other in found:
                    if rank[other] != rank[place.plugin]:
                        notes[place.plugin].append(f"{word} `{other}`: decided by the bands")
                        continue
                    notes[place.plugin].append(f"{word} `{other}`")
                    yield (*((place.plugin, other) if word == "before" else (other, place.plugin)), place.plugin)


def _resolve(target: str, ranked: Sequence[Place], asking: str) -> list[str]:
    if target.startswith("cap:"):
        found = [place.plugin for place in ranked if target[4:] in place.provides]
    else:
        found = [place.plugin for place in ranked if place.plugin == target]
    return [plugin for plugin in found if plugin != asking]


def _sorted(
    members: Collection[str], edges: list[_Edge], notes: dict[str, list[str]], cycles: list[tuple[str, ...]]
) -> Iterable[str]:
    """Members in order; of those that could be next, always the lowest id."""
    sorter = _prepared(members, edges, notes, cycles)
    ready: list[str] = []
    while sorter.is_active():
        for plugin in sorter.get_ready():
            heapq.heappush(ready, plugin)
        plugin = heapq.heappop(ready)
        yield plugin
        sorter.done(plugin)


def _prepared(
    members: Collection[str], edges: list[_Edge], notes: dict[str, list[str]], cycles: list[tuple[str, ...]]
) -> TopologicalSorter[str]:
    while True:
        sorter: TopologicalSorter[str] = TopologicalSorter({plugin: [] for plugin in members})
        for first, second, _ in sorted(edges):
            sorter.add(second, first)
        try:
            sorter.prepare()
        except CycleError as error:
            cycle = tuple(error.args[1])
            cycles.append(cycle)
            edges = _without_highest(cycle, edges, notes)
        else:
            return sorter


def _without_highest(cycle: tuple[str, ...], edges: list[_Edge], notes: dict[str, list[str]]) -> list[_Edge]:
    """Drop what the highest id in the cycle wishes."""
    links = set(pairwise(cycle))
    loser = max(wisher for first, second, wisher in edges if (first, second) in links)
    notes[loser].append(f"its wishes are dropped, they form a cycle: {' → '.join(cycle)}")
    return [edge for edge in edges if edge[2] != loser]
