"""The findings as SARIF 2.1.0, which code hosts and editors show beside the lines."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from pegboard_codeanalysis.analysis.model import Finding, Place, Severity
from pegboard_codeanalysis.analysis.rules import rule_of

VERSION: Final = "2.1.0"
SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: Final[dict[Severity, str]] = {"high": "error", "medium": "warning", "low": "note", "note": "note"}
_RANKS: Final[dict[Severity, float]] = {"high": 90.0, "medium": 60.0, "low": 30.0, "note": 10.0}


def sarif_of(findings: Sequence[Finding], *, versions: Mapping[str, str]) -> dict[str, Any]:
    """The log file as plain data. Places are relative to `SRCROOT`, so that it means the same on every machine."""
    rules: dict[str, int] = {}
    for finding in findings:
        rules.setdefault(_id(finding), len(rules))
    first = {_id(finding): finding for finding in reversed(findings)}
    driver = {
        "name": "pegboard-codeanalysis",
        "version": versions.get("pegboard-codeanalysis", "0"),
        "rules": [_rule(name, first[name]) for name in rules],
    }
    run = {
        "tool": {"driver": driver, "extensions": [{"name": k, "version": v} for k, v in sorted(versions.items())]},
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The folder that was analysed."}}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, rules[_id(finding)]) for finding in findings],
    }
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def _id(finding: Finding) -> str:
    return f"{finding.tool}/{finding.rule}"


def _rule(name: str, finding: Finding) -> dict[str, Any]:
    known = rule_of(finding.tool, finding.rule, finding.message)
    rule: dict[str, Any] = {
        "id": name,
        "name": "".join(part.capitalize() for part in finding.rule.replace("_", "-").split("-")),
        "shortDescription": {"text": known.title},
        "defaultConfiguration": {"level": _LEVELS[finding.severity]},
    }
    if known.advice:
        rule["help"] = {"text": known.advice}
    return rule


def _result(finding: Finding, index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": _id(finding),
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "rank": round(_RANKS[finding.severity] + 9 * finding.confidence, 1),
        "message": {"text": finding.message},
        "locations": [_location(finding.place)],
        "partialFingerprints": {"pegboard/v1": _fingerprint(finding)},
        "properties": {"severity": finding.severity, "confidence": finding.confidence},
    }
    if finding.related:
        related = [{"id": number, **_location(place)} for number, place in enumerate(finding.related, 1)]
        result["relatedLocations"] = related
    return result


def _location(place: Place) -> dict[str, Any]:
    artifact = {"uri": quote(place.path), "uriBaseId": "SRCROOT"}
    physical: dict[str, Any] = {"artifactLocation": artifact}
    if place.line >= 1:
        physical["region"] = {"startLine": place.line}
    return {"physicalLocation": physical}


def _fingerprint(finding: Finding) -> str:
    """The same after lines were added above: rule, file and message, and not the line."""
    text = "\0".join((finding.tool, finding.rule, finding.place.path, finding.message))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
