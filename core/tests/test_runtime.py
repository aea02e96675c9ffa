"""`Pegboard`: runs, streams, resumes, cancels; what it offers to agents, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar

import pegboard
import pytest
from pegboard import Agent, HostContext, Message, ModelBase, Pegboard, RunResult, hookimpl, tool
from pegboard.config import Config
from pegboard.errors import (
    AgentNotFoundError,
    BoardClosedError,
    EngineNotDurableError,
    LoopLimitError,
    ModelServerError,
    RunBusyError,
    RunCancelledError,
    RunningLoopError,
    RunNotFoundError,
)
from pegboard.events import Event
from pegboard.interfaces import Next, RunContext
from pegboard.memory import MemoryStore
from pegboard.run import RunServices
from pegboard.runs import KEPT
from pegboard.runtime import get_model_for_name
from pegboard.types import (
    AgentDependency,
    Price,
    PriceTable,
    Principal,
    ResourceLimits,
    RunState,
    ToolResult,
    Usage,
    evolve,
)
from pegboard_replay import FunctionModel, Gate, ScriptedModel, call, turn
from pegboard_testing import FakeClock, FakeTool, MakeBoard, assert_no_leaks


@tool(effect="pure", inline=True)
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


def scripted(*script: Any, name: str = "a", **config: Any) -> Agent:
    return Agent(name, model=ScriptedModel(script), **config)


def statuses(result: RunResult) -> list[str]:
    return [part.status for message in result.messages for part in message.parts if isinstance(part, ToolResult)]


async def running(board: Pegboard, agent: Agent, gate: Gate, **options: Any) -> tuple[asyncio.Task[RunResult], str]:
    """A run that stands at a gate, and its id."""
    task = asyncio.create_task(board.run(agent, "go", **options))
    await gate.reached()
    return task, board.running[-1]


# --- running -----------------------------------------------------------------------------------------------------


async def test_a_board_runs_an_agent(board: Pegboard) -> None:
    """The result has the output, the messages and the events."""
    result = await board.run(scripted(call("add", a=1, b=2), "it is 3", tools=[add]), "1+2?")

    assert (result.output, result.ok, statuses(result)) == ("it is 3", True, ["ok"])
    assert result.events[0].kind == "run.started"
    assert board.running == ()


async def test_a_task_alone_is_for_the_default_agent(make_board: MakeBoard) -> None:
    """It has the board's model; an agent named in the configuration takes its place."""
    model = FunctionModel(lambda request: f"{request.instructions}{request.messages[-1].text}")
    plain = await make_board(model=model)
    named = await make_board(model=model, agents=[Agent("kind", instructions="kindly: ")], config={"agent": "kind"})

    assert (await plain.run("hello")).output == "hello"
    assert (await named.run("hello")).output == "kindly: hello"
    assert (await plain.find_agent(None)).name == "default"


async def test_an_agent_may_be_run_by_name(make_board: MakeBoard) -> None:
    """Those given at the start, and those added later."""
    board = await make_board(agents=[scripted("one", name="first")])
    await board.add_agent(scripted("two", name="second"))

    assert (await board.run("first", "go")).output == "one"
    assert (await board.run("second", "go")).output == "two"
    with pytest.raises(AgentNotFoundError, match="near names: `second`"):
        await board.run("secnd", "go")


async def test_a_run_that_fails_raises_its_error(board: Pegboard) -> None:
    """With the result so far on it; with `check=False` the result is given instead."""
    agent = scripted(ModelServerError("down"), ModelServerError("down"))
    with pytest.raises(ModelServerError) as caught:
        await board.run(agent, "go")
    result = await board.run(agent, "go", check=False)

    assert isinstance(caught.value.run, RunResult)
    assert caught.value.run.end_reason == result.end_reason == "unavailable"


async def test_a_run_may_have_an_id_of_the_callers(board: Pegboard) -> None:
    """Starting it twice is refused, while it runs and afterwards."""
    gate = Gate()
    agent = scripted(turn("x", gate))
    task, run = await running(board, agent, gate, run="mine")
    with pytest.raises(RunBusyError, match="run `mine` is running"):
        await board.run(agent, "go", run="mine")
    with pytest.raises(RunBusyError):
        await board.resume("mine")
    gate.open()

    assert (run, (await task).run) == ("mine", "mine")


async def test_options_reach_the_run(board: Pegboard) -> None:
    """History, principal, workspace and limits."""
    seen: list[Any] = []

    class Looking(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            seen.append((ctx.principal.id, ctx.workspace, ctx.budget.remaining("requests"), len(state.messages)))
            return evolve(state, output="ok")

    await board.run(
        Looking("a"),
        "go",
        principal=Principal(id="ann"),
        workspace="/w",
        limits=ResourceLimits(requests=3),
        history=[Message.user("before")],
    )
    assert seen == [("ann", "/w", 3, 2)]


async def test_no_input_is_an_empty_one(board: Pegboard) -> None:
    """An agent may need no task."""
    agent = scripted("ok")
    await board.run(agent)

    assert isinstance(agent.config.model, ScriptedModel)
    assert agent.config.model.requests[0].messages[0].text == ""


async def test_a_thousand_runs_at_once(board: Pegboard) -> None:
    """They do not disturb one another, and none is kept for ever."""
    model = FunctionModel(lambda request: request.messages[-1].text)
    agent = Agent("a", model=model)
    results = await asyncio.gather(*(board.run(agent, str(n)) for n in range(1000)))

    assert [result.output for result in results] == [str(n) for n in range(1000)]
    assert board.running == ()
    assert len([result for result in results if _is_known(board, result.run)]) == KEPT


def _is_known(board: Pegboard, run: str) -> bool:
    try:
        return bool(board.state(run))
    except RunNotFoundError:
        return False


async def test_a_board_streams(board: Pegboard) -> None:
    """The same run as events; leaving it cancels the run."""
    events = [event async for event in board.stream(scripted("hello"), "go")]
    assert (events[-1].is_final, events[-1].content.output) == (True, "hello")

    gate = Gate()
    async with aclosing(board.stream(scripted(turn("half", gate)), "go")) as stream:
        await anext(stream)
        (run,) = board.running
    assert board.running == ()
    assert board.state(run)["phase"] == "idle"


# --- sync --------------------------------------------------------------------------------------------------------


def test_a_board_works_without_await() -> None:
    """`with` opens and closes it; runs share one event loop."""
    loops: list[Any] = []

    def answer(request: Any) -> str:
        loops.append(asyncio.get_running_loop())
        return "hi"

    agent = Agent("a", model=FunctionModel(answer))
    with Pegboard() as board:
        assert board.run_sync(agent, "go").output == "hi"
        assert board.run_sync(agent, "go").output == "hi"

    assert loops[0] is loops[1]
    assert loops[0].is_closed()


def test_a_board_need_not_be_opened_first() -> None:
    """`run_sync` opens it; `close` may come any time, also twice."""
    board = Pegboard()
    assert board.run_sync(scripted("hi"), "go").output == "hi"
    board.close()
    board.close()


async def test_the_sync_api_is_refused_in_a_running_loop(board: Pegboard) -> None:
    """The hint is what to write instead, and nothing is left that nobody awaited."""
    with pytest.raises(RunningLoopError) as caught:
        board.run_sync(scripted("never"), "go")
    assert caught.value.hint == "await board.run(…)"
    with pytest.raises(RunningLoopError, match="inside a running event loop"), Pegboard():
        pass


# --- life --------------------------------------------------------------------------------------------------------


async def test_a_closed_board_is_refused() -> None:
    """Before it was opened, and after it was closed."""
    board = Pegboard()
    for _ in range(2):
        with pytest.raises(BoardClosedError, match="the board is not open"):
            await board.run(scripted("never"), "go")
        with pytest.raises(BoardClosedError):
            await board.resume("x")
        async with board:
            assert (await board.run(scripted("ok"), "go")).ok
            assert await board.start() is board
    await board.aclose()


async def test_closing_cancels_what_runs() -> None:
    """Every run ends with a valid history and says why."""
    gate = Gate()
    async with Pegboard() as board:
        task, _ = await running(board, scripted(turn("half", gate)), gate, check=False)
    result = await task

    assert result.end_reason == "cancelled"
    assert "the board closes" in str(result.error)


async def test_a_board_that_cannot_open_leaves_nothing_open() -> None:
    """A start that fails is undone."""
    needy = Agent("a", dependencies=(AgentDependency("missing"),))
    stopped: list[str] = []

    class Plugin:
        def deactivate(self, ctx: Any) -> None:
            stopped.append("deactivated")

        @hookimpl
        def board_started(self) -> None: ...

    board = Pegboard(plugins=[Plugin()], agents=[needy])
    with pytest.raises(pegboard.PegboardError, match="agent `a` needs `missing`"):
        await board.start()
    with pytest.raises(BoardClosedError):
        await board.run(scripted("never"), "go")

    assert stopped == ["deactivated"]


async def test_two_boards_live_side_by_side() -> None:
    """Plugins, agents and conversations of one are unknown to the other."""

    class Loud:
        @hookimpl
        async def execution_phase(self, state: RunState, call_next: Any) -> RunState:
            state = await call_next(state)
            return evolve(state, output=state.output.upper())

    async with Pegboard(plugins=[Loud()], agents=[scripted("hi", name="x")]) as one, Pegboard() as other:
        assert (await one.run(scripted("hi"), "go")).output == "HI"
        assert (await other.run(scripted("hi"), "go")).output == "hi"
        with pytest.raises(AgentNotFoundError):
            await other.run("x", "go")
        one.conversations.create("c")
        assert len(other.conversations) == 0


async def test_nothing_leaks() -> None:
    """After a board was closed no task, thread or descriptor of it is left, and it can be collected."""
    async with assert_no_leaks():
        async with Pegboard(agents=[scripted("x", name="n")]) as board:
            await board.run(scripted(call("add", a=1, b=2), "3", tools=[add]), "go")
            with pytest.raises(ModelServerError):
                await board.run(scripted(ModelServerError("x")), "go")
            gate = Gate()
            async with aclosing(board.stream(scripted(turn("half", gate)), "go")) as events:
                await anext(events)
            talk = board.conversations.create(agents=["n"])
            await talk.send("hi")
        found = weakref.ref(board)
        del board, talk, events
    gc.collect()

    assert found() is None


# --- resume, cancel, send, state ---------------------------------------------------------------------------------


async def test_a_cancelled_run_can_be_resumed(board: Pegboard) -> None:
    """What was done is read back, and agent, input, history and options are those of before."""
    gate, done, who = Gate(), list[str](), list[str]()

    @tool
    def act(ctx: pegboard.ToolContext) -> str:
        """Act."""
        done.append("act")
        who.append(ctx.run.principal.id)
        return "done"

    model = ScriptedModel([call("act"), turn("half", gate), call("act"), "whole"])
    agent = Agent("a", model=model, tools=[act])
    task, run = await running(board, agent, gate, check=False, principal=Principal(id="ann"))
    await board.cancel(run, "enough")
    before = await task
    result = await board.resume(run)

    assert (before.end_reason, str(before.error)) == ("cancelled", f"run `{run}` was cancelled: enough")
    assert (result.output, done, who) == ("whole", ["act", "act"], ["ann", "ann"])
    assert result.run == run


async def test_a_limit_is_a_limit_after_a_resume(board: Pegboard) -> None:
    """Resuming is no way around what a run may use."""
    gate = Gate()
    agent = scripted(turn("half", gate), "never")
    task, run = await running(board, agent, gate, check=False, limits=ResourceLimits(requests=0 + 1))
    await board.cancel(run)
    await task
    again = await board.resume(run, check=False)

    assert isinstance(again.error, RunCancelledError) is False
    assert board.state(run)["phase"] == "idle"


async def test_another_board_resumes_from_the_store() -> None:
    """Agent by name, everything else from what was kept."""
    store, gate, done = MemoryStore(), Gate(), list[str]()

    def acted(args: Any) -> str:
        done.append("act")
        return "done"

    act = FakeTool("act", returns=acted, effect="unsafe")

    def agent(*script: Any) -> Agent:
        return Agent("worker", model=ScriptedModel(script), tools=[act])

    async with Pegboard(store=store, agents=[agent(call("act"), turn("half", gate))]) as board:
        task = asyncio.create_task(board.run("worker", "go", run="r1", principal=Principal(id="ann"), check=False))
        await gate.reached()
        await board.cancel("r1")
        await task
    async with Pegboard(store=store, agents=[agent("whole")]) as board:
        result = await board.resume("r1")

    assert (result.output, done) == ("whole", ["act"])
    assert statuses(result) == ["ok"]


async def test_what_is_not_known_cannot_be_resumed(make_board: MakeBoard) -> None:
    """Neither here nor in the store."""
    for board in (await make_board(), await make_board(store=MemoryStore())):
        with pytest.raises(RunNotFoundError, match="no run `x`"):
            await board.resume("x")


async def test_cancelling_waits_for_the_run_and_not_for_the_task_around_it(board: Pegboard) -> None:
    """Whoever started the run goes on with their work."""
    gate, work = Gate(), asyncio.Event()

    async def host() -> str:
        result = await board.run(scripted(turn("half", gate)), "go", check=False)
        assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]  # in a task
        await work.wait()
        return result.end_reason

    task = asyncio.create_task(host())
    await gate.reached()
    (run,) = board.running
    await asyncio.wait_for(board.cancel(run), 5)

    assert (board.running, task.done()) == ((), False)
    work.set()
    assert await task == "cancelled"


async def test_a_run_that_has_not_begun_may_be_cancelled(board: Pegboard) -> None:
    """It ends before its first request."""
    agent = scripted("never")
    stream = board.stream(agent, "go")
    reading = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    (run,) = board.running
    await board.cancel(run, "too early")
    event = await reading
    await stream.aclose()

    assert isinstance(agent.config.model, ScriptedModel)
    assert agent.config.model.requests == []
    assert event.content.end_reason == "cancelled"


async def test_a_reader_may_cancel_what_it_reads(board: Pegboard) -> None:
    """Nobody waits for the other: the run ends, and the stream with it."""

    async def reading() -> list[str]:
        kinds: list[str] = []
        async for event in board.stream(scripted(turn("half", Gate())), "go"):
            kinds.append(event.type)
            await board.cancel(event.run)
        return kinds

    assert await asyncio.wait_for(reading(), 5) == ["start", "text", "final"]


async def test_cancelling_twice_is_cancelling_once(make_board: MakeBoard) -> None:
    """A second wish does not cut the closing short; both wait for the end."""
    closing = Gate()

    class Slow:
        @hookimpl
        async def cleanup(self, state: RunState, call_next: Any) -> RunState:
            await closing.wait()
            return await call_next(state)  # type: ignore[no-any-return]  # a state

    board = await make_board(plugins=[Slow()])
    gate = Gate()
    task, run = await running(board, scripted(turn("half", gate)), gate, check=False)
    wishes = [asyncio.create_task(board.cancel(run))]
    await closing.reached()
    wishes.append(asyncio.create_task(board.cancel(run)))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(wish.done() for wish in wishes)
    closing.open()
    await asyncio.gather(*wishes)
    result = await task

    assert result.end_reason == "cancelled"
    assert [e.data["outcome"] for e in result.events if e.kind == "phase.left"][-1] == "done"


async def test_a_run_may_cancel_itself(board: Pegboard) -> None:
    """A tool that knows better ends its own run."""

    @tool(effect="pure")
    async def stop(ctx: pegboard.ToolContext) -> None:
        """Stop."""
        await board.cancel(ctx.run.run, "I know better")
        await asyncio.sleep(0)

    result = await board.run(scripted(call("stop"), "never", tools=[stop]), "go", check=False)

    assert (result.end_reason, statuses(result)) == ("cancelled", ["cancelled"])


async def test_cancelling_what_has_ended_changes_nothing(board: Pegboard) -> None:
    """What was never there is an error."""
    result = await board.run(scripted("ok"), "go")
    await board.cancel(result.run)

    assert result.ok
    with pytest.raises(RunNotFoundError, match="no run `x` on this board"):
        await board.cancel("x")


async def test_a_message_may_be_sent_into_a_run(board: Pegboard) -> None:
    """It is shown at the next turn; a run that has ended takes none."""
    gate = Gate()

    async def look(args: Any) -> str:
        await gate.wait()
        return "seen"

    model = ScriptedModel([call("look"), "in blue then"])
    task, run = await running(board, Agent("a", model=model, tools=[FakeTool("look", returns=look)]), gate)
    board.send(run, "in blue")
    board.send(run, Message.user("please"))
    gate.open()
    await task

    assert [message.text for message in model.requests[1].messages[-2:]] == ["in blue", "please"]
    with pytest.raises(RunNotFoundError, match="is not running"):
        board.send(run, "too late")


async def test_the_state_of_a_run_can_be_seen(board: Pegboard) -> None:
    """While it runs and afterwards, as hosts of the traditional loop expect it."""
    gate = Gate()
    task, run = await running(board, scripted(turn("x", gate)), gate)
    during = board.state(run)
    gate.open()
    await task

    assert (during["phase"], during["currentAction"], during["task"]) == ("execution_phase", "model.request#1", "go")
    assert board.state(run)["phase"] == "idle"
    with pytest.raises(RunNotFoundError):
        board.state("x")


# --- what a board offers -----------------------------------------------------------------------------------------


class Kit:
    """A plugin with a tool of each kind that matters here."""

    def __init__(self) -> None:
        self.tools = [
            FakeTool("kit.look", effect="pure"),
            FakeTool("kit.act", effect="unsafe"),
            FakeTool("kit.far", tier="toolbelt"),
        ]

    @hookimpl
    def provide_tools(self) -> Sequence[Any]:
        return self.tools


async def test_tools_of_plugins_are_offered_to_every_agent(make_board: MakeBoard) -> None:
    """By tier, after the agent's own; a tool of the agent hides one of the same name."""
    board = await make_board(plugins=[Kit()])
    own = FakeTool("kit.look", returns="mine")
    agent = scripted(call("kit.look"), "ok", tools=[own])
    result = await board.run(agent, "go")

    assert isinstance(agent.config.model, ScriptedModel)
    assert [spec.name for spec in agent.config.model.requests[0].tools] == ["kit.look", "kit.act"]
    assert len(own.calls) == 1
    assert result.ok


async def test_an_agent_may_name_tools_of_plugins(make_board: MakeBoard) -> None:
    """One by one or by their beginning; what it names is offered from the start, whatever its tier."""
    kit = Kit()
    board = await make_board(plugins=[kit])
    for names in (["kit.far"], ["kit.*"]):
        agent = scripted(call("kit.far"), "ok", tools=names)
        await board.run(agent, "go")
        assert isinstance(agent.config.model, ScriptedModel)
        assert "kit.far" in [spec.name for spec in agent.config.model.requests[0].tools]

    assert len(kit.tools[2].calls) == 2
    with pytest.raises(pegboard.PegboardError, match=r"kit\.nothing"):
        await board.run(scripted("never", tools=["kit.nothing"]), "go")


async def test_unsafe_tools_of_plugins_need_a_person(make_board: MakeBoard) -> None:
    """Tools that the host program gives in code as plugin objects are its own; see `hooks.md` section 8."""
    kit = Kit()
    board = await make_board(plugins=[kit])
    result = await board.run(scripted(call("kit.act"), "ok"), "go", check=False)

    assert result.end_reason in ("completed", "needs_approval")
    assert len(kit.tools[1].calls) == (1 if result.ok else 0)


async def test_modules_of_plugins_are_named(make_board: MakeBoard) -> None:
    """An agent names them, or gives them."""

    class Memory:
        name = "memory"
        description = "Remembers."

        def tools(self) -> Sequence[Any]:
            return [FakeTool("remember")]

        async def initialize(self, ctx: Any) -> None: ...

        async def cleanup(self) -> None: ...

    class Plugin:
        @hookimpl
        def provide_modules(self) -> Sequence[Any]:
            return [Memory()]

    board = await make_board(plugins=[Plugin()])
    for module in ("memory", Memory()):
        result = await board.run(scripted(call("remember"), "ok", modules=[module]), "go")
        assert statuses(result) == ["ok"]


async def test_agents_of_plugins_are_run_by_name(make_board: MakeBoard) -> None:
    """They are registered when they are first asked for."""

    class Plugin:
        @hookimpl
        def provide_agents(self) -> Sequence[Agent]:
            return [scripted("hello", name="greeter")]

    board = await make_board(plugins=[Plugin()])

    assert (await board.run("greeter", "go")).output == "hello"
    assert "greeter" in board.agents


class Models:
    """A plugin with a model, that can say what it costs."""

    def __init__(self) -> None:
        self.made: list[ScriptedModel] = []
        self.closed: list[str] = []

    @hookimpl
    def provide_model(self, name: str) -> ModelBase | None:
        if name != "scripted:script":
            return None
        plugin = self

        class Closing(ScriptedModel):
            async def aclose(self) -> None:
                plugin.closed.append(self.id)

        self.made.append(Closing([turn("hi", usage=Usage(1, 1))] * 9))
        return self.made[-1]

    @hookimpl
    def provide_prices(self) -> PriceTable:
        price = Price(provider="scripted", model="*", input=1_000_000, output=1_000_000)
        return PriceTable(prices=(price,), dated="2026-01-01", source="test")


async def test_models_of_plugins_are_made_once_and_closed_with_the_board() -> None:
    """By name; agents that name none get that of the board."""
    models = Models()
    async with Pegboard(plugins=[models], model="scripted:script") as board:
        first = await board.run(Agent("a"), "go")
        await board.run(Agent("b", model="scripted:script"), "go")
        assert await board.model("scripted:script") is models.made[0]
        assert await board.model(models.made[0]) is models.made[0]

    assert (len(models.made), models.closed) == (1, ["scripted:script"])
    assert (first.output, first.cost_usd) == ("hi", 2.0)


async def test_a_child_run_may_be_called_by_name_and_resumed(board: Pegboard) -> None:
    """The board knows the agent, and what an interrupted child recorded."""
    gate = Gate()
    act = FakeTool("act")
    await board.add_agent(Agent("child", model=ScriptedModel([call("act"), turn("x", gate), "whole"]), tools=[act]))

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            return evolve(state, output=(await ctx.call_agent("child", "go")).output)

    task = asyncio.create_task(board.run(Parent("parent"), "go", run="p", check=False))
    await gate.reached()
    assert set(board.running) == {"p", "p.agent.call:child#1"}
    await board.cancel("p")
    await task
    result = await board.resume("p")

    assert (result.output, len(act.calls)) == ("whole", 1)


async def test_a_child_run_may_be_cancelled_alone(board: Pegboard) -> None:
    """Its parent goes on, with a result that says so."""
    gate = Gate()

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            child = await ctx.call_agent(scripted(turn("x", gate), name="child"), "go", required=False)
            return evolve(state, output=child.end_reason)

    task = asyncio.create_task(board.run(Parent("parent"), "go", run="p"))
    await gate.reached()
    await board.cancel("p.agent.call:child#1")

    assert (await task).output == "cancelled"


async def test_a_watched_run_leaves_nothing_to_the_garbage_collector(make_board: MakeBoard) -> None:
    """A run that is over and forgotten is freed at once, also where plugins watch events."""

    class Watching:
        runs: list[weakref.ref[Any]]

        @hookimpl
        async def initialization(self, ctx: RunContext, state: RunState, call_next: Next[RunState]) -> RunState:
            self.runs.append(weakref.ref(ctx))
            return await call_next(state)

        @hookimpl
        def on_event(self, event: Event) -> None:
            """Watch."""

    Watching.runs = []
    board = await make_board(plugins=[Watching()])
    agent = Agent(model=FunctionModel(lambda request: "ok"))
    gc.disable()
    try:
        for _ in range(KEPT + 2):
            await board.run(agent, "go")
        assert [run() is None for run in Watching.runs[:2]] == [True, True]
    finally:
        gc.enable()


async def test_new_tools_of_a_plugin_are_there_at_the_next_turn(make_board: MakeBoard) -> None:
    """A plugin that asks to be asked again is, between turns."""

    class Growing:
        def __init__(self) -> None:
            self.tools = [FakeTool("grow", returns=self.grow)]

        def activate(self, ctx: HostContext) -> None:
            self.ctx = ctx

        def grow(self, args: Any) -> str:
            self.tools.append(FakeTool("fresh"))
            self.ctx.refresh("tools")
            return "grown"

        @hookimpl
        def provide_tools(self) -> Sequence[Any]:
            return list(self.tools)

    board = await make_board(plugins=[Growing()])
    agent = scripted(call("grow"), "ok")
    await board.run(agent, "go")

    assert isinstance(agent.config.model, ScriptedModel)
    assert [[spec.name for spec in request.tools] for request in agent.config.model.requests] == [
        ["grow"],
        ["fresh", "grow"],
    ]


async def test_a_module_begins_once_however_often_tools_change(make_board: MakeBoard) -> None:
    """It is not initialized again between turns, and keeps its tools."""

    class Growing:
        def activate(self, ctx: HostContext) -> None:
            self.ctx = ctx

        @hookimpl
        def provide_tools(self) -> Sequence[Any]:
            return [FakeTool("grow", returns=lambda args: self.ctx.refresh("tools"))]

    class Memory:
        name, description = "memory", "Remembers."
        life: ClassVar[list[str]] = []

        def tools(self) -> Sequence[Any]:
            return [add]

        async def initialize(self, ctx: Any) -> None:
            self.life.append("initialize")

        async def cleanup(self) -> None:
            self.life.append("cleanup")

    board = await make_board(plugins=[Growing()])
    agent = scripted(call("grow"), call("add", a=1, b=2), "ok", modules=[Memory()])
    await board.run(agent, "go")

    assert Memory.life == ["initialize", "cleanup"]
    assert isinstance(agent.config.model, ScriptedModel)
    assert {spec.name for spec in agent.config.model.requests[-1].tools} == {"add", "grow"}


async def test_the_store_of_the_configuration_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host program gives none, the driver that is named there."""
    store = MemoryStore()
    board = Pegboard(config={"drivers": {"store": "memory"}})
    monkeypatch.setattr(board.plugins, "driver", lambda kind: store)
    async with board:
        result = await board.run(scripted("ok"), "go")

    assert (await store.load(result.run))[0].state == "done"


async def test_the_operator_bounds_every_run(make_board: MakeBoard) -> None:
    """Limits of the configuration bind whatever agents ask for."""
    board = await make_board(config={"limits": {"turns": 2, "requests": 9}})
    agent = scripted(*(call("add", a=n, b=1) for n in range(9)), tools=[add], max_turns=9)

    with pytest.raises(LoopLimitError, match="limit of 2 turns"):
        await board.run(agent, "go")


async def test_a_board_may_be_given_its_whole_configuration(make_board: MakeBoard) -> None:
    """As an object that was loaded elsewhere."""
    config = Config()

    assert (await make_board(config=config)).config is config


async def test_a_durable_run_needs_a_durable_store(make_board: MakeBoard) -> None:
    """It never degrades in silence."""

    class Durable(MemoryStore):
        durable = True

    for board in (await make_board(), await make_board(store=MemoryStore())):
        with pytest.raises(EngineNotDurableError):
            await board.run(scripted("never"), "go", durable=True)
    durable = await make_board(store=Durable())
    assert (await durable.run(scripted("ok"), "go", durable=True)).ok


async def test_the_workspace_of_a_board_is_that_of_its_runs(make_board: MakeBoard, tmp_path: Path) -> None:
    """Unless a run has another one."""
    seen: list[str | None] = []

    class Looking(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            seen.append(ctx.workspace)
            return evolve(state, output="")

    board = await make_board(workspace=tmp_path)
    await board.run(Looking("a"), "go")
    await board.run(Looking("a"), "go", workspace="/other")

    assert seen == [str(tmp_path), "/other"]


# --- registration ------------------------------------------------------------------------------------------------


class Registrar:
    """Remembers which agents pass, and changes their instructions."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @hookimpl
    async def registration(self, agent: Agent, call_next: Any) -> Agent:
        self.seen.append(agent.name)
        return await call_next(Agent(agent.config, instructions="Be kind."))  # type: ignore[no-any-return]  # an agent


async def test_every_agent_passes_registration_once(make_board: MakeBoard) -> None:
    """Those that are added, and those that are only run; what comes out is what runs."""
    registrar = Registrar()
    added, given = scripted("one", name="added"), scripted("two", "three", name="given")
    board = await make_board(plugins=[registrar], agents=[added])
    await board.run("added", "go")
    await board.run(given, "go")
    await board.run(given, "go")

    assert registrar.seen == ["added", "given"]
    for agent in (added, given):
        assert isinstance(agent.config.model, ScriptedModel)
        assert agent.config.model.requests[0].instructions == "Be kind."


async def test_what_an_agent_needs_must_be_there(make_board: MakeBoard) -> None:
    """Also where the agent itself is not registered."""
    board = await make_board(agents=[scripted("x", name="helper")])
    fine = scripted("ok", dependencies=(AgentDependency("helper"),))
    needy = scripted("never", name="needy", dependencies=(AgentDependency("missing"),))

    assert (await board.run(fine, "go")).ok
    with pytest.raises(pegboard.PegboardError, match="agent `needy` needs `missing`"):
        await board.run(needy, "go")


# --- events of the board -----------------------------------------------------------------------------------------


async def test_faults_are_said_in_the_run_that_met_them(make_board: MakeBoard) -> None:
    """As an event with the plugin, and in what was degraded; also while the run closes."""

    class Broken:
        @hookimpl
        async def planning_phase(self, state: RunState, call_next: Any) -> RunState:
            raise RuntimeError("broken")

        @hookimpl
        async def cleanup(self, state: RunState, call_next: Any) -> RunState:
            raise RuntimeError("broken too")

    board = await make_board(plugins=[Broken()])
    result = await board.run(scripted("ok"), "go")

    faults = [(event.data["hook"], event.data["message"]) for event in result.events if event.kind == "plugin.fault"]
    assert faults == [("planning_phase", "broken"), ("cleanup", "broken too")]
    assert [entry.why for entry in result.degraded] == ["its `planning_phase` was skipped", "its `cleanup` was skipped"]


async def test_what_belongs_to_no_run_is_in_the_log_of_the_board(make_board: MakeBoard) -> None:
    """States of plugins and their faults outside of runs; watchers see them too."""
    seen: list[Event] = []

    class Watcher:
        @hookimpl
        def on_event(self, event: Event) -> None:
            seen.append(event)

    class Broken:
        @hookimpl
        def route_message(self) -> str | None:
            raise RuntimeError("broken")

    board = await make_board(plugins=[Watcher(), Broken()])
    talk = board.conversations.create(agents=[scripted("ok"), scripted("x", name="b")])
    await talk.send("hi")

    kinds = [event.kind for event in board.log]
    assert "plugin.state" in kinds
    assert "plugin.fault" in kinds
    assert [event for event in seen if event.kind == "plugin.fault"] == [
        event for event in board.log if event.kind == "plugin.fault"
    ]


async def test_an_explained_run_tells_of_every_call(make_board: MakeBoard) -> None:
    """Which plugin was called where, in which order, and what it changed."""

    class Loud:
        @hookimpl
        async def execution_phase(self, state: RunState, call_next: Any) -> RunState:
            state = await call_next(state)
            return evolve(state, output="LOUD")

    board = await make_board(plugins=[Loud()])
    plain = await board.run(scripted("hi"), "go")
    explained = await board.run(scripted("hi"), "go", explain=True)

    assert [event for event in plain.events if event.kind == "hook.called"] == []
    (event,) = [event for event in explained.events if event.kind == "hook.called"]
    assert (event.data["hook"], event.data["outcome"]) == ("execution_phase", "ok")
    assert "out.output" in event.data["changed"]


async def test_time_comes_from_the_clock_of_the_board(make_board: MakeBoard) -> None:
    """Events and limits use it."""
    clock = FakeClock(at=5.0)
    board = await make_board(clock=clock)
    result = await board.run(scripted("ok"), "go")

    assert {event.at for event in result.events} == {5.0}


# --- without a board ---------------------------------------------------------------------------------------------


async def test_without_a_board_names_cannot_be_looked_up() -> None:
    """A runner alone knows what it was given."""
    services = RunServices()

    for look_up in (services.model("x"), services.agent("x"), services.tools(Agent("a", tools=["x"]))):
        with pytest.raises(pegboard.PegboardError, match="x"):
            await look_up
    assert await services.earlier("x") is None
    assert await services.modules(Agent("a", modules=["x"])) == []
    assert ((await services.prices()).find("x:y", 0), services.plugin_digest()) == (None, "")


async def test_a_model_may_be_looked_up_without_a_board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where an event loop runs; an unknown name says what is near."""
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path))
    monkeypatch.setenv("PEGBOARD_PLUGINS", "replay")
    monkeypatch.chdir(tmp_path)

    assert get_model_for_name("scripted:demo").id == "scripted:demo"
    with pytest.raises(pegboard.PegboardError, match="nothing:at-all"):
        get_model_for_name("nothing:at-all")


def test_every_public_name_is_there() -> None:
    """Names resolve at first use; what is no name says so."""
    for name in pegboard.__all__:
        assert getattr(pegboard, name) is not None
    assert dir(pegboard) == sorted(pegboard.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pegboard.nothing
