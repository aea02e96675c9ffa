"""`AgentRunner`: the phases of one run, in the order of the transition table.

Each phase is an `around` hook whose innermost body is the minimal default below; a phase with neither an implementation
nor a body is skipped whole. No concrete plugin is known here, and no behaviour beyond the defaults.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from pegboard import calls, recovery, turns
from pegboard.clock import elapsed_ms
from pegboard.errors import (
    AgentInputError,
    ApprovalDeniedError,
    BudgetExceededError,
    LoopLimitError,
    ModelFault,
    ModelUnavailableError,
    PegboardError,
    RunCancelledError,
    RunFailedError,
    StorageExhaustedError,
    UnknownPhaseError,
    ValidationFailedError,
)
from pegboard.history import MessageView
from pegboard.journal import SCOPE, Step
from pegboard.lazy import LazyModule
from pegboard.model import Inputs, ModelBase, Sink, normalize, stream_from
from pegboard.output import StructuredOutput
from pegboard.run import CURRENT, Run, RunServices
from pegboard.types import (
    UNSET,
    Abort,
    Action,
    Agent,
    AgentCall,
    AgentConfig,
    Alternative,
    BudgetRequest,
    EndReason,
    Failure,
    Json,
    Message,
    RecoveryDecision,
    Requirements,
    ResourceLimits,
    RunResult,
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
UNRECOVERABLE = (BudgetExceededError, LoopLimitError, StorageExhaustedError)
"""Never offered to `recover`."""


class AgentRunner:
    """Runs an agent with one model, over as many turns as it takes.

    Without a board there are no plugins: the agent's own tools, the model given here, core's defaults.

        result = await AgentRunner(model).get_response(agent, "What is one plus two?")
    """

    def __init__(self, model: ModelBase | None = None, *, services: RunServices | None = None) -> None:
        self._model = model
        self._services = services or RunServices()

    async def get_response(self, agent: Agent | AgentConfig, inputs: Inputs | Json, **options: Any) -> RunResult:
        """A whole run. Its result says how it ended, also when it failed; nothing but cancellation is raised.

        Options: `history`, `run`, `parent`, `conversation`, `principal`, `workspace`, `limits`, `explain`, `journal`.
        """
        run = self.prepare(agent, inputs, **options)
        return await self.drive(run)

    async def stream_response(
        self, agent: Agent | AgentConfig, inputs: Inputs | Json, **options: Any
    ) -> AsyncGenerator[StreamEvent, None]:
        """The same run as events; the last is final and holds the result. Closing the iterator cancels the run."""
        run = self.prepare(agent, inputs, **options)
        async with aclosing(self.stream(run)) as events:
            async for event in events:
                yield event

    def prepare(self, agent: Agent | AgentConfig, inputs: Inputs | Json, **options: Any) -> Run:
        """A run that has not begun."""
        if isinstance(agent, AgentConfig):
            agent = Agent(agent)
        messages, task, plain = _read_inputs(inputs)
        history: Sequence[Message] = options.pop("history", ())
        run = Run(
            agent,
            self._services,
            input=plain,
            given=inputs,
            task=task,
            history=history if isinstance(history, MessageView) or not history else list(history),
            start_child=_start_child,
            **options,
        )
        for message in messages:
            run.log.append(message)
        run.model = self._model
        return run

    def drive(self, run: Run) -> Awaitable[RunResult]:
        """Take a run through its phases."""
        return _drive(run)

    async def stream(self, run: Run) -> AsyncGenerator[StreamEvent, None]:
        """Take a run through its phases in a task of its own, and yield its events."""

        async def work(sink: Sink) -> RunResult:
            run.sink = sink
            return await _drive(run)

        async with aclosing(stream_from(work)) as events:
            async for event in events:
                yield event


def _read_inputs(inputs: Inputs | Json) -> tuple[Sequence[Message], str, Json]:
    """Messages, the task as text, and the input as plain JSON."""
    if isinstance(inputs, str):
        return (Message.user(inputs),), inputs, inputs
    if isinstance(inputs, Message) or (
        isinstance(inputs, Sequence) and inputs and all(isinstance(item, Message) for item in inputs)
    ):
        messages = normalize(inputs)
        task = next((message.text for message in reversed(messages) if message.role == "user"), "")
        return messages, task, task
    text = schema.as_text(inputs)
    return (Message.user(text),), text, inputs


async def _nothing(_: Any, state: RunState) -> RunState:
    return state


_NO_BODY: Final = (_nothing, None)

# --- the whole run -----------------------------------------------------------------------------------------------


async def _drive(run: Run) -> RunResult:
    """Phases, then closing phases, whatever happened; the result."""
    error: BaseException | None = None
    state = RunState(task=run.task, messages=run.log.view())
    started = run.clock.monotonic()
    run.driver = asyncio.current_task()
    tokens = CURRENT.set(run), SCOPE.set("")
    try:
        _begin(run)
        if run.journal.flushes:
            await run.journal.flush(barrier=True, state="running")
        limit = run.seconds_left
        if limit is None:
            state = await _walk(run, state, RUN_PHASES, "initialization")
        else:
            state = await _limited(run, state, limit)
    except asyncio.CancelledError as caught:
        error = _cancelled(run, caught)
    except Exception as caught:
        error = caught
    run.log.settle()
    if error is not None:
        state = run.state or state
    error = await _close(run, state, error)
    CURRENT.reset(tokens[0])
    SCOPE.reset(tokens[1])
    result = await _finish(run, _result_of(run, state, error), started)
    if isinstance(error, asyncio.CancelledError):
        error.run = result  # type: ignore[attr-defined]  # what was going on, for whoever catches it
        raise error
    return result


def _begin(run: Run) -> None:
    if run.resumed:
        run.emit("run.resumed", {"at": len(run.journal.events)})
        return
    config = run.config
    run.emit("run.started", {"agent": config.name, "version": config.version, "input": run.input, "root": run.root})


async def _limited(run: Run, state: RunState, seconds: float) -> RunState:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await _walk(run, state, RUN_PHASES, "initialization")
    except TimeoutError as exc:
        if not limit.expired():  # of something inside
            raise
        raise LoopLimitError(
            f"run `{run.run}` reached its limit of {round(seconds, 2):g} s", hint="peg help loop.limit"
        ) from exc


def _cancelled(run: Run, caught: asyncio.CancelledError) -> BaseException:
    """A cancel that was asked of the run ends it with a result; one of the task around it goes up."""
    task = asyncio.current_task()
    if task is not None and not task.cancelling():
        return RunFailedError(f"run `{run.run}` waited for something that was cancelled by somebody else")
    run.emit("run.cancelled", {"reason": run.cancel.reason})
    if run.cancel.cancelled and task is not None:
        task.uncancel()
        return RunCancelledError(
            f"run `{run.run}` was cancelled{f': {run.cancel.reason}' if run.cancel.reason else ''}",
            hint=f"peg run --resume {run.run}",
        )
    return caught


async def _finish(run: Run, result: RunResult, started: float) -> RunResult:
    """The last event, and everything in the store; the result, which is a failure where that could not be written."""
    run.emit(
        "run.finished",
        {
            "end_reason": result.end_reason,
            "usage": {"input_tokens": result.usage.input_tokens, "output_tokens": result.usage.output_tokens},
            "cost_usd": result.cost_usd,
            "unpriced_models": list(result.unpriced_models),
            "turns": result.turns,
            "degraded": [entry.what for entry in result.degraded],
            "duration_ms": elapsed_ms(run.clock, started),
        },
    )
    if not run.journal.flushes:
        return result
    stored = {"completed": "done", "cancelled": "cancelled", "needs_approval": "paused"}
    try:
        await run.journal.flush(barrier=True, state=stored.get(result.end_reason, "failed"))
    except Exception as exc:
        return _result_of(run, RunState(task=run.task, output=result.output), result.error or exc)
    return result


def _result_of(run: Run, state: RunState, error: BaseException | None) -> RunResult:
    output = None if state.output is UNSET else state.output
    if error is None:
        return run.result(output=output, end_reason="completed")
    wrapped = error
    if not isinstance(error, PegboardError) and isinstance(error, Exception):
        wrapped = RunFailedError(f"run `{run.run}` failed: {type(error).__name__}: {error}")
        wrapped.__cause__ = error
    result = run.result(output=output, end_reason=_end_reason(error), error=wrapped)
    if isinstance(wrapped, PegboardError):
        wrapped.run = result
    return result


def _end_reason(error: BaseException) -> EndReason:
    if isinstance(error, asyncio.CancelledError | RunCancelledError):
        return "cancelled"
    if isinstance(error, BudgetExceededError):
        return "budget"
    if isinstance(error, LoopLimitError):
        return "limit"
    if isinstance(error, PegboardError) and error.code in ("approval.needed", "tool.unsafe_unknown"):
        return "needs_approval"
    if isinstance(error, ModelUnavailableError) or (isinstance(error, ModelFault) and error.retryable):
        return "unavailable"
    return "failed"


async def _close(run: Run, state: RunState, error: BaseException | None) -> BaseException | None:
    """`state_cleanup`, `cleanup`, `idle`: a failure in one is an event, and the rest runs. How the run ends by now."""
    if error is not None:
        state = evolve(state, failure=recovery.failure_of(run, error))
    for phase in CLOSING_PHASES:
        try:
            if not _is_empty(run, phase, state):
                state = await _phase(run, phase, state)
        except asyncio.CancelledError as exc:
            error = error or _cancelled(run, exc)
        except Exception as exc:
            run.emit("cleanup.error", {"phase": phase, "code": recovery.code_of(exc), "message": str(exc)})
    return error


# --- walking the table -------------------------------------------------------------------------------------------


async def _walk(run: Run, state: RunState, table: Mapping[str, str], phase: str) -> RunState:
    """Phase after phase, with recovery where one fails."""
    returns = 0
    for _ in range(MOST_PHASES):
        if phase == END:
            return state
        try:
            if not _is_empty(run, phase, state):
                state = await _phase(run, phase, state)
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


def _is_empty(run: Run, phase: str, state: RunState) -> bool:
    """Whether a phase has neither layers nor a body with something to do, so that it is skipped whole."""
    if getattr(run.hooks, phase) is not None:
        return False
    body, wanted = BODIES.get(phase, _NO_BODY)
    return body is _nothing or (wanted is not None and not wanted(run, state))


async def _phase(run: Run, phase: str, state: RunState) -> RunState:
    """One phase: its layers around its body."""
    layer = getattr(run.hooks, phase)
    body, _ = BODIES.get(phase, _NO_BODY)
    run.emit("phase.entered", {"phase": phase})
    started = run.clock.monotonic()
    outcome = "failed"
    try:
        state = await (body(run, state) if layer is None else layer(run, state, body))
        outcome = "done"
        return state
    finally:
        run.emit("phase.left", {"phase": phase, "outcome": outcome, "duration_ms": elapsed_ms(run.clock, started)})


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


async def _recover(run: Run, state: RunState, phase: str, error: Exception) -> RunState:
    """The state to enter the failed phase again with, or the error, when recovery gives up."""
    failure = recovery.failure_of(run, error, phase)
    if run.sink is not None:
        run.sink.put(StreamEvent("error", failure.code, run=run.run, data={"message": str(error)}))
    decided, decision = await _decided(run, evolve(state, failure=failure))
    kind = type(decision).__name__.lower()
    described = {"phase": phase, "step": failure.step, "code": failure.code, "message": str(error), "decision": kind}
    run.emit("phase.error", {**described, "change": to_json(decision)})
    if isinstance(decision, Abort):
        raise error
    await recovery.apply(run, decision)
    if run.failed_step is not None:
        run.journal.reopen(run.failed_step)
        run.failed_step = None
        run.turn -= 1  # it is the same one again
    if failure.stream_started:
        run.restart(kind, failure.attempt)
    plan = decision.plan if isinstance(decision, Alternative) else None
    return evolve(decided, failure=None, decision=None, plan=decided.plan if plan is None else plan)


async def _decided(run: Run, state: RunState) -> tuple[RunState, RecoveryDecision]:
    """What `error_handling` decides; `Abort` where nobody is asked."""
    failure: Failure = state.failure  # type: ignore[assignment]  # set by the caller
    nobody = run.hooks.recover is None and run.hooks.error_handling is None
    if nobody or isinstance(failure.error, UNRECOVERABLE) or recovery.exhausted(run, failure):
        return state, Abort()
    decided = await _phase(run, "error_handling", state)
    return decided, decided.decision or Abort()


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
            raise AgentInputError(f"the input of agent `{config.name}` does not fit: {errors}", hint="peg agents list")
    await run.equip()
    if run.model is None and run.agent.execute is None:
        run.model = await run.services.model(config.model)
    if config.output is not None and run.model is not None:
        run.output = StructuredOutput(config, run.model.capabilities(run.model.name))
    requirements = Requirements(objectives=(state.task,))
    return evolve(state, requirements=requirements, tools=turns.offered(run, state.tier))


def _execute(run: Any, state: RunState) -> Awaitable[RunState]:
    return _walk(run, state, LOOP_PHASES, "task_initiation")


def _work(run: Any, state: RunState) -> Awaitable[RunState]:
    agent: Agent = run.agent
    if agent.execute is None:
        return turns.take_turns(run, state)
    return agent.execute(run, state, _model_turns)


async def _model_turns(run: Any, state: RunState) -> RunState:
    if run.model is None:
        run.model = await run.services.model(run.config.model)
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
    if config.output is not None and run.output is None:
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
    for module in reversed(run.modules):
        try:
            await module.cleanup()
        except Exception as exc:
            run.emit(
                "cleanup.error", {"phase": "cleanup", "code": recovery.code_of(exc), "message": f"{module.name}: {exc}"}
            )
    run.modules = ()
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


BODIES: Final[Mapping[str, tuple[Body, Callable[[Run, RunState], bool] | None]]] = {
    "initialization": (_initialize, None),
    "execution": (_execute, None),
    "execution_phase": (_work, None),
    "completion_verification": (_verify, _has_plan),
    "validation": (_validate, _has_standards),
    "error_handling": (_ask_recover, None),
    "state_cleanup": (_clean_state, _has_scoped),
    "cleanup": (_clean_up, _has_modules),
}
"""The innermost body of each phase that has one, and when it has something to do; `None` is always."""


# --- child runs --------------------------------------------------------------------------------------------------


async def _start_child(
    run: Run,
    agent: str | Agent,
    task: str,
    *,
    inputs: Json = None,
    required: bool = True,
    limits: ResourceLimits | None = None,
) -> RunResult:
    """A child run as a step, through the layers of `agent_call`.

    Raises:
        PegboardError: the child failed and is required; it is listed under `degraded` where it is not.
    """
    target = agent if isinstance(agent, Agent) else await run.services.agent(agent)
    call = AgentCall(agent=target.name, task=task, inputs=inputs, required=required)
    step = run.journal.open(f"agent.call:{target.name}", call)
    if step.recorded is not None:
        recorded: RunResult = run.journal.result(step)
        return recorded
    run.replaying = False

    async def body(_: Any, changed: AgentCall) -> RunResult:
        chosen = target if changed.agent == target.name else await run.services.agent(changed.agent)
        return await _child(run, chosen, changed, limits, step)

    run.journal.start(step, name=target.name)
    layer = run.hooks.agent_call
    try:
        result = await (layer(run, call, body) if layer is not None else body(run, call))
    except BaseException as error:
        run.journal.fail(step, error)
        raise
    if result.ok:
        run.journal.finish(step, result, usage=result.usage)
        await run.journal.flush()
        return result
    run.journal.fail(step, result.error or RunFailedError(f"agent `{target.name}` ended with {result.end_reason}"))
    if call.required:
        result.raise_for_error()
    run.degrade(
        f"agent `{target.name}`", f"ended with {result.end_reason}", code=recovery.code_of(result.error or Exception())
    )
    return result


async def _child(run: Run, agent: Agent, call: AgentCall, limits: ResourceLimits | None, step: Step) -> RunResult:
    action = Action(verb="agent.call", resource=agent.name, arguments=call.task, effect="pure")
    denied = await calls.judge(run, action, f"{run.run}/{agent.name}")
    if denied is not None:
        raise ApprovalDeniedError(f"child run of `{agent.name}` denied: {denied}")
    request = BudgetRequest(run=run.run, kind="agent", resource=agent.name, principal=run.principal)
    await calls.reserve(run, request, {})
    name = f"{run.run}.{step.id}"  # the same in every life of the parent, so that a child goes on too
    runner = AgentRunner(services=run.services)
    child = runner.prepare(
        agent,
        call.task if call.inputs is None else call.inputs,
        run=name,
        parent=run,
        limits=limits,
        explain=run.explain,
        journal=await run.services.earlier(name) if run.resumed else None,
    )
    with run.services.tracking(child):
        result = await runner.drive(child)
    run.usage = run.usage + result.usage
    _add_cost(run, result)
    await calls.settle(run, request, tokens=result.usage.total_tokens, cost_usd=result.cost_usd)
    return result


def _add_cost(run: Run, result: RunResult) -> None:
    run.add_unpriced(*result.unpriced_models)
    if result.cost_usd is None:
        run.cost_usd = None
    elif run.cost_usd is not None:
        run.cost_usd += result.cost_usd
