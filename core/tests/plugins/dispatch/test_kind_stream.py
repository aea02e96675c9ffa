"""`stream`: transformers nest; a failed one is dropped and nothing that it held is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from pegboard.hookspecs import hookimpl

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench


async def source(*items: str) -> AsyncGenerator[str, None]:
    for item in items:
        await asyncio.sleep(0)
        yield item


async def shown(stream: AsyncIterator[str]) -> list[str]:
    return [item async for item in stream]


def adding(name: str) -> Any:
    async def transform_stream(ctx: Any, stream: AsyncIterator[str]) -> AsyncIterator[str]:
        async for item in stream:
            yield item + name

    return transform_stream


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids="".join)
async def test_transformers_nest_with_the_first_outermost(bench: Bench, order: tuple[str, str]) -> None:
    """The first has the last word on what is shown."""
    for plugin in order:
        bench.add(plugin, transform_stream=adding(plugin))

    assert await shown(bench.hooks.transform_stream("ctx", source("1", "2"))) == ["1ba", "2ba"]


async def test_a_transformer_may_hold_back_and_cut(bench: Bench) -> None:
    """A guard that must see the whole first; and one that ends the stream early."""

    async def transform_stream(stream: AsyncIterator[str]) -> AsyncIterator[str]:
        yield "".join([item async for item in stream])

    bench.add("a", transform_stream=transform_stream)

    assert await shown(bench.hooks.transform_stream("ctx", source("1", "2", "3"))) == ["123"]


@pytest.mark.parametrize("broken", ["a", "b"])
async def test_a_failed_transformer_loses_nothing(bench: Bench, broken: str) -> None:
    """What it was given since its last output passes unchanged, then the rest."""

    async def transform_stream(stream: AsyncIterator[str]) -> AsyncIterator[str]:
        seen = 0
        async for item in stream:
            seen += 1
            if seen == 1:
                yield item + "x"
            if seen == 3:
                raise ValueError("broken")

    other = "ab".replace(broken, "")
    bench.add(broken, transform_stream=transform_stream)
    bench.add(other, transform_stream=adding(other))

    items = await shown(bench.hooks.transform_stream("ctx", source("1", "2", "3", "4")))

    assert ["".join(sorted(item)) for item in items] == [f"1{other}x", f"2{other}", f"3{other}", f"4{other}"]
    assert bench.report.codes == [(broken, "hook.failed")]


async def test_a_transformer_that_hangs_is_dropped(bench: Bench, forever: Any) -> None:
    """Too long without output for one item: dropped, and the item passes."""

    async def transform_stream(stream: AsyncIterator[str]) -> AsyncIterator[str]:
        async for item in stream:
            await forever()
            yield item

    bench.add("a", transform_stream=hookimpl(timeout_s=0.01)(transform_stream))

    assert await shown(bench.hooks.transform_stream("ctx", source("1", "2"))) == ["1", "2"]
    assert bench.report.codes == [("a", "hook.timeout")]


@pytest.mark.usefixtures("still_time")
async def test_waiting_for_the_model_costs_a_transformer_nothing(bench: Bench) -> None:
    """Its clock runs only while it works on an item, and starts anew with each."""

    async def slow() -> AsyncIterator[str]:
        for item in "123":
            await asyncio.sleep(0.03)
            yield item

    async def transform_stream(stream: AsyncIterator[str]) -> AsyncIterator[str]:
        async for item in stream:
            await asyncio.sleep(0.008)
            yield item

    bench.add("a", transform_stream=hookimpl(timeout_s=0.02)(transform_stream))

    assert await shown(bench.hooks.transform_stream("ctx", slow())) == ["1", "2", "3"]
    assert bench.report.faults == []


@pytest.mark.usefixtures("still_time")
async def test_each_item_has_the_whole_limit(bench: Bench) -> None:
    """What holds everything back is not blamed for the sum."""

    async def transform_stream(stream: AsyncIterator[str]) -> AsyncIterator[str]:
        held = []
        async for item in stream:
            await asyncio.sleep(0.02)
            held.append(item)
        yield "".join(held)

    bench.add("a", transform_stream=hookimpl(timeout_s=0.05)(transform_stream))

    assert await shown(bench.hooks.transform_stream("ctx", source("1", "2", "3", "4"))) == ["1234"]
    assert bench.report.faults == []


async def test_an_error_of_the_source_goes_up(bench: Bench) -> None:
    """The model's error is not a fault of the transformer."""

    async def failing() -> AsyncIterator[str]:
        yield "1"
        raise LookupError("model")

    bench.add("a", transform_stream=adding("a"))
    stream = bench.hooks.transform_stream("ctx", failing())

    assert await anext(stream) == "1a"
    with pytest.raises(LookupError, match="model"):
        await anext(stream)
    assert bench.report.faults == []


async def test_closing_closes_the_transformers(bench: Bench) -> None:
    """Whoever stops reading ends all of them, outermost first."""
    closed: list[str] = []

    def closing(name: str) -> Any:
        async def transform_stream(stream: AsyncIterator[str]) -> AsyncIterator[str]:
            try:
                async for item in stream:
                    yield item
            finally:
                closed.append(name)

        return transform_stream

    bench.add("a", transform_stream=closing("a"))
    bench.add("b", transform_stream=closing("b"))
    stream = bench.hooks.transform_stream("ctx", source("1", "2"))

    assert await anext(stream) == "1"
    await stream.aclose()
    assert closed == ["a", "b"]


async def test_a_transformer_that_hangs_while_it_is_closed(bench: Bench, forever: Any, short_grace: None) -> None:
    """Closing does not wait for ever."""

    async def transform_stream(stream: AsyncIterator[str]) -> AsyncIterator[str]:
        try:
            async for item in stream:
                yield item
        finally:
            await forever()

    bench.add("a", transform_stream=transform_stream)
    stream = bench.hooks.transform_stream("ctx", source("1"))

    assert await anext(stream) == "1"
    await stream.aclose()
    assert bench.report.codes == [("a", "hook.timeout")]


async def test_a_cancel_goes_through(bench: Bench, forever: Any) -> None:
    """Cancelled while a transformer works: the cancel goes up and nobody is charged."""
    started = asyncio.Event()

    async def transform_stream(stream: AsyncIterator[str]) -> AsyncIterator[str]:
        async for item in stream:
            started.set()
            await forever()
            yield item

    bench.add("a", transform_stream=hookimpl(timeout_s=5)(transform_stream))
    task = asyncio.create_task(shown(bench.hooks.transform_stream("ctx", source("1"))))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.report.faults == []


async def test_sixty_four_items_are_kept(bench: Bench) -> None:
    """The memory of what is held back is bounded."""

    async def transform_stream(stream: AsyncIterator[str]) -> AsyncIterator[str]:
        count = 0
        async for _ in stream:
            count += 1
            if count == 100:
                raise ValueError("broken")
        yield ""

    bench.add("a", transform_stream=transform_stream)
    items = [str(number) for number in range(110)]

    assert await shown(bench.hooks.transform_stream("ctx", source(*items))) == items[36:]
