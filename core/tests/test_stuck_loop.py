"""The stuck-loop detector: the same call with the same result is warned about, blocked, and then it is over."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, tool
from pegboard.types import Deny
from pegboard_replay import FunctionModel, ScriptedModel, call, raw_call
from pegboard_testing import FakeTool

if TYPE_CHECKING:
    from core.tests.conftest import Bench


def looping(*calls: Any) -> FunctionModel:
    """A model that asks for the same calls again and again."""
    endless = cycle(calls)
    return FunctionModel(lambda request: next(endless))


def same(results: list[Any]) -> int:
    """How often the most frequent text came back from a tool that was executed."""
    texts = [r.text.split("\n(the same call")[0] for r in results if r.code != "tool.loop"]
    return max(map(texts.count, texts), default=0)


@pytest.mark.parametrize("period", [1, 2, 3])
async def test_the_same_call_with_the_same_result_is_never_made_a_tenth_time(bench: Bench, period: int) -> None:
    """Whatever the period of the loop, the run ends with `limit`, and no call was executed five times."""
    echo = FakeTool("echo", returns=lambda args: f"it is {args['n']}", input_schema={"type": "object"})
    bench.bound(turns=100)
    agent = Agent("a", tools=[echo], max_turns=100)
    result = await bench.run(looping(*(call("echo", n=n) for n in range(period))), agent=agent)

    assert result.end_reason == "limit"
    assert len(echo.calls) == 4 * period
    assert same(bench.results(result)) <= 4
    asked = [c.arguments["n"] for message in result.messages for c in message.tool_calls]
    assert max(map(asked.count, asked)) < 10


@pytest.mark.parametrize(
    ("loop", "code"),
    [
        pytest.param(call("nothing", a=1), "tool.not_found", id="unknown tool"),
        pytest.param(call("add", a="x"), "tool.arguments", id="arguments that do not fit"),
        pytest.param(raw_call("add", '{"a'), "tool.arguments", id="arguments that are no json"),
        pytest.param(call("add", a=1), "approval.denied", id="denied"),
        pytest.param(call("bad"), "tool.failed", id="failing"),
    ],
)
async def test_a_call_that_never_succeeds_is_a_loop_too(bench: Bench, loop: Any, code: str) -> None:
    """The same refusal again and again does not go on to the last turn."""

    @tool(effect="pure", inline=True)
    def add(a: int) -> int:
        """Add."""
        return a

    if code == "approval.denied":
        bench.plug(authorize=lambda: Deny("no"))
    bench.bound(turns=100)
    agent = Agent("a", tools=[add, FakeTool("bad", returns=ValueError("no"))], max_turns=100)
    result = await bench.run(looping(loop), agent=agent)

    assert (result.end_reason, result.turns) == ("limit", 8)
    assert [r.code for r in bench.results(result)].count(code) == 4


async def test_the_model_is_warned_first(bench: Bench) -> None:
    """From the third time on the result says that it is always the same, then the call is blocked."""
    agent = Agent("a", tools=[FakeTool("echo", returns="same")])
    result = await bench.run(looping(call("echo")), agent=agent)

    texts = [r.text for r in bench.results(result)]
    assert texts[1] == "same"
    assert texts[2] == "same\n(the same call has given this result 3 times)"
    assert texts[4].startswith("blocked: this call gave the same result 4 times")
    actions = [(data["count"], data["action"]) for data in bench.events(result, "tool.loop")]
    assert actions == [(3, "warned"), (4, "warned"), (5, "blocked"), (6, "blocked"), (7, "blocked")]


async def test_a_model_that_stops_repeating_itself_may_end_well(bench: Bench) -> None:
    """After the last block only a final answer is asked for, without tools."""
    model = ScriptedModel([*(call("echo") for _ in range(7)), "I give up"])
    result = await bench.run(model, tools=[FakeTool("echo", returns="same")])

    assert (result.output, result.end_reason) == ("I give up", "completed")
    assert model.requests[-1].tools == ()
    assert "give the final answer now" in model.requests[-1].instructions


async def test_a_final_answer_may_still_be_structured(bench: Bench) -> None:
    """The tool by which the output is given stays."""
    model = ScriptedModel([*(call("echo") for _ in range(7)), {"n": 1}])
    agent = Agent("a", tools=[FakeTool("echo", returns="same")], output={"type": "object"}, output_mode="tool")
    result = await bench.run(model, agent=agent)

    assert result.output == {"n": 1}
    assert [spec.name for spec in model.requests[-1].tools] == ["final_output"]


async def test_another_result_begins_anew(bench: Bench) -> None:
    """Only the same result counts: something that changes is no loop."""
    seen = iter(range(100))
    agent = Agent("a", tools=[FakeTool("tick", returns=lambda args: str(next(seen)))], max_turns=15)
    result = await bench.run(looping(call("tick")), agent=agent)

    assert (result.turns, bench.events(result, "tool.loop")) == (15, [])


async def test_other_arguments_are_another_call(bench: Bench) -> None:
    """Calls are told apart by name and arguments, in whatever order the arguments stand."""
    script: list[Any] = [call("echo", n=n) for n in islice(range(8), 8)]
    result = await bench.run(ScriptedModel([*script, "ok"]), tools=[FakeTool("echo", returns="same")])
    turned = [call("echo", **dict(items)) for items in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]) * 2]
    other = await bench.run(ScriptedModel([*turned, "ok"]), tools=[FakeTool("echo", returns="same")])

    assert bench.events(result, "tool.loop") == []
    assert [data["count"] for data in bench.events(other, "tool.loop")] == [3, 4]


async def test_polling_that_says_so_is_no_loop(bench: Bench) -> None:
    """A tool declared as polling may give the same result for ever."""
    calls = 0

    @tool(effect="pure", inline=True, polling=True)
    def status() -> str:
        """Ask."""
        nonlocal calls
        calls += 1
        return "still running"

    result = await bench.run(looping(call("status")), agent=Agent("a", tools=[status], max_turns=12))

    assert (calls, bench.events(result, "tool.loop")) == (12, [])
