"""The phases in the life of an agent and of one run of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pegboard.hookspecs.marks import hookspec
from pegboard.interfaces import HostContext, Next, RunContext
from pegboard.types import Agent, Finding, RunResult, RunState

_phase = partial(hookspec, kind="around", since="1.0", value="state", timed=True, returns=RunState)


@hookspec(
    kind="around",
    since="1.0",
    value="agent",
    timed=True,
    returns=Agent,
    nobody="versions, dependencies and conflicts are checked, capabilities are indexed",
)
async def registration(ctx: HostContext, agent: Agent, call_next: Next[Agent]) -> Agent:  # type: ignore[empty-body]
    """An agent becomes known to the board.

    When: once per agent: at the activation of the plugin that provides it, when it is added, or at its first run.
    Value: `agent`; return another one to replace it.
    Raises: the implementation is bypassed. An error of the inner body refuses the agent.
    Cancel: nothing is registered.
    """


@_phase(nobody="the input is checked against the agent's schema, limits are opened in the budget tree")
async def initialization(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Get ready: input checked, resources reserved.

    When: first phase of every run, also of a resumed one.
    Value: `state`; pass a changed copy to `call_next`, or return one.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="the loop phases run")
async def execution(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Do the task, from `task_initiation` to `completion_verification`.

    When: after `initialization`.
    Value: `state`; pass a changed copy to `call_next`, or return one.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="output schema, minimum confidence, and `check_quality` are applied")
async def validation(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Judge the output.

    When: after `execution`.
    Value: `state`; pass a changed copy to `call_next`, or return one.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="nothing")
async def integration(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Hand the result on: workflow state, dependants, shared context.

    When: after `validation`.
    Value: `state`; pass a changed copy to `call_next`, or return one.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="nothing beyond core's own release")
async def cleanup(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Release modules, locks, children and reservations.

    When: always last, on success, failure and cancel alike; core's own release does not depend on it.
    Value: `state`; pass a changed copy to `call_next`, or return one.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@hookspec(kind="collect", since="1.0", returns=(list, tuple), nobody="no findings")
async def check_quality(ctx: RunContext, result: RunResult) -> Sequence[Finding] | None:
    """Judge a result by the agent's quality standards (`ctx.agent.config.quality`).

    When: in `validation`, after the schema check. A finding of severity `error` fails the validation.
    Return: findings, or `None` for no opinion.
    Raises: the entry is missing and the result lists it under `degraded`.
    Cancel: nothing to undo.
    """
