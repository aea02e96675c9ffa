"""The report as a value. `report.json` is this value, so its fields are a contract: additions raise no version,
anything else does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from pegboard_codeanalysis.agents.evidence import Claim, Dropped
from pegboard_codeanalysis.analysis.model import (
    SEVERITIES,
    Degradation,
    Finding,
    History,
    LanguageRow,
    Metadata,
    Package,
    Severity,
    Skipped,
)
from pegboard_codeanalysis.analysis.results import Architecture, Documentation
from pegboard_codeanalysis.analysis.review import Group, Review
from pegboard_codeanalysis.work.workshop import Stage

SCHEMA: Final = "codeanalysis.report/1"


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent has to say."""

    agent: str
    summary: str
    model_said: str = ""
    judged_by: str = "computation"
    confidence: float = 1.0
    claims: tuple[Claim, ...] = ()
    dropped_claims: tuple[Dropped, ...] = ()
    absent: str = ""
    """Why it has nothing to say."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything."""

    schema: str = SCHEMA
    run: str
    name: str
    root: str
    commit: str
    made_at: float
    """Seconds since the epoch."""
    tools: Mapping[str, str]
    """Versions of what computed this."""
    figures: Mapping[str, int]
    counts: Mapping[str, int]
    sections: tuple[Section, ...]
    claims: tuple[Claim, ...]
    """The most important of all sections."""
    groups: tuple[Group, ...]
    findings: tuple[Finding, ...]
    languages: tuple[LanguageRow, ...]
    packages: tuple[Package, ...]
    metadata: Metadata
    history: History
    architecture: Architecture | None
    review: Review | None
    documentation: Documentation | None
    skipped: tuple[Skipped, ...]
    degraded: tuple[Degradation, ...]
    timeline: tuple[Stage, ...]

    @property
    def skipped_by_reason(self) -> list[tuple[str, list[str]]]:
        """Files and folders that were left out, by reason, the commonest first."""
        found: dict[str, list[str]] = {}
        for item in self.skipped:
            found.setdefault(item.reason, []).append(item.path)
        return sorted(found.items(), key=lambda row: -len(row[1]))

    @property
    def model_judged(self) -> bool:
        """Whether a model had a say."""
        return any(section.judged_by == "model" for section in self.sections)


def section_of(agent: str, output: Any) -> Section:
    """What an agent's output says; of one that is absent, why."""
    if not isinstance(output, Mapping):
        return Section(agent=agent, summary="", absent="it was not run", confidence=0.0)
    if output.get("absent"):
        return Section(agent=agent, summary="", absent=str(output.get("reason") or "unknown"), confidence=0.0)
    known = {key: output[key] for key in Section.__struct_fields__ if key in output}
    return msgspec.convert({**known, "agent": agent}, Section)


def degraded_of(outputs: Sequence[Any]) -> tuple[Degradation, ...]:
    """What went wrong anywhere, each once."""
    rows = [item for output in outputs if isinstance(output, Mapping) for item in output.get("degraded", ())]
    found = dict.fromkeys((str(row["what"]), str(row["why"])) for row in rows)
    return tuple(Degradation(what=what, why=why) for what, why in found)


def stages_of(outputs: Sequence[Any]) -> tuple[Stage, ...]:
    """When what was done, in order."""
    rows = [item for output in outputs if isinstance(output, Mapping) for item in output.get("stages", ())]
    stages = {(row["name"], row["start"]): msgspec.convert(row, Stage) for row in rows}
    return tuple(sorted(stages.values(), key=lambda stage: stage.start))


def first_claims(sections: Sequence[Section], most: int) -> tuple[Claim, ...]:
    """The most important claims of all: a model's before those of the computation, then the graver."""
    rows = [claim for section in sections for claim in section.claims]
    return tuple(sorted(rows, key=lambda claim: (claim.by != "model", SEVERITIES.index(claim.severity)))[:most])


def at_least(counts: Mapping[str, int], severity: Severity) -> int:
    """How many findings are as grave as this, or worse."""
    return sum(counts.get(each, 0) for each in SEVERITIES[: SEVERITIES.index(severity) + 1])
