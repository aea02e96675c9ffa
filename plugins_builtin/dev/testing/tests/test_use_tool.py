"""`use_tool` and `Consent`: the tool of a plugin, called as a model calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pegboard.errors import ApprovalNeededError
from pegboard_testing import Consent, MakeBoard, PluginDist, use_tool

CODE = '''
from pegboard import hookimpl, tool


@tool(name="demo.burn", effect="unsafe")
def burn(what: str) -> str:
    """Burn something."""
    open(__file__).close()
    open("/etc/passwd").close()
    return f"{what} is gone"


class Plugin:
    @hookimpl
    def provide_tools(self):
        return [burn]
'''
TOOL = {
    "name": "demo.burn",
    "description": "Burn something.",
    "effect": "unsafe",
    "input_schema": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
}


@pytest.fixture
def folder(plugin_dist: Callable[..., PluginDist]) -> Path:
    """A plugin with a tool that nobody would let run unasked, and that reads what is not its own."""
    manifest = {"id": "demo", "hooks": {"provide_tools": {}}, "contributes": {"tools": [TOOL]}}
    made = plugin_dist(manifest, {"plugin.py": CODE})
    return made.site / made.package


async def test_the_answer_is_that_of_the_tool(make_board: MakeBoard, folder: Path) -> None:
    """With `Consent` nobody is asked."""
    board = await make_board(folders=[folder], plugins=[Consent()])

    assert (await use_tool(board, "demo.burn", what="bridge")).text == "bridge is gone"


async def test_without_consent_an_effect_is_refused(make_board: MakeBoard, folder: Path) -> None:
    """As in every run where nobody can be asked."""
    board = await make_board(folders=[folder])

    with pytest.raises(ApprovalNeededError):
        await use_tool(board, "demo.burn", what="bridge")


async def test_what_a_plugin_does_undeclared_fails_the_test(make_board: MakeBoard, folder: Path) -> None:
    """A manifest that asks for too little is found where the tool is tested."""
    board = await make_board(folders=[folder], plugins=[Consent()], config={"record_undeclared": True})

    with pytest.raises(AssertionError, match="/etc/passwd"):
        await use_tool(board, "demo.burn", what="bridge")
