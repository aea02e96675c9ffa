"""A tool that is broken costs only itself, and people are told where."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, Pegboard, hookimpl, tool
from pegboard.errors import where
from pegboard.interfaces import ToolContext
from pegboard.toolbox import BoundTool, Toolbox
from pegboard.tools import TOOL_PARTS
from pegboard.types import ToolResult, tool_result
from pegboard_replay import ScriptedModel, call

if TYPE_CHECKING:
    from core.tests.conftest import Bench


class Custom:
    """A tool that is no function."""

    name = "custom"
    description = "test"
    output_schema = None
    effect: Any = "pure"
    tier: Any = "core"
    permissions: Mapping[str, tuple[str, ...]] = {}
    timeout_s = 2.0

    def __init__(self, input_schema: Any = None, keys: Any = frozenset()) -> None:
        self._schema = {"type": "object"} if input_schema is None else input_schema
        self._keys = keys

    @property
    def input_schema(self) -> Any:
        if isinstance(self._schema, BaseException):
            raise self._schema
        return self._schema

    def resources(self, args: Mapping[str, Any]) -> Any:
        if isinstance(self._keys, BaseException):
            raise self._keys
        return self._keys

    async def execute(self, args: Mapping[str, Any], ctx: ToolContext) -> ToolResult:
        return tool_result(ctx.call.id, "ran")


# --- definitions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "#"}, [1]], ids=["type", "circle", "list"])
async def test_a_broken_schema_costs_the_call(bench: Bench, schema: Any) -> None:
    """The model is told, and the run goes on."""
    result = await bench.run(ScriptedModel([call("custom"), "done"]), tools=[Custom(schema)])

    assert (result.output, [r.code for r in bench.results(result)]) == ("done", ["tool.invalid"])


@pytest.mark.parametrize("keys", [ValueError("no"), SystemExit(1), 5, ["a"], frozenset([1])])
async def test_broken_resources_cost_the_call(bench: Bench, keys: Any) -> None:
    """Whatever they raise, or return that is no set of names."""
    result = await bench.run(ScriptedModel([call("custom"), "done"]), tools=[Custom(keys=keys)])

    assert (result.output, [r.code for r in bench.results(result)]) == ("done", ["tool.invalid"])


async def test_a_tool_that_cannot_be_described_is_left_out(bench: Bench) -> None:
    """The model is not told of it, the result says so, and the other tools are there."""

    @tool(effect="pure")
    def odd(a: int, /) -> int:
        """Cannot be called by name."""
        return a

    @tool(effect="pure", inline=True)
    def good() -> str:
        """Can."""
        return "good"

    result = await bench.run(ScriptedModel([call("good"), "done"]), tools=[odd, good])

    assert (result.output, [r.text for r in bench.results(result)]) == ("done", ["good"])
    assert [(entry.what, entry.code) for entry in result.degraded] == [("tool `odd`", "tool.invalid")]


def test_a_toolbox_lists_what_it_left_out() -> None:
    """Also where a property of the tool raises."""
    box = Toolbox([BoundTool(Custom(KeyError("schema")))])

    assert (box.specs("core"), list(box.faulty)) == ((), ["custom"])


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)], ids=["error", "exit"])
@pytest.mark.parametrize("part", TOOL_PARTS)
async def test_a_tool_whose_property_raises_is_left_out(part: str, error: BaseException) -> None:
    """Whichever it is; the result and the log name the tool and its plugin, and the other tools are there."""

    def fail(self: Custom) -> Any:
        raise error

    @tool(effect="pure", inline=True)
    def good() -> str:
        """Work."""
        return "good"

    broken = type("Broken", (Custom,), {part: property(fail)})()

    class Plugin:
        id = "owner"

        @hookimpl
        def provide_agents(self) -> list[Agent]:
            return [Agent("helper", model=ScriptedModel([call("good"), "done"]), tools=[broken, good])]

    async with Pegboard(plugins=[Plugin()]) as board:
        result = await board.run("helper", "go")

    name = "Broken" if part == "name" else "custom"
    told = f"tool `{name}` of plugin `owner` cannot be used: its `{part}` raised {type(error).__name__}: {error}"
    assert result.output == "done"
    assert [(entry.plugin, entry.code) for entry in result.degraded if told in entry.why] == [("owner", "tool.invalid")]
    assert [event.plugin for event in result.events if event.kind == "plugin.fault"] == ["owner"]


async def test_a_broken_tool_of_a_plugin_is_charged_to_it() -> None:
    """Its id is in the log and in the result."""

    class Plugin:
        id = "owner"

        @hookimpl
        def provide_tools(self) -> list[Any]:
            return [Custom(keys=5)]

    async with Pegboard(plugins=[Plugin()]) as board:
        result = await board.run(Agent(model=ScriptedModel([call("custom"), "done"])), "go", check=False)

    assert result.output == "done"
    assert [(e.plugin, e.data["code"]) for e in result.events if e.kind == "plugin.fault"] == [
        ("owner", "tool.invalid")
    ]


# --- places ------------------------------------------------------------------------------------------------------


@tool(effect="pure")
async def fails() -> str:
    """Raise, in a function of the standard library."""
    return str(int("x" * 3))


async def test_the_log_says_where_a_tool_failed_and_the_model_is_not_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The place is one in the tool's own code; the traceback is in the log of the program."""
    with caplog.at_level(logging.DEBUG, "pegboard.tools"):
        result = await bench.run(ScriptedModel([call("fails"), "done"]), tools=[fails])

    (done,) = [data for data in bench.events(result, "step.done") if data["op"] == "tool.call:fails"]
    assert done["where"].startswith("test_tool_faults.py:")
    assert done["where"].endswith(" in fails")
    assert "test_tool_faults" not in bench.results(result)[0].text
    assert any(record.exc_info for record in caplog.records)


async def test_the_log_says_where_a_hook_failed(caplog: pytest.LogCaptureFixture) -> None:
    """In the event, in the line for people, and with the traceback for who asks for more."""

    class Plugin:
        id = "broken"

        @hookimpl
        def check_quality(self) -> None:
            raise ValueError("no")

    with caplog.at_level(logging.DEBUG, "pegboard"):
        async with Pegboard(plugins=[Plugin()]) as board:
            result = await board.run(Agent(model=ScriptedModel(["ok"])), "go")

    (fault,) = [event.data for event in result.events if event.kind == "plugin.fault"]
    assert "in check_quality" in fault["where"]
    assert fault["where"] in caplog.text
    assert [record.name for record in caplog.records if record.exc_info] == ["pegboard.plugin.broken"]


def test_a_place_is_in_somebodys_own_code() -> None:
    """Frames of the standard library are passed over."""
    with pytest.raises(ValueError, match="property name") as caught:
        json.loads("{")

    assert str(where(caught.value)).endswith("in test_a_place_is_in_somebodys_own_code")


@pytest.mark.parametrize(("fault", "text"), [(KeyError("act"), "activated: KeyError: 'act'")])
async def test_a_failed_activation_says_so(fault: BaseException, text: str) -> None:
    """It is not called an import, and the type of the error is told."""

    class Plugin:
        id = "broken"

        def activate(self, ctx: Any) -> None:
            raise fault

    async with Pegboard(plugins=[Plugin()]) as board:
        assert text in str(board.plugins.roster.get("broken").error)  # type: ignore[union-attr]  # it is there
