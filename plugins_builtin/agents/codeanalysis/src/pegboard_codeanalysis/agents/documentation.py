"""`documentation_generation`: the state of the documentation, and the report on everything that the team found."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from pegboard.interfaces import RunContext
from pegboard.threads import DaemonPool

from pegboard_codeanalysis.agents import schemas
from pegboard_codeanalysis.agents.base import MOST_CLAIMS, AnalysisAgent, Asked, Computed, Shared, config_of
from pegboard_codeanalysis.agents.context import project_name
from pegboard_codeanalysis.agents.evidence import of_groups
from pegboard_codeanalysis.agents.excerpts import Part
from pegboard_codeanalysis.agents.telling import claims_told, dropped_told, not_analysed, severities
from pegboard_codeanalysis.agents.words import counted, number, paragraph, share
from pegboard_codeanalysis.analysis.model import Finding
from pegboard_codeanalysis.analysis.results import Architecture, Documentation
from pegboard_codeanalysis.analysis.review import Review, counts, groups, order
from pegboard_codeanalysis.report import folder, render
from pegboard_codeanalysis.report.model import (
    Report,
    Section,
    at_least,
    degraded_of,
    first_claims,
    section_of,
    stages_of,
)

NAME: Final = "documentation_generation"
MOST_FIRST: Final = 8
MOST_TOLD: Final = 5
MOST_FINDINGS: Final = 200
"""In the output; all of them are in `report.json`."""
_POOL: Final = DaemonPool(size=2, name="pegboard-codeanalysis")
_INSTRUCTIONS: Final = (
    "You judge the documentation: who is left alone with what, and which few texts would help most. Your summary "
    "stands at the top of a report to the colleagues of the authors."
)


class DocumentationGeneration(AnalysisAgent):
    """Looks at the documentation, and writes the report."""

    __slots__ = ()

    async def compute(self, ctx: RunContext, asked: Asked) -> Computed:
        project = self.project(ctx, asked)
        survey, found = await project.survey(), await project.documentation()
        rows = groups(found.findings)
        python = len(survey.snapshot.python())
        return Computed(
            summary=_summary(found, python),
            claims=of_groups(rows, MOST_CLAIMS),
            confidence=1.0,
            output={
                "figures": {"public": found.public, "documented": found.documented, "links": found.links},
                "undocumented": msgspec.to_builtins(found.undocumented[:100]),
                "undocumented_left_out": max(0, len(found.undocumented) - 100) + found.undocumented_left_out,
                "groups": msgspec.to_builtins(rows),
            },
            parts=_parts(found),
            degraded=project.degraded,
            stages=tuple(stage for stage in project.stages if stage.name in ("facts", "documentation")),
        )

    async def finish(self, ctx: RunContext, asked: Asked, output: dict[str, Any]) -> dict[str, Any]:
        """Write the report, of what the others found too, and say where it is."""
        report = await self._report(ctx, asked, output)
        written = await ctx.step("report", {"run": ctx.root}, lambda: self._written(ctx, report))
        ctx.emit("codeanalysis.report", {"path": written["html"]})
        fails = asked.fail_on is not None and at_least(report.counts, asked.fail_on) > 0
        return {
            **output,
            "counts": dict(report.counts),
            "report": written,
            "fail_on": asked.fail_on,
            "fails": fails,
            "findings": msgspec.to_builtins(report.findings[:MOST_FINDINGS]),
            "findings_left_out": max(0, len(report.findings) - MOST_FINDINGS),
            "text": _text(report, written),
        }

    async def _report(self, ctx: RunContext, asked: Asked, output: Mapping[str, Any]) -> Report:
        project = self.project(ctx, asked)
        survey, history = await project.survey(), await project.history()
        shape = await project.architecture() if _is_there(asked.architecture) else None
        found = await project.review() if _is_there(asked.review) else None
        docs = await project.documentation()
        outputs = (asked.context, asked.architecture, asked.review, output)
        sections = _sections(asked, output)
        findings = _all(shape, found, docs, {row.path: row.commits for row in history.files})
        figures = asked.context["figures"] if _is_there(asked.context) else _figures(survey)
        return Report(
            run=ctx.root,
            name=project_name(survey),
            root=survey.snapshot.root,
            commit=history.head,
            made_at=time.time(),
            tools=folder.versions(),
            figures=figures,
            counts=counts(findings),
            sections=sections,
            claims=first_claims(sections, MOST_FIRST),
            groups=groups(findings),
            findings=findings,
            languages=survey.languages,
            packages=survey.packages,
            metadata=survey.metadata,
            history=msgspec.structs.replace(history, files=(), couplings=history.couplings[:50]),
            architecture=shape,
            review=msgspec.structs.replace(found, findings=()) if found else None,
            documentation=docs,
            skipped=survey.snapshot.skipped,
            degraded=degraded_of(outputs),
            timeline=stages_of(outputs),
        )

    async def _written(self, ctx: RunContext, report: Report) -> dict[str, str]:
        files = await _POOL.run(render.files_of, report)
        workspace = Path(ctx.workspace or Path.cwd())
        return await _POOL.run(folder.write, workspace, ctx.root, files, self.shared.host)


def make(shared: Shared) -> DocumentationGeneration:
    """The agent."""
    output = schemas.output(
        figures=schemas.FIGURES, undocumented=schemas.ROWS, undocumented_left_out={"type": "integer"},
        groups=schemas.ROWS, counts=schemas.FIGURES, findings=schemas.ROWS, findings_left_out=schemas.NUMBER,
        report=schemas.FIGURES, fail_on=schemas.FAIL_ON, fails={"type": "boolean"},
    )  # fmt: skip
    others = {"context": schemas.ABSENT, "architecture": schemas.ABSENT, "review": schemas.ABSENT}
    return DocumentationGeneration(
        shared,
        config_of(
            shared, NAME, "The state of the documentation of a code base, and the report of the whole team",
            _INSTRUCTIONS, input_schema=schemas.target(fail_on=schemas.FAIL_ON, **others), output=output,
            capabilities=("code.documentation",),
        ),
    )  # fmt: skip


# --- putting the report together ---------------------------------------------------------------------------------


def _is_there(output: Any) -> bool:
    return isinstance(output, Mapping) and not output.get("absent")


def _sections(asked: Asked, output: Mapping[str, Any]) -> tuple[Section, ...]:
    named = (
        ("context_gathering", asked.context),
        ("architecture_analysis", asked.architecture),
        ("code_review", asked.review),
        (NAME, output),
    )
    return tuple(section_of(agent, given) for agent, given in named)


def _all(
    shape: Architecture | None, found: Review | None, docs: Documentation, churn: Mapping[str, int]
) -> tuple[Finding, ...]:
    rows = [*(found.findings if found else ()), *(shape.findings if shape else ()), *docs.findings]
    return tuple(sorted(rows, key=lambda item: (*order(item, churn), item.place, item.rule)))


def _figures(survey: Any) -> dict[str, int]:
    python = survey.snapshot.python()
    return {
        "python_files": len(python),
        "code_lines": sum(entry.lines for entry in python if entry.role == "code"),
        "test_lines": sum(entry.lines for entry in python if entry.role == "test"),
    }


# --- words -------------------------------------------------------------------------------------------------------


def _summary(found: Documentation, python: int) -> str:
    sentences = []
    if found.public:
        sentences.append(
            f"{number(found.documented)} of {number(found.public)} public functions, classes and methods "
            f"({share(found.documented, found.public)}) have a docstring."
        )
    elif python:
        sentences.append("No module offers anything public.")
    dead = sum(item.rule == "dead-link" for item in found.findings)
    sentences.append(f"{counted(found.documents, 'document')}, {counted(found.links, 'link')} in Markdown")
    sentences[-1] += f", {counted(dead, 'of them leads', 'of them lead')} nowhere." if dead else "."
    return " ".join(sentences)


def _parts(found: Documentation) -> tuple[Part, ...]:
    worst = sorted(found.modules, key=lambda row: row.documented - row.public)[:30]
    modules = [
        f"{row.path}:1 {row.documented} of {row.public} documented; says: {row.summary or 'nothing'}" for row in worst
    ]
    bare = [f"{item.place} {item.kind} `{item.name}`" for item in found.undocumented[:60]]
    faults = [f"{item.place} {item.message}" for item in found.findings if item.rule != "undocumented"]
    rows = (("least documented modules", modules), ("faults in documents", faults[:40]), ("undocumented", bare))
    return tuple(Part(path=name, text="\n".join(lines)) for name, lines in rows if lines)


def _text(report: Report, written: Mapping[str, str]) -> str:
    """What a person is told in the terminal."""
    lines = [paragraph(section.summary) for section in report.sections if section.summary]
    lines += ["", f"In all: {severities(report.counts) or 'nothing found'}"]
    lines += claims_told(report.claims[:MOST_TOLD])
    shown = sum(max(claim.count, 1) for claim in report.claims[:MOST_TOLD] if claim.by == "computation")
    left = sum(report.counts.values()) - shown
    lines += [f"and {counted(left, 'more finding')}, in the report"] if left > 0 else []
    dropped = dropped_told(sum(len(section.dropped_claims) for section in report.sections))
    lines += [dropped] if dropped else []
    if report.degraded:
        first = report.degraded[0]
        lines += ["", paragraph(not_analysed(len(report.degraded), first.what, first.why))]
    lines += ["", f"report: {near(written['html'])}"]
    lines += [f"always: {near(written['latest'])}/report.html"] if written["latest"] else []
    return "\n".join(lines)


def near(path: str) -> str:
    """A path as a person would type it here."""
    return str(Path(path).relative_to(Path.cwd())) if Path(path).is_relative_to(Path.cwd()) else path
