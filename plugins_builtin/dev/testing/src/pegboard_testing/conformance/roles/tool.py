"""What every tool promises."""

from __future__ import annotations

import copy
import re
from typing import Any, get_args

import pytest
from pegboard import Tool
from pegboard.tools import DirectToolContext, as_tool, call_tool
from pegboard.types import Effect, Json, Tier, ToolCall, ToolResult, to_json


class ToolSuite:
    """A tool, and arguments that it accepts."""

    @pytest.fixture
    def tool(self) -> Any:
        """The tool, or a function that becomes one."""
        raise NotImplementedError("provide the fixture `tool`")

    @pytest.fixture
    def arguments(self) -> dict[str, Json]:
        """Arguments of a call that succeeds and may be repeated."""
        raise NotImplementedError("provide the fixture `arguments`")

    def test_it_is_a_tool(self, tool: Any) -> None:
        """It has everything that the protocol asks for."""
        assert isinstance(as_tool(tool), Tool)

    def test_its_name_is_accepted_everywhere(self, tool: Any) -> None:
        """Letters, digits, dots, dashes and underscores, at most 64: the common ground of the providers."""
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", as_tool(tool).name)

    def test_it_is_described(self, tool: Any) -> None:
        """A model chooses by the description."""
        assert as_tool(tool).description.strip()

    def test_its_declarations_are_of_the_closed_sets(self, tool: Any) -> None:
        """Effect and tier are words that core knows; the time limit is a limit."""
        made = as_tool(tool)

        assert made.effect in get_args(Effect)
        assert made.tier in get_args(Tier)
        assert made.timeout_s is None or made.timeout_s > 0

    def test_its_schema_is_of_an_object(self, tool: Any) -> None:
        """Providers take nothing else, and what is required is described."""
        schema = as_tool(tool).input_schema

        assert schema.get("type") == "object"
        assert set(schema.get("required", ())) <= set(schema.get("properties", {}))
        assert to_json(schema) == schema

    def test_its_locks_are_keys(self, tool: Any, arguments: dict[str, Json]) -> None:
        """A set of keys, or `None` for all others excluded; asking changes nothing."""
        made = as_tool(tool)

        assert made.resources(arguments) is None or isinstance(made.resources(arguments), frozenset)

    @pytest.mark.asyncio
    async def test_a_call_succeeds(self, tool: Any, arguments: dict[str, Json]) -> None:
        """The result belongs to the call, is plain JSON and says something to the model."""
        result = await _call(tool, arguments)

        assert (result.call_id, result.status) == ("conformance", "ok"), result.text
        assert result.content
        assert to_json(result)

    @pytest.mark.asyncio
    async def test_arguments_are_not_changed(self, tool: Any, arguments: dict[str, Json]) -> None:
        """They belong to the history."""
        before = copy.deepcopy(arguments)

        await _call(tool, arguments)

        assert arguments == before

    @pytest.mark.asyncio
    async def test_wrong_arguments_are_an_answer(self, tool: Any) -> None:
        """Whatever a model sends, the tool answers with a result and raises nothing."""
        strange: list[dict[str, Json]] = [{}, {"no such argument": None}]
        strange.append({name: [[]] for name in as_tool(tool).input_schema.get("properties", {})})
        for arguments in strange:
            assert isinstance(await _call(tool, arguments), ToolResult)

    @pytest.mark.asyncio
    async def test_arguments_that_are_no_json_never_reach_it(self, tool: Any) -> None:
        """The call is answered with what is wrong."""
        call = ToolCall(id="conformance", name=as_tool(tool).name, raw_arguments="{", error="arguments are not JSON")

        result = await call_tool(as_tool(tool), call, DirectToolContext(call))

        assert (result.status, result.code) == ("error", "tool.arguments")


async def _call(tool: Any, arguments: dict[str, Json]) -> ToolResult:
    made = as_tool(tool)
    call = ToolCall(id="conformance", name=made.name, arguments=arguments)
    return await call_tool(made, call, DirectToolContext(call))


__all__ = ["ToolSuite"]
