"""All faults of a project in one order: what ruff, bandit, vulture and complexipy say, and whom it concerns most."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from pegboard_codeanalysis.analysis import secret, snapshot
from pegboard_codeanalysis.analysis.model import (
    SEVERITIES,
    Degradation,
    FileEntry,
    FileFacts,
    Finding,
    History,
    Place,
    SecurityFacts,
    Severity,
    Snapshot,
)
from pegboard_codeanalysis.analysis.rules import beyond, rule_of

VERSION: Final = "4"
COMPLEX: Final = 25
"""Cognitive complexity from which a function is reported; complexipy itself warns from 15 on."""
_VERY_COMPLEX: Final = 60
_WORD: Final = re.compile(r"_\w+")
_WEIGHT: Final = {"high": 1000.0, "medium": 100.0, "low": 10.0, "note": 1.0}
_ASSERT: Final = "B101"
"""Asserts are gone with `-O`, which matters in a program; tests are made of them."""
_TEST_RULES: Final = frozenset(("F821", "F823", "syntax"))
"""What is a fault in a test as well as anywhere."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """All findings of one rule: one decision for whoever reads it."""

    rule: str
    tool: str
    severity: Severity
    title: str
    advice: str
    count: int
    files: int
    places: tuple[Place, ...]
    """The worst first."""
    messages: tuple[str, ...]
    """One for each place; nothing where it says no more than the title."""
    score: float


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found, in order."""

    findings: tuple[Finding, ...]
    analysed: int
    """Files that were looked into."""
    unparsed: tuple[Finding, ...]
    suppressed: int
    """Lines whose authors silenced a tool; their word is taken."""
    functions: int
    complex_functions: int
    degraded: tuple[Degradation, ...] = ()


def review_of(
    taken: Snapshot,
    facts: Mapping[str, FileFacts],
    security: Mapping[str, SecurityFacts],
    lint: Sequence[Finding],
    history: History,
    degraded: Sequence[Degradation] = (),
) -> Review:
    """Every finding, demoted where it is in tests, and the worst first."""
    roles = {entry.path: entry for entry in taken.files}
    found = [*lint, *(item for known in security.values() for item in known.findings)]
    found += [*secret.elsewhere(taken), *_complex(facts, roles), *_dead(taken, facts)]
    known = {item.place.path for item in lint if item.rule == "syntax"}
    more, odd = _unparsed(facts, known, lint_ran=not any(item.what == "ruff" for item in degraded))
    found += more
    churn = {row.path: row.commits for row in history.files}
    settled = [
        demoted(item, roles.get(item.place.path))
        for item in once(found)
        if not (item.rule == _ASSERT and _is_test(roles.get(item.place.path)))
    ]
    ordered = sorted(settled, key=lambda item: (*order(item, churn), item.place, item.rule))
    functions = [function for each in facts.values() for function in each.functions]
    return Review(
        findings=tuple(ordered),
        analysed=sum(not each.error for each in facts.values()),
        unparsed=tuple(item for item in ordered if item.rule == "syntax"),
        suppressed=sum(each.suppressed for each in facts.values()),
        functions=len(functions),
        complex_functions=sum(function.complexity >= COMPLEX for function in functions),
        degraded=(*degraded, *odd, *_failed(facts, security)),
    )


def order(finding: Finding, churn: Mapping[str, int]) -> tuple[int, float]:
    """What comes first: the graver, then the surer, and of those what is in code that is changed often."""
    often = min(churn.get(finding.place.path, 0), 50) / 50
    return SEVERITIES.index(finding.severity), -(finding.confidence * (1 + often))


def demoted(finding: Finding, entry: FileEntry | None) -> Finding:
    """The same finding, as a note where it is in tests or examples: nobody depends on these.

    In scripts of the project it is a step milder: they run on its own machines, on what its own people give them.
    """
    if entry is not None and entry.role == "tooling" and finding.rule not in _TEST_RULES:
        return msgspec.structs.replace(finding, severity=_milder(finding.severity))
    outside = entry is not None and entry.role in ("test", "example", "docs")
    if not outside or finding.severity == "note":
        return finding
    severity: Severity = "note"
    if finding.rule in _TEST_RULES and entry is not None and "/" in entry.path and finding.rule != "syntax":
        severity = "low"
    return msgspec.structs.replace(finding, severity=severity)


def _milder(severity: Severity) -> Severity:
    return SEVERITIES[min(SEVERITIES.index(severity) + 1, len(SEVERITIES) - 1)]


def _is_test(entry: FileEntry | None) -> bool:
    return entry is not None and entry.role == "test"


def groups(findings: Sequence[Finding], most_places: int = 8) -> tuple[Group, ...]:
    """Findings by rule and severity, the worst first; each names its first places."""
    rows: dict[tuple[str, str, Severity], list[Finding]] = defaultdict(list)
    for finding in findings:
        rows[finding.tool, finding.rule, finding.severity].append(finding)
    made = [_group(tool, rule, severity, some, most_places) for (tool, rule, severity), some in rows.items()]
    return tuple(sorted(made, key=lambda group: (SEVERITIES.index(group.severity), -group.score, group.rule)))


def _group(tool: str, name: str, severity: Severity, some: Sequence[Finding], most: int) -> Group:
    rule = rule_of(tool, name, some[0].message)
    return Group(
        rule=name,
        tool=tool,
        severity=severity,
        title=rule.title,
        advice=rule.advice,
        count=len(some),
        files=len({item.place.path for item in some}),
        places=tuple(item.place for item in some[:most]),
        messages=tuple(beyond(rule.title, item.message) for item in some[:most]),
        # The surest first; a rule that fires hundreds of times says more of the rule than of the code.
        score=round(_WEIGHT[severity] * max(item.confidence for item in some) / (1 + len(some) / 200), 3),
    )


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many there are of each severity."""
    found = Counter(item.severity for item in findings)
    return {severity: found[severity] for severity in SEVERITIES}


_SAME: Final = {
    "S110": "pass", "B110": "pass", "B308": "safe", "B703": "safe", "B303": "hash", "B324": "hash", "PLE2502": "bidi",
    "B613": "bidi", "B005": "strip", "PLE1310": "strip",
}  # fmt: skip
"""Rules of two tools, or two of one, that say the same."""


def once(findings: Sequence[Finding]) -> Iterator[Finding]:
    """What is said of a line twice is told once: the first has the word."""
    seen: set[tuple[str, str, int]] = set()
    for item in findings:
        key = (_SAME.get(item.rule, f"{item.tool}:{item.rule}:{item.message}"), item.place.path, item.place.line)
        if key not in seen:
            seen.add(key)
            yield item


# --- complexity and dead code ------------------------------------------------------------------------------------


def _complex(facts: Mapping[str, FileFacts], roles: Mapping[str, FileEntry]) -> Iterator[Finding]:
    for path, known in facts.items():
        if roles[path].role != "code":
            continue
        for function in known.functions:
            if function.complexity >= COMPLEX:
                yield Finding(
                    rule="complexity", tool="complexipy", place=Place(path, function.line),
                    severity="medium" if function.complexity >= _VERY_COMPLEX else "low",
                    message=f"`{function.name}` has a cognitive complexity of {function.complexity} "
                    f"in {function.end - function.line + 1} lines",
                    confidence=min(1.0, 0.4 + function.complexity / 200),
                )  # fmt: skip


def _dead(taken: Snapshot, facts: Mapping[str, FileFacts]) -> Iterator[Finding]:
    """Code that is never reached, and private names that nothing in the whole repository mentions."""
    used = {name for known in facts.values() for name in known.used}
    unused = {item.name for known in facts.values() for item in known.defined} - used
    if unused:
        unused -= _mentioned(taken, unused)
    # A name may be put together from a beginning that ends with `_` and something else.
    starts = tuple(name for name in used if name.endswith("_") and len(name) > 3)
    for path, known in facts.items():
        for item in known.unreachable:
            yield Finding(
                rule="unreachable", tool="vulture", severity="low", message=item.message, confidence=0.95,
                place=Place(path, item.line),
            )  # fmt: skip
        for item in known.defined:
            if item.name in unused and not (starts and item.name.startswith(starts)):
                yield Finding(
                    rule="unused", tool="vulture", severity="low", place=Place(path, item.line), confidence=0.7,
                    message=f"the {item.kind} `{item.name}` is mentioned nowhere else in the repository",
                )  # fmt: skip


def _mentioned(taken: Snapshot, names: set[str]) -> set[str]:
    """Those of the names that occur in files of other languages: templates, documentation, configuration."""
    found: set[str] = set()
    for entry in taken.files:
        if entry.is_python and entry.is_judged:
            continue
        try:
            text = snapshot.read(f"{taken.root}/{entry.path}").decode("utf-8", "replace")
        except OSError:
            continue
        if "_" in text:
            found.update(names.intersection(_WORD.findall(text)))
    return found


# --- what could not be read --------------------------------------------------------------------------------------


def _unparsed(
    facts: Mapping[str, FileFacts], known: set[str], *, lint_ran: bool
) -> tuple[list[Finding], list[Degradation]]:
    """Files that Python cannot parse: faults, unless ruff can, which knows newer Pythons than the one that runs."""
    faults, odd = [], []
    for path, each in facts.items():
        if not each.error or path in known:
            continue
        if lint_ran:
            odd.append(Degradation(what=path, why=f"not parsed by this version of Python: {each.error}"))
        else:
            place = Place(path, each.error_line)
            faults.append(Finding(rule="syntax", tool="python", severity="high", message=each.error, place=place))
    return faults, odd


def _failed(facts: Mapping[str, FileFacts], security: Mapping[str, SecurityFacts]) -> Iterator[Degradation]:
    for path, known in facts.items():
        for reason in known.missing:
            yield Degradation(what=path, why=reason)
    for path, found in security.items():
        if found.failed and not (path in facts and facts[path].error):
            yield Degradation(what=path, why=f"bandit: {found.failed}")
