"""Plugins that are ready but not imported: the first call activates them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from pegboard.types import Allow, Deny, RunState

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench


def activating(bench: Bench, plugin: str, **functions: Any) -> Callable[[], Awaitable[None]]:
    """An activation that takes a while and then registers the plugin."""

    async def activate() -> None:
        await asyncio.sleep(0)
        bench.add(plugin, **functions)

    return activate


async def test_the_first_call_awaits_all_stubs_of_its_hook(bench: Bench) -> None:
    """Nobody is missing from the first answer."""
    bench.add("b", provide_tools=lambda: ["b"])
    for plugin in "ca":
        bench.dispatcher.stub(
            plugin, ["provide_tools"], activating(bench, plugin, provide_tools=lambda plugin=plugin: [plugin])
        )

    assert bench.dispatcher.plugins_of("provide_tools") == ("b", "a", "c")
    assert await bench.hooks.provide_tools("ctx") == [("a", ["a"]), ("b", ["b"]), ("c", ["c"])]


async def test_other_hooks_activate_nothing(bench: Bench) -> None:
    """Only the hooks that a stub stands for wake it."""
    woken: list[str] = []

    async def activate() -> None:
        woken.append("a")

    bench.dispatcher.stub("a", ["provide_tools"], activate)
    bench.add("b", provide_agents=lambda: [1])

    await bench.hooks.provide_agents("ctx")
    assert woken == []
    assert await bench.dispatcher.only("provide_tools", {"a"})("ctx") == []
    assert woken == ["a"]


async def test_a_subset_wakes_its_own_stubs_only(bench: Bench) -> None:
    """Asking one model plugin does not import the others."""
    for plugin in "ab":
        bench.dispatcher.stub(
            plugin, ["provide_tools"], activating(bench, plugin, provide_tools=lambda plugin=plugin: [plugin])
        )

    assert await bench.dispatcher.only("provide_tools", {"b"})("ctx") == [("b", ["b"])]
    assert bench.dispatcher.plugins_of("provide_tools") == ("b", "a")


async def test_callers_at_the_same_time_share_one_activation(bench: Bench) -> None:
    """Both wait, both get the whole answer, the plugin is activated once."""
    bench.dispatcher.stub("a", ["provide_tools"], activating(bench, "a", provide_tools=lambda: ["a"]))

    answers = await asyncio.gather(*(bench.hooks.provide_tools("ctx") for _ in range(3)))
    assert answers == [[("a", ["a"])]] * 3


async def test_a_cancelled_caller_leaves_the_activation_alone(bench: Bench) -> None:
    """The plugin becomes active all the same."""
    entered, release = asyncio.Event(), asyncio.Event()
    begun: list[str] = []

    async def activate() -> None:
        begun.append("a")
        entered.set()
        await release.wait()
        bench.add("a", provide_tools=lambda: ["a"])

    bench.dispatcher.stub("a", ["provide_tools"], activate)
    task = asyncio.create_task(bench.hooks.provide_tools("ctx"))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()

    assert await bench.hooks.provide_tools("ctx") == [("a", ["a"])]
    assert begun == ["a"]


async def test_an_activation_that_calls_its_own_hook(bench: Bench) -> None:
    """It goes on without the plugin itself, and does not wait for its own end."""
    seen: list[Any] = []

    async def activate() -> None:
        seen.append(await bench.hooks.provide_tools("ctx"))
        bench.add("a", provide_tools=lambda: ["a"])

    bench.add("b", provide_tools=lambda: ["b"])
    bench.dispatcher.stub("a", ["provide_tools"], activate)

    assert await asyncio.wait_for(bench.hooks.provide_tools("ctx"), 5) == [("a", ["a"]), ("b", ["b"])]
    assert seen == [[("b", ["b"])]]


async def test_two_activations_that_need_each_other(bench: Bench) -> None:
    """Neither waits for the other."""

    def activation(plugin: str) -> Callable[[], Awaitable[None]]:
        async def activate() -> None:
            await asyncio.sleep(0)
            await bench.hooks.provide_tools("ctx")
            bench.add(plugin, provide_tools=lambda: [plugin])

        return activate

    for plugin in "ab":
        bench.dispatcher.stub(plugin, ["provide_tools"], activation(plugin))

    both = asyncio.gather(*(bench.dispatcher.only("provide_tools", {plugin})("ctx") for plugin in "ab"))
    assert await asyncio.wait_for(both, 5) == [[("a", ["a"])], [("b", ["b"])]]
    assert await bench.hooks.provide_tools("ctx") == [("a", ["a"]), ("b", ["b"])]


@pytest.mark.parametrize("error", [ImportError, SystemExit], ids=lambda error: error.__name__)
async def test_an_activation_that_fails_is_tried_once(bench: Bench, error: type[BaseException]) -> None:
    """The fault is reported, and the others answer."""

    async def activate() -> None:
        raise error("broken")

    bench.add("b", provide_tools=lambda: ["b"])
    bench.dispatcher.stub("a", ["provide_tools"], activate)

    for _ in range(2):
        assert await bench.hooks.provide_tools("ctx") == [("b", ["b"])]
    assert bench.report.codes == [("a", "hook.failed")]


async def test_a_gate_that_cannot_be_activated_denies(bench: Bench) -> None:
    """Whoever installed a gate wants it asked; only letting the plugin go ends that."""

    async def activate() -> None:
        raise ImportError("broken")

    bench.dispatcher.stub("a", ["reserve_budget"], activate)

    for _ in range(2):
        verdict = (await bench.hooks.reserve_budget("ctx", "request")).verdict
        assert verdict == Deny("plugin `a` could not decide: `hook.failed` in `reserve_budget`")
    bench.dispatcher.unregister("a")
    assert bench.hooks.reserve_budget is None


async def test_a_gate_that_registers_nothing_denies(bench: Bench) -> None:
    """The same where the activation reported its failure elsewhere."""

    async def activate() -> None:
        """The host has put it down."""

    bench.dispatcher.stub("a", ["reserve_budget"], activate)
    assert isinstance((await bench.hooks.reserve_budget("ctx", "request")).verdict, Deny)


async def test_a_gate_that_went_because_of_a_fault_denies(bench: Bench) -> None:
    """Until it is registered again."""
    bench.add("a", reserve_budget=lambda: Allow(), settle_budget=lambda: None)
    bench.dispatcher.unregister("a", because=ImportError("broken"))

    assert isinstance((await bench.hooks.reserve_budget("ctx", "request")).verdict, Deny)
    assert bench.hooks.settle_budget is None
    bench.add("a", reserve_budget=lambda: Allow())
    assert (await bench.hooks.reserve_budget("ctx", "request")).verdict == Allow()


async def test_around_and_stream_wait_too(bench: Bench) -> None:
    """Every kind has the same entrance; where nobody registered, it is as if empty."""

    async def planning_phase() -> RunState:
        return RunState(task="mine")

    async def transform_stream(stream: Any) -> Any:
        async for item in stream:
            yield item * 2

    async def source() -> Any:
        yield "x"

    async def body(ctx: Any, state: Any) -> str:
        return "inner"

    async def nothing() -> None:
        """Registers nothing."""

    bench.dispatcher.stub("a", ["planning_phase"], activating(bench, "a", planning_phase=planning_phase))
    bench.dispatcher.stub("b", ["transform_stream"], activating(bench, "b", transform_stream=transform_stream))
    bench.dispatcher.stub("c", ["idle"], nothing)

    assert (await bench.hooks.planning_phase("ctx", "state", body)).task == "mine"
    assert [item async for item in bench.hooks.transform_stream("ctx", source())] == ["xx"]
    assert await bench.hooks.idle("ctx", "state", body) == "inner"
    assert bench.hooks.idle is None


async def test_an_event_starts_the_activation_of_its_observer(bench: Bench) -> None:
    """`on_event` cannot wait: the first event is not seen, later ones are."""
    seen: list[str] = []
    active = asyncio.Event()

    async def activate() -> None:
        bench.add("a", on_event=lambda event: seen.append(event))
        active.set()

    bench.dispatcher.stub("a", ["on_event"], activate)
    bench.hooks.on_event("first")
    await active.wait()
    bench.hooks.on_event("second")
    assert seen == ["second"]


async def test_letting_a_stub_go(bench: Bench) -> None:
    """A plugin may be switched off before it was ever imported."""

    async def activate() -> None:
        """Never called."""

    bench.dispatcher.stub("a", ["reserve_budget", "no_such_hook"], activate)
    bench.dispatcher.unregister("a")
    assert bench.hooks.reserve_budget is None
