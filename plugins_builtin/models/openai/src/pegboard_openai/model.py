"""A model of OpenAI over the official SDK, which is imported at the first request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import pegboard_chatwire as chat
from pegboard.errors import ModelFault
from pegboard.listing import ListedModel
from pegboard.types import ModelCapabilities, ModelChunk, ModelRequest
from pegboard.wire import Key, SdkClient, ids_of, is_described, told, without_empty
from pegboard_chatwire.faults import StreamFaults

from pegboard_openai import responses
from pegboard_openai.config import Settings
from pegboard_openai.faults import fault_of
from pegboard_openai.models import capabilities_of, line_of
from pegboard_openai.tuning import tuned

if TYPE_CHECKING:
    import openai

_Both = tuple[chat.Sending | responses.Sending, chat.Receiving | responses.Receiving]
PROVIDER = "openai"
_HOST = "api.openai.com"
CHAT = chat.Dialect(provider="OpenAI")
"""Chat Completions as OpenAI speaks it."""
_COUNTED = ("model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "parallel_tool_calls")
"""Parameters that the counter of tokens takes."""


class OpenAIModel(ListedModel):
    """One of OpenAI's models, by Responses or Chat Completions as `settings.api` says.

    `key` is asked once, at the first request; without one the SDK looks where it always looks. The client belongs to
    the event loop that it was made in.
    """

    provider = PROVIDER

    def __init__(self, name: str, *, key: Key | None = None, settings: Settings | None = None) -> None:
        self.name = name
        self._settings = settings or Settings()
        self.answer_timeout_s = self._settings.answer_timeout_s
        self._sdk = SdkClient(partial(_client, self._settings), key, own=("api_key",))

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """One request; `max_retries` is 0, since whether it is repeated is for `recover` to say."""
        by_chat = self._settings.api == "chat"
        sending, receiving = self._by_chat(request) if by_chat else self._by_responses(request)
        client = await self._sdk.get()
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
        fault = fault_of(exc)
        return told(fault, self.secrets()) if fault is not None else None

    def secrets(self) -> Sequence[str]:
        """The key, once it was asked for."""
        return self._sdk.secrets

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The provider's own count, which Responses alone has; it costs a request, and no tokens."""
        if self._settings.api == "chat":
            return None
        sending, _ = self._by_responses(request)
        params: dict[str, Any] = {name: value for name, value in sending.params.items() if name in _COUNTED}
        client = await self._sdk.get()
        try:
            return (await client.responses.input_tokens.count(**params)).input_tokens
        except Exception as exc:
            raise self.classify_error(exc) or exc from exc

    async def connect(self) -> None:
        """Find the key and make the client; nothing is sent."""
        await self._sdk.get()

    async def verify(self) -> bool:
        """Ask for the description of the model; one request, free of charge. A gateway may have none."""
        client = await self._sdk.get()
        return await is_described(client.models.retrieve(self.name), client.base_url, _HOST)

    async def names(self) -> Sequence[str]:
        """The models that the provider offers for the key; free of charge."""
        client = await self._sdk.get()
        return await ids_of(client.models.list())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    def _by_responses(self, request: ModelRequest) -> _Both:
        line = line_of(self.name)
        sending = responses.Sending(tuned(request, line), self.name, line)
        return sending, responses.Receiving(sending, self.name)

    def _by_chat(self, request: ModelRequest) -> _Both:
        fit = tuned(request, line_of(self.name))
        more = without_empty(reasoning_effort=fit.effort, prompt_cache_key=fit.cache_key)
        sending = chat.Sending(fit.request, self.name, CHAT, more=more, omitted=fit.omitted)
        return sending, chat.Receiving(sending, self.name, CHAT)


def _client(settings: Settings, key: str | None) -> openai.AsyncOpenAI:
    import openai

    return openai.AsyncOpenAI(
        api_key=key,
        base_url=settings.base_url,
        organization=settings.organization,
        project=settings.project,
        max_retries=0,
        timeout=openai.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
    )


__all__ = ["CHAT", "PROVIDER", "OpenAIModel"]
