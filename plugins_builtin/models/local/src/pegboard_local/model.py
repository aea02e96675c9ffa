"""A model of a server that speaks Chat Completions, over the `openai` SDK, which is imported at the first request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pegboard_chatwire as chat
from pegboard.errors import (
    ModelAuthError,
    ModelConnectionError,
    ModelFault,
    ModelNotOfferedError,
    ModelUnsupportedError,
)
from pegboard.model import ModelBase
from pegboard.types import ModelCapabilities, ModelChunk, ModelRequest, Omission
from pegboard.wire import MOST_NAMES, Key, SdkClient, ids_of, told
from pegboard_chatwire.faults import StreamFaults, fault_of

from pegboard_local.config import Settings
from pegboard_local.servers import Server
from pegboard_local.thinking import without_tags

if TYPE_CHECKING:
    import openai

_NO_KEY: Final = "none"
"""The SDK wants one, and would else send that of OpenAI."""
_NO_TOOLS: Final = re.compile(
    r"(does not|doesn't) support (tools|tool|function)|(tools?|function)( use| calling| calls?)? (is|are) not supported"
    r"|requires? --jinja|--enable-auto-tool-choice",
    re.IGNORECASE,
)
"""How Ollama, llama.cpp and vLLM refuse tools."""
_REFUSED: Final[set[tuple[str, str]]] = set()
"""Servers and models that refused tools; kept for the process, since that costs a request each time."""


class LocalModel(ModelBase):
    """A model of one server.

    `key` is asked once, at the first request; without one none is sent. The client belongs to the event loop that it
    was made in.
    """

    def __init__(self, name: str, server: Server, *, key: Key | None = None, settings: Settings | None = None) -> None:
        self.name = name
        self.provider = server.name
        self._server = server
        self._dialect = chat.Dialect(
            provider=server.preset.title,
            limit="max_tokens",
            strict=False,
            usage="asked",
            thinking=("reasoning_content", "reasoning"),
        )
        settings = settings or Settings()
        self.answer_timeout_s = settings.answer_timeout_s
        self._sdk = SdkClient(partial(_client, server, settings), key)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """One request; `max_retries` is 0, since whether it is repeated is for `recover` to say."""
        if request.tools and self._refuses_tools:
            raise self._no_tools("it has refused them before")
        sending = self._sending(request)
        client = await self._sdk.get()
        create: Any = client.chat.completions.create
        events = await create(**sending.params, extra_body=sending.extra or None, stream=True)
        async with events:
            chunks: Any = chat.Receiving(sending, self.name, self._dialect).chunks(events)
            async with aclosing(chunks), aclosing(without_tags(chunks)) as parts:
                with StreamFaults():
                    async for chunk in parts:
                        yield chunk

    def capabilities(self, model: str) -> ModelCapabilities:
        """Little is known of a server before it was asked; what it has refused is known."""
        return ModelCapabilities(
            tools="no" if self._refuses_tools and model == self.name else "unknown", system_role="yes"
        )

    def classify_error(self, exc: Exception) -> ModelFault | None:
        """Errors of the SDK, and those that come through it from below, with what to type."""
        fault = fault_of(exc)
        return told(self._with_what_to_type(fault), self.secrets()) if fault is not None else None

    def secrets(self) -> Sequence[str]:
        """The key, once it was asked for."""
        return self._sdk.secrets

    def _with_what_to_type(self, fault: ModelFault) -> ModelFault:
        preset = self._server.preset
        if _NO_TOOLS.search(fault.message):
            _REFUSED.add((self._server.url, self.name))
            return self._no_tools(fault.message, status=fault.status)
        if isinstance(fault, ModelNotOfferedError) and preset.load:
            fault.hint = preset.load.format(self.name)
        if isinstance(fault, ModelAuthError):
            fault.hint = "peg config explain plugins.local.api_key"
        if isinstance(fault, ModelConnectionError):
            fault.hint = preset.start or "peg config explain plugins.local.base_url"
        return fault

    async def connect(self) -> None:
        """Find the key and make the client; nothing is sent."""
        await self._sdk.get()

    async def verify(self) -> bool:
        """Ask the server which models it has; llama.cpp and whatever is configured may take others too."""
        client = await self._sdk.get()
        names = await ids_of(client.models.list())
        preset = self._server.preset
        is_listed = not {self.name, f"{self.name}:latest"}.isdisjoint(names)
        if not is_listed and preset.lists_all and len(names) <= MOST_NAMES:
            known = ", ".join(f"`{name}`" for name in names) or "none"
            raise ModelNotOfferedError(
                f"{preset.title} has no model `{self.name}`; it has {known}",
                hint=preset.load.format(self.name) if preset.load else None,
            )
        return is_listed

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    @property
    def _refuses_tools(self) -> bool:
        return (self._server.url, self.name) in _REFUSED

    def _no_tools(self, why: str, *, status: int | None = None) -> ModelUnsupportedError:
        return ModelUnsupportedError(
            f"{self._server.preset.title} takes no tools with `{self.name}`: {why}",
            status=status,
            phase="headers",
            hint="give the agent another model, or none of the tools",
        )

    def _sending(self, request: ModelRequest) -> chat.Sending:
        omitted: tuple[Omission, ...] = ()
        if request.settings.thinking not in (None, "off"):
            omitted = (Omission("the setting `thinking`", "servers have no word for it in common; `extra` may say it"),)
        return chat.Sending(request, self.name, self._dialect, omitted=omitted)


def _client(server: Server, settings: Settings, key: str | None) -> openai.AsyncOpenAI:
    import openai

    client = openai.AsyncOpenAI(
        api_key=key or _NO_KEY,
        base_url=server.url,
        max_retries=0,
        timeout=openai.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
        # A proxy of the environment is for other machines, and would look for the server on its own one.
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False) if server.is_loopback else None,
    )
    # The SDK takes these from the environment; they are meant for OpenAI, and for nobody else to see.
    client.organization = client.project = client.admin_api_key = None
    return client


__all__ = ["LocalModel"]
