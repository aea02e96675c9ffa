"""`Hooks`: one attribute per hook, through which everything outside `plugins/` calls plugins.

An attribute is `None` while nobody implements the hook, so that an empty hook costs one test. Read it anew for each
call: it is replaced whenever plugins come, go or fail. Only annotations here; nothing of the contract is imported.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from pegboard.errors import AgentFileError
    from pegboard.events import Event
    from pegboard.interfaces import HostContext, Module, RunContext, TokenCounter, Tool
    from pegboard.model import ModelBase
    from pegboard.plugins.dispatch.results import Collected, Verdicts
    from pegboard.types import (
        Action,
        Agent,
        AgentCall,
        Approval,
        ApprovalRequest,
        AuditRecord,
        AuthRequest,
        Block,
        BudgetRequest,
        BudgetShare,
        ContextBuild,
        ContextRequest,
        Failure,
        Finding,
        Grant,
        HealthFinding,
        HistoryView,
        Json,
        Label,
        Layout,
        Message,
        ModelListing,
        ModelRequest,
        ModelResponse,
        Origin,
        Part,
        PluginCandidate,
        PriceTable,
        Principal,
        RecoveryDecision,
        RunResult,
        RunState,
        Scores,
        Secret,
        SecretRef,
        Settlement,
        Source,
        StreamEvent,
        ToolCall,
        ToolResult,
        Unit,
        Usage,
    )

C = TypeVar("C")
V = TypeVar("V")
R = TypeVar("R")

Around = Callable[[C, V, Callable[[C, V], Awaitable[R]]], Awaitable[R]]
"""Called with context, value and the innermost body, `body(ctx, value)`."""


class Hooks:
    """The hooks, each `None` or callable with the arguments of its spec in order."""

    # lifecycle
    registration: Around[HostContext, Agent, Agent] | None
    initialization: Around[RunContext, RunState, RunState] | None
    execution: Around[RunContext, RunState, RunState] | None
    validation: Around[RunContext, RunState, RunState] | None
    integration: Around[RunContext, RunState, RunState] | None
    cleanup: Around[RunContext, RunState, RunState] | None
    check_quality: Callable[[RunContext, RunResult], Awaitable[Collected[Sequence[Finding]]]] | None

    # loop
    task_initiation: Around[RunContext, RunState, RunState] | None
    analyze_requirements: Around[RunContext, RunState, RunState] | None
    tool_discovery: Around[RunContext, RunState, RunState] | None
    planning_phase: Around[RunContext, RunState, RunState] | None
    execution_phase: Around[RunContext, RunState, RunState] | None
    tool_transition_evaluation: Around[RunContext, RunState, RunState] | None
    toolbelt_activation: Around[RunContext, RunState, RunState] | None
    completion_verification: Around[RunContext, RunState, RunState] | None
    state_cleanup: Around[RunContext, RunState, RunState] | None
    error_handling: Around[RunContext, RunState, RunState] | None
    idle: Around[RunContext, RunState, RunState] | None
    next_phase: Callable[[RunContext, RunState, str], Awaitable[str | None]] | None
    model_use: Callable[[RunContext, ModelBase], Awaitable[ModelBase]] | None
    model_request: Around[RunContext, ModelRequest, ModelResponse] | None
    tool_call: Around[RunContext, ToolCall, ToolResult] | None
    tool_execution: Around[RunContext, ToolCall, ToolResult] | None
    agent_call: Around[RunContext, AgentCall, RunResult] | None
    transform_stream: Callable[[RunContext, AsyncIterator[StreamEvent]], AsyncGenerator[StreamEvent, None]] | None
    route_message: Callable[[HostContext, str, Sequence[str], Message], Awaitable[str | None]] | None

    # context
    context_cache: Around[RunContext, ContextRequest, ContextBuild] | None
    context_gather: Callable[[RunContext, ContextRequest], Awaitable[Collected[Sequence[Source]]]] | None
    context_chunk: Callable[[RunContext, Source], Awaitable[Sequence[Unit] | None]] | None
    context_score: Callable[[RunContext, ContextRequest, Sequence[Unit]], Awaitable[Collected[Scores]]] | None
    context_fuse: Callable[[RunContext, ContextRequest, Sequence[Scores]], Awaitable[Scores | None]] | None
    context_select: Callable[[RunContext, ContextRequest, Scores], Awaitable[Sequence[Part] | None]] | None
    context_order: Callable[[RunContext, ContextRequest, Sequence[Part]], Awaitable[Sequence[Part] | None]] | None
    context_compress: Callable[[RunContext, Part, ContextRequest], Awaitable[Part]] | None
    context_layout: Callable[[RunContext, ContextRequest, Sequence[Block]], Awaitable[Layout | None]] | None
    context_measure: Callable[[RunContext, ContextBuild, Usage], Awaitable[None]] | None
    context_compact: Callable[[RunContext, Sequence[Message], int, int], Awaitable[HistoryView | None]] | None
    context_offload: Callable[[RunContext, Part], Awaitable[Part | None]] | None
    allocate_budget: Callable[[RunContext, Sequence[BudgetShare], int], Awaitable[Sequence[Grant] | None]] | None

    # providers
    provide_model: Callable[[HostContext, str], Awaitable[ModelBase | None]] | None
    list_models: Callable[[HostContext, bool], Awaitable[Collected[Sequence[ModelListing]]]] | None
    provide_tools: Callable[[HostContext], Awaitable[Collected[Sequence[Tool]]]] | None
    provide_modules: Callable[[HostContext], Awaitable[Collected[Sequence[Module]]]] | None
    provide_agents: Callable[[HostContext], Awaitable[Collected[Sequence[Agent]]]] | None
    read_agent: Callable[[HostContext, str, bytes], Awaitable[Agent | AgentFileError | None]] | None
    provide_token_counter: Callable[[HostContext, str], Awaitable[TokenCounter | None]] | None
    provide_prices: Callable[[HostContext], Awaitable[Collected[PriceTable]]] | None

    # recovery
    recover: Callable[[RunContext, Failure], Awaitable[RecoveryDecision | None]] | None

    # security
    admit_plugin: Callable[[HostContext, PluginCandidate], Awaitable[Verdicts]] | None
    authenticate: Callable[[HostContext, AuthRequest], Awaitable[Principal | None]] | None
    authorize: Callable[[RunContext, Action], Awaitable[Verdicts]] | None
    request_approval: Callable[[RunContext, ApprovalRequest], Awaitable[Approval | None]] | None
    reserve_budget: Callable[[RunContext, BudgetRequest], Awaitable[Verdicts]] | None
    settle_budget: Callable[[RunContext, Settlement], Awaitable[None]] | None
    audit: Callable[[RunContext, AuditRecord], Awaitable[Collected[bool]]] | None
    redact: Callable[[RunContext, Json, str], Awaitable[Json]] | None
    resolve_secret: Callable[[HostContext, SecretRef, str, str], Awaitable[Secret | None]] | None
    label: Callable[[RunContext, Origin, Json], Awaitable[Collected[frozenset[Label]]]] | None

    # observe
    on_event: Callable[[Event], None] | None

    # host
    board_started: Callable[[HostContext], Awaitable[None]] | None
    board_stopping: Callable[[HostContext], Awaitable[None]] | None
    check_health: Callable[[HostContext], Awaitable[Collected[Sequence[HealthFinding]]]] | None

    __slots__ = tuple(__annotations__)

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, None)
