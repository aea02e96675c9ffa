"""What the authors of model plugins share: an SDK's client, tool names that a provider accepts, what was left out of a
request, what answers of HTTP mean, and what may be told of them.

No HTTP library and no SDK is known here: a transport's errors are told apart by the names of their classes, which are
the same in `httpx` and its successors.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final, Generic, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pegboard.errors import (
    CredentialsInvalidError,
    CredentialsMissingError,
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
from pegboard.signs import one_line
from pegboard.types import JsonObject, Omission

C = TypeVar("C", bound=Any)
Key: TypeAlias = Callable[[], Awaitable[str]]
"""Gives the key of a provider, when it is first needed."""

MOST_NAMES: Final = 5_000
"""Models that a provider's list is read for; a server may have no end of them."""
_LONGEST_MESSAGE: Final = 500
_LONGEST_ID: Final = 200
_NO_HEADER: Final = re.compile(r"[^\x20-\x7e]")
"""What no field of HTTP can hold, or not everywhere (RFC 9110 section 5.5)."""
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


def fault_of_status(status: int, message: str, headers: Mapping[str, str] | None = None) -> ModelFault:
    """The fault that an HTTP answer of a provider means.

    Args:
        status: of the answer, or what an error event within a stream stands for
        message: what the provider said, as it was; what it says of quota and context length tells more than a status
        headers: of the answer; `retry-after-ms`, `retry-after` and the id of the request are read
    """
    found = _BY_STATUS.get(status) or (ModelServerError if status >= 500 else ModelRequestError)
    if status in (400, 413, 422) and _OVERFLOW.search(message):
        found = ModelContextOverflowError
    elif status in (400, 403, 429) and _QUOTA.search(message):
        found = ModelQuotaError
    headers = headers or {}
    return found(
        message,
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


def told(fault: ModelFault, secrets: Iterable[str] = (), *, is_own: bool = False) -> ModelFault:
    """The same fault as it may be shown: its message and the id of the request each on one line, and without a key.

    Args:
        fault: is changed
        secrets: keys, which SDKs and gateways repeat in what they say; a cause that holds one is let go
        is_own: whether the model's plugin has raised it; what no server said then keeps its lines
    """
    hidden = tuple(filter(None, secrets))
    message = _masked(describe(fault), hidden)
    fault.message = message if is_own and fault.status is None else one_line(message, _LONGEST_MESSAGE)
    fault.args = (fault.message, *fault.args[1:])
    if notes := getattr(fault, "__notes__", None):
        fault.__notes__ = [_masked(note, hidden) for note in notes]
    if fault.request_id is not None:
        fault.request_id = one_line(_masked(str(fault.request_id), hidden), _LONGEST_ID)
    if not _is_wait(fault.retry_after_s):
        fault.retry_after_s = None
    if holds_secret(fault.__cause__, hidden) or holds_secret(fault.__context__, hidden):
        fault.__cause__ = fault.__context__ = None
    return fault


def holds_secret(error: BaseException | None, secrets: Iterable[str]) -> bool:
    """Whether an error, or one that led to it, says a key."""
    hidden = tuple(filter(None, secrets))
    waiting, seen = [error], set[int]()
    while hidden and waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        text = f"{describe(found)} {found.args!r} {getattr(found, 'body', '')!r}"
        if any(secret in text for secret in hidden):
            return True
        waiting += [found.__cause__, found.__context__]
    return False


def _masked(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _is_wait(seconds: object) -> bool:
    return isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0


def usable_key(key: str) -> str:
    """A key as it is sent: without the white space around it that a file or a shell leaves there.

    Raises:
        CredentialsMissingError: nothing is left of it.
        CredentialsInvalidError: a sign in it cannot be sent.
    """
    key = key.strip()
    if not key:
        raise CredentialsMissingError("the key is empty")
    wrong = _NO_HEADER.search(key)
    if wrong is not None:
        raise CredentialsInvalidError(
            f"the key cannot be sent: its sign {wrong.start() + 1} is none that a key can have; copy it again"
        )
    return key


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
        own: attributes of the client that have the key which the SDK has found by itself
    """

    def __init__(self, make: Callable[[str | None], C], key: Key | None = None, *, own: Sequence[str] = ()) -> None:
        self._make = make
        self._key = key
        self._own = own
        self.secrets: tuple[str, ...] = ()
        """The keys that were found, which no error may repeat."""
        self._making = asyncio.Lock()
        self.made: C | None = None
        """The client, once there is one."""

    async def get(self) -> C:
        """The client. Raises what `key`, `usable_key` and making it raise; the next use tries again."""
        if self.made is not None:
            return self.made
        async with self._making:
            if self.made is None:
                key = usable_key(await self._key()) if self._key is not None else None
                self.secrets = (key,) if key is not None else ()
                self.made = self._with_usable_keys(await asyncio.to_thread(self._make, key))
            return self.made

    def _with_usable_keys(self, client: C) -> C:
        """The client, with the key that the SDK has found by itself as it is sent."""
        for name in self._own:
            found = getattr(client, name, None)
            if isinstance(found, str) and found:
                setattr(client, name, usable_key(found))
                self.secrets += (getattr(client, name),)
        return client

    async def close(self) -> None:
        """Close the client, if there is one; a later use makes another."""
        made, self.made = self.made, None
        if made is not None:
            await made.close()


async def ids_of(pages: Any) -> Sequence[str]:
    """The ids of a list of the SDKs of OpenAI and Anthropic, which take every answer with status 200 for one.

    It ends after one more than `MOST_NAMES`.

    Raises:
        ModelStreamMalformedError: the answer was something else.
    """
    try:
        return await first_names(str(item.id) async for item in await pages)
    except (AttributeError, TypeError) as exc:
        raise ModelStreamMalformedError("the answer is no list of models", phase="parse") from exc


async def first_names(listed: AsyncGenerator[str, None]) -> Sequence[str]:
    """The names of a list, and where it goes on after `MOST_NAMES` of them one more, by which that is known."""
    found: list[str] = []
    async with aclosing(listed):
        async for name in listed:
            found.append(name)
            if len(found) > MOST_NAMES:
                break
    return found


async def is_described(answer: Awaitable[object], address: object, own: str) -> bool:
    """Await the description of a model from those SDKs.

    Args:
        answer: of the request for it
        address: that was asked
        own: host of the provider itself. Another server may lack this description and have the model all the same:
            `False` where it answers with status 404.

    Raises:
        ModelStreamMalformedError: as `ids_of` does.
    """
    try:
        found = await answer
    except Exception as exc:
        if getattr(exc, "status_code", None) != 404 or urlsplit(str(address)).hostname == own:
            raise
        return False
    if getattr(found, "id", None) is None:
        raise ModelStreamMalformedError("the answer is no description of a model", phase="parse")
    return True


__all__ = [
    "MOST_NAMES",
    "Key",
    "Omissions",
    "SdkClient",
    "ToolNames",
    "fault_of_status",
    "fault_of_transport",
    "first_names",
    "holds_secret",
    "ids_of",
    "is_described",
    "retry_after_s",
    "told",
    "usable_key",
    "without_empty",
]
