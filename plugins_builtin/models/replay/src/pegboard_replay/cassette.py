"""The cassette: one JSON file with everything that a run was given from outside, in the order in which it came.

    {"pegboard_cassette": 2, "started": 1767225600.0,
     "entries": [
      {"kind": "model", "id": "anthropic:claude-x", "asked": "auto", "capabilities": {…}},
      {"kind": "request", "digest": "…", "request": {…}, "chunks": [{"text": "Hel"}, {"finish": {…}}], "at": 0.412},
      {"kind": "tool", "name": "add", "arguments": {"a": 1, "b": 2}, "result": {…}, "at": 0.413}
     ]}

`at` is the time since `started`, in seconds. Of a request whose conversation begins as that of an earlier one, `base`
is the position of that one among the requests, `same` how many messages are as there, and `request` holds the rest.
Version 1, with the requests of one model and no `kind`, is kept readable for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from pegboard.errors import ExitCode, PegboardError
from pegboard.types import Json, JsonObject, ModelCapabilities

from pegboard_replay.requests import digest

CASSETTE_VERSION: Final = 2
_ANEW: Final = "record it anew: `peg record FILE …`"


class CassetteError(PegboardError):
    """A cassette cannot be read: it is missing, damaged, or was written by a newer version; record it anew."""

    code = "replay.cassette"
    exit_code = ExitCode.CONFIG


class _Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Something that came from outside."""

    at: float = 0.0
    """When it came, in seconds since the recording began."""
    n: int = 1
    """Which one it is of those with an equal key, in the order in which they were asked for."""
    cut: bool = False
    """It was cancelled before it came."""


class ModelEntry(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="model"):
    """A model that a run took into use."""

    id: str
    asked: str = ""
    """The name it was asked for by, where that is known."""
    capabilities: ModelCapabilities = ModelCapabilities()
    why: str = ""


class RequestEntry(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="request"):
    """A request to a model, and what came back."""

    digest: str
    request: JsonObject
    base: int | None = None
    same: int = 0
    chunks: tuple[JsonObject, ...] = ()
    error: JsonObject | None = None

    @property
    def key(self) -> str:
        """What it is found by."""
        return f"request:{self.digest}"


class ToolEntry(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="tool"):
    """An execution of a tool."""

    name: str
    arguments: Any
    result: JsonObject | None = None
    inside: tuple[JsonObject, ...] = ()
    """The child runs that it began and the events that it wrote, each with how many things had come `after` which."""

    @property
    def key(self) -> str:
        """What it is found by."""
        return tool_key(self.name, self.arguments)


class AgentEntry(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="agent"):
    """What an agent came to that was run elsewhere; without a result it was run here, and came to its end."""

    agent: str
    task: str
    inputs: Json = None
    result: JsonObject | None = None

    @property
    def key(self) -> str:
        """What it is found by."""
        return agent_key(self.agent, self.task, self.inputs)


class SleepEntry(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="sleep"):
    """The end of a pause."""

    seconds: float

    @property
    def key(self) -> str:
        """What it is found by."""
        return sleep_key(self.seconds)


class ApprovalEntry(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="approval"):
    """What a person answered, as the event says it."""

    answer: JsonObject


class CommandEntry(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="command"):
    """What `peg record` was given."""

    words: tuple[str, ...]
    piped: str = ""
    run: str


class EndEntry(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="end"):
    """A run that was asked for came to its end: its events and those of its child runs, as they were written."""

    run: str
    events: tuple[JsonObject, ...]


class AnswerEntry(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="answer"):
    """What the command came to, as in `--json`."""

    data: Json


Came = RequestEntry | ToolEntry | AgentEntry | SleepEntry
"""What is waited for, and comes one after another."""
Entry = ModelEntry | Came | ApprovalEntry | CommandEntry | EndEntry | AnswerEntry


class Cassette(msgspec.Struct, kw_only=True):
    """A recording."""

    version: int = msgspec.field(name="pegboard_cassette")
    started: float
    """Seconds since the epoch."""
    entries: list[Entry]


class _FirstEntry(msgspec.Struct, kw_only=True):
    digest: str
    request: JsonObject
    chunks: tuple[JsonObject, ...]
    error: JsonObject | None = None


class _First(msgspec.Struct, kw_only=True):
    """A cassette of version 1."""

    model: str
    capabilities: ModelCapabilities = ModelCapabilities()
    entries: list[_FirstEntry] = []


def read_cassette(path: Path) -> Cassette:
    """The cassette in a file, brought up to the current version.

    Raises:
        CassetteError: the message names the file and what is wrong with it.
    """
    try:
        data = msgspec.json.decode(path.read_bytes())
        version = data["pegboard_cassette"]
    except FileNotFoundError as exc:
        raise CassetteError(f"there is no cassette at `{path}`", hint=f"peg record {path} TASK") from exc
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as exc:
        raise CassetteError(f"`{path}` is not a cassette: {_said(exc)}", hint=_ANEW) from exc
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CassetteError(f"`{path}` is not a cassette: its version is {version!r:.40}", hint=_ANEW)
    if version > CASSETTE_VERSION:
        raise CassetteError(
            f"`{path}` has version {version}; this pegboard-replay reads up to version {CASSETTE_VERSION}",
            hint="peg plugins update pegboard-replay",
        )
    try:
        return _of_first(msgspec.convert(data, _First)) if version == 1 else msgspec.convert(data, Cassette)
    except msgspec.ValidationError as exc:
        raise CassetteError(f"`{path}` is not a cassette: {_said(exc)}", hint=_ANEW) from exc


def _said(error: BaseException) -> str:
    return f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)


def _of_first(old: _First) -> Cassette:
    seen: dict[str, int] = {}
    entries: list[Entry] = [ModelEntry(id=old.model, capabilities=old.capabilities)]
    for entry in old.entries:
        n = seen[entry.digest] = seen.get(entry.digest, 0) + 1
        entries.append(
            RequestEntry(digest=entry.digest, request=entry.request, chunks=entry.chunks, error=entry.error, n=n)
        )
    return Cassette(version=1, started=0.0, entries=entries)


def whole_requests(entries: Sequence[Entry]) -> list[JsonObject]:
    """Each request with all of its messages, in the order of the entries.

    Raises:
        CassetteError: one goes on from a request that does not come before it.
    """
    requests: list[JsonObject] = []
    for entry in entries:
        if not isinstance(entry, RequestEntry):
            continue
        if entry.base is None:
            requests.append(entry.request)
            continue
        if not 0 <= entry.base < len(requests):
            raise CassetteError(f"a request goes on from request {entry.base}, which is not there", hint=_ANEW)
        base = requests[entry.base]
        messages = [*base["messages"][: entry.same], *entry.request["messages"]]
        requests.append({**base, **entry.request, "messages": messages})
    return requests


def shortened(request: JsonObject, base: JsonObject | None) -> tuple[JsonObject, int]:
    """What of a request is not as in an earlier one, and how many of its messages are."""
    if base is None:
        return request, 0
    same = 0
    for one, other in zip(base["messages"], request["messages"], strict=False):
        if one is not other and one != other:
            break
        same += 1
    rest = {name: value for name, value in request.items() if base.get(name, ...) != value}
    return {**rest, "messages": request["messages"][same:]}, same


def tool_key(name: str, arguments: Any) -> str:
    """What an execution of a tool is found by."""
    return f"tool:{name}:{digest({'arguments': arguments})}"


def sleep_key(seconds: float) -> str:
    """What a pause is found by."""
    return f"sleep:{float(seconds)!r}"


def agent_key(agent: str, task: str, inputs: Json) -> str:
    """What a child run is found by."""
    return f"agent:{agent}:{digest({'task': task, 'inputs': inputs})}"


__all__ = [
    "CASSETTE_VERSION",
    "AgentEntry",
    "AnswerEntry",
    "ApprovalEntry",
    "Came",
    "Cassette",
    "CassetteError",
    "CommandEntry",
    "EndEntry",
    "Entry",
    "ModelEntry",
    "RequestEntry",
    "SleepEntry",
    "ToolEntry",
    "agent_key",
    "read_cassette",
    "shortened",
    "sleep_key",
    "tool_key",
    "whole_requests",
]
