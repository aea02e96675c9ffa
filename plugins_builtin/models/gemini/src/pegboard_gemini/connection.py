"""The SDK's client over an HTTP client of ours: a timeout for each phase, no retries, connections closed at once."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import AsyncGenerator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pegboard.errors import ModelConnectionError, ModelStreamCutError, ModelStreamMalformedError
from pegboard.wire import fault_of_transport, first_names

from pegboard_gemini.config import Settings

if TYPE_CHECKING:
    import httpx2
    from google import genai

_PAGE_SIZE: Final = 1_000
_HOST: Final = "generativelanguage.googleapis.com"
_opened: ContextVar[list[httpx2.Response] | None] = ContextVar("_opened", default=None)
"""Where the response goes that is being opened in this context."""


class Connection:
    """One client; it belongs to the event loop that it is used in.

    The SDK would make HTTP clients of its own: over aiohttp, where that is installed, it asks again by itself after a
    failed connection, and over httpx2 it has no timeout, or one for all phases.
    """

    def __init__(self, settings: Settings, key: str | None) -> None:
        import httpx2
        from google import genai

        # A reason that it does not know is a warning of the SDK; here it is an answer that ended in another way.
        warnings.filterwarnings("ignore", r".* is not a valid \w+$", UserWarning, r"google\.genai\._common")
        # It looks at the environment even when it is given a key, and then says that another one is used.
        logging.getLogger("google_genai._api_client").addFilter(_is_no_talk_of_keys)
        timeout = httpx2.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s)
        address = settings.base_url or os.environ.get("GOOGLE_GEMINI_BASE_URL")
        self._is_own = not address or urlsplit(address).hostname == _HOST
        self._timeout = timeout.as_dict()
        self._http = httpx2.AsyncClient(
            limits=httpx2.Limits(max_connections=1_000, max_keepalive_connections=100),
            event_hooks={"request": [self._limit], "response": [_remember]},
        )
        options: Any = {"httpx_async_client": self._http}
        if settings.base_url is not None:
            options["base_url"] = settings.base_url
        if settings.api_version is not None:
            options["api_version"] = settings.api_version
        self._client: genai.Client = genai.Client(
            api_key=key, vertexai=False, http_options=genai.types.HttpOptions(**options)
        )

    async def answer(self, model: str, contents: Any, config: Any) -> AsyncGenerator[Any, None]:
        """The pieces of one answer. Leaving closes the connection; the SDK leaves that to the garbage collector."""
        opened: list[httpx2.Response] = []
        pieces: Any = await self._client.aio.models.generate_content_stream(
            model=model, contents=contents, config=config
        )
        try:
            first = await _first(pieces, opened)
            if first is not None:
                yield first
            async for piece in pieces:
                yield piece
        finally:
            for response in opened:
                await response.aclose()
            await pieces.aclose()

    async def count(self, model: str, contents: Any) -> int | None:
        """Tokens of contents, by the provider's counter."""
        return (await self._client.aio.models.count_tokens(model=model, contents=contents)).total_tokens

    async def describes(self, model: str) -> bool:
        """Whether the API describes a model; a gateway may lack that and have the model all the same.

        Raises:
            ModelStreamMalformedError: the answer was something else.
        """
        try:
            found = await self._client.aio.models.get(model=model)
        except Exception as exc:
            if getattr(exc, "code", None) != 404 or self._is_own:
                raise
            return False
        if not found.name:  # the SDK takes every JSON for one
            raise ModelStreamMalformedError("the answer is no description of a model", phase="parse")
        return True

    async def names(self) -> Sequence[str]:
        """The models that generate content, without the `models/` of their names."""
        listed: Any = await self._client.aio.models.list(config={"page_size": _PAGE_SIZE})
        return await first_names(model.name.removeprefix("models/") async for model in listed if _chats(model))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._client.close()

    async def _limit(self, request: httpx2.Request) -> None:
        request.extensions["timeout"] = self._timeout  # the SDK has set that there is none


async def _first(pieces: Any, opened: list[httpx2.Response]) -> Any:
    """The first piece; the request is sent here, and its response is put into `opened`."""
    token = _opened.set(opened)
    try:
        return await anext(pieces, None)
    except Exception as exc:
        if not opened and isinstance(fault := fault_of_transport(exc), ModelStreamCutError):
            # There is no stream yet that could have been cut.
            raise ModelConnectionError(fault.message, phase="connect") from exc
        raise
    finally:
        _opened.reset(token)


async def _remember(response: httpx2.Response) -> None:
    opened = _opened.get()
    if opened is not None:
        opened.append(response)


def _chats(model: Any) -> bool:
    return "generateContent" in (model.supported_actions or ("generateContent",))  # version v1 of the API does not say


def _is_no_talk_of_keys(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Both GOOGLE_API_KEY")


__all__ = ["Connection"]
