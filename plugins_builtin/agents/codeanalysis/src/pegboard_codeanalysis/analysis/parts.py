"""The parts of the picture: packages are opened from the largest on, until there are as many boxes as can be read.

A module that is small beside the whole stands with its small neighbours in one box, `package.*`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from pegboard_codeanalysis.analysis.graphs import components, layers
from pegboard_codeanalysis.analysis.layout import Modules
from pegboard_codeanalysis.analysis.model import Place
from pegboard_codeanalysis.analysis.results import Edge, Link, Node

MOST_PARTS: Final = 30
"""More than that nobody can read."""
OTHERS: Final = ".*"
_SMALL: Final = 60
"""What has less than this part of all lines gets no box of its own."""


class Picture(NamedTuple):
    """Parts, what leads from one to another, and how many parts are not shown."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    left_out: int


def picture(modules: Modules, shipped: Sequence[str], edges: Sequence[Edge]) -> Picture:
    """The parts of a project, and the imports between them at import time."""
    lines = {modules.id_of(path): modules.paths[path].lines for path in shipped}
    named = parts(lines)
    part = {path: named[modules.id_of(path)] for path in shipped}
    links = _links(part, edges)
    kept = _kept(part, lines, links, modules)
    shown = tuple(link for link in links if link.importer in kept and link.imported in kept)
    return Picture(_nodes(part, kept, shown, modules), shown, len(set(part.values())) - len(kept))


def parts(lines: Mapping[str, int]) -> dict[str, str]:
    """For each module the name of its part: its own, that of a package, or `package.*`."""
    if len(lines) <= MOST_PARTS:
        return {name: name for name in lines}
    small = max(1, sum(lines.values()) // _SMALL)
    found = _grouped(lines, 1)
    whole: set[str] = set()
    while opening := _largest(found, lines, whole):
        children = _grouped(found[opening], opening.count(".") + 2)
        kept, rest = _split(children, lines, small, MOST_PARTS - len(found))
        if len(children) < 2 or not kept:
            whole.add(opening)
            continue
        del found[opening]
        found.update({name: children[name] for name in kept})
        others = [module for name in rest for module in children[name]]
        if others:
            name = rest[0] if len(rest) == 1 else f"{opening}{OTHERS}"
            found[name] = others
            whole.update({name} if len(rest) > 1 else ())
    return {module: name for name, members in found.items() for module in members}


def _grouped(names: Iterable[str], depth: int) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        groups[".".join(name.split(".")[:depth])].append(name)
    return dict(groups)


def _largest(found: Mapping[str, Sequence[str]], lines: Mapping[str, int], whole: set[str]) -> str | None:
    """The largest part that can still be opened, while there is room for one more."""
    if len(found) >= MOST_PARTS:
        return None
    closed = [name for name, members in found.items() if name not in whole and len(members) > 1]
    return max(closed, key=lambda name: (sum(lines[each] for each in found[name]), name), default=None)


def _split(
    children: Mapping[str, Sequence[str]], lines: Mapping[str, int], small: int, room: int
) -> tuple[list[str], list[str]]:
    """Children with a box of their own, the largest first, and those that share one."""
    size = {name: sum(lines[each] for each in members) for name, members in children.items()}
    ordered = sorted(size, key=lambda name: (-size[name], name))
    kept = [name for name in ordered if size[name] >= small][:room]
    return kept, [name for name in ordered if name not in kept]


def _links(part: Mapping[str, str], edges: Sequence[Edge]) -> tuple[Link, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], Place] = {}
    for edge in edges:
        pair = part[edge.importer], part[edge.imported]
        if edge.runtime and pair[0] != pair[1]:
            counts[pair] += 1
            example.setdefault(pair, Place(edge.importer, edge.line))
    return tuple(Link(a, b, counts[a, b], example[a, b]) for a, b in sorted(counts))


def _kept(part: Mapping[str, str], lines: Mapping[str, int], links: Sequence[Link], modules: Modules) -> frozenset[str]:
    """The largest parts; a single file that has to do with no other is none, where there are others."""
    size: Counter[str] = Counter()
    for path, name in part.items():
        size[name] += lines[modules.id_of(path)]
    linked = {name for link in links for name in (link.importer, link.imported)}
    count = Counter(part.values())
    shown = [name for name in size if not linked or name in linked or count[name] > 1]
    return frozenset(sorted(shown, key=lambda name: (-size[name], name))[:MOST_PARTS])


def _nodes(part: Mapping[str, str], kept: frozenset[str], links: Sequence[Link], modules: Modules) -> tuple[Node, ...]:
    follows: dict[str, dict[str, int]] = {name: {} for name in kept}
    for link in links:
        follows[link.importer][link.imported] = link.count
    level = layers(follows)
    circular = {name for group in components({k: list(v) for k, v in follows.items()}) for name in group}
    members: dict[str, list[str]] = defaultdict(list)
    for path in sorted(part):
        members[part[path]].append(path)
    return tuple(
        Node(
            name=name, modules=len(members[name]), lines=sum(modules.paths[path].lines for path in members[name]),
            layer=level[name], in_cycle=name in circular, place=members[name][0],
        )
        for name in sorted(kept)
    )  # fmt: skip
