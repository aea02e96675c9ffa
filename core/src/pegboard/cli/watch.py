"""Readers of the event log for the command line: events as lines of JSON, calls of hooks as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pegboard.cli.contract import NoOutput, Output
from pegboard.events import Event, event_to_json
from pegboard.hookspecs import hookimpl

UNTRACED = "hooks that provide something to the board, and `on_event`, are called outside of a run and are not traced"


class EventPrinter:
    """A plugin that prints each event as a line of JSON."""

    id = "cli-events"

    def __init__(self, out: Output) -> None:
        self._out = out

    @hookimpl
    def on_event(self, event: Event) -> None:
        """Print it; a reader that went away stops the run and is nobody's fault."""
        if self._out.lost is None:
            try:
                self._out.line(event_to_json(event))
            except (BrokenPipeError, NoOutput) as error:
                self._out.lost = error


class HookWatcher:
    """A plugin that tells of each call of one hook."""

    id = "cli-trace"

    def __init__(self, hook: str, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._hook = hook
        self._tell = tell

    @hookimpl
    def on_event(self, event: Event) -> None:
        """Tell of it, when it is a call of the hook."""
        if event.kind == "hook.called" and event.data.get("hook") == self._hook:
            self._tell(event.data)


def hook_lines(calls: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each call of an implementation, with what it changed below it."""
    return [line for call in calls for line in _call_lines(call)]


def _call_lines(call: Mapping[str, Any]) -> list[str]:
    duration = call.get("duration_ms")
    took = f", {duration:.2f} ms" if duration is not None else ""
    code = f", {call['error_code']}" if call.get("error_code") else ""
    lines = [f"{call['hook']}  {call['plugin']}: {call['outcome']}{took}{code}"]
    changed = call.get("changed") or {}
    return lines + [f"  {path}: {before!r} became {after!r}" for path, (before, after) in changed.items()]
