"""Claims and their evidence: a claim stands only on lines that exist; what has none is dropped, and listed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from pegboard_codeanalysis.analysis.model import SEVERITIES, FileEntry, Severity
from pegboard_codeanalysis.analysis.review import Group

_EVIDENCE: Final = re.compile(r"`?\s*(?:\./)?(.+?):(?:L)?(\d{1,7})(?:[-:]\d+)?\s*`?")
MOST_PLACES: Final = 5


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is said of the project, and where it is to be seen."""

    claim: str
    severity: Severity
    evidence: tuple[str, ...]
    """As `path:line`."""
    by: str = "computation"
    """`computation` or `model`."""
    count: int = 0
    """In how many places it is so, where more are known than named."""


class Dropped(msgspec.Struct, frozen=True):
    """A claim that was not passed on."""

    claim: str
    reason: str


class Lines:
    """Which lines there are."""

    def __init__(self, files: Iterable[FileEntry]) -> None:
        self._lines = {entry.path: max(1, entry.lines) for entry in files}

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Lines:
        """From the number of lines of each file."""
        made = cls(())
        made._lines = dict(counts)
        return made

    def fault(self, text: str) -> str | None:
        """Why a piece of evidence is none; `None` where the line exists."""
        match = _EVIDENCE.fullmatch(text.strip())
        if match is None:
            return f"`{text[:100]}` is no `path:line`"
        path, line = match[1], int(match[2])
        if path not in self._lines:
            return f"there is no file `{path[:200]}`"
        if not 1 <= line <= self._lines[path]:
            return f"`{path}` has {self._lines[path]} lines, and not a line {line}"
        return None

    def plain(self, text: str) -> str:
        """A piece of evidence that holds, as it is written in reports."""
        match = _EVIDENCE.fullmatch(text.strip())
        assert match is not None
        return f"{match[1]}:{int(match[2])}"


def checked(claims: Sequence[Claim], lines: Lines) -> tuple[tuple[Claim, ...], tuple[Dropped, ...]]:
    """The claims that stand, each with the evidence that holds, and those that do not."""
    kept, dropped = [], []
    for claim in claims:
        faults = [lines.fault(text) for text in claim.evidence]
        sound = [lines.plain(text) for text, fault in zip(claim.evidence, faults, strict=True) if fault is None]
        if sound:
            kept.append(msgspec.structs.replace(claim, evidence=tuple(dict.fromkeys(sound))[:MOST_PLACES]))
        else:
            reason = next((fault for fault in faults if fault), "it names no line")
            dropped.append(Dropped(claim.claim, reason))
    return tuple(kept), tuple(dropped)


def of_groups(groups: Sequence[Group], most: int) -> tuple[Claim, ...]:
    """What the computation itself claims: a sentence for each rule, the worst first; notes are not worth one."""
    made: list[Claim] = []
    for group in groups:
        if group.severity == "note" or len(made) >= most:
            continue
        made.append(
            Claim(
                claim=sentence(group),
                severity=group.severity,
                evidence=tuple(str(place) for place in group.places[:MOST_PLACES]),
                count=group.count,
            )
        )
    return tuple(made)


def sentence(group: Group) -> str:
    """A group in words: what, how often, and why it matters."""
    title, first = f"{group.title[:1].upper()}{group.title[1:]}", group.messages[0].rstrip(".")
    if group.count == 1:
        return f"{title}{f': {first}' if first else ''}. {group.advice}".strip()
    files = f"{group.files} files" if group.files > 1 else "one file"
    return f"{title} ({group.count} places in {files}). {group.advice}{f' First: {first}.' if first else ''}".strip()


def from_model(data: Any) -> tuple[Claim, ...]:
    """The claims in a model's answer, whatever else it holds."""
    found = []
    for item in data if isinstance(data, list | tuple) else ():
        if isinstance(item, Mapping) and isinstance(item.get("claim"), str) and item["claim"].strip():
            severity = item.get("severity")
            evidence = item.get("evidence")
            texts = [evidence] if isinstance(evidence, str) else evidence if isinstance(evidence, list) else []
            found.append(
                Claim(
                    claim=item["claim"].strip()[:1000],
                    severity=severity if severity in SEVERITIES else "note",
                    evidence=tuple(text for text in texts if isinstance(text, str)),
                    by="model",
                )
            )
    return tuple(found)
