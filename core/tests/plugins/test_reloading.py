"""Files that change under a running board: reloaded in development, else the state says that a restart is needed."""

from __future__ import annotations

import asyncio
import os
import sys
import types
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest
import pytest_asyncio
from pegboard import Agent, Pegboard
from pegboard.plugins.discovery.state import StateFile
from pegboard.plugins.reloading import CHECK_EVERY_S
from pegboard.types import ToolResult
from pegboard_replay import ScriptedModel, call
from pegboard_testing import FakeClock, PluginDist

Install = Callable[..., PluginDist]

CODE = """
from pegboard import Agent, hookimpl, tool
from pegboard_mine.words import WORD

@tool(name="mine.say", effect="pure", inline=True)
def say() -> str:
    '''Say a word.'''
    return WORD

class Plugin:
    @hookimpl
    def provide_tools(self):
        return [say]
"""
MANIFEST = {
    "id": "mine",
    "hooks": {"provide_tools": {}},
    "contributes": {"tools": [{"name": "mine.say", "effect": "pure"}]},
}


class Open(Protocol):
    async def __call__(self, **options: Any) -> Pegboard: ...


@pytest_asyncio.fixture
async def open_board(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Opens boards that see, of what is installed, the plugins of these tests."""
    monkeypatch.setenv("PEGBOARD_PLUGINS", "mine,other")
    async with AsyncExitStack() as stack:

        async def opened(**options: Any) -> Pegboard:
            return await stack.enter_async_context(Pegboard(**{"autoload": True, **options}))

        yield opened


@pytest.fixture
def mine(plugin_dist: Install) -> PluginDist:
    """A plugin under development, as `link --reload` leaves it."""
    made = plugin_dist(MANIFEST, {"plugin.py": CODE, "words.py": 'WORD = "old"\n'})
    mark(made)
    return made


def mark(made: PluginDist) -> None:
    """Leave what `peg plugins link --reload` leaves."""
    (made.info / "direct_url.json").write_text("{}")
    StateFile().reload(["mine"], "pegboard-mine", on=True)


async def said(board: Pegboard) -> str:
    """What the tool of the plugin says in a run of its own."""
    model = ScriptedModel([call("mine.say"), "done"])
    result = await board.run(Agent("tester", model=model), "go", check=False)
    answers = [part.text for message in result.messages for part in message.parts if isinstance(part, ToolResult)]
    return answers[0]


async def test_a_changed_file_is_loaded_before_the_next_run(open_board: Open, mine: PluginDist) -> None:
    """Also a module that the plugin imports."""
    board = await open_board()
    before = await said(board)

    mine.write("words.py", 'WORD = "newer"\n')

    assert (before, await said(board)) == ("old", "newer")
    assert board.plugins.state("mine") == "active"


async def test_stale_bytecode_is_not_taken_for_the_new_code(
    open_board: Open, mine: PluginDist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter cannot tell a change within one second that leaves the size as it was."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    words = mine.write("words.py", 'WORD = "one"\n')
    os.utime(words, ns=(0, 10**18))
    board = await open_board()
    before = await said(board)

    mine.write("words.py", 'WORD = "two"\n')
    os.utime(words, ns=(0, 10**18 + 1))

    assert (before, await said(board)) == ("one", "two")


async def test_a_plugin_that_is_not_marked_is_not_reloaded(open_board: Open, mine: PluginDist) -> None:
    """Without `link --reload` the old code goes on: nothing is reloaded in production."""
    StateFile().reload(["mine"], "pegboard-mine", on=False)
    board = await open_board()
    await said(board)

    mine.write("words.py", 'WORD = "new"\n')

    assert await said(board) == "old"


async def test_what_was_installed_over_a_link_is_not_reloaded(open_board: Open, mine: PluginDist) -> None:
    """The mark of a link says nothing about a wheel of the same name."""
    (mine.info / "direct_url.json").unlink()
    board = await open_board()
    await said(board)

    mine.write("words.py", 'WORD = "new"\n')

    assert await said(board) == "old"


async def test_a_folder_that_is_given_is_reloaded(open_board: Open, plugin_dist: Install) -> None:
    """What a program names as a folder is under development by that."""
    made = plugin_dist(MANIFEST, {"plugin.py": CODE, "words.py": 'WORD = "old"\n'})
    board = await open_board(autoload=False, folders=[made.site / made.package])
    before = await said(board)

    made.write("words.py", 'WORD = "new"\n')

    assert (before, await said(board)) == ("old", "new")


async def test_nothing_is_reloaded_while_a_run_is_under_way(open_board: Open, mine: PluginDist) -> None:
    """The old code goes on and the state says why; a run that begins alone has the new code."""
    began, go = asyncio.Event(), asyncio.Event()

    async def wait() -> str:
        """Wait."""
        began.set()
        await go.wait()
        return "waited"

    board = await open_board()
    await said(board)
    agent = Agent("waiter", tools=[wait], model=ScriptedModel([call("wait"), "done"]))
    running = asyncio.create_task(board.run(agent, "go"))
    await began.wait()
    mine.write("words.py", 'WORD = "new"\n')

    beside = await said(board)
    state, why = board.plugins.state("mine"), board.plugins.peg("mine").message
    go.set()
    await running

    assert (beside, state) == ("old", "needs_restart")
    assert why == "its files changed while a run is under way; a run that begins alone reloads it"
    assert (await said(board), board.plugins.state("mine")) == ("new", "active")


async def test_a_mistake_is_mended_by_the_next_change(open_board: Open, mine: PluginDist) -> None:
    """Code that is no Python costs the plugin until it is one again; the board goes on."""
    board = await open_board()
    await said(board)

    mine.write("words.py", "WORD =\n")
    spoilt = await said(board)
    state = board.plugins.state("mine")
    mine.write("words.py", 'WORD = "mended"\n')

    assert "mine.say" in spoilt
    assert state == "quarantined"
    assert await said(board) == "mended"


async def test_a_changed_manifest_is_read_again(open_board: Open, mine: PluginDist) -> None:
    """A tool that the manifest lists from now on is offered."""
    board = await open_board()
    await said(board)

    mine.write("pegboard.toml", mine.manifest.read_text().replace("mine.say", "mine.tell"))
    mine.write("plugin.py", CODE.replace("mine.say", "mine.tell"))
    await board.find_agent(None)

    assert [name for name in board.plugins.tools() if name.startswith("mine.")] == ["mine.tell"]


async def test_what_was_built_on_it_keeps_it_from_being_reloaded(
    open_board: Open, mine: PluginDist, plugin_dist: Install
) -> None:
    """Two generations of one class in a process do not know each other."""
    plugin_dist({"id": "other", "requires": ["mine"], "activation": ["onStartup"], "startup_reason": "a test"})
    board = await open_board()

    mine.write("words.py", 'WORD = "new"\n')

    assert await said(board) == "old"
    assert board.plugins.state("mine") == "needs_restart"
    assert "plugin `other`" in board.plugins.peg("mine").message


AGENTS = """
from pegboard import Agent, hookimpl

class Plugin:
    @hookimpl
    def provide_agents(self):
        return [Agent("mine.agent", instructions="old")]
"""


async def test_its_agents_are_new_too(open_board: Open, plugin_dist: Install) -> None:
    """An agent that was looked up by name before is looked up again."""
    manifest = {"id": "mine", "hooks": {"provide_agents": {}}, "contributes": {"agents": [{"name": "mine.agent"}]}}
    made = plugin_dist(manifest, {"plugin.py": AGENTS})
    mark(made)
    board = await open_board()
    before = await board.find_agent("mine.agent")

    made.write("plugin.py", AGENTS.replace("old", "new"))

    after = await board.find_agent("mine.agent")
    assert (before.config.instructions, after.config.instructions) == ("old", "new")


async def test_modules_of_its_name_are_forgotten_and_no_others(open_board: Open, mine: PluginDist) -> None:
    """Another package whose name begins alike keeps its modules."""
    board = await open_board()
    await said(board)
    neighbour = types.ModuleType("pegboard_mine_too")
    sys.modules["pegboard_mine_too"] = neighbour
    before = sys.modules["pegboard_mine.plugin"]

    mine.write("words.py", 'WORD = "new"\n')
    await said(board)

    assert sys.modules.pop("pegboard_mine_too") is neighbour
    assert sys.modules["pegboard_mine.plugin"] is not before


async def test_an_upgrade_is_noticed_before_a_run(
    open_board: Open, plugin_dist: Install, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a plugin that is not under development the old code goes on, and state and log say so."""
    clock = FakeClock()
    made = plugin_dist(MANIFEST, {"plugin.py": CODE, "words.py": 'WORD = "old"\n'})
    board = await open_board(clock=clock)
    await said(board)

    made.write("pegboard.toml", made.manifest.read_text() + "# newer\n")
    made.write("words.py", 'WORD = "new"\n')
    clock.advance(CHECK_EVERY_S)

    assert await said(board) == "old"
    assert board.plugins.state("mine") == "needs_restart"
    assert "its files changed while it was running" in caplog.text


def test_another_distribution_of_the_name_is_not_reloaded() -> None:
    """The mark belongs to the distribution that was linked, and ends with it."""
    StateFile().reload(["mine"], "pegboard-mine", on=True)

    assert StateFile().read().reloads("mine", "pegboard-mine")
    assert not StateFile().read().reloads("mine", "mine-of-others")
    StateFile().forget("mine")
    assert not StateFile().read().reloads("mine", "pegboard-mine")
    StateFile().reload(["mine"], "pegboard-mine", on=True)
    StateFile().accept({}, {"another"})
    assert not StateFile().read().reloads("mine", "pegboard-mine")
