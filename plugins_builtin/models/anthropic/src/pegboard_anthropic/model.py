"""A model of Anthropic over the official SDK, which is imported at the first request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from pegboard.errors import ModelAuthError, ModelFault, ModelStreamMalformedError
from pegboard.listing import ListedModel
from pegboard.types import ModelCapabilities, ModelChunk, ModelRequest
from pegboard.wire import Key, SdkClient, fault_of_status, fault_of_transport, ids_of, is_described, told

from pegboard_anthropic.config import Settings
from pegboard_anthropic.models import capabilities_of
from pegboard_anthropic.receiving import Receiving
from pegboard_anthropic.sending import PROVIDER, Sending

if TYPE_CHECKING:
    import anthropic

_STATUS_OF_TYPE = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip
"""An error within a stream has the type alone; its HTTP status was 200."""
_HOST = "api.anthropic.com"
_SET_KEY = "export ANTHROPIC_API_KEY=…"


class AnthropicModel(ListedModel):
    """One of Anthropic's models, by the Messages API.

    `key` is asked once, at the first request; without one the SDK looks where it always looks. The client belongs to
    the event loop that it was made in.
    """

    provider = PROVIDER

    def __init__(self, name: str, *, key: Key | None = None, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self.name = name
        self.answer_timeout_s = settings.answer_timeout_s
        self._sdk = SdkClient(partial(_client, settings), key, own=("api_key", "auth_token"))

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """One request; `max_retries` is 0, since whether it is repeated is for `recover` to say."""
        sending = Sending(request, self.name)
        client = await self._sdk.get()
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
        fault = _fault_of(exc)
        return told(fault, self.secrets()) if fault is not None else None

    def secrets(self) -> Sequence[str]:
        """The key, once it was asked for."""
        return self._sdk.secrets

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The provider's own count; it costs a request, and no tokens."""
        kept = ("model", "messages", "system", "tools", "tool_choice", "thinking")
        params = {name: value for name, value in Sending(request, self.name).params.items() if name in kept}
        client = await self._sdk.get()
        try:
            return (await client.messages.count_tokens(**params)).input_tokens
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


def _client(settings: Settings, key: str | None) -> anthropic.AsyncAnthropic:
    import anthropic

    return anthropic.AsyncAnthropic(
        api_key=key,
        base_url=settings.base_url,
        max_retries=0,
        timeout=anthropic.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
    )


def _fault_of(exc: Exception) -> ModelFault | None:
    status = getattr(exc, "status_code", None)
    if status is not None:
        return _fault_of_answer(exc, status)
    if isinstance(exc, AssertionError):  # so the SDK says that an answer with status 200 is no stream of events
        return ModelStreamMalformedError("the answer is no stream of events", phase="parse")
    if isinstance(exc, TypeError) and "authentication method" in str(exc):  # and so, that it has found no key
        return ModelAuthError("there is no key", hint=_SET_KEY)
    return fault_of_transport(exc)


def _fault_of_answer(exc: Any, status: int) -> ModelFault:
    if status < 400:
        status = _STATUS_OF_TYPE.get(str(getattr(exc, "type", None)), 500)
    message = getattr(exc, "api_message", None) or str(exc)
    headers = {name.lower(): value for name, value in exc.response.headers.items()}
    fault = fault_of_status(status, message, headers)
    if isinstance(fault, ModelAuthError):
        fault.hint = _SET_KEY
    return fault


__all__ = ["AnthropicModel"]
