"""Whatever way leads to an effect, every guard on it is asked: all paths of a board times all guarding hooks.

The guards come from the specifications and the ways into a run from the public names, so that a new guard without a
place and a new entrance without a row fail here. An effect is what a tool did, what a model was sent, and what a child
run was started for; the tools and models below keep account of these themselves.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from pegboard import Agent, ConversationContext, ModelBase, Pegboard, RunResult, StreamEvent, tool
from pegboard.hookspecs import SPECS, Spec, hookimpl
from pegboard.interfaces import Call, RunContext, ToolContext
from pegboard.types import (
    Action,
    AgentCall,
    Allow,
    AuditRecord,
    BudgetRequest,
    Failure,
    Fallback,
    Json,
    Label,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    Origin,
    ResourceLimits,
    Retry,
    RunState,
    ToolCall,
    ToolResult,
    evolve,
    tool_result,
)
from pegboard_replay import ScriptedModel, call, turn
from pegboard_replay.scripted import CAPABLE
from pegboard_testing import plugin_dist

# --- what guards, and what there is to guard ---------------------------------------------------------------------

GUARDS_OF: Mapping[str, frozenset[str]] = {
    "tool": frozenset({"tool_call", "authorize", "reserve_budget", "audit", "label"}),
    "model": frozenset({"model_request", "reserve_budget", "redact"}),
    "child": frozenset({"agent_call", "authorize", "reserve_budget"}),
}
"""The hooks that stand before each kind of effect."""
LAYERS = {"tool_call", "model_request", "agent_call"}
VERBS = {"tool.call": "tool", "agent.call": "child"}
MODEL = "scripted:script"
"""What every model here is called."""


def guards(specs: Mapping[str, Spec]) -> set[str]:
    """The layers of an effect, and what is a gate or fails closed within a run."""
    in_run = {name for name, spec in specs.items() if spec.function.__annotations__.get("ctx") == "RunContext"}
    return LAYERS | {name for name in in_run if specs[name].kind == "gate" or specs[name].on_error == "closed"}


class Effects:
    """What really happened, as those say who did it: the tools, the models and the agents."""

    def __init__(self) -> None:
        self.tools: list[str] = []
        self.models: list[str] = []
        self.children: list[str] = []

    def of(self, kind: str) -> Sequence[str]:
        """The names of what had an effect."""
        found: list[str] = {"tool": self.tools, "model": self.models, "child": self.children}[kind]
        return found


class Guard:
    """Implements every guarding hook, allows everything, and keeps what it was asked about: hook, then names."""

    plugin_id = "guard"

    def __init__(self) -> None:
        self.asked: dict[tuple[str, str], list[str]] = defaultdict(list)
        """`(hook, kind of effect)` to the names that it was asked about."""

    @hookimpl
    async def tool_call(self, call: ToolCall, call_next: Call) -> ToolResult:
        self.asked["tool_call", "tool"].append(call.name)
        result: ToolResult = await call_next(call)
        return result

    @hookimpl
    async def model_request(self, request: ModelRequest, call_next: Call) -> ModelResponse:
        self.asked["model_request", "model"].append(request.model)
        response: ModelResponse = await call_next(request)
        return response

    @hookimpl
    async def agent_call(self, call: AgentCall, call_next: Call) -> RunResult:
        self.asked["agent_call", "child"].append(call.agent)
        result: RunResult = await call_next(call)
        return result

    @hookimpl
    def authorize(self, action: Action) -> Allow:
        self.asked["authorize", VERBS.get(action.verb, action.verb)].append(action.resource)
        return Allow()

    @hookimpl
    def reserve_budget(self, request: BudgetRequest) -> Allow:
        self.asked["reserve_budget", {"agent": "child"}.get(request.kind, request.kind)].append(request.resource)
        return Allow()

    @hookimpl
    def audit(self, record: AuditRecord) -> bool:
        if record.stage == "outcome":
            self.asked["audit", "tool"].append(record.action.resource)
        return True

    @hookimpl
    def label(self, origin: Origin) -> frozenset[Label]:
        if origin.kind == "tool":
            self.asked["label", "tool"].append(origin.name)
        return frozenset()

    @hookimpl
    def redact(self, value: Json, sink: str) -> Json:
        if sink == "model":
            self.asked["redact", "model"].append(MODEL)
        return value


# --- the ways ----------------------------------------------------------------------------------------------------


class Counted(ScriptedModel):
    """A model that keeps account of what it was sent."""

    def __init__(self, turns: Sequence[Any], effects: Effects) -> None:
        # Without structured output of its own, so that a final output is a call among calls.
        super().__init__(turns, capabilities=evolve(CAPABLE, structured_output="no", structured_with_tools="no"))
        self._effects = effects

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        self._effects.models.append(self.id)
        async for chunk in super().stream(request):
            yield chunk


class Scene:
    """A guard, and tools, models and agents that keep account of what they do."""

    def __init__(self, site: Path) -> None:
        self.guard = Guard()
        self.effects = Effects()
        self.site = site

    def board(self, *plugins: object, **options: Any) -> Pegboard:
        """A board with the guard on it."""
        return Pegboard(plugins=[self.guard, *plugins], **options)

    def tool(self, name: str = "effect", then: Callable[[ToolContext], Awaitable[Any]] | None = None) -> Any:
        """A tool with an effect."""

        @tool(name=name, effect="idempotent")
        async def effect(ctx: ToolContext) -> str:
            """Have an effect."""
            self.effects.tools.append(name)
            if then is not None:
                await then(ctx)
            return "done"

        return effect

    def model(self, *turns: Any) -> Counted:
        """A model that plays these turns; else it calls the tool once."""
        return Counted(turns or (call("effect"), "done"), self.effects)

    def agent(self, *turns: Any, name: str = "agent", kind: type[Agent] = Agent, **options: Any) -> Agent:
        """An agent with that model and that tool."""
        return kind(name, model=self.model(*turns), **{"tools": [self.tool()], **options})

    def child(self) -> Agent:
        """An agent that tells that it was started."""
        effects = self.effects

        class Child(Agent):
            async def execute(self, ctx: RunContext, state: RunState, turns: Any) -> RunState:
                effects.children.append(self.name)
                result: RunState = await turns(ctx, state)
                return result

        return self.agent(name="child", kind=Child)


async def direct(scene: Scene) -> None:
    async with scene.board() as board:
        await board.run(scene.agent(), "go")


async def by_name(scene: Scene) -> None:
    async with scene.board(agents=[scene.agent(name="named")]) as board:
        await board.run("named", "go")


async def explained(scene: Scene) -> None:
    async with scene.board() as board:
        await board.run(scene.agent(), "go", explain=True)


async def limited(scene: Scene) -> None:
    async with scene.board() as board:
        await board.run(scene.agent(), "go", limits=ResourceLimits(tokens=100_000, tool_calls=5))


async def streamed(scene: Scene) -> None:
    async with scene.board() as board:
        assert [event async for event in board.stream(scene.agent(), "go")][-1].content.ok


async def transformed(scene: Scene) -> None:
    class Passing:
        @hookimpl
        async def transform_stream(self, stream: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
            async for event in stream:
                yield event

    async with scene.board(Passing()) as board:
        assert [event async for event in board.stream(scene.agent(), "go")][-1].content.ok


async def prepared(scene: Scene) -> None:
    async with scene.board() as board:
        assert (await board.drive(board.prepare(scene.agent(), "go"))).ok


async def prepared_and_streamed(scene: Scene) -> None:
    async with scene.board() as board:
        assert [event async for event in board.events(board.prepare(scene.agent(), "go"))][-1].content.ok


def synchronous(scene: Scene) -> None:
    with scene.board() as board:
        assert board.run_sync(scene.agent(), "go").ok


async def resumed(scene: Scene) -> None:
    agent = scene.agent(call("effect"), ValueError("cut"), call("effect"), "done")
    async with scene.board() as board:
        broken = await board.run(agent, "go", check=False)
        assert not broken.ok
        await board.resume(broken.run)


async def conversation(scene: Scene) -> None:
    async with scene.board() as board:
        await board.conversations.create(agents=[scene.agent()]).send("go")


async def streamed_conversation(scene: Scene) -> None:
    async with scene.board() as board:
        talk = board.conversations.create(agents=[scene.agent()])
        assert [event async for event in talk.stream("go")][-1].content.ok


async def child_of_a_tool(scene: Scene) -> None:
    child = scene.child()
    delegate = scene.tool("delegate", lambda ctx: ctx.run.call_agent(child, "go"))
    async with scene.board() as board:
        await board.run(scene.agent(call("delegate"), "done", tools=[delegate]), "go")


async def child_of_an_agent(scene: Scene) -> None:
    child = scene.child()

    class Delegating(Agent):
        async def execute(self, ctx: RunContext, state: RunState, turns: Any) -> RunState:
            result = await ctx.call_agent(child, "go")
            return evolve(state, output=result.output)

    async with scene.board() as board:
        assert [event async for event in board.stream(Delegating("boss"), "go")][-1].content.ok


async def own_execute(scene: Scene) -> None:
    class Own(Agent):
        async def execute(self, ctx: RunContext, state: RunState, turns: Any) -> RunState:
            result: RunState = await turns(ctx, state)
            return result

    async with scene.board() as board:
        await board.run(scene.agent(kind=Own), "go")


async def parallel(scene: Scene) -> None:
    calls = turn(call("effect"), call("other"), call("effect"))
    async with scene.board() as board:
        await board.run(scene.agent(calls, "done", tools=[scene.tool(), scene.tool("other")]), "go")


async def beside_a_final_output(scene: Scene) -> None:
    final = call("final_output", answer=42)
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
    async with scene.board() as board:
        await board.run(scene.agent(turn(call("effect"), final), output=schema), "go")


FAR = """
from pegboard import hookimpl, tool

EFFECTS = []


@tool(name="far.effect", effect="idempotent")
def effect() -> str:
    EFFECTS.append("far.effect")
    return "done"


class Plugin:
    @hookimpl
    def provide_tools(self):
        return [effect]
"""


async def tool_of_a_plugin(scene: Scene) -> None:
    """Known from a manifest, called through its proxy, which activates the plugin at the first call."""
    tools = {"tools": [{"name": "far.effect", "effect": "idempotent"}]}
    plugin_dist(scene.site, {"id": "far", "hooks": {"provide_tools": {}}, "contributes": tools}, {"plugin.py": FAR})
    async with scene.board(autoload=True) as board:
        await board.run(scene.agent(call("far.effect"), call("far.effect"), "done"), "go")
    scene.effects.tools += sys.modules["pegboard_far.plugin"].EFFECTS


async def tool_of_a_module(scene: Scene) -> None:
    effect = scene.tool("modular")

    class Modular:
        name, description = "modular", "brings a tool"

        def tools(self) -> Sequence[Any]:
            return [effect]

        async def initialize(self, ctx: RunContext) -> None: ...

        async def cleanup(self) -> None: ...

    async with scene.board() as board:
        await board.run(scene.agent(call("modular"), "done", modules=[Modular()]), "go")


async def early_exit_of_a_call(scene: Scene) -> None:
    """A layer answers one call itself; what it answers has no effect, and the next call is a call like any other."""

    class Shortcut:
        @hookimpl
        async def tool_call(self, call: ToolCall, call_next: Call) -> ToolResult:
            if call.name == "spared":
                return tool_result(call.id, "cached")
            result: ToolResult = await call_next(call)
            return result

    agent = scene.agent(call("spared"), call("effect"), "done", tools=[scene.tool(), scene.tool("spared")])
    async with scene.board(Shortcut()) as board:
        await board.run(agent, "go")
    assert "spared" not in scene.effects.tools


async def early_exit_of_a_request(scene: Scene) -> None:
    """A layer answers for the model, with a call: that one is guarded as if the model had asked for it."""

    class Shortcut:
        asked = False

        @hookimpl
        async def model_request(self, request: ModelRequest, call_next: Call) -> ModelResponse:
            if not self.asked:
                self.asked = True
                wanted = ToolCall(id="c1", name="effect", arguments={})
                return ModelResponse(parts=(wanted,), model=request.model, finish="tool_calls")
            response: ModelResponse = await call_next(request)
            return response

    async with scene.board(Shortcut()) as board:
        await board.run(scene.agent("done"), "go")


async def changed_by_a_layer(scene: Scene) -> None:
    """A layer turns one call into another: what is judged is what happens. Its place is inside of all others."""

    class Changing:
        @hookimpl
        async def tool_call(self, call: ToolCall, call_next: Call) -> ToolResult:
            result: ToolResult = await call_next(evolve(call, name="effect"))
            return result

    agent = scene.agent(call("harmless"), "done", tools=[scene.tool(), scene.tool("harmless")])
    async with scene.board(Changing()) as board:
        await board.run(agent, "go")
    assert scene.effects.tools == ["effect"]


async def retried(scene: Scene) -> None:
    class Again:
        @hookimpl
        def recover(self, failure: Failure) -> Retry:
            return Retry()

    async with scene.board(Again()) as board:
        await board.run(scene.agent(ValueError("cut"), call("effect"), "done"), "go")


async def fallen_back(scene: Scene) -> None:
    backup = scene.model()

    class Elsewhere:
        @hookimpl
        def provide_model(self, name: str) -> ModelBase | None:
            return backup if name == "backup" else None

        @hookimpl
        def recover(self, failure: Failure) -> Fallback:
            return Fallback(target="backup")

    async with scene.board(Elsewhere()) as board:
        await board.run(scene.agent(ValueError("cut")), "go")


async def fallen_back_to_an_agent(scene: Scene) -> None:
    class Elsewhere:
        @hookimpl
        def recover(self, failure: Failure) -> Fallback:
            return Fallback(target="agent:backup")

    async with scene.board(Elsewhere(), agents=[scene.agent(name="backup")]) as board:
        await board.run(scene.agent(ValueError("cut")), "go")


class Row(NamedTuple):
    """One way: how to go it, the public names it passes through, and what it has effects with."""

    go: Callable[[Scene], Awaitable[None] | None]
    through: tuple[str, ...] = ("Pegboard.run",)
    kinds: tuple[str, ...] = ("tool", "model")
    layers: bool = True
    """Whether the names that layers see are those of the effects; not where one inside of them changes the call."""


ROWS = (
    Row(direct),
    Row(by_name),
    Row(explained),
    Row(limited),
    Row(streamed, ("Pegboard.stream",)),
    Row(transformed, ("Pegboard.stream",)),
    Row(prepared, ("Pegboard.drive",)),
    Row(prepared_and_streamed, ("Pegboard.events",)),
    Row(synchronous, ("Pegboard.run_sync",)),
    Row(resumed, ("Pegboard.resume",)),
    Row(conversation, ("ConversationContext.send",)),
    Row(streamed_conversation, ("ConversationContext.stream",)),
    Row(child_of_a_tool, ("RunContext.call_agent",), ("tool", "model", "child")),
    Row(child_of_an_agent, ("RunContext.call_agent", "Pegboard.stream"), ("tool", "model", "child")),
    Row(own_execute),
    Row(parallel),
    Row(beside_a_final_output),
    Row(tool_of_a_plugin),
    Row(tool_of_a_module),
    Row(early_exit_of_a_call),
    Row(early_exit_of_a_request),
    Row(changed_by_a_layer, layers=False),
    Row(retried),
    Row(fallen_back),
    Row(fallen_back_to_an_agent),
)
MATRIX = [
    pytest.param(row, kind, guard, id=f"{row.go.__name__}-{kind}-{guard}")
    for row in ROWS
    for kind in row.kinds
    for guard in sorted(GUARDS_OF[kind] - (set() if row.layers else LAYERS))
]


# --- the tests ---------------------------------------------------------------------------------------------------


@pytest.fixture
def scene(plugin_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A scene with a home of its own, on which of what is installed only the plugin `far` counts."""
    for name in [name for name in os.environ if name.startswith("PEGBOARD")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PEGBOARD_PLUGINS", "far")
    return Scene(plugin_site)


def unasked(scene: Scene, kind: str, guard: str) -> list[str]:
    """Effects that happened more often than the guard was asked about them."""
    return sorted((Counter(scene.effects.of(kind)) - Counter(scene.guard.asked[guard, kind])).elements())


@pytest.mark.parametrize(("row", "kind", "guard"), MATRIX)
def test_every_guard_is_asked_on_every_way(scene: Scene, row: Row, kind: str, guard: str) -> None:
    """For each effect of a way, each of its guards was asked about it, by its name, as often as it happened."""
    going = row.go(scene)
    if going is not None:
        asyncio.run(going)  # type: ignore[arg-type]  # every awaitable here is a coroutine

    assert scene.effects.of(kind), "nothing happened, so nothing was proved"
    assert unasked(scene, kind, guard) == []


def test_every_guard_has_a_place() -> None:
    """A hook that guards within a run stands before some effect."""
    assert guards(SPECS) == frozenset().union(*GUARDS_OF.values())


def test_every_entrance_has_a_row() -> None:
    """What returns a result or a stream of events starts a run, and is gone through above; a replay has no effects."""
    assert set(entrances()) - {"Pegboard.replay"} == {name for row in ROWS for name in row.through}


def entrances() -> Iterator[str]:
    for owner in (Pegboard, ConversationContext, RunContext):
        for name, function in inspect.getmembers(owner, inspect.isfunction):
            returns = str(function.__annotations__.get("return"))
            if not name.startswith("_") and ("RunResult" in returns or "StreamEvent" in returns):
                yield f"{owner.__name__}.{name}"


def test_an_effect_that_nobody_was_asked_about_is_seen(scene: Scene) -> None:
    """Also one that happens twice and is asked about once."""
    scene.effects.tools += ["effect", "effect"]
    scene.guard.asked["authorize", "tool"].append("effect")

    assert unasked(scene, "tool", "authorize") == ["effect"]
    assert unasked(scene, "tool", "audit") == ["effect", "effect"]


def test_a_guard_without_a_place_is_seen() -> None:
    """A new gate of the contract is noticed by its kind alone."""
    new = msgspec.structs.replace(SPECS["authorize"], name="authorize_more")

    assert guards({**SPECS, "authorize_more": new}) - guards(SPECS) == {"authorize_more"}
