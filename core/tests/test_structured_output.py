"""Structured output: three ways of asking, one contract, bounded repairs, raw text kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pydantic
import pytest
from pegboard import Agent, tool
from pegboard.errors import ModelOutputInvalidError
from pegboard.output import FINAL_OUTPUT, StructuredOutput
from pegboard.types import ModelCapabilities, ModelRequest, Retry, RunState, ToolCall, evolve
from pegboard_replay import ScriptedModel, call, raw_call, structured, turn
from pegboard_testing import FakeTool

if TYPE_CHECKING:
    from core.tests.conftest import Bench

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
NATIVE = ModelCapabilities(structured_output="yes", structured_with_tools="yes", tools="yes")
TOOLS = ModelCapabilities(tools="yes")
TEXT = ModelCapabilities(tools="no")
STRATEGIES = {"native": NATIVE, "tool": TOOLS, "prompt": TEXT}


class Point(pydantic.BaseModel):
    x: int
    y: int = 0


class Tree(pydantic.BaseModel):
    name: str
    children: list[Tree] = []


@tool(effect="pure", inline=True)
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


def scripted(strategy: str, *script: Any) -> ScriptedModel:
    return ScriptedModel(script, capabilities=STRATEGIES[strategy])


# --- strategies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capabilities", "tools", "mode", "strategy"),
    [
        pytest.param(NATIVE, (), "auto", "native", id="the model can"),
        pytest.param(NATIVE, (add,), "auto", "native", id="the model can, with tools"),
        pytest.param(
            ModelCapabilities(structured_output="yes", tools="yes"),
            (add,),
            "auto",
            "tool",
            id="not together with tools",
        ),
        pytest.param(ModelCapabilities(structured_output="yes"), (), "auto", "native", id="no tools in the way"),
        pytest.param(TOOLS, (), "auto", "tool", id="tools only"),
        pytest.param(ModelCapabilities(), (), "auto", "tool", id="unknown is tried"),
        pytest.param(TEXT, (), "auto", "prompt", id="no tools"),
        pytest.param(NATIVE, (), "prompt", "prompt", id="the agent wants it otherwise"),
        pytest.param(TEXT, (), "native", "native", id="the agent knows better"),
    ],
)
async def test_the_strategy_follows_from_what_the_model_can(
    bench: Bench, capabilities: ModelCapabilities, tools: Any, mode: Any, strategy: str
) -> None:
    """Native where it works, else a tool, else the instructions; the agent may override it."""
    model = ScriptedModel([{"n": 1}], capabilities=capabilities)
    result = await bench.run(model, agent=Agent("a", tools=tools, output=SCHEMA, output_mode=mode))

    (request,) = model.requests
    asked = {
        "native": request.output_schema == SCHEMA,
        "tool": any(spec.name == FINAL_OUTPUT for spec in request.tools),
        "prompt": "JSON Schema" in request.instructions,
    }
    assert [name for name, was in asked.items() if was] == [strategy]
    assert result.output == {"n": 1}


async def test_tools_that_plugins_offer_count_as_tools(bench: Bench) -> None:
    """What is offered beside the agent's own tools is in the way of a schema mode too."""

    class Kit:
        name = "kit"
        description = "Tools."

        def tools(self) -> Any:
            return [add]

        async def initialize(self, ctx: Any) -> None: ...

        async def cleanup(self) -> None: ...

    model = ScriptedModel([{"n": 1}], capabilities=ModelCapabilities(structured_output="yes", tools="yes"))
    result = await bench.run(model, agent=Agent("a", modules=[Kit()], output=SCHEMA))

    assert model.requests[0].output_schema is None
    assert result.output == {"n": 1}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("output", "answer", "value"),
    [
        pytest.param(SCHEMA, {"n": 1}, {"n": 1}, id="json schema"),
        pytest.param(Point, {"x": 1}, Point(x=1), id="pydantic"),
        pytest.param(
            Tree, {"name": "a", "children": [{"name": "b"}]}, Tree(name="a", children=[Tree(name="b")]), id="recursive"
        ),
        pytest.param(list[int], [1, 2], [1, 2], id="list"),
        pytest.param(int, 7, 7, id="number"),
        pytest.param(bool, True, True, id="truth"),
        pytest.param({"type": "array", "items": {"type": "string"}}, ["a"], ["a"], id="array schema"),
        pytest.param({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, 3, 3, id="schema with definitions"),
        pytest.param(
            {"$ref": "#/definitions/n", "definitions": {"n": {"type": "integer"}}}, 3, 3, id="older definitions"
        ),
    ],
)
async def test_every_strategy_gives_the_same_value(
    bench: Bench, strategy: str, output: Any, answer: Any, value: Any
) -> None:
    """Types and schemas, objects or not: the result holds the validated value."""
    result = await bench.run(scripted(strategy, structured(answer)), agent=Agent("a", output=output))

    assert result.output == value
    assert type(result.output) is type(value)


async def test_the_synthetic_tool_takes_an_object(bench: Bench) -> None:
    """What is no object is put into one, with its definitions where references find them."""
    schema = {"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}}
    model = scripted("tool", structured([1]))
    await bench.run(model, agent=Agent("a", output=schema))

    (spec,) = model.requests[0].tools
    assert spec.input_schema == {
        "type": "object",
        "properties": {"value": {"type": "array", "items": {"$ref": "#/$defs/n"}}},
        "required": ["value"],
        "$defs": {"n": {"type": "integer"}},
    }


@pytest.mark.parametrize("fence", ["```json\n{}\n```", "Here:\n```\n{}\n```\nDone.", "  {}\n"])
async def test_json_may_stand_in_a_fence(bench: Bench, fence: str) -> None:
    """Models like to wrap what they were asked for."""
    result = await bench.run(scripted("prompt", fence.replace("{}", '{"n": 1}')), agent=Agent("a", output=SCHEMA))

    assert result.output == {"n": 1}


# --- repairs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_an_invalid_answer_is_sent_back_with_the_errors(bench: Bench, strategy: str) -> None:
    """The model reads what was wrong and answers again."""
    model = scripted(strategy, {"n": "one"}, {"n": 1})
    result = await bench.run(model, agent=Agent("a", output=SCHEMA))

    last = model.requests[1].messages[-1].parts[0]
    assert "n: 'one' is not of type 'integer'" in last.text  # type: ignore[union-attr]  # a text or a result
    assert (result.output, result.turns) == ({"n": 1}, 2)
    assert bench.events(result, "output.invalid")[0]["attempt"] == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_repairs_are_bounded(bench: Bench, strategy: str, retries: int) -> None:
    """After the last one the run fails with the raw answer in the error, and a valid history."""
    model = scripted(strategy, *({"n": str(n)} for n in range(9)))
    result = await bench.run(model, agent=Agent("a", output=SCHEMA, output_retries=retries))

    assert isinstance(result.error, ModelOutputInvalidError)
    assert result.error.raw == f'{{"n":"{retries}"}}'
    assert len(model.requests) == retries + 1
    assert result.end_reason == "failed"


@pytest.mark.parametrize(
    ("answer", "says", "raw"),
    [
        pytest.param("no idea", "not JSON", "no idea", id="no json"),
        pytest.param(raw_call(FINAL_OUTPUT, '{"n": '), "not JSON", '{"n": ', id="half a call"),
        pytest.param(call(FINAL_OUTPUT, n=1), "exactly one argument", '{"n":1}', id="unwrapped"),
        pytest.param("[" * 5000, "not JSON", "[" * 5000, id="too deep"),
    ],
)
async def test_the_raw_answer_is_kept(bench: Bench, answer: Any, says: str, raw: str) -> None:
    """Whatever the model said, the error holds it."""
    result = await bench.run(scripted("tool", answer), agent=Agent("a", output=list[int], output_retries=0))

    assert isinstance(result.error, ModelOutputInvalidError)
    assert says in result.error.message
    assert result.error.raw == raw


async def test_text_where_a_call_was_asked_for(bench: Bench) -> None:
    """A text that is the value is taken; one that is not is told to call the tool."""
    good = await bench.run(scripted("tool", '{"n": 1}'), agent=Agent("a", output=SCHEMA))
    model = scripted("tool", "I think it is one", {"n": 1})
    result = await bench.run(model, agent=Agent("a", output=SCHEMA))

    assert good.output == result.output == {"n": 1}
    assert "call `final_output`. Answer again." in model.requests[1].messages[-1].text


async def test_what_was_streamed_of_an_invalid_answer_is_void(bench: Bench) -> None:
    """A `restart` with its cause comes before the next answer."""
    model = scripted("prompt", '{"n": "x"}', '{"n": 1}')
    events = await bench.stream(model, agent=Agent("a", output=SCHEMA))

    assert [event.type for event in events] == ["start", "text", "restart", "start", "text", "final"]
    assert events[2].data is not None
    assert events[2].data["cause"] == "output_invalid"
    assert events[-1].content.output == {"n": 1}


async def test_recovery_is_asked_when_repairs_are_used_up(bench: Bench) -> None:
    """It is a failure like any other then."""
    codes: list[str] = []

    def recover(failure: Any) -> Retry:
        codes.append(failure.code)
        return Retry()

    bench.plug(recover=recover)
    model = scripted("prompt", "no", '{"n": 1}')
    result = await bench.run(model, agent=Agent("a", output=SCHEMA, output_retries=0))

    assert (codes, result.output) == (["model.output_invalid"], {"n": 1})


# --- together with tools -----------------------------------------------------------------------------------------


async def test_real_tools_come_before_the_final_output(bench: Bench) -> None:
    """In one turn the real calls are executed first, then the output is accepted; both are in the history."""
    model = scripted("tool", turn(call(FINAL_OUTPUT, n=3), call("add", a=1, b=2)))
    result = await bench.run(model, agent=Agent("a", tools=[add], output=SCHEMA))

    assert result.output == {"n": 3}
    assert [(r.call_id, r.text) for r in bench.results(result)] == [("call_2", "3"), ("call_1", "accepted")]


async def test_real_tools_are_used_until_there_is_an_output(bench: Bench) -> None:
    """Turns with calls only go on."""
    model = scripted("tool", call("add", a=1, b=2), {"n": 3})
    result = await bench.run(model, agent=Agent("a", tools=[add], output=SCHEMA))

    assert (result.output, result.turns) == ({"n": 3}, 2)


async def test_an_invalid_output_beside_a_real_call(bench: Bench) -> None:
    """The real result stands, the output is sent back."""
    echo = FakeTool("echo", returns="done")
    model = scripted("tool", turn(call("echo"), call(FINAL_OUTPUT, n="x")), {"n": 1})
    result = await bench.run(model, agent=Agent("a", tools=[echo], output=SCHEMA))

    assert [r.status for r in bench.results(result)] == ["ok", "error", "ok"]
    assert (result.output, len(echo.calls)) == ({"n": 1}, 1)


async def test_of_two_outputs_the_last_valid_one_counts(bench: Bench) -> None:
    """Every call has its result all the same."""
    model = scripted("tool", turn(call(FINAL_OUTPUT, n=1), call(FINAL_OUTPUT, n=2)))
    result = await bench.run(model, agent=Agent("a", output=SCHEMA))

    assert result.output == {"n": 2}
    assert len(bench.results(result)) == 2


def test_an_answer_that_cannot_be_asked_for_is_not_changed() -> None:
    """Asking adds to a request and takes nothing away."""
    request = ModelRequest(model="m", messages=(), instructions="Be kind.")
    output = StructuredOutput(Agent("a", output=SCHEMA, output_mode="prompt").config, TEXT, has_tools=False)

    assert output.ask(request).instructions.startswith("Be kind.\n\nAnswer with JSON only")
    assert output.from_call(ToolCall(id="1", name="x", arguments={"n": 1})) == {"n": 1}


# --- an agent that computes, and asks for less than it gives -------------------------------------------------------


class Judge(Agent):
    """Adds to what the model says."""

    __slots__ = ()

    async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
        judged = await turns(ctx, state)
        return evolve(state, output={**judged.output, "computed": 1})


def judge() -> Judge:
    whole = {"type": "object", "properties": {"n": {}, "computed": {}}, "required": ["n", "computed"]}
    return Judge("judge", output=whole, answer=SCHEMA)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_model_is_asked_for_the_answer_and_not_for_the_output(bench: Bench, strategy: str) -> None:
    """What fits the smaller schema is taken, and the output that is made of it has to fit its own."""
    model = scripted(strategy, {"n": 1})

    result = await bench.run(model, agent=judge())

    assert (result.output, result.usage.requests) == ({"n": 1, "computed": 1}, 1)


async def test_a_demo_model_is_not_asked_for_a_judgement(bench: Bench) -> None:
    """What it says means nothing, so for such an agent it is none; other agents it answers."""
    model = scripted("native", {"n": 1}, {"n": 1})
    model.is_demo = True

    refused = await bench.run(model, agent=judge())
    answered = await bench.run(model, agent=Agent("a", output=SCHEMA))

    assert (getattr(refused.error, "code", None), answered.output) == ("model.none", {"n": 1})
