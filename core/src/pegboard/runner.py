"""`AgentRunner`: one run from its beginning to its end, and the child runs inside it.

The phases in between stand in `phases`. Whatever happens, a run ends with its closing phases, a valid history and a
result that says how it ended. No concrete plugin is known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from pegboard import calls, deadline, recovery, spent, turns
from pegboard.agent import check_agent
from pegboard.clock import elapsed_ms
from pegboard.errors import (
    AgentError,
    ApprovalDeniedError,
    BudgetExceededError,
    JournalDivergedError,
    LoopLimitError,
    ModelFault,
    ModelUnavailableError,
    PegboardError,
    RunCancelledError,
    RunFailedError,
    ToolUnsafeUnknownError,
    describe,
)
from pegboard.events import RunFinished, Tokens
from pegboard.history import MessageView
from pegboard.journal import SCOPE, Step, code_of
from pegboard.lazy import LazyModule
from pegboard.model import Inputs, ModelBase, Sink, normalize, stream_from
from pegboard.phases import CLOSING_PHASES, RUN_PHASES, enter, is_empty, walk
from pegboard.run import CURRENT, Run, RunServices
from pegboard.signs import storable, storable_text
from pegboard.types import (
    UNSET,
    Action,
    Agent,
    AgentCall,
    AgentConfig,
    BudgetRequest,
    EndReason,
    Json,
    Message,
    ResourceLimits,
    RunResult,
    RunState,
    StreamEvent,
    evolve,
    message_from_json,
    to_json,
)

if TYPE_CHECKING:
    from pegboard import schema
else:
    schema = LazyModule("pegboard.schema")


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

        Options: `history`, `run`, `parent`, `conversation`, `principal`, `workspace`, `limits`, `explain`,
        `target`, `journal`.
        """
        run = self.prepare(agent, inputs, **options)
        return await self.drive(run)

    def stream_response(
        self, agent: Agent | AgentConfig, inputs: Inputs | Json, **options: Any
    ) -> AsyncGenerator[StreamEvent, None]:
        """The same run as events; the last is final and holds the result. Closing the iterator cancels the run."""
        return self.stream(self.prepare(agent, inputs, **options))

    def prepare(self, agent: Agent | AgentConfig, inputs: Inputs | Json, **options: Any) -> Run:
        """A run that has not begun."""
        if isinstance(agent, AgentConfig):
            agent = Agent(agent)
        messages, task, plain = _read_inputs(inputs)
        history: Sequence[Message] = options.pop("history", ())
        limits = options.get("limits")
        if limits is not None and not isinstance(limits, ResourceLimits):
            raise AgentError(f"`limits` is {type(limits).__name__}, and must be ResourceLimits")
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

    def stream(
        self, run: Run, *, during: AbstractContextManager[None] | None = None
    ) -> AsyncGenerator[StreamEvent, None]:
        """Take a run through its phases in a task of its own, and yield its events; `during` is open until the last."""

        async def work(sink: Sink) -> RunResult:
            run.sink = sink
            return await _drive(run)

        return stream_from(work, during)


def _read_inputs(inputs: Inputs | Json) -> tuple[Sequence[Message], str, Json]:
    """Messages, the task as text, and the input as plain JSON."""
    if isinstance(inputs, str):
        said = inputs if inputs.isascii() else storable_text(inputs)
        return (Message.user(said),), said, said
    if isinstance(inputs, Message) or (
        isinstance(inputs, Sequence) and inputs and all(isinstance(item, Message) for item in inputs)
    ):
        messages = [message_from_json(storable(to_json(message))) for message in normalize(inputs)]
        task = next((message.text for message in reversed(messages) if message.role == "user"), "")
        return messages, task, task
    inputs = storable(inputs)
    text = schema.as_text(inputs)
    return (Message.user(text),), text, inputs


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
        if run.is_cancelled:
            raise _stopped(run)
        if run.journal.flushes or run.resumed:
            await _take_up(run)
        limit = run.seconds_left
        if limit is None:
            state = await walk(run, state, RUN_PHASES, "initialization")
        else:
            state = await _limited(run, state, limit)
        if run.is_cancelled:  # by itself, in something that did not wait any more
            await turns.stop(run)
    except BaseException as caught:
        error = _ended_by(run, caught)
    run.log.settle()
    turns.take_messages(run, run.turn + 1)  # what came too late for an answer is not lost
    if error is not None:
        state = run.state or state
    error = await _close(run, state, error)
    CURRENT.reset(tokens[0])
    SCOPE.reset(tokens[1])
    try:
        result = _result_of(run, state, error)
        _say_finished(run, result, started)
        if run.journal.flushes and not isinstance(error, _CLOSED):
            result = await _stored(run, result)
    finally:
        run.is_over = True
        if run.ended is not None:
            run.ended.set()
    if isinstance(error, _PASSING_THROUGH):
        error.run = result  # type: ignore[union-attr]  # what was going on, for whoever catches it
        raise error
    return result


def _begin(run: Run) -> None:
    if run.resumed:
        calls.recall_approvals(run)
        run.record("run.resumed", {"at": len(run.journal.events)})
        return
    config = run.config
    data = {
        "agent": config.name,
        "version": config.version,
        "input": run.input,
        "root": run.root,
        "max_turns": config.max_turns,
    }
    plugins = run.services.plugin_versions() if run.parent is None else None  # the same for child runs
    run.record("run.started", {**data, "plugins": plugins} if plugins else data)


async def _take_up(run: Run) -> None:
    if run.journal.flushes:
        await run.journal.begin()
    if run.resumed:
        await spent.count_lost(run)


async def _limited(run: Run, state: RunState, seconds: float) -> RunState:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            turns.check_time(run)
            return await walk(run, state, RUN_PHASES, "initialization")
    except (TimeoutError, deadline.AbandonedError) as exc:
        if not limit.expired() or _is_stopped(run):  # of something inside, or more than the time is over
            raise
        abandoned = exc.__cause__ if isinstance(exc, TimeoutError) else exc  # from Python 3.13 on `timeout` replaces it
        if isinstance(abandoned, deadline.AbandonedError):
            run.left_behind(abandoned.what)
        raise turns.out_of_time(run) from exc


_CLOSED = (GeneratorExit, deadline.LeftBehind)
_PASSING_THROUGH = (asyncio.CancelledError, KeyboardInterrupt, *_CLOSED)
"""What goes up in the end, after everything was closed; whatever else ends a run is told in its result."""


def _ended_by(run: Run, caught: BaseException) -> BaseException:
    """How the run ends: what code of others raises that is no `Exception` does not end the host."""
    if isinstance(caught, asyncio.CancelledError):
        return _cancelled(run, caught)
    if isinstance(caught, GeneratorExit) and not _is_closed(run):
        return _failed(run, caught)
    return caught


def _is_closed(run: Run) -> bool:
    """Whether a `GeneratorExit` came from outside: our task is gone, or what we are part of was abandoned."""
    try:
        return asyncio.current_task() is not run.driver or deadline.is_closing()
    except RuntimeError:  # no running loop
        return True


def _is_stopped(run: Run) -> bool:
    task = asyncio.current_task()
    return (task is not None and task.cancelling() > 0) or (run.is_cancelled and not run.cancel.served)


def _failed(run: Run, error: BaseException) -> RunFailedError:
    failed = RunFailedError(f"run `{run.run}` failed: {type(error).__name__}: {describe(error)}")
    failed.__cause__ = error
    return failed


def _cancelled(run: Run, caught: asyncio.CancelledError) -> BaseException:
    """A cancel that was asked of the run ends it with a result; one of the task around it goes up."""
    if not _is_stopped(run):
        return RunFailedError(f"run `{run.run}` waited for something that was cancelled by somebody else")
    if isinstance(caught, deadline.AbandonedError):
        run.left_behind(caught.what)
    run.record("run.cancelled", {"reason": run.cancel.reason})
    if not _was_asked(run):
        return caught
    return _stopped(run)


def _stopped(run: Run) -> RunCancelledError:
    run.cancel.served = True
    reason = f": {run.cancel.reason}" if run.cancel.reason else ""
    hint = f"peg runs resume {run.root}" if run.journal.durable else None  # else only this board can
    return RunCancelledError(f"run `{run.run}` was cancelled{reason}", hint=hint)


def _was_asked(run: Run) -> bool:
    """Whether it is the run that was to be cancelled, and not the task around it, which then goes on."""
    asked = run.cancel.cancelled and not run.cancel.served
    run.cancel.cancelled = run.cancel.served = True  # for threads too, which can only look
    task = asyncio.current_task()
    if asked and task is not None:
        task.uncancel()
    return asked


def _say_finished(run: Run, result: RunResult, started: float) -> None:
    run.record(
        "run.finished",
        RunFinished(
            end_reason=result.end_reason,
            usage=Tokens(result.usage.input_tokens, result.usage.output_tokens),
            cost_usd=result.cost_usd,
            unpriced_models=list(result.unpriced_models),
            turns=result.turns,
            degraded=[entry.what for entry in result.degraded],
            duration_ms=elapsed_ms(run.clock, started),
        ),
    )


async def _stored(run: Run, result: RunResult) -> RunResult:
    """Have everything in the store; the result, which is a failure where that could not be written."""
    stored = {"completed": "done", "cancelled": "cancelled", "needs_approval": "paused"}
    if run.replaying and isinstance(result.error, JournalDivergedError):
        ending = run.journal.end_as_before()
    else:
        ending = run.journal.end(stored.get(result.end_reason, "failed"), result)
    writing = asyncio.ensure_future(ending)
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError as exc:
        await writing
        if not _was_asked(run):
            exc.run = result  # type: ignore[attr-defined]  # as in `_drive`
            raise
    except Exception as exc:
        return _result_of(run, RunState(task=run.task, output=result.output), result.error or exc)
    return result


def _result_of(run: Run, state: RunState, error: BaseException | None) -> RunResult:
    output = getattr(error, "output", None) if state.output is UNSET else state.output  # what a failure leaves of it
    if error is None:
        return run.result(output=output, end_reason="completed")
    wrapped = error if isinstance(error, (PegboardError, *_PASSING_THROUGH)) else _failed(run, error)
    result = run.result(output=output, end_reason=_end_reason(error), error=wrapped)
    if isinstance(wrapped, PegboardError):
        wrapped.run = result
    return result


def _end_reason(error: BaseException) -> EndReason:
    if isinstance(error, (RunCancelledError, *_PASSING_THROUGH)):
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
            if not is_empty(run, phase, state):
                entered = enter(run, phase, state)
                # Who is closed itself may not wait any more; what ends at once is still done.
                state = (deadline.at_once(entered) or state) if isinstance(error, _CLOSED) else await entered
        except BaseException as exc:
            ended = _ended_by(run, exc)
            if isinstance(ended, _PASSING_THROUGH):
                error = ended
            elif isinstance(exc, asyncio.CancelledError):
                error = error or ended
            else:
                run.record("cleanup.error", {"phase": phase, "code": code_of(exc), "message": describe(exc)})
    return error


# --- child runs --------------------------------------------------------------------------------------------------


MAX_DEPTH: Final = 32
"""How deep child runs may stand inside one another."""


def depth_of(run: Run) -> int:
    """How many runs stand above."""
    depth, above = 0, run.parent_run
    while above is not None:
        depth, above = depth + 1, above.parent_run
    return depth


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
    check_agent(target)
    if depth_of(run) >= MAX_DEPTH:
        raise LoopLimitError(f"child runs are {MAX_DEPTH} deep inside one another", hint="peg help loop.limit")
    call = AgentCall(agent=target.name, task=task, inputs=inputs, required=required)
    step = run.journal.open(f"agent.call:{target.name}", call)
    if step.recorded is not None:
        recorded: RunResult = run.journal.result(step)
        spent.count_child(run, recorded)
        await spent.count_inside(run, step)
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
    failure = result.error or RunFailedError(f"agent `{target.name}` ended with {result.end_reason}")
    run.journal.fail(step, failure, result)
    if call.required or isinstance(result.error, ToolUnsafeUnknownError):  # a person has to say, whoever can do without
        result.raise_for_error()
    run.degrade(f"agent `{target.name}`", f"ended with {result.end_reason}", code=code_of(result.error or Exception()))
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
    run.add_usage(result)
    await calls.settle(run, request, tokens=result.usage.total_tokens, cost_usd=result.cost_usd)
    return result
