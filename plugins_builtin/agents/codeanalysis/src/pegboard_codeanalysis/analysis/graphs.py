"""Two questions to any graph: who is in a circle, and how far above the ground each stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence


def components(follows: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Strongly connected groups of two and more, without recursion (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    on_stack: set[str] = set()
    stack: list[str] = []
    found: list[list[str]] = []
    for start in sorted(follows):
        if start in index:
            continue
        work: list[tuple[str, Iterator[str]]] = [(start, iter(follows.get(start, ())))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        while work:
            name, rest = work[-1]
            for nxt in rest:
                if nxt not in index:
                    index[nxt] = low[nxt] = len(index)
                    stack.append(nxt)
                    on_stack.add(nxt)
                    work.append((nxt, iter(follows.get(nxt, ()))))
                    break
                if nxt in on_stack:
                    low[name] = min(low[name], index[nxt])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    group = _popped(stack, on_stack, name)
                    if len(group) > 1:
                        found.append(sorted(group))
    return found


def _popped(stack: list[str], on_stack: set[str], name: str) -> list[str]:
    group: list[str] = []
    while True:
        last = stack.pop()
        on_stack.discard(last)
        group.append(last)
        if last == name:
            return group


def layers(follows: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How far above the ground each stands: 0 imports nothing of the others; those in a circle share a layer."""
    groups = components({name: list(row) for name, row in follows.items()})
    of = {name: min(group) for group in groups for name in group}
    names = {*follows, *(name for row in follows.values() for name in row)}
    below: dict[str, set[str]] = defaultdict(set)
    for name, row in follows.items():
        below[of.get(name, name)].update(of.get(each, each) for each in row)
    level: dict[str, int] = {}
    for name in sorted({of.get(name, name) for name in names}):
        _set_level(name, below, level)
    return {name: level[of.get(name, name)] for name in names}


def _set_level(start: str, below: Mapping[str, set[str]], level: dict[str, int]) -> None:
    stack = [start]
    while stack:
        name = stack[-1]
        todo = [each for each in below.get(name, ()) if each != name and each not in level]
        if todo:
            stack += todo
            continue
        level[name] = 1 + max((level[each] for each in below.get(name, ()) if each != name), default=-1)
        stack.pop()
