"""What follows a failure."""

from __future__ import annotations

from pegboard.hookspecs.marks import hookspec
from pegboard.interfaces import RunContext
from pegboard.types import Abort, Alternative, Extend, Failure, Fallback, RecoveryDecision, Retry


@hookspec(
    kind="first",
    since="1.0",
    timed=True,
    returns=(Retry, Alternative, Fallback, Extend, Abort),
    nobody="`Abort`",
)
async def recover(ctx: RunContext, failure: Failure) -> RecoveryDecision | None:
    """Decide what follows a failure.

    When: each failure, but never for `cancelled`, `storage.exhausted` and limits; except a request to a model that a
        limit of the budget tree refused (`budget.exceeded`): a `Fallback` to a cheaper model goes on there, and an
        `Extend` once somebody has approved it. Core bounds the answers: attempts with one model (then
        `failure.repeatable` is false), attempts of one step (10) and repeats of a run, whatever is configured.
    Return: `Retry`, `Alternative`, `Fallback`, `Extend` or `Abort`, or `None` for no opinion.
    Raises: the next implementation is asked.
    Cancel: nothing to undo.
    """
