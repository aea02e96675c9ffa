"""What loops do again and again: each rule finds what it is about, and keeps silent where it cannot be told."""

from __future__ import annotations

import pytest
from pegboard_codeanalysis.analysis.loops import findings


def found(source: str) -> list[tuple[str, int]]:
    """The rules and lines of what is found."""
    return [(item.rule, item.place.line) for item in findings(source.encode(), "a.py")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("for a in rows:\n    for b in rows:\n        f(a, b)\n", [("nested-loop", 2)]),
        ("for a in rows.items():\n    if a:\n        for b in rows.items():\n            f(b)\n", [("nested-loop", 3)]),
        ("for a in rows:\n    for b in a:\n        f(b)\n", []),
        ("for a in rows:\n    for b in others:\n        f(b)\n", []),
        ("for a in (1, 2):\n    for b in (1, 2):\n        f(b)\n", []),
        ("for a in rows:\n    rows = f(a)\n    for b in rows:\n        f(b)\n", []),
        ("for a in rows:\n    def g():\n        for b in rows:\n            f(b)\n", []),
    ],
)
def test_a_loop_over_the_same_data_inside_a_loop(source: str, expected: list[tuple[str, int]]) -> None:
    """Over what has the same name, and means the same in every round."""
    assert found(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("seen = []\nfor a in rows:\n    if a not in seen:\n        seen.append(a)\n", [("list-search", 3)]),
        ("names = text.split()\nwhile rows:\n    f(rows.pop() in names)\n", [("list-search", 3)]),
        ("seen = set()\nfor a in rows:\n    f(a in seen)\n", []),
        ("few = ['a', 'b']\nfor a in rows:\n    f(a in few)\n", []),
        ("seen = []\nseen = set(seen)\nfor a in rows:\n    f(a in seen)\n", []),
        ("seen = []\nf(1 in seen)\n", []),
    ],
)
def test_a_list_that_is_searched_in_a_loop(source: str, expected: list[tuple[str, int]]) -> None:
    """What is surely a list, and may be long."""
    assert found(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("for a in rows:\n    db = sqlite3.connect('x')\n", [("open-in-loop", 2)]),
        ("for a in rows:\n    p = re.compile('x+')\n", [("open-in-loop", 2)]),
        ("for a in rows:\n    with open('log', 'a') as f:\n        f.write(a)\n", [("open-in-loop", 2)]),
        ("for a in rows:\n    f = open(a)\n", []),
        ("for a in rows:\n    p = a.strip()\n    f = open(p)\n", []),
        ("for a in rows:\n    try:\n        connect('x')\n        break\n    except E:\n        f(a)\n", []),
        ("while True:\n    db = connect('x')\n", []),
    ],
)
def test_the_same_is_opened_in_every_round(source: str, expected: list[tuple[str, int]]) -> None:
    """What does not depend on the round; who leaves the loop early, tries again."""
    assert found(source) == expected


def test_what_cannot_be_parsed_has_no_loops() -> None:
    """Others tell of that."""
    assert found("for a in:\n") == []
