"""What follows a failure: how it is described, how often a step may be repeated, and what a decision changes in a run.

Who decides is up to plugins. A resumed run takes the same decisions at the same steps, without asking or waiting again.
"""

from __future__ import annotations

import msgspec

from pegboard.journal import code_of
from pegboard.run import Run
from pegboard.types import Alternative, Failure, Fallback, RecoveryDecision, Retry, evolve


def failure_of(run: Run, error: BaseException, phase: str = "") -> Failure:
    """A failure as `recover` sees it."""
    step = run.failed_step.id if run.failed_step else None
    return Failure(
        error=error,
        code=code_of(error),
        phase=phase,
        step=step,
        attempt=run.repeats.get(step or phase, 0) + 1,
        stream_started=getattr(error, "stream_started", False),
        spent=run.usage,
    )


def exhausted(run: Run, failure: Failure) -> bool:
    """Count the repeat; whether there were too many of this step or in this run."""
    policy, bounds = run.config.retry, run.services.bounds
    key = failure.step or failure.phase
    run.repeats[key] = run.repeats.get(key, 0) + 1
    in_step, in_run = min(policy.attempts - 1, bounds.step_repeats), min(policy.repeats_per_run, bounds.run_repeats)
    return run.repeats[key] > in_step or sum(run.repeats.values()) > in_run


async def apply(run: Run, decision: RecoveryDecision, *, waits: bool = True) -> None:
    """Change the run as a decision says."""
    if isinstance(decision, Retry):
        if waits and decision.delay_s > 0:
            await run.clock.sleep(decision.delay_s)
    elif isinstance(decision, Fallback):
        await _fall_back(run, decision)
    elif isinstance(decision, Alternative):
        run.instructions = decision.instructions or run.instructions
        run.tier_wanted = decision.tier or run.tier_wanted
        run.context_tokens = decision.context_tokens or run.context_tokens
        run.settings = evolve(run.settings, **decision.settings)


async def take_again(run: Run, op: str) -> None:
    """In a resumed run: the decisions that an earlier life took at the step that comes next."""
    for data in run.journal.decisions_before(op):
        await apply(run, msgspec.convert(data, RecoveryDecision), waits=False)


async def _fall_back(run: Run, decision: Fallback) -> None:
    before = run.model.id if run.model else "none"
    if decision.target.startswith("agent:"):
        agent = await run.services.agent(decision.target.removeprefix("agent:"))
        run.agent, run.config = agent, agent.config
        await run.equip()
        run.use(await run.services.model(agent.config.model))
    else:
        run.use(await run.services.model(decision.target))
    run.degrade(f"model `{before}`", f"fell back to `{decision.target}`: {decision.reason or 'it failed'}")
