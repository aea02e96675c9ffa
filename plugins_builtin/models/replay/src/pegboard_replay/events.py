"""The events of runs, as they are recorded and compared: those of a run and its child runs together, in their order."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

import msgspec
from pegboard.events import Event, event_to_json
from pegboard.types import JsonObject

from pegboard_replay.requests import scrub

_NOT_COMPARED: Final = frozenset({"hook.called", "plugin.undeclared"})
"""What `--explain` measures, and what is said of plugins that a replay does not need."""

_LEFT_OUT: Final = {"run.started": "plugins", "step.done": "where"}
"""What is not compared of an event."""


class RunLog:
    """Gathers the events of every run that goes on, until the outermost one ends."""

    def __init__(self) -> None:
        self._roots: dict[str, str] = {}
        self._events: dict[str, list[JsonObject]] = {}
        self._seqs: dict[str, int] = {}

    def add(self, event: Event) -> list[JsonObject] | None:
        """Take an event; all events of the run that was asked for, where this is its last."""
        root = self._roots.setdefault(event.run, self._roots.get(event.parent or "", event.run))
        events = self._events.setdefault(root, [])
        if event.kind not in _NOT_COMPARED:
            events.append(self._numbered(scrub(event_to_json(event))))
        if event.kind != "run.finished" or event.run != root:
            return None
        for run in [run for run, above in self._roots.items() if above == root]:
            del self._roots[run], self._seqs[run]
        return self._events.pop(root)

    def _numbered(self, event: JsonObject) -> JsonObject:
        """With its number among those that are kept."""
        seq = self._seqs[event["run"]] = self._seqs.get(event["run"], -1) + 1
        return event if event["seq"] == seq else {**event, "seq": seq, "id": f"{event['run']}.{seq}"}


def first_difference(recorded: Sequence[JsonObject], replayed: Sequence[JsonObject]) -> str | None:
    """Where the events of a run or of a child run are first other ones than recorded; `None` where all are equal.

    They are compared run by run: how the logs of parallel runs lie beside one another is no order.
    """
    now = _by_run(replayed)
    for run, events in _by_run(recorded).items():
        found = _difference_in(run, events, now.pop(run, []))
        if found is not None:
            return found
    return next((f"run `{run}` is one that was not recorded" for run in now), None)


def _by_run(events: Sequence[JsonObject]) -> dict[str, list[JsonObject]]:
    found: dict[str, list[JsonObject]] = {}
    for event in events:
        found.setdefault(event["run"], []).append(event)
    return found


def _difference_in(run: str, recorded: Sequence[JsonObject], replayed: Sequence[JsonObject]) -> str | None:
    for place, (one, other) in enumerate(zip(recorded, replayed, strict=False)):
        if _compared(one) != _compared(other):
            return f"event {place} of run `{run}` differs, a `{other['kind']}`:\n{_diff(one, other)}"
    if len(recorded) != len(replayed):
        return f"run `{run}` has {len(replayed)} events, and {len(recorded)} were recorded"
    return None


def _compared(event: JsonObject) -> JsonObject:
    """Without what is of this place: versions, and where in its code a tool failed that is not executed here."""
    left_out = _LEFT_OUT.get(event["kind"])
    if left_out is None or left_out not in event["data"]:
        return event
    return {**event, "data": {name: value for name, value in event["data"].items() if name != left_out}}


def _diff(recorded: JsonObject, replayed: JsonObject) -> str:
    lines = difflib.unified_diff(_lines(recorded), _lines(replayed), "recorded", "replayed", lineterm="", n=1)
    return "\n".join(lines)


def _lines(event: JsonObject) -> list[str]:
    return msgspec.json.format(msgspec.json.encode(_compared(event), order="sorted"), indent=1).decode().splitlines()


__all__ = ["RunLog", "first_difference"]
