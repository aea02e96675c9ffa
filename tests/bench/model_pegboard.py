"""pegboard in the benchmark `models.py`: a model's turn, or a run on a board without plugins, streamed.

python tests/bench/model_pegboard.py WIRE ADDRESS
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Any

import model_contender
import pegboard
from model_contender import Answered, Turn
from pegboard import Agent, Message, ModelBase
from pegboard.history import MessageLog
from pegboard.types import ModelRequest, StreamEvent

SYSTEM = "You answer in one sentence."
TASK = "Please answer ask-{}; and nothing else."


async def _key() -> str:
    return "k"


def model_of(wire: str, url: str) -> ModelBase:
    """The model whose plugin speaks a wire; the plugins of the others are not imported."""
    if wire == "anthropic":
        from pegboard_anthropic.config import Settings as AnthropicSettings
        from pegboard_anthropic.model import AnthropicModel

        return AnthropicModel("claude-x", key=_key, settings=AnthropicSettings(base_url=url))
    if wire == "gemini":
        from pegboard_gemini.config import Settings as GeminiSettings
        from pegboard_gemini.model import GeminiModel

        return GeminiModel("gemini-x", key=_key, settings=GeminiSettings(base_url=url, api_version="v1beta"))
    from pegboard_openai.config import Settings as OpenAISettings
    from pegboard_openai.model import OpenAIModel

    api: Any = "chat" if wire == "openai-chat" else "responses"
    return OpenAIModel("gpt-x", key=_key, settings=OpenAISettings(base_url=f"{url}/v1", api=api))


def history(count: int) -> Sequence[Message]:
    """A conversation as a run hands it back."""
    make = (Message.user, Message.assistant)
    return MessageLog([make[place % 2](f"message number {place}") for place in range(count)]).view()


def params(wire: str, count: int) -> str:
    """What the SDK is to be given for the same request, as JSON."""
    request = ModelRequest(
        model="", messages=[*history(count), Message.user(TASK.format(0))], instructions=SYSTEM, run="r" * 16
    )
    model: Any = model_of(wire, "")
    if wire == "anthropic":
        from pegboard_anthropic.sending import Sending as AnthropicSending

        return json.dumps(AnthropicSending(request, model.name).params)
    if wire == "gemini":
        from pegboard_gemini.sending import Sending as GeminiSending

        sending = GeminiSending(request, model.name)
        return json.dumps({"model": model.name, "contents": sending.contents, "config": sending.config})
    import pegboard_chatwire as chat
    from pegboard_openai import responses
    from pegboard_openai.model import CHAT
    from pegboard_openai.models import line_of
    from pegboard_openai.tuning import tuned

    line = line_of(model.name)
    fit = tuned(request, line)
    if wire == "openai":
        return json.dumps(responses.Sending(fit, model.name, line).params)
    return json.dumps({**chat.Sending(fit.request, model.name, CHAT).params, "prompt_cache_key": fit.cache_key})


class Ours:
    """Turns and runs of pegboard; the board is opened for the first run, since a turn does without one."""

    def __init__(self, stack: AsyncExitStack, model: ModelBase) -> None:
        self._stack = stack
        self._board: Any = None
        self._model = model
        self._agent = Agent(model=model, instructions=SYSTEM)

    async def prepare(self, order: Any) -> Sequence[Turn]:
        tasks = map(TASK.format, order["numbers"])
        if order["kind"] == "turn":
            return [partial(self._turn, task) for task in tasks]
        if self._board is None:
            self._board = await self._stack.enter_async_context(pegboard.Pegboard())
        before = history(order.get("history", 0))
        return [partial(self._run, task, before) for task in tasks]

    async def _turn(self, task: str) -> Answered:
        return await answered(self._model.stream_response(self._agent, task))

    async def _run(self, task: str, before: Sequence[Message]) -> Answered:
        return await answered(self._board.stream(self._agent, task, history=before))


async def answered(events: AsyncGenerator[StreamEvent, None]) -> Answered:
    """A run's answer, from its events; one that failed raises."""
    deltas: list[str] = []
    count = 0
    async with aclosing(events):
        async for event in events:
            count += 1
            if event.type == "text":
                deltas.append(event.content)
    result = event.content.raise_for_error()
    if event.seq != count - 1 or result.degraded or result.output != "".join(deltas):
        raise SystemExit(f"{count} events to the number {event.seq}, {result.degraded}: {result.output}")
    return Answered(deltas, result.usage.input_tokens)


async def main(wire: str, url: str) -> None:
    """Take orders."""
    model = model_of(wire, url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(model.aclose)
        await model_contender.obey(Ours(stack, model))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
