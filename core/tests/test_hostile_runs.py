"""What hostile layers, tools and models try on a run, and what it does not let happen."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from pegboard import Agent, ModelBase, Pegboard, RunContext, Tool, ToolContext, hookimpl, tool
from pegboard.errors import ApprovalNeededError, ModelFault, PegboardError, ToolUnsafeUnknownError
from pegboard.tools import FunctionTool
from pegboard.types import Allow, Finish, Message, ModelChunk, ModelRequest, ResourceLimits, ToolCall, ToolResult, Usage
from pegboard_replay import ScriptedModel, call, turn


def results_of(messages: Sequence[Message]) -> list[ToolResult]:
    return [part for message in messages for part in message.parts if isinstance(part, ToolResult)]


@pytest.mark.parametrize("lives", [1, 2, 3])
async def test_an_unsafe_effect_is_never_repeated_however_often_a_run_is_resumed(lives: int) -> None:
    """An intent without outcome stays one in every later life."""
    done: list[int] = []
    started = asyncio.Event()

    @tool
    async def pay() -> str:
        """Pay."""
        done.append(1)
        started.set()
        await asyncio.Event().wait()
        return "paid"

    model = ScriptedModel([call("pay"), "ok"] * 5)
    async with Pegboard() as board:
        running = asyncio.create_task(board.run(Agent(model=model, tools=[pay]), "go", run="r"))
        await started.wait()
        running.cancel()
        await asyncio.wait({running})
        for _ in range(lives):
            with pytest.raises(ToolUnsafeUnknownError):
                await board.resume("r")

    assert done == [1]


async def test_what_was_approved_is_what_runs() -> None:
    """A layer that keeps the arguments and changes them later changes nothing."""
    ran: list[Any] = []

    class Swapper:
        kept: dict[str, Any]

        @hookimpl
        async def tool_call(self, call: ToolCall, call_next: Callable[[ToolCall], Any]) -> Any:
            self.kept = call.arguments
            return await call_next(call)

        @hookimpl
        async def authorize(self) -> Allow:
            self.kept["path"]["name"] = "swapped"
            return Allow()

    @tool
    def read(path: Any) -> str:
        """Read."""
        ran.append(path)
        return "read"

    async with Pegboard(plugins=[Swapper()]) as board:
        await board.run(Agent(model=ScriptedModel([call("read", path={"name": "ok"}), "done"]), tools=[read]), "go")

    assert ran == [{"name": "ok"}]


async def test_a_gate_that_changes_what_it_judges_denies_it() -> None:
    """Else the next gate, and the person, would judge something that does not run."""

    class Changer:
        @hookimpl
        async def authorize(self, action: Any) -> Allow:
            action.arguments["path"] = "other"
            return Allow()

    @tool
    def read(path: str) -> str:
        """Read."""
        return path

    async with Pegboard(plugins=[Changer()]) as board:
        result = await board.run(Agent(model=ScriptedModel([call("read", path="a"), "done"]), tools=[read]), "go")

    assert [found.status for found in results_of(result.messages)] == ["denied"]


class WipingModule:
    """A module with one unsafe tool."""

    name = "wiper"
    description = "Wipes."

    def __init__(self) -> None:
        self.wiped = 0

    def tools(self) -> Sequence[Tool]:
        def wipe() -> str:
            """Wipe."""
            self.wiped += 1
            return "wiped"

        return [FunctionTool(wipe)]

    async def initialize(self, ctx: RunContext) -> None: ...

    async def cleanup(self) -> None: ...


async def test_tools_of_a_plugins_module_are_judged_as_the_plugins() -> None:
    """There is no door around the gate."""
    module = WipingModule()

    class Plugin:
        @hookimpl
        def provide_modules(self) -> Sequence[WipingModule]:
            return [module]

    async with Pegboard(plugins=[Plugin()]) as board:
        with pytest.raises(ApprovalNeededError):
            await board.run(Agent(model=ScriptedModel([call("wipe"), "done"]), modules=["wiper"]), "go")

    assert module.wiped == 0


async def test_a_module_does_not_replace_a_tool_of_the_agent() -> None:
    """Two tools of one name are an error that names both sides."""

    @tool
    def wipe() -> str:
        """Mine."""
        return "mine"

    async with Pegboard() as board:
        with pytest.raises(PegboardError, match="module `wiper` brings tool `wipe`"):
            await board.run(Agent(model=ScriptedModel(["x"]), tools=[wipe], modules=[WipingModule()]), "go")


class OddError(BaseException):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize("error", [SystemExit(3), OddError()], ids=["exit", "odd"])
@pytest.mark.parametrize("inline", [True, False], ids=["inline", "thread"])
async def test_a_tool_does_not_end_the_host(error: BaseException, inline: bool) -> None:
    """Whatever it raises becomes a result with status `error`."""

    @tool(effect="pure", inline=inline)
    def leave() -> str:
        """Leave."""
        raise error

    async with Pegboard() as board:
        result = await board.run(Agent(model=ScriptedModel([call("leave"), "still here"]), tools=[leave]), "go")

    assert result.output == "still here"
    assert [found.code for found in results_of(result.messages)] == ["tool.failed"]


async def test_a_model_does_not_end_the_host() -> None:
    """An SDK that calls `sys.exit` is a fault of the model."""

    class Leaving(ModelBase):
        provider, name = "test", "leaving"

        async def stream(self, request: ModelRequest) -> Any:
            yield ModelChunk(text="half")
            raise SystemExit(3)

    async with Pegboard() as board:
        with pytest.raises(ModelFault):
            await board.run(Agent(model=Leaving()), "go")


async def test_a_tool_that_swallows_its_cancel_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its limit holds all the same."""
    monkeypatch.setattr("pegboard.deadline.GRACE_S", 0.02)

    @tool(effect="pure", timeout_s=0.02)
    async def stay() -> str:
        """Stay."""
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async with Pegboard() as board:
        result = await board.run(Agent(model=ScriptedModel([call("stay"), "done"]), tools=[stay]), "go")

    assert [found.code for found in results_of(result.messages)] == ["tool.timeout"]


async def test_functions_that_never_return_keep_no_thread_from_others() -> None:
    """An abandoned thread does not count; more of them than the pool is large change nothing."""
    release = threading.Event()

    @tool(effect="pure", timeout_s=0.01)
    def hang(n: int) -> str:
        """Hang."""
        release.wait()
        return "late"

    @tool(effect="pure")
    def answer() -> str:
        """Answer."""
        return "here"

    many = turn(*(call("hang", n=n) for n in range(40)))
    agent = Agent(model=ScriptedModel([many, call("answer"), "done"]), tools=[hang, answer])
    async with Pegboard() as board:
        result = await board.run(agent, "go")
    release.set()

    assert results_of(result.messages)[-1].text == "here"


@pytest.mark.parametrize("claimed", [Usage(-100_000, 0), Usage(1.5, 2), Usage(float("nan"), 1)], ids=repr)  # type: ignore[arg-type]  # lies
async def test_a_usage_that_cannot_be_is_not_known(claimed: Usage) -> None:
    """A budget does not grow by what a provider claims."""

    class Lying(ModelBase):
        provider, name = "test", "lying"

        async def stream(self, request: ModelRequest) -> Any:
            yield ModelChunk(tool_call=ToolCall(id="c", name="none"))
            yield ModelChunk(finish=Finish("tool_calls", claimed))

    async with Pegboard() as board:
        result = await board.run(Agent(model=Lying(), limits=ResourceLimits(tokens=20_000)), "go", check=False)

    assert result.end_reason == "budget"


async def test_child_runs_do_not_nest_for_ever() -> None:
    """A tool that starts a run that calls the tool ends with a limit."""

    @tool(effect="pure")
    async def deeper(ctx: ToolContext) -> str:
        """Go deeper."""
        return str((await ctx.run.call_agent(agent, "deeper")).output)

    agent = Agent("deep", model=ScriptedModel([call("deeper"), "up"], each_run=True), tools=[deeper])
    async with Pegboard() as board:
        result = await board.run(agent, "go")

    assert result.output == "up"


async def test_a_board_does_not_keep_agents_that_were_run_once() -> None:
    """Neither the agent nor what it holds."""
    async with Pegboard() as board:
        agent = Agent(model=ScriptedModel(["ok"] * 100))
        seen = weakref.ref(agent)
        await board.run(agent, "go")
        other = Agent(model=ScriptedModel(["ok"] * 100))
        del agent
        for _ in range(50):  # until the ended run is forgotten too
            await board.run(other, "go")
        gc.collect()

    assert seen() is None


async def test_a_prefix_does_not_hide_a_repeated_call() -> None:
    """`add` and `core.add` are one call to the detector of stuck loops."""

    @tool(effect="pure", inline=True)
    def add() -> int:
        """Add."""
        return 1

    names = ["add", "core.add"] * 6
    async with Pegboard() as board:
        result = await board.run(
            Agent(model=ScriptedModel([*(call(name) for name in names), "done"]), tools=[add]), "go", check=False
        )

    assert "tool.loop" in [found.code for found in results_of(result.messages)]


async def test_arguments_that_are_not_json_are_an_error_of_the_call() -> None:
    """Also where a model gives a complete call that it made of objects."""
    bad = ToolCall(id="c", name="add", arguments={"a": object()})

    @tool(effect="pure", inline=True)
    def add(a: Any) -> int:
        """Add."""
        return 1

    async with Pegboard() as board:
        result = await board.run(Agent(model=ScriptedModel([bad, "done"]), tools=[add]), "go")

    assert [found.code for found in results_of(result.messages)] == ["tool.arguments"]
    assert msgspec.structs.asdict(result.usage)["requests"] == 2
