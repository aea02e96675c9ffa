"""One test per rule: `pytest --pyargs pegboard_testing.conformance --plugin DIST [--tier bronze]`."""

from __future__ import annotations

import pytest

from pegboard_testing.conformance import Rule, Subject, find_subject, judge


@pytest.fixture(scope="session")
def conformance_subject(request: pytest.FixtureRequest) -> Subject:
    """The plugin that `--plugin` names."""
    return find_subject(request.config.getoption("--plugin"))


def test_rule(conformance_rule: Rule, conformance_subject: Subject) -> None:
    """The rule holds, or the manifest says why it does not apply."""
    result = judge(conformance_rule, conformance_subject)
    if result.status in ("exempt", "skipped"):
        pytest.skip(f"{result.status}: {'; '.join(result.problems)}")
    if result.status == "failed":
        problems = "\n".join(f"  {problem}" for problem in result.problems)
        pytest.fail(f"{result.text}:\n{problems}", pytrace=False)
