"""What is accepted as an implementation, and what is refused before it can do harm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy
import pytest
from pegboard.errors import PluginCollisionError, PluginKindError
from pegboard.hookspecs import ImplOptions, hookimpl

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench


def plain() -> None:
    """A plain function."""


async def asynchronous() -> None:
    """An async function."""


async def generator() -> Any:
    yield 1


def unknown_argument(ctx: Any, settlment: Any) -> None:
    """An argument that is misspelt."""


REFUSED: dict[str, tuple[str, Any, str]] = {
    "no such hook": ("planing_phase", asynchronous, "`planing_phase`, which is no hook; near: `planning_phase`"),
    "unknown argument": ("settle_budget", unknown_argument, "no argument `settlment`; it has `ctx`, `settlement`"),
    "async on sync only": ("on_event", asynchronous, "must be a plain `def`"),
    "blocking on sync only": ("on_event", hookimpl(blocking=True)(plain), "must be a plain `def`"),
    "plain around": ("planning_phase", lambda: None, "must be `async def`"),
    "no generator for a stream": ("transform_stream", lambda: None, "must be an async generator"),
    "coroutine for a stream": ("transform_stream", asynchronous, "must be an async generator"),
    "generator elsewhere": ("redact", generator, "must not be an async generator"),
    "blocking coroutine": ("redact", hookimpl(blocking=True)(generator), "must not be an async generator"),
    "position elsewhere": ("redact", hookimpl(position="outermost")(lambda: None), "has a `position`"),
    "kinds elsewhere": ("redact", hookimpl(kinds=("run.",))(lambda: None), "has `kinds`"),
    "operator band": ("redact", hookimpl(band=-90)(lambda: None), "only the operator's configuration"),
    "band out of range": ("redact", hookimpl(band=101)(lambda: None), "bands go from -100 to 100"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_wrong_implementation_is_refused_as_a_whole(bench: Bench, case: str) -> None:
    """The message says what is wrong; nothing of the plugin stays, and it may come again mended."""
    name, function, text = REFUSED[case]

    with pytest.raises(PluginKindError) as caught:
        bench.add("a", **{name: function, "settle_budget" if name != "settle_budget" else "redact": lambda: None})

    assert text in caught.value.message
    assert caught.value.plugin == "a"
    assert (bench.hooks.settle_budget, bench.hooks.redact) == (None, None)
    bench.add("a", settle_budget=lambda: None)
    assert bench.hooks.settle_budget is not None


async def test_async_with_blocking_is_refused(bench: Bench) -> None:
    """A coroutine function does not run in a thread."""

    @hookimpl(blocking=True)
    async def redact() -> None:
        """Never called."""

    with pytest.raises(PluginKindError, match="`blocking` is for a plain `def`"):
        bench.add("a", redact=redact)


async def test_the_operator_may_use_every_band(bench: Bench) -> None:
    """The outermost bands are the operator's."""
    plugin = bench.plugin(redact=hookimpl(band=-90)(lambda: None))

    bench.dispatcher.register("a", plugin, operator=True)
    assert bench.dispatcher.order("redact")[0].band == -90


async def test_only_what_the_manifest_lists_is_registered(bench: Bench) -> None:
    """A hook that is not listed is not called, and the options of the manifest lead."""
    plugin = bench.plugin(redact=hookimpl(band=5)(lambda: None), label=lambda: None)

    bench.dispatcher.register("a", plugin, options={"redact": ImplOptions(band=7)})

    assert bench.hooks.label is None
    assert bench.dispatcher.order("redact")[0].band == 7


async def test_what_the_manifest_lists_must_be_there(bench: Bench) -> None:
    """A gate that is listed and missing would be a gate that nobody asks."""
    with pytest.raises(PluginKindError, match="has no `@hookimpl` function `authorize`"):
        bench.dispatcher.register("a", bench.plugin(), options={"authorize": ImplOptions()})
    with pytest.raises(PluginKindError, match="lists `authorise`, which is no hook; near: `authorize`"):
        bench.dispatcher.register("a", bench.plugin(), options={"authorise": ImplOptions()})


async def test_an_id_and_an_object_are_registered_once(bench: Bench) -> None:
    """The incumbent stays."""
    plugin = bench.plugin()
    bench.dispatcher.register("a", plugin)

    with pytest.raises(PluginCollisionError):
        bench.dispatcher.register("a", bench.plugin())
    with pytest.raises(PluginCollisionError):
        bench.dispatcher.register("b", plugin)


async def test_a_pluggy_wrapper_is_refused(bench: Bench) -> None:
    """It would see a coroutine before it runs, and guard nothing."""
    mark = pluggy.HookimplMarker("pegboard")

    class Wrapping:
        @mark(wrapper=True)
        def settle_budget(self) -> Any:
            return (yield)

    with pytest.raises(PluginKindError, match="pluggy wrapper"):
        bench.dispatcher.register("a", Wrapping())


@pytest.mark.parametrize(("first", "band"), [(True, -50), (False, 50)], ids=["tryfirst", "trylast"])
async def test_marks_of_pluggy_become_bands(bench: Bench, first: bool, band: int) -> None:
    """Whoever used pluggy before is understood."""
    mark = pluggy.HookimplMarker("pegboard")

    class Marked:
        @mark(tryfirst=first, trylast=not first)
        def settle_budget(self) -> None:
            """Never called."""

    bench.dispatcher.register("a", Marked())
    assert bench.dispatcher.order("settle_budget")[0].band == band


async def test_arguments_are_resolved_by_name(bench: Bench) -> None:
    """Any subset, in any order, also by keyword only; an argument of its own needs a default."""
    seen: list[tuple[Any, ...]] = []

    def secret(destination: str, purpose: str, own: int = 3, *, ref: str) -> None:
        seen.append((destination, purpose, own, ref))

    bench.add("a", resolve_secret=secret)

    await bench.hooks.resolve_secret("ctx", "ref", "purpose", "destination")
    assert seen == [("destination", "purpose", 3, "ref")]


async def test_each_plugin_gets_its_own_host_context(bench: Bench) -> None:
    """Where a hook takes a `HostContext`, the services in it are checked against the plugin that uses them."""
    seen: list[object] = []

    def provide_tools(ctx: object) -> None:
        seen.append(ctx)

    bench.dispatcher.register("a", bench.plugin(provide_tools=provide_tools), context="mine")
    bench.add("b", provide_tools=provide_tools)

    await bench.hooks.provide_tools("board")
    assert seen == ["mine", "board"]


async def test_dispatchers_follow_registration(bench: Bench) -> None:
    """Each call sees who is registered then; an empty hook is `None` again."""
    told: list[str] = []
    bench.add("a", settle_budget=lambda: told.append("a"))
    await bench.hooks.settle_budget("ctx", "settlement")
    bench.add("b", settle_budget=lambda: told.append("b"))
    await bench.hooks.settle_budget("ctx", "settlement")
    bench.dispatcher.unregister("a")
    await bench.hooks.settle_budget("ctx", "settlement")
    bench.dispatcher.unregister("b")

    assert told == ["a", "a", "b", "b"]
    assert bench.hooks.settle_budget is None


async def test_only_some_plugins(bench: Bench) -> None:
    """A function for a part of the implementations; `None` when none of them has one."""
    for plugin in "abc":
        bench.add(plugin, provide_tools=lambda plugin=plugin: [plugin])
    only = bench.dispatcher.only("provide_tools", {"a", "c", "x"})

    assert await only("ctx") == [("a", ["a"]), ("c", ["c"])]
    assert bench.dispatcher.only("provide_tools", {"a", "c", "x"}) is not only  # the entrance gave way to the function
    assert await bench.dispatcher.only("provide_tools", {"a", "c", "x"})("ctx") == [("a", ["a"]), ("c", ["c"])]
    assert bench.dispatcher.only("provide_tools", {"x"}) is None
    assert bench.dispatcher.plugins_of("provide_tools") == ("a", "b", "c")


async def test_a_cycle_in_the_order_is_logged_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever wonders about the order finds out why."""
    bench.add("a", settle_budget=hookimpl(after=["b"])(lambda: None))
    bench.add("b", settle_budget=hookimpl(after=["a"])(lambda: None))

    for _ in range(2):
        rows = bench.dispatcher.order("settle_budget")
    assert [row.plugin for row in rows] == ["b", "a"]
    assert caplog.text.count("has a cycle") == 1
