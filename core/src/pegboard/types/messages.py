"""The neutral message model: what is said in a conversation, whatever provider said it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

import msgspec

Json: TypeAlias = Any
"""Plain JSON: `None`, `bool`, `int`, `float`, `str`, and lists and string-keyed dicts of them."""
JsonObject: TypeAlias = dict[str, Any]

Role = Literal["system", "user", "assistant", "tool"]
ResultStatus = Literal["ok", "error", "denied", "cancelled", "unknown"]


class Opaque(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="opaque"):
    """Something a provider wants back verbatim: a thinking signature, encrypted reasoning, server-tool state.

    Replayed only to the provider and model that it names; every other provider plugin drops it.
    """

    provider: str
    model: str
    kind: str
    data: Json


class Text(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="text"):
    """Visible text."""

    text: str


class Thinking(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="thinking"):
    """The model's reasoning."""

    text: str
    bound: Opaque | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="tool_call"):
    """The model asks for a tool.

    Arguments that could not be parsed stay in `raw_arguments` with the reason in `error`; they are never guessed.
    """

    id: str
    name: str
    arguments: JsonObject = {}
    raw_arguments: str | None = None
    error: str | None = None
    bound: Opaque | None = None


class File(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="file"):
    """An image, a sound, a document: inline, by address, or by a handle of the blob store."""

    media_type: str
    data: bytes | None = None
    uri: str | None = None
    ref: str | None = None
    name: str | None = None


class Citation(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="citation"):
    """Where a piece of text comes from."""

    source: str
    span: tuple[int, int] | None = None


class UnknownPart:
    """A part of a kind that this version does not know; it survives a round trip unchanged."""

    # Not a Struct: those encode themselves field by field, and this one must encode as what it holds.
    __slots__ = ("data",)

    def __init__(self, data: JsonObject) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnknownPart) and other.data == self.data

    def __hash__(self) -> int:
        return hash(msgspec.json.encode(self.data, order="sorted"))


class ToolResult(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="tool_result"):
    """What came of a call. Every call has exactly one before the next request."""

    call_id: str
    status: ResultStatus = "ok"
    content: tuple[Content, ...] = ()
    """Short, for the model."""
    structured: Json = None
    """For code."""
    artifact: str | None = None
    """Handle of the full output, when `content` is only a preview of it."""
    code: str | None = None
    """The error code, when the status is not `ok`."""

    @property
    def text(self) -> str:
        """The visible text of the content."""
        return text_of(self.content)


Content: TypeAlias = Text | Thinking | ToolCall | ToolResult | File | Citation | Opaque | UnknownPart


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of a conversation."""

    role: Role
    parts: tuple[Content, ...] = ()
    id: str | None = None
    metadata: JsonObject | None = None

    @property
    def text(self) -> str:
        """The visible text of all parts."""
        return text_of(self.parts)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the message asks for."""
        return calls_of(self.parts)

    @classmethod
    def user(cls, text: str) -> Message:
        """A message of the user."""
        return cls("user", (Text(text),))

    @classmethod
    def assistant(cls, text: str) -> Message:
        """A message of the model."""
        return cls("assistant", (Text(text),))


def text_of(parts: tuple[Content, ...]) -> str:
    """The text parts, joined."""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return "".join(part.text for part in parts if isinstance(part, Text))


def calls_of(parts: tuple[Content, ...]) -> tuple[ToolCall, ...]:
    """The tool calls among parts."""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return ()
    return tuple([part for part in parts if isinstance(part, ToolCall)])


def tool_result(call_id: str, text: str, *, status: ResultStatus = "ok", code: str | None = None) -> ToolResult:
    """A result that is only text."""
    return ToolResult(call_id=call_id, status=status, content=(Text(text),), code=code)


_PARTS: dict[str, type[Any]] = {
    "text": Text,
    "thinking": Thinking,
    "tool_call": ToolCall,
    "file": File,
    "citation": Citation,
    "opaque": Opaque,
}


def content_from_json(data: JsonObject) -> Content:
    """A part from its JSON form; a kind that is not known becomes an `UnknownPart`."""
    kind = data.get("type")
    if kind == "tool_result":
        # Not by `convert`: it refuses the type of `content`, since `UnknownPart` stands in it beside the structs.
        fields = {name: data[name] for name in ToolResult.__struct_fields__ if name in data}
        return ToolResult(**{**fields, "content": tuple(map(content_from_json, data.get("content", ())))})
    known = _PARTS.get(kind) if isinstance(kind, str) else None
    return cast(Content, msgspec.convert(data, known)) if known else UnknownPart(data)


def message_from_json(data: JsonObject) -> Message:
    """A message from its JSON form."""
    return Message(
        role=data["role"],
        parts=tuple(content_from_json(part) for part in data.get("parts", ())),
        id=data.get("id"),
        metadata=data.get("metadata"),
    )


def to_json(value: object) -> Json:
    """Any value of this package as plain JSON, with sorted keys."""
    return msgspec.to_builtins(value, order="sorted", enc_hook=_encode_foreign)


def _encode_foreign(value: object) -> object:
    if isinstance(value, UnknownPart):
        return value.data
    if isinstance(value, Sequence):  # a view of a history
        return list(value)
    if callable(value):
        return getattr(value, "__name__", repr(value))
    raise NotImplementedError(f"{type(value).__name__} is not JSON")
