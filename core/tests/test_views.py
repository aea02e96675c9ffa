"""What is made of the events of a run: how it stands, its tree in time, its requests, what differs from another."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pegboard import Event, views
from pegboard.errors import RunNotFoundError
from pegboard.interfaces import RunRow, StepRecord

ROW = RunRow(run="r", root="r", agent="a", state="done", at=100.0, summary={"end_reason": "completed"})


def log(*entries: tuple[float, str, dict[str, Any]]) -> list[Event]:
    """Events from times, kinds and data."""
    return [
        Event(id=f"r.{seq}", run="r", seq=seq, kind=kind, at=100.0 + at, data=data)
        for seq, (at, kind, data) in enumerate(entries)
    ]


def began(at: float, step: str, **data: Any) -> tuple[float, str, dict[str, Any]]:
    return at, "step.started", {"op": step.rpartition("/")[2].rpartition("#")[0], "step": step, **data}


def ended(at: float, step: str, kind: str = "step.done", **data: Any) -> tuple[float, str, dict[str, Any]]:
    return at, kind, {"op": step.rpartition("/")[2].rpartition("#")[0], "step": step, **data}


def phase(at: float, kind: str, name: str = "execution_phase") -> tuple[float, str, dict[str, Any]]:
    return at, f"phase.{kind}", {"phase": name, "outcome": "done"}


# --- how it stands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "driven", "summary", "status"),
    [
        ("running", ["r"], None, "running"),
        ("running", [], None, "interrupted"),
        ("queued", [], None, "interrupted"),
        ("paused", [], None, "paused"),
        ("paused", [], {"end_reason": "needs_approval"}, "needs_approval"),
        ("failed", [], {"end_reason": "budget"}, "budget"),
        ("parked", [], {"error": {}}, "parked"),
    ],
)
def test_how_a_run_stands_is_a_word(state: Any, driven: list[str], summary: Any, status: str) -> None:
    """Why it ended; and where no process drives one that says it is running, that it was cut off."""
    row = RunRow(run="r", root="r", state=state, summary=summary)

    assert views.status_of(row, driven) == status


# --- in time -----------------------------------------------------------------------------------------------------


def test_steps_stand_in_their_phase() -> None:
    """And steps inside a step in that."""
    events = log(
        phase(0, "entered"),
        began(1, "tool.call:x#1"),
        began(2, "tool.call:x#1/agent.call:b#1"),
        began(2, "tool.call:y#1"),
        ended(3, "tool.call:y#1", "step.failed"),
        ended(4, "tool.call:x#1/agent.call:b#1"),
        ended(5, "tool.call:x#1"),
        phase(6, "left"),
    )

    line = views.timeline(ROW, events, status="completed")
    (top,) = line.spans
    x, y = top.children

    assert (top.name, top.start_s, top.end_s, line.duration_s) == ("execution_phase", 0.0, 6.0, 6.0)
    assert [(span.step, span.start_s, span.end_s, span.outcome) for span in (x, y)] == [
        ("tool.call:x#1", 1.0, 5.0, "done"),
        ("tool.call:y#1", 2.0, 3.0, "failed"),
    ]
    assert list(views.child_runs(line)) == ["r.tool.call:x#1/agent.call:b#1"]
    assert x.children[0].step == "tool.call:x#1/agent.call:b#1"


def test_the_clock_stands_still_between_lives() -> None:
    """What was open when a process ended was interrupted, and the next life begins a tree of its own."""
    events = log(
        phase(0, "entered"),
        began(1, "model.request#1"),
        (1000, "run.resumed", {}),
        phase(1001, "entered"),
        began(1001, "model.request#1"),
        ended(1002, "model.request#1"),
        phase(1002, "left"),
    )

    line = views.timeline(ROW, events, status="completed")

    assert line.duration_s == 3.0
    assert [(span.outcome, span.start_s, span.end_s) for span in line.spans] == [
        ("interrupted", 0.0, 1.0),
        ("done", 2.0, 3.0),
    ]
    assert [span.children[0].outcome for span in line.spans] == ["interrupted", "done"]


@pytest.mark.parametrize(("status", "outcome", "end"), [("running", "open", None), ("interrupted", "interrupted", 1.0)])
def test_what_has_not_ended_is_open_or_cut_off(status: str, outcome: str, end: float | None) -> None:
    """Which of both is known from who drives the run."""
    line = views.timeline(ROW, log(phase(0, "entered"), began(1, "model.request#1")), status=status)

    assert [(span.outcome, span.end_s) for span in views.all_spans(line.spans)] == [(outcome, end)] * 2


def test_a_child_is_on_the_clock_of_its_root() -> None:
    """So that both can be drawn in one picture."""
    above = log(phase(0, "entered"), began(2, "agent.call:b#1"))
    child = log(phase(3, "entered"), phase(4, "left"))
    line = views.timeline(ROW, child, status="completed", clock=views.Clock(ROW, above))

    assert (line.spans[0].start_s, line.duration_s) == (3.0, 1.0)


def test_the_first_failure_is_that_of_the_last_life() -> None:
    """What failed in an earlier one was made good, and what was cancelled has not failed."""
    early = ended(1, "a#1", "step.failed", code="old", message="x")
    resumed = (2, "run.resumed", dict[str, Any]())
    cancelled = ended(3, "b#1", "step.failed", code="cancelled", message="x")
    late = ended(4, "c#1", "step.failed", code="new", message="x")

    assert (views.first_failure(log(early)) or {})["code"] == "old"
    assert views.first_failure(log(early, resumed, cancelled)) is None
    assert (views.first_failure(log(early, resumed, cancelled, late)) or {})["code"] == "new"


@pytest.mark.parametrize("kind", ["effect.done", "effect.reconciled", "step.done"])
def test_a_step_is_in_doubt_until_it_is_known(kind: str) -> None:
    """From its intent to whatever tells what became of it."""
    intent = (0, "effect.intent", {"step": "pay#1"})

    assert views.unresolved(log(intent)) == ("pay#1",)
    assert views.unresolved(log(intent, (1, kind, {"step": "pay#1", "op": "pay"}))) == ()


# --- what was sent -----------------------------------------------------------------------------------------------


def test_a_request_is_put_together() -> None:
    """What is not new in it is taken from the one before."""
    events = log(
        (0, "model.requested", {"model": "m", "same": 0, "messages": ["a"]}),
        (1, "model.requested", {"same": 1, "messages": ["b", "c"]}),
        (2, "model.requested", {"model": "n", "same": 2, "messages": ["d"]}),
    )

    assert list(views.requests(events)) == [
        {"model": "m", "messages": ["a"]},
        {"model": "m", "messages": ["a", "b", "c"]},
        {"model": "n", "messages": ["a", "b", "d"]},
    ]


def test_a_request_that_could_not_be_redacted_is_its_marker() -> None:
    """And the next one is whole again."""
    marker = (0, "model.requested", {"redacted": "failed"})
    whole = (1, "model.requested", {"model": "m", "same": 0, "messages": ["a"]})

    assert [request.get("redacted") for request in views.requests(log(marker, whole))] == ["failed", None]


def test_around_a_request_is_what_led_to_it() -> None:
    """From the end of the request before to its own end, by the number that `requests` gives it."""
    sent: tuple[str, dict[str, Any]] = ("model.requested", {"messages": []})
    events = log(
        (0, "a", {}),
        began(1, "model.request#1"),
        (1, *sent),
        ended(2, "model.request#1", "step.failed"),
        (3, "b", {}),
        began(4, "model.request#1"),
        (4, *sent),
        ended(5, "model.request#1"),
        (6, "c", {}),
    )

    assert [event.seq for event in views.around_request(events, 1)] == [0, 1, 2, 3]
    assert [event.seq for event in views.around_request(events, 2)] == [4, 5, 6, 7]
    assert [event.seq for event in views.around_request(events, None)] == [4, 5, 6, 7]
    with pytest.raises(RunNotFoundError, match="2 requests"):
        views.around_request(events, 3)


# --- two runs ----------------------------------------------------------------------------------------------------


def run(result: Any, *, input: Any = "x", id: str = "r") -> views.Stored:
    """A run with one event and one step."""
    row = RunRow(run=id, root=id, agent="a", state="done", input=input, at=1.0)
    event = Event(id=f"{id}.0", run=id, seq=0, kind="run.started", at=5.0, data={"input": input, "root": id})
    step = StepRecord(run=id, step="tool.call:x#1", op="tool.call:x", result=result)
    return row, [event], [step]


def test_runs_that_went_alike_do_not_differ() -> None:
    """Ids, times and keys of ours differ always and do not count."""
    a = run({"id": "1", "duration_ms": 2, "arguments": {"id": 7}})
    b = run({"id": "2", "duration_ms": 3, "arguments": {"id": 7}}, id="other")

    assert list(views.differences(a, b)) == []


def test_what_differs_is_named_by_its_path() -> None:
    """The innermost place, with both values; in what is not ours any name counts."""
    a = run({"arguments": {"id": 7}, "list": [1, 2]}, input={"id": 1, "city": "x"})
    b = run({"arguments": {"id": 8}, "list": [1, 3]}, input={"id": 2, "city": "x"})

    assert [(one.what, one.a, one.b) for one in views.differences(a, b)] == [
        ("input.id", 1, 2),
        ("event 0.data.input.id", 1, 2),
        ("result of tool.call:x#1.arguments.id", 7, 8),
        ("result of tool.call:x#1.list.1", 2, 3),
    ]


def with_plugins(digest: str, **versions: str) -> views.Stored:
    """A run under some plugins; where no versions are given, only the digest of their set was recorded."""
    row, (event,), steps = run("x")
    data = {**event.data, "plugins": versions} if versions else event.data
    return msgspec.structs.replace(row, plugin_digest=digest), [msgspec.structs.replace(event, data=data)], steps


def test_plugins_that_differ_are_named_with_their_versions() -> None:
    """Another version, and one that only one of the runs had; what is the same is not told."""
    a = with_plugins("1", same="1.0 (aa)", file="0.1 (bb)", git="0.2 (cc)")
    b = with_plugins("2", same="1.0 (aa)", file="0.2 (dd)")

    assert [(one.what, one.a, one.b) for one in views.differences(a, b)] == [
        ("plugins.file", "0.1 (bb)", "0.2 (dd)"),
        ("plugins.git", "0.2 (cc)", None),
    ]


def test_that_plugins_differ_is_told_where_nobody_knows_which() -> None:
    """A child run records the digest of the set alone; so does one whose plugins only stand in another order."""
    a, b = with_plugins("1"), with_plugins("2")

    assert [(one.what, one.a, one.b) for one in views.differences(a, b)] == [("plugin_digest", "1", "2")]
