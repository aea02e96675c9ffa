"""Weaknesses in one Python file: what bandit finds, judged by what is around it, and secrets.

The target's own configuration of bandit is not read.
"""

from __future__ import annotations

import ast
import logging
import re
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Final

from pegboard_codeanalysis.analysis import injection, secret, snapshot
from pegboard_codeanalysis.analysis.model import SEVERITIES, Finding, Place, SecurityFacts, Severity, sound
from pegboard_codeanalysis.analysis.rules import told

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of bandit 1.9 with stevedore 5.10, which is nobody's business here
    from bandit.core import config, manager  # type: ignore[import-untyped]  # it has no types

VERSION: Final = f"4:{version('bandit')}"
_SURE: Final = {"HIGH": 0.9, "MEDIUM": 0.6, "LOW": 0.3, "UNDEFINED": 0.3}
_SEVERITY: Final[dict[tuple[str, str], Severity]] = {
    ("HIGH", "HIGH"): "high",
    ("HIGH", "MEDIUM"): "medium",
    ("MEDIUM", "HIGH"): "medium",
    ("HIGH", "LOW"): "low",
    ("MEDIUM", "MEDIUM"): "low",
}
"""By bandit's severity and confidence; everything else is a note."""
_AT_MOST: Final[dict[str, Severity]] = {
    **dict.fromkeys(("B202", "B304", "B505", "B701"), "medium"),
    **dict.fromkeys(("B308", "B312", "B321", "B613", "B703", *(f"B{number}" for number in range(313, 320))), "low"),
    **dict.fromkeys((f"B{number}" for number in range(401, 416)), "note"),
}
"""What cannot be exploited as it stands: it depends on what it is used for, on data of others, or is but an import.
Markup may be escaped, Arabic is written from the right, and today's `expat` keeps XML from growing without end.
"""
_HASHES: Final = ("B303", "B324")
_SQL: Final = "B608"
_OURS: Final = ("B105", "B106", "B107")
"""Of secrets: bandit goes by names alone, and repeats what it finds."""
_GUARDS: Final = re.compile(r"passw|pwd|secret|token|signature|signing|signer|hmac|credential|csrf", re.IGNORECASE)


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
        source = _Source(full)
        found = [*_issues(bandit.results, path, source), *secret.found(path, source.text)]
        return SecurityFacts(findings=tuple(found), failed=failed)


class _Source:
    """The text of a file, and its tree once that is asked for."""

    def __init__(self, full: str) -> None:
        self.text = snapshot.read(full).decode("utf-8", "replace")
        self._tree: ast.Module | None = None

    def tree(self) -> ast.Module:
        if self._tree is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes are the linter's business
                self._tree = ast.parse(self.text)
        return self._tree

    def around(self, line: int) -> str:
        """What a line and everything around it is called."""
        holders = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        names = [
            node.name
            for node in ast.walk(self.tree())
            if isinstance(node, holders) and node.lineno <= line <= (node.end_lineno or 0)
        ]
        lines = self.text.splitlines()
        return " ".join([*names, *lines[line - 1 : line]])


def _issues(issues: Any, path: str, source: _Source) -> Iterator[Finding]:
    for issue in issues:
        severity = None if issue.test_id in _OURS else _severity(issue, source)
        if severity is not None:
            yield _finding(issue, path, severity)


def _severity(issue: Any, source: _Source) -> Severity | None:
    """How grave it is here; `None` where it is nothing."""
    if issue.test_id in _HASHES:
        return "medium" if _GUARDS.search(source.around(issue.lineno)) else "low"
    if issue.test_id == _SQL:
        return injection.severity_of(source.tree(), issue.lineno)
    severity = _SEVERITY.get((issue.severity, issue.confidence), "note")
    return max(severity, _AT_MOST.get(issue.test_id, "high"), key=SEVERITIES.index)


def _finding(issue: Any, path: str, severity: Severity) -> Finding:
    sure = 0.9 if severity == "high" else _SURE.get(issue.confidence, 0.3)
    return Finding(
        rule=issue.test_id,
        tool="bandit",
        severity=severity,
        message=secret.masked(sound(told("bandit", issue.test_id, issue.text))),
        place=Place(path, issue.lineno),
        confidence=sure,
    )
