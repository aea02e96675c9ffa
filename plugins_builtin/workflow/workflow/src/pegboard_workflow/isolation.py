"""Keeps what the code of a node does to the node: what it raises, and that it does not stop.

Code of others may raise anything, also what is no `Exception`, and may swallow its cancel. Neither may end the host, or
leave a workflow waiting for what never comes.
"""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import Any, NamedTuple

from pegboard.deadline import AbandonedError, finish, is_closing
from pegboard.errors import HookTimeoutError, RunFailedError


class NodeOverdue(Exception):
    """A node reached its limit."""


class _Limit(NamedTuple):
    """What the driver of a suspended coroutine must know of a node."""

    hook: str
    limit_s: float | None
    plugin: str = "workflow node"


async def within(running: Any, name: str, limit_s: float | None = None) -> Any:
    """The result of a coroutine that belongs to a node; what swallows its cancel is abandoned a second later.

    Raises:
        NodeOverdue: it did not come to its end within its limit, whatever it then did.
    """
    if type(running) is not CoroutineType:  # an awaitable of another kind, which cannot be stepped
        return await running
    try:
        waiting = running.send(None)
    except StopIteration as end:
        return end.value
    limit = _Limit(name, limit_s)
    try:
        return await finish(running, waiting, limit)
    except HookTimeoutError as exc:
        if exc.plugin != limit.plugin:  # of something inside
            raise
        raise NodeOverdue from exc


def goes_up(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Whether an error is not of the node: its task is cancelled or closed, or a person interrupts."""
    if isinstance(error, KeyboardInterrupt | AbandonedError) or is_closing() or _current_task() is not task:
        return True
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def failure_of(name: str, error: BaseException) -> Exception:
    """What a node failed with, as an error that tells it; what calls `sys.exit` does not end the host."""
    if isinstance(error, Exception):
        return error
    failure = RunFailedError(f"node `{name}` raised {type(error).__name__}")
    failure.__cause__ = error
    return failure


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no running loop: it is being closed
        return None
