"""How what came from outside stands in a cassette: chunks, results of agents, errors; without secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec
from pegboard.errors import ModelFault, PegboardError, describe, error_classes
from pegboard.types import (
    Degradation,
    Finding,
    Finish,
    JsonObject,
    ModelChunk,
    Omission,
    RunResult,
    ToolCall,
    Usage,
    content_from_json,
)

from pegboard_replay.requests import plain, scrub

_ERROR_FIELDS: Final = ("status", "retry_after_s", "request_id", "phase", "stream_started", "hint")


def chunks_to_json(chunks: Sequence[ModelChunk]) -> tuple[JsonObject, ...]:
    """Each chunk without secrets. Deltas in a row that spell one out together become one."""
    data: list[JsonObject] = []
    for _, group in groupby(chunks, _delta_kind):
        members = list(group)
        pieces = [chunk_to_json(chunk) for chunk in members]
        if len(members) > 1 and (text := scrub("".join(map(_delta, members)))) != "".join(map(_delta_in, pieces)):
            pieces = [_with_delta(pieces[0], text)]
        data += pieces
    return tuple(data)


def chunk_to_json(chunk: ModelChunk) -> JsonObject:
    """The one field that is set, without what looks like a secret; short, since people read cassettes in reviews."""
    data = _set(plain(chunk))
    for name in ("tool_call", "finish"):
        if name in data:
            data[name] = _set(data[name])
    scrubbed: JsonObject = scrub(data)
    return scrubbed


def _delta_kind(chunk: ModelChunk) -> object:
    """The same for deltas that go on from one another; what is no delta stands alone."""
    if chunk.text is not None:
        return "text"
    if chunk.thinking is not None:
        return "thinking"
    return id(chunk) if chunk.call_delta is None else ("call", chunk.call_delta[0])


def _delta(chunk: ModelChunk) -> str:
    return chunk.text or chunk.thinking or (chunk.call_delta[2] if chunk.call_delta else "")


def _delta_in(data: JsonObject) -> str:
    delta: str = data.get("text") or data.get("thinking") or data.get("call_delta", ("", "", ""))[2]
    return delta


def _with_delta(data: JsonObject, text: str) -> JsonObject:
    if "call_delta" in data:
        return {"call_delta": [*data["call_delta"][:2], text]}
    return dict.fromkeys(data, text)


def chunk_from_json(data: JsonObject) -> ModelChunk:
    """The chunk that was recorded."""
    values: dict[str, Any] = dict(data)
    if "call_delta" in values:
        values["call_delta"] = tuple(values["call_delta"])
    if "part" in values:
        values["part"] = content_from_json(values["part"])
    for name, kind in _CHUNK_FIELDS.items():
        if name in values:
            values[name] = msgspec.convert(values[name], kind)
    return ModelChunk(**values)


def result_to_json(result: RunResult) -> JsonObject:
    """What an agent came to elsewhere."""
    return {**result.to_json(), "error": None if result.error is None else error_to_json(result.error)}


def result_from_json(data: JsonObject) -> RunResult:
    """What an agent came to elsewhere, as it was recorded."""
    names = ("run", "agent", "output", "end_reason", "turns", "cost_usd", "confidence")
    return RunResult(
        **{name: data[name] for name in names},
        usage=msgspec.convert(data["usage"], Usage),
        unpriced_models=tuple(data["unpriced_models"]),
        degraded=msgspec.convert(data["degraded"], tuple[Degradation, ...]),
        findings=msgspec.convert(data["findings"], tuple[Finding, ...]),
        error=None if data["error"] is None else error_from_json(data["error"]),
    )


def error_to_json(error: BaseException) -> JsonObject:
    """A classified fault, or another error, as data."""
    fields = {name: getattr(error, name, None) for name in _ERROR_FIELDS}
    fields["usage"] = plain(getattr(error, "usage", None))
    code = error.code if isinstance(error, PegboardError) else ""
    return {
        "code": code,
        "message": scrub(describe(error)),
        **{k: scrub(v) for k, v in fields.items() if v is not None and v is not False},
    }


def error_from_json(data: JsonObject) -> PegboardError:
    """The error that was recorded, of the same class where this version of core has it."""
    cls = next((cls for cls in error_classes() if cls.code == data["code"]), ModelFault)
    error: PegboardError
    if issubclass(cls, ModelFault):
        fields = {name: data[name] for name in _ERROR_FIELDS if name in data}
        usage = msgspec.convert(data["usage"], Usage) if "usage" in data else None
        error = cls(data["message"], **fields, usage=usage)
    else:
        error = PegboardError(data["message"], hint=data.get("hint"))
        error.exit_code, error.retryable = cls.exit_code, cls.retryable
    error.code = data["code"]
    return error


_CHUNK_FIELDS: Final[Mapping[str, Any]] = {
    "tool_call": ToolCall,
    "finish": Finish,
    "usage": Usage,
    "omitted": Omission,
}


def _set(data: JsonObject) -> JsonObject:
    return {name: value for name, value in data.items() if value is not None}


__all__ = [
    "chunk_from_json",
    "chunk_to_json",
    "chunks_to_json",
    "error_from_json",
    "error_to_json",
    "result_from_json",
    "result_to_json",
]
