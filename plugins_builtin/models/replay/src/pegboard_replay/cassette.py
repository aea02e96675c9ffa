"""The cassette: one JSON file with the requests of a recording and the chunks that answered each.

    {"pegboard_cassette": 1, "model": "anthropic:claude-x", "capabilities": {…},
     "entries": [{"digest": "…", "request": {…}, "chunks": [{"text": "Hel"}, {"text": "lo"}, {"finish": {…}}]}]}

An entry may end with `error` instead of a finish. Version 1 is kept readable for ever.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from pegboard.errors import ExitCode, ModelFault, PegboardError, error_classes
from pegboard.types import Finish, JsonObject, ModelCapabilities, ModelChunk, ToolCall, content_from_json

from pegboard_replay.requests import mask, plain

CASSETTE_VERSION: Final = 1
_ERROR_FIELDS: Final = ("status", "retry_after_s", "request_id", "phase", "stream_started")


class CassetteError(PegboardError):
    """A cassette cannot be read: it is missing, is no JSON, or was written by a newer version; record it anew."""

    code = "replay.cassette"
    exit_code = ExitCode.CONFIG


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request and what came back."""

    digest: str
    request: JsonObject
    chunks: tuple[JsonObject, ...]
    error: JsonObject | None = None


class Cassette(msgspec.Struct, kw_only=True):
    """A recording of one model."""

    model: str
    capabilities: ModelCapabilities = ModelCapabilities()
    entries: list[Entry] = []
    version: int = msgspec.field(default=CASSETTE_VERSION, name="pegboard_cassette")


def read_cassette(path: Path) -> Cassette:
    """The cassette in a file.

    Raises:
        CassetteError: the message names the file and what is wrong with it.
    """
    try:
        data = msgspec.json.decode(path.read_bytes())
        version = data["pegboard_cassette"]
    except FileNotFoundError as exc:
        raise CassetteError(f"there is no cassette at `{path}`") from exc
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as exc:
        raise CassetteError(f"`{path}` is not a cassette: {exc}") from exc
    if version != CASSETTE_VERSION:
        raise CassetteError(f"`{path}` has version {version}; this pegboard-replay reads version {CASSETTE_VERSION}")
    try:
        return msgspec.convert(data, Cassette)
    except msgspec.ValidationError as exc:
        raise CassetteError(f"`{path}` is not a cassette: {exc}") from exc


def write_cassette(path: Path, cassette: Cassette) -> None:
    """Replace the file whole or not at all."""
    data = msgspec.json.format(msgspec.json.encode(cassette, order="sorted"), indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def chunk_to_json(chunk: ModelChunk) -> JsonObject:
    """The one field that is set, without what looks like a secret; short, since people read cassettes in reviews."""
    data = _set(plain(chunk))
    for name in ("tool_call", "finish"):
        if name in data:
            data[name] = _set(data[name])
    masked: JsonObject = mask(data)
    return masked


def chunk_from_json(data: JsonObject) -> ModelChunk:
    """The chunk that was recorded."""
    values: dict[str, Any] = dict(data)
    if "tool_call" in values:
        values["tool_call"] = msgspec.convert(values["tool_call"], ToolCall)
    if "call_delta" in values:
        values["call_delta"] = tuple(values["call_delta"])
    if "part" in values:
        values["part"] = content_from_json(values["part"])
    if "finish" in values:
        values["finish"] = msgspec.convert(values["finish"], Finish)
    return ModelChunk(**values)


def error_to_json(error: ModelFault) -> JsonObject:
    """A classified fault as data."""
    fields = {name: getattr(error, name) for name in _ERROR_FIELDS}
    return {"code": error.code, "message": mask(error.message), **{k: v for k, v in fields.items() if v}}


def error_from_json(data: JsonObject) -> ModelFault:
    """The fault that was recorded, of the same class where this version of core has it."""
    fields = {name: data[name] for name in _ERROR_FIELDS if name in data}
    error = _fault_class(data["code"])(data["message"], **fields)
    error.code = data["code"]
    return error


def by_digest(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Entries of equal requests together, in the order of recording."""
    index: dict[str, list[Entry]] = {}
    for entry in entries:
        index.setdefault(entry.digest, []).append(entry)
    return index


def _set(data: JsonObject) -> JsonObject:
    return {name: value for name, value in data.items() if value is not None}


def _fault_class(code: str) -> type[ModelFault]:
    return next((cls for cls in _fault_classes() if cls.code == code), ModelFault)


def _fault_classes() -> Iterator[type[ModelFault]]:
    return (cls for cls in error_classes() if issubclass(cls, ModelFault))


__all__ = [
    "CASSETTE_VERSION",
    "Cassette",
    "CassetteError",
    "Entry",
    "by_digest",
    "chunk_from_json",
    "chunk_to_json",
    "error_from_json",
    "error_to_json",
    "read_cassette",
    "write_cassette",
]
