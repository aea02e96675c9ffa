"""Weaknesses in one Python file, as bandit finds them. The target's own configuration of bandit is not read."""

from __future__ import annotations

import logging
import warnings
from importlib.metadata import version
from typing import Any, Final

from pegboard_codeanalysis.analysis.model import Finding, Place, SecurityFacts, Severity, sound
from pegboard_codeanalysis.analysis.rules import told

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of bandit 1.9 with stevedore 5.10, which is nobody's business here
    from bandit.core import config, manager  # type: ignore[import-untyped]  # it has no types

VERSION: Final = f"3:{version('bandit')}"
_SURE: Final = {"HIGH": 0.9, "MEDIUM": 0.6, "LOW": 0.3, "UNDEFINED": 0.3}
_SEVERITY: Final[dict[tuple[str, str], Severity]] = {
    ("HIGH", "HIGH"): "high",
    ("HIGH", "MEDIUM"): "medium",
    ("MEDIUM", "HIGH"): "medium",
    ("HIGH", "LOW"): "low",
    ("MEDIUM", "MEDIUM"): "low",
}
"""By bandit's severity and confidence; everything else is a note."""
_MILD: Final = frozenset(("B308", "B613", "B703", *(f"B{number}" for number in range(313, 320))))
"""Often harmless: escaped markup, Arabic formats, and XML, which today's `expat` keeps from growing without end."""


class Bandit:
    """Bandit, set up once for many files."""

    def __init__(self) -> None:
        logging.getLogger("bandit").setLevel(logging.CRITICAL + 1)
        logging.getLogger("stevedore").setLevel(logging.CRITICAL + 1)
        self._config = config.BanditConfig()
        self._manager: Any = manager.BanditManager(self._config, "file", quiet=True)

    def look(self, full: str, path: str) -> SecurityFacts:
        """What is found in a file; `path` is what its places are called."""
        bandit = self._manager
        bandit.results, bandit.skipped, bandit.files_list, bandit.scores = [], [], [full], []
        bandit.run_tests()
        bandit.metrics.data.pop(full, None)
        failed = "; ".join(str(reason) for _, reason in bandit.skipped)
        return SecurityFacts(findings=tuple(_finding(issue, path) for issue in bandit.results), failed=failed)


def _severity(issue: Any) -> Severity:
    severity = _SEVERITY.get((issue.severity, issue.confidence), "note")
    return "low" if severity == "medium" and issue.test_id in _MILD else severity


def _finding(issue: Any, path: str) -> Finding:
    return Finding(
        rule=issue.test_id,
        tool="bandit",
        severity=_severity(issue),
        message=sound(told("bandit", issue.test_id, issue.text)),
        place=Place(path, issue.lineno),
        confidence=_SURE.get(issue.confidence, 0.3),
    )
