"""The conformance suite: one test per rule of the tier; `peg plugins check` runs the same."""

from pegboard_testing.conformance.test_conformance import conformance_subject, test_rule

__all__ = ["conformance_subject", "test_rule"]
