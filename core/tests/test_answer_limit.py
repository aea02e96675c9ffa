"""The limit of a whole answer: what ends by it, what is known of it afterwards, and what it does not touch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pegboard import ModelBase, deadline
from pegboard.errors import ModelTimeoutError
from pegboard.types import Finish, ModelChunk, ModelRequest, Usage

REQUEST = ModelRequest(model="p:m", messages=())


class Dripping(ModelBase):
    """Sends a little for ever, and says before it what the question cost."""

    provider, name = "p", "m"
    answer_timeout_s = 0.05

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.closed = False

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        yield ModelChunk(usage=Usage(5, 0, source="provider"))
        try:
            while True:
                yield ModelChunk(text="a")
                self.began.set()
                await asyncio.sleep(0.001)
        finally:
            self.closed = True


class Pinging(Dripping):
    """Never falls silent, and never says anything."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        self.began.set()
        while True:  # noqa: ASYNC110  # as a transport does that reads what nobody asked for
            await asyncio.sleep(0)
        yield ModelChunk(finish=Finish("stop"))


class Swallowing(Dripping):
    """Does not stop when it is told to."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        yield ModelChunk(text="a")
        while True:
            try:
                self.began.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "GRACE_S", 0.02)


@pytest.mark.parametrize("make", [Dripping, Pinging, Swallowing])
async def test_an_answer_that_never_ends_is_ended(make: type[Dripping]) -> None:
    """By an error of the model that may be repeated; however it behaves."""
    async with asyncio.timeout(5):
        with pytest.raises(ModelTimeoutError, match="limit of a whole answer") as late:
            await make().send(REQUEST, None)

    assert (late.value.retryable, late.value.provider, late.value.model) == (True, "p", "m")
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_came_until_then_is_known() -> None:
    """It has cost something, and the stream is closed."""
    model = Dripping()

    with pytest.raises(ModelTimeoutError) as late:
        await model.send(REQUEST, None)

    assert late.value.stream_started
    assert isinstance(late.value.usage, Usage)
    assert (late.value.usage.input_tokens, late.value.usage.source) == (5, "estimated")
    assert model.closed


@pytest.mark.parametrize("make", [Dripping, Pinging, Swallowing])
async def test_a_cancel_from_outside_stays_one(make: type[Dripping]) -> None:
    """It is not taken for the limit."""
    model = make()
    model.answer_timeout_s = 60.0
    task = asyncio.create_task(model.send(REQUEST, None))
    await model.began.wait()

    task.cancel()
    await asyncio.wait({task}, timeout=5)

    assert task.cancelled()


async def test_a_limit_around_it_stays_its_own() -> None:
    """Whoever set it is told, and no model is blamed."""
    model = Dripping()
    model.answer_timeout_s = 60.0

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await model.send(REQUEST, None)
