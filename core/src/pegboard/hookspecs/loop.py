"""The loop of a run: its phases, the transitions between them, and the calls inside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from pegboard.hookspecs.marks import hookspec
from pegboard.interfaces import Call, HostContext, Next, RunContext
from pegboard.model import ModelBase
from pegboard.types import (
    AgentCall,
    Message,
    ModelRequest,
    ModelResponse,
    RunResult,
    RunState,
    StreamEvent,
    ToolCall,
    ToolResult,
)

_phase = partial(hookspec, kind="around", since="1.0", value="state", timed=True, returns=RunState)


@_phase(nobody="nothing")
async def task_initiation(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """The task is taken on; state tracking starts.

    When: first in `execution`.
    Value: `state`; pass a changed copy to `call_next`, or return one.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="the task itself is the one objective")
async def analyze_requirements(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Find out what the task needs.

    When: after `task_initiation`.
    Value: `state`; pass a changed copy to `call_next`, or return one. Set `state.requirements`.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="the tools of tier `core`, and those that the agent names")
async def tool_discovery(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Choose the tools that fit.

    When: after `analyze_requirements`.
    Value: `state`; pass a changed copy to `call_next`, or return one. Set `state.tools`.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="no plan: the model decides turn by turn")
async def planning_phase(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Make a plan.

    When: after `tool_discovery`, and again when verification sends the run back here.
    Value: `state`; pass a changed copy to `call_next`, or return one. Set `state.plan`.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="`agent.execute` where the agent has one, else the turns of the model")
async def execution_phase(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """The turns: model requests and tool calls, until there is an output.

    When: after `planning_phase`, and again after verification or recovery.
    Value: `state`; pass a changed copy to `call_next`, or return one.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="the tier that a call asked for, else the tier is kept")
async def tool_transition_evaluation(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Decide whether another tier of tools is needed.

    When: between turns: every third turn, when a tool was not found, or when a call names a higher tier.
    Value: `state`; pass a changed copy to `call_next`, or return one. Set `state.tier`.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="the tools of the tier are added")
async def toolbelt_activation(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Switch on the tools of a higher tier.

    When: when `tool_transition_evaluation` raised the tier.
    Value: `state`; pass a changed copy to `call_next`, or return one. Set `state.tools`.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="there is an output and no step of the plan is open")
async def completion_verification(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Judge whether the objectives are met.

    When: when there is an output. Clear `state.output` to send the run back; at most three times.
    Value: `state`; pass a changed copy to `call_next`, or return one.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="nested states are closed")
async def state_cleanup(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Remove the state that ends with the execution.

    When: before `cleanup`, on success, failure and cancel alike.
    Value: `state`; pass a changed copy to `call_next`, or return one.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="`recover` is asked and its decision is put into `state.decision`")
async def error_handling(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """Decide what follows a failure.

    When: from any phase that failed; `state.failure` is set.
    Value: `state`; pass a changed copy to `call_next`, or return one. Set `state.decision`.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@_phase(nobody="nothing")
async def idle(ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:  # type: ignore[empty-body]
    """The run is over.

    When: after `cleanup`.
    Value: `state`; pass a changed copy to `call_next`, or return one.
    Raises: before `call_next` the implementation is bypassed, after it the inner result stands.
    Cancel: `CancelledError` arrives in `call_next`; release what you hold and let it go on.
    """


@hookspec(kind="first", since="1.0", returns=str, nobody="the proposed phase")
async def next_phase(ctx: RunContext, state: RunState, proposed: str) -> str | None:
    """Override a transition.

    When: after each phase of the loop.
    Value: `proposed` is the phase that the transition table names. An unknown one ends the run with
        `loop.unknown_phase`.
    Return: the name of a phase, or `None` for no opinion.
    Raises: the next implementation is asked.
    Cancel: nothing to undo.
    """


@hookspec(kind="pipeline", since="1.0", value="model", returns=ModelBase, nobody="the model as it is")
async def model_use(ctx: RunContext, model: ModelBase) -> ModelBase | None:
    """Put something around a model, or another one into its place.

    When: a run takes a model into use: as it begins, and after each fallback. Whoever made the model closes it.
    Value: `model`; return another one. `None` is unchanged.
    Raises: the implementation is skipped.
    Cancel: nothing to undo.
    """


@hookspec(kind="around", since="1.0", value="request", timed=True, returns=ModelResponse, nobody="the request is sent")
async def model_request(ctx: RunContext, request: ModelRequest, call_next: Call) -> ModelResponse:  # type: ignore[empty-body]
    """One attempt of one request to a model.

    When: each attempt, streamed or not. Budget, `reserve_budget`, `redact` and the provider are inside `call_next`.
    Value: `request`; pass a changed copy to `call_next(request)`, which gives the `ModelResponse`. Answering without
        `call_next` is allowed and recorded as replaced.
    Raises: before `call_next` bypassed; after it the inner response or error stands.
    Cancel: the request is cancelled inside `call_next`.
    """


@hookspec(kind="around", since="1.0", value="call", timed=True, returns=ToolResult, nobody="the tool is executed")
async def tool_call(ctx: RunContext, call: ToolCall, call_next: Call) -> ToolResult:  # type: ignore[empty-body]
    """One call of a tool.

    When: each call, whoever asked for it. Schema check, gates, approval, budget and locks are inside `call_next`, so
        what you change is judged, and nothing can be changed after it was approved.
    Value: `call`; pass a changed copy to `call_next(call)`, which gives the `ToolResult`. Answering without
        `call_next` is allowed and recorded as replaced.
    Raises: before `call_next` bypassed; after it the inner result stands.
    Cancel: the result is written with status `cancelled`.
    """


@hookspec(
    kind="around", since="1.0", value="call", timeout_s=None, timed=True, returns=ToolResult, nobody="here, by its code"
)
async def tool_execution(ctx: RunContext, call: ToolCall, call_next: Call) -> ToolResult:  # type: ignore[empty-body]
    """Execute a tool elsewhere, or watch what its code gives.

    When: a call that passed every gate, just before its effect; inside of `tool_call`, approval, budget and locks.
    Value: `call`, as it was approved; `call_next(call)` has the tool's own code do it, whatever it is given. Answering
        without `call_next` is allowed and recorded as replaced. There is no time limit but the tool's own, inside.
    Raises: before `call_next` bypassed, so that the tool is executed here; after it the inner result stands.
    Cancel: the result is written with status `cancelled`.
    """


@hookspec(kind="around", since="1.0", value="call", timed=True, returns=RunResult, nobody="the child run is started")
async def agent_call(ctx: RunContext, call: AgentCall, call_next: Call) -> RunResult:  # type: ignore[empty-body]
    """One child run.

    When: each child run. `authorize` and the budget are inside `call_next`.
    Value: `call`; pass a changed copy to `call_next(call)`, which gives the `RunResult`.
    Raises: before `call_next` bypassed; after it the inner result stands.
    Cancel: the child is cancelled inside `call_next`.
    """


@hookspec(kind="stream", since="1.0", value="stream", nobody="the events pass")
def transform_stream(ctx: RunContext, stream: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:  # type: ignore[empty-body]
    """Change what a user sees while a model answers.

    When: once per attempt of a model request that is streamed. Implement it as an async generator.
    Value: `stream`; yield events, changed or not. A guard that must see the whole text first holds it back.
    Raises: the transformer is dropped; what it was given since its last output, 64 events at most, passes unchanged.
    Cancel: the generator is closed.
    """


@hookspec(kind="first", since="1.0", returns=str, nobody="the agent addressed, else the last one, else the default")
async def route_message(ctx: HostContext, conversation: str, agents: Sequence[str], message: Message) -> str | None:
    """Choose the agent that answers.

    When: each message to a conversation of several agents.
    Return: one of `agents`, or `None` for no opinion. Another name counts as a fault of the implementation.
    Raises: the next implementation is asked.
    Cancel: nothing to undo.
    """
