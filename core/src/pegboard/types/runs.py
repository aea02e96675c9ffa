"""A run from outside and inside: its state, its plan, its failures, its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias

import msgspec
from msgspec import UNSET

from pegboard.errors import PegboardError
from pegboard.types.agents import Output, Tier
from pegboard.types.messages import Json, JsonObject, Message
from pegboard.types.models import NO_USAGE, Usage

if TYPE_CHECKING:
    from pegboard.events import Event

EndReason = Literal["completed", "failed", "cancelled", "budget", "limit", "needs_approval", "unavailable"]
StepStatus = Literal["pending", "in_progress", "completed", "failed", "skipped"]


class Requirements(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a task needs."""

    objectives: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    estimate_tokens: int | None = None


class PlanStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan."""

    n: int
    text: str
    depends_on: tuple[int, ...] = ()
    status: StepStatus = "pending"
    result: str | None = None
    reflection: str | None = None


class Plan(msgspec.Struct, frozen=True):
    """Steps and their dependencies."""

    steps: tuple[PlanStep, ...] = ()

    @property
    def open_steps(self) -> tuple[PlanStep, ...]:
        """The steps that are neither finished nor skipped."""
        return tuple(step for step in self.steps if step.status in ("pending", "in_progress"))


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Something failed; `recover` decides what follows."""

    error: BaseException
    code: str
    phase: str
    step: str | None = None
    attempt: int = 1
    """Which attempt of the step this was, from 1."""
    stream_started: bool = False
    spent: Usage = NO_USAGE
    decided: tuple[RecoveryDecision, ...] = ()
    """What was decided about this step before, also in an earlier life of the run."""
    fallbacks: tuple[str, ...] = ()
    """The targets that this run has fallen back to."""
    repeats: int = 0
    """How often the present model was asked again."""
    repeatable: bool = True
    """Whether `Retry` and `Alternative` are still allowed; without it only a `Fallback` goes on, or an `Extend` where a
    budget is short."""
    failing_s: float = 0.0
    """Seconds since the step failed for the first time."""
    context_tokens: int = 0
    """About how long the conversation is that the model was shown."""


class Retry(msgspec.Struct, frozen=True, kw_only=True, tag_field="decision", tag="retry"):
    """The same again, after a delay."""

    delay_s: float = 0.0
    reason: str = ""


class Alternative(msgspec.Struct, frozen=True, kw_only=True, tag_field="decision", tag="alternative"):
    """Another way to the same goal."""

    instructions: str | None = None
    """Said to the model before the next turn."""
    tier: Tier | None = None
    plan: Plan | None = None
    settings: JsonObject = {}
    """Changes to the model settings."""
    context_tokens: int | None = None
    """Build the context anew, no larger than this."""
    reason: str = ""


class Fallback(msgspec.Struct, frozen=True, kw_only=True, tag_field="decision", tag="fallback"):
    """Another model, or with `agent:NAME` another agent."""

    target: str
    reason: str = ""


class Extend(msgspec.Struct, frozen=True, kw_only=True, tag_field="decision", tag="extend"):
    """So much more of the budget that is short, once somebody has approved it; only after `budget.exceeded`."""

    amount: float
    unit: str = ""
    """Filled in by core, from the error; so are `above` and `needed`."""
    above: int = 0
    needed: float = 0.0
    reason: str = ""


class Abort(msgspec.Struct, frozen=True, kw_only=True, tag_field="decision", tag="abort"):
    """Give up."""

    reason: str = ""


RecoveryDecision: TypeAlias = Retry | Alternative | Fallback | Extend | Abort


class Degradation(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Something that was skipped, cut, replaced or unavailable: nobody takes a partial result for a whole one."""

    what: str
    why: str
    plugin: str | None = None
    code: str | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a quality check found."""

    severity: Literal["info", "warning", "error"]
    message: str
    check: str = ""
    source: str | None = None
    """`file:line`, where there is one."""


class HealthFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What a health check found."""

    status: Literal["ok", "warn", "fail"]
    what: str
    fix: str | None = None
    """The command that mends it."""


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """The value that goes through the phases of a run."""

    task: str
    messages: Sequence[Message] = ()
    """An append-only view of the conversation; never copied."""
    requirements: Requirements | None = None
    tools: tuple[str, ...] = ()
    tier: Tier = "core"
    plan: Plan | None = None
    turn: int = 0
    output: Any = UNSET
    """`UNSET` until there is one; setting it back to `UNSET` sends the run back to work."""
    confidence: float | None = None
    failure: Failure | None = None
    decision: RecoveryDecision | None = None
    degraded: tuple[Degradation, ...] = ()


class AgentCall(msgspec.Struct, frozen=True, kw_only=True):
    """A child run that is about to start."""

    agent: str
    task: str
    inputs: Json = None
    required: bool = True


class RunResult(msgspec.Struct, Generic[Output], frozen=True, kw_only=True, weakref=True):
    """What a run came to."""

    run: str
    agent: str = ""
    output: Output = None  # type: ignore[assignment]  # a run that failed has none; `raise_for_error` comes first
    """The text, or the validated value where the agent has an output schema."""
    end_reason: EndReason = "completed"
    messages: Sequence[Message] = ()
    usage: Usage = NO_USAGE
    cost_usd: float | None = None
    """A number only when every request has a price; `None` is "cost unknown"."""
    unpriced_models: tuple[str, ...] = ()
    confidence: float | None = None
    degraded: tuple[Degradation, ...] = ()
    findings: tuple[Finding, ...] = ()
    error: BaseException | None = None
    turns: int = 0
    pending_calls: tuple[Any, ...] = ()
    """Tool calls that were not executed, when a model turn was asked not to."""
    journal: Any = None

    @property
    def ok(self) -> bool:
        """Whether the task was completed."""
        return self.end_reason == "completed"

    @property
    def events(self) -> Sequence[Event]:
        """Every event of the run, in order."""
        return self.journal.events if self.journal is not None else ()

    def raise_for_error(self) -> RunResult[Output]:
        """The result itself, or the error that ended the run."""
        if self.error is not None:
            raise self.error
        return self

    def to_json(self) -> Mapping[str, Json]:
        """The result as plain JSON, without messages and events."""
        error = self.error.to_json() if isinstance(self.error, PegboardError) else self.error and str(self.error)
        return {
            "run": self.run,
            "agent": self.agent,
            "output": msgspec.to_builtins(self.output, enc_hook=_model_dump),
            "end_reason": self.end_reason,
            "usage": msgspec.to_builtins(self.usage),
            "cost_usd": self.cost_usd,
            "unpriced_models": list(self.unpriced_models),
            "confidence": self.confidence,
            "degraded": msgspec.to_builtins(self.degraded),
            "findings": msgspec.to_builtins(self.findings),
            "turns": self.turns,
            "error": error,
        }


def _model_dump(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump else repr(value)
