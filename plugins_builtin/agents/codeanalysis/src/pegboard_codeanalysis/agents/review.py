"""`code_review`: faults, weaknesses, functions that are hard to follow and dead code, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from pegboard.interfaces import RunContext

from pegboard_codeanalysis.agents import schemas
from pegboard_codeanalysis.agents.base import MOST_CLAIMS, AnalysisAgent, Asked, Computed, Shared, config_of
from pegboard_codeanalysis.agents.evidence import of_groups
from pegboard_codeanalysis.agents.excerpts import Part
from pegboard_codeanalysis.agents.telling import severities
from pegboard_codeanalysis.agents.words import counted, number, share
from pegboard_codeanalysis.analysis.review import COMPLEX, Group, Review, counts, groups

NAME: Final = "code_review"
MOST_FINDINGS: Final = 100
_INSTRUCTIONS: Final = (
    "You review code: which of these findings are real and reachable, which belong together and have one cause, which "
    "are noise here and why, and what to mend first."
)


class CodeReview(AnalysisAgent):
    """Looks for faults."""

    __slots__ = ()

    async def compute(self, ctx: RunContext, asked: Asked) -> Computed:
        project = self.project(ctx, asked)
        survey, found = await project.survey(), await project.review()
        rows = groups(found.findings)
        python = len(survey.snapshot.python())
        failed = {item.what for item in found.degraded}
        share_ = (found.analysed - len(failed - {"ruff"})) / python if python else 1.0
        return Computed(
            summary=_summary(found, python),
            claims=of_groups(rows, MOST_CLAIMS),
            confidence=round(max(0.0, share_ * (0.5 if "ruff" in failed else 1.0)), 3),
            output={
                "counts": counts(found.findings),
                "groups": msgspec.to_builtins(rows),
                "findings": msgspec.to_builtins(found.findings[:MOST_FINDINGS]),
                "findings_left_out": max(0, len(found.findings) - MOST_FINDINGS),
            },
            parts=parts_of(rows),
            degraded=(*project.degraded, *found.degraded),
            stages=tuple(stage for stage in project.stages if stage.name in ("security", "review")),
        )


def make(shared: Shared) -> CodeReview:
    """The agent."""
    output = schemas.output(
        counts=schemas.FIGURES, groups=schemas.ROWS, findings=schemas.ROWS, findings_left_out={"type": "integer"}
    )
    return CodeReview(
        shared,
        config_of(
            shared, NAME, "Faults, security weaknesses, complexity and dead code of a code base, ranked", _INSTRUCTIONS,
            input_schema=schemas.target(), output=output, capabilities=("code.review",),
        ),
    )  # fmt: skip


def parts_of(rows: Sequence[Group]) -> tuple[Part, ...]:
    """Groups of findings as a model is shown them, the worst first; notes come last, and short."""
    made = []
    for row in rows:
        files = counted(row.files, "file")
        lines = [f"{row.severity}: {row.title}; {row.count} in {files} ({row.tool} {row.rule}). {row.advice}"]
        pairs = zip(row.places, row.messages, strict=True)
        lines += [f"{place} {message}" for place, message in list(pairs)[: 3 if row.severity == "note" else 8]]
        name = f"{row.tool} {row.rule} {row.severity}"
        made.append(Part(path=name, text="\n".join(lines), with_code=row.severity != "note"))
    return tuple(made)


def _summary(found: Review, python: int) -> str:
    if not python:
        return "There is no Python to look at."
    by = counts(found.findings)
    sentences = [f"{counted(python, 'file')} looked into: {severities(by) or 'nothing found'}."]
    if found.unparsed:
        sentences.append(f"{counted(len(found.unparsed), 'file')} cannot be parsed.")
    if found.complex_functions:
        sentences.append(
            f"Of {counted(found.functions, 'function')}, {number(found.complex_functions)} "
            f"({share(found.complex_functions, found.functions)}) have a cognitive complexity of {COMPLEX} or more."
        )
    if found.suppressed:
        sentences.append(f"{counted(found.suppressed, 'line')} of `noqa`, `nosec` or `type: ignore` were obeyed.")
    return " ".join(sentences)
