"""What our layers add to each delta, for `models.py`: the SDK's own objects come from a list, not from a connection.

    python tests/bench/model_deltas.py WIRE ADDRESS REPEATS

One answer is read from the server through the SDK, its deltas are repeated to a long answer, and the SDK's method is
replaced by one that hands that out: many at each turn of the loop, or one. Beside it stands a task that only iterates.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from statistics import median
from time import process_time
from typing import Any

import model_bare
import model_pegboard
from model_server import DELTAS
from pegboard import Agent, Pegboard

LENGTH = 2000
"""Deltas of the long answer."""
BATCHED = 10
"""How many come at a turn of the loop, where they do not come alone; models.md speaks of 5 to 20."""


class Prepared:
    """A stream as the SDK gives it."""

    def __init__(self, events: Sequence[Any], batch: int) -> None:
        self._events = events
        self._batch = batch

    async def __aenter__(self) -> Prepared:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Any]:
        loop = asyncio.get_running_loop()
        for place, event in enumerate(self._events):
            if place % self._batch == 0:
                came = loop.create_future()
                loop.call_soon(came.set_result, None)
                await came
            yield event


def owner_of(wire: str) -> tuple[type, str]:
    """The SDK's class and method that open a stream."""
    if wire == "anthropic":
        from anthropic.resources.messages import AsyncMessages

        return AsyncMessages, "create"
    if wire == "gemini":
        from google.genai.models import AsyncModels

        return AsyncModels, "generate_content_stream"
    if wire == "openai":
        from openai.resources.responses import AsyncResponses

        return AsyncResponses, "create"
    from openai.resources.chat.completions import AsyncCompletions

    return AsyncCompletions, "create"


async def recorded(wire: str, url: str) -> list[Any]:
    """The objects of one answer, as the SDK makes them."""
    owner, method = owner_of(wire)
    original, seen = getattr(owner, method), list[Any]()

    async def spy(self: Any, **params: Any) -> Any:
        stream = await original(self, **params)
        seen.extend([event async for event in stream])
        return Prepared(seen, len(seen))

    setattr(owner, method, spy)
    await model_bare.TAKES[wire](url)(json.loads(model_pegboard.params(wire, 0)))
    setattr(owner, method, original)
    return seen


def lengthened(events: Sequence[Any]) -> list[Any]:
    """The same answer with its deltas again and again."""
    first = next(place for place, event in enumerate(events) if "ask-0.0 " in repr(event))
    middle = [events[first + place % (DELTAS - 1)] for place in range(LENGTH)]  # the last one may be the end, too
    return [*events[:first], *middle, *events[first + DELTAS - 1 :]]


async def iterated(events: Sequence[Any], batch: int) -> None:
    """What there is without us."""
    async for _ in Prepared(events, batch):
        pass


async def cpu_us(run: Callable[[], Coroutine[Any, Any, None]], repeats: int) -> list[float]:
    """CPU time for each delta."""
    taken = []
    for _ in range(repeats):
        gc.collect()
        began = process_time()
        await run()
        taken.append((process_time() - began) / LENGTH * 1e6)
    return taken


async def measure(wire: str, url: str, repeats: int) -> dict[str, float]:
    """What we add to a delta in microseconds: the median, for both ways in which they come."""
    events = lengthened(await recorded(wire, url))
    owner, method = owner_of(wire)
    found: dict[str, float] = {}
    async with Pegboard() as board:
        model = model_pegboard.model_of(wire, url)
        agent = Agent(model=model)
        for name, batch in (("batched", BATCHED), ("alone", 1)):

            async def opened(self: Any, batch: int = batch, **params: Any) -> Any:
                stream = Prepared(events, batch)
                return stream if wire != "gemini" else aiter(stream)

            async def streamed() -> None:
                seen = 0
                async for event in board.stream(agent, "go"):
                    seen += event.type == "text"
                    if event.is_final:
                        event.content.raise_for_error()
                assert LENGTH <= seen <= LENGTH + 1, seen

            setattr(owner, method, opened)
            await streamed()
            ours, floor = [], []
            for _ in range(repeats):  # in turn, so that a busy machine slows both
                ours += await cpu_us(streamed, 1)
                floor += await cpu_us(lambda batch=batch: iterated(events, batch), 1)  # type: ignore[misc]  # binds it
            found[name] = median(mine - bare for mine, bare in zip(ours, floor, strict=True))
            found[f"{name}, the floor"] = median(floor)
        await model.aclose()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
