"""Core calls every hook, at the moment and with the values that its specification promises.

One plugin implements all hooks and changes almost nothing; a handful of runs bring core to every place where it asks.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from pegboard import Agent, Message, Pegboard, PegboardError, RunResult, tool
from pegboard.hookspecs import SPECS, Spec, hookimpl
from pegboard.interfaces import Call, HostContext, Module, Next, RunContext, Tool, ToolContext
from pegboard.model import ModelBase
from pegboard.types import (
    Abort,
    Action,
    AgentCall,
    Approval,
    ApprovalRequest,
    Ask,
    AuditRecord,
    Block,
    BudgetRequest,
    ContextBuild,
    ContextRequest,
    Failure,
    Finding,
    HistoryView,
    Json,
    Label,
    Layout,
    ModelRequest,
    ModelResponse,
    Origin,
    Part,
    PluginCandidate,
    Price,
    PriceTable,
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
    Verdict,
    evolve,
)
from pegboard_replay import ScriptedModel, call
from pegboard_replay.scripted import CAPABLE

LONG_TEXT = "word " * 40_000


class Note:
    """A source that is always relevant."""

    path, kind, size, digest, owner = "note.txt", "text", 5, "d1", "everything"

    def read(self) -> str:
        return "a note"


class Everything:
    """Implements the hooks; remembers what it was called with."""

    plugin_id = "everything"

    def __init__(self) -> None:
        self.calls: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def seen(self, hook: str, **arguments: Any) -> None:
        self.calls[hook].append(arguments)

    # --- lifecycle and loop

    @hookimpl
    async def registration(self, ctx: HostContext, agent: Agent, call_next: Next[Agent]) -> Agent:
        self.seen("registration", ctx=ctx, agent=agent)
        return await call_next(agent)

    @hookimpl
    async def initialization(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("initialization", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def execution(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("execution", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def validation(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("validation", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def integration(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("integration", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def cleanup(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("cleanup", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    def check_quality(self, ctx: RunContext, result: RunResult) -> Sequence[Finding] | None:
        self.seen("check_quality", ctx=ctx, result=result)
        return None

    @hookimpl
    async def task_initiation(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("task_initiation", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def analyze_requirements(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("analyze_requirements", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def tool_discovery(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("tool_discovery", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def planning_phase(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("planning_phase", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def execution_phase(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("execution_phase", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def tool_transition_evaluation(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("tool_transition_evaluation", ctx=ctx, state=state)
        return evolve(await call_next(state), tier="toolchain")

    @hookimpl
    async def toolbelt_activation(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("toolbelt_activation", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def completion_verification(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("completion_verification", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def state_cleanup(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("state_cleanup", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def error_handling(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("error_handling", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    async def idle(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
        self.seen("idle", ctx=ctx, state=state)
        return await call_next(state)

    @hookimpl
    def next_phase(self, ctx: RunContext, state: RunState, proposed: str) -> str | None:
        self.seen("next_phase", ctx=ctx, state=state, proposed=proposed)
        return None

    @hookimpl
    async def model_use(self, ctx: RunContext, model: ModelBase) -> ModelBase | None:
        self.seen("model_use", ctx=ctx, model=model)
        return None

    @hookimpl
    async def model_request(self, ctx: RunContext, request: ModelRequest, call_next: Call) -> ModelResponse:
        self.seen("model_request", ctx=ctx, request=request)
        response: ModelResponse = await call_next(request)
        return response

    @hookimpl
    async def tool_call(self, ctx: RunContext, call: ToolCall, call_next: Call) -> ToolResult:
        self.seen("tool_call", ctx=ctx, call=call)
        result: ToolResult = await call_next(call)
        return result

    @hookimpl
    async def tool_execution(self, ctx: RunContext, call: ToolCall, call_next: Call) -> ToolResult:
        self.seen("tool_execution", ctx=ctx, call=call)
        result: ToolResult = await call_next(call)
        return result

    @hookimpl
    async def agent_call(self, ctx: RunContext, call: AgentCall, call_next: Call) -> RunResult:
        self.seen("agent_call", ctx=ctx, call=call)
        result: RunResult = await call_next(call)
        return result

    @hookimpl
    async def transform_stream(self, ctx: RunContext, stream: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
        self.seen("transform_stream", ctx=ctx, stream=stream)
        async for event in stream:
            yield event

    @hookimpl
    def route_message(self, ctx: HostContext, conversation: str, agents: Sequence[str], message: Message) -> str | None:
        self.seen("route_message", ctx=ctx, conversation=conversation, agents=agents, message=message)
        return None

    # --- context

    @hookimpl
    async def context_cache(self, ctx: RunContext, request: ContextRequest, call_next: Call) -> ContextBuild:
        self.seen("context_cache", ctx=ctx, request=request)
        build: ContextBuild = await call_next(request)
        return build

    @hookimpl
    def context_gather(self, ctx: RunContext, request: ContextRequest) -> Sequence[Source]:
        self.seen("context_gather", ctx=ctx, request=request)
        return [Note()]

    @hookimpl
    def context_chunk(self, ctx: RunContext, source: Source) -> Sequence[Unit] | None:
        self.seen("context_chunk", ctx=ctx, source=source)
        return None

    @hookimpl
    def context_score(self, ctx: RunContext, request: ContextRequest, units: Sequence[Unit]) -> Scores:
        self.seen("context_score", ctx=ctx, request=request, units=units)
        return Scores(scorer="everything", scores={unit.digest: 1.0 for unit in units}, units=tuple(units))

    @hookimpl
    def context_fuse(self, ctx: RunContext, request: ContextRequest, tables: Sequence[Scores]) -> Scores | None:
        self.seen("context_fuse", ctx=ctx, request=request, tables=tables)
        return None

    @hookimpl
    def context_select(self, ctx: RunContext, request: ContextRequest, scores: Scores) -> Sequence[Part] | None:
        self.seen("context_select", ctx=ctx, request=request, scores=scores)
        return None

    @hookimpl
    def context_order(self, ctx: RunContext, request: ContextRequest, parts: Sequence[Part]) -> Sequence[Part] | None:
        self.seen("context_order", ctx=ctx, request=request, parts=parts)
        return None

    @hookimpl
    def context_compress(self, ctx: RunContext, part: Part, request: ContextRequest) -> Part | None:
        self.seen("context_compress", ctx=ctx, part=part, request=request)
        return None

    @hookimpl
    def context_layout(self, ctx: RunContext, request: ContextRequest, blocks: Sequence[Block]) -> Layout | None:
        self.seen("context_layout", ctx=ctx, request=request, blocks=blocks)
        return None

    @hookimpl
    def context_measure(self, ctx: RunContext, build: ContextBuild, usage: Usage) -> None:
        self.seen("context_measure", ctx=ctx, build=build, usage=usage)

    @hookimpl
    def context_compact(
        self, ctx: RunContext, history: Sequence[Message], target_tokens: int, rung: int
    ) -> HistoryView | None:
        self.seen("context_compact", ctx=ctx, history=history, target_tokens=target_tokens, rung=rung)
        return None

    @hookimpl
    def context_offload(self, ctx: RunContext, part: Part) -> Part | None:
        self.seen("context_offload", ctx=ctx, part=part)
        return None

    # --- providers and recovery

    @hookimpl
    def provide_model(self, ctx: HostContext, name: str) -> ModelBase | None:
        self.seen("provide_model", ctx=ctx, name=name)
        return ScriptedModel(["Here."]) if name == "everything:model" else None

    @hookimpl
    def provide_tools(self, ctx: HostContext) -> Sequence[Tool] | None:
        self.seen("provide_tools", ctx=ctx)
        return None

    @hookimpl
    def provide_modules(self, ctx: HostContext) -> Sequence[Module] | None:
        self.seen("provide_modules", ctx=ctx)
        return None

    @hookimpl
    def provide_agents(self, ctx: HostContext) -> Sequence[Agent] | None:
        self.seen("provide_agents", ctx=ctx)
        return None

    @hookimpl
    def read_agent(self, ctx: HostContext, path: str, content: bytes) -> Agent:
        self.seen("read_agent", ctx=ctx, path=path, content=content)
        return Agent(content.decode())

    @hookimpl
    def provide_prices(self, ctx: HostContext) -> PriceTable:
        self.seen("provide_prices", ctx=ctx)
        price = Price(provider="scripted", model="*", input=1.0, output=1.0)
        return PriceTable(prices=(price,), dated="2026-01-01", source="test")

    @hookimpl
    def recover(self, ctx: RunContext, failure: Failure) -> Abort:
        self.seen("recover", ctx=ctx, failure=failure)
        return Abort(reason="enough")

    # --- security

    @hookimpl
    def admit_plugin(self, ctx: HostContext, candidate: PluginCandidate) -> Verdict | None:
        self.seen("admit_plugin", ctx=ctx, candidate=candidate)
        return None

    @hookimpl
    def authorize(self, ctx: RunContext, action: Action) -> Verdict | None:
        self.seen("authorize", ctx=ctx, action=action)
        return Ask("may it?") if action.resource == "ring_bell" else None

    @hookimpl
    def request_approval(self, ctx: RunContext, request: ApprovalRequest) -> Approval:
        self.seen("request_approval", ctx=ctx, request=request)
        return Approval(id=request.id, granted=True)

    @hookimpl
    def reserve_budget(self, ctx: RunContext, request: BudgetRequest) -> Verdict | None:
        self.seen("reserve_budget", ctx=ctx, request=request)
        return None

    @hookimpl
    def settle_budget(self, ctx: RunContext, settlement: Settlement) -> None:
        self.seen("settle_budget", ctx=ctx, settlement=settlement)

    @hookimpl
    def audit(self, ctx: RunContext, record: AuditRecord) -> bool:
        self.seen("audit", ctx=ctx, record=record)
        return True

    @hookimpl
    def redact(self, ctx: RunContext, value: Json, sink: str) -> Json | None:
        self.seen("redact", ctx=ctx, value=value, sink=sink)
        return None

    @hookimpl
    def resolve_secret(self, ctx: HostContext, ref: SecretRef, purpose: str, destination: str) -> Secret:
        self.seen("resolve_secret", ctx=ctx, ref=ref, purpose=purpose, destination=destination)
        return Secret("hush")

    @hookimpl
    def label(self, ctx: RunContext, origin: Origin, value: Json) -> frozenset[Label] | None:
        self.seen("label", ctx=ctx, origin=origin, value=value)
        return None

    # --- observe and host

    @hookimpl
    def on_event(self, event: Any) -> None:
        self.seen("on_event", event=event)

    @hookimpl
    def board_started(self, ctx: HostContext) -> None:
        self.seen("board_started", ctx=ctx)

    @hookimpl
    def board_stopping(self, ctx: HostContext) -> None:
        self.seen("board_stopping", ctx=ctx)


class Keeper:
    """A plugin that has a secret."""

    plugin_id = "keeper"
    manifest = {"config": {"secrets": ["token"]}, "permissions": {"secrets": ["token"]}}  # as a plugin writes it

    async def activate(self, ctx: HostContext) -> None:
        self.ctx = ctx


@tool(effect="pure")
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(effect="pure")
def read_book() -> str:
    """Read a book."""
    return LONG_TEXT


@tool(effect="unsafe")
def ring_bell() -> str:
    """Ring the bell."""
    return "ding"


@tool(effect="pure")
async def ask_child(ctx: ToolContext) -> str:
    """Ask another agent."""
    return str((await ctx.run.call_agent("child", "How are you?")).output)


MANIFEST = """
schema = 1
id = "visitor"
api = ">=1.0,<2"
entry = "visitor.plugin:Visitor"
activation = ["onStartup"]
startup_reason = "to be judged"
"""


def plugin_folder(folder: Path) -> Path:
    """A plugin under development, for `admit_plugin` to judge."""
    package = folder / "visitor"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text("class Visitor: ...\n", encoding="utf-8")
    (package / "pegboard.toml").write_text(MANIFEST, encoding="utf-8")
    return package


async def visit_every_place(everything: Everything, folder: Path) -> None:
    """Bring core to each place where it calls a hook."""
    child = Agent("child", model=ScriptedModel(["Fine."]))
    keeper = Keeper()
    async with Pegboard(
        plugins=[everything, keeper],
        folders=[plugin_folder(folder)],
        agents=[child, Agent("host", model="everything:model")],
        config={"plugins": {"keeper": {"token": "keyring:token"}}},
        strict=True,
    ) as board:
        turns: list[Any] = [call("add", a=1, b=2), call("read_book"), call("ring_bell"), call("ask_child"), "done"]
        busy = Agent("busy", model=ScriptedModel(turns), tools=[add, read_book, ring_bell, ask_child])
        async for _ in board.stream(busy, "Do everything."):
            pass
        (folder / "filed.md").write_text("filed", encoding="utf-8")
        assert (await board.read_agent(folder / "filed.md")).name == "filed"
        conversation = board.conversations.create(agents=["host", "child"])
        await conversation.send("Who is there?")
        narrow = ScriptedModel(["Short."], capabilities=msgspec.structs.replace(CAPABLE, context_window=2_000))
        history = [Message.user("one " * 2_000), Message.assistant("two " * 2_000)]
        await board.run(Agent("narrow", model=narrow), "Go on.", history=history)
        with pytest.raises(PegboardError):
            await board.run(Agent("broken", model=ScriptedModel([])), "Fail.")
        await keeper.ctx.secrets.get("token", purpose="test", destination="nowhere")


IMPLEMENTED = [spec for name, spec in SPECS.items() if hasattr(Everything, name)]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What each hook was called with."""
    everything = Everything()
    asyncio.run(visit_every_place(everything, tmp_path_factory.mktemp("visitor")))
    return everything.calls


def is_checkable(hint: Any) -> bool:
    """Whether a value can be compared with its annotation: classes of values, but no protocols and no generics."""
    return inspect.isclass(hint) and hint is not Any and not getattr(hint, "_is_protocol", False)


@pytest.mark.parametrize("spec", IMPLEMENTED, ids=lambda spec: spec.name)
def test_core_calls_the_hook(spec: Spec, calls: dict[str, list[dict[str, Any]]]) -> None:
    """It is called, with values of the types that its signature promises."""
    assert calls[spec.name], "never called"
    hints = {name: hint for name, hint in get_type_hints(spec.function).items() if is_checkable(hint)}
    wrong = [
        (name, value)
        for arguments in calls[spec.name]
        for name, value in arguments.items()
        if name in hints and not isinstance(value, hints[name])
    ]
    assert wrong == []


def test_every_implementation_takes_the_documented_arguments() -> None:
    """The implementations here are the contract written out: argument for argument."""
    for spec in IMPLEMENTED:
        own = tuple(inspect.signature(getattr(Everything, spec.name)).parameters)[1:]
        assert own == spec.args, spec.name
