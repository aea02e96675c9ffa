"""What the console says of each event."""

from __future__ import annotations

from typing import Any

import pytest
from pegboard.events import EVENT_KINDS, Event
from pegboard.types import Usage
from pegboard_console.lines import Verbosity, line_for, summary


def event(kind: str, /, **data: Any) -> Event:
    return Event(id="r.0", run="r", seq=0, kind=kind, at=0.0, data=data)


def words(kind: str, /, verbosity: Verbosity = "verbose", **data: Any) -> str:
    line = line_for(event(kind, **data), verbosity)
    assert line is not None
    return line.words


@pytest.mark.parametrize("kind", sorted(EVENT_KINDS))
def test_no_kind_needs_any_key(kind: str) -> None:
    """An event without data is said as far as it goes."""
    assert words(kind)


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("run.started", {"agent": "a", "version": "1.2", "model": "p:m", "input": "hi"}, "started a 1.2 with p:m: hi"),
        ("run.started", {"agent": "a", "version": "0"}, "started a"),
        ("phase.left", {"phase": "execution", "outcome": "ok", "duration_ms": 12.3}, "phase execution: ok, 12 ms"),
        ("step.done", {"op": "model.request", "duration_ms": 1500, "tokens": 1234}, "model done, 1.5 s, 1.2k tokens"),
        ("step.done", {"op": "model.request", "usage": Usage(5, 6)}, "model done, 5 in, 6 out"),
        ("step.done", {"op": "model.request", "usage": {"input_tokens": None}}, "model done, tokens unknown"),
        ("step.done", {"op": "tool.call:add", "status": "ok"}, "tool add done"),
        ("step.done", {"op": "tool.call:add", "status": "denied"}, "tool add denied"),
        (
            "step.done",
            {"op": "tool.call:add", "status": "error", "code": "tool.failed", "message": "no disk", "duration_ms": 2},
            "tool add error: no disk (tool.failed), 2 ms",
        ),
        ("step.done", {"op": "agent.call:helper"}, "agent helper done"),
        ("step.done", {"op": "context.build"}, "context.build done"),
        (
            "step.failed",
            {"op": "tool.call:x", "code": "tool.failed", "message": "no"},
            "tool x failed: no (tool.failed)",
        ),
        ("step.attempt_reset", {"step": "model.request#2", "attempt": 3}, "model.request#2 again, attempt 3"),
        ("approval.requested", {"resource": "shell", "prompts": ["rm -r x?"]}, "approval needed for shell: rm -r x?"),
        ("approval.decided", {"granted": True, "by": "ada"}, "approval granted by ada"),
        ("approval.decided", {"granted": False}, "approval denied"),
        (
            "plugin.fault",
            {"plugin": "git", "hook": "tool_call", "error_code": "hook.timeout", "outcome": "timeout"},
            "plugin `git` failed in tool_call: timeout (hook.timeout)",
        ),
        (
            "plugin.state",
            {"plugin": "git", "to": "quarantined", "reason": "3 errors"},
            "plugin `git` is quarantined: 3 errors",
        ),
        ("budget.warning", {"unit": "tokens", "share": 0.8}, "budget tokens: 80% of the limit"),
        ("tool.loop", {"tool": "ls", "count": 3, "action": "warned"}, "tool ls: same result 3 times, warned"),
        ("recovery.waiting", {"provider": "openai", "seconds": 29.6}, "waiting for openai: 30 s"),
        ("run.cancelled", {"reason": "user"}, "cancelled: user"),
        ("git.checked", {"clean": True, "nested": {}}, "git.checked clean=True"),
    ],
)
def test_what_is_said(kind: str, data: dict[str, Any], said: str) -> None:
    """Each kind has its words."""
    assert words(kind, **data) == said


def test_degradations_name_plugin_and_code() -> None:
    """Whatever they say of themselves."""
    said = "degraded: plugin `git` 2 calls skipped: too slow (hook.timeout)"
    part: dict[str, Any] = {"what": "2 calls skipped", "why": "too slow", "plugin": "git", "code": "hook.timeout"}

    assert words("run.degraded", **part) == said


def test_the_summary_has_tokens_cost_and_duration() -> None:
    """One line with everything that was used."""
    usage = Usage(12_400, 1_100, cache_read_tokens=9_800)

    line = summary(event("run.finished", end_reason="completed", usage=usage, cost_usd=0.0314, duration_ms=125_000))

    assert line == ("finished: completed, 2 min 05 s, 12.4k in (9.8k cached), 1.1k out, $0.0314", "good")


def test_a_run_that_asked_no_model_has_no_tokens_and_no_cost() -> None:
    """Three zeros say nothing; tokens that were free are told."""
    free = summary(event("run.finished", end_reason="completed", usage=Usage(5, 1), cost_usd=0.0))

    assert summary(event("run.finished", end_reason="completed", usage=Usage(0, 0), cost_usd=0.0)).words == (
        "finished: completed"
    )
    assert free.words == "finished: completed, 5 in, 1 out, $0.0000"


def test_the_line_of_a_child_run_names_its_agent() -> None:
    """Several go on at once, and the id of each begins with that of the run above."""
    finished = Event(
        id="r.0", run="r", seq=0, kind="run.finished", at=0.0, agent="helper", data={"end_reason": "completed"}
    )
    line = line_for(finished, "normal")

    assert line is not None
    assert line.words == "helper finished: completed, cost unknown"


def test_an_unknown_cost_is_never_zero() -> None:
    """Without a price the models are named."""
    line = summary(event("run.finished", end_reason="failed", cost_usd=None, unpriced_models=["p:m"]))

    assert line == ("finished: failed, cost unknown (p:m)", "bad")


@pytest.mark.parametrize(
    ("verbosity", "kinds"),
    [
        ("quiet", {"run.finished", "step.failed", "approval.requested", "run.degraded", "plugin.fault"}),
        ("normal", {"run.started", "step.done", "tool.loop"}),
        ("verbose", {"phase.entered", "step.started", "context.built"}),
    ],
)
def test_verbosity_decides_what_is_said(verbosity: Verbosity, kinds: set[str]) -> None:
    """A kind is said from its verbosity on, and not below."""
    order: list[Verbosity] = ["quiet", "normal", "verbose"]
    below = order[: order.index(verbosity)]

    assert all(line_for(event(kind), verbosity) for kind in kinds)
    assert not any(line_for(event(kind), less) for kind in kinds for less in below)
