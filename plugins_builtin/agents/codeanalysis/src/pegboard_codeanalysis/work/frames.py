"""Messages between the host and its workers: a length, then msgpack. Neither side runs what the other sends."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, Final, Generic, TypeVar

import msgspec

T = TypeVar("T")
HEAD: Final = struct.Struct(">I")
MAX_BYTES: Final = 1 << 30


class Request(msgspec.Struct, frozen=True):
    """What a worker is asked."""

    op: str
    arguments: dict[str, Any]


class Reply(msgspec.Struct, Generic[T], frozen=True, kw_only=True, omit_defaults=True):
    """What it answers: a value, or why there is none."""

    value: T | None = None
    error: str = ""
    kind: str = ""
    """The class of the error."""


def encoded(message: Request | Reply[Any]) -> bytes:
    """A message as it is sent."""
    data = msgspec.msgpack.encode(message)
    return HEAD.pack(len(data)) + data


def read(stream: BinaryIO) -> bytes | None:
    """The next message; `None` at the end of the stream."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    (size,) = HEAD.unpack(head)
    data = stream.read(size)
    return data if len(data) == size else None
