"""Thinking in tags within the text, told apart however it is cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pegboard_local.thinking import ThinkingSplitter

PIECES = st.sampled_from(
    ["<think>", "</think>", "<", "</", "think>", " ", "\n", "a", "Yes.", "<thinking>", "</thin", ">", "é"]
)


def split(deltas: Iterable[str]) -> tuple[str, str]:
    """Thinking and text of an answer that comes in these deltas."""
    splitter = ThinkingSplitter()
    chunks = [chunk for delta in deltas for chunk in splitter.feed(delta)]
    chunks += splitter.end()
    assert all(chunk.text or chunk.thinking for chunk in chunks), "an empty delta"
    return "".join(chunk.thinking or "" for chunk in chunks), "".join(chunk.text or "" for chunk in chunks)


def cut(text: str, places: Sequence[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[begin:end] for begin, end in pairwise(ends)]


@pytest.mark.parametrize(
    ("answer", "thinking", "text"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", "Hm.", "Yes."),
        ("<think>\n\n</think>\n\nYes.", "", "Yes."),
        ("\n<think>Hm. <b> </thin</think>Yes.", "Hm. <b> </thin", "Yes."),
        ("<think>One.</think>\n<think>Two.</think> Yes.", "One.Two.", "Yes."),
        ("<think>Cut off", "Cut off", ""),
        ("<think>Cut off</thi", "Cut off</thi", ""),
        ("Yes.", "", "Yes."),
        ("  Yes.", "", "  Yes."),
        ("<thinking>Yes.", "", "<thinking>Yes."),
        ("<thi", "", "<thi"),
        ("Write `<think>x</think>`.", "", "Write `<think>x</think>`."),
        ("<think>Hm.</think>Yes.</think> <think>No.</think>", "Hm.", "Yes.</think> <think>No.</think>"),
    ],
)
def test_what_is_thinking(answer: str, thinking: str, text: str) -> None:
    """What an answer begins with, between tags; a tag further on is quoted."""
    assert split([answer]) == split(answer) == (thinking, text)


@given(st.lists(PIECES, max_size=12).map("".join), st.lists(st.integers(0, 200), max_size=12))
def test_cuts_make_no_difference(answer: str, places: list[int]) -> None:
    """Wherever the deltas begin and end."""
    whole = split([answer] if answer else [])

    assert split(cut(answer, places)) == whole
    assert split(answer) == whole


@given(st.text("ab <>/think", max_size=30))
def test_text_comes_at_once(text: str) -> None:
    """What can be no tag is held no longer than its delta."""
    splitter = ThinkingSplitter()
    list(splitter.feed("Yes."))

    assert [chunk.text for chunk in splitter.feed(text)] == [text]
