"""Who imports whom: import statements resolved to files, circles among them, layers, and what would break a circle.

Statements come from the parsed files, so that one file that cannot be parsed costs its own edges and not the graph;
grimp holds the graph, and tells what to cut.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import grimp

from pegboard_codeanalysis.analysis.graphs import components
from pegboard_codeanalysis.analysis.layout import Modules
from pegboard_codeanalysis.analysis.model import FileFacts, ImportFact, Place
from pegboard_codeanalysis.analysis.results import Cut, Cycle, Edge

_STDLIB: Final = sys.stdlib_module_names
_MOST_CUTS: Final = 400


class Graph(NamedTuple):
    """Everything that imports tell."""

    edges: tuple[Edge, ...]
    external: dict[str, int]
    """Top-level packages of others, and how many files import them."""


def graph_of(modules: Modules, facts: Mapping[str, FileFacts]) -> Graph:
    """Resolve every import statement of every file."""
    edges: dict[tuple[str, str], Edge] = {}
    external: Counter[str] = Counter()
    for path, known in facts.items():
        foreign: set[str] = set()
        for fact in known.imports:
            runtime = not (fact.typing_only or fact.deferred)
            for target in _targets(modules, path, fact, foreign):
                before = edges.get((path, target))
                if target != path and (before is None or (runtime and not before.runtime)):
                    edges[path, target] = Edge(path, target, fact.line, runtime)
        external.update(foreign)
    ordered = sorted(edges.values(), key=lambda edge: (edge.importer, edge.line, edge.imported))
    return Graph(tuple(ordered), dict(external.most_common()))


def _targets(modules: Modules, path: str, fact: ImportFact, foreign: set[str]) -> Iterator[str]:
    base = _absolute(modules, path, fact)
    if base is None:
        return
    whole = _find(modules, base, path) if base else None
    named = 0
    for name in fact.names:
        part = _find(modules, f"{base}.{name}" if base else name, path)
        if part is not None and part != whole:
            named += 1
            yield part
    if whole is not None and not 0 < named == len(fact.names):  # modules alone need nothing of what is in the package
        yield whole
    if whole is None and not named and not fact.level:
        top = base.partition(".")[0]
        if top not in _STDLIB and _find(modules, top, path) is None:
            foreign.add(top)


def source(modules: Modules, path: str, fact: ImportFact) -> str | None:
    """The file that `from … import names` takes its names from."""
    base = _absolute(modules, path, fact)
    return _find(modules, base, path) if base else None


def _absolute(modules: Modules, path: str, fact: ImportFact) -> str | None:
    """The absolute name of what is imported; `None` for a relative import that leads out of its package."""
    if fact.level == 0:
        return fact.module
    parts = modules.name_of[path].split(".") if modules.name_of[path] else []
    if not modules.is_package(path):
        parts = parts[:-1]
    up = fact.level - 1
    if up > len(parts) or (not parts and up):
        return None
    kept = parts[: len(parts) - up]
    return ".".join([*kept, *([fact.module] if fact.module else [])])


def _find(modules: Modules, name: str, importer: str) -> str | None:
    found = modules.find(name, importer)
    if found is not None and name.partition(".")[0] in _STDLIB and not modules.may_shadow(found, name, importer):
        return None
    return found


# --- circles -----------------------------------------------------------------------------------------------------


def cycles(edges: Sequence[Edge]) -> tuple[Cycle, ...]:
    """Groups of files in circles of imports at import time, the largest first.

    A package always comes before what is in it, whoever asks first: that a module imports its own package decides
    nothing, and so closes no circle.
    """
    runtime: dict[str, dict[str, Edge]] = defaultdict(dict)
    for edge in edges:
        if edge.runtime and not _is_above(edge.imported, edge.importer):
            runtime[edge.importer][edge.imported] = edge
    found = [_cycle(group, runtime) for group in components({name: list(row) for name, row in runtime.items()})]
    return tuple(sorted(found, key=lambda cycle: (-len(cycle.members), cycle.members)))


def _is_above(package: str, path: str) -> bool:
    return package.endswith("__init__.py") and path.startswith(package.removesuffix("__init__.py"))


def _cycle(group: Sequence[str], follows: Mapping[str, Mapping[str, Edge]]) -> Cycle:
    inside = frozenset(group)
    best: list[Edge] = []
    for start in group[:200]:
        way = _way_back(start, inside, follows)
        if way and (not best or len(way) < len(best)):
            best = way
        if len(best) == 2:
            break
    return Cycle(members=tuple(group), shortest=tuple(best))


def _way_back(start: str, inside: frozenset[str], follows: Mapping[str, Mapping[str, Edge]]) -> list[Edge]:
    """A shortest way from a file back to itself."""
    before: dict[str, Edge] = {}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for nxt, edge in sorted(follows.get(name, {}).items()):
            if nxt == start:
                way = [edge]
                while way[0].importer != start:
                    way.insert(0, before[way[0].importer])
                return way
            if nxt in inside and nxt not in before:
                before[nxt] = edge
                queue.append(nxt)
    return []


# --- what to cut -------------------------------------------------------------------------------------------------


def cuts(modules: Modules, edges: Sequence[Edge], package: str) -> tuple[Cut, ...]:
    """Which imports between the children of a package to take away, so that they form layers (grimp's choice)."""
    graph = grimp.ImportGraph()
    lines: dict[tuple[str, str], Edge] = {}
    inside = {path: modules.id_of(path) for path in modules.paths if _below(modules.id_of(path), package)}
    names = {package, *inside.values()}
    for name in inside.values():
        parts = name.split(".")
        names.update(".".join(parts[:n]) for n in range(1, len(parts)))
    for name in sorted(names):
        graph.add_module(name)
    for edge in edges:
        if edge.runtime and edge.importer in inside and edge.imported in inside:
            pair = inside[edge.importer], inside[edge.imported]
            lines[pair] = edge
            graph.add_import(importer=pair[0], imported=pair[1], line_number=edge.line, line_contents="")
    depth = package.count(".") + 2
    groups: dict[tuple[str, str], list[Edge]] = defaultdict(list)
    for pair in sorted(graph.nominate_cycle_breakers(package)):
        if pair in lines:
            groups[_child(pair[0], depth), _child(pair[1], depth)].append(lines[pair])
    rows = [Cut(a, b, len(some), Place(some[0].importer, some[0].line)) for (a, b), some in groups.items()]
    return tuple(sorted(rows, key=lambda cut: (-cut.count, cut.importer, cut.imported)))[:_MOST_CUTS]


def _below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _child(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])
