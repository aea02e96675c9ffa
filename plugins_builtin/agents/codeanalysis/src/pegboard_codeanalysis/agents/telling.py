"""What a person is told in the terminal: counts in words, claims and findings with their places, and how many more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pegboard_codeanalysis.agents.evidence import Claim, sentence
from pegboard_codeanalysis.agents.words import counted, paragraph
from pegboard_codeanalysis.analysis.model import SEVERITIES
from pegboard_codeanalysis.analysis.review import Group

MOST_PLACES: Final = 3
_INDENT: Final = 8


def severities(counts: Mapping[str, int]) -> str:
    """`1 high, 2 medium, 27 notes`: those that there are."""
    found = [(name, counts.get(name, 0)) for name in SEVERITIES]
    return ", ".join(counted(count, name, "notes" if name == "note" else name) for name, count in found if count)


def places(shown: Sequence[str], count: int) -> str:
    """The first places of something, and how many more there are."""
    first = shown[:MOST_PLACES]
    more = max(count, len(shown)) - len(first)
    return "  ".join(first) + (f"  and {more} more" if more else "")


def told(severity: str, text: str, where: str) -> list[str]:
    """Something that was found: how grave, what, and in the next line where."""
    return [
        paragraph(f"{severity:<6}  {text}", indent=_INDENT),
        " " * _INDENT + paragraph(where, indent=_INDENT),
    ]


def claims_told(claims: Sequence[Claim]) -> list[str]:
    """Each claim in its lines."""
    return [line for claim in claims for line in told(claim.severity, claim.claim, places(claim.evidence, claim.count))]


def groups_told(groups: Sequence[Group], most: int, rest: str) -> list[str]:
    """Groups of findings, each in its lines; of those beyond `most`, how many findings they hold and where they are."""
    lines = []
    for group in groups[:most]:
        lines += told(group.severity, sentence(group), places([str(place) for place in group.places], group.count))
    if len(groups) > most:
        left = sum(group.count for group in groups[most:])
        lines.append(f"and {counted(left, 'more finding')}, in {rest}")
    return lines


def text_of(output: Mapping[str, Any], claims: Sequence[Claim]) -> str:
    """The output of one agent."""
    lines = [paragraph(text) for text in (output["model_said"], output["summary"]) if text]
    lines += ["", *claims_told(claims)] if claims else []
    dropped = dropped_told(len(output["dropped_claims"]))
    lines += ["", dropped] if dropped else []
    degraded = output["degraded"]
    if degraded:
        lines += ["", paragraph(not_analysed(len(degraded), degraded[0]["what"], degraded[0]["why"]))]
    return "\n".join(lines)


def dropped_told(count: int) -> str:
    """What became of claims without a line; nothing where there were none."""
    if not count:
        return ""
    return f"{counted(count, 'claim')} of the model {'names' if count == 1 else 'name'} no line that exists: left out."


def not_analysed(count: int, what: str, why: str) -> str:
    """What is missing, of several the first."""
    return f"{counted(count, 'thing')} not or not wholly analysed, first: {what}: {why}"
