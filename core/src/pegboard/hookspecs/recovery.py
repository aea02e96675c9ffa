"""What follows a failure."""

from __future__ import annotations

from pegboard.hookspecs.marks import hookspec
from pegboard.interfaces import RunContext
from pegboard.types import Abort, Alternative, Failure, Fallback, RecoveryDecision, Retry


@hookspec(kind="first", since="1.0", timed=True, returns=(Retry, Alternative, Fallback, Abort), nobody="`Abort`")
async def recover(ctx: RunContext, failure: Failure) -> RecoveryDecision | None:
    """Decide what follows a failure.

    When: each failure, but never for `cancelled`, `budget.*` and `storage.exhausted`. Core bounds the answers: attempts
        with one model (then `failure.repeatable` is false, and only a `Fallback` goes on), attempts of one step (10)
        and repeats of a run, whatever is configured.
    Return: `Retry`, `Alternative`, `Fallback` or `Abort`, or `None` for no opinion.
    Raises: the next implementation is asked.
    Cancel: nothing to undo.
    """
