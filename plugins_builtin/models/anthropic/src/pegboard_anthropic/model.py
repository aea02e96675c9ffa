"""A model of Anthropic over the official SDK, which is imported at the first request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from pegboard.errors import ModelFault, ModelStreamMalformedError
from pegboard.model import ModelBase
from pegboard.types import ModelCapabilities, ModelChunk, ModelRequest
from pegboard.wire import fault_of_status, fault_of_transport

from pegboard_anthropic.config import Settings
from pegboard_anthropic.models import capabilities_of
from pegboard_anthropic.receiving import Receiving
from pegboard_anthropic.sending import PROVIDER, Sending

if TYPE_CHECKING:
    import anthropic

Key = Callable[[], Awaitable[str]]
"""Gives the key at the first request."""
_STATUS_OF_TYPE = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip
"""An error within a stream has the type alone; its HTTP status was 200."""


class AnthropicModel(ModelBase):
    """One of Anthropic's models, by the Messages API.

    `key` is asked once, at the first request; without one the SDK looks where it always looks. The client belongs to
    the event loop that it was made in.
    """

    provider = PROVIDER

    def __init__(self, name: str, *, key: Key | None = None, settings: Settings | None = None) -> None:
        self.name = name
        self._key = key
        self._settings = settings or Settings()
        self._client: anthropic.AsyncAnthropic | None = None
        self._making = asyncio.Lock()

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """One request; `max_retries` is 0, since whether it is repeated is for `recover` to say."""
        sending = Sending(request, self.name)
        client = await self._connected()
        events = await client.messages.create(**sending.params, stream=True)
        async with events:
            chunks = Receiving(sending, self.name).chunks(events)
            async with aclosing(chunks):  # type: ignore[type-var]  # it is a generator
                async for chunk in chunks:
                    yield chunk

    def capabilities(self, model: str) -> ModelCapabilities:
        """What is known of this or another of Anthropic's models."""
        return capabilities_of(model)

    def classify_error(self, exc: Exception) -> ModelFault | None:
        """Errors of the SDK, and those that come through it from below."""
        status = getattr(exc, "status_code", None)
        if status is not None:
            return _fault_of_answer(exc, status, self._client.api_key if self._client else None)
        if isinstance(exc, AssertionError):  # so the SDK says that an answer with status 200 is no stream of events
            return ModelStreamMalformedError("the answer is no stream of events", phase="parse")
        return fault_of_transport(exc)

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The provider's own count; it costs a request, and no tokens."""
        kept = ("model", "messages", "system", "tools", "tool_choice", "thinking")
        params = {name: value for name, value in Sending(request, self.name).params.items() if name in kept}
        client = await self._connected()
        try:
            return (await client.messages.count_tokens(**params)).input_tokens
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

    async def _connected(self) -> anthropic.AsyncAnthropic:
        async with self._making:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def _connect(self) -> anthropic.AsyncAnthropic:
        key = await self._key() if self._key is not None else None
        # The import takes half a second, in which the loop has others to serve.
        return await asyncio.to_thread(_client, key, self._settings)


def _client(key: str | None, settings: Settings) -> anthropic.AsyncAnthropic:
    import anthropic

    return anthropic.AsyncAnthropic(
        api_key=key,
        base_url=settings.base_url,
        max_retries=0,
        timeout=anthropic.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
    )


def _fault_of_answer(exc: Any, status: int, key: str | None) -> ModelFault:
    if status < 400:
        status = _STATUS_OF_TYPE.get(str(getattr(exc, "type", None)), 500)
    message = getattr(exc, "api_message", None) or str(exc)
    headers = {name.lower(): value for name, value in exc.response.headers.items()}
    return fault_of_status(status, message, headers, secret=key)


__all__ = ["AnthropicModel", "Key"]
