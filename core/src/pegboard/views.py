"""What people look at of a recorded run: its tree in time, what was sent to the model, what differs between two runs.

Everything here is computed from the events and the row of a run, so it is the same while the run goes on, afterwards,
and in another process. How it is drawn is the terminal's business, or a web page's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from pegboard.errors import RunNotFoundError
from pegboard.events import Event
from pegboard.interfaces import RunRow, StepRecord
from pegboard.lazy import LazyModule
from pegboard.types import JsonObject

if TYPE_CHECKING:
    import difflib
else:
    difflib = LazyModule("difflib")

DRIVEN = frozenset({"queued", "running"})
"""The states in which a process drives a run, if it lives."""
_BEGINNINGS = frozenset({"run.resumed", "run.forked", "effect.reconciled"})
"""Events before which nobody may have driven the run for a while."""
_VOLATILE = frozenset({"duration_ms", "at", "run", "root", "key", "digest", "id", "call_id"})
"""Fields of events and results that differ between any two runs."""
_OF_OTHERS = frozenset({"arguments", "input", "inputs", "output", "structured"})
"""Fields whose content is not ours, and whose fields may have any name."""


def status_of(row: RunRow, driven: Collection[str]) -> str:
    """How a run stands, in a word: why it ended, else `running`, `paused` and so on, or `interrupted`.

    Args:
        row: of the run
        driven: the runs that a living process drives
    """
    if row.state in DRIVEN:
        return row.state if row.run in driven else "interrupted"
    return (row.summary or {}).get("end_reason") or row.state


# --- in time -----------------------------------------------------------------------------------------------------


class Span(msgspec.Struct):
    """Something that took time in a run."""

    kind: str
    """`phase` or `step`."""
    name: str
    start_s: float
    """On the clock of the timeline."""
    end_s: float | None = None
    """`None` while it goes on."""
    outcome: str = "open"
    """`done`, `failed`, `interrupted` where its process ended in the middle of it, or `open`."""
    detail: JsonObject = {}
    step: str | None = None
    children: list[Span] = []


class Clock:
    """Seconds since a run began, without those in which no process drove it."""

    def __init__(self, row: RunRow, events: Sequence[Event]) -> None:
        self._begin = events[0].at if events else row.at
        self._idle = [(before.at, event.at) for before, event in pairwise(events) if event.kind in _BEGINNINGS]

    def __call__(self, at: float) -> float:
        """The reading at a moment, given in seconds since the epoch."""
        idle = sum(min(at, end) - start for start, end in self._idle if at > start)
        return max(at - self._begin - idle, 0.0)


class Timeline(msgspec.Struct):
    """A run as a tree of spans."""

    row: RunRow
    status: str
    duration_s: float
    spans: list[Span]


def timeline(
    row: RunRow, events: Sequence[Event], *, status: str, clock: Clock | None = None, now: float | None = None
) -> Timeline:
    """The phases of a run and the steps in them. Steps of a parallel group stand beside one another.

    Args:
        row: of the run
        events: all of its events
        status: as `status_of` says
        clock: that of the run at the top of the tree; the run's own without one
        now: until when a run that goes on is to be shown; until its last event without it
    """
    builder = _TimelineBuilder(clock or Clock(row, events))
    for event in events:
        builder.add(event)
    if status == "interrupted":
        builder.cut_off()
    if now is not None:
        builder.latest = builder.reading(now)
    return Timeline(row=row, status=status, duration_s=builder.latest - builder.first, spans=builder.roots)


class _TimelineBuilder:
    def __init__(self, clock: Clock) -> None:
        self.reading = clock
        self.first: float = 0.0
        self.latest: float = 0.0
        self.roots: list[Span] = []
        self._phases: list[Span] = []
        self._steps: dict[str, Span] = {}
        """The latest span of each step."""

    def add(self, event: Event) -> None:
        now = self.reading(event.at)
        if event.seq == 0:
            self.first = self.latest = now
        now = self.latest = max(self.latest, now)
        if event.kind == "phase.entered":
            span = Span("phase", event.data["phase"], now)
            (self._phases[-1].children if self._phases else self.roots).append(span)
            self._phases.append(span)
        elif event.kind == "phase.left":
            self._leave_phase(event, now)
        elif event.kind == "step.started":
            self._start_step(event, now)
        elif event.kind in ("step.done", "step.failed"):
            self._end_step(event, now)
        elif event.kind in _BEGINNINGS:
            self.cut_off()

    def cut_off(self) -> None:
        """What is open will not be ended: its process is gone."""
        for span in [*self._phases, *self._steps.values()]:
            if span.outcome == "open":
                span.end_s, span.outcome = self.latest, "interrupted"
        self._phases.clear()

    def _leave_phase(self, event: Event, now: float) -> None:
        while self._phases:
            span = self._phases.pop()
            span.end_s = now
            span.outcome = "failed" if event.data.get("outcome") == "failed" else "done"
            if span.name == event.data["phase"]:
                return

    def _start_step(self, event: Event, now: float) -> None:
        step = event.data["step"]
        span = Span("step", event.data["op"], now, detail=event.data, step=step)
        self._siblings(step).append(span)
        self._steps[step] = span

    def _siblings(self, step: str) -> list[Span]:
        """Where a step belongs: inside the step whose id its own begins with, else inside the phase."""
        outer = step
        while "/" in outer:
            outer = outer.rpartition("/")[0]
            if outer in self._steps:
                return self._steps[outer].children
        return self._phases[-1].children if self._phases else self.roots

    def _end_step(self, event: Event, now: float) -> None:
        span = self._steps.get(event.data["step"])
        if span is not None:
            span.end_s = now
            span.outcome = "done" if event.kind == "step.done" else "failed"
            span.detail = {**span.detail, **event.data}


def all_spans(spans: Sequence[Span]) -> Iterator[Span]:
    """Every span of a tree, outer ones first."""
    for span in spans:
        yield span
        yield from all_spans(span.children)


def child_runs(line: Timeline) -> Mapping[str, Span]:
    """The child runs that a run may have started, each with the last span of the step that did."""
    calls = (span for span in all_spans(line.spans) if span.name.startswith("agent.call:"))
    return {f"{line.row.run}.{span.step}": span for span in calls}


def first_failure(events: Sequence[Event]) -> JsonObject | None:
    """Of the first step that failed since the run was last gone on with: step, code and message; not of one that was
    merely cancelled.
    """
    found: JsonObject | None = None
    for event in events:
        if event.kind in _BEGINNINGS:
            found = None
        elif event.kind == "step.failed" and found is None and event.data.get("code") != "cancelled":
            found = event.data
    return found


def unresolved(events: Sequence[Event]) -> Sequence[str]:
    """The steps of which it is not known whether their unsafe effect has happened."""
    steps: dict[str, None] = {}
    for event in events:
        if event.kind == "effect.intent":
            steps[event.data["step"]] = None
        elif event.kind in ("effect.done", "effect.reconciled", "step.done"):
            steps.pop(event.data["step"], None)
    return tuple(steps)


# --- what was sent -----------------------------------------------------------------------------------------------


def requests(events: Sequence[Event]) -> Iterator[JsonObject]:
    """Every model request as it was sent, in order.

    A request is recorded as what is new in it: `same` messages are those of the request before it.
    """
    before: JsonObject = {"messages": []}
    for event in events:
        if event.kind != "model.requested":
            continue
        data = dict(event.data)
        if "messages" not in data:  # a marker, where it could not be redacted
            yield data
            continue
        kept = before["messages"][: data.pop("same", 0)]
        before = {**before, **data, "messages": [*kept, *data["messages"]]}
        yield before


def around_request(events: Sequence[Event], number: int | None) -> Sequence[Event]:
    """The events from the end of the model request before request `number` (the last by default) to its own end.

    Raises:
        RunNotFoundError: there are not so many.
    """
    sent = [index for index, event in enumerate(events) if event.kind == "model.requested"]
    if not sent or (number or 1) > len(sent):
        raise RunNotFoundError(f"{_count(len(sent), 'request')} went to a model, and not {number or 1}")
    chosen = sent[number - 1 if number else -1]
    ends = [
        index
        for index, event in enumerate(events)
        if event.kind in ("step.done", "step.failed") and event.data["op"] == "model.request"
    ]
    begin = max((end + 1 for end in ends if end < chosen), default=0)
    return events[begin : next((end + 1 for end in ends if end > chosen), len(events))]


def changed_lines(before: JsonObject, after: JsonObject) -> list[str]:
    """A unified diff of two requests as JSON."""
    old, new = (
        msgspec.json.format(msgspec.json.encode(value), indent=2).decode().splitlines() for value in (before, after)
    )
    return list(difflib.unified_diff(old, new, "before", "after", lineterm="", n=2))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


# --- two runs ----------------------------------------------------------------------------------------------------


class Difference(msgspec.Struct, frozen=True):
    """Where two runs part."""

    what: str
    """What differs, and inside it the path to where."""
    a: Any
    b: Any


Stored: TypeAlias = tuple[RunRow, Sequence[Event], Sequence[StepRecord]]
"""A run as a store gives it."""


def differences(a: Stored, b: Stored) -> Iterator[Difference]:
    """What differs between two runs: plugins, agent and input, then the first event and the first result of a step."""
    (row_a, events_a, steps_a), (row_b, events_b, steps_b) = a, b
    yield from _plugins(a, b)
    for name in ("agent", "input"):
        yield from _leaves(name, getattr(row_a, name), getattr(row_b, name))
    yield from _first_event(events_a, events_b)
    yield from _first_result(steps_a, steps_b)
    if row_a.state != row_b.state:
        yield Difference("state", row_a.state, row_b.state)


def _plugins(a: Stored, b: Stored) -> Iterator[Difference]:
    """The plugins whose versions differ; where none does, for example of child runs, only that the sets do."""
    if a[0].plugin_digest != b[0].plugin_digest:
        found = list(_leaves("plugins", *(_versions(events) for _, events, _ in (a, b))))
        yield from found or [Difference("plugin_digest", a[0].plugin_digest, b[0].plugin_digest)]


def _versions(events: Sequence[Event]) -> JsonObject:
    return next((event.data.get("plugins", {}) for event in events if event.kind == "run.started"), {})


def _first_event(a: Sequence[Event], b: Sequence[Event]) -> Iterator[Difference]:
    for index in range(max(len(a), len(b))):
        one, other = (_said(events[index]) if index < len(events) else None for events in (a, b))
        if one != other:
            yield from _leaves(f"event {index}", one, other)
            return


def _first_result(a: Sequence[StepRecord], b: Sequence[StepRecord]) -> Iterator[Difference]:
    results = {step.step: step.artifact or _steady(step.result) for step in b}
    for step in a:
        result = step.artifact or _steady(step.result)
        if step.step in results and results[step.step] != result:
            yield from _leaves(f"result of {step.step}", result, results[step.step])
            return


def _said(event: Event) -> JsonObject:
    data = _steady(event.data)
    if event.kind == "run.started":
        data.pop("plugins", None)  # told of the run as a whole
    return {"kind": event.kind, "plugin": event.plugin, "data": data}


def _steady(value: Any) -> Any:
    """A value without what differs between any two runs."""
    if isinstance(value, Mapping):
        return {
            name: inner if name in _OF_OTHERS else _steady(inner)
            for name, inner in value.items()
            if name not in _VOLATILE
        }
    return [_steady(inner) for inner in value] if isinstance(value, list) else value


def _leaves(what: str, a: Any, b: Any) -> Iterator[Difference]:
    """The innermost places where two values differ."""
    if a == b:
        return
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for name in {**a, **b}:
            yield from _leaves(f"{what}.{name}", a.get(name), b.get(name))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _leaves(f"{what}.{index}", one, other)
    else:
        yield Difference(what, a, b)
