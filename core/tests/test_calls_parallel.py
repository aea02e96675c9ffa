"""The calls of one turn: in parallel, under a cap, with locks and time limits, in threads or in the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, Message, ToolContext, tool
from pegboard.errors import ToolTimeoutError
from pegboard.types import Text, ToolResult
from pegboard_replay import ScriptedModel, call, turn
from pegboard_testing import FakeTool

if TYPE_CHECKING:
    from core.tests.conftest import Bench


class Crowd:
    """Calls that come together: each waits until as many are there as are expected."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.there = 0
        self.most = 0
        self.order: list[int] = []
        self.complete = asyncio.Event()

    async def join(self, n: int) -> str:
        self.there += 1
        self.most = max(self.most, self.there)
        self.order.append(n)
        if self.there >= self.expected:
            self.complete.set()
        await self.complete.wait()
        self.there -= 1
        return f"{n} done"

    def tool(self, **options: Any) -> Any:
        @tool(name="join", **options)
        async def join(n: int) -> str:
            """Join."""
            return await self.join(n)

        return join


def joins(count: int) -> Any:
    return turn(*(call("join", n=n) for n in range(count)))


async def test_calls_of_a_turn_run_in_parallel(bench: Bench) -> None:
    """All of them are under way at once, and the results stand in the order of the calls."""
    crowd = Crowd(3)
    result = await bench.run(ScriptedModel([joins(3), "ok"]), tools=[crowd.tool(effect="pure")])

    assert crowd.most == 3
    assert [r.text for r in bench.results(result)] == ["0 done", "1 done", "2 done"]
    assert [message.role for message in result.messages] == ["user", "assistant", "tool", "assistant"]


async def test_results_keep_the_order_of_the_calls(bench: Bench) -> None:
    """Also when a later call ends first."""
    second_done = asyncio.Event()

    async def work(args: Any) -> str:
        if args["n"] == 0:
            await second_done.wait()
        else:
            second_done.set()
        return str(args["n"])

    model = ScriptedModel([turn(call("work", n=0), call("work", n=1)), "ok"])
    result = await bench.run(model, tools=[FakeTool("work", returns=work)])

    assert [r.text for r in bench.results(result)] == ["0", "1"]
    assert [r.call_id for r in bench.results(result)] == ["call_1", "call_2"]


@pytest.mark.parametrize(("agent_cap", "operator_cap"), [(2, 10), (10, 2)])
async def test_no_more_than_the_cap_run_at_once(bench: Bench, agent_cap: int, operator_cap: int) -> None:
    """Agent and operator both bound how many calls are under way."""
    crowd = Crowd(2)
    bench.bound(parallel_tool_calls=operator_cap)
    agent = Agent("a", tools=[crowd.tool(effect="pure")], parallel_tool_calls=agent_cap)
    result = await bench.run(ScriptedModel([joins(6), "ok"]), agent=agent)

    assert crowd.most == 2
    assert len(bench.results(result)) == 6


async def test_cheap_calls_make_no_tasks(bench: Bench) -> None:
    """Tools that return at once run one after another in the loop, in the task of the run."""
    tasks: list[Any] = []

    @tool(effect="pure", inline=True)
    def look(n: int) -> int:
        """Look."""
        tasks.append((asyncio.current_task(), threading.current_thread()))
        return n

    await bench.run(ScriptedModel([turn(*(call("look", n=n) for n in range(3))), "ok"]), tools=[look])

    assert set(tasks) == {(asyncio.current_task(), threading.current_thread())}


async def test_plain_functions_run_in_threads(bench: Bench) -> None:
    """A function that blocks does not block the loop."""
    meeting = threading.Barrier(2, timeout=5)

    @tool(effect="pure")
    def wait(n: int) -> str:
        """Wait for the other."""
        meeting.wait()
        return threading.current_thread().name

    result = await bench.run(ScriptedModel([turn(call("wait", n=0), call("wait", n=1)), "ok"]), tools=[wait])

    names = {r.text for r in bench.results(result)}
    assert len(names) == 2
    assert threading.current_thread().name not in names


# --- locks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "together"),
    [
        pytest.param({"effect": "pure"}, 2, id="only reads"),
        pytest.param({"effect": "unsafe"}, 1, id="undeclared"),
        pytest.param({"effect": "unsafe", "resources": ()}, 2, id="declared free"),
        pytest.param({"effect": "unsafe", "resources": ("db",)}, 1, id="one key"),
        pytest.param({"effect": "pure", "resources": lambda args: None}, 1, id="everything"),
        pytest.param({"effect": "unsafe", "resources": lambda args: frozenset({str(args["n"])})}, 2, id="by argument"),
    ],
)
async def test_declared_resources_serialise(bench: Bench, options: dict[str, Any], together: int) -> None:
    """The same key follows one another, none is free, undeclared excludes all others."""
    crowd = Crowd(together)
    result = await bench.run(ScriptedModel([joins(2), "ok"]), tools=[crowd.tool(**options)])

    assert crowd.most == together
    assert crowd.order == [0, 1]
    assert [r.status for r in bench.results(result)] == ["ok", "ok"]


async def test_what_a_call_holds_its_child_run_may_use(bench: Bench) -> None:
    """A tool that starts a child run does not wait for itself."""

    @tool
    async def inner() -> str:
        """Work."""
        return "inner"

    @tool
    async def outer(ctx: ToolContext) -> str:
        """Delegate."""
        result = await ctx.run.call_agent(Agent("child", model="m", tools=[inner]), "go")
        return str(result.output)

    bench.models["m"] = ScriptedModel([call("inner"), "from the child"])
    result = await asyncio.wait_for(bench.run(ScriptedModel([call("outer"), "ok"]), tools=[outer]), 5)

    assert bench.results(result)[0].text == "from the child"


async def test_a_grandchild_may_use_what_its_tree_holds(bench: Bench) -> None:
    """However deep it stands."""

    @tool
    async def inner() -> str:
        """Work."""
        return "inner"

    @tool(effect="pure")
    async def middle(ctx: ToolContext) -> str:
        """Delegate."""
        return str((await ctx.run.call_agent(Agent("grandchild", model="g", tools=[inner]), "go")).output)

    @tool
    async def outer(ctx: ToolContext) -> str:
        """Delegate."""
        return str((await ctx.run.call_agent(Agent("child", model="c", tools=[middle]), "go")).output)

    bench.models["g"] = ScriptedModel([call("inner"), "from the grandchild"])
    bench.models["c"] = ScriptedModel([call("middle"), "from the child"])
    result = await asyncio.wait_for(bench.run(ScriptedModel([call("outer"), "ok"]), tools=[outer]), 5)

    assert bench.results(result)[0].text == "from the child"


async def test_children_share_the_locks_of_their_tree(bench: Bench) -> None:
    """Two child runs of one parent do not use the same thing at once."""
    crowd = Crowd(1)
    join = crowd.tool(effect="unsafe", resources=("db",))

    @tool(effect="pure")
    async def delegate(n: int, ctx: ToolContext) -> str:
        """Delegate."""
        bench.models[f"m{n}"] = ScriptedModel([call("join", n=n), "done"])
        return str((await ctx.run.call_agent(Agent(f"child{n}", model=f"m{n}", tools=[join]), "go")).output)

    script: list[Any] = [turn(*(call("delegate", n=n) for n in range(4))), "ok"]
    result = await bench.run(ScriptedModel(script), tools=[delegate])

    assert crowd.most == 1
    assert [r.text for r in bench.results(result)] == ["done"] * 4


# --- errors and limits -------------------------------------------------------------------------------------------


async def test_a_tool_that_takes_too_long_is_stopped(bench: Bench) -> None:
    """Its call has a result that says so, and the others are not touched."""

    @tool(effect="pure", timeout_s=0.01)
    async def hang() -> None:
        """Hang."""
        await asyncio.Event().wait()

    result = await bench.run(
        ScriptedModel([turn(call("hang"), call("ok")), "ok"]), tools=[hang, FakeTool("ok", returns="fine")]
    )

    slow, fine = bench.results(result)
    assert (slow.status, slow.code) == ("error", ToolTimeoutError.code)
    assert slow.text == "tool `hang` did not finish within 0.01 s"
    assert fine.text == "fine"


@pytest.mark.parametrize("options", [{}, {"timeout_s": None}, {"inline": True}])
async def test_a_timeout_of_the_tools_own_is_an_error_of_it(bench: Bench, options: dict[str, Any]) -> None:
    """A `TimeoutError` that a tool raises is not taken for its time limit."""

    @tool(effect="pure", **options)
    def connect() -> None:
        """Connect."""
        raise TimeoutError("no answer from the server")

    result = await bench.run(ScriptedModel([call("connect"), "ok"]), tools=[connect])

    (answer,) = bench.results(result)
    assert (answer.code, answer.text) == (
        "tool.failed",
        "tool `connect` failed: TimeoutError: no answer from the server",
    )


async def test_a_tool_that_raises_is_an_error_the_model_sees(bench: Bench) -> None:
    """The run goes on, with type and text of the error."""
    result = await bench.run(
        ScriptedModel([call("bad"), "sorry"]), tools=[FakeTool("bad", returns=ValueError("the moon is full"))]
    )

    (answer,) = bench.results(result)
    assert (answer.status, answer.code) == ("error", "tool.failed")
    assert answer.text == "tool `bad` failed: ValueError: the moon is full"
    assert result.output == "sorry"


async def test_a_tool_that_waits_for_something_cancelled_is_an_error_of_it(bench: Bench) -> None:
    """Nobody cancelled the run, so the run goes on."""

    @tool(effect="pure")
    async def wait() -> None:
        """Wait."""
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()
        await task

    scripts: list[list[Any]] = [[call("wait"), "ok"], [turn(call("wait"), call("wait")), "ok"]]
    for script in scripts:
        result = await bench.run(ScriptedModel(script), tools=[wait])
        assert {r.code for r in bench.results(result)} == {"tool.failed"}
        assert result.output == "ok"


async def test_a_layer_that_fails_hard_closes_every_call(bench: Bench) -> None:
    """An error around one call ends the run, and the other calls of the turn have their results."""

    async def tool_call(call: Any, call_next: Any) -> ToolResult:
        if call.arguments["n"] == 1:
            raise RuntimeError("strict boards raise")
        return await call_next(call)  # type: ignore[no-any-return]  # a result

    crowd = Crowd(1)
    bench.plug(tool_call=tool_call)
    result = await bench.run(ScriptedModel([joins(3)]), tools=[crowd.tool(effect="pure")])

    assert [r.status for r in bench.results(result)] == ["ok", "cancelled", "ok"]
    assert "strict boards raise" in str(result.error)


async def test_a_tool_may_give_a_result_of_its_own(bench: Bench) -> None:
    """The id of the call is put right, whatever the tool wrote there."""
    given = ToolResult(call_id="mine", content=(Text("x"),), structured={"a": 1})
    result = await bench.run(ScriptedModel([call("t"), "ok"]), tools=[FakeTool("t", returns=given)])

    assert bench.results(result)[0] == ToolResult(call_id="call_1", content=(Text("x"),), structured={"a": 1})


async def test_a_tool_may_answer_with_any_awaitable(bench: Bench) -> None:
    """A future is as good as a coroutine."""

    class Futuristic(FakeTool):
        def execute(self, args: Any, ctx: Any) -> Any:
            future: asyncio.Future[ToolResult] = asyncio.get_running_loop().create_future()
            future.set_result(ToolResult(call_id="", content=(Text("here"),)))
            return future

    result = await bench.run(ScriptedModel([call("later"), "ok"]), tools=[Futuristic("later")])

    assert bench.results(result)[0].text == "here"


async def test_what_is_no_result_is_an_error_of_the_tool(bench: Bench) -> None:
    """A tool of somebody's own must answer with a `ToolResult`."""

    class Odd(FakeTool):
        async def execute(self, args: Any, ctx: Any) -> Any:
            return "text"

    result = await bench.run(ScriptedModel([call("odd"), "ok"]), tools=[Odd("odd")])

    assert bench.results(result)[0].text == "tool `odd` returned what is no result: str instead of a `ToolResult`"


# --- steering ----------------------------------------------------------------------------------------------------


async def test_a_message_into_a_running_run_is_seen_at_the_next_turn(bench: Bench) -> None:
    """It stands after the results of the turn in which it came, and is an event."""
    runs: list[Any] = []

    def steer(args: Any) -> str:
        runs[0].inbox.append(Message.user("rather in blue"))
        return "painted"

    model = ScriptedModel([call("paint"), "blue then"])
    run = bench.prepare(model, "paint it", tools=[FakeTool("paint", returns=steer)])
    runs.append(run)
    result = await bench.runner().drive(run)

    assert [message.text for message in model.requests[1].messages] == ["paint it", "", "", "rather in blue"]
    assert result.output == "blue then"
    assert bench.events(result, "run.message")[0]["message"]["parts"][0]["text"] == "rather in blue"


async def test_a_message_that_came_with_the_answer_asks_for_another_turn(bench: Bench) -> None:
    """The run does not end over somebody's words."""
    runs: list[Any] = []

    def shout(stage: Sequence[str]) -> None:
        runs[0].inbox.append(Message.user("wait"))

    class Watching(ScriptedModel):
        async def stream(self, request: Any) -> Any:
            if len(self.requests) == 0:
                shout(())
            async for chunk in super().stream(request):
                yield chunk

    run = bench.prepare(Watching(["first", "second"]))
    runs.append(run)
    result = await bench.runner().drive(run)

    assert [message.text for message in result.messages] == ["go", "first", "wait", "second"]
