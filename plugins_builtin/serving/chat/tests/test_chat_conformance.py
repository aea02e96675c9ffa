"""The conformance suite: one test per rule of the tier; `peg plugins check` runs the same."""

from __future__ import annotations

import pytest
from pegboard_testing.conformance import Subject, find_subject
from pegboard_testing.conformance.test_conformance import test_rule

__all__ = ["test_rule"]


@pytest.fixture(scope="session")
def conformance_subject() -> Subject:
    return find_subject("chat")
