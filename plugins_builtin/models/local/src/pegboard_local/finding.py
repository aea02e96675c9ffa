"""Looks for servers that are ready and have a model: `GET` only, all at once, and only when `auto` asks.

No HTTP library is loaded for it: most machines have no such server, and learn so within milliseconds.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from pegboard_local.servers import CONFIGURED, Server

WITHIN_S: Final = 0.3
"""For a server of this machine."""
ELSEWHERE_WITHIN_S: Final = 2.0
"""For one that the configuration names elsewhere."""
_LARGEST: Final = 4 * 1024 * 1024
_NO_CHAT: Final = re.compile(r"embed|rerank|\bbge-|\be5-|whisper|\btts\b", re.IGNORECASE)
"""In the names of models that cannot chat."""
_NO_ANSWER: Final = (OSError, EOFError, ValueError, asyncio.LimitOverrunError, msgspec.MsgspecError)


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


async def first_ready(servers: Iterable[Server], keys: dict[str, str] | None = None) -> Found | None:
    """The first of these servers that is ready and has a model; all are asked at the same time.

    `keys` has the key of a server by its name, for those that want one.
    """
    asked = tuple(servers)
    found = await asyncio.gather(*(models_of(server, (keys or {}).get(server.name)) for server in asked))
    return next((Found(server, models[0]) for server, models in zip(asked, found, strict=True) if models), None)


async def models_of(server: Server, key: str | None = None) -> Sequence[str]:
    """The models of a server that can chat, loaded ones first; none where it is not ready in time."""
    try:
        async with asyncio.timeout(WITHIN_S if server.is_loopback else ELSEWHERE_WITHIN_S):
            return await _listed(server, key)
    except (TimeoutError, *_NO_ANSWER):
        return ()


async def _listed(server: Server, key: str | None) -> Sequence[str]:
    preset = server.preset
    if preset.ready is not None:
        await _get(server.beside(preset.ready), key)
    try:
        body = await _get(server.beside(preset.models), key)
    except _StatusError:
        if preset.models.startswith("/v1") or preset is CONFIGURED:
            raise
        body = await _get(server.beside("/v1/models"), key)  # an older one, or another kind at its port
    items = _items(body)
    return [item.id or item.name for item in sorted(items, key=lambda item: item.state != "loaded") if item.chats]


def _items(body: bytes) -> Sequence[_Item]:
    listed = msgspec.json.decode(body, type=_List).data
    return [item for item in listed or msgspec.json.decode(body, type=_Tags).models if item.id or item.name]


class _StatusError(ValueError):
    """The server is there, and has something else to say."""


async def _get(url: str, key: str | None) -> bytes:
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls, limit=_LARGEST)
    try:
        lines = [f"GET {parts.path} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}", "Accept: application/json",
                 "Connection: close", *([f"Authorization: Bearer {key}"] if key else [])]  # fmt: skip
        writer.write("\r\n".join([*lines, "", ""]).encode())
        return await _answer(reader)
    finally:
        writer.transport.abort()  # nobody waits for the goodbye of a server that may hang


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    if head[0].split(" ")[1:2] != ["200"]:
        raise _StatusError(head[0])
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    if "chunked" in fields.get("transfer-encoding", ""):
        return await _chunks(reader)
    length = fields.get("content-length")
    if length is None:
        return await reader.read(_LARGEST)
    return await reader.readexactly(_bounded(int(length)))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).partition(b";")[0], 16):
        body += await reader.readexactly(_bounded(size + len(body)) - len(body))
        await reader.readline()
    return bytes(body)


def _bounded(size: int) -> int:
    if not 0 <= size <= _LARGEST:
        raise ValueError(f"a list of models with {size:,} bytes")
    return size


__all__ = ["ELSEWHERE_WITHIN_S", "WITHIN_S", "Found", "first_ready", "models_of"]
