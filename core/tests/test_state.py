"""State beside the phases: scopes, nesting, and the `LoopState` view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pegboard import tool
from pegboard.errors import StateDepthError
from pegboard.events import Event, EventLog
from pegboard.state import MAX_DEPTH, TTL_S, Scope, ScopedState, loop_state
from pegboard.types import JsonObject
from pegboard_replay import ScriptedModel, call, turn
from pegboard_testing import FakeClock

if TYPE_CHECKING:
    from core.tests.conftest import Bench


@pytest.mark.parametrize("scope", list(TTL_S))
def test_a_value_is_forgotten_after_its_time(scope: Scope) -> None:
    """The time to live counts from the last write, by the injected clock."""
    clock = FakeClock()
    state = ScopedState(clock)
    state.set(scope, "key", 1)
    clock.advance(TTL_S[scope])
    assert state.get(scope, "key") == 1
    state.set(scope, "key", 2)
    clock.advance(TTL_S[scope])
    assert state.get(scope, "key") == 2

    clock.advance(1)
    assert state.get(scope, "key", "gone") == "gone"
    assert state.get(scope, "key") is None


def test_what_was_never_written_is_the_default() -> None:
    """A missing key is no error."""
    state = ScopedState(FakeClock())

    assert (state.get("tool", "x"), state.get("tool", "x", 3)) == (None, 3)


def test_a_nested_state_ends_where_it_began() -> None:
    """Popping restores the values, and keeps the last observation, output and thought."""
    state = ScopedState(FakeClock())
    state.set("execution", "plan", "a")
    state.push()
    state.set("execution", "plan", "b")
    state.set("execution", "last_observation", "seen")
    state.set("execution", "current_thought", "hm")
    state.pop()

    assert state.get("execution", "plan") == "a"
    assert state.get("execution", "last_observation") == "seen"
    assert state.get("execution", "current_thought") == "hm"
    assert state.get("execution", "last_model_output") is None


def test_a_sixth_state_is_refused() -> None:
    """Five may be open inside one another."""
    state = ScopedState(FakeClock())
    for _ in range(MAX_DEPTH):
        state.push()

    with pytest.raises(StateDepthError, match="5 states"):
        state.push()
    assert state.depth == 5


def test_popping_what_was_not_pushed_is_refused() -> None:
    """There is nothing to go back to."""
    with pytest.raises(StateDepthError, match="no state is pushed"):
        ScopedState(FakeClock()).pop()


def test_closing_drops_the_execution_and_keeps_the_rest() -> None:
    """At the end of a run nested states are closed and its scope is empty."""
    state = ScopedState(FakeClock())
    state.set("execution", "plan", "a")
    state.set("tool", "tier", "core")
    state.push()
    state.close()

    assert (state.depth, state.get("execution", "plan"), state.get("tool", "tier")) == (0, None, "core")


def view(*happened: tuple[str, JsonObject]) -> JsonObject:
    log = EventLog("r1")
    for number, (kind, data) in enumerate(happened):
        log.append(kind, float(number), data)
    return loop_state(list(log), "the task")


def test_a_run_that_has_not_begun_is_idle() -> None:
    """Without events there is a task and nothing else."""
    assert view() == {
        "phase": "idle",
        "task": "the task",
        "startTime": None,
        "events": [],
        "context": {},
        "currentAction": None,
        "lastError": None,
        "stepCount": 0,
        "toolTier": "core",
    }


def test_the_view_follows_the_events() -> None:
    """Phase, action, error, steps and tier are those of the last events."""
    state = view(
        ("run.started", {}),
        ("phase.entered", {"phase": "execution_phase"}),
        ("step.started", {"op": "model.request", "step": "model.request#1"}),
        ("step.failed", {"op": "model.request", "step": "model.request#1", "message": "down"}),
        ("tool.tier", {"from": "core", "to": "toolbelt"}),
        ("step.started", {"op": "tool.call:add", "step": "tool.call:add#1"}),
    )

    assert (state["phase"], state["currentAction"]) == ("execution_phase", "tool.call:add#1")
    assert (state["lastError"], state["stepCount"], state["toolTier"]) == ("down", 1, "toolbelt")
    assert state["startTime"] == 0.0


@pytest.mark.parametrize(
    ("kind", "data", "name"),
    [
        ("run.started", {}, "task_started"),
        ("run.finished", {"end_reason": "completed"}, "task_completed"),
        ("run.finished", {"end_reason": "limit"}, "task_failed"),
        ("run.cancelled", {}, "task_stopped"),
        ("phase.entered", {"phase": "idle"}, "phase_started"),
        ("phase.left", {}, "phase_completed"),
        ("phase.error", {"message": "x"}, "phase_error"),
        ("step.started", {"op": "model.request"}, "query_model_started"),
        ("step.done", {"op": "model.request"}, "query_model_completed"),
        ("step.failed", {"op": "tool.call:add"}, "execute_action_failed"),
        ("step.started", {"op": "context.build"}, "step_started"),
        ("tool.tier", {"to": "core"}, "tool_transition"),
        ("cleanup.error", {}, "cleanup_error"),
        ("run.degraded", {}, "run.degraded"),
    ],
)
def test_events_have_their_traditional_names(kind: str, data: JsonObject, name: str) -> None:
    """Hosts of the traditional loop find the names that they know; other events keep theirs."""
    assert view((kind, data))["events"][0]["type"] == name


async def test_the_view_of_a_whole_run(bench: Bench) -> None:
    """After its end a run is idle again, and its steps are counted."""

    @tool(effect="pure", inline=True)
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    result = await bench.run(ScriptedModel([turn(call("add", a=1, b=2)), "3"]), tools=[add])
    state = loop_state(result.events, "go")

    assert (state["phase"], state["stepCount"], state["lastError"]) == ("idle", 3, None)
    assert state["events"][-1]["type"] == "task_completed"
    assert isinstance(result.events[0], Event)
