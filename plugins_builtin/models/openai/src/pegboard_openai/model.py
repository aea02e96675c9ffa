"""A model of OpenAI over the official SDK, which is imported at the first request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pegboard_chatwire as chat
from pegboard.errors import ModelFault
from pegboard.model import ModelBase
from pegboard.types import ModelCapabilities, ModelChunk, ModelRequest
from pegboard_chatwire.faults import StreamFaults
from pegboard_chatwire.parts import without_empty

from pegboard_openai import responses
from pegboard_openai.config import Settings
from pegboard_openai.faults import fault_of
from pegboard_openai.models import capabilities_of, line_of
from pegboard_openai.tuning import tuned

if TYPE_CHECKING:
    import openai

Key = Callable[[], Awaitable[str]]
"""Gives the key at the first request."""
_Both = tuple[chat.Sending | responses.Sending, chat.Receiving | responses.Receiving]
PROVIDER = "openai"
CHAT = chat.Dialect(provider="OpenAI")
"""Chat Completions as OpenAI speaks it."""
_COUNTED = ("model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "parallel_tool_calls")
"""Parameters that the counter of tokens takes."""


class OpenAIModel(ModelBase):
    """One of OpenAI's models, by Responses or Chat Completions as `settings.api` says.

    `key` is asked once, at the first request; without one the SDK looks where it always looks. The client belongs to
    the event loop that it was made in.
    """

    provider = PROVIDER

    def __init__(self, name: str, *, key: Key | None = None, settings: Settings | None = None) -> None:
        self.name = name
        self._key = key
        self._settings = settings or Settings()
        self._client: openai.AsyncOpenAI | None = None
        self._making = asyncio.Lock()

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """One request; `max_retries` is 0, since whether it is repeated is for `recover` to say."""
        by_chat = self._settings.api == "chat"
        sending, receiving = self._by_chat(request) if by_chat else self._by_responses(request)
        client = await self._connected()
        create: Any = client.chat.completions.create if by_chat else client.responses.create
        events = await create(**sending.params, extra_body=sending.extra or None, stream=True)
        async with events:
            chunks = receiving.chunks(events)
            async with aclosing(chunks):  # type: ignore[type-var]  # it is a generator
                with StreamFaults():
                    async for chunk in chunks:
                        yield chunk

    def capabilities(self, model: str) -> ModelCapabilities:
        """What is known of this or another of OpenAI's models."""
        return capabilities_of(model, self._settings.api)

    def classify_error(self, exc: Exception) -> ModelFault | None:
        """Errors of the SDK, and those that come through it from below."""
        return fault_of(exc, self._client.api_key if self._client else None)

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The provider's own count, which Responses alone has; it costs a request, and no tokens."""
        if self._settings.api == "chat":
            return None
        sending, _ = self._by_responses(request)
        params: dict[str, Any] = {name: value for name, value in sending.params.items() if name in _COUNTED}
        client = await self._connected()
        try:
            return (await client.responses.input_tokens.count(**params)).input_tokens
        except Exception as exc:
            raise self.classify_error(exc) or exc from exc

    async def connect(self) -> None:
        """Find the key and make the client; nothing is sent."""
        await self._connected()

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _by_responses(self, request: ModelRequest) -> _Both:
        line = line_of(self.name)
        sending = responses.Sending(tuned(request, line), self.name, line)
        return sending, responses.Receiving(sending, self.name)

    def _by_chat(self, request: ModelRequest) -> _Both:
        fit = tuned(request, line_of(self.name))
        more = without_empty(reasoning_effort=fit.effort, prompt_cache_key=fit.cache_key)
        sending = chat.Sending(fit.request, self.name, CHAT, more=more, omitted=fit.omitted)
        return sending, chat.Receiving(sending, self.name, CHAT)

    async def _connected(self) -> openai.AsyncOpenAI:
        async with self._making:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def _connect(self) -> openai.AsyncOpenAI:
        key = await self._key() if self._key is not None else None
        # The import takes a second, in which the loop has others to serve.
        return await asyncio.to_thread(_client, key, self._settings)


def _client(key: str | None, settings: Settings) -> openai.AsyncOpenAI:
    import openai

    return openai.AsyncOpenAI(
        api_key=key,
        base_url=settings.base_url,
        organization=settings.organization,
        project=settings.project,
        max_retries=0,
        timeout=openai.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
    )


__all__ = ["CHAT", "PROVIDER", "Key", "OpenAIModel"]
