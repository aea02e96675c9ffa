"""A request of ours as the parameters of the Messages API: pure functions, and the same bytes for the same request.

What Anthropic cannot be given is left out with a note, or refused before anything is sent; never silently changed.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pegboard.errors import ModelContextOverflowError, ModelRequestError, ModelUnsupportedError
from pegboard.types import (
    Citation,
    Content,
    File,
    JsonObject,
    Message,
    ModelRequest,
    ModelSettings,
    Opaque,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    UnknownPart,
)
from pegboard.wire import Omissions, ToolNames, without_empty

from pegboard_anthropic.models import Line, line_of

PROVIDER: Final = "anthropic"
BLOCK: Final = "block"
"""Kind of an `Opaque` that is a whole content block: a server tool's call or result, redacted thinking."""
SIGNATURE: Final = "signature"
"""Kind of an `Opaque` that signs a thinking block."""
IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
LARGEST_IMAGE: Final = 5 * 1024 * 1024
"""Bytes of an image, by the provider's page "Vision"."""
LARGEST_FILES: Final = 24 * 1024 * 1024
"""Bytes of all files of a request: the API takes 32 MiB, and base64 makes four bytes of three."""
MOST_BREAKPOINTS: Final = 4
_CACHED: Final[JsonObject] = {"type": "ephemeral"}
_BUDGETS: Final[Mapping[str, int]] = {"low": 2_048, "medium": 8_192, "high": 24_576}
"""Tokens for a level, for models that are older than levels."""


class Sending:
    """The parameters of one request, the names of its tools, and what was left out of it."""

    def __init__(self, request: ModelRequest, model: str) -> None:
        self.names = ToolNames(spec.name for spec in request.tools)
        self.omitted = Omissions()
        self._model = model
        self._line = line_of(model)
        self._bytes = 0
        self.params = self._params(request)

    def _params(self, request: ModelRequest) -> JsonObject:
        system = [request.instructions] if request.instructions else []
        system += [message.text for message in request.messages if message.role == "system" and message.text]
        params: JsonObject = {
            "model": self._model,
            "messages": self._messages(request.messages),
            **without_empty(
                system=[{"type": "text", "text": "\n\n".join(system)}] if system else None,
                tools=self._tools(request),
                tool_choice=self._tool_choice(request),
            ),
            **self._settings(request.settings, request.output_schema),
        }
        if request.settings.cache != "off":
            _mark(params, self._breakpoints(request))
        extra = {name: value for name, value in request.settings.extra.items() if name != "tools"}
        return {**params, **without_empty(extra_body={**_sampling(request.settings), **extra})}

    # --- messages

    def _messages(self, messages: Sequence[Message]) -> list[JsonObject]:
        sent: list[JsonObject] = []
        for message in messages:
            if message.role == "system":
                continue
            role = "assistant" if message.role == "assistant" else "user"
            blocks = [block for part in message.parts for block in self._blocks(part, role)]
            if not blocks:
                continue
            if sent and sent[-1]["role"] == role:
                sent[-1]["content"] += blocks
            else:
                sent.append({"role": role, "content": blocks})
        return sent

    def _blocks(self, part: Content, role: str) -> Iterable[JsonObject]:
        match part:
            case Text(text=text):
                return [{"type": "text", "text": text}] if text.strip() else ()
            case File():
                return [self._file(part)]
            case ToolCall():
                return [self._call(part)]
            case ToolResult():
                return [self._result(part)]
            case Thinking():
                return self._thinking(part)
            case Opaque():
                return self._verbatim(part)
            case Citation():
                return ()  # what it says stands in the text that it belongs to
            case UnknownPart():
                self.omitted.note("a part of an unknown kind", "this version of pegboard does not know it")
                return ()

    def _call(self, part: ToolCall) -> JsonObject:
        name = self.names.wire(part.name)
        return {"type": "tool_use", "id": _id(part.id), "name": name, "input": part.arguments}

    def _thinking(self, part: Thinking) -> Iterable[JsonObject]:
        bound = part.bound
        if bound is None or (bound.provider, bound.kind) != (PROVIDER, SIGNATURE) or bound.model != self._model:
            self.omitted.note("thinking", f"it is bound to `{bound.model}`" if bound else "it has no signature")
            return ()
        return [{"type": "thinking", "thinking": part.text, "signature": bound.data}]

    def _verbatim(self, part: Opaque) -> Iterable[JsonObject]:
        if part.provider != PROVIDER or part.model != self._model:
            self.omitted.note(f"a `{part.kind}`", f"it is bound to `{part.provider}:{part.model}`")
            return ()
        return [part.data] if part.kind == BLOCK else ()

    def _result(self, part: ToolResult) -> JsonObject:
        content = [block for inner in part.content for block in self._blocks(inner, "user")]
        return {
            "type": "tool_result",
            "tool_use_id": _id(part.call_id),
            "content": content,
            **({} if part.status == "ok" else {"is_error": True}),
        }

    def _file(self, part: File) -> JsonObject:
        kind = part.media_type.partition(";")[0].lower()
        if kind.startswith("text/") and part.data is not None:
            plain = {"type": "text", "media_type": "text/plain", "data": part.data.decode("utf-8", "replace")}
            return _titled(part, {"type": "document", "source": plain})
        if kind not in IMAGES and kind != "application/pdf":
            raise ModelUnsupportedError(f"Anthropic takes no files of type `{part.media_type}`")
        block = {"type": "image" if kind in IMAGES else "document", "source": self._source(part, kind)}
        return block if kind in IMAGES else _titled(part, block)

    def _source(self, part: File, kind: str) -> JsonObject:
        if part.data is None:
            if part.uri is None:
                raise ModelRequestError(f"the file `{part.name or kind}` has neither data nor an address")
            return {"type": "url", "url": part.uri}
        name, size = part.name or kind, len(part.data)
        if not size:
            raise ModelRequestError(f"the file `{name}` is empty")
        self._bytes += size
        if kind in IMAGES and size > LARGEST_IMAGE:
            raise ModelContextOverflowError(
                f"the image `{name}` has {size:,} bytes; Anthropic takes {LARGEST_IMAGE:,} at most",
                hint="make the image smaller, or give its address",
            )
        if self._bytes > LARGEST_FILES:
            raise ModelContextOverflowError(
                f"the files of the request have {self._bytes:,} bytes; Anthropic takes {LARGEST_FILES:,} at most",
                hint="send fewer or smaller files",
            )
        return {"type": "base64", "media_type": kind, "data": base64.b64encode(part.data).decode("ascii")}

    # --- tools and settings

    def _tools(self, request: ModelRequest) -> list[JsonObject]:
        own: list[JsonObject] = [
            {"name": self.names.wire(spec.name), "description": spec.description, "input_schema": spec.input_schema}
            for spec in request.tools
        ]
        return [*own, *request.settings.extra.get("tools", ())]

    def _tool_choice(self, request: ModelRequest) -> JsonObject | None:
        choice, parallel = request.settings.tool_choice, request.settings.parallel_tools
        if not request.tools or (choice is None and parallel is not False):
            return None
        kind = {"auto": "auto", "none": "none", "required": "any"}.get(choice or "auto")
        chosen: JsonObject = {"type": kind} if kind else {"type": "tool", "name": self.names.wire(choice or "")}
        if parallel is False and chosen["type"] != "none":
            chosen["disable_parallel_tool_use"] = True
        return chosen

    def _settings(self, settings: ModelSettings, schema: JsonObject | None) -> JsonObject:
        if settings.seed is not None:
            self.omitted.note("the setting `seed`", "Anthropic has none")
        thinking, effort = _thinking_of(settings, self._line)
        most = settings.max_output_tokens or self._line.usual_output
        if thinking.get("budget_tokens", 0) >= most:
            most += thinking["budget_tokens"]  # the answer comes on top of it
        output = without_empty(
            effort=effort, format={"type": "json_schema", "schema": strict(schema)} if schema else None
        )
        return {
            "max_tokens": most,
            **without_empty(
                stop_sequences=list(settings.stop or ()),
                thinking=thinking,
                output_config=output,
            ),
        }

    def _breakpoints(self, request: ModelRequest) -> Sequence[int]:
        """Positions in what is sent, after which a cached prefix ends, given positions among our messages."""
        ends, sent, role = [], -1, None
        for position, message in enumerate(request.messages):
            if message.role == "system":
                continue
            this = "assistant" if message.role == "assistant" else "user"
            sent, role = (sent if this == role else sent + 1), this
            if position in request.cache_marks:
                ends.append(sent)
        if request.settings.cache == "explicit":
            return ends
        return ends or [sent]


def _sampling(settings: ModelSettings) -> JsonObject:
    """What the API takes and the SDK has no parameters for."""
    return without_empty(temperature=settings.temperature, top_p=settings.top_p, top_k=settings.top_k)


def _mark(params: JsonObject, positions: Sequence[int]) -> None:
    """Ask for a cached prefix after the tools and instructions, and after these messages, the last ones first."""
    messages = params["messages"]
    blocks = [params[name][-1] for name in ("system", "tools") if params.get(name)][:1]
    for position in sorted(set(positions), reverse=True)[: MOST_BREAKPOINTS - len(blocks)]:
        if 0 <= position < len(messages):
            blocks.append(messages[position]["content"][-1])
    for block in blocks:
        if block.get("type") not in ("thinking", "redacted_thinking"):
            block["cache_control"] = _CACHED


def _thinking_of(settings: ModelSettings, line: Line) -> tuple[JsonObject, str | None]:
    """How to ask for thinking, and for effort: newer models choose how long they think."""
    wanted = settings.thinking
    if wanted is None:
        return {}, None
    if wanted == "off":
        return {"type": "disabled"}, None
    if isinstance(wanted, int):
        return {"type": "enabled", "budget_tokens": wanted}, None
    if line.adaptive:
        return {"type": "adaptive"}, wanted
    return {"type": "enabled", "budget_tokens": _BUDGETS[wanted]}, None


def strict(schema: JsonObject) -> JsonObject:
    """A schema as structured output wants it: every object closed. The meaning of one that says so stays the same.

    Source: the provider's page "Structured outputs", section "JSON Schema limitations".
    """

    def closed(value: Any) -> Any:
        if isinstance(value, list):
            return [closed(item) for item in value]
        if not isinstance(value, dict):
            return value
        inner = {key: item if key in ("enum", "const", "default") else closed(item) for key, item in value.items()}
        return {**inner, "additionalProperties": False} if inner.get("type") == "object" else inner

    return closed(schema)  # type: ignore[no-any-return]  # an object goes in and comes out


def _titled(part: File, block: JsonObject) -> JsonObject:
    return {**block, "title": part.name} if part.name else block


def _id(id: str) -> str:
    """An id that Anthropic accepts: other providers use characters that it refuses."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", id) or "call"


__all__ = [
    "BLOCK",
    "IMAGES",
    "LARGEST_FILES",
    "LARGEST_IMAGE",
    "MOST_BREAKPOINTS",
    "PROVIDER",
    "SIGNATURE",
    "Sending",
    "strict",
]
