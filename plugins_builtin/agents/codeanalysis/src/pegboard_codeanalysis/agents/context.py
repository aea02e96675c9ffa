"""`context_gathering`: what there is, how large it is, where it comes from, and what nobody looked into."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from pegboard.interfaces import RunContext

from pegboard_codeanalysis.agents import schemas
from pegboard_codeanalysis.agents.base import AnalysisAgent, Asked, Computed, Shared, config_of
from pegboard_codeanalysis.agents.excerpts import Part
from pegboard_codeanalysis.agents.words import counted, listed, number
from pegboard_codeanalysis.analysis.model import Degradation, FileEntry, History
from pegboard_codeanalysis.analysis.results import Survey

NAME: Final = "context_gathering"
MOST_SKIPPED: Final = 200
_INSTRUCTIONS: Final = (
    "You gather context: say what this project is, how it is built up and how alive it is, so that others can judge it."
)


class ContextGathering(AnalysisAgent):
    """Takes the snapshot that the others work on."""

    __slots__ = ()

    async def compute(self, ctx: RunContext, asked: Asked) -> Computed:
        project = self.project(ctx, asked)
        survey, history = await project.survey(), await project.history()
        taken = survey.snapshot
        python = taken.python()
        figures = {
            "files": len(taken.files),
            "lines": sum(entry.lines for entry in taken.files),
            "python_files": len(python),
            "code_lines": _lines(python, "code"),
            "test_lines": _lines(python, "test"),
            "skipped": len(taken.skipped),
        }
        looked = len(taken.files) + sum(item.reason.startswith("unreadable") for item in taken.skipped)
        return Computed(
            summary=_summary(survey, history, figures),
            claims=(),
            confidence=round(len(taken.files) / looked, 3) if looked else 1.0,
            output={
                "root": taken.root,
                "name": project_name(survey),
                "digest": taken.digest,
                "exclude": list(asked.exclude),
                "fail_on": asked.fail_on,
                "figures": figures,
                "languages": msgspec.to_builtins(survey.languages),
                "packages": msgspec.to_builtins(survey.packages),
                "metadata": msgspec.to_builtins(survey.metadata),
                "history": _short(history),
                "skipped": msgspec.to_builtins(taken.skipped[:MOST_SKIPPED]),
            },
            parts=_parts(survey, history),
            degraded=(*taken.degraded, *_no_history(history)),
            stages=tuple(project.stages),
        )


def make(shared: Shared) -> ContextGathering:
    """The agent."""
    output = schemas.output(
        root=schemas.TEXT, name=schemas.TEXT, digest=schemas.TEXT, exclude=schemas.TEXTS, fail_on=schemas.FAIL_ON,
        figures=schemas.FIGURES, languages=schemas.ROWS, packages=schemas.ROWS, metadata=schemas.FIGURES,
        history=schemas.FIGURES, skipped=schemas.ROWS,
    )  # fmt: skip
    return ContextGathering(
        shared,
        config_of(
            shared, NAME, "What a code base is: files, languages, packages, dependencies, history", _INSTRUCTIONS,
            input_schema=schemas.target(fail_on=schemas.FAIL_ON), output=output, capabilities=("code.context",),
        ),
    )  # fmt: skip


def project_name(survey: Survey) -> str:
    """What the project is called; the folder's name where it does not say."""
    return survey.metadata.name or survey.snapshot.root.rpartition("/")[2] or survey.snapshot.root


def _lines(files: tuple[FileEntry, ...], role: str) -> int:
    return sum(entry.lines for entry in files if entry.role == role)


def _short(history: History) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(history)
    return {key: value for key, value in data.items() if key not in ("files", "couplings")}


def _no_history(history: History) -> tuple[Degradation, ...]:
    return () if _has_history(history) else (Degradation(what="git history", why=_no_history_because(history)),)


def _has_history(history: History) -> bool:
    return history.available and history.commits > 0


def _no_history_because(history: History) -> str:
    return history.reason or "there is no commit yet"


def _summary(survey: Survey, history: History, figures: dict[str, int]) -> str:
    meta = survey.metadata
    what = f"{project_name(survey)}{f' {meta.version}' if meta.version.strip('0.') else ''}"
    about = f": {meta.description.rstrip('.')}" if meta.description else ""
    shipped = [row for row in survey.packages if row.kind != "module"]
    sentences = [f"{what}{about}."]
    if figures["python_files"]:
        modules = sum(row.modules for row in survey.packages)
        names = f" in {listed([f'`{row.name}`' for row in shipped], 4)}" if shipped else ""
        sentences.append(
            f"{counted(modules, 'module')} with {counted(figures['code_lines'], 'line')} of Python{names}, "
            f"beside {counted(figures['test_lines'], 'line')} of tests."
        )
    else:
        sentences.append("There is no Python in it, so only files, history and documents were looked at.")
    others = [f"{row.language} ({number(row.lines)})" for row in survey.languages if row.language != "Python"]
    if others:
        sentences.append(f"Lines in other languages: {listed(others, 4)}.")
    sentences.append(_about_history(history))
    return " ".join(sentences)


def _about_history(history: History) -> str:
    if not _has_history(history):
        return f"There is no history to draw on: {_no_history_because(history)}."
    first, last = (datetime.fromtimestamp(at, UTC).date() for at in (history.first_at, history.last_at))
    scope = "" if history.complete else "the last "
    return (
        f"Its history: {scope}{counted(history.commits, 'commit')} by {counted(history.authors, 'author')}, "
        f"{f'{first} to {last}' if first != last else first}."
    )


def _parts(survey: Survey, history: History) -> tuple[Part, ...]:
    meta = survey.metadata
    reasons = Counter(item.reason for item in survey.snapshot.skipped)
    what = [
        f"project: {project_name(survey)} {meta.version} - {meta.description}",
        f"requires Python {meta.requires_python or 'unknown'}; build backend {meta.build_backend or 'unknown'}",
        f"README: {meta.readme or 'none'}; licence: {meta.licence or 'none'}; tests run by: {meta.test_runner}",
        f"continuous integration: {listed(list(meta.ci)) or 'none'}",
        f"dependencies: {listed(list(meta.dependencies), 30) or 'none declared'}",
        f"entry points: {listed(list(meta.entry_points), 10) or 'none'}",
        _about_history(history),
    ]
    packages = [
        f"{row.path}:1 {row.kind} `{row.name}`, {row.modules} modules, {row.lines} lines" for row in survey.packages
    ]
    languages = [f"{row.language}: {row.files} files, {row.lines} lines" for row in survey.languages]
    left_out = [f"{reason}: {count}" for reason, count in reasons.most_common()]
    churn = sorted(history.files, key=lambda row: -row.commits)[:40]
    busy = [f"{row.path}:1 {row.commits} commits by {row.authors} authors" for row in churn]
    rows = (
        ("project", what), ("packages", packages[:60]), ("most changed files", busy), ("languages", languages[:20]),
        ("left out", left_out),
    )  # fmt: skip
    return tuple(Part(path=name, text="\n".join(lines), kind="context") for name, lines in rows if lines)
