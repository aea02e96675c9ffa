"""Where code and manifest, or code and contract, differ: nothing runs by the word of the one that is more lenient."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pegboard import hookimpl
from pegboard.errors import PluginContributionsError, PluginKindError
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.discovery.select import Decision
from pegboard.plugins.host import PluginHost
from pegboard.plugins.offers import ToolProxy
from pegboard.plugins.peg import Peg
from pegboard.tools import DirectToolContext, FunctionTool
from pegboard.types import ToolCall
from pegboard_testing import PluginDist

CODE = """
from pegboard import hookimpl, tool

@tool(name="demo.send", {options})
def send() -> str:
    return "sent"

class Plugin:
    @hookimpl
    def provide_tools(self):
        return [send]
"""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param("effect='unsafe'", "effect `unsafe` in code and `pure` in the manifest", id="effect"),
        pytest.param("effect='pure', tier='toolbelt'", "tier `toolbelt` in code and `core` in the manifest", id="tier"),
    ],
)
async def test_a_tool_must_be_what_its_manifest_says(
    start_host: Any, plugin_dist: Callable[..., PluginDist], options: str, told: str
) -> None:
    """Another effect or tier in code than in the manifest rejects the plugin at its activation."""
    row = {"name": "demo.send", "description": "Send.", "effect": "pure", "tier": "core"}
    manifest = {"id": "demo", "hooks": {"provide_tools": {}}, "contributes": {"tools": [row]}}
    plugin_dist(manifest, {"plugin.py": CODE.format(options=options)})
    host: PluginHost = await start_host("demo")

    with pytest.raises(PluginContributionsError, match=told):
        await host.tool("demo.send")


async def test_a_proxy_refuses_a_tool_that_was_judged_by_another_effect() -> None:
    """What was judged as `pure` does not run when the real tool is `unsafe`."""
    ran: list[str] = []
    real = FunctionTool(lambda: ran.append("ran"), name="demo.send", effect="unsafe")

    async def activate(name: str) -> FunctionTool:
        return real

    record = PluginRecord(id="demo", dist="pegboard-demo", version="1", manifest={})
    proxy = ToolProxy(Peg(cast(Decision, _decision(record))), {"name": "demo.send", "effect": "pure"}, activate)

    with pytest.raises(PluginContributionsError, match="effect `unsafe` in code"):
        await proxy.execute({}, DirectToolContext(ToolCall(id="1", name="demo.send", arguments={})))
    assert ran == []


def _decision(record: PluginRecord) -> object:
    return SimpleNamespace(record=record, state="ready", reason="", message="", hint="")


class Misspelt:
    @hookimpl
    def authorise(self) -> None: ...


class WrongArgument:
    @hookimpl
    def authorize(self, request: object) -> None: ...


class Unmarked:
    def authorize(self, ctx: object) -> None: ...


@pytest.mark.parametrize("plugin", [Misspelt, WrongArgument, Unmarked])
async def test_a_hook_that_a_given_plugin_misses_stops_the_start(plugin: type) -> None:
    """A gate of the host program that would never be asked is its own mistake, and raised out of the start."""
    host = PluginHost([plugin])

    with pytest.raises(PluginKindError) as caught:
        await host.start()
    assert "plugins validate" not in str(caught.value.hint)


async def test_the_hint_for_an_unmarked_hook_says_what_to_add() -> None:
    """A method with the name of a hook and no mark: the hint names the mark."""
    with pytest.raises(PluginKindError) as caught:
        await PluginHost([Unmarked]).start()
    assert "@hookimpl" in str(caught.value.hint)


async def test_a_board_judges_a_command_of_core_as_the_command_line_does(
    start_host: Any, plugin_dist: Callable[..., PluginDist]
) -> None:
    """A plugin that claims the name of a command of core is rejected on a board, too."""
    command = {"name": "run", "target": "pegboard_demo.plugin:run"}
    plugin_dist({"id": "demo", "contributes": {"commands": [command]}})
    host: PluginHost = await start_host("demo")

    assert (host.peg("demo").state, host.peg("demo").reason) == ("rejected", "collision")
