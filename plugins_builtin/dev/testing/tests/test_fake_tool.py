"""`FakeTool`, through the door that real calls take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pegboard import Tool
from pegboard.tools import DirectToolContext, call_tool
from pegboard.types import ToolCall, ToolResult, tool_result
from pegboard_testing import FakeTool


async def use(tool: FakeTool, **arguments: Any) -> ToolResult:
    call = ToolCall(id="c1", name=tool.name, arguments=arguments)
    return await call_tool(tool, call, DirectToolContext(call))


def test_it_is_a_tool() -> None:
    """It has everything that the protocol asks for."""
    assert isinstance(FakeTool(), Tool)


async def test_it_remembers_its_calls() -> None:
    """Arguments are kept in order."""
    shell = FakeTool("shell", returns="ok")

    results = [await use(shell, command="ls"), await use(shell, command="pwd")]

    assert [result.text for result in results] == ["ok", "ok"]
    assert shell.calls == [{"command": "ls"}, {"command": "pwd"}]


@pytest.mark.parametrize(
    ("returns", "status", "text"),
    [
        ({"n": 1}, "ok", '{"n":1}'),
        (tool_result("", "no", status="denied"), "denied", "no"),
        (RuntimeError("broken"), "error", "tool `fake` failed: RuntimeError: broken"),
        (lambda args: args["x"] + 1, "ok", "3"),
    ],
    ids=["value", "result", "error", "function"],
)
async def test_what_it_answers(returns: Any, status: str, text: str) -> None:
    """A value, a result, an error, or a function of the arguments."""
    result = await use(FakeTool(returns=returns), x=2)

    assert (result.status, result.text) == (status, text)


async def test_an_async_function_is_awaited() -> None:
    """So that a tool can wait at a gate."""

    async def answer(args: Mapping[str, Any]) -> str:
        return "later"

    assert (await use(FakeTool(returns=answer))).text == "later"


async def test_its_schema_is_checked() -> None:
    """Arguments that do not fit never reach it."""
    tool = FakeTool(input_schema={"type": "object", "required": ["x"]})

    assert (await use(tool)).code == "tool.arguments"
    assert tool.calls == []
