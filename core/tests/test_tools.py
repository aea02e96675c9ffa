"""Tools: a typed function becomes one, arguments are checked, results are made of what functions return."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest
from pegboard import Agent, Pegboard, RunContext, ToolContext, tool
from pegboard.errors import ToolArgumentsError, ToolDefinitionError
from pegboard.tools import (
    DirectToolContext,
    FunctionTool,
    as_tool,
    call_tool,
    check_arguments,
    execute,
    result_of,
    spec_for,
)
from pegboard.types import Text, ToolCall, ToolResult, ToolSpec, tool_result
from pegboard_replay import ScriptedModel
from pegboard_replay import call as scripted
from pegboard_testing import FakeTool


class Point(pydantic.BaseModel):
    x: int
    y: int = 0


@dataclasses.dataclass
class Size:
    width: int


class Pair(msgspec.Struct):
    a: int


def call(name: str = "t", **arguments: Any) -> ToolCall:
    return ToolCall(id="c1", name=name, arguments=arguments)


async def run(made: Any, **arguments: Any) -> ToolResult:
    asked = call(**arguments)
    return await call_tool(made, asked, DirectToolContext(asked))


# --- definitions -------------------------------------------------------------------------------------------------


def test_name_description_and_schema_come_from_the_function() -> None:
    """The docstring is the description, its `Args:` describe the arguments."""

    @tool(effect="pure")
    def greet(name: str, times: int = 1, mood: Literal["kind", "rude"] = "kind") -> str:
        """Greet somebody.

        As often as you like.

        Args:
            name: who is greeted
            times (int): how often
        """
        return name * times

    assert (greet.name, greet.description) == ("greet", "Greet somebody.\n\nAs often as you like.")
    assert greet.input_schema == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "who is greeted"},
            "times": {"type": "integer", "default": 1, "description": "how often"},
            "mood": {"type": "string", "enum": ["kind", "rude"], "default": "kind"},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    assert spec_for(greet) is greet.spec
    assert greet.spec == ToolSpec("greet", greet.description, greet.input_schema)
    assert repr(greet) == "<tool greet>"


def test_options_override_what_the_function_says() -> None:
    """Name, description, effect, tier, limit, permissions."""

    @tool(name="other", description="", effect="keyed", tier="toolbelt", timeout_s=None, permissions={"net": ("x",)})
    def greet() -> None:
        """Greet."""

    assert (greet.name, greet.description, greet.effect, greet.tier) == ("other", "", "keyed", "toolbelt")
    assert (greet.timeout_s, greet.permissions, greet.output_schema) == (None, {"net": ("x",)}, None)


def test_a_function_without_options_is_a_tool_that_could_do_anything() -> None:
    """Undeclared means unsafe, with a time limit, and excluding all others."""

    @tool
    def act() -> None:
        """Act."""

    assert (act.effect, act.tier, act.timeout_s, act.resources({})) == ("unsafe", "core", 120.0, None)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"effect": "pure"}, frozenset()),
        ({"effect": "keyed"}, frozenset()),
        ({"effect": "unsafe"}, None),
        ({"resources": ["db"]}, frozenset({"db"})),
        ({"resources": ()}, frozenset()),
        ({"resources": lambda args: frozenset({args["n"]})}, frozenset({"x"})),
    ],
)
def test_what_a_call_locks(options: dict[str, Any], expected: frozenset[str] | None) -> None:
    """Declared keys, or what the effect says."""
    assert FunctionTool(len, **options).resources({"n": "x"}) == expected


def test_a_description_may_stand_at_the_type() -> None:
    """An annotation leads over the docstring."""

    @tool
    def look(
        path: Annotated[str, pydantic.Field(description="where")], depth: Annotated[int, pydantic.Field(ge=1)] = 1
    ) -> None:
        """Look.

        Args:
            path: not this
            depth: how deep

        Returns:
            depth: nothing
        """

    properties = look.input_schema["properties"]
    assert properties["path"]["description"] == "where"
    assert (properties["depth"]["description"], properties["depth"]["minimum"]) == ("how deep", 1)


async def test_a_context_parameter_is_filled_in() -> None:
    """The model does not see it, wherever it stands."""

    async def look(ctx: ToolContext, path: str) -> str:
        return f"{path} {ctx.call.id}"

    made = FunctionTool(look, effect="pure")

    assert list(made.input_schema["properties"]) == ["path"]
    assert (await run(made, path="x")).text == "x c1"


async def test_a_tool_may_ask_for_the_run() -> None:
    """A parameter annotated `RunContext` is the run itself, with all that it can do."""

    @tool(effect="pure")
    async def whose(ctx: RunContext) -> str:
        return ctx.agent.name

    async with Pegboard() as board:
        result = await board.run(Agent("asker", model=ScriptedModel([scripted("whose"), "done"]), tools=[whose]), "go")

    (answer,) = next(message.parts for message in result.messages if message.role == "tool")
    assert isinstance(answer, ToolResult)
    assert answer.text == "asker"


def test_a_tool_is_still_the_function() -> None:
    """Called directly it does what it does, without a run."""
    made = FunctionTool(lambda text: text.upper(), name="shout")

    assert made("x") == "X"


@pytest.mark.parametrize("wrong", [{"effect": "evil"}, {"tier": "top"}, {"timeout_s": 0}, {"timeout_s": -1.0}])
def test_a_tool_is_refused_where_it_is_made(wrong: Any) -> None:
    """A word that means nothing is no setting."""
    with pytest.raises(ToolDefinitionError):
        FunctionTool(lambda: None, name="t", **wrong)


@pytest.mark.parametrize("bad", [msgspec.structs.replace(Text(""), text=5), "text"], ids=["number", "no part"])
async def test_a_result_with_a_wrong_part_is_a_failed_call(bad: Any) -> None:
    """What a tool made badly is said to the model, and costs nothing else."""

    async def make() -> Any:
        return ToolResult(call_id="c1", content=(bad,))

    assert (await run(FunctionTool(make))).code == "tool.failed"


async def test_a_result_that_goes_round_in_circles_is_a_failed_call() -> None:
    """It could not be stored."""
    circle: dict[str, Any] = {}
    circle["self"] = circle

    async def make() -> Any:
        return ToolResult(call_id="c1", structured=circle)

    assert (await run(FunctionTool(make))).code == "tool.failed"


async def test_a_name_in_another_encoding_is_spelled_out() -> None:
    """What UTF-8 cannot carry would fail later, in a store or at a provider, when the effect has happened."""
    result = await run(FunctionTool(lambda: "caf\udce9", name="t", inline=True))

    assert result.text == "caf\\udce9"


def _variadic(*args: int) -> None: ...
def _keywords(**options: int) -> None: ...
def _positional(a: int, /) -> None: ...
def _unknown_type(a: threading.Lock) -> None: ...
def _unreadable(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821  # on purpose


@pytest.mark.parametrize("function", [_variadic, _keywords, _positional, _unknown_type, _unreadable])
def test_a_function_that_cannot_be_a_tool_says_why(function: Callable[..., Any]) -> None:
    """When its schema is first needed, with the name of the tool."""
    made = FunctionTool(function)

    with pytest.raises(ToolDefinitionError, match=f"tool `{function.__name__}`"):
        made.input_schema  # noqa: B018  # reading it is the test


def test_a_parameter_without_annotation_takes_anything() -> None:
    """It is checked only for being there."""

    def look(a, b=1):  # type: ignore[no-untyped-def]  # on purpose
        return a

    assert FunctionTool(look).validate({"a": [1]}) == {"a": [1], "b": 1}


# --- making tools ------------------------------------------------------------------------------------------------


def test_a_function_is_made_a_tool_once() -> None:
    """Its schema is read once, however many agents use it."""

    def look() -> None: ...

    assert as_tool(look) is as_tool(look)
    assert as_tool(as_tool(look)) is as_tool(look)


def test_methods_and_builtins_are_functions_too() -> None:
    """They become tools as they are."""

    class Shelf:
        def take(self, name: str) -> str:
            return name

    assert as_tool(Shelf().take).name == "take"
    assert as_tool(len).name == "len"


def test_any_object_that_fits_is_a_tool() -> None:
    """The protocol is what counts; what does not fit is refused."""
    fake = FakeTool("fake")

    assert as_tool(fake) is fake
    assert spec_for(fake) == ToolSpec("fake", "The fake tool fake.", {"type": "object"})
    for odd in (1, "name", object(), Point):
        with pytest.raises(ToolDefinitionError, match="neither a tool nor a function"):
            as_tool(odd)


# --- arguments ---------------------------------------------------------------------------------------------------


@tool(effect="pure", inline=True)
def add(a: int, b: int = 2) -> int:
    """Add."""
    return a + b


def test_arguments_become_the_functions_types() -> None:
    """Models, dates and numbers are made of JSON."""

    def draw(point: Point, sizes: list[int]) -> None: ...

    assert FunctionTool(draw).validate({"point": {"x": 1}, "sizes": ["2"]}) == {"point": Point(x=1), "sizes": [2]}


@pytest.mark.parametrize("arguments", [{}, {"a": "x"}, {"a": 1, "c": 1}, {"a": None}, {"a": 1, "b": [1]}])
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any]) -> None:
    """With the name of the tool and every place that is off."""
    with pytest.raises(ToolArgumentsError, match=r"^tool `add`: "):
        check_arguments(add, call("add", **arguments))


def test_arguments_of_a_schema_are_checked_too() -> None:
    """Tools of manifests and servers bring JSON Schema; the value is not changed."""
    fake = FakeTool("f", input_schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})

    assert check_arguments(fake, call("f", n=1)) == {"n": 1}
    with pytest.raises(ToolArgumentsError, match=r"tool `f`: n: 'x' is not of type 'integer'"):
        check_arguments(fake, call("f", n="x"))


def test_raw_arguments_are_refused_with_their_reason() -> None:
    """What could not be parsed never reaches a tool."""
    with pytest.raises(ToolArgumentsError, match="tool `add`: half of it"):
        check_arguments(add, ToolCall(id="1", name="add", raw_arguments="{", error="half of it"))


# --- calling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text", "structured"),
    [
        ("hello", "hello", None),
        (None, "done", None),
        (7, "7", 7),
        (True, "true", True),
        (1.5, "1.5", 1.5),
        ([1, "a"], '[1,"a"]', [1, "a"]),
        ({"a": {1: 2}}, '{"a":{"1":2}}', {"a": {"1": 2}}),
        (Point(x=1), '{"x":1,"y":0}', {"x": 1, "y": 0}),
        ([Point(x=1)], '[{"x":1,"y":0}]', [{"x": 1, "y": 0}]),
        (Size(3), '{"width":3}', {"width": 3}),
        (Pair(1), '{"a":1}', {"a": 1}),
        ({2}, "[2]", [2]),
        (Path("a/b"), '"a/b"', "a/b"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_function_returns_becomes_a_result(value: Any, text: str, structured: Any) -> None:
    """Text as it is; anything else as JSON for the model, and as data for code."""
    result = result_of("c1", value)

    assert result.text == text
    assert result.structured == structured


async def test_what_is_not_json_is_an_error() -> None:
    """A model is not shown the `repr` of an object as if that were an answer."""
    opaque = tool(effect="pure", inline=True)(lambda: threading)

    result = await call_tool(opaque, ToolCall(id="c1", name="x"), DirectToolContext(ToolCall(id="c1", name="x")))

    assert (result.status, result.code) == ("error", "tool.failed")


def test_a_result_stays_what_it_is() -> None:
    """A tool that knows better says so."""
    given = ToolResult(call_id="x", status="error", content=(Text("no"),))

    assert result_of("c1", given) is given


async def test_calls_without_a_run(bench: Any) -> None:
    """Wrong arguments and errors become results; an inline function may return a coroutine."""

    @tool(effect="pure", inline=True)
    def later() -> Any:
        """Later."""

        async def value() -> int:
            return 5

        return value()

    assert (await run(add, a=1)).text == "3"
    assert (await run(add, a="x")).code == "tool.arguments"
    assert (await run(later)).structured == 5


async def test_an_error_of_ours_keeps_its_code_and_hint() -> None:
    """The model reads what could be done."""

    @tool(effect="pure")
    async def read() -> None:
        """Read."""
        raise ToolArgumentsError("no such file", hint="peg doctor")

    result = await run(read)
    assert (result.code, result.text) == ("tool.arguments", "no such file (hint: peg doctor)")


async def test_cancellation_is_no_result() -> None:
    """It goes up."""

    @tool(effect="pure")
    async def wait() -> None:
        """Wait."""
        await asyncio.Event().wait()

    task = asyncio.create_task(run(wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_direct_context_has_what_a_tool_may_ask_for() -> None:
    """Without a run there is a key, a first attempt, and nobody to tell."""
    ctx = DirectToolContext(call())
    ctx.progress("half", 0.5)

    assert (ctx.idempotency_key, ctx.attempt, ctx.host, ctx.run) == ("c1", 1, None, None)
    assert (await execute(FakeTool("f"), {}, call(), ctx)) == tool_result("c1", "done")


def test_types_of_collections_are_kept() -> None:
    """Sequences and mappings in a signature are read as JSON arrays and objects."""

    def pack(items: Sequence[str], labels: Mapping[str, int]) -> None: ...

    schema = FunctionTool(pack).input_schema["properties"]
    assert (schema["items"]["type"], schema["labels"]["type"]) == ("array", "object")
