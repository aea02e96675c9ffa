"""Where the parts of the dependency picture stand: an order, rows, and places in them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pegboard_codeanalysis.analysis.graphs import layers
from pegboard_codeanalysis.analysis.results import Link

PER_ROW: Final = 7
_SWEEPS: Final = 6


MOST_AGAINST: Final = 12


class Layering(NamedTuple):
    """Rows of names, the highest first, and the links to draw."""

    rows: tuple[tuple[str, ...], ...]
    down: tuple[Link, ...]
    """Without those that follow from others."""
    against: tuple[Link, ...]
    """The heaviest of them."""
    against_in_all: int
    implied: int
    """Links that are not drawn, since a way over other parts says the same."""


def layered(names: Sequence[str], links: Sequence[Link]) -> Layering:
    """Everything that depends above what it needs."""
    rank = {name: place for place, name in enumerate(_order(names, links))}
    down = [link for link in links if rank[link.importer] < rank[link.imported]]
    against = [link for link in links if rank[link.importer] > rank[link.imported]]
    heaviest = sorted(against, key=lambda link: (-link.count, link.importer, link.imported))[:MOST_AGAINST]
    follows: dict[str, dict[str, int]] = {name: {} for name in names}
    for link in down:
        follows[link.importer][link.imported] = link.count
    needed = _needed(follows, rank)
    drawn = tuple(link for link in down if (link.importer, link.imported) in needed)
    return Layering(_rows(follows, drawn), drawn, tuple(heaviest), len(against), len(down) - len(drawn))


def _order(names: Sequence[str], links: Sequence[Link]) -> list[str]:
    """An order in which few imports lead backwards (the greedy heuristic of Eades, Lin and Smyth, 1993)."""
    left = dict.fromkeys(sorted(names))
    first: list[str] = []
    last: list[str] = []
    while left:
        out, inward = _weights(left, links)
        sink = next((name for name in left if not out[name]), None)
        source = next((name for name in left if not inward[name]), None)
        if sink is not None:
            last.insert(0, sink)
        else:
            first.append(source or max(left, key=lambda name: (out[name] - inward[name], name)))
        del left[sink or first[-1]]
    return [*first, *last]


def _weights(left: Mapping[str, None], links: Sequence[Link]) -> tuple[Counter[str], Counter[str]]:
    """How many imports lead out of each of those that are left, and how many into it."""
    out: Counter[str] = Counter()
    inward: Counter[str] = Counter()
    for link in links:
        if link.importer in left and link.imported in left:
            out[link.importer] += link.count
            inward[link.imported] += link.count
    return out, inward


def _needed(follows: Mapping[str, Mapping[str, int]], rank: Mapping[str, int]) -> set[tuple[str, str]]:
    """The pairs of the transitive reduction: without `a → c` where `a → b → c` leads there too."""
    below: dict[str, set[str]] = {}
    pairs = set()
    for name in sorted(follows, key=lambda each: -rank[each]):
        reached: set[str] = set()
        for each in sorted(follows[name], key=lambda other: rank[other]):
            if each not in reached:
                pairs.add((name, each))
                reached |= {each, *below[each]}
        below[name] = reached
    return pairs


def _rows(follows: Mapping[str, Mapping[str, int]], drawn: Sequence[Link]) -> tuple[tuple[str, ...], ...]:
    """Names by layer; in a layer beside what they have to do with; a layer that is too wide takes several rows."""
    level = layers(follows)
    by_level: dict[int, list[str]] = defaultdict(list)
    for name in sorted(follows):
        by_level[level[name]].append(name)
    rows = [by_level[number] for number in sorted(by_level, reverse=True)]
    near = _near(drawn)
    place = {name: _place(index, row) for row in rows for index, name in enumerate(row)}
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            row.sort(key=lambda name: (_mean([place[each] for each in near[name]]), name))
            place.update({name: _place(index, row) for index, name in enumerate(row)})
    return tuple(piece for row in rows for piece in _pieces(row))


def middles(placed: Layering, width: float, step: float) -> dict[str, float]:
    """Where the middle of each part stands between 0 and `width`: near what it has to do with, a `step` apart."""
    near = _near(placed.down)
    places = {name: width * _place(index, row) for row in placed.rows for index, name in enumerate(row)}
    for sweep in range(_SWEEPS):
        for row in placed.rows if sweep % 2 == 0 else reversed(placed.rows):
            wanted = [_mean([places[each] for each in near[name]] or [places[name]]) for name in row]
            places.update(zip(row, _apart(wanted, width, step), strict=True))
    return places


def _apart(wanted: Sequence[float], width: float, step: float) -> list[float]:
    """As near to what is wanted as the distances allow: the mean of pushing to the right and pushing to the left."""
    last = len(wanted) - 1
    bounded = [
        min(max(place, step * (index + 0.5)), width - step * (last - index + 0.5)) for index, place in enumerate(wanted)
    ]
    right, left = list(bounded), list(bounded)
    for index in range(1, last + 1):
        right[index] = max(right[index], right[index - 1] + step)
        left[last - index] = min(left[last - index], left[last - index + 1] - step)
    return [(a + b) / 2 for a, b in zip(right, left, strict=True)]


def _near(links: Sequence[Link]) -> dict[str, list[str]]:
    near: dict[str, list[str]] = defaultdict(list)
    for link in links:
        near[link.importer].append(link.imported)
        near[link.imported].append(link.importer)
    return near


def _pieces(row: Sequence[str]) -> list[tuple[str, ...]]:
    """A row as rows of about the same length, none too long."""
    count = -(-len(row) // PER_ROW)
    return [tuple(row[len(row) * n // count : len(row) * (n + 1) // count]) for n in range(count)]


def _place(index: int, row: Sequence[str]) -> float:
    return (index + 0.5) / len(row)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.5
