"""A Gemini model over the official SDK, which is imported at the first request."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial

from pegboard.errors import CredentialsMissingError, ModelFault
from pegboard.listing import ListedModel
from pegboard.types import ModelCapabilities, ModelChunk, ModelRequest
from pegboard.wire import Key, SdkClient, told

from pegboard_gemini.config import Settings
from pegboard_gemini.connection import Connection
from pegboard_gemini.faults import SET_KEY, fault_of
from pegboard_gemini.models import capabilities_of
from pegboard_gemini.receiving import Receiving
from pegboard_gemini.sending import PROVIDER, Sending

_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")


class GeminiModel(ListedModel):
    """One of the Gemini models, by `generateContent`.

    `key` is asked once, at the first request; without one the key is in `GEMINI_API_KEY` or `GOOGLE_API_KEY`. The
    client belongs to the event loop that it was made in.
    """

    provider = PROVIDER

    def __init__(self, name: str, *, key: Key | None = None, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self.name = name
        self.answer_timeout_s = settings.answer_timeout_s
        self._sdk = SdkClient(partial(Connection, settings), key or _key_of_environment)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """One answer; nothing is repeated, since whether to is for `recover` to say.

        It is one request, unless the server cuts the answer in two and gives a token for the rest.
        """
        sending = Sending(request, self.name)
        for omission in sending.omitted:
            yield ModelChunk(omitted=omission)
        connection = await self._sdk.get()
        receiving = Receiving(sending, self.name)
        config = sending.config
        while True:
            async with aclosing(connection.answer(self.name, sending.contents, config)) as pieces:
                async for piece in pieces:
                    for chunk in receiving.take(piece):
                        yield chunk
            rest = receiving.rest()
            if rest is None:
                break
            config = {**config, "continuation_token": rest}
        for chunk in receiving.end():
            yield chunk

    def capabilities(self, model: str) -> ModelCapabilities:
        """What is known of this or another of the Gemini models."""
        return capabilities_of(model)

    def classify_error(self, exc: Exception) -> ModelFault | None:
        """Errors of the SDK, and those that come through it from below."""
        fault = fault_of(exc)
        return told(fault, self.secrets()) if fault is not None else None

    def secrets(self) -> Sequence[str]:
        """The key, once it was asked for."""
        return self._sdk.secrets

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The provider's own count of the messages; it costs a request, and no tokens.

        The counter of this API takes neither instructions nor tools, so they are counted as text.
        """
        sending = Sending(request, self.name)
        beside = [str(sending.config[name]) for name in ("system_instruction", "tools") if name in sending.config]
        contents = [*sending.contents, *({"role": "user", "parts": [{"text": text}]} for text in beside)]
        connection = await self._sdk.get()
        try:
            return await connection.count(self.name, contents)
        except Exception as exc:
            raise self.classify_error(exc) or exc from exc

    async def connect(self) -> None:
        """Find the key and make the client; nothing is sent."""
        await self._sdk.get()

    async def verify(self) -> bool:
        """Ask for the description of the model; one request, free of charge. A gateway may have none."""
        connection = await self._sdk.get()
        return await connection.describes(self.name)

    async def names(self) -> Sequence[str]:
        """The models that the API offers for the key, those that chat; free of charge."""
        connection = await self._sdk.get()
        return await connection.names()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.close()


async def _key_of_environment() -> str:
    for name in _VARIABLES:
        if key := os.environ.get(name):
            return key
    raise CredentialsMissingError("Gemini needs a key, and the environment has none", hint=SET_KEY)


__all__ = ["GeminiModel"]
