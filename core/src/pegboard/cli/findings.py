"""How findings of the doctors are shown, and what they mean for the exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from pegboard.cli.contract import Answer, Output
from pegboard.errors import ConfigError, PegboardError, PluginError
from pegboard.types import HealthFinding

_SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def answer_of(findings: Sequence[HealthFinding], data: dict[str, Any], *, config_broken: bool) -> Answer:
    """The findings, the worst of which decides: 0, 3 for plugins, 4 for configuration."""
    out = Output.current()
    lines = [line for finding in findings for line in _lines(finding, out)]
    counts = {status: sum(finding.status == status for finding in findings) for status in _SIGNS}
    lines += ["", ", ".join(f"{count} {status}" for status, count in counts.items())]
    error: PegboardError | None = None
    if counts["fail"]:
        cls = ConfigError if config_broken else PluginError
        error = cls(f"{counts['fail']} findings need a hand", hint=_first_fix(findings))
    return Answer({**data, "findings": msgspec.to_builtins(list(findings))}, "\n".join(lines), error=error)


def _lines(finding: HealthFinding, out: Output) -> list[str]:
    sign, color = _SIGNS[finding.status]
    mark = finding.status if out.plain or not _can_print(sign) else f"{sign} {finding.status}"
    head = f"{out.style(mark, out.data, fg=color)}  {finding.what}"
    return [head, f"      fix: {finding.fix}"] if finding.fix and finding.status != "ok" else [head]


def _can_print(sign: str) -> bool:
    try:
        sign.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _first_fix(findings: Sequence[HealthFinding]) -> str | None:
    return next((finding.fix for finding in findings if finding.status == "fail" and finding.fix), None)
