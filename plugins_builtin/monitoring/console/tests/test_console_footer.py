"""What the live lines say, from the events of a run."""

from __future__ import annotations

from typing import Any

import pytest
from pegboard.events import Event
from pegboard_console.cells import cells, fitted
from pegboard_console.footer import Size, footer
from pegboard_console.state import State

WIDE = Size(200, 60)


def event(kind: str, /, run: str = "r1", parent: str | None = None, at: float = 0.0, **data: Any) -> Event:
    return Event(id="x", run=run, parent=parent, seq=0, kind=kind, at=at, data=data)


def after(*events: Event) -> State:
    state = State()
    for each in events:
        state.fold(each)
    return state


def shown(*events: Event, size: Size = WIDE, now: float = 42.0, stopping: bool = False) -> list[str]:
    return [line.words for line in footer(after(*events), now, size, stopping=stopping)]


def answered(run: str = "r1", parent: str | None = None, cost: float | None = 0.031, **usage: int) -> Event:
    used = {"input_tokens": 12_400, "output_tokens": 1_100, "cache_read_tokens": 9_800, **usage}
    return event("step.done", run, parent, op="model.request", step="model.request#3", usage=used, cost_usd=cost)


FULL = (
    event("run.started", agent="a", max_turns=20),
    event("phase.entered", phase="execution_phase"),
    event("context.built", used=37, budget=100),
    event("step.started", op="model.request", step="model.request#3", model="p:m"),
    answered(),
    event("step.started", op="tool.call:ls", step="tool.call:ls#1"),
    event("step.started", op="tool.call:ls", step="tool.call:ls#2"),
)


def test_the_line_of_a_run() -> None:
    """Phase, turn, tokens, money, time, context, tools."""
    assert shown(*FULL) == [
        "execution · turn 3/20 · 12.4k in (9.8k cached) · 1.1k out · $0.031 · 00:42 · context 37 % · 2 tools running"
    ]


@pytest.mark.parametrize("columns", range(4, 130, 7))
def test_it_fits_every_width(columns: int) -> None:
    """Whole facts are left out, the least important first; the last column stays free."""
    (line,) = shown(*FULL, size=Size(columns, 24))

    assert len(line) < columns
    assert columns < 8 or "00:42" in line


@pytest.mark.parametrize(("cost", "said"), [(None, "cost unknown"), (0.0, "$0.031"), (0.5, "$0.531")])
def test_one_request_without_a_price_makes_the_cost_unknown(cost: float | None, said: str) -> None:
    """A part of the sum is never shown as the whole; something that costs nothing has a price."""
    assert f" · {said} · " in shown(*FULL, answered(cost=cost))[0]


def test_without_a_request_there_is_no_cost() -> None:
    """Nothing was asked, so nothing is said of it."""
    assert shown(event("run.started")) == ["00:42"]


def test_tokens_that_are_not_split_are_said_as_one() -> None:
    """A core that tells only the sum."""
    done = event("step.done", op="model.request", step="model.request#1", tokens=1_500, cost_usd=None)

    assert shown(event("run.started"), done) == ["1.5k tokens · cost unknown · 00:42"]


def test_a_child_run_is_a_line_and_counts_for_its_parent() -> None:
    """Indented by its depth; the tokens of all are in the last line."""
    lines = shown(
        event("run.started", agent="top"),
        event("run.started", "c", "r1", agent="child"),
        event("phase.entered", "c", "r1", phase="planning"),
        event("run.started", "d", "c", agent="grandchild"),
        event("step.started", "d", "c", op="tool.call:ls", step="tool.call:ls#1"),
        answered("d", "c"),
    )

    assert lines == [
        "  child: planning · 00:42",
        "    grandchild: tool ls · 00:42",
        "12.4k in (9.8k cached) · 1.1k out · $0.031 · 00:42 · 1 tool running",
    ]


def test_children_that_ended_are_gone() -> None:
    """With all that was inside them."""
    state = after(
        event("run.started"),
        event("run.started", "c", "r1"),
        event("run.started", "d", "c"),
        event("run.finished", "c", "r1"),
    )

    assert state.roots["r1"].children == {}
    assert state._runs.keys() == {"r1"}


def test_more_children_than_room_are_counted() -> None:
    """A third of the rows is ours."""
    children = [event("run.started", f"c{n}", "r1", agent=f"c{n}") for n in range(30)]

    lines = shown(event("run.started"), *children, size=Size(80, 12))
    assert len(lines) == 4
    assert lines[2] == "  and 28 more"


def test_a_wait_says_what_for() -> None:
    """Who is waited for, why, how long, which try it will be, and how to end it."""
    change = {"decision": "retry", "delay_s": 12.0}
    error = event("phase.error", at=40.0, step="s", code="model.rate_limited", decision="retry", change=change)
    begun = [event("run.started"), event("step.started", op="model.request", step="model.request#1", model="acme:m")]

    assert shown(*begun, error)[0] == ("waiting for acme: model.rate_limited, next try in 10 s (try 2), Ctrl-C ends it")
    assert len(shown(*begun, error, event("step.started", op="model.request", step="model.request#1"))) == 1


def test_a_small_workflow_stands_still() -> None:
    """Where all nodes have room they are in the order of the workflow, each with its state."""
    nodes = [{"id": "one", "agent": "a"}, {"id": "three", "agent": "b"}, {"id": "日本", "agent": None}]
    lines = shown(
        event("run.started"),
        event("workflow.graph", name="flow", nodes=nodes),
        event("workflow.node", node="three", state="running", at=2.0),
        event("workflow.node", node="one", state="failed", reason="no\nroom"),
        event("workflow.node", node="unknown", state="failed"),
        event("run.started", "c", "r1", agent="b"),
        event("step.started", "c", "r1", op="model.request", step="model.request#2"),
    )

    assert lines == [
        "flow: 1 running, 1 failed, 1 waiting",
        "  one    failed: no\\nroom",
        "  three  running · 00:40 · turn 2 · model",
        "  日本   waiting",
        "00:42",
    ]


def test_what_goes_on_inside_is_named_where_there_is_no_room_for_it() -> None:
    """The phase of the run that waits for it says nothing."""
    nodes = [{"id": f"n{n}", "agent": None} for n in range(5)]
    begun = [event("run.started"), event("phase.entered", phase="execution_phase")]
    child = event("run.started", "c", "r1", agent="helper")
    graph = event("workflow.graph", name="flow", nodes=nodes)
    running = [event("workflow.node", node=f"n{n}", state="running") for n in range(5)]
    small = Size(80, 5)

    assert shown(*begun, child, size=small) == ["helper running · 00:42"]
    assert shown(*begun, graph, *running[:2], child, size=small) == ["n0, n1 running · 00:42"]
    assert shown(*begun, graph, *running, size=small) == ["5 running · 00:42"]
    assert shown(*begun, graph, *running)[-1] == "execution · 00:42"


def test_several_runs_have_a_line_each() -> None:
    """With their ids, since a program may run many at once; the newest where there is no room."""
    begun = [event("run.started", f"run-{n}") for n in range(9)]

    assert shown(*begun, size=Size(80, 6)) == ["run run-7 · 00:42", "run run-8 · 00:42"]


def test_stopping_is_said_first() -> None:
    """Who pressed Ctrl-C sees that it was heard."""
    assert shown(*FULL, stopping=True)[0].startswith("stopping · execution · ")


def test_names_of_others_cannot_move_the_cursor() -> None:
    """Agents, tools, nodes and phases come from anywhere."""
    evil = "a\x1b[2J\n"
    lines = shown(
        event("run.started", agent=evil),
        event("phase.entered", phase=evil),
        event("run.started", "c", "r1", agent=evil),
        event("step.started", "c", "r1", op=f"tool.call:{evil}", step="t"),
        event("run.started", "g"),
        event("workflow.graph", "g", name=evil, nodes=[{"id": evil, "agent": evil}]),
        event("workflow.node", "g", node=evil, state=evil, reason=evil),
    )

    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("kind", ["phase.error", "step.done", "step.started", "context.built", "workflow.node"])
def test_no_event_has_to_be_complete(kind: str) -> None:
    """What is missing changes nothing."""
    assert shown(event("run.started"), event("workflow.graph"), event(kind))


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 5, "日本…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
        ("ab", 0, ""),
    ],
)
def test_texts_are_cut_by_columns(text: str, columns: int, said: str) -> None:
    """Signs of two columns count as two, and marks that join a sign as none."""
    assert fitted(text, columns) == said
    assert cells(said) <= columns
