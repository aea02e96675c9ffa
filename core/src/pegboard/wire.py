"""What the authors of model plugins share: an SDK's client, tool names that a provider accepts, what was left out of a
request, and what answers of HTTP mean.

No HTTP library and no SDK is known here: a transport's errors are told apart by the names of their classes, which are
the same in `httpx` and its successors.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final, Generic, TypeAlias, TypeVar

from pegboard.errors import (
    ModelAuthError,
    ModelConnectionError,
    ModelContextOverflowError,
    ModelFault,
    ModelNotOfferedError,
    ModelOverloadedError,
    ModelPermissionError,
    ModelQuotaError,
    ModelRateLimitedError,
    ModelRequestError,
    ModelServerError,
    ModelStreamCutError,
    ModelStreamMalformedError,
    ModelTimeoutError,
    describe,
)
from pegboard.types import JsonObject, Omission

C = TypeVar("C", bound=Any)
Key: TypeAlias = Callable[[], Awaitable[str]]
"""Gives the key of a provider, when it is first needed."""

_BY_STATUS: Final[Mapping[int, type[ModelFault]]] = {
    401: ModelAuthError,
    402: ModelQuotaError,
    403: ModelPermissionError,
    404: ModelNotOfferedError,
    408: ModelTimeoutError,
    413: ModelContextOverflowError,
    429: ModelRateLimitedError,
    503: ModelOverloadedError,
    504: ModelTimeoutError,
    529: ModelOverloadedError,
}
_OVERFLOW: Final = re.compile(
    r"prompt is too long|context.{0,3}(length|window|size)|maximum context|too many (input )?tokens"
    r"|exceeds? the (maximum number of tokens|available context)|input token count.*exceeds",
    re.IGNORECASE,
)
_QUOTA: Final = re.compile(
    r"insufficient_quota|credit balance|exceeded your current quota|billing|payment", re.IGNORECASE
)


def fault_of_status(
    status: int, message: str, headers: Mapping[str, str] | None = None, *, secret: str | None = None
) -> ModelFault:
    """The fault that an HTTP answer of a provider means.

    Args:
        status: of the answer, or what an error event within a stream stands for
        message: what the provider said, as it was; what it says of quota and context length tells more than a status
        headers: of the answer; `retry-after-ms`, `retry-after` and the id of the request are read
        secret: the key, which a gateway may repeat in its message
    """
    found = _BY_STATUS.get(status) or (ModelServerError if status >= 500 else ModelRequestError)
    if status in (400, 413, 422) and _OVERFLOW.search(message):
        found = ModelContextOverflowError
    elif status in (400, 403, 429) and _QUOTA.search(message):
        found = ModelQuotaError
    headers = headers or {}
    return found(
        message.replace(secret, "***") if secret else message,
        status=status,
        retry_after_s=retry_after_s(headers),
        request_id=headers.get("x-request-id") or headers.get("request-id"),
        phase="headers",
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until a provider wants to be asked again (RFC 9110 section 10.2.3, and the common `retry-after-ms`)."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with suppress(ValueError):
            value = float(headers.get(name, "")) * unit_s
            if math.isfinite(value):
                return max(0.0, value)
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def fault_of_transport(exc: BaseException) -> ModelFault | None:
    """The fault that an error below or beside an SDK means; `None` where it is none of a transport or a decoder."""
    cause = exc.__cause__ or exc
    text = f"{type(cause).__name__}: {describe(cause)}"
    names = {parent.__name__ for parent in type(exc).__mro__}
    if names & {"TimeoutException", "TimeoutError", "APITimeoutError"}:
        return ModelTimeoutError(f"nothing came within the limit ({text})", phase=_phase_of_timeout(cause))
    if "APIConnectionError" in names or "without sending a response" in text:  # an SDK says so of what failed at once
        return ModelConnectionError(f"the provider could not be reached ({text})", phase="connect")
    if names & {"RemoteProtocolError", "ReadError", "IncompleteRead"}:
        return ModelStreamCutError(f"the connection was cut ({text})", phase="stream")
    if isinstance(exc, json.JSONDecodeError | UnicodeDecodeError):
        return ModelStreamMalformedError(f"the answer holds something unreadable ({text})", phase="parse")
    if names & {"TransportError", "ConnectionError"}:
        return ModelConnectionError(f"the provider could not be reached ({text})", phase="connect")
    return None


def _phase_of_timeout(exc: BaseException) -> str:
    return "connect" if type(exc).__name__ in ("ConnectTimeout", "PoolTimeout") else "stream"


class ToolNames:
    """Names of tools within what a provider allows, and back; two that would become one stay two."""

    def __init__(self, names: Iterable[str], *, forbidden: str = r"[^a-zA-Z0-9_-]", longest: int = 64) -> None:
        self._forbidden = re.compile(forbidden)
        self._longest = longest
        self._own: dict[str, str] = {}
        self._wire: dict[str, str] = {}
        for name in names:
            self._add(name)

    def wire(self, name: str) -> str:
        """What the provider is told; also for a tool of the history that is not offered any more."""
        return self._wire.get(name) or self._add(name)

    def own(self, name: str) -> str:
        """The tool that the provider means; a name that it made up stays as it is."""
        return self._own.get(name, name)

    def _add(self, name: str) -> str:
        base = self._forbidden.sub("_", name)[: self._longest] or "tool"
        wire, number = base, 2
        while self._own.get(wire, name) != name:
            wire = f"{base[: self._longest - len(str(number)) - 1]}_{number}"
            number += 1
        self._own[wire], self._wire[name] = name, wire
        return wire


def without_empty(**values: Any) -> JsonObject:
    """Those parameters that say something; 0 and `False` do."""
    return {name: value for name, value in values.items() if value not in (None, [], {}, "")}


class Omissions(list[Omission]):
    """What a request had to do without, each once; a model yields them as `ModelChunk(omitted=…)`."""

    def note(self, what: str, why: str) -> None:
        """Remember one more."""
        omission = Omission(what, why)
        if omission not in self:
            self.append(omission)


class SdkClient(Generic[C]):
    """The client of a provider's SDK: made at its first use, and closed at the end.

    It belongs to the event loop that it is used in, and may be used by several turns at once.

    Args:
        make: imports the SDK and makes the client, which has an `async def close`. It is called in a thread: an SDK
            takes a second to import, in which the loop has others to serve.
        key: asked once, before the client is made, which is given `None` without one
    """

    def __init__(self, make: Callable[[str | None], C], key: Key | None = None) -> None:
        self._make = make
        self._key = key
        self._making = asyncio.Lock()
        self.made: C | None = None
        """The client, once there is one."""

    async def get(self) -> C:
        """The client. Raises what `key` raises, and what making it raises; the next use tries again."""
        if self.made is not None:
            return self.made
        async with self._making:
            if self.made is None:
                key = await self._key() if self._key is not None else None
                self.made = await asyncio.to_thread(self._make, key)
            return self.made

    async def close(self) -> None:
        """Close the client, if there is one; a later use makes another."""
        made, self.made = self.made, None
        if made is not None:
            await made.close()


async def ids_of(pages: Any) -> Sequence[str]:
    """The ids of a list of the SDKs of OpenAI and Anthropic, which take every answer with status 200 for one.

    Raises:
        ModelStreamMalformedError: the answer was something else.
    """
    try:
        return [str(item.id) async for item in await pages]
    except (AttributeError, TypeError) as exc:
        raise ModelStreamMalformedError("the answer is no list of models", phase="parse") from exc


__all__ = [
    "Key",
    "Omissions",
    "SdkClient",
    "ToolNames",
    "fault_of_status",
    "fault_of_transport",
    "ids_of",
    "retry_after_s",
    "without_empty",
]
