"""The bare SDKs in the benchmark `models.py`: a stream is read to its end, and nothing of pegboard is imported.

    python tests/bench/model_bare.py WIRE ADDRESS

Parameters come with an order, as JSON in which `ask-0;` stands for the number of a request.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import model_contender
from model_contender import Answered, Turn

Params = dict[str, Any]


class Bare:
    """Turns of an SDK."""

    def __init__(self, take: Callable[[Params], Any]) -> None:
        self._take = take

    async def prepare(self, order: Any) -> Sequence[Turn]:
        asked = order["params"]
        ready = [json.loads(asked.replace("ask-0;", f"ask-{number};")) for number in order["numbers"]]
        return [partial(self._take, params) for params in ready]


def anthropic_turn(url: str) -> Callable[[Params], Any]:
    import anthropic

    client = anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0)

    create: Any = client.messages.create

    async def take(params: Params) -> Answered:
        deltas: list[str] = []
        tokens = None
        async with await create(**params, stream=True) as events:
            async for event in events:
                if event.type == "content_block_delta":
                    deltas.append(event.delta.text)
                elif event.type == "message_start":
                    tokens = event.message.usage.input_tokens
        return Answered(deltas, tokens)

    return take


def chat_turn(url: str) -> Callable[[Params], Any]:
    import openai

    client = openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0)

    create: Any = client.chat.completions.create

    async def take(params: Params) -> Answered:
        deltas: list[str] = []
        tokens = None
        async with await create(**params, stream=True) as chunks:
            async for chunk in chunks:
                if chunk.choices and chunk.choices[0].delta.content:
                    deltas.append(chunk.choices[0].delta.content)
                elif chunk.usage is not None:
                    tokens = chunk.usage.prompt_tokens
        return Answered(deltas, tokens)

    return take


def responses_turn(url: str) -> Callable[[Params], Any]:
    import openai

    client = openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0)

    create: Any = client.responses.create

    async def take(params: Params) -> Answered:
        deltas: list[str] = []
        tokens = None
        async with await create(**params, stream=True) as events:
            async for event in events:
                if event.type == "response.output_text.delta":
                    deltas.append(event.delta)
                elif event.type == "response.completed":
                    tokens = event.response.usage.input_tokens
        return Answered(deltas, tokens)

    return take


def gemini_turn(url: str) -> Callable[[Params], Any]:
    import httpx2
    from google import genai

    # With the connections that the others have; by itself it has a hundred, for which the rest would wait.
    http = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1_000, max_keepalive_connections=100), timeout=120)
    options = genai.types.HttpOptions(base_url=url, api_version="v1beta", httpx_async_client=http)
    client = genai.Client(api_key="k", vertexai=False, http_options=options)

    async def take(params: Params) -> Answered:
        deltas: list[str] = []
        tokens = None
        pieces: AsyncIterator[Any] = await client.aio.models.generate_content_stream(**params)
        async for piece in pieces:
            deltas.append(piece.candidates[0].content.parts[0].text)
            if piece.usage_metadata is not None:
                tokens = piece.usage_metadata.prompt_token_count
        return Answered(deltas, tokens)

    return take


TAKES = {"anthropic": anthropic_turn, "openai-chat": chat_turn, "openai": responses_turn, "gemini": gemini_turn}


if __name__ == "__main__":
    wire, url = sys.argv[1:]
    asyncio.run(model_contender.obey(Bare(TAKES[wire](url))))
