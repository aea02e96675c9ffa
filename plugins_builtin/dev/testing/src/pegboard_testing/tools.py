"""Tools in tests: one that does nothing but remember its calls, and real ones, called as a model calls them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from pegboard import Agent, Pegboard, hookimpl
from pegboard.interfaces import ToolContext
from pegboard.tools import result_of
from pegboard.types import Action, Allow, Effect, Json, JsonObject, Tier, ToolResult
from pegboard_replay import ScriptedModel, call


class FakeTool:
    """A tool with a scripted answer.

    `returns` is a value, a `ToolResult`, an exception that is raised, or a function of the arguments, `def` or
    `async def`, which gives one of these. Without `input_schema` any arguments are accepted.

        shell = FakeTool("shell", returns="ok", effect="unsafe")
        ...
        assert shell.calls == [{"command": "ls"}]
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        returns: Any = "done",
        input_schema: JsonObject | None = None,
        effect: Effect = "pure",
        tier: Tier = "core",
        timeout_s: float | None = None,
        locks: Sequence[str] = (),
        permissions: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.name = name
        self.description = f"The fake tool {name}."
        self.input_schema: JsonObject = input_schema or {"type": "object"}
        self.output_schema: JsonObject | None = None
        self.effect: Effect = effect
        self.tier: Tier = tier
        self.timeout_s = timeout_s
        self.permissions: Mapping[str, tuple[str, ...]] = permissions or {}
        self.calls: list[dict[str, Json]] = []
        """The arguments of each call, in order."""
        self._returns = returns
        self._locks = frozenset(locks)

    def resources(self, args: Mapping[str, Any]) -> frozenset[str] | None:
        """The locks that were given; without any, calls run side by side."""
        return self._locks

    async def execute(self, args: Mapping[str, Any], ctx: ToolContext) -> ToolResult:
        """Remember the call and answer."""
        self.calls.append(dict(args))
        answer = self._returns(args) if callable(self._returns) else self._returns
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return result_of(ctx.call.id, answer)

    def __repr__(self) -> str:
        return f"<fake tool {self.name}>"


class Consent:
    """A plugin that allows whatever a person would be asked about."""

    @hookimpl
    def authorize(self, action: Action) -> Allow:
        """Allow it."""
        return Allow()


async def use_tool(board: Pegboard, tool: str, /, **arguments: Json) -> ToolResult:
    """Call a tool of the board's plugins in a run of its own; the answer as the model gets it.

        board = await make_board(folders=[PLUGIN], plugins=[Consent()])
        assert (await use_tool(board, "greeter.greet", name="Ada")).text == "Good morning, Ada!"

    Raises:
        AssertionError: a plugin did what its manifest does not declare.
    """
    model = ScriptedModel([call(tool, **arguments), "done"])
    result = await board.run(Agent("worker", model=model, tools=[tool]), "go")
    undeclared = [event.data for event in result.events if event.kind == "plugin.undeclared"]
    assert not undeclared, f"not in the manifest: {undeclared}"
    (answer,) = model.requests[-1].messages[-1].parts
    assert isinstance(answer, ToolResult)
    return answer


__all__ = ["Consent", "FakeTool", "use_tool"]
