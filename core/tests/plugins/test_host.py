"""The plugin host: starting, activating at the first use, isolating, switching off."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest
from pegboard import Event, Tool, hookimpl, tool
from pegboard.cli.inventory import Inventory
from pegboard.config import load as load_config
from pegboard.errors import (
    ConfigError,
    PegboardError,
    PluginCollisionError,
    PluginConsentError,
    PluginContributionsError,
    PluginCycleError,
    PluginKindError,
    PluginLoadError,
    PluginManifestError,
    PluginNotFoundError,
    PluginRequiresError,
    PluginTimeoutError,
    ToolNotFoundError,
)
from pegboard.plugins.discovery.state import StateFile
from pegboard.plugins.host import PluginHost
from pegboard.plugins.packages import lockfile
from pegboard.types import Deny, PluginCandidate
from pegboard_testing import FakeClock, PluginDist

Install = Callable[..., PluginDist]


class StartHost(Protocol):
    async def __call__(self, *installed: str, **options: Any) -> PluginHost: ...


TOOL_PLUGIN = """
from pegboard import hookimpl, tool

@tool(name="demo.add", effect="pure", inline=True)
def add(a: int, b: int) -> int:
    '''Add.'''
    return a + b

class Plugin:
    @hookimpl
    def provide_tools(self):
        return [add]
"""
TOOL_MANIFEST = {
    "id": "demo",
    "hooks": {"provide_tools": {}},
    "contributes": {"tools": [{"name": "demo.add", "description": "Add.", "effect": "pure"}]},
}
STARTUP = {"activation": ["onStartup"], "startup_reason": "this is a test"}


def event() -> Event:
    return Event(id="r.0", run="r", seq=0, kind="run.started", at=0.0)


# --- plugins of the host program -------------------------------------------------------------------------------------


async def test_given_plugins_are_active_after_the_start(start_host: StartHost) -> None:
    """Objects and classes are taken; the id comes from an attribute, else from the class."""

    class Quiet:
        pass

    class Named:
        plugin_id = "renamed"

    host = await start_host(plugins=[Quiet, Named()])

    assert [(peg.id, peg.state) for peg in host.records()] == [("quiet", "active"), ("renamed", "active")]


async def test_two_given_plugins_with_one_id_are_refused() -> None:
    """The host program can mend that at once, so it is told at once."""

    class Twin:
        pass

    with pytest.raises(PluginCollisionError, match="twin"):
        PluginHost([Twin(), Twin()])


async def test_activate_and_deactivate_are_called_with_the_context(start_host: StartHost) -> None:
    """Undo functions run after `deactivate`, newest first."""
    seen: list[str] = []

    class Careful:
        def activate(self, ctx: Any) -> None:
            seen.append(f"activate {ctx.plugin}")
            ctx.undo(lambda: seen.append("undo 1"))
            ctx.undo(lambda: seen.append("undo 2"))

        async def deactivate(self, ctx: Any) -> None:
            seen.append(f"deactivate {ctx.plugin}")

    host = await start_host(plugins=[Careful])
    await host.stop()

    assert seen == ["activate careful", "deactivate careful", "undo 2", "undo 1"]


async def test_the_board_tells_of_its_start_and_stop(start_host: StartHost) -> None:
    """`board_started` after the first activations, `board_stopping` before the plugins go."""
    seen: list[str] = []

    class Watcher:
        @hookimpl
        def board_started(self, ctx: Any) -> None:
            seen.append(f"started {ctx.plugin}")

        @hookimpl
        def board_stopping(self) -> None:
            seen.append("stopping")

        def deactivate(self, ctx: Any) -> None:
            seen.append("deactivate")

    host = await start_host(plugins=[Watcher])
    await host.stop()

    assert seen == ["started watcher", "stopping", "deactivate"]


async def test_stopping_twice_is_harmless(start_host: StartHost) -> None:
    """The second time does nothing."""
    host = await start_host(plugins=[])
    await host.stop()
    await host.stop()


# --- lazy activation -------------------------------------------------------------------------------------------------


async def test_an_installed_plugin_is_not_imported_at_the_start(start_host: StartHost, plugin_dist: Install) -> None:
    """It is ready: its tools are known from the manifest, and no code of it has run."""
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})

    host = await start_host("demo")

    assert host.state("demo") == "ready"
    assert list(host.tools()) == ["demo.add"]
    assert host.tools()["demo.add"].description == "Add."
    assert not [name for name in sys.modules if name.startswith("pegboard_demo")]


async def test_asking_for_a_tool_activates_its_plugin(start_host: StartHost, plugin_dist: Install) -> None:
    """The real tool replaces the announced one."""
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})
    host = await start_host("demo")

    found = await host.tool("demo.add")

    assert host.state("demo") == "active"
    assert host.tools()["demo.add"] is found
    assert set(found.input_schema["properties"]) == {"a", "b"}


async def test_calling_an_announced_tool_activates_its_plugin(start_host: StartHost, plugin_dist: Install) -> None:
    """A proxy calls the real tool, which checks the arguments itself."""
    from pegboard.tools import DirectToolContext
    from pegboard.types import ToolCall

    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})
    host = await start_host("demo")
    call = ToolCall(id="c", name="demo.add", arguments={"a": 2, "b": "3"})

    result = await host.tools()["demo.add"].execute(call.arguments, DirectToolContext(call))

    assert (result.text, host.state("demo")) == ("5", "active")


async def test_the_first_call_of_a_listed_hook_activates_the_plugin(
    start_host: StartHost, plugin_dist: Install
) -> None:
    """The very call that activates it reaches it."""
    code = """
from pegboard import hookimpl

class Plugin:
    @hookimpl
    def next_phase(self, proposed):
        return proposed + "!"
"""
    plugin_dist({"id": "demo", "hooks": {"next_phase": {}}}, {"plugin.py": code})
    host = await start_host("demo")
    assert host.hooks.next_phase is not None

    answer = await host.hooks.next_phase(None, None, "idle")  # type: ignore[arg-type]

    assert (answer, host.state("demo")) == ("idle!", "active")


async def test_a_hook_that_activation_leaves_out_waits(start_host: StartHost, plugin_dist: Install) -> None:
    """With `activation`, only what it names activates the plugin; other hooks are empty until then."""
    manifest = {"id": "demo", "hooks": {"next_phase": {}}, "activation": ["onTool:demo.*"]}
    plugin_dist(manifest)

    host = await start_host("demo")

    assert host.hooks.next_phase is None


async def test_a_guard_is_always_asked(start_host: StartHost, plugin_dist: Install) -> None:
    """A gate counts from the start, whatever `activation` says; leaving it out would open it."""
    plugin_dist({"id": "demo", "hooks": {"authorize": {}}, "activation": ["onTool:demo.*"]})

    host = await start_host("demo")

    assert host.hooks.authorize is not None


async def test_only_listed_hooks_are_registered(start_host: StartHost, plugin_dist: Install) -> None:
    """What the manifest does not list does not count, although the code has it."""
    code = """
from pegboard import hookimpl

class Plugin:
    @hookimpl
    def next_phase(self, proposed):
        return "taken"
    @hookimpl
    def recover(self, failure):
        return None
"""
    plugin_dist({"id": "demo", "hooks": {"recover": {}}, **STARTUP}, {"plugin.py": code})

    host = await start_host("demo")

    assert host.dispatcher.plugins_of("recover") == ("demo",)
    assert host.hooks.next_phase is None


async def test_a_plugin_that_watches_events_is_active_at_the_start(start_host: StartHost, plugin_dist: Install) -> None:
    """`on_event` cannot wait for an import."""
    code = """
from pegboard import hookimpl
seen = []

class Plugin:
    @hookimpl
    def on_event(self, event):
        seen.append(event.kind)
"""
    plugin_dist({"id": "demo", "hooks": {"on_event": {}}}, {"plugin.py": code})
    host = await start_host("demo")
    assert host.hooks.on_event is not None

    host.hooks.on_event(event())

    assert sys.modules["pegboard_demo.plugin"].seen == ["run.started"]


async def test_a_plugin_that_activates_late_hears_of_the_start(start_host: StartHost, plugin_dist: Install) -> None:
    """`board_started` is repeated for it."""
    code = (
        TOOL_PLUGIN
        + """
    started = False
    @hookimpl
    def board_started(self):
        type(self).started = True
"""
    )
    plugin_dist(
        {**TOOL_MANIFEST, "hooks": {"provide_tools": {}, "board_started": {}}},
        {"plugin.py": code},
    )
    host = await start_host("demo")
    assert host.state("demo") == "ready"

    await host.activate("demo")

    assert sys.modules["pegboard_demo.plugin"].Plugin.started


async def test_a_plugin_without_a_manifest_is_loaded_at_the_start(start_host: StartHost, plugin_dist: Install) -> None:
    """Nothing is known of it but what its code says."""
    plugin_dist(
        None,
        {"__init__.py": "from pegboard import hookimpl\n\n@hookimpl\ndef next_phase(proposed):\n    return 'mine'\n"},
        plugin="demo",
    )

    host = await start_host("demo")

    assert host.state("demo") == "active"
    assert host.dispatcher.plugins_of("next_phase") == ("demo",)


async def test_many_callers_share_one_activation(start_host: StartHost, plugin_dist: Install) -> None:
    """The module is imported once, and `activate` called once."""
    code = TOOL_PLUGIN + "\n    count = 0\n    async def activate(self, ctx):\n        type(self).count += 1\n"
    plugin_dist(TOOL_MANIFEST, {"plugin.py": code})
    host = await start_host("demo")

    await asyncio.gather(*(host.activate("demo") for _ in range(5)))

    assert sys.modules["pegboard_demo.plugin"].Plugin.count == 1


async def test_an_absent_optional_import_degrades(start_host: StartHost, plugin_dist: Install) -> None:
    """The plugin works; what is missing and how to get it is said."""
    plugin_dist({"id": "demo", "optional_imports": {"not_there": "not-there>=1"}, **STARTUP})

    host = await start_host("demo")

    peg = host.peg("demo")
    assert (peg.state, peg.message) == ("degraded", "without the optional `not_there`")
    assert peg.hint == "pip install 'not-there>=1'"


async def test_a_plugin_given_by_path_is_used(start_host: StartHost, tmp_path: Path) -> None:
    """A folder with a `pegboard.toml` needs no installation."""
    folder = tmp_path / "project" / "pegboard_local_demo"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "plugin.py").write_text(TOOL_PLUGIN)
    (folder / "pegboard.toml").write_text(
        'schema = 1\nid = "demo"\napi = ">=1.0"\nentry = "pegboard_local_demo.plugin:Plugin"\n'
        '[hooks.provide_tools]\n[[contributes.tools]]\nname = "demo.add"\n'
    )
    host = await start_host(folders=[tmp_path / "project"])

    assert isinstance(await host.tool("demo.add"), Tool)


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError('no pygit')", "no pygit"),
        ("def f(:", "invalid syntax"),
        ("raise SystemExit(3)", "3"),
        ("raise BaseException('odd')", "odd"),
        ("x = 1", "no attribute 'Plugin'"),
        ("class Plugin:\n    def __init__(self): raise ValueError('bad')", "bad"),
        ("class Plugin:\n    def activate(self, ctx): raise SystemExit('gone')", "gone"),
        ("class Plugin:\n    async def activate(self, ctx): raise SystemExit('gone')", "gone"),
        ("class Plugin:\n    def activate(self): pass", "positional argument"),
    ],
    ids=["import", "syntax", "exit", "base", "missing", "init", "activate", "async-activate", "signature"],
)
async def test_a_plugin_that_cannot_be_loaded_is_sidelined_alone(
    start_host: StartHost, plugin_dist: Install, code: str, words: str
) -> None:
    """The start goes on, the others work, and the culprit is named with distribution, version and what to type."""
    plugin_dist({"id": "bad", **STARTUP}, {"plugin.py": code}, version="0.3.1")
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})

    host = await start_host("bad", "demo")

    assert isinstance(await host.tool("demo.add"), Tool)
    [failed] = host.failed
    assert (failed.id, failed.state) == ("bad", "quarantined")
    assert isinstance(failed.error, PluginLoadError)
    assert words in failed.error.message
    assert "bad` (pegboard-bad 0.3.1)" in failed.error.message
    assert failed.error.hint == "peg plugins disable bad"
    assert [fault.record.plugin for fault in host.faults.kept] == ["bad"]


async def test_an_entry_that_does_not_exist_is_a_load_error(start_host: StartHost, plugin_dist: Install) -> None:
    """A manifest that points at a module that is not there."""
    plugin_dist({"id": "demo", "entry": "pegboard_demo.nowhere:Plugin"})
    host = await start_host("demo")

    with pytest.raises(PluginLoadError, match="nowhere"):
        await host.activate("demo")


async def test_a_failed_activation_is_raised_to_whoever_needed_it(start_host: StartHost, plugin_dist: Install) -> None:
    """Also the second time, without another attempt."""
    code = "attempts = []\nattempts.append(1)\nraise ImportError('no pygit')"
    plugin_dist(TOOL_MANIFEST, {"plugin.py": code})
    host = await start_host("demo")

    for _ in range(2):
        with pytest.raises(PluginLoadError, match="no pygit"):
            await host.tool("demo.add")
    assert (host.state("demo"), dict(host.tools())) == ("quarantined", {})


async def test_an_import_that_hangs_is_abandoned(
    start_host: StartHost, plugin_dist: Install, fake_clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning after 2 s, an end after 30 s; its thread is left behind and the others are not kept waiting."""
    plugin_dist({"id": "slow"}, {"plugin.py": "import threading\nthreading.Event().wait()"})
    host = await start_host("slow", clock=fake_clock)
    waiting = asyncio.create_task(host.activate("slow"))

    await fake_clock.sleeping()
    fake_clock.advance(2)
    await fake_clock.sleeping()
    assert "takes long" in caplog.text
    fake_clock.advance(28)

    with pytest.raises(PluginTimeoutError, match="did not finish within 30 s") as caught:
        await waiting
    assert caught.value.hint == "peg plugins disable slow"
    assert host.state("slow") == "quarantined"


async def test_a_hanging_plugin_is_not_tried_again_at_the_next_start(
    start_host: StartHost, plugin_dist: Install, fake_clock: FakeClock
) -> None:
    """It stays in quarantine until it is upgraded or let out."""
    code = {"plugin.py": "import threading\nthreading.Event().wait()"}
    made = plugin_dist({"id": "slow"}, code)
    host = await start_host("slow", clock=fake_clock)
    waiting = asyncio.create_task(host.activate("slow"))
    for seconds in (2, 28):
        await fake_clock.sleeping()
        fake_clock.advance(seconds)
    with pytest.raises(PluginTimeoutError):
        await waiting

    again = await start_host("slow")
    assert again.state("slow") == "quarantined"
    made.remove()
    plugin_dist({"id": "slow"}, code, version="2.0")
    upgraded = await start_host("slow")
    assert upgraded.state("slow") == "ready"


async def test_an_async_activation_that_hangs_is_abandoned(start_host: StartHost, fake_clock: FakeClock) -> None:
    """The limit holds for `async def activate` as well."""

    class Slow:
        async def activate(self, ctx: Any) -> None:
            await asyncio.Event().wait()

    starting = asyncio.create_task(start_host(plugins=[Slow], clock=fake_clock))
    for seconds in (2, 28):
        await fake_clock.sleeping()
        fake_clock.advance(seconds)
    host = await starting

    assert isinstance(host.peg("slow").error, PluginTimeoutError)


async def test_a_deactivation_that_hangs_is_abandoned(start_host: StartHost, fake_clock: FakeClock) -> None:
    """5 s, then the undo functions run all the same."""
    undone: list[bool] = []

    class Slow:
        def activate(self, ctx: Any) -> None:
            ctx.undo(lambda: undone.append(True))

        async def deactivate(self, ctx: Any) -> None:
            await asyncio.Event().wait()

    host = await start_host(plugins=[Slow], clock=fake_clock)
    stopping = asyncio.create_task(host.disable("slow"))
    for seconds in (2, 3):
        await fake_clock.sleeping()
        fake_clock.advance(seconds)
    await stopping

    assert undone == [True]
    assert [fault.record.hook for fault in host.faults.kept] == ["deactivate"]


async def test_a_hook_that_breaks_its_kind_rejects_the_plugin(start_host: StartHost, plugin_dist: Install) -> None:
    """The reason is `kind`."""
    code = "from pegboard import hookimpl\n\nclass Plugin:\n    @hookimpl\n    def tool_call(self, call): return call\n"
    plugin_dist({"id": "demo", "hooks": {"tool_call": {}}, **STARTUP}, {"plugin.py": code})

    host = await start_host("demo")

    peg = host.peg("demo")
    assert (peg.state, peg.reason) == ("rejected", "kind")
    assert isinstance(peg.error, PluginKindError)


async def test_a_listed_hook_without_an_implementation_rejects_the_plugin(
    start_host: StartHost, plugin_dist: Install
) -> None:
    """A gate that the manifest promises and the code lacks would be missing unseen."""
    plugin_dist({"id": "demo", "hooks": {"authorize": {}}, **STARTUP})

    host = await start_host("demo")

    assert (host.state("demo"), host.peg("demo").reason) == ("rejected", "kind")


@pytest.mark.parametrize(
    ("listed", "words"),
    [(["demo.add", "demo.sub"], "does not give `demo.sub`"), (["demo.sub"], "does not give `demo.sub`")],
    ids=["missing", "other"],
)
async def test_tools_must_be_those_of_the_manifest(
    start_host: StartHost, plugin_dist: Install, listed: Sequence[str], words: str
) -> None:
    """What was announced and what is given differ: the plugin is sidelined."""
    manifest = {**TOOL_MANIFEST, "contributes": {"tools": [{"name": name} for name in listed]}}
    plugin_dist(manifest, {"plugin.py": TOOL_PLUGIN})
    host = await start_host("demo")

    with pytest.raises(PluginContributionsError, match=words):
        await host.activate("demo")
    assert host.dispatcher.plugins_of("provide_tools") == ()


async def test_an_unlisted_tool_is_refused(start_host: StartHost, plugin_dist: Install) -> None:
    """A manifest that lists tools lists all of them."""
    code = (
        TOOL_PLUGIN.replace("return [add]", "return [add, other]") + "\n\n@tool(name='x')\ndef other() -> None: ...\n"
    )
    plugin_dist(TOOL_MANIFEST, {"plugin.py": code})
    host = await start_host("demo")

    with pytest.raises(PluginContributionsError, match="gives, unlisted, `x`"):
        await host.activate("demo")


async def test_a_tool_name_that_is_taken_rejects_the_newcomer(start_host: StartHost) -> None:
    """The incumbent keeps it, and the message names both."""

    @tool(name="add")
    def add(a: int) -> int:
        return a

    class First:
        @hookimpl
        def provide_tools(self) -> list[Any]:
            return [add]

    class Second(First):
        pass

    host = await start_host(plugins=[First, Second])

    peg = host.peg("second")
    assert (peg.state, peg.reason) == ("rejected", "collision")
    assert isinstance(peg.error, PluginCollisionError)
    assert "`second`" in peg.message
    assert "`first`" in peg.message
    assert host.owner("tool", "add") == "first"


async def test_strict_raises_what_would_be_isolated(start_host: StartHost) -> None:
    """For tests."""

    class Bad:
        def activate(self, ctx: Any) -> None:
            raise ValueError("bad")

    with pytest.raises(PluginLoadError, match="bad"):
        await start_host(plugins=[Bad], strict=True)


async def test_a_plugin_that_needs_itself_is_a_cycle(start_host: StartHost) -> None:
    """A re-entrant activation is reported instead of waiting for ever."""

    class Circular:
        host: PluginHost

        async def activate(self, ctx: Any) -> None:
            await self.host.activate("circular")

    plugin = Circular()
    host = PluginHost([plugin])
    plugin.host = host
    async with asyncio.timeout(5):
        await host.start()

    assert isinstance(host.peg("circular").error, PluginCycleError)
    await host.stop()


async def test_two_plugins_that_wait_for_each_other_are_a_cycle(start_host: StartHost, plugin_dist: Install) -> None:
    """Also when their activations began independently."""
    hosts: list[PluginHost] = []
    meet = asyncio.Barrier(2)

    class Waiting:
        def __init__(self, name: str, other: str) -> None:
            self.plugin_id, self.other = name, other
            self.armed = False

        async def activate(self, ctx: Any) -> None:
            if self.armed:
                await meet.wait()
                await hosts[0].activate(self.other)

    one, two = Waiting("one", "two"), Waiting("two", "one")
    host = await start_host(plugins=[one, two])
    hosts.append(host)
    for plugin in (one, two):
        await host.disable(plugin.plugin_id)
        plugin.armed = True

    async with asyncio.timeout(5):
        results = await asyncio.gather(
            host.activate("one", force=True), host.activate("two", force=True), return_exceptions=True
        )

    assert any(isinstance(result, PluginCycleError) for result in results)


# --- requirements and admission --------------------------------------------------------------------------------------


async def test_what_is_required_is_activated_first(start_host: StartHost, plugin_dist: Install) -> None:
    """And only then the plugin that requires it."""
    plugin_dist({"id": "base"}, {"plugin.py": "class Plugin: pass"})
    plugin_dist({"id": "demo", "requires": ["base>=1"]})
    host = await start_host("base", "demo")

    await host.activate("demo")

    assert (host.state("base"), host.state("demo")) == ("active", "active")


async def test_a_required_plugin_that_fails_takes_its_dependants_along(
    start_host: StartHost, plugin_dist: Install
) -> None:
    """They are rejected with the reason, and not imported."""
    plugin_dist({"id": "base"}, {"plugin.py": "raise ImportError('broken base')"})
    plugin_dist({"id": "demo", "requires": ["base"]})
    host = await start_host("base", "demo")

    with pytest.raises(PluginRequiresError, match="broken base"):
        await host.activate("demo")
    assert "pegboard_demo.plugin" not in sys.modules


async def test_a_plugin_that_is_not_admitted_is_not_imported(start_host: StartHost, plugin_dist: Install) -> None:
    """`admit_plugin` is asked before any code of the distribution runs."""

    class Guard:
        @hookimpl
        def admit_plugin(self, candidate: PluginCandidate) -> Deny | None:
            return Deny("no stranger") if candidate.dist == "pegboard-demo" else None

    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})
    host = await start_host("demo", plugins=[Guard])

    with pytest.raises(PluginConsentError, match="no stranger"):
        await host.activate("demo")
    assert host.state("demo") == "blocked"
    assert "pegboard_demo" not in sys.modules


# --- configuration ---------------------------------------------------------------------------------------------------


async def test_settings_are_validated_before_the_import(start_host: StartHost, plugin_dist: Install) -> None:
    """A wrong setting is a message about the option, and no code of the plugin runs."""
    schema = {"type": "object", "properties": {"size": {"type": "integer"}}, "additionalProperties": False}
    plugin_dist({"id": "demo", "config": {"schema": "schema.json"}}, {"schema.json": __import__("json").dumps(schema)})
    config = load_config(host={"plugins": {"demo": {"size": "big"}}}, environ={})
    host = await start_host("demo", config=config)

    with pytest.raises(ConfigError, match='plugin "demo", option "size"'):
        await host.activate("demo")
    assert "pegboard_demo" not in sys.modules


async def test_a_plugin_gets_its_settings_with_defaults(start_host: StartHost, plugin_dist: Install) -> None:
    """From the schema in the package and the configuration."""
    schema = {"type": "object", "properties": {"size": {"type": "integer", "default": 3}, "name": {"type": "string"}}}
    plugin_dist({"id": "demo", "config": {"schema": schema}})
    config = load_config(host={"plugins": {"demo": {"name": "x"}}}, environ={})

    host = await start_host("demo", config=config)

    assert host.context("demo").config == {"name": "x", "size": 3}


@pytest.mark.parametrize("path", ["missing.json", "../../secret.json", "__init__.py"])
async def test_an_unusable_schema_is_the_plugins_fault(
    start_host: StartHost, plugin_dist: Install, path: str, tmp_path: Path
) -> None:
    """Missing, outside the package, or no JSON."""
    (tmp_path / "secret.json").write_text("{}")
    plugin_dist({"id": "demo", "config": {"schema": path}})
    host = await start_host("demo")

    with pytest.raises(PluginManifestError, match="its schema"):
        await host.activate("demo")


async def test_a_required_hook_without_a_plugin_stops_the_start(start_host: StartHost) -> None:
    """The operator said so."""
    config = load_config(host={"required_hooks": ["audit"]}, environ={})

    with pytest.raises(ConfigError, match="`audit`"):
        await start_host(config=config)


async def test_third_party_plugins_are_not_run_here_when_the_operator_forbids_it(
    start_host: StartHost, plugin_dist: Install
) -> None:
    """Without a runtime for processes that is a refusal, never a silent in-process run."""
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})
    host = await start_host("demo", config=load_config(host={"third_party_runtime": "subprocess"}, environ={}))

    with pytest.raises(PluginRequiresError, match="process of its own"):
        await host.activate("demo")
    assert "pegboard_demo" not in sys.modules


# --- switches --------------------------------------------------------------------------------------------------------


async def test_a_disabled_plugin_is_gone_until_it_is_enabled(start_host: StartHost, plugin_dist: Install) -> None:
    """Hooks and tools go; enabling makes it ready again."""
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})
    host = await start_host("demo")
    await host.activate("demo")

    await host.disable("demo")
    assert (host.state("demo"), dict(host.tools())) == ("disabled", {})
    with pytest.raises(ToolNotFoundError):
        await host.tool("demo.add")
    await host.enable("demo")

    assert host.state("demo") == "ready"
    assert isinstance(await host.tool("demo.add"), Tool)


async def test_a_plugin_that_is_switched_off_can_be_tried(start_host: StartHost, plugin_dist: Install) -> None:
    """`force` is for `enable --test`; without it the reason is raised."""
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})
    StateFile().disable("demo")
    host = await start_host("demo")

    with pytest.raises(PegboardError, match=r"disabled\(user\)"):
        await host.activate("demo")
    await host.activate("demo", force=True)

    assert host.state("demo") == "active"


async def test_every_change_of_state_is_told(start_host: StartHost, plugin_dist: Install) -> None:
    """The runtime makes events of it."""
    told: list[tuple[str, str, str]] = []
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})
    host = await start_host("demo", on_state=lambda plugin, old, new, reason: told.append((plugin, old, new)))

    await host.activate("demo")
    await host.disable("demo")

    assert told == [
        ("demo", "ready", "activating"),
        ("demo", "activating", "active"),
        ("demo", "active", "disabled"),
    ]


async def test_hooks_that_fail_again_and_again_quarantine_the_plugin(
    start_host: StartHost, plugin_dist: Install, fake_clock: FakeClock
) -> None:
    """Three openings of the breaker in a day: off, on the disk too, and its gates deny."""
    code = """
from pegboard import hookimpl

class Plugin:
    @hookimpl
    def next_phase(self): raise ValueError("again")
    @hookimpl
    def recover(self): raise ValueError("again")
    @hookimpl
    def route_message(self): raise ValueError("again")
    @hookimpl
    def authorize(self): return None
"""
    hooks: dict[str, Any] = {name: {} for name in ("next_phase", "recover", "route_message", "authorize")}
    plugin_dist({"id": "demo", "hooks": hooks, **STARTUP}, {"plugin.py": code})
    host = await start_host("demo", clock=fake_clock)

    for hook, arguments in (("next_phase", 3), ("recover", 2), ("route_message", 4)):
        for _ in range(3):
            await getattr(host.hooks, hook)(*([None] * arguments))
    await asyncio.wait(host._tasks)

    assert (host.state("demo"), host.peg("demo").reason) == ("quarantined", "breaker")
    assert StateFile().read().quarantine(host.peg("demo").record) is not None
    assert host.hooks.authorize is not None
    verdicts = await host.hooks.authorize(None, None)  # type: ignore[arg-type]
    assert isinstance(verdicts.verdict, Deny)


async def test_a_changed_manifest_asks_for_a_restart(start_host: StartHost, plugin_dist: Install) -> None:
    """Old code keeps running; that it does not fit the files any more is said."""
    made = plugin_dist({"id": "demo", **STARTUP})
    host = await start_host("demo")

    made.write("pegboard.toml", made.manifest.read_text() + "# changed\n")
    await host.before_run(live=1)

    assert host.state("demo") == "needs_restart"
    assert host.peg("demo").active


async def test_an_unknown_plugin_is_named_with_a_near_one(start_host: StartHost) -> None:
    """Ids are easily misspelt."""

    class Console:
        pass

    host = await start_host(plugins=[Console])

    with pytest.raises(PluginNotFoundError, match="did you mean `console`"):
        host.state("consol")


# --- a tool that cannot be offered -----------------------------------------------------------------------------------

SPOILT = """
from pegboard import hookimpl, tool

class Strange: ...

@tool(name="demo.bad", effect="pure")
def bad(value: Strange) -> int:
    '''Nobody can call it.'''
    return 1

@tool(name="demo.add", effect="pure")
def add(a: int, b: int) -> int:
    '''Add.'''
    return a + b

class Plugin:
    @hookimpl
    def provide_tools(self):
        return [bad, add]
"""
TWO_TOOLS = {
    **TOOL_MANIFEST,
    "contributes": {"tools": [{"name": name, "effect": "pure"} for name in ("demo.add", "demo.bad")]},
}


@pytest.mark.parametrize("listed", [True, False], ids=["in the manifest", "in code"])
async def test_a_function_without_a_schema_costs_only_itself(
    start_host: StartHost, plugin_dist: Install, caplog: pytest.LogCaptureFixture, listed: bool
) -> None:
    """It is not offered, which is said when the plugin gives it; the other tools of the plugin are offered."""
    plugin_dist(TWO_TOOLS if listed else {**TWO_TOOLS, "contributes": {}}, {"plugin.py": SPOILT})
    host = await start_host("demo")
    await host.activate("demo")

    peg = host.peg("demo")
    assert [name for name in host.tools() if name.startswith("demo.")] == ["demo.add"]
    assert (peg.state, peg.reason) == ("degraded", "tools")
    assert "of its tools, `demo.bad` cannot be used" in peg.message
    assert peg.message in caplog.text
    assert [(fault.record.hook, fault.record.plugin) for fault in host.faults.kept] == [("provide_tools", "demo")]


async def test_whoever_names_a_tool_without_a_schema_is_told_why(start_host: StartHost, plugin_dist: Install) -> None:
    """The reason says more than that there is no such tool; also the first time, when the plugin is not active yet."""
    plugin_dist(TWO_TOOLS, {"plugin.py": SPOILT})
    host = await start_host("demo")

    for _ in range(2):
        with pytest.raises(PluginContributionsError, match=r"`demo\.bad` cannot be used"):
            await host.tool("demo.bad")


# --- refreshing ------------------------------------------------------------------------------------------------------


async def test_refreshed_tools_replace_the_old_ones_at_a_turn_boundary(start_host: StartHost) -> None:
    """`ctx.refresh` only marks; what changed shows after `apply_refreshes`."""

    @tool(name="one")
    def one() -> None: ...

    @tool(name="two")
    def two() -> None: ...

    class Changing:
        tools: list[Any] = [one]

        def activate(self, ctx: Any) -> None:
            self.ctx = ctx

        @hookimpl
        def provide_tools(self) -> list[Any]:
            return self.tools

    plugin = Changing()
    host = await start_host(plugins=[plugin])
    plugin.tools = [two]
    plugin.ctx.refresh("tools")
    assert list(host.tools()) == ["one"]

    await host.apply_refreshes()

    assert list(host.tools()) == ["two"]
    assert not host.stale


# --- gates stay closed -----------------------------------------------------------------------------------------------

GATE = """
from pegboard import hookimpl

class Plugin:
    @hookimpl
    def authorize(self): return None
"""


async def test_the_gate_of_a_plugin_that_cannot_be_loaded_denies(start_host: StartHost, plugin_dist: Install) -> None:
    """Also of one that is activated at the start: a policy that is broken must not be a policy that is gone."""
    plugin_dist({"id": "demo", "hooks": {"authorize": {}}, **STARTUP}, {"plugin.py": "raise ImportError"})

    host = await start_host("demo")

    assert host.hooks.authorize is not None
    assert isinstance((await host.hooks.authorize(None, None)).verdict, Deny)  # type: ignore[arg-type]


async def test_the_gate_of_a_plugin_in_quarantine_denies(start_host: StartHost, plugin_dist: Install) -> None:
    """At the next start as well, until a person disables or mends it."""
    plugin_dist({"id": "demo", "hooks": {"authorize": {}}}, {"plugin.py": GATE})
    StateFile().put_in_quarantine((await start_host("demo")).peg("demo").record, "it hangs")

    host = await start_host("demo")
    assert host.hooks.authorize is not None
    assert isinstance((await host.hooks.authorize(None, None)).verdict, Deny)  # type: ignore[arg-type]

    await host.enable("demo")
    assert (await host.hooks.authorize(None, None)).verdict is None  # type: ignore[arg-type]


async def test_the_gate_of_a_disabled_plugin_is_gone(start_host: StartHost, plugin_dist: Install) -> None:
    """A person said so."""
    plugin_dist({"id": "demo", "hooks": {"authorize": {}}}, {"plugin.py": GATE})
    host = await start_host("demo")

    await host.disable("demo")

    assert host.hooks.authorize is None


# --- other look-ups --------------------------------------------------------------------------------------------------

OFFERS = """
from pegboard import Agent, hookimpl

class Notes:
    name = "demo.notes"
    description = "Notes"
    def tools(self): return []

class Plugin:
    @hookimpl
    async def provide_agents(self):
        return [Agent("demo-agent")]
    @hookimpl
    def provide_modules(self):
        return [Notes()]
"""


async def test_agents_and_modules_are_known_before_and_made_at_their_use(
    start_host: StartHost, plugin_dist: Install
) -> None:
    """By the names in the manifest."""
    contributes = {"agents": [{"name": "demo-agent"}], "modules": [{"name": "demo.notes"}]}
    hooks: dict[str, Any] = {"provide_agents": {}, "provide_modules": {}}
    plugin_dist({"id": "demo", "hooks": hooks, "contributes": contributes}, {"plugin.py": OFFERS})
    host = await start_host("demo")
    assert (host.agents(), host.owner("agent", "demo-agent")) == ({"demo-agent": "demo"}, "demo")
    assert host.state("demo") == "ready"

    assert (await host.agent("demo-agent")).name == "demo-agent"
    assert list(await host.modules()) == ["demo.notes"]


async def test_a_plugin_that_does_not_name_its_tools_is_active_at_the_start(
    start_host: StartHost, plugin_dist: Install
) -> None:
    """Nobody could know else that they are there."""
    plugin_dist({"id": "demo", "hooks": {"provide_tools": {}}}, {"plugin.py": TOOL_PLUGIN})

    host = await start_host("demo")

    assert (list(host.tools()), host.state("demo")) == (["demo.add"], "active")


async def test_an_unknown_tool_has_a_near_name(start_host: StartHost, plugin_dist: Install) -> None:
    """Of all that are offered."""
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})
    host = await start_host("demo")

    with pytest.raises(ToolNotFoundError, match=r"did you mean `demo\.add`"):
        await host.tool("demo.ad")


async def test_a_start_that_fails_leaves_nothing_active(start_host: StartHost) -> None:
    """What was activated until then is deactivated."""
    seen: list[str] = []

    class Careful:
        def deactivate(self, ctx: Any) -> None:
            seen.append("deactivate")

    with pytest.raises(ConfigError):
        await start_host(plugins=[Careful], config=load_config(host={"required_hooks": ["audit"]}, environ={}))

    assert seen == ["deactivate"]


async def test_an_activation_under_way_is_given_up_at_the_stop(start_host: StartHost, fake_clock: FakeClock) -> None:
    """And leaves nothing active behind."""

    class Slow:
        async def activate(self, ctx: Any) -> None:
            if armed:
                await asyncio.Event().wait()

    armed = False
    host = await start_host(plugins=[Slow], clock=fake_clock)
    await host.disable("slow")
    armed = True
    waiting = asyncio.create_task(host.activate("slow", force=True))
    await fake_clock.sleeping()

    await host.stop()

    assert (await asyncio.gather(waiting, return_exceptions=True))[0] is not None
    assert host.state("slow") == "ready"


async def test_faults_are_told_and_a_listener_that_fails_is_no_fault(start_host: StartHost) -> None:
    """Whoever listens must not disturb the dispatch."""

    class Bad:
        @hookimpl
        def next_phase(self) -> str:
            raise ValueError("bad")

    def listen(record: Any, error: BaseException) -> None:
        raise RuntimeError("the listener is broken")

    host = await start_host(plugins=[Bad], on_fault=listen)
    assert host.hooks.next_phase is not None

    await host.hooks.next_phase(None, None, "idle")  # type: ignore[arg-type]

    assert [(fault.record.plugin, str(fault.error)) for fault in host.faults.kept] == [("bad", "bad")]


async def test_a_manifest_of_a_given_object_is_judged(start_host: StartHost) -> None:
    """It may have one, for permissions and settings; a wrong one is told at once."""

    class Wrong:
        manifest: ClassVar[dict[str, object]] = {"hooks": {"tool_cal": {}}}

    with pytest.raises(PluginManifestError, match="did you mean `tool_call`"):
        PluginHost([Wrong])


# --- the digest of the plugin set ------------------------------------------------------------------------------------


def locked() -> str:
    """What `peg plugins lock` writes."""
    found = lockfile.plugin_set(Inventory().selection.ready.values())["digest"]
    assert isinstance(found, str)
    return found


async def test_digest_is_that_of_the_lock(start_host: StartHost, plugin_dist: Install) -> None:
    """A run records what `peg plugins lock` would write; what the host program gives is its own affair."""
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})

    class Given:
        pass

    host = await start_host("demo", plugins=[Given])
    before = host.digest()
    await host.activate("demo")

    assert before == host.digest() == locked()


async def test_versions_tell_two_builds_apart(start_host: StartHost, plugin_dist: Install) -> None:
    """A plugin whose files changed under the same version is another one."""
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})
    before = (await start_host("demo")).versions()
    plugin_dist({**TOOL_MANIFEST, "summary": "Another one"}, {"plugin.py": TOOL_PLUGIN})
    after = (await start_host("demo")).versions()

    assert [found["demo"].split()[0] for found in (before, after)] == ["1.0.0"] * 2
    assert before["demo"] != after["demo"]


async def test_digest_is_another_without_a_plugin(start_host: StartHost, plugin_dist: Install) -> None:
    """A plugin that is switched off, or failed, is not part of the set."""
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})
    host = await start_host("demo")
    before = host.digest()

    await host.disable("demo")
    without = host.digest()
    await host.enable("demo")

    assert without != before
    assert host.digest() == before


async def test_digest_is_computed_once_for_a_set(
    start_host: StartHost, plugin_dist: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run asks for it."""
    plugin_dist(TOOL_MANIFEST, {"plugin.py": TOOL_PLUGIN})
    host = await start_host("demo")
    before = host.digest()
    monkeypatch.setattr(lockfile, "plugin_set", None)

    assert host.digest() == before
