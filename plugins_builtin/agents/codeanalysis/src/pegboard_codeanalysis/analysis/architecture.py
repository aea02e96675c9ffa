"""The shape of a project: which parts depend on which, circles, layers, hot spots, and which tests look at what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pegboard_codeanalysis.analysis import imports, testing
from pegboard_codeanalysis.analysis.layout import Modules, packages
from pegboard_codeanalysis.analysis.model import (
    FileFacts,
    FileHistory,
    Finding,
    History,
    Place,
    Severity,
    Snapshot,
)
from pegboard_codeanalysis.analysis.parts import picture
from pegboard_codeanalysis.analysis.results import Architecture, Cut, Cycle, Edge, HotSpot, Hub

VERSION: Final = "3"
_HOT_COMMITS: Final = 10
_HOT_COMPLEXITY: Final = 50
_HOT_FINDINGS: Final = 5
_MOST_CYCLES: Final = 20
_MOST_COUPLINGS: Final = 10


def architecture_of(taken: Snapshot, facts: Mapping[str, FileFacts], history: History) -> Architecture:
    """The shape of a project, from the facts of its files and its history."""
    modules = Modules(taken.python())
    graph = imports.graph_of(modules, facts)
    shipped = [path for path, entry in modules.paths.items() if entry.role == "code"]
    inside = frozenset(shipped)
    own = [edge for edge in graph.edges if edge.importer in inside and edge.imported in inside]
    found = imports.cycles(own)
    drawn = picture(modules, shipped, own)
    spots = hot_spots(modules, facts, history, shipped)
    test_files = sum(entry.role == "test" for entry in modules.paths.values())
    tests = testing.test_map(taken, modules, facts, graph.edges, shipped)
    cuts = _cuts(modules, own, found)
    findings = (
        *_cycle_findings(found, modules),
        *_hot_findings(spots, history),
        *testing.untested(tests, facts, test_files),
        *_coupled(history, graph.edges, inside),
    )
    return Architecture(
        modules=len(shipped),
        edges=len(own),
        runtime_edges=sum(edge.runtime for edge in own),
        external=graph.external,
        nodes=drawn.nodes,
        links=drawn.links,
        left_out=drawn.left_out,
        cycles=found,
        cuts=cuts,
        hubs=_hubs(modules, own),
        hot_spots=spots,
        tests=tests,
        test_files=test_files,
        findings=findings,
        unparsed=sum(bool(known.error) for known in facts.values()),
    )


# --- hubs, and what to cut ----------------------------------------------------------------------------------------


def _hubs(modules: Modules, edges: Sequence[Edge]) -> tuple[Hub, ...]:
    used: Counter[str] = Counter(edge.imported for edge in edges)
    uses: Counter[str] = Counter(edge.importer for edge in edges)
    rows = [Hub(path, modules.id_of(path), used[path], uses[path]) for path in used]
    return tuple(sorted(rows, key=lambda hub: (-hub.used_by, hub.path))[:15])


def _cuts(modules: Modules, edges: Sequence[Edge], found: Sequence[Cycle]) -> dict[str, tuple[Cut, ...]]:
    """For each large package with circles, what to cut between its children."""
    circular = {path for cycle in found for path in cycle.members}
    result = {}
    for package in packages(modules)[:5]:
        inside = [path for path in circular if modules.id_of(path).partition(".")[0] == package.name]
        if package.kind == "package" and inside:
            chosen = imports.cuts(modules, edges, package.name)
            if chosen:
                result[package.name] = chosen
    return result


# --- circles, couplings ------------------------------------------------------------------------------------------


def _cycle_findings(found: Sequence[Cycle], modules: Modules) -> Iterator[Finding]:
    for cycle in found[:_MOST_CYCLES]:
        if not cycle.shortest:
            continue
        way = " → ".join([modules.id_of(edge.importer) for edge in cycle.shortest])
        way = f"{way} → {modules.id_of(cycle.shortest[0].importer)}"
        spans = len({path.rpartition("/")[0] for path in cycle.members})
        # Two modules of one package that know each other are untidy; a circle through packages is what spreads.
        severity: Severity = "medium" if spans > 1 else "low"
        where = f" in {spans} folders" if spans > 1 else ""
        more = f"{len(cycle.members)} modules{where} reach one another, for instance " if len(cycle.members) > 2 else ""
        yield Finding(
            rule="import-cycle", tool="imports", severity=severity, message=f"{more}{way}",
            place=Place(cycle.shortest[0].importer, cycle.shortest[0].line),
            related=tuple(Place(edge.importer, edge.line) for edge in cycle.shortest[1:]),
        )  # fmt: skip


def _coupled(history: History, edges: Sequence[Edge], inside: frozenset[str]) -> Iterator[Finding]:
    linked = {frozenset((edge.importer, edge.imported)) for edge in edges}
    rows = [row for row in history.couplings if row.first in inside and row.second in inside]
    silent = [row for row in rows if frozenset((row.first, row.second)) not in linked]
    for row in silent[:_MOST_COUPLINGS]:
        yield Finding(
            rule="coupled", tool="git", severity="note", place=Place(row.first, 1), related=(Place(row.second, 1),),
            message=f"`{row.first}` and `{row.second}` were changed together in {row.together} commits, "
            f"{row.share:.0%} of those of the one that changes less",
            confidence=row.share,
        )  # fmt: skip


# --- hot spots ---------------------------------------------------------------------------------------------------


def hot_spots(
    modules: Modules, facts: Mapping[str, FileFacts], history: History, shipped: Sequence[str]
) -> tuple[HotSpot, ...]:
    """Every shipped file, the hottest first: churn times complexity; without a history by complexity alone."""
    churn = {row.path: row for row in history.files}
    rows = []
    for path in shipped:
        functions = facts[path].functions if path in facts else ()
        worst = max(functions, key=lambda function: function.complexity, default=None)
        rows.append((path, sum(function.complexity for function in functions), churn.get(path), worst))
    most_complex = max((row[1] for row in rows), default=0) or 1
    most_commits = max((row[2].commits for row in rows if row[2]), default=0) or 1
    spots = [
        HotSpot(
            path=path, lines=modules.paths[path].lines, complexity=complexity, commits=_commits(row),
            score=round(complexity / most_complex * (_commits(row) / most_commits if history.available else 1), 4),
            worst=worst.name if worst else "", worst_line=worst.line if worst else 1,
        )
        for path, complexity, row, worst in rows
    ]  # fmt: skip
    return tuple(sorted(spots, key=lambda spot: (-spot.score, -spot.complexity, spot.path)))


def _commits(row: FileHistory | None) -> int:
    return row.commits if row is not None else 0


def _hot_findings(spots: Sequence[HotSpot], history: History) -> Iterator[Finding]:
    """Only what is far out in both: a tenth of the files at most, and never many."""
    if not history.available:
        return
    hot = [spot for spot in spots if spot.commits >= _HOT_COMMITS and spot.complexity >= _HOT_COMPLEXITY]
    for spot in hot[: min(_HOT_FINDINGS, max(1, len(spots) // 10))]:
        yield Finding(
            rule="hot-spot", tool="git", severity="medium", place=Place(spot.path, spot.worst_line),
            message=f"changed in {spot.commits} commits, cognitive complexity {spot.complexity} in {spot.lines} lines, "
            f"most of all in `{spot.worst}`",
            confidence=0.8,
        )  # fmt: skip
