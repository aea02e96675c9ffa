"""The conformance suites: rules that every plugin is checked by, and suites for each role a plugin can have.

`run_conformance` checks an installed plugin; `pytest --pyargs pegboard_testing.conformance --plugin DIST` does the same
with one test per rule. The suites of `roles` are classes to inherit from in a plugin's own tests.
"""

from __future__ import annotations

from pegboard_testing.conformance.rules import RULES, Rule, RuleResult, judge, rules_of, run_conformance
from pegboard_testing.conformance.subject import Subject, UnknownPluginError, find_subject

__all__ = [
    "RULES",
    "Rule",
    "RuleResult",
    "Subject",
    "UnknownPluginError",
    "find_subject",
    "judge",
    "rules_of",
    "run_conformance",
]
