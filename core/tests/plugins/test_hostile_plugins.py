"""What plugins do that nobody would: each is its own fault, and the board goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from pegboard import config, hookimpl, tool
from pegboard.errors import ConfigError, PluginCollisionError, PluginContributionsError, PluginManifestError
from pegboard.plugins import loading
from pegboard.plugins.discovery import manifest
from pegboard.plugins.discovery.reserved import TOOLS
from pegboard.plugins.discovery.state import StateFile
from pegboard.plugins.host import PluginHost
from pegboard_testing import PluginDist

Install = Callable[..., PluginDist]
STARTUP = {"activation": ["onStartup"], "startup_reason": "this is a test"}
BASE = 'schema = 1\nid = "bad"\napi = ">=1.0,<2"\n'


class StartHost(Protocol):
    async def __call__(self, *installed: str, **options: Any) -> PluginHost: ...


# --- tools -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["missing.json", "../../secret.json", "a\0b"], ids=["missing", "outside", "nul"])
async def test_a_tool_whose_schema_cannot_be_used_rejects_its_plugin_at_the_start(
    start_host: StartHost, plugin_dist: Install, path: str
) -> None:
    """In a run it would be the fault of everybody, so it is found before."""
    announced = {"tools": [{"name": "bad.t", "input_schema": path}]}
    plugin_dist({"id": "bad", "hooks": {"provide_tools": {}}, "contributes": announced})

    host = await start_host("bad")

    peg = host.peg("bad")
    assert (peg.state, peg.reason) == ("rejected", "schema")
    assert isinstance(peg.refusal(), PluginManifestError)
    assert "bad.t" not in host.tools()


class Broken:
    """A tool that cannot tell its schema."""

    name = "bad.t"
    description = ""
    output_schema = None

    @property
    def input_schema(self) -> Any:
        raise ValueError("broken")


@pytest.mark.parametrize("given", [Broken(), 1, tool(name="x y")(print), tool(name="x" * 65)(print)])
async def test_what_is_no_tool_is_refused_with_the_plugins_name(start_host: StartHost, given: Any) -> None:
    """Garbage, a property that raises, a name that no model can call."""

    class Giver:
        @hookimpl
        def provide_tools(self) -> list[Any]:
            return [given]

    host = await start_host(plugins=[Giver])

    assert isinstance(host.peg("giver").error, PluginContributionsError)
    assert "`giver`" in str(host.peg("giver").error)
    assert host.tools() == {}


@pytest.mark.parametrize("name", sorted(TOOLS))
async def test_names_of_cores_own_tools_are_taken(start_host: StartHost, name: str) -> None:
    """Else a plugin could answer for the agent."""

    class Thief:
        @hookimpl
        def provide_tools(self) -> list[Any]:
            return [tool(name=name)(print)]

    host = await start_host(plugins=[Thief])

    assert isinstance(host.peg("thief").error, PluginCollisionError)


# --- import and end --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio\nraise asyncio.CancelledError()",
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
        "from pegboard import PegboardError\nclass E(PegboardError):\n    def __init__(self): pass\nraise E",
        "import asyncio\nclass Plugin:\n    async def activate(self, ctx): raise asyncio.CancelledError()",
    ],
    ids=["cancelled", "interrupt", "generator", "mute", "empty", "cancelled-activate"],
)
async def test_whatever_an_import_raises_sidelines_the_plugin(
    start_host: StartHost, plugin_dist: Install, code: str
) -> None:
    """A thread never gets a real Ctrl-C, and nobody cancelled anything."""
    plugin_dist({"id": "bad", **STARTUP}, {"plugin.py": code})

    host = await start_host("bad")

    assert host.state("bad") == "quarantined"


async def test_undo_functions_cannot_end_or_hang_the_host(
    start_host: StartHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SystemExit` is a fault of the plugin, and one that blocks is left behind; the others run."""
    monkeypatch.setattr(loading, "DEACTIVATE_WITHIN_S", 0.05)
    undone: list[str] = []
    go = threading.Event()

    def leave() -> None:
        raise SystemExit(3)

    class Bad:
        def activate(self, ctx: Any) -> None:
            ctx.undo(lambda: undone.append("first"))
            ctx.undo(leave)
            ctx.undo(go.wait)

    host = await start_host(plugins=[Bad])
    await host.disable("bad")
    go.set()

    assert undone == ["first"]
    assert [fault.record.hook for fault in host.faults.kept] == ["undo", "undo"]


async def test_a_start_that_was_interrupted_blames_nobody(start_host: StartHost, plugin_dist: Install) -> None:
    """Ctrl-C while a plugin is activated says nothing about it."""
    plugin_dist({"id": "slow", **STARTUP})

    host = PluginHost(autoload=True)

    async def interrupted(peg: Any) -> None:
        raise KeyboardInterrupt

    host._activator.activate = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await host.start()

    assert StateFile().read().data["starts"] == {}


def test_only_deaths_of_one_plugin_count_together(tmp_path: Path) -> None:
    """Two starts that died in different plugins have no culprit."""
    file = StateFile(str(tmp_path / "plugins.json"))
    for plugin in ("a", "b"):
        active = {"active": {"pid": 0, "plugin": plugin}}
        file.update(partial(lambda new, tables: tables["starts"].update(new), active))

    assert file.read().failed_starts == 1


# --- files that somebody else wrote -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["[a" + ".a" * 20000 + "]\n", "x = " + "9" * 5000 + "\n", "x = 0x" + "f" * 5000 + "\n"],
    ids=["deep", "digits", "hexadecimal"],
)
def test_what_cannot_be_handled_is_refused_while_reading(text: str, tmp_path: Path) -> None:
    """In a manifest and in a project's settings: everything behind could fail over it."""
    with pytest.raises(manifest.ManifestFault):
        manifest.parse((BASE + text).encode())

    (tmp_path / ".pegboard").mkdir()
    (tmp_path / ".pegboard" / "config.toml").write_text(text)
    with pytest.raises(ConfigError):
        config.load(tmp_path, environ={})


@pytest.mark.parametrize("sign", ["\\u001b[31m", "\\u202e", "\\u0007"])
def test_a_manifest_without_what_could_fool_a_terminal(sign: str) -> None:
    """Its texts are shown in lists."""
    with pytest.raises(manifest.ManifestFault, match="control character"):
        manifest.parse(f'{BASE}summary = "a{sign}b"\n'.encode())


def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Neither the state nor the settings."""
    import os

    (tmp_path / ".pegboard").mkdir()
    for name in ("plugins.json", "config.toml"):
        os.mkfifo(tmp_path / ".pegboard" / name)

    assert "no ordinary file" in str(StateFile(str(tmp_path / ".pegboard" / "plugins.json")).read().fault)
    with pytest.raises(ConfigError, match="no ordinary file"):
        config.load(tmp_path, environ={})


@pytest.mark.parametrize("starts", [{"active": {"pid": 10**30, "plugin": "a"}}, {"died": "x"}], ids=["pid", "died"])
def test_a_state_with_odd_values_is_read(tmp_path: Path, starts: dict[str, Any]) -> None:
    """The commands that repair things stand on it."""
    import json

    path = tmp_path / "plugins.json"
    grants = {"a": {"dist": "d", "permissions": 5}}
    path.write_text(json.dumps({"starts": starts, "grants": grants, "plugins": {"a": {"claims": 5}}}))

    found = StateFile(str(path)).read()

    assert found.grant("a") == {"dist": "d", "permissions": {}}
    assert not found.holds("a", "tool:x")
