"""Patterns of an input schema: what could search for ever is refused, and what people write is not."""

from __future__ import annotations

import pytest
from pegboard_workflow import Flow, Problem, workflow_of
from pegboard_workflow.check import problems_of
from pegboard_workflow.model import Share
from pegboard_workflow.regexes import is_runaway, patterns_of


@pytest.mark.parametrize(
    "pattern",
    [
        "^(a+)+$",
        "^(a*)*$",
        "(aa?)*",
        r"^(\w+\s*)+$",
        "([a-z]+-?)*",
        "(,?a+,,?)*",
        "(.*a){20}",
        "(?i)(a+A)*",
        "(?s)(.*\n)*",
        "((a+)b)*(c|(d+)+)*",
        r"((x)+,\2)*",
        "(ab|[a-z][bc])*",
        "(a*,a*)*",
        "(a*a*,)*",
        "(a(|)(|))*",
        "(?=(a+)+$)",
        "((a)|(b))*(?(1)c|(d+)+)",
        "(a+,)*" + "x" * 3000,
    ],
)
def test_what_can_be_cut_in_many_ways_is_found(pattern: str) -> None:
    """What is repeated can be cut into repetitions, or each of these into its parts, in more than one way."""
    assert is_runaway(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(\w+\.)+\w+$",
        "^[a-z]+(-[a-z]+)*$",
        r"^(\d{1,3}\.){3}\d{1,3}$",
        "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==)?$",
        r"^([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,}$",
        r'^"(\\.|[^"\\])*"$',
        "(foo|bar)+",
        "^(https?|ftp)://",
        "(a(|b))*",
        "^.{1,255}$",
        r"^(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?$",
        "^([0-9a-f]{32})*$",
        "^([^,]*,)*[^,]*$",
        r"^(\s*\w+\s*,)*$",
        "(",
    ],
)
def test_what_can_be_cut_in_one_way_is_let_be(pattern: str) -> None:
    """Names, addresses, versions, quoted texts; and what is no pattern, which its use tells."""
    assert not is_runaway(pattern)


def test_patterns_are_found_wherever_they_are_applied() -> None:
    """At any depth, and as the keys of `patternProperties`; not in what is data."""
    schema = {
        "properties": {"pattern": {"anyOf": [{"pattern": "a"}]}, "x": {"patternProperties": {"b": {"pattern": "c"}}}},
        "default": {"pattern": "d"},
    }

    assert sorted(patterns_of(schema)) == ["a", "b", "c"]


@pytest.mark.parametrize("key", ["input", "output_schema"])
def test_a_schema_that_could_search_for_ever_is_refused(key: str) -> None:
    """Nothing could end the search: neither a limit nor a signal."""
    data = {"nodes": {"a": {"transform": "text"}}, key: {"type": "string", "pattern": "^(a+)+$"}}
    (problem,) = problems_of(workflow_of(data))

    assert (problem.code, problem.node) == ("workflow.schema", None)
    assert f"`{key}`: the pattern `^(a+)+$`" in problem.message


@pytest.mark.parametrize("amount", [float("inf"), float("nan"), -1, 1e13])
@pytest.mark.parametrize("part", ["min", "optimal"])
def test_a_share_is_a_number_that_can_be_shared_out(amount: float, part: str) -> None:
    """Refused before anything runs, and not by the arithmetic later."""
    flow = Flow("flow")
    flow.add("a", transform="text", tokens=Share(**{part: amount}))
    (problem,) = problems_of(flow.build())

    assert isinstance(problem, Problem)
    assert (problem.code, problem.node) == ("workflow.schema", "a")
    assert f"`tokens`: `{part}` is" in problem.message
