"""`architecture_analysis`: what depends on what, circles, what to cut, hot spots, and what the tests look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from pegboard.interfaces import RunContext

from pegboard_codeanalysis.agents import schemas
from pegboard_codeanalysis.agents.base import MOST_CLAIMS, AnalysisAgent, Asked, Computed, Shared, config_of
from pegboard_codeanalysis.agents.evidence import of_groups
from pegboard_codeanalysis.agents.excerpts import Part
from pegboard_codeanalysis.agents.review import parts_of
from pegboard_codeanalysis.agents.words import counted, listed, number, share
from pegboard_codeanalysis.analysis.model import History
from pegboard_codeanalysis.analysis.results import Architecture, TestRow
from pegboard_codeanalysis.analysis.review import groups

NAME: Final = "architecture_analysis"
_INSTRUCTIONS: Final = (
    "You judge the architecture: does the direction of dependencies make sense, which circles hurt and where to cut "
    "them, which hot spots to refactor first, and what of importance no test reaches."
)


class ArchitectureAnalysis(AnalysisAgent):
    """Looks at the shape."""

    __slots__ = ()

    async def compute(self, ctx: RunContext, asked: Asked) -> Computed:
        project = self.project(ctx, asked)
        survey, history, shape = await project.survey(), await project.history(), await project.architecture()
        rows = groups(shape.findings)
        python = len(survey.snapshot.python())
        return Computed(
            summary=_summary(shape, history),
            claims=of_groups(rows, MOST_CLAIMS),
            confidence=round((python - shape.unparsed) / python, 3) if python else 1.0,
            output={
                "figures": {
                    "modules": shape.modules,
                    "imports": shape.edges,
                    "runtime_imports": shape.runtime_edges,
                    "cycles": len(shape.cycles),
                    "modules_in_cycles": sum(len(cycle.members) for cycle in shape.cycles),
                    "untested_modules": len(untested(shape.tests)),
                    "tested_modules": len(shape.tests) - len(untested(shape.tests)),
                },
                "parts": msgspec.to_builtins(shape.nodes),
                "links": msgspec.to_builtins(shape.links),
                "hot_spots": msgspec.to_builtins(shape.hot_spots[:20]),
                "hubs": msgspec.to_builtins(shape.hubs),
                "groups": msgspec.to_builtins(rows),
            },
            parts=_parts(shape, history),
            degraded=project.degraded,
            stages=tuple(stage for stage in project.stages if stage.name in ("facts", "architecture")),
        )


def make(shared: Shared) -> ArchitectureAnalysis:
    """The agent."""
    output = schemas.output(
        figures=schemas.FIGURES, parts=schemas.ROWS, links=schemas.ROWS, hot_spots=schemas.ROWS, hubs=schemas.ROWS,
        groups=schemas.ROWS,
    )  # fmt: skip
    return ArchitectureAnalysis(
        shared,
        config_of(
            shared, NAME, "Dependencies, circles, layers, hot spots and the test map of a code base", _INSTRUCTIONS,
            input_schema=schemas.target(), output=output, capabilities=("code.architecture",),
        ),
    )  # fmt: skip


def untested(rows: Sequence[TestRow]) -> list[TestRow]:
    """Modules that no test is known to reach; those whose package is tested beside them may be."""
    return [row for row in rows if row.how in ("", "distribution")]


def _summary(shape: Architecture, history: History) -> str:
    if not shape.modules:
        return "There is no Python to look at."
    within = f"{counted(shape.edges, 'import')} among them, {number(shape.runtime_edges)} of these at import time"
    sentences = [f"{counted(shape.modules, 'module')} with {within if shape.edges else 'no imports among them'}."]
    if shape.cycles:
        sizes = [len(cycle.members) for cycle in shape.cycles]
        groups_ = f"{number(len(sizes))} groups of modules import one another in circles, the largest of {sizes[0]}"
        one = f"{sizes[0]} modules import one another in a circle"
        sentences.append(f"{one if len(sizes) == 1 else groups_}{_cut_text(shape)}.")
    elif shape.edges:
        sentences.append("No circle of imports at import time.")
    bare = untested(shape.tests)
    if not shape.test_files:
        sentences.append("There are no tests.")
    elif shape.tests:
        reached = len(shape.tests) - len(bare)
        sentences.append(
            f"Tests import {share(reached, len(shape.tests))} of the modules with functions, or what uses these."
        )
    hottest = [f"`{spot.path}`" for spot in shape.hot_spots[:3] if spot.complexity]
    if hottest:
        by = "churn times complexity" if history.available else "complexity alone, since there is no history"
        sentences.append(f"Hottest by {by}: {listed(hottest)}.")
    return " ".join(sentences)


def _cut_text(shape: Architecture) -> str:
    package = next(iter(shape.cuts), None)
    if package is None:
        return ""
    cuts = shape.cuts[package]
    total = sum(cut.count for cut in cuts)
    return f"; {counted(total, 'import stands', 'imports stand')} against a clean order of the parts of `{package}`"


def _parts(shape: Architecture, history: History) -> tuple[Part, ...]:
    cuts = [
        f"{cut.example} {cut.importer} -> {cut.imported}, {counted(cut.count, 'import')}"
        for some in shape.cuts.values()
        for cut in some
    ]
    churn = "commits x complexity" if history.available else "complexity; there is no history"
    spots = [
        f"{spot.path}:{spot.worst_line} complexity {spot.complexity}, {spot.commits} commits, {spot.lines} lines, "
        f"worst `{spot.worst}`"
        for spot in shape.hot_spots[:30]
        if spot.complexity
    ]
    links = sorted(shape.links, key=lambda link: -link.count)[:60]
    bare = [f"{row.path}:1 complexity {row.complexity}" for row in untested(shape.tests)[:40]]
    hubs = [f"{hub.path}:1 used by {hub.used_by}, uses {hub.uses}" for hub in shape.hubs]
    rows = (
        (f"hot spots ({churn})", spots),
        ("imports to cut for a clean order", cuts[:40]),
        ("dependencies between parts", [f"{x.example} {x.importer} -> {x.imported}: {x.count}" for x in links]),
        ("modules that no test reaches", bare),
        ("modules that most others use", hubs),
    )
    made = tuple(Part(path=name, text="\n".join(lines)) for name, lines in rows if lines)
    return (*parts_of(groups(shape.findings)), *made)
