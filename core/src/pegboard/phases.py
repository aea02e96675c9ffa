"""The phases of a run: their order as a table, their default bodies, and what follows when one fails.

Each phase is an `around` hook whose innermost body is the minimal default below; a phase with neither an implementation
nor a body is skipped whole. How a run begins and ends is the runner's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from pegboard import deadline, recovery, turns
from pegboard.clock import elapsed_ms
from pegboard.errors import (
    AgentError,
    AgentInputError,
    LoopLimitError,
    ModelNoneError,
    PegboardError,
    UnknownPhaseError,
    ValidationFailedError,
    describe,
)
from pegboard.events import PhaseEntered, PhaseLeft
from pegboard.journal import code_of
from pegboard.lazy import LazyModule
from pegboard.run import Run
from pegboard.types import (
    UNSET,
    Abort,
    Agent,
    AgentConfig,
    Alternative,
    Failure,
    Fallback,
    RecoveryDecision,
    Requirements,
    RunState,
    StreamEvent,
    evolve,
    to_json,
)

if TYPE_CHECKING:
    from pegboard import schema
else:
    schema = LazyModule("pegboard.schema")

Body = Callable[[Any, RunState], Awaitable[RunState]]
END: Final = "end"

RUN_PHASES: Final[Mapping[str, str]] = {
    "initialization": "execution",
    "execution": "validation",
    "validation": "integration",
    "integration": END,
}
LOOP_PHASES: Final[Mapping[str, str]] = {
    "task_initiation": "analyze_requirements",
    "analyze_requirements": "tool_discovery",
    "tool_discovery": "planning_phase",
    "planning_phase": "execution_phase",
    "execution_phase": "completion_verification",
    "completion_verification": END,
}
BACK_TO: Final = "execution_phase"
"""Where a run goes on whose objectives are not met."""
MOST_PHASES: Final = 100
"""A plugin that overrides transitions cannot keep a run going for ever."""
CLOSING_PHASES: Final = ("state_cleanup", "cleanup", "idle")


async def _nothing(_: Any, state: RunState) -> RunState:
    return state


# --- walking the table -------------------------------------------------------------------------------------------


async def walk(run: Run, state: RunState, table: Mapping[str, str], phase: str) -> RunState:
    """Phase after phase, with recovery where one fails."""
    returns = 0
    for _ in range(MOST_PHASES):
        if phase == END:
            return state
        try:
            if not is_empty(run, phase, state):
                state = await enter(run, phase, state)
        except Exception as exc:
            # The execution recovers inside; here an error that came through it is final.
            if phase == "execution":
                raise
            state = await _recover(run, state, phase, exc)
            continue
        run.state = state
        proposed = table[phase]
        if phase == "completion_verification" and state.output is UNSET:
            returns += 1
            _check_returns(run, returns)
            proposed = BACK_TO
        layer = run.hooks.next_phase
        phase = proposed if layer is None else await _next(run, state, table, proposed)
    raise LoopLimitError(
        f"run `{run.run}` passed through {MOST_PHASES} phases without an end", hint="peg plugins order next_phase"
    )


def is_empty(run: Run, phase: str, state: RunState) -> bool:
    """Whether a phase has neither layers nor a body with something to do, so that it is skipped whole."""
    if getattr(run.hooks, phase) is not None:
        return False
    if phase not in BODIES:
        return True
    has_work = HAS_WORK.get(phase)
    return has_work is not None and not has_work(run, state)


async def enter(run: Run, phase: str, state: RunState) -> RunState:
    """One phase: its layers around its body."""
    layer = getattr(run.hooks, phase)
    body = BODIES.get(phase, _nothing)
    run.record("phase.entered", PhaseEntered(phase))
    started = run.clock.monotonic()
    outcome: Literal["done", "failed"] = "failed"
    try:
        state = await (body(run, state) if layer is None else layer(run, state, body))
        outcome = "done"
        return state
    finally:
        run.record("phase.left", PhaseLeft(phase, outcome, elapsed_ms(run.clock, started)))


async def _next(run: Run, state: RunState, table: Mapping[str, str], proposed: str) -> str:
    layer = run.hooks.next_phase
    chosen = await layer(run, state, proposed) if layer is not None else None
    if chosen is None or chosen == proposed:
        return proposed
    if chosen != END and chosen not in table:
        raise UnknownPhaseError(
            f"`next_phase` named `{chosen}`; from here there is {', '.join(table)} and {END}",
            hint="peg plugins order next_phase",
        )
    return chosen


def _check_returns(run: Run, returns: int) -> None:
    most = run.services.bounds.verification_returns
    if returns > most:
        raise LoopLimitError(
            f"run `{run.run}`: verification sent it back {most} times without an output that holds",
            hint="peg help loop.limit",
        )


# --- recovery ----------------------------------------------------------------------------------------------------


async def _recover(run: Run, state: RunState, phase: str, error: Exception, *, began: bool = False) -> RunState:
    """The state to enter the failed phase again with, or the error, when recovery gives up.

    `began` says that an earlier failure of the same attempt left something to be voided.
    """
    failure = recovery.failure_of(run, error, phase)
    began = began or failure.stream_started
    if run.sink is not None:
        run.sink.put(StreamEvent("error", failure.code, run=run.run, data={"message": describe(error)}))
    decided, decision = await _decided(run, evolve(state, failure=failure))
    kind = type(decision).__name__.lower()
    described = {
        "phase": phase,
        "step": failure.step,
        "code": failure.code,
        "message": describe(error),
        "decision": kind,
    }
    run.record("phase.error", {**described, "change": to_json(decision)})
    if isinstance(decision, Abort):
        recovery.keep_unfinished(run)
        raise recovery.ended_by(failure)
    recovery.remember(run, failure.step or phase, decision)
    try:
        await recovery.apply(run, decision, failure.step or phase)
    except PegboardError as unavailable:
        return await _recover_otherwise(run, evolve(state, failure=failure), phase, decision, unavailable, began=began)
    run.unfinished = ()
    attempt = failure.attempt
    if run.failed_step is not None:
        attempt = run.failed_step.attempt
        run.journal.reopen(run.failed_step)
        run.failed_step = None
        run.turn -= 1  # it is the same one again
    if began:
        run.restart(kind, attempt)
    plan = decision.plan if isinstance(decision, Alternative) else None
    return evolve(decided, failure=None, decision=None, plan=decided.plan if plan is None else plan)


async def _recover_otherwise(
    run: Run, state: RunState, phase: str, decision: RecoveryDecision, unavailable: PegboardError, *, began: bool
) -> RunState:
    """What was decided is not to be had; something else may be. Where nothing is, the first failure is the error."""
    failure: Failure = state.failure  # type: ignore[assignment]  # set by the caller
    is_fallback = isinstance(decision, Fallback)
    if isinstance(decision, Fallback):
        run.degrade(f"fallback `{decision.target}`", unavailable.message, code=unavailable.code)
    try:
        return await _recover(run, state, phase, unavailable, began=began)
    except PegboardError as ended:
        if is_fallback and ended is unavailable:
            raise recovery.ended_by(failure) from unavailable
        raise


async def _decided(run: Run, state: RunState) -> tuple[RunState, RecoveryDecision]:
    """What `error_handling` decides; `Abort` where nobody is asked."""
    failure: Failure = state.failure  # type: ignore[assignment]  # set by the caller
    nobody = run.hooks.recover is None and run.hooks.error_handling is None
    if nobody or not recovery.is_offered(failure) or recovery.is_exhausted(run, failure):
        return state, Abort()
    decided = await enter(run, "error_handling", state)
    return decided, recovery.allowed(failure, decided.decision or Abort())


async def _ask_recover(run: Any, state: RunState) -> RunState:
    """Core's body of `error_handling`."""
    layer = run.hooks.recover
    decision = await layer(run, state.failure) if layer is not None else None
    return evolve(state, decision=decision or Abort())


# --- core's bodies -----------------------------------------------------------------------------------------------


async def _initialize(run: Any, state: RunState) -> RunState:
    """Input checked; tools, modules and model there; the task itself is the objective until a phase knows better."""
    config: AgentConfig = run.config
    if config.input_schema is not None:
        errors = schema.json_errors(config.input_schema, run.input)
        if errors:
            hint = f"peg agents info {config.name}"
            raise AgentInputError(f"the input of agent `{config.name}` does not fit: {errors}", hint=hint)
    if run.modules:  # an attempt before this one failed half-way
        await _clean_up(run, state)
    await run.equip()
    if run.model is not None or run.agent.execute is None:
        await run.use(run.model or await run.services.model(config.model))
    requirements = Requirements(objectives=(state.task,))
    return evolve(state, requirements=requirements, tools=run.tools.names(state.tier))


def _execute(run: Any, state: RunState) -> Awaitable[RunState]:
    return walk(run, state, LOOP_PHASES, "task_initiation")


def _work(run: Any, state: RunState) -> Awaitable[RunState]:
    agent: Agent = run.agent
    if agent.execute is None:
        return turns.take_turns(run, state)
    return _execute_agent(run, agent.execute, state)


async def _execute_agent(run: Run, execute: Callable[..., Awaitable[Any]], state: RunState) -> RunState:
    result = await execute(run, state, _model_turns)
    if not isinstance(result, RunState):
        raise AgentError(
            f"`execute` of agent `{run.config.name}` returned `{type(result).__name__}`, and must return a `RunState`",
            hint="peg help agent.invalid",
        )
    return result


async def _model_turns(run: Any, state: RunState) -> RunState:
    if run.model is None:
        await run.use(await run.services.model(run.config.model))
    if run.config.answer is not None and run.model.is_demo:
        raise ModelNoneError(f"`{run.model.id}` is there to try things out, and judges nothing")
    return await turns.take_turns(run, state)


async def _verify(_: Any, state: RunState) -> RunState:
    return evolve(state, output=UNSET) if state.plan is not None and state.plan.open_steps else state


async def _validate(run: Any, state: RunState) -> RunState:
    config: AgentConfig = run.config
    run.confidence = state.confidence
    if config.min_confidence and (state.confidence or 0.0) < config.min_confidence:
        raise ValidationFailedError(
            f"confidence {state.confidence} of agent `{config.name}` is below {config.min_confidence}"
        )
    if config.output is not None and run.agent.execute is not None:
        schema.OutputContract(config.output).validate(state.output)  # of an agent that computes
    if run.hooks.check_quality is not None:
        await _check_quality(run, state)
    return state


async def _check_quality(run: Run, state: RunState) -> None:
    found = await run.hooks.check_quality(run, run.result(output=state.output)) if run.hooks.check_quality else []
    run.findings = tuple(finding for _, findings in found for finding in findings)
    for plugin, code in getattr(found, "missing", ()):
        run.degrade("quality check", "it failed", plugin=plugin, code=code)
    errors = [finding.message for finding in run.findings if finding.severity == "error"]
    if errors:
        raise ValidationFailedError(f"quality standards of agent `{run.config.name}`: {'; '.join(errors)}")


async def _clean_state(run: Any, state: RunState) -> RunState:
    run.scoped.close()
    return state


async def _clean_up(run: Any, state: RunState) -> RunState:
    passing: BaseException | None = None
    for module in reversed(run.modules):
        try:
            await module.cleanup()
        except BaseException as exc:
            if deadline.is_closing():
                raise
            if isinstance(exc, KeyboardInterrupt) or (isinstance(exc, asyncio.CancelledError) and run.is_ending):
                passing = exc  # goes up when the other modules had their turn
                continue
            run.record(
                "cleanup.error",
                {"phase": "cleanup", "code": code_of(exc), "message": f"{module.name}: {describe(exc)}"},
            )
    run.modules = ()
    if passing is not None:
        raise passing
    return state


def _has_plan(_: Run, state: RunState) -> bool:
    return state.plan is not None


def _has_standards(run: Run, state: RunState) -> bool:
    config = run.config
    judged = config.output is not None or run.hooks.check_quality is not None
    return judged or state.confidence is not None or config.min_confidence > 0


def _has_modules(run: Run, _: RunState) -> bool:
    return bool(run.modules)


def _has_scoped(run: Run, _: RunState) -> bool:
    return run.has_scoped


BODIES: Final[Mapping[str, Body]] = {
    "initialization": _initialize,
    "execution": _execute,
    "execution_phase": _work,
    "completion_verification": _verify,
    "validation": _validate,
    "error_handling": _ask_recover,
    "state_cleanup": _clean_state,
    "cleanup": _clean_up,
}
"""The innermost body of each phase that has one."""

HAS_WORK: Final[Mapping[str, Callable[[Run, RunState], bool]]] = {
    "completion_verification": _has_plan,
    "validation": _has_standards,
    "state_cleanup": _has_scoped,
    "cleanup": _has_modules,
}
"""Whether a body has something to do, for those that often have not."""
