"""References, conditions and transforms: what they mean, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pegboard_workflow.conditions import BadCondition, Condition
from pegboard_workflow.errors import NodeDataError
from pegboard_workflow.references import Absent, BadReference, IsAbsent, Scope, compile_value, parse, references
from pegboard_workflow.transforms import NAMED

NAMES = ["review", "gone"]
SCOPE = Scope(
    {"path": "src", "n": 3, "list": [1, 2], "odd key": True, "draft": False},
    [{"findings": [{"line": 7}], "score": 0.9}, Absent("gone", "it broke")],
    {"item": "x", "round": 2},
)


def made(data: Any) -> Any:
    return compile_value(data, NAMES.index)(SCOPE)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("$input.path", "src"),
        ("$input.list[1]", 2),
        ('$input["odd key"]', True),
        ("$nodes.review.findings[0].line", 7),
        ("$nodes.gone?", None),
        ("$nodes.review.nothing?", None),
        ("$item", "x"),
        ("plain", "plain"),
        ("in ${input.path}: ${nodes.review.score}", "in src: 0.9"),
        ("${input.list} and ${nodes.gone?}.", "[1,2] and ."),
        ("$$5", "$5"),
        ("costs $$${input.n}", "costs $3"),
        ({"a": ["$input.n", 4], "b": {"c": "$item"}}, {"a": [3, 4], "b": {"c": "x"}}),
        (None, None),
    ],
)
def test_values(data: Any, value: Any) -> None:
    """A reference is the value itself, inside a text it becomes text, and everything else is as it stands."""
    assert made(data) == value


def test_an_absent_value_is_not_passed_over() -> None:
    """Without a question mark it is no value, not even inside a text."""
    for data in ("$nodes.gone", "$nodes.gone.x", "about ${nodes.gone}", ["$nodes.gone"]):
        with pytest.raises(IsAbsent):
            made(data)


@pytest.mark.parametrize(
    "text", ["$", "$input.", "$nodes", "$nodes.", "$input[-1]", "$env.HOME", "$input.__x__()", "$x"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    """Nothing that begins with a dollar sign is quietly text."""
    with pytest.raises(BadReference):
        list(references(text))


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but `BadReference` comes out of a text."""
    try:
        list(references(text))
    except BadReference:
        return
    compile_value(text, lambda name: 0)


def test_a_reference_is_written_as_it_was_read() -> None:
    """Its text leads back to it."""
    for text in ("nodes.a.b[0]", 'input["x y"].z?', "item"):
        assert str(parse(text)) == f"${text}"


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("$input.n == 3", True),
        ("$input.n != 3", False),
        ("$input.n > 2 and $nodes.review.score >= 0.9", True),
        ("not $input.draft", True),
        ("not not $input.draft", False),
        ("$input.draft or $input.path == 'src'", True),
        ("$input.draft or ($input.n < 3 and true)", False),
        ("'sr' in $input.path", True),
        ("2 in $input.list", True),
        ('"n" in $input', True),
        ("$nodes.gone is absent", True),
        ("$nodes.gone is present", False),
        ("$nodes.review.findings is present", True),
        ("$nodes.gone.score > 3", False),
        ("$nodes.gone == null", True),
        (r"'it\'s' == \"it's\"".replace('\\"', '"'), True),
        ("-1.5e1 < 0", True),
        ("$input.list", True),
    ],
)
def test_conditions(condition: str, holds: bool) -> None:
    """Comparison, presence, `in`, and the three words; what is not there is nothing."""
    assert Condition(condition).compiled(NAMES.index)(SCOPE) is holds


@pytest.mark.parametrize(
    "condition",
    ["", "1 ==", "== 1", "(1", "1)", "1 1", "a", "$input.n is", "1 is present", "$input.n = 3", "f(1)", "1 + 1",
     "x.__class__", "(" * 40 + "1" + ")" * 40, "1 or " * 2000 + "1"],
)  # fmt: skip
def test_what_is_no_condition_is_refused(condition: str) -> None:
    """There are no calls, no names, no arithmetic, and no end of brackets."""
    with pytest.raises(BadCondition):
        Condition(condition)


@given(st.text(alphabet="$inputodesar.()[]\"'=!<> 019\\", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_condition_is_read_or_refused(text: str) -> None:
    """Nothing but `BadCondition` comes out of a text."""
    try:
        Condition(text)
    except BadCondition:
        pass


def test_values_of_different_kinds_have_no_order() -> None:
    """That is told, and does not count as false."""
    with pytest.raises(NodeDataError, match="text `<` a number cannot be compared"):
        Condition("$input.path < 3").compiled(NAMES.index)(SCOPE)


@pytest.mark.parametrize(
    ("name", "value", "result"),
    [
        ("compact", [1, None, {"absent": True}], [1]),
        ("compact", {"a": None, "b": 1}, {"b": 1}),
        ("count", "four", 4),
        ("count", [1], 1),
        ("first", [], None),
        ("first", [1, 2], 1),
        ("last", [1, 2], 2),
        ("flatten", [[1], [2, 3], 4], [1, 2, 3, 4]),
        ("flatten", {"a": [1], "b": 2}, [1, 2]),
        ("join", ["a", {"b": 1}], 'a\n\n{"b":1}'),
        ("json", '{"a": [1]}', {"a": [1]}),
        ("keys", {"a": 1}, ["a"]),
        ("lines", "a\nb", ["a", "b"]),
        ("merge", [{"a": 1}, {"a": 2, "b": 3}], {"a": 2, "b": 3}),
        ("sort", [3, 1], [1, 3]),
        ("sort", [{"a": 2}, {"a": 1}], [{"a": 1}, {"a": 2}]),
        ("text", {"a": 1}, '{"a":1}'),
        ("unique", [1, 2, 1, {"a": 1}, {"a": 1}], [1, 2, {"a": 1}]),
        ("values", {"a": 1}, [1]),
    ],
)
def test_transforms(name: str, value: Any, result: Any) -> None:
    """Each is pure, and does what its name says."""
    assert NAMED[name](value) == result


@pytest.mark.parametrize("name", sorted(set(NAMED) - {"text", "lines"}))
def test_a_transform_refuses_what_it_does_not_take(name: str) -> None:
    """With the name of the transform, and what it got."""
    with pytest.raises(NodeDataError, match=name):
        NAMED[name](5)
