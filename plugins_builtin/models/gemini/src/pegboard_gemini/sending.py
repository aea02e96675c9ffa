"""A request of ours as contents and configuration of the API: pure functions, and the same values for the same request.

What Gemini cannot be given is left out with a note, or refused before anything is sent; never silently changed. The
values are plain: the SDK makes objects of its own of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

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
    ToolSpec,
    UnknownPart,
)
from pegboard.wire import Omissions, ToolNames, without_empty

from pegboard_gemini.models import line_of

PROVIDER: Final = "gemini"
PART: Final = "part"
"""Kind of an `Opaque` that is a whole part: a server tool's call or result."""
SIGNATURE: Final = "signature"
"""Kind of an `Opaque` that signs: `data` is the signature, or `None` where thinking came without one. Standing alone
it signs the end of what is before it, and `data` is `{"signature": …, "characters": …}`: how many of them."""
_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_LARGEST_FILE: Final = 50_000_000
"""Bytes of one file, the page on file input methods of the Gemini API."""
_LARGEST_FILES: Final = 75_000_000
"""Bytes of all files of a request: the API takes 100 MB, and base64 makes four bytes of three."""
_BUDGETS: Final[Mapping[str, int]] = {"off": 0, "low": 2_048, "medium": 8_192, "high": 24_576}
"""Tokens for a level, for models that are older than levels."""
_UNCHECKED: Final = "skip_thought_signature_validator"
"""What stands for the signature of a call that another model made: later models refuse a call without one.
Source: the page on thought signatures of the Gemini API, which gives the word for this case."""


class Sending:
    """What is sent for one request, the names of its tools, and what was left out of it."""

    def __init__(self, request: ModelRequest, model: str) -> None:
        # A name begins with a letter or an underscore, also where ours begins with a digit.
        self.names = ToolNames((spec.name for spec in request.tools), forbidden=r"^[^a-zA-Z_]|[^a-zA-Z0-9_-]")
        self.omitted = Omissions()
        self._model = model
        self._line = line_of(model)
        self._bytes = 0
        self._called: dict[str, str] = {}
        """Names by the ids of calls: a result is sent with both."""
        self.contents = self._contents(request.messages)
        self.config = self._config(request)

    # --- messages

    def _contents(self, messages: Sequence[Message]) -> list[JsonObject]:
        sent: list[JsonObject] = []
        before = None
        for message in messages:
            parts = self._parts(message.parts) if message.role != "system" else []
            if not parts:
                continue
            if message.role == before:  # results of parallel calls belong into one content
                sent[-1]["parts"] += parts
            else:
                sent.append({"role": "model" if message.role == "assistant" else "user", "parts": parts})
            before = message.role
        return sent

    def _parts(self, content: Iterable[Content]) -> list[JsonObject]:
        parts: list[JsonObject] = []
        for part in content:
            if isinstance(part, Opaque) and part.kind == SIGNATURE:
                if self._is_ours(part):
                    _sign(parts, part.data)
            else:
                parts += self._part(part)
        calls = [part for part in parts if "function_call" in part]
        if self._line.is_third and calls and "thought_signature" not in calls[0]:
            calls[0]["thought_signature"] = _UNCHECKED
        return parts

    def _part(self, part: Content) -> Iterable[JsonObject]:
        match part:
            case Text(text=text):
                return [{"text": text}] if text else ()
            case File():
                return [self._file(part)]
            case ToolCall():
                return [self._call(part)]
            case ToolResult():
                return self._result(part)
            case Thinking():
                return self._thinking(part)
            case Opaque():
                return [part.data] if self._is_ours(part) and part.kind == PART else ()
            case Citation():
                return ()  # what it says stands in the text that it belongs to
            case UnknownPart():
                self.omitted.note("a part of an unknown kind", "this version of pegboard does not know it")
                return ()

    def _call(self, part: ToolCall) -> JsonObject:
        name = self._called[part.id] = self.names.wire(part.name)
        call = {"function_call": {"id": part.id, "name": name, "args": part.arguments}}
        return _signed(call, part.bound) if part.bound is not None and self._is_ours(part.bound) else call

    def _thinking(self, part: Thinking) -> Iterable[JsonObject]:
        if part.bound is None:
            self.omitted.note("thinking", "it does not say which model thought it")
            return ()
        thought = {"text": part.text, "thought": True}
        return [_signed(thought, part.bound)] if self._is_ours(part.bound, "thinking") else ()

    def _is_ours(self, part: Opaque, what: str | None = None) -> bool:
        """Whether it may be sent to this model; where not, it is said."""
        if (part.provider, part.model) == (PROVIDER, self._model):
            return True
        self.omitted.note(what or f"a `{part.kind}`", f"it is bound to `{part.provider}:{part.model}`")
        return False

    def _result(self, part: ToolResult) -> list[JsonObject]:
        name = self._called.get(part.call_id, "tool")
        texts = [inner.text for inner in part.content if isinstance(inner, Text)]
        others = [sent for inner in part.content if not isinstance(inner, Text) for sent in self._part(inner)]
        said = {"output" if part.status == "ok" else "error": "".join(texts)}
        response: JsonObject = {"id": part.call_id, "name": name, "response": said}
        if others and self._line.is_third:
            return [{"function_response": {**response, "parts": others}}]
        return [{"function_response": response}, *others]

    def _file(self, part: File) -> JsonObject:
        kind = part.media_type.partition(";")[0].lower()
        is_text = kind.startswith("text/") or kind == "application/json"
        if not (is_text or kind in _IMAGES or kind == "application/pdf" or kind.startswith(("audio/", "video/"))):
            raise ModelUnsupportedError(f"Gemini takes no files of type `{part.media_type}`")
        if part.data is None:
            if part.uri is None:
                raise ModelRequestError(f"the file `{part.name or kind}` has neither data nor an address")
            return {"file_data": {"file_uri": part.uri, "mime_type": kind}}
        if not part.data and not is_text:
            raise ModelRequestError(f"the file `{part.name or kind}` is empty")
        self._weigh(part.name or kind, len(part.data))
        # Of text it knows a few kinds by name, and refuses the others: `text/markdown`, for example.
        return {"inline_data": {"data": part.data, "mime_type": "text/plain" if is_text else kind}}

    def _weigh(self, name: str, size: int) -> None:
        self._bytes += size
        if size > _LARGEST_FILE:
            raise ModelContextOverflowError(
                f"the file `{name}` has {size:,} bytes; Gemini takes {_LARGEST_FILE:,} at most",
                hint="make the file smaller, or give its address",
            )
        if self._bytes > _LARGEST_FILES:
            raise ModelContextOverflowError(
                f"the files of the request have {self._bytes:,} bytes; Gemini takes {_LARGEST_FILES:,} at most",
                hint="send fewer or smaller files, or give their addresses",
            )

    # --- tools and settings

    def _config(self, request: ModelRequest) -> JsonObject:
        settings = request.settings
        system = [request.instructions] if request.instructions else []
        system += [message.text for message in request.messages if message.role == "system" and message.text]
        if settings.parallel_tools is False:
            self.omitted.note("the setting `parallel_tools`", "Gemini cannot be kept from calling several at once")
        return {
            **without_empty(
                system_instruction="\n\n".join(system),
                tools=self._tools(request),
                tool_config=self._tool_config(request),
                temperature=settings.temperature,
                top_p=settings.top_p,
                top_k=settings.top_k,
                seed=settings.seed,
                stop_sequences=list(settings.stop or ()),
                max_output_tokens=settings.max_output_tokens,
                thinking_config=self._thinking_config(settings),
                response_json_schema=request.output_schema,
                response_mime_type="application/json" if request.output_schema else None,
            ),
            # The SDK would call functions and go on after a cut by itself: whether to is not for it to say.
            "automatic_function_calling": {"disable": True},
            "automatic_continuation": False,
            **{name: value for name, value in settings.extra.items() if name not in ("tools", "tool_config")},
        }

    def _tools(self, request: ModelRequest) -> list[JsonObject]:
        own = [self._declared(spec) for spec in request.tools]
        return [*([{"function_declarations": own}] if own else ()), *request.settings.extra.get("tools", ())]

    def _declared(self, spec: ToolSpec) -> JsonObject:
        declared = {"name": self.names.wire(spec.name), "description": spec.description}
        if not spec.input_schema.get("properties"):
            return declared  # an object without properties is refused; no schema at all says the same
        return {**declared, "parameters_json_schema": spec.input_schema}

    def _tool_config(self, request: ModelRequest) -> JsonObject:
        extra = request.settings.extra
        config: JsonObject = {}
        choice = request.settings.tool_choice
        if request.tools and choice is not None:
            mode = {"auto": "AUTO", "none": "NONE"}.get(choice, "ANY")
            config["function_calling_config"] = {"mode": mode}
            if choice not in ("auto", "none", "required"):
                config["function_calling_config"]["allowed_function_names"] = [self.names.wire(choice)]
        if request.tools and extra.get("tools") and self._line.is_third:
            config["include_server_side_tool_invocations"] = True  # both kinds together are refused without it
        return {**config, **extra.get("tool_config", {})}

    def _thinking_config(self, settings: ModelSettings) -> JsonObject | None:
        """How to ask for thinking, and to see it: by tokens or by a level, as the line of models wants it."""
        wanted, line = settings.thinking, self._line
        if wanted is None:
            return None
        if line.thinks == "no":
            if wanted != "off":
                self.omitted.note("the setting `thinking`", "the model does not think")
            return None
        if line.thinks == "level":
            return {"include_thoughts": wanted != "off", "thinking_level": self._level(wanted).upper()}
        budget = wanted if isinstance(wanted, int) else _BUDGETS[wanted]
        if budget < line.least_budget:
            self.omitted.note(
                f"the setting `thinking` = {wanted}", f"the model thinks with {line.least_budget} tokens at least"
            )
            budget = line.least_budget
        return {"include_thoughts": wanted != "off", "thinking_budget": budget}

    def _level(self, wanted: str | int) -> str:
        """The level that is nearest to what is wanted, and not below it."""
        levels = self._line.levels
        if isinstance(wanted, int):
            name = next((name for name, tokens in _BUDGETS.items() if name in levels and wanted <= tokens), "high")
        elif wanted == "off":
            name = levels[0]
        else:
            name = wanted if wanted in levels else "high"
        if name != wanted:
            self.omitted.note(
                f"the setting `thinking` = {wanted}", f"the model knows levels alone; `{name}` was asked for"
            )
        return name


def _sign(parts: list[JsonObject], data: JsonObject) -> None:
    """Give the end of what was said its signature back, as a part of its own: what was not signed stays apart."""
    signature, characters = data["signature"], data["characters"]
    last = parts[-1] if parts else {}
    text = last.get("text")
    if text is None and "inline_data" in last:
        last["thought_signature"] = signature
    elif not characters or text is None or last.get("thought"):
        parts.append({"text": "", "thought_signature": signature})
    else:
        begin = max(len(text) - characters, 0)
        parts[-1:] = [{"text": text[:begin]}] if begin else []
        parts.append({"text": text[begin:], "thought_signature": signature})


def _signed(part: JsonObject, bound: Opaque) -> JsonObject:
    return {**part, "thought_signature": bound.data} if bound.data is not None else part


__all__ = ["PART", "PROVIDER", "SIGNATURE", "Sending"]
