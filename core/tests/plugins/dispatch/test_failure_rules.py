"""What counts as a fault of an implementation, what goes up, and what nobody can stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest
from pegboard.errors import ModelAuthError

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench


class StrangeError(BaseException):
    """Neither an `Exception` nor one of Python's own."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


FAULTS = [
    ValueError,
    StopIteration,
    StopAsyncIteration,
    GeneratorExit,
    SystemExit,
    asyncio.CancelledError,
    StrangeError,
    RecursionError,
    Unprintable,
]
MANNERS = ["def", "async def", "suspended"]


def failing(error: type[BaseException], manner: str) -> Callable[[], Any]:
    """A function that raises at once, in a coroutine, or in one that was suspended before."""

    def plain() -> str:
        raise error

    async def asynchronous() -> str:
        if manner == "suspended":
            await asyncio.sleep(0)
        raise error

    return plain if manner == "def" else asynchronous


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("error", FAULTS, ids=lambda error: error.__name__)
async def test_whatever_a_plugin_raises_is_isolated(bench: Bench, error: type[BaseException], manner: str) -> None:
    """A plugin ends neither the host nor the task, and the next one is asked."""
    bench.add("a", next_phase=failing(error, manner))
    bench.add("b", next_phase=lambda: "idle")

    assert await bench.hooks.next_phase("ctx", "state", "x") == "idle"
    assert bench.report.codes == [("a", "hook.failed")]


@pytest.mark.parametrize("manner", ["async def", "suspended"])
@pytest.mark.parametrize("error", FAULTS, ids=lambda error: error.__name__)
async def test_whatever_a_layer_raises_is_isolated(bench: Bench, error: type[BaseException], manner: str) -> None:
    """The same around a body."""

    async def body(ctx: Any, state: Any) -> str:
        return "inner"

    bench.add("a", planning_phase=failing(error, manner))

    assert await bench.hooks.planning_phase("ctx", "state", body) == "inner"
    assert bench.report.codes == [("a", "hook.failed")]


@pytest.mark.parametrize("manner", MANNERS)
async def test_ctrl_c_goes_up(bench: Bench, manner: str) -> None:
    """`KeyboardInterrupt` is not the plugin's."""
    bench.add("a", next_phase=failing(KeyboardInterrupt, manner))

    with pytest.raises(KeyboardInterrupt):
        await bench.hooks.next_phase("ctx", "state", "x")
    assert bench.report.faults == []


@pytest.mark.parametrize("manner", ["def", "async def"])
async def test_a_coroutine_that_nobody_awaited(bench: Bench, manner: str) -> None:
    """Returned instead of its result, it is an error with a clear text, and Python does not warn of it later."""

    async def inner() -> str:
        return "x"

    async def asynchronous() -> Any:
        return inner()

    bench.add("a", next_phase=(lambda: inner()) if manner == "def" else asynchronous)

    assert await bench.hooks.next_phase("ctx", "state", "x") is None
    assert bench.report.codes == [("a", "hook.type")]
    assert "declare the hook `async def`" in str(bench.report.faults[0][1])


@pytest.mark.parametrize(
    ("hook", "arguments"), [("settle_budget", 2), ("redact", 3), ("check_quality", 2)], ids=lambda value: str(value)
)
async def test_other_awaitables_and_async_generators(bench: Bench, hook: str, arguments: int) -> None:
    """Also where the hook itself takes any answer, or none."""

    async def generator() -> Any:
        yield 1

    future = asyncio.get_running_loop().create_future()
    bench.add("a", **{hook: lambda: generator()})
    bench.add("b", **{hook: lambda: future})

    await getattr(bench.hooks, hook)(*range(arguments))
    assert bench.report.codes == [("a", "hook.type"), ("b", "hook.type")]


def test_a_coroutine_from_a_sync_only_hook(bench: Bench) -> None:
    """`on_event` can await nothing."""

    async def later() -> None:
        """Never reached."""

    bench.add("a", on_event=lambda: later())

    bench.hooks.on_event("event")
    assert bench.report.codes == [("a", "hook.type")]


async def test_the_code_of_an_error_of_ours_is_kept(bench: Bench) -> None:
    """A plugin that raises a `PegboardError` is reported under its code; the error itself is handed on."""
    error = ModelAuthError("key refused")

    def provide_model() -> Any:
        raise error

    bench.add("a", provide_model=provide_model)

    assert await bench.hooks.provide_model("ctx", "m") is None
    assert bench.report.codes == [("a", "model.auth")]
    assert bench.report.faults[0][1] is error


async def test_a_decorated_coroutine_function_is_async(bench: Bench) -> None:
    """A wrapper made with `functools.wraps` may be a plain `def` around an `async def`."""

    async def next_phase(proposed: str) -> str:
        return proposed + "!"

    @wraps(next_phase)
    def wrapper(*args: Any, **kwargs: Any) -> Coroutine[Any, Any, str]:
        return next_phase(*args, **kwargs)

    bench.add("a", next_phase=wrapper)
    assert await bench.hooks.next_phase("ctx", "state", "x") == "x!"


async def test_strict_raises(bench: Bench) -> None:
    """For tests: isolation becomes raising, and nothing is ever skipped."""
    bench.renew(strict=True)
    bench.add("a", next_phase=failing(ValueError, "def"))

    for _ in range(5):
        with pytest.raises(ValueError):  # noqa: PT011  # it has no text
            await bench.hooks.next_phase("ctx", "state", "x")
    assert len(bench.report.faults) == 5


async def test_a_record_says_whose_fault_it_was(bench: Bench) -> None:
    """Plugin, distribution, version, place in the order."""
    bench.add("a", next_phase=lambda: None)
    bench.dispatcher.register(
        "b", bench.plugin(next_phase=failing(ValueError, "def")), dist="pegboard-b", version="1.2"
    )

    await bench.hooks.next_phase("ctx", "state", "x")

    record = bench.report.faults[0][0]
    assert (record.hook, record.plugin, record.dist, record.version) == ("next_phase", "b", "pegboard-b", "1.2")
    assert (record.order, record.outcome, record.duration_ms) == (1, "error", None)
