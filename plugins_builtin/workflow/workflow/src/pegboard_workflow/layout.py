"""Where the nodes of a picture stand: columns by the longest way, rows with few crossings.

A layered layout after Sugiyama: edges that span several columns get a point in each between, so that they can go
around what stands there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

SWEEPS: Final = 4
MAX_POINTS: Final = 4000
"""Of edges that span columns; beyond that they are drawn straight."""
Key = tuple[str, ...]
"""A node `(name,)`, or a point of an edge `(from, to, column)`."""


class Layout(NamedTuple):
    """Columns of nodes and points, from left to right, and each edge as the keys that it passes."""

    columns: Sequence[Sequence[Key]]
    edges: Sequence[Sequence[Key]]


def layers(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The column of each node: one behind the last that it needs. What is in a circle stands in the first."""
    followers: dict[str, list[str]] = {name: [] for name in needs}
    missing = {}
    for name, wanted in needs.items():
        known = [need for need in wanted if need in needs]
        missing[name] = len(known)
        for need in known:
            followers[need].append(name)
    column = dict.fromkeys(needs, 0)
    ready = deque(name for name, count in missing.items() if count == 0)
    while ready:
        name = ready.popleft()
        for follower in followers[name]:
            column[follower] = max(column[follower], column[name] + 1)
            missing[follower] -= 1
            if missing[follower] == 0:
                ready.append(follower)
    return column


def layout(needs: Mapping[str, Sequence[str]]) -> Layout:
    """Columns and edges of a graph, given by what each node needs."""
    column = layers(needs)
    columns: list[list[Key]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    for name, at in column.items():
        columns[at].append((name,))
    edges = []
    points = 0
    for name, wanted in needs.items():
        for need in wanted:
            if need not in column or need == name:
                continue
            between = range(column[need] + 1, column[name])
            points += len(between)
            middle = [(need, name, str(at)) for at in between] if points <= MAX_POINTS else []
            for key, at in zip(middle, between, strict=False):
                columns[at].append(key)
            edges.append([(need,), *middle, (name,)])
    return Layout(_ordered(columns, edges), edges)


def _ordered(columns: list[list[Key]], edges: Sequence[Sequence[Key]]) -> list[list[Key]]:
    """Each column sorted by where its neighbours stand, forth and back a few times."""
    before: dict[Key, list[Key]] = {}
    after: dict[Key, list[Key]] = {}
    for edge in edges:
        for left, right in pairwise(edge):
            after.setdefault(left, []).append(right)
            before.setdefault(right, []).append(left)
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        place = {key: row for column in columns for row, key in enumerate(column)}
        for column in columns if forth else reversed(columns):
            neighbours = before if forth else after
            column.sort(key=lambda key: _middle(key, neighbours, place))  # used at once
            place.update({key: row for row, key in enumerate(column)})
    return columns


def _middle(key: Key, neighbours: Mapping[Key, Sequence[Key]], place: Mapping[Key, int]) -> float:
    found = [place[other] for other in neighbours.get(key, ())]
    return sum(found) / len(found) if found else place[key]
