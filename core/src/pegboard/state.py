"""State beside the phases: scoped values with a time to live, nested states, and the `LoopState` view of a run.

The event log and the journal have no time to live; this is what a run may forget.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pegboard.errors import StateDepthError
from pegboard.events import Event
from pegboard.interfaces import Clock
from pegboard.types import JsonObject

Scope = Literal["execution", "tool", "context"]
TTL_S: dict[Scope, float] = {"execution": 3600.0, "tool": 7200.0, "context": 86400.0}
MAX_DEPTH = 5
KEPT_ON_POP = ("last_observation", "last_model_output", "current_thought")


class ScopedState:
    """Values of a run by scope. The time to live counts from the last write and is applied when a value is read."""

    __slots__ = ("_clock", "_stack", "_values")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: dict[Scope, dict[str, tuple[Any, float]]] = {}
        self._stack: list[dict[str, tuple[Any, float]]] = []

    def set(self, scope: Scope, key: str, value: Any) -> None:
        """Write a value."""
        self._values.setdefault(scope, {})[key] = (value, self._clock.monotonic())

    def get(self, scope: Scope, key: str, default: Any = None) -> Any:
        """Read a value, or `default` where there is none or its time is over."""
        value, written = self._values.get(scope, {}).get(key, (default, None))
        if written is None or self._clock.monotonic() - written <= TTL_S[scope]:
            return value
        del self._values[scope][key]
        return default

    @property
    def depth(self) -> int:
        """How many states are pushed."""
        return len(self._stack)

    def push(self) -> None:
        """Begin a nested state, with the values of scope `execution` as they are now kept for later.

        Raises:
            StateDepthError: five are open already.
        """
        if self.depth >= MAX_DEPTH:
            raise StateDepthError(f"{MAX_DEPTH} states are pushed inside one another already")
        self._stack.append(dict(self._values.get("execution", {})))

    def pop(self) -> None:
        """End the nested state: the values before it are back, except the last observation, output and thought."""
        if not self._stack:
            raise StateDepthError("no state is pushed")
        current, restored = self._values.get("execution", {}), self._stack.pop()
        restored.update({key: current[key] for key in KEPT_ON_POP if key in current})
        self._values["execution"] = restored

    def close(self) -> None:
        """End every nested state and drop the scope `execution`."""
        self._stack.clear()
        self._values.pop("execution", None)


def loop_state(events: Sequence[Event], task: str) -> JsonObject:
    """The run as the JSON that hosts of the traditional loop expect; computed from its events.

    Keys: `phase, task, startTime, events, context, currentAction, lastError, stepCount, toolTier`.
    """
    view: JsonObject = {
        "phase": "idle",
        "task": task,
        "startTime": events[0].at if events else None,
        "events": [],
        "context": {},
        "currentAction": None,
        "lastError": None,
        "stepCount": 0,
        "toolTier": "core",
    }
    for event in events:
        view["events"].append({"type": _traditional_name(event), "at": event.at, "data": dict(event.data)})
        _apply(view, event)
    return view


def _apply(view: JsonObject, event: Event) -> None:
    if event.kind == "phase.entered":
        view["phase"] = event.data["phase"]
    elif event.kind == "run.finished":
        view["phase"] = "idle"
    elif event.kind == "step.started":
        view["currentAction"] = event.data.get("step")
    elif event.kind in ("step.done", "step.failed"):
        view["currentAction"] = None
        view["stepCount"] += 1
    elif event.kind == "tool.tier":
        view["toolTier"] = event.data["to"]
    if event.kind in ("step.failed", "phase.error"):
        view["lastError"] = event.data.get("message")


_NAMES = {
    "run.started": "task_started",
    "run.cancelled": "task_stopped",
    "phase.entered": "phase_started",
    "phase.left": "phase_completed",
    "phase.error": "phase_error",
    "tool.tier": "tool_transition",
    "state.pushed": "state_pushed",
    "state.popped": "state_popped",
    "cleanup.error": "cleanup_error",
}
_STEP_NAMES = {"step.started": "started", "step.done": "completed", "step.failed": "failed"}


def _traditional_name(event: Event) -> str:
    if event.kind == "run.finished":
        return "task_completed" if event.data.get("end_reason") == "completed" else "task_failed"
    if event.kind in _STEP_NAMES:
        op = str(event.data.get("op", ""))
        stem = "query_model" if op == "model.request" else "execute_action" if op.startswith("tool.call:") else "step"
        return f"{stem}_{_STEP_NAMES[event.kind]}"
    return _NAMES.get(event.kind, event.kind)
