"""The review chain over a range of commits: `change_review`, `security_review`, `performance_review`, and
`change_approval`, which puts the three together.

Only lines that the range wrote are judged; what was there before is the business of `code-analysis`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import msgspec
from pegboard.interfaces import RunContext
from pegboard.threads import DaemonPool
from pegboard.types import AgentConfig

from pegboard_codeanalysis.agents import schemas
from pegboard_codeanalysis.agents.base import (
    MOST_CLAIMS,
    AnalysisAgent,
    Asked,
    Computed,
    Shared,
    config_of,
    root_of,
)
from pegboard_codeanalysis.agents.documentation import near
from pegboard_codeanalysis.agents.evidence import Claim, of_groups, sentence
from pegboard_codeanalysis.agents.excerpts import Part
from pegboard_codeanalysis.agents.review import parts_of
from pegboard_codeanalysis.agents.telling import claims_told, dropped_told, groups_told, severities
from pegboard_codeanalysis.agents.words import counted, visible
from pegboard_codeanalysis.analysis.model import SEVERITIES, Finding
from pegboard_codeanalysis.analysis.results import DEFAULT_RANGE, Changes, Topic
from pegboard_codeanalysis.analysis.review import counts, groups, order
from pegboard_codeanalysis.report import folder
from pegboard_codeanalysis.report.model import Section, at_least, degraded_of, section_of
from pegboard_codeanalysis.report.sarif import sarif_of

Verdict = Literal["approve", "comment", "request_changes"]
_POOL: Final = DaemonPool(size=1, name="pegboard-codereview")
_MOST_FILES: Final = 300
MOST_GROUPS: Final = 20
"""Kinds of findings that a person is told of."""
_VERDICTS: Final[dict[Verdict, str]] = {
    "approve": "nothing stands against it",
    "comment": "nothing must change, and something is worth a look",
    "request_changes": "something should change before it goes in",
}


class _OverRange(AnalysisAgent):
    """An agent that looks at a range of commits, in one regard."""

    __slots__ = ()

    topic: ClassVar[Topic] = "review"

    async def compute(self, ctx: RunContext, asked: Asked) -> Computed:
        asked = placed(ctx, asked)
        project = self.project(ctx, asked)
        changes = await project.changes(asked.range)
        found = sorted(changes.findings[self.topic], key=lambda item: (*order(item, {}), item.place))
        rows = groups(found)
        python = [each for each in changes.files if each.language == "Python" and each.status != "removed"]
        return Computed(
            summary=self.told(changes, found) if changes.files else nothing_in(asked),
            claims=of_groups(rows, MOST_CLAIMS),
            confidence=0.5 if changes.degraded else 1.0,
            output={
                "path": asked.path,
                "range": asked.range or DEFAULT_RANGE,
                "base": changes.base,
                "head": changes.head,
                "fail_on": asked.fail_on,
                "files": msgspec.to_builtins(changes.files[:_MOST_FILES]),
                "files_left_out": max(0, len(changes.files) - _MOST_FILES),
                "counts": counts(found),
                "groups": msgspec.to_builtins(rows),
                "findings": msgspec.to_builtins(found),
                "skipped": msgspec.to_builtins(changes.skipped),
            },
            parts=(*parts_of(rows), *self.more(changes, python)),
            degraded=(*changes.degraded, *project.degraded),
            stages=tuple(project.stages),
            lines=_lines(changes),
            commit=changes.head,
        )

    def told(self, changes: Changes, found: Sequence[Finding]) -> str:
        """The summary."""
        by = severities(counts(found))
        return f"In the lines that are new: {by}." if by else "Nothing in the lines that are new."

    def more(self, changes: Changes, python: Sequence[Any]) -> tuple[Part, ...]:
        """What a model should know beside the findings."""
        files = [f"{each.path}:1 {each.status}, {each.added_lines} new lines, {each.role}" for each in python[:80]]
        said = "\n".join(changes.subjects[:20])
        rows = (("changed files", "\n".join(files)), ("subjects of the commits", said))
        return tuple(Part(path=name, text=text, kind="changes") for name, text in rows if text)


class ChangeReview(_OverRange):
    """Faults, removed names and rising complexity."""

    __slots__ = ()
    topic = "review"

    def told(self, changes: Changes, found: Sequence[Finding]) -> str:
        """What the range is, before what is wrong with it."""
        lines = sum(each.added_lines for each in changes.files)
        head = f"{counted(len(changes.subjects), 'commit')} in {counted(len(changes.files), 'file')}"
        return f"{head}, {counted(lines, 'new line')}. {super().told(changes, found)}"


class SecurityReview(_OverRange):
    """Weaknesses."""

    __slots__ = ()
    topic = "security"


class PerformanceReview(_OverRange):
    """What makes it slow, or blocks an event loop."""

    __slots__ = ()
    topic = "performance"


class ChangeApproval(AnalysisAgent):
    """The verdict. It computes nothing of its own, and asks no model: who judged before has said why."""

    __slots__ = ()
    judges = False

    async def compute(self, ctx: RunContext, asked: Asked) -> Computed:
        asked = placed(ctx, asked)
        changes = await self.project(ctx, asked).changes(asked.range)
        sections = [section_of(name, given) for name, given in _given(asked).items()]
        there = [given for given in _given(asked).values() if _is_there(given)]
        findings = [msgspec.convert(row, Finding) for given in there for row in given["findings"]]
        found = tuple(sorted(findings, key=lambda item: (*order(item, {}), item.place)))
        by = counts(found)
        claims = tuple(claim for section in sections for claim in section.claims)
        judged = [claim for claim in claims if claim.by == "model"]
        verdict = _verdict(by, judged, absent=any(section.absent for section in sections))
        missing = [f"{section.agent} gave nothing: {section.absent}" for section in sections if section.absent]
        told = f"{verdict}: {_VERDICTS[verdict]}. {'. '.join(missing)}".strip()
        fails = asked.fail_on is not None and at_least(by, asked.fail_on) > 0
        return Computed(
            summary=told if changes.files else nothing_in(asked),
            claims=_first(claims),
            confidence=round(min([section.confidence for section in sections if not section.absent], default=0.1), 3),
            output={
                "verdict": verdict if changes.files else None,
                "counts": by,
                "fail_on": asked.fail_on,
                "fails": fails,
                "range": asked.range or DEFAULT_RANGE,
                "findings": msgspec.to_builtins(found),
                "reasons": [sentence(group) for group in groups(found) if group.severity in ("high", "medium")][:10],
                "said": [_said(each) for each in sections if not each.absent],
            },
            degraded=degraded_of(tuple(_given(asked).values())),
            lines=_lines(changes),
        )

    async def finish(self, ctx: RunContext, asked: Asked, output: dict[str, Any]) -> dict[str, Any]:
        """Write the findings where a code host or an editor takes them, and the text for people."""
        found = [msgspec.convert(row, Finding) for row in output["findings"]]
        text = _text(output, found)
        sarif = sarif_of(found, versions=folder.versions())
        files = {
            "review.md": visible(f"# {output['range']}\n\n{text}\n").encode("utf-8", "backslashreplace"),
            "findings.sarif": msgspec.json.format(msgspec.json.encode(sarif), indent=1),
            "review.json": msgspec.json.format(msgspec.json.encode(output), indent=1),
        }
        workspace = Path(ctx.workspace or Path.cwd())

        async def write() -> dict[str, str]:
            return await _POOL.run(folder.write, workspace, ctx.root, files, self.shared.host)

        written = await ctx.step("report", {"run": ctx.root}, write)
        where = "" if output["verdict"] is None else f"\n\nreview: {near(written['md'])}"
        return {**output, "report": written, "text": f"{text}{where}"}


# --- the agents --------------------------------------------------------------------------------------------------


_ABOUT: Final[dict[str, tuple[type[_OverRange], str, str, str]]] = {
    "change_review": (
        ChangeReview, "Faults, removed public names and rising complexity in a range of commits", "code.change.review",
        "You review a change: is it right, is it complete, what will break for others.",
    ),
    "security_review": (
        SecurityReview, "Security weaknesses in the lines that a range of commits wrote", "code.change.security",
        "You review the security of a change: what can an attacker reach, and with what.",
    ),
    "performance_review": (
        PerformanceReview, "What makes a change slow or blocks an event loop", "code.change.performance",
        "You review the speed of a change: what grows with the data, what blocks, and what does not matter.",
    ),
}  # fmt: skip


def make(shared: Shared) -> tuple[AnalysisAgent, ...]:
    """The four agents of the chain."""
    output = schemas.output(
        path=schemas.TEXT, range=schemas.TEXT, base=schemas.TEXT, head=schemas.TEXT, fail_on=schemas.FAIL_ON,
        files=schemas.ROWS, files_left_out={"type": "integer"}, counts=schemas.FIGURES, groups=schemas.ROWS,
        findings=schemas.ROWS, skipped=schemas.ROWS,
    )  # fmt: skip
    asked = schemas.target(range=schemas.RANGE, fail_on=schemas.FAIL_ON)
    made = [
        kind(shared, config_of(shared, name, about, told, input_schema=asked, output=output, capabilities=(able,)))
        for name, (kind, about, able, told) in _ABOUT.items()
    ]
    return (*made, ChangeApproval(shared, _approval_config(shared)))


def _approval_config(shared: Shared) -> AgentConfig:
    output = schemas.output(
        verdict={"type": ["string", "null"], "enum": [*_VERDICTS, None]}, counts=schemas.FIGURES,
        fail_on=schemas.FAIL_ON, fails={"type": "boolean"}, range=schemas.TEXT, findings=schemas.ROWS,
        reasons=schemas.TEXTS, said=schemas.TEXTS, report=schemas.FIGURES,
    )  # fmt: skip
    others = {"review": schemas.ABSENT, "security": schemas.ABSENT, "performance": schemas.ABSENT}
    asked = schemas.target(range=schemas.RANGE, fail_on=schemas.FAIL_ON, **others)
    about = "The verdict on a range of commits, from what the reviewers found"
    return config_of(
        shared,
        "change_approval",
        about,
        "You decide.",
        input_schema=asked,
        output=output,
        capabilities=("code.change.approval",),
    )


def placed(ctx: RunContext, asked: Asked) -> Asked:
    """The folder and the range, where both came as one text: `main..HEAD`, `sub/folder`, or `sub/folder main..HEAD`."""
    if asked.range:
        return asked
    words = asked.path.split()
    if len(words) == 2:
        return msgspec.structs.replace(asked, path=words[0], range=words[1])
    if Path(root_of(ctx, asked.path)).is_dir():
        return asked
    return msgspec.structs.replace(asked, path=".", range=asked.path)


def _given(asked: Asked) -> dict[str, Any]:
    return {"change_review": asked.review, "security_review": asked.security, "performance_review": asked.performance}


def _is_there(given: Any) -> bool:
    return isinstance(given, Mapping) and not given.get("absent")


def _lines(changes: Changes) -> dict[str, int]:
    """For evidence: the changed files, as they are afterwards."""
    return {each.path: each.lines for each in changes.files if each.lines}


def _verdict(by: Mapping[str, int], judged: Sequence[Claim], *, absent: bool) -> Verdict:
    """A grave finding asks for a change; a lesser one, or a review that is missing, is worth a word."""
    graver = {claim.severity for claim in judged}
    if by.get("high") or "high" in graver:
        return "request_changes"
    if by.get("medium") or "medium" in graver or absent:
        return "comment"
    return "approve"


def _first(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    ranked = sorted(claims, key=lambda claim: (claim.by != "model", SEVERITIES.index(claim.severity)))
    return tuple(ranked[:MOST_CLAIMS])


def _said(section: Section) -> str:
    dropped = dropped_told(len(section.dropped_claims))
    return f"{section.agent}: {section.model_said or section.summary} {dropped}".rstrip()


def _text(output: Mapping[str, Any], found: Sequence[Finding]) -> str:
    """The verdict, what each reviewer says, and every finding but notes; where there is nothing, that alone."""
    if output["verdict"] is None:
        return str(output["summary"])
    judged = [claim for claim in msgspec.convert(output["claims"], list[Claim]) if claim.by == "model"]
    graver = [group for group in groups(found) if group.severity != "note"]
    lines = [output["summary"], "", *output["said"]]
    if judged or graver:
        lines += ["", *claims_told(judged), *groups_told(graver, MOST_GROUPS, "`review.json`")]
    notes = output["counts"]["note"]
    lines += [f"and {counted(notes, 'note')}, in `review.json`"] if notes else []
    return "\n".join(lines)


def nothing_in(asked: Asked) -> str:
    """What is said of a range without a change."""
    return f"nothing to review: `{asked.range or DEFAULT_RANGE}` changes no file."
