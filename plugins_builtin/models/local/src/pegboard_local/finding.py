"""Looks for servers that are ready and have a model: `GET` only, all at once, and only for `auto` and for lists."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from pegboard.lazy import LazyModule

from pegboard_local.servers import CONFIGURED, Server

if TYPE_CHECKING:
    import httpx2
else:
    httpx2 = LazyModule("httpx2")

WITHIN_S: Final = 0.3
"""For a server of this machine."""
ELSEWHERE_WITHIN_S: Final = 2.0
"""For one that the configuration names elsewhere."""
_NO_CHAT: Final = re.compile(r"embed|rerank|\bbge-|\be5-|whisper|\btts\b", re.IGNORECASE)
"""In the names of models that cannot chat."""


class Found(NamedTuple):
    """A server that is ready, and the first of its models that can chat."""

    server: Server
    model: str


class _Item(msgspec.Struct):
    """A model in a list; every kind of server fills other fields."""

    id: str = ""
    name: str = ""
    type: str = "llm"
    state: str = ""
    remote_host: str = ""

    @property
    def chats(self) -> bool:
        # What has a remote host is no model of this machine, though a server of this machine lists it.
        return (
            self.type in ("llm", "vlm", "model") and not self.remote_host and not _NO_CHAT.search(self.id or self.name)
        )


class _List(msgspec.Struct):
    data: list[_Item] = []
    models: Any = None


class _Tags(msgspec.Struct):
    models: list[_Item] = []


async def first_ready(servers: Iterable[Server], keys: Mapping[str, str] | None = None) -> Found | None:
    """The first of these servers that is ready and has a model; all are asked at the same time.

    `keys` has the key of a server by its name, for those that want one.
    """
    found = await all_models(servers, keys)
    return next((Found(server, models[0]) for server, models in found if models), None)


async def all_models(
    servers: Iterable[Server], keys: Mapping[str, str] | None = None
) -> Sequence[tuple[Server, Sequence[str]]]:
    """Each of these servers with its models that can chat, as `models_of`; all are asked at the same time."""
    asked = tuple(servers)
    async with _client() as client:
        found = await asyncio.gather(*(_models(client, server, (keys or {}).get(server.name)) for server in asked))
    return list(zip(asked, found, strict=True))


async def models_of(server: Server, key: str | None = None) -> Sequence[str]:
    """The models of a server that can chat, loaded ones first; none where it is not ready in time."""
    async with _client() as client:
        return await _models(client, server, key)


def _client() -> httpx2.AsyncClient:
    # Not by the proxy of the environment: what is asked for is on this machine, or the person has named it.
    return httpx2.AsyncClient(trust_env=False, timeout=None)


async def _models(client: httpx2.AsyncClient, server: Server, key: str | None) -> Sequence[str]:
    try:
        async with asyncio.timeout(WITHIN_S if server.is_loopback else ELSEWHERE_WITHIN_S):
            return await _listed(partial(_get, client, key), server)
    except (TimeoutError, ValueError, OSError, httpx2.HTTPError, httpx2.InvalidURL, msgspec.MsgspecError):
        return ()


async def _listed(get: Callable[[str], Awaitable[bytes]], server: Server) -> Sequence[str]:
    preset = server.preset
    if preset.ready is not None:
        await get(server.beside(preset.ready))
    try:
        body = await get(server.beside(preset.models))
    except httpx2.HTTPStatusError:
        if preset.models.startswith("/v1") or preset is CONFIGURED:
            raise
        body = await get(server.beside("/v1/models"))  # an older one, or another kind at its port
    items = _items(body)
    return [item.id or item.name for item in sorted(items, key=lambda item: item.state != "loaded") if item.chats]


def _items(body: bytes) -> Sequence[_Item]:
    listed = msgspec.json.decode(body, type=_List).data
    return [item for item in listed or msgspec.json.decode(body, type=_Tags).models if item.id or item.name]


async def _get(client: httpx2.AsyncClient, key: str | None, url: str) -> bytes:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return (await client.get(url, headers=headers)).raise_for_status().content


__all__ = ["ELSEWHERE_WITHIN_S", "WITHIN_S", "Found", "all_models", "first_ready", "models_of"]
