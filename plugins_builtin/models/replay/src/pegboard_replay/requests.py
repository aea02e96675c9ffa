"""What makes two requests the same: their canonical form, its digest, and what both look like to a person.

Ids of messages, calls and runs are left out, since they change from run to run; secrets are masked before the digest
is taken, so that a recording made with one key is found with another.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from pegboard.types import Json, JsonObject, Message, ModelRequest, Secret, UnknownPart

MASK: Final = "***"
_SECRET_NAME: Final = re.compile(
    r"authorization|cookie|password|passwd|secret|credential|api[-_]?key|access[-_]?key|private[-_]?key|(^|[-_])token$|^key$",
    re.IGNORECASE,
)
_SECRET_VALUE: Final = re.compile(
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|\bAIza[\w-]{30,}|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bxox[abprs]-[\w-]{10,}"
    r"|\bAKIA[A-Z0-9]{16}\b|\b(?:Bearer|Basic)\s+[\w.~+/=-]{12,}|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+"
)
_SECRET_ASSIGNED: Final = re.compile(
    r"""((?:password|passwd|secret|api[-_]?key|access[-_]?key|private[-_]?key)[\w-]*["']?\s*[:=]\s*["']?)[^\s"'\\,;{}\[\]]{4,}""",
    re.IGNORECASE,
)
_TOO_COMMON: Final = re.compile("^key$")
"""A name that in arguments and results is seldom that of a secret."""
_COMPARED_REQUESTS: Final = 50
"""To find the nearest of very many takes minutes."""
_SHOWN_DIFF_LINES: Final = 60
_SHOWN_MESSAGES: Final = 6
_SHOWN_CHARACTERS: Final = 300


def canonical(request: ModelRequest) -> JsonObject:
    """The request as plain JSON: model, instructions, messages, tools, settings, output schema."""
    data = {**_head(request), "messages": [_message(message) for message in request.messages]}
    _number_calls(data["messages"], {})
    masked: JsonObject = mask(data)
    return masked


class Forms:
    """The canonical forms of the requests of many runs. Only what is new in a conversation is made anew.

    Secrets are scrubbed here, which is more than `canonical` masks: that is how cassettes of version 1 were made.
    """

    def __init__(self) -> None:
        self._known: dict[str, list[_Known]] = {}

    def form(self, request: ModelRequest) -> tuple[JsonObject, str]:
        """The form of a request and its digest."""
        known = self._known[request.run] = self._messages(request)
        head = scrub(_head(request))
        parts = [digest(head), *(each.digest for each in known)]
        whole = hashlib.sha256("".join(parts).encode()).hexdigest()
        return {**head, "messages": [each.form for each in known]}, whole

    def _messages(self, request: ModelRequest) -> list[_Known]:
        before = self._known.get(request.run, ())
        same = 0
        for known, message in zip(before, request.messages, strict=False):
            if known.message is not message and known.message != message:
                break
            same += 1
        now = list(before[:same])
        numbers: dict[str, str] = {}
        for known in now:
            numbers.update(known.numbers)
        for message in request.messages[same:]:
            form, numbered = _message(message), dict(numbers)
            _number_calls([form], numbers)
            form = scrub(form)
            new = {call: number for call, number in numbers.items() if call not in numbered}
            now.append(_Known(message, form, digest(form), new))
        return now


class _Known(NamedTuple):
    """A message of an earlier request."""

    message: Message
    form: JsonObject
    digest: str
    numbers: dict[str, str]
    """The calls that are named in it first, and what stands for each."""


def digest(form: JsonObject) -> str:
    """The digest of a canonical form."""
    return hashlib.sha256(msgspec.json.encode(form, order="sorted")).hexdigest()


def plain(value: object) -> Any:
    """Any value of a request or an answer as plain JSON; a `Secret` becomes the mask."""
    return msgspec.to_builtins(value, order="sorted", enc_hook=_foreign)


def mask(value: Json) -> Any:
    """The value without strings that look like a secret, wherever they stand."""
    if isinstance(value, Mapping):
        return {key: mask(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask(item) for item in value]
    return _SECRET_VALUE.sub(MASK, value) if isinstance(value, str) else value


def scrub(value: Json, name: str = "") -> Any:
    """The value without what looks like a secret, stands under the name of one, or is assigned to one in a text.

    Scrubbing twice gives the same as scrubbing once, so that what is asked for in a replay is found.
    """
    if isinstance(value, Mapping):
        return {key: scrub(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub(item, name) for item in value]
    if not isinstance(value, str):
        return value
    if _SECRET_NAME.search(name) and not _TOO_COMMON.search(name):
        return MASK
    return _SECRET_ASSIGNED.sub(rf"\1{MASK}", _SECRET_VALUE.sub(MASK, value))


def mask_named(value: Json, name: str = "") -> Any:
    """The value without strings that stand under a name for secrets, as in headers."""
    if isinstance(value, Mapping):
        return {key: mask_named(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_named(item, name) for item in value]
    return MASK if isinstance(value, str) and _SECRET_NAME.search(name) else value


def describe(request: ModelRequest) -> str:
    """A request in a few lines: its last messages and the tools it offers."""
    hidden = max(0, len(request.messages) - _SHOWN_MESSAGES)
    lines = [f"  … {hidden} earlier messages"] if hidden else []
    lines += [f"  {message.role}: {_shown(message)}" for message in request.messages[hidden:]]
    lines.append(f"  tools offered: {', '.join(tool.name for tool in request.tools) or 'none'}")
    return "\n".join(lines)


def nearest(form: JsonObject, recorded: Sequence[JsonObject]) -> JsonObject | None:
    """The recorded form that is most like this one, among the first of many."""
    if not recorded:
        return None
    wanted = _lines(form)
    matcher = difflib.SequenceMatcher(b=wanted, autojunk=False)

    def likeness(other: JsonObject) -> float:
        matcher.set_seq1(_lines(other))
        return matcher.ratio()

    return max(recorded[:_COMPARED_REQUESTS], key=likeness)


def difference(recorded: JsonObject, asked: JsonObject) -> str:
    """A unified diff from the recorded form to the one asked for."""
    lines = list(difflib.unified_diff(_lines(recorded), _lines(asked), "recorded", "asked", lineterm="", n=2))
    if len(lines) > _SHOWN_DIFF_LINES:
        lines[_SHOWN_DIFF_LINES:] = [f"… {len(lines) - _SHOWN_DIFF_LINES} more lines"]
    return "\n".join(lines)


def _settings(request: ModelRequest) -> JsonObject:
    """Only what is set. By name secrets are masked here alone: the arguments of a tool may well be called `key`."""
    given = {name: value for name, value in plain(request.settings).items() if value not in (None, {})}
    settings: JsonObject = mask_named(given)
    return settings


def _head(request: ModelRequest) -> JsonObject:
    """Everything but the messages."""
    return {
        "model": request.model,
        "instructions": request.instructions,
        "tools": plain(request.tools),
        "settings": _settings(request),
        "output_schema": plain(request.output_schema),
    }


def _message(message: Message) -> JsonObject:
    return {"role": message.role, "parts": plain(message.parts)}


def _number_calls(messages: Sequence[JsonObject], numbers: dict[str, str]) -> None:
    """Replace the ids of calls by their order, which keeps what belongs together and forgets what chance made."""
    for message in messages:
        for part in message["parts"]:
            for key in ("id", "call_id"):
                if part.get("type") in ("tool_call", "tool_result") and key in part:
                    part[key] = numbers.setdefault(part[key], f"#{len(numbers) + 1}")


def _foreign(value: object) -> object:
    if isinstance(value, UnknownPart):
        return value.data
    if isinstance(value, Secret):
        return MASK
    raise NotImplementedError(f"{type(value).__name__} is not JSON")


def _lines(form: JsonObject) -> list[str]:
    return msgspec.json.format(msgspec.json.encode(form, order="sorted"), indent=1).decode().splitlines()


def _shown(message: Message) -> str:
    parts = [_shown_part(part) for part in plain(message.parts)]
    text = mask(" ".join(filter(None, parts)))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _shown_part(part: JsonObject) -> str:
    match part.get("type"):
        case "text" | "thinking":
            return str(part["text"])
        case "tool_call":
            return f"{part['name']}({msgspec.json.encode(part['arguments']).decode()})"
        case "tool_result":
            return " ".join(_shown_part(inner) for inner in part["content"])
        case kind:
            return f"<{kind}>"


__all__ = [
    "MASK", "Forms", "canonical", "describe", "difference", "digest", "mask", "mask_named", "nearest", "plain", "scrub",
]  # fmt: skip
