"""`around`: nested, outermost first; what a layer does wrong never costs the inner result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from pegboard.errors import HookError
from pegboard.hookspecs import hookimpl
from pegboard.types import RunState, evolve

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench

Next = Callable[[RunState], Awaitable[RunState]]
STATE = RunState(task="t")


async def body(ctx: Any, state: RunState) -> RunState:
    return evolve(state, task=state.task + "!")


def layer(name: str) -> Any:
    async def planning_phase(ctx: Any, state: RunState, call_next: Next) -> RunState:
        inner = await call_next(evolve(state, task=state.task + name))
        return evolve(inner, task=inner.task + name)

    return planning_phase


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids="".join)
async def test_layers_nest_with_the_first_outermost(bench: Bench, order: tuple[str, str]) -> None:
    """On the way in the first comes first, on the way out last."""
    for plugin in order:
        bench.add(plugin, planning_phase=layer(plugin))

    assert (await bench.hooks.planning_phase("ctx", STATE, body)).task == "tab!ba"


async def test_position_within_a_band(bench: Bench) -> None:
    """`outermost` and `innermost` beat the id."""
    bench.add("a", planning_phase=hookimpl(position="innermost")(layer("a")))
    bench.add("b", planning_phase=layer("b"))
    bench.add("c", planning_phase=hookimpl(position="outermost")(layer("c")))

    assert (await bench.hooks.planning_phase("ctx", STATE, body)).task == "tcba!abc"


async def test_any_subset_of_the_arguments(bench: Bench) -> None:
    """A layer takes what it needs, by name."""

    async def planning_phase(call_next: Next, *, state: RunState) -> RunState:
        return await call_next(state)

    bench.add("a", planning_phase=planning_phase)

    assert (await bench.hooks.planning_phase("ctx", STATE, body)).task == "t!"


@pytest.mark.parametrize("broken", ["a", "b"])
async def test_an_error_before_call_next_bypasses_the_layer(bench: Bench, broken: str) -> None:
    """The inner body runs with the value that the layer was given."""

    async def planning_phase() -> RunState:
        raise ValueError("before")

    other = "ab".replace(broken, "")
    bench.add(broken, planning_phase=planning_phase)
    bench.add(other, planning_phase=layer(other))

    assert (await bench.hooks.planning_phase("ctx", STATE, body)).task == f"t{other}!{other}"
    assert bench.report.codes == [(broken, "hook.failed")]


@pytest.mark.parametrize("broken", ["a", "b"])
async def test_an_error_after_call_next_leaves_the_inner_result(bench: Bench, broken: str) -> None:
    """The inner result stands, and the inner body is not run twice."""
    runs: list[str] = []

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        await call_next(state)
        raise ValueError("after")

    async def counted(ctx: Any, state: RunState) -> RunState:
        runs.append("body")
        return await body(ctx, state)

    other = "ab".replace(broken, "")
    bench.add(broken, planning_phase=planning_phase)
    bench.add(other, planning_phase=layer(other))

    assert (await bench.hooks.planning_phase("ctx", STATE, counted)).task == f"t{other}!{other}"
    assert runs == ["body"]
    assert bench.report.codes == [(broken, "hook.failed")]


async def test_an_error_of_the_body_goes_up_and_is_nobodys_fault(bench: Bench) -> None:
    """Layers that let it pass are not charged."""

    async def failing(ctx: Any, state: RunState) -> RunState:
        raise LookupError("inner")

    bench.add("a", planning_phase=layer("a"))
    bench.add("b", planning_phase=layer("b"))

    with pytest.raises(LookupError, match="inner"):
        await bench.hooks.planning_phase("ctx", STATE, failing)
    assert bench.report.faults == []


async def test_a_layer_may_answer_for_a_failed_body(bench: Bench) -> None:
    """Catching the inner error and returning a value is how errors are handled."""

    async def failing(ctx: Any, state: RunState) -> RunState:
        raise LookupError("inner")

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        try:
            return await call_next(state)
        except LookupError:
            return evolve(state, task="mended")

    bench.add("a", planning_phase=planning_phase)

    assert (await bench.hooks.planning_phase("ctx", STATE, failing)).task == "mended"
    assert bench.report.faults == []


async def test_an_error_over_an_error_leaves_the_inner_one(bench: Bench) -> None:
    """A layer that raises another error after the body failed is charged; the body's error stands."""

    async def failing(ctx: Any, state: RunState) -> RunState:
        raise LookupError("inner")

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        try:
            return await call_next(state)
        finally:
            raise ValueError("outer")

    bench.add("a", planning_phase=planning_phase)

    with pytest.raises(LookupError, match="inner"):
        await bench.hooks.planning_phase("ctx", STATE, failing)
    assert bench.report.codes == [("a", "hook.failed")]


async def test_call_next_runs_once(bench: Bench) -> None:
    """A second call is an error of the layer; the result of the first one stands."""

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        await call_next(state)
        return await call_next(evolve(state, task="again"))

    bench.add("a", planning_phase=planning_phase)

    assert (await bench.hooks.planning_phase("ctx", STATE, body)).task == "t!"
    assert bench.report.codes == [("a", "hook.call_next_twice")]


async def test_replacing_is_allowed_and_reported(bench: Bench) -> None:
    """A layer may answer itself; the record says that it replaced what it wraps."""

    async def planning_phase(state: RunState) -> RunState:
        return evolve(state, task="mine")

    bench.add("a", planning_phase=planning_phase)
    bench.add("b", planning_phase=layer("b"))

    assert (await bench.hooks.planning_phase("ctx", STATE, body)).task == "mine"
    assert [(call.plugin, call.outcome) for call in bench.report.calls] == [("a", "replaced")]


@pytest.mark.parametrize("calls", [True, False], ids=["after", "before"])
async def test_a_wrong_type_is_an_error_of_the_layer(bench: Bench, calls: bool) -> None:
    """Most often somebody forgot to return the inner result."""

    async def planning_phase(state: RunState, call_next: Next) -> None:
        if calls:
            await call_next(state)

    bench.add("a", planning_phase=planning_phase)

    assert (await bench.hooks.planning_phase("ctx", STATE, body)).task == "t!"
    assert bench.report.codes == [("a", "hook.type")]


@pytest.mark.usefixtures("still_time")
async def test_the_clock_stands_still_inside_call_next(bench: Bench) -> None:
    """A slow body is not blamed on what goes around it."""

    async def slow(ctx: Any, state: RunState) -> RunState:
        await asyncio.sleep(0.03)
        return await body(ctx, state)

    bench.add("a", planning_phase=hookimpl(timeout_s=0.01)(layer("a")))
    bench.add("b", planning_phase=hookimpl(timeout_s=0.01)(layer("b")))

    assert (await bench.hooks.planning_phase("ctx", STATE, slow)).task == "tab!ba"
    assert bench.report.faults == []


@pytest.mark.usefixtures("still_time")
@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_layer_that_hangs_is_bypassed(bench: Bench, forever: Any, where: str) -> None:
    """Before `call_next` the body runs without it, after it the inner result stands; the body ran once."""
    runs: list[str] = []

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        if where == "before":
            await forever()
        inner = await call_next(state)
        await forever()
        return inner

    async def counted(ctx: Any, state: RunState) -> RunState:
        runs.append("body")
        await asyncio.sleep(0)
        return await body(ctx, state)

    bench.add("a", planning_phase=hookimpl(timeout_s=0.01)(planning_phase))

    assert (await bench.hooks.planning_phase("ctx", STATE, counted)).task == "t!"
    assert runs == ["body"]
    assert bench.report.codes == [("a", "hook.timeout")]


@pytest.mark.usefixtures("still_time")
async def test_a_layer_with_a_timeout_of_its_own(bench: Bench, forever: Any) -> None:
    """Where a layer cut short what it wraps there is no inner result: its error stands, and is its own."""

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        async with asyncio.timeout(0.01):
            return await call_next(state)

    async def endless(ctx: Any, state: RunState) -> RunState:
        await forever()
        return state

    bench.add("a", planning_phase=planning_phase)

    with pytest.raises(HookError, match="cut short"):
        await bench.hooks.planning_phase("ctx", STATE, endless)
    assert bench.report.codes == [("a", "hook.failed")]


@pytest.mark.usefixtures("still_time")
async def test_a_layer_may_call_next_in_a_task(bench: Bench) -> None:
    """As `asyncio.wait_for` does; the inner result is the same."""

    async def slow(ctx: Any, state: RunState) -> RunState:
        await asyncio.sleep(0.02)
        return await body(ctx, state)

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        return await asyncio.create_task(call_next(state))  # type: ignore[arg-type]  # it is a coroutine

    bench.add("a", planning_phase=hookimpl(timeout_s=0.01)(planning_phase))

    assert (await bench.hooks.planning_phase("ctx", STATE, slow)).task == "t!"
    assert bench.report.faults == []


@pytest.mark.usefixtures("still_time")
@pytest.mark.parametrize("in_task", [False, True], ids=["awaited", "in a task"])
async def test_a_cancelled_body_may_take_its_time(bench: Bench, short_grace: None, in_task: bool) -> None:
    """The grace is for layers; the body's cleanup is core's business."""
    started = asyncio.Event()
    cleaned: list[str] = []

    async def endless(ctx: Any, state: RunState) -> RunState:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.06)
            cleaned.append("body")
        return state

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        return await (asyncio.ensure_future(call_next(state)) if in_task else call_next(state))

    bench.add("a", planning_phase=planning_phase)
    task = asyncio.create_task(bench.hooks.planning_phase("ctx", STATE, endless))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["body"]
    assert bench.report.faults == []


@pytest.mark.usefixtures("still_time")
async def test_a_layer_that_leaves_its_task_behind(bench: Bench) -> None:
    """An error while the inner body still runs elsewhere: its result is awaited, not lost."""
    tasks: list[Any] = []

    async def slow(ctx: Any, state: RunState) -> RunState:
        await asyncio.sleep(0.01)
        return await body(ctx, state)

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        tasks.append(asyncio.create_task(call_next(state)))  # type: ignore[arg-type]  # it is a coroutine
        await asyncio.sleep(0)
        raise ValueError("left")

    bench.add("a", planning_phase=planning_phase)

    assert (await bench.hooks.planning_phase("ctx", STATE, slow)).task == "t!"
    await asyncio.gather(*tasks)


async def test_call_next_ends_with_its_layer(bench: Bench) -> None:
    """What a layer that returned still does with `call_next` would happen behind the run's back: it is cut short."""
    done: list[str] = []
    tasks: list[Any] = []

    async def slow(ctx: Any, state: RunState) -> RunState:
        try:
            await asyncio.sleep(60)
        finally:
            done.append("cleaned up")
        return state

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        tasks.append(asyncio.create_task(call_next(state)))  # type: ignore[arg-type]  # it is a coroutine
        await asyncio.sleep(0)
        return evolve(state, task="mine")

    bench.add("a", planning_phase=planning_phase)

    assert (await bench.hooks.planning_phase("ctx", STATE, slow)).task == "mine"
    assert done == ["cleaned up"]
    assert bench.report.codes == [("a", "hook.failed")]


async def test_a_late_call_next_is_refused(bench: Bench) -> None:
    """A layer that keeps `call_next` and calls it after it answered is charged, and the body does not run."""
    kept: list[Next] = []
    ran: list[str] = []

    async def told(ctx: Any, state: RunState) -> RunState:
        ran.append("body")
        return state

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        kept.append(call_next)
        return state

    bench.add("a", planning_phase=planning_phase)
    await bench.hooks.planning_phase("ctx", STATE, told)

    with pytest.raises(HookError, match="after it had come to its end"):
        await kept[0](STATE)
    assert ran == []
    assert bench.report.codes == [("a", "hook.failed")]
