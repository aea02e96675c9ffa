"""What follows a failure: how it is described, how often a step may be repeated, and what a decision changes in a run.

Who decides is up to plugins. A resumed run takes the same decisions at the same steps, without asking or waiting again.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import Final

import msgspec

from pegboard.calls import judge
from pegboard.errors import (
    BudgetExceededError,
    LoopLimitError,
    ModelFault,
    ModelUnavailableError,
    PegboardError,
    StorageExhaustedError,
    describe,
)
from pegboard.journal import code_of
from pegboard.run import Run
from pegboard.trouble import Trouble
from pegboard.types import (
    Abort,
    Action,
    Alternative,
    Extend,
    Failure,
    Fallback,
    Message,
    RecoveryDecision,
    Retry,
    evolve,
)

MOST_ATTEMPTS: Final = 10
"""Of one step, with all the models that it falls back to and whatever the configuration says."""


def trouble_of(run: Run, key: str) -> Trouble:
    """What was decided about the failures of a step, or of a phase where it was in none."""
    return run.troubles.setdefault(key, Trouble(run.clock.monotonic()))


def failure_of(run: Run, error: BaseException, phase: str = "") -> Failure:
    """A failure as `recover` sees it."""
    step = run.failed_step.id if run.failed_step else None
    trouble = trouble_of(run, step or phase)
    allowed = min(run.config.retry.attempts - 1, run.services.bounds.step_repeats)
    tokens = run.log.tokens()
    return Failure(
        error=error,
        code=code_of(error),
        phase=phase,
        step=step,
        attempt=len(trouble.decided) + 1,
        stream_started=getattr(error, "stream_started", False),
        spent=run.usage,
        decided=tuple(trouble.decided),
        fallbacks=tuple(run.fallbacks),
        repeats=trouble.repeats,
        repeatable=trouble.repeats < allowed and not isinstance(error, BudgetExceededError),
        failing_s=run.clock.monotonic() - trouble.since,
        context_tokens=min(tokens, run.context_tokens or tokens),
    )


def is_offered(failure: Failure) -> bool:
    """Whether a failure is for `recover` to decide on. Of limits only one is that a request to a model would pass."""
    if isinstance(failure.error, BudgetExceededError):
        return bool(failure.error.unit) and "model.request#" in (failure.step or "")
    return not isinstance(failure.error, (LoopLimitError, StorageExhaustedError))


def is_exhausted(run: Run, failure: Failure) -> bool:
    """Whether nothing at all may be tried any more, neither for this step nor in this run."""
    in_run = min(run.config.retry.repeats_per_run, run.services.bounds.run_repeats)
    return failure.attempt >= MOST_ATTEMPTS or sum(len(trouble.decided) for trouble in run.troubles.values()) >= in_run


def allowed(failure: Failure, decision: RecoveryDecision) -> RecoveryDecision:
    """The decision, whole, or `Abort` where it cannot follow this failure."""
    short = failure.error
    if isinstance(decision, Extend):
        if isinstance(short, BudgetExceededError) and 0 < decision.amount < math.inf:
            return evolve(decision, unit=short.unit, above=short.above, needed=short.needed)
        return Abort(reason="no budget is short")
    if failure.repeatable or isinstance(decision, (Fallback, Abort)):
        return decision
    return Abort(reason="the same request must not be repeated")


def remember(run: Run, key: str, decision: RecoveryDecision) -> None:
    """Count a decision about a step, or the phase where there was none."""
    trouble_of(run, key).decided.append(decision)
    if isinstance(decision, Fallback):
        run.fallbacks.append(decision.target)


def ended_by(failure: Failure) -> BaseException:
    """What ends the run: the failure itself, or where a later try may help, that everything was tried."""
    error = failure.error
    if not isinstance(error, ModelFault) or not error.retryable or failure.attempt == 1:
        return error
    tried = f" and {len(failure.fallbacks)} fallbacks" if failure.fallbacks else ""
    ended = ModelUnavailableError(
        f"no model answered in {failure.attempt} attempts{tried}; the last one failed with `{failure.code}`: "
        f"{describe(error)}",
        provider=error.provider,
        model=error.model,
        status=error.status,
        retry_after_s=error.retry_after_s,
        request_id=error.request_id,
        phase=error.phase,
        hint=error.hint,
    )
    ended.__cause__ = error
    return ended


def keep_unfinished(run: Run) -> None:
    """Put an answer that was cut or refused into the history, where nothing takes its place."""
    parts, run.unfinished = run.unfinished, ()
    if parts:
        run.log.append(Message("assistant", parts))


async def apply(run: Run, decision: RecoveryDecision, key: str, *, waits: bool = True) -> None:
    """Change the run as a decision says that was remembered about the step or phase `key`."""
    if isinstance(decision, Retry):
        if waits and decision.delay_s > 0:
            await run.clock.sleep(decision.delay_s)
    elif isinstance(decision, Fallback):
        await _fall_back(run, decision)
    elif isinstance(decision, Extend):
        await _extend(run, decision, key)
    elif isinstance(decision, Alternative):
        run.instructions = decision.instructions or run.instructions
        run.tier_wanted = decision.tier or run.tier_wanted
        run.context_tokens = decision.context_tokens or run.context_tokens
        run.settings = evolve(run.settings, **decision.settings)
        if decision.reason:
            run.degrade("request", decision.reason)


async def take_again(run: Run, op: str) -> None:
    """In a resumed run: the decisions that an earlier life took at the step that comes next."""
    for step, data in run.journal.decisions_before(op):
        decision: RecoveryDecision = msgspec.convert(data, RecoveryDecision)
        if isinstance(decision, Abort):  # whoever takes a run up that was given up begins the step anew
            run.troubles.pop(step, None)
            continue
        remember(run, step, decision)
        with suppress(PegboardError):  # of a fallback that was not to be had, and was followed by another one
            await apply(run, decision, step, waits=False)


async def _fall_back(run: Run, decision: Fallback) -> None:
    before = run.model.id if run.model else "none"
    if decision.target.startswith("agent:"):
        agent = await run.services.agent(decision.target.removeprefix("agent:"))
        run.agent, run.config = agent, agent.config
        await run.equip()
        await run.use(await run.services.model(agent.config.model))
    else:
        await run.use(await run.services.model(decision.target))
    run.degrade(f"model `{before}`", f"fell back to `{decision.target}`: {decision.reason or 'it failed'}")


def extending(run: Run) -> asyncio.Lock:
    """One at a time in a tree of runs: who waits may find that another one's answer is enough for both."""
    root = run
    while root.parent_run is not None:
        root = root.parent_run
    if root.extending is None:
        root.extending = asyncio.Lock()
    return root.extending


async def _extend(run: Run, decision: Extend, key: str) -> None:
    """Raise the limit that is short, if it is approved; an earlier life's answer is read back.

    Raises:
        ApprovalNeededError: nobody can be asked.
        BudgetExceededError: it was denied.
    """
    async with extending(run):
        left = run.budget.remaining(decision.unit)  # type: ignore[arg-type]  # a unit of the budget, by `allowed`
        if left is not None and left < decision.needed:  # nobody has raised it while this run waited
            await _ask_for_more(run, decision, key)


async def _ask_for_more(run: Run, decision: Extend, key: str) -> None:
    arguments = {"by": decision.amount, "of": "a run above" if decision.above else "this run", "why": decision.reason}
    action = Action(verb="budget.raise", resource=decision.unit, arguments=arguments, effect="unsafe")
    denied = await judge(run, action, f"{key}:{len(trouble_of(run, key).decided)}")
    if denied is not None:
        raise BudgetExceededError(f"the budget is used up, and more of it was denied: {denied}")
    run.budget.extend(decision.unit, decision.amount, above=decision.above)
