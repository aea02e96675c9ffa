"""One turn of a model: chunks become an answer, garbage becomes a classified error, calls are executed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, Message, ModelBase, tool
from pegboard.assembling import Assembler, parse_call
from pegboard.errors import AgentError, ModelFault, ModelRateLimitedError, ModelStreamError
from pegboard.types import (
    Citation,
    File,
    Finish,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    ModelSettings,
    Opaque,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)
from pegboard_replay import CUT, ScriptedModel, call, raw_call, turn

if TYPE_CHECKING:
    from core.tests.conftest import Bench

STOP = ModelChunk(finish=Finish("stop"))
SIGNED = Thinking("hm", bound=Opaque(provider="p", model="m", kind="signature", data="x"))


@tool(effect="pure", inline=True)
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


def assembled(*chunks: ModelChunk) -> tuple[ModelResponse, list[tuple[str, Any]]]:
    answer = Assembler("p:m")
    events = [event for chunk in chunks for event in answer.add(chunk)]
    return answer.response(), [(event.type, event.content) for event in events]


@pytest.mark.parametrize("thinking", ["huge", -1, 1.5, True])
def test_a_level_of_thinking_that_there_is_not(thinking: Any) -> None:
    """It is refused where it is written, and not by a provider."""
    with pytest.raises(AgentError, match="the setting `thinking`"):
        ModelSettings(thinking=thinking)


# --- chunks ------------------------------------------------------------------------------------------------------


def test_deltas_become_one_part() -> None:
    """Text that was streamed in pieces is one part of the answer."""
    response, events = assembled(ModelChunk(text="Hel"), ModelChunk(text="lo"), STOP)

    assert response.parts == (Text("Hello"),)
    assert events == [("text", "Hel"), ("text", "lo")]


def test_parts_keep_their_order() -> None:
    """Text, thinking and calls stand in the answer as they came, however they alternate."""
    response, events = assembled(
        ModelChunk(text="a"),
        ModelChunk(thinking="b"),
        ModelChunk(thinking="c"),
        ModelChunk(text="d"),
        ModelChunk(call_delta=("1", "add", '{"a":')),
        ModelChunk(call_delta=("1", "", "1}")),
        ModelChunk(text="e"),
        ModelChunk(tool_call=ToolCall(id="2", name="add")),
        ModelChunk(part=Citation(source="x")),
        STOP,
    )

    first = ToolCall(id="1", name="add", arguments={"a": 1})
    second = ToolCall(id="2", name="add")
    assert response.parts == (
        Text("a"),
        Thinking("bc"),
        Text("d"),
        first,
        Text("e"),
        second,
        Citation(source="x"),
    )
    assert [kind for kind, _ in events] == [
        "text",
        "thinking",
        "thinking",
        "text",
        "tool_call_start",
        "tool_call_delta",
        "tool_call",
        "text",
        "tool_call",
        "citation",
    ]


def test_accumulated_is_the_whole_text_of_the_attempt() -> None:
    """Also text before a call or a thought belongs to the message so far."""
    answer = Assembler("p:m")
    chunks = [ModelChunk(text="a"), ModelChunk(thinking="hm"), ModelChunk(text="b"), STOP]
    texts = [event for chunk in chunks for event in answer.add(chunk) if event.type == "text"]

    assert [event.accumulated for event in texts] == ["a", "ab"]


def test_a_signed_thought_replaces_its_deltas() -> None:
    """Providers stream the text of a thought and send the whole with its signature at the end."""
    response, events = assembled(ModelChunk(thinking="hm"), ModelChunk(part=SIGNED), ModelChunk(text="ok"), STOP)

    assert response.parts == (SIGNED, Text("ok"))
    assert [kind for kind, _ in events] == ["thinking", "text"]


def test_parallel_calls_are_told_apart_by_their_id() -> None:
    """Deltas of several calls may alternate."""
    response, _ = assembled(
        ModelChunk(call_delta=("1", "add", '{"a"')),
        ModelChunk(call_delta=("2", "mul", "")),
        ModelChunk(call_delta=("1", "", ":1}")),
        ModelChunk(call_delta=("2", "", '{"b":2}')),
        ModelChunk(finish=Finish("tool_calls")),
    )

    assert [(c.name, c.arguments) for c in response.tool_calls] == [("add", {"a": 1}), ("mul", {"b": 2})]


@pytest.mark.parametrize("ids", [("", ""), ("x", "x"), ("x", "x", "x_1"), ("", "call_0")])
def test_every_call_has_an_id_of_its_own(ids: tuple[str, ...]) -> None:
    """Providers that give none, or the same one twice, do not mix up the results."""
    response, _ = assembled(*(ModelChunk(tool_call=ToolCall(id=id, name="add")) for id in ids), STOP)

    found = [c.id for c in response.tool_calls]
    assert len(set(found)) == len(ids)
    assert all(found)


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        pytest.param(File(media_type="image/png", uri="x"), ["file"], id="file"),
        pytest.param(Citation(source="x"), ["citation"], id="citation"),
        pytest.param(Opaque(provider="p", model="m", kind="k", data=1), [], id="opaque"),
    ],
)
def test_complete_parts_pass(part: Any, shown: list[str]) -> None:
    """A part is kept as it is; what people can see is an event too."""
    response, events = assembled(ModelChunk(part=part), STOP)

    assert response.parts == (part,)
    assert [kind for kind, _ in events] == shown


def test_an_empty_chunk_is_nothing() -> None:
    """Some providers send chunks without content."""
    response, events = assembled(ModelChunk(), ModelChunk(text="a"), STOP)

    assert (response.text, len(events)) == ("a", 1)


@pytest.mark.parametrize("name", ["other", "p:other"])
def test_the_model_that_answered_is_named(name: str) -> None:
    """Where a provider answers with another model, its name counts; a provider does not say its own."""
    response, events = assembled(ModelChunk(text="a"), ModelChunk(finish=Finish("stop", Usage(1, 1), name)))

    assert (response.model, response.usage) == ("p:other", Usage(1, 1))
    assert events[-1] == ("usage", Usage(1, 1))


# --- arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arguments"),
    [("", {}), ("  ", {}), ("{}", {}), ('{"a": 1}', {"a": 1}), ('{"a": {"b": [1]}}', {"a": {"b": [1]}})],
)
def test_arguments_are_parsed(text: str, arguments: dict[str, Any]) -> None:
    """No text at all is no arguments."""
    assert parse_call("1", "add", text) == ToolCall(id="1", name="add", arguments=arguments)


@pytest.mark.parametrize("text", ['{"a": 1', "{a: 1}", "[1]", "1", "null", '"a"', "[" * 5000, '{"a": NaN}', "{'a': 1}"])
def test_arguments_that_are_no_object_are_kept_raw(text: str) -> None:
    """They are never guessed: the text stays with the reason."""
    found = parse_call("1", "add", text)

    assert (found.arguments, found.raw_arguments) == ({}, text)
    assert found.error


def test_what_no_encoding_carries_is_spelled_out() -> None:
    """Raw arguments go into a store and back to the provider, and a lone surrogate would get into neither."""
    assert parse_call("1", "add", "\ud800").raw_arguments == "\\ud800"


# --- garbage -----------------------------------------------------------------------------------------------------


class Rude(ModelBase):
    """A provider that raises what its SDK raises."""

    provider, name = "rude", "m"

    def __init__(self, *script: ModelChunk | Exception, known: dict[type, ModelFault] | None = None) -> None:
        self._script = script
        self._known = known or {}
        self.closed = False

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        try:
            for item in self._script:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed = True

    def classify_error(self, exc: Exception) -> ModelFault | None:
        return self._known.get(type(exc))


REQUEST = ModelRequest(model="", messages=(Message.user("hi"),))


async def fault_of(model: ModelBase, request: ModelRequest = REQUEST) -> ModelFault:
    with pytest.raises(ModelFault) as caught:
        await model.send(request, None)
    return caught.value


@pytest.mark.parametrize(
    ("script", "code", "started"),
    [
        pytest.param([], "model.stream_incomplete", False, id="nothing at all"),
        pytest.param([ModelChunk(text="half")], "model.stream_incomplete", True, id="no finish"),
        pytest.param([ModelChunk(call_delta=("1", "add", '{"a"'))], "model.stream_incomplete", True, id="half a call"),
        pytest.param([STOP], "model.empty_response", False, id="empty"),
        pytest.param([ValueError("bad json")], "model.unknown", False, id="raw error"),
        pytest.param([ModelChunk(text="half"), ConnectionError("cut")], "model.unknown", True, id="raw, in mid-stream"),
        pytest.param([AssertionError()], "model.unknown", False, id="an assertion of the sdk"),
    ],
)
async def test_nothing_raw_leaves_a_model(script: Sequence[Any], code: str, started: bool) -> None:
    """Whatever a provider does becomes a classified fault that names it, and its stream is closed."""
    model = Rude(*script)
    fault = await fault_of(model)

    assert (fault.code, fault.stream_started) == (code, started)
    if code == "model.unknown":
        assert (fault.provider, fault.model) == ("rude", "m")
        assert fault.__cause__ in script
        assert not fault.retryable
    assert model.closed


async def test_a_provider_classifies_its_errors() -> None:
    """What `classify_error` answers is raised, with what the author left out filled in."""
    model = Rude(
        ModelChunk(text="x"), KeyError(), known={KeyError: ModelRateLimitedError("slow down", retry_after_s=3)}
    )
    fault = await fault_of(model)

    assert isinstance(fault, ModelRateLimitedError)
    assert (fault.provider, fault.model, fault.stream_started, fault.retry_after_s) == ("rude", "m", True, 3)


async def test_a_fault_that_a_provider_raises_itself_is_completed() -> None:
    """Provider, model and whether the stream had begun are said also then."""
    fault = await fault_of(Rude(ModelChunk(text="x"), ModelStreamError("cut", provider="mine")))

    assert (fault.provider, fault.model, fault.stream_started) == ("mine", "m", True)


async def test_an_answer_with_usage_may_be_empty() -> None:
    """A model that was asked, counted and said nothing did answer."""
    response = await Rude(ModelChunk(finish=Finish("stop", Usage(3, 0)))).send(REQUEST, None)

    assert (response.parts, response.usage) == ((), Usage(3, 0))


@pytest.mark.parametrize(
    "usage",
    [
        Usage(10, 1, cache_read_tokens=11),
        Usage(10, 1, cache_read_tokens=6, cache_write_tokens=5),
        Usage(10**22, 1),
        Usage(10, -1),
    ],
    ids=["more cached than read", "more cached and written than read", "no number of tokens", "negative"],
)
async def test_a_count_that_cannot_be_is_unknown(usage: Usage) -> None:
    """Else an answer could cost less than nothing, and a budget would grow by it."""
    response = await Rude(ModelChunk(text="x"), ModelChunk(finish=Finish("stop", usage))).send(REQUEST, None)

    assert (response.text, response.usage.total_tokens, response.usage.requests) == ("x", None, 1)


async def test_a_model_without_stream_says_so() -> None:
    """A provider author who forgot the one method is told which."""
    model = ModelBase()
    with pytest.raises(NotImplementedError, match=r"ModelBase\.stream"):
        model.stream(REQUEST)

    assert model.capabilities("x").tools == "unknown"
    assert await model.count_tokens(REQUEST) is None
    assert model.classify_error(ValueError()) is None
    await model.aclose()
    assert repr(Rude()) == "<Rude rude:m>"


class Plain:
    """An async iterator that is no generator."""

    def __init__(self, chunks: Sequence[ModelChunk]) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self) -> Plain:
        return self

    async def __anext__(self) -> ModelChunk:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


async def test_a_stream_need_not_be_a_generator() -> None:
    """Any async iterator will do; what has no `aclose` is not closed."""

    class Iterating(ModelBase):
        def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
            return Plain([ModelChunk(text="a")])

    assert (await fault_of(Iterating())).code == "model.stream_incomplete"


# --- a turn without a runner -------------------------------------------------------------------------------------


async def test_a_model_may_be_used_alone() -> None:
    """One request and its tool calls, with nothing around them."""
    model = ScriptedModel([turn("let me see", call("add", a=1, b=2), usage=Usage(5, 2))])
    result = await model.get_response(Agent("a", tools=[add], instructions="Add."), "1+2?")

    assert [message.role for message in result.messages] == ["user", "assistant", "tool"]
    assert result.messages[-1].parts[0] == ToolResult(call_id="call_1", content=(Text("3"),), structured=3)
    assert (result.output, result.usage, result.turns) == ("let me see", Usage(5, 2), 1)
    assert model.requests[0].instructions == "Add."
    assert [spec.name for spec in model.requests[0].tools] == ["add"]
    assert model.requests[0].tools[0] == ToolSpec("add", "Add two integers.", add.input_schema)


async def test_calls_may_be_left_to_the_caller() -> None:
    """With `execute_tools=False` they come back as pending."""
    model = ScriptedModel([call("add", a=1, b=2)])
    result = await model.get_response(Agent("a", tools=[add]).config, "1+2?", execute_tools=False)

    assert [c.name for c in result.pending_calls] == ["add"]
    assert len(result.messages) == 2


async def test_a_tool_that_is_not_there_is_an_error_the_model_sees() -> None:
    """Also without a runner every call has a result."""
    result = await ScriptedModel([call("mul", a=1)]).get_response(Agent("a"), [Message.user("go")])

    assert [(p.status, p.code) for p in result.messages[-1].parts if isinstance(p, ToolResult)] == [
        ("error", "tool.not_found")
    ]


async def test_hooks_stand_around_a_turn() -> None:
    """What is given as `hooks` sees the request and executes the calls."""
    seen: list[str] = []

    class Hooks:
        on_event = None

        async def model_request(self, request: ModelRequest, send: Callable[[ModelRequest], Any]) -> ModelResponse:
            seen.append("request")
            response: ModelResponse = await send(request)
            return response

        async def tool_calls(self, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
            seen.append("calls")
            return [ToolResult(call_id=c.id) for c in calls]

    await ScriptedModel([call("x")]).get_response(Agent("a"), "go", Hooks())

    assert seen == ["request", "calls"]


async def test_one_message_is_an_input() -> None:
    """A message stands for a list of one."""
    model = ScriptedModel(["hi"])
    await model.get_response(Agent("a"), Message.user("go"))

    assert [message.text for message in model.requests[0].messages] == ["go"]


# --- garbage in a run --------------------------------------------------------------------------------------------


async def test_arguments_that_are_not_json_are_told_to_the_model(bench: Bench) -> None:
    """The call has a result with the reason, the tool is not started, and the model may mend it."""
    model = ScriptedModel([raw_call("add", '{"a": 1, "b"'), call("add", a=1, b=2), "3"])
    result = await bench.run(model, tools=[add])

    first, second = bench.results(result)
    assert (first.status, first.code) == ("error", "tool.arguments")
    assert "not JSON" in first.text
    assert (second.text, result.output) == ("3", "3")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({"a": "x", "b": 1}, "a: Input should be a valid integer", id="wrong type"),
        pytest.param({"a": 1}, "b: Field required", id="missing"),
        pytest.param({"a": 1, "b": 2, "c": 3}, "c: Extra inputs are not permitted", id="one too many"),
        pytest.param({}, "a: Field required; b: Field required", id="none"),
    ],
)
async def test_arguments_that_do_not_fit_are_told_to_the_model(
    bench: Bench, arguments: dict[str, Any], says: str
) -> None:
    """Every place that is off is named."""
    result = await bench.run(ScriptedModel([call("add", **arguments), "sorry"]), tools=[add])

    (answer,) = bench.results(result)
    assert (answer.status, answer.code) == ("error", "tool.arguments")
    assert says in answer.text


async def test_an_unknown_tool_is_answered_with_near_names(bench: Bench) -> None:
    """The model learns what there is, nearest first, and the run goes on."""
    result = await bench.run(ScriptedModel([call("ad", a=1), call("zzz"), "sorry"]), tools=[add])

    near, far = bench.results(result)
    assert near.text == "there is no tool `ad`; there is add"
    assert (far.code, far.text) == ("tool.not_found", "there is no tool `zzz`; there is add")
    assert result.output == "sorry"


async def test_an_unknown_tool_where_there_is_none(bench: Bench) -> None:
    """An agent without tools says so."""
    result = await bench.run(ScriptedModel([call("x"), "sorry"]))

    assert bench.results(result)[0].text == "there is no tool `x`; there is none"


async def test_an_empty_answer_is_a_failure(bench: Bench) -> None:
    """No part and no usage is no answer."""
    result = await bench.run(ScriptedModel([turn()]))

    assert (result.end_reason, getattr(result.error, "code", None)) == ("unavailable", "model.empty_response")


async def test_a_stream_without_finish_is_a_failure(bench: Bench) -> None:
    """However well it reads, it is cut."""
    result = await bench.run(ScriptedModel([turn("It is safe to", CUT)]))

    assert getattr(result.error, "code", None) == "model.stream_incomplete"
    assert result.output is None


async def test_a_cut_in_a_tool_call_yields_no_call(bench: Bench) -> None:
    """Half arguments are never repaired into a call."""
    model = ScriptedModel([turn(ModelChunk(call_delta=("1", "add", '{"a": 1, "b": 2}')), CUT)])
    result = await bench.run(model, tools=[add])

    assert bench.results(result) == []
    assert [message.role for message in result.messages] == ["user"]


@pytest.mark.parametrize(
    ("finish", "code"),
    [("length", "model.output_limit"), ("refused", "model.content_refused")],
)
async def test_an_answer_that_was_cut_or_refused_executes_nothing(bench: Bench, finish: Any, code: str) -> None:
    """Its text stays in the history, its calls are closed as cancelled, and the error says what it was."""
    model = ScriptedModel([turn("well", raw_call("add", ""), finish=finish)])
    result = await bench.run(model, tools=[add])

    assert getattr(result.error, "code", None) == code
    assert [r.status for r in bench.results(result)] == ["cancelled"]
    assert [message.text for message in result.messages][:2] == ["go", "well"]


async def test_a_refusal_without_words(bench: Bench) -> None:
    """The error has a sentence also then."""
    result = await bench.run(ScriptedModel([turn(finish="refused")]))

    assert "refused: no reason given" in str(result.error)


async def test_a_cancelled_request_is_closed(bench: Bench) -> None:
    """The provider's stream ends with the run."""
    reached = asyncio.Event()

    class Slow(ModelBase):
        provider, name, closed = "slow", "m", False

        async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
            try:
                yield ModelChunk(text="a")
                reached.set()
                await asyncio.Event().wait()
            finally:
                self.closed = True

    model = Slow()
    task = asyncio.create_task(bench.run(model))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert model.closed
