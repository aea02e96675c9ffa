"""A request of ours as parameters of Chat Completions: pure functions, and the same bytes for the same request.

What the wire has no place for is left out with a note, or refused before anything is sent; never silently changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pegboard.output import in_words
from pegboard.types import (
    Citation,
    Content,
    File,
    JsonObject,
    Message,
    ModelRequest,
    ModelSettings,
    Omission,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from pegboard.wire import Omissions, ToolNames, without_empty

from pegboard_chatwire.dialect import Dialect
from pegboard_chatwire.parts import (
    IMAGES,
    PDF,
    Files,
    arguments_of,
    beside,
    id_of,
    kind_of,
    text_of_file,
    text_of_result,
)
from pegboard_chatwire.strict import strict

_SOUNDS: Final[Mapping[str, str]] = {
    "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3",
}  # fmt: skip


class Sending:
    """The parameters of one request, the names of its tools, and what was left out of it."""

    def __init__(
        self,
        request: ModelRequest,
        model: str,
        dialect: Dialect,
        *,
        more: JsonObject | None = None,
        omitted: Iterable[Omission] = (),
    ) -> None:
        self.names = ToolNames(spec.name for spec in request.tools)
        self.omitted = Omissions(omitted)
        self._dialect = dialect
        self._files = Files(dialect.provider)
        self.params = {"model": model, **self._params(request), **(more or {})}
        self.extra = beside(self.params, request.settings.extra)

    def _params(self, request: ModelRequest) -> JsonObject:
        chosen = self._format(request)
        instructions = request.instructions
        if request.output_schema is not None and chosen is None:
            instructions = in_words(instructions, request.output_schema)
        return {
            "messages": self._messages(instructions, request.messages),
            **without_empty(tools=self._tools(request), response_format=chosen),
            **(self._choice(request.settings) if request.tools else {}),
            **self._settings(request.settings),
            **({} if self._dialect.usage == "never" else {"stream_options": {"include_usage": True}}),
        }

    # --- messages

    def _messages(self, instructions: str, messages: Iterable[Message]) -> list[JsonObject]:
        sent: list[JsonObject] = [{"role": "system", "content": instructions}] if instructions else []
        held: list[JsonObject] = []
        for message in messages:
            if held and message.role != "tool":
                sent.append({"role": "user", "content": held})
                held = []
            sent += self._message(message, held)
        return [*sent, {"role": "user", "content": held}] if held else sent

    def _message(self, message: Message, held: list[JsonObject]) -> Iterable[JsonObject]:
        """What a message becomes; files of results are held until all results stand, since results are text."""
        if message.role == "system":
            return [{"role": "system", "content": message.text}] if message.text else ()
        if message.role == "assistant":
            return self._said(message)
        results = [self._result(part, held) for part in message.parts if isinstance(part, ToolResult)]
        content = [block for part in message.parts for block in self._blocks(part)]
        if not content:
            return results
        only = content[0]["text"] if len(content) == 1 and content[0]["type"] == "text" else content
        return [*results, {"role": "user", "content": only}]

    def _said(self, message: Message) -> Iterable[JsonObject]:
        calls = [self._call(part) for part in message.parts if isinstance(part, ToolCall)]
        for part in message.parts:
            if not isinstance(part, Text | ToolCall | Citation) and not self._is_unwanted(part):
                self._omit(part, "Chat Completions takes text and calls of tools from a model")
        if not calls and not message.text:
            return ()
        return [{"role": "assistant", "content": message.text or None, **without_empty(tool_calls=calls)}]

    def _is_unwanted(self, part: Content) -> bool:
        """Whether nothing is lost without it: a server that shows its thinking does not want it back."""
        return isinstance(part, Thinking) and part.bound is None and bool(self._dialect.thinking)

    def _call(self, part: ToolCall) -> JsonObject:
        function = {"name": self.names.wire(part.name), "arguments": arguments_of(part)}
        return {"id": id_of(part.id), "type": "function", "function": function}

    def _result(self, part: ToolResult, held: list[JsonObject]) -> JsonObject:
        for inner in part.content:
            if isinstance(inner, File) and text_of_file(inner) is None:
                held += [{"type": "text", "text": f"A file of the result of `{id_of(part.call_id)}`:"}]
                held += self._blocks(inner)
            elif not isinstance(inner, Text | File | Citation):
                self._omit(inner, "Chat Completions takes text as the result of a tool")
        return {"role": "tool", "tool_call_id": id_of(part.call_id), "content": text_of_result(part)}

    def _blocks(self, part: Content) -> Iterable[JsonObject]:
        if isinstance(part, Text):
            return [{"type": "text", "text": part.text}] if part.text else ()
        if isinstance(part, File):
            return [self._file(part)]
        if not isinstance(part, ToolResult | Citation):
            self._omit(part, "Chat Completions has no place for it")
        return ()

    def _file(self, part: File) -> JsonObject:
        kind, text = kind_of(part), text_of_file(part)
        if text is not None:
            return {"type": "text", "text": text}
        if kind in IMAGES:
            return {"type": "image_url", "image_url": {"url": self._files.address(part)}}
        if kind in _SOUNDS:
            return {"type": "input_audio", "input_audio": {"data": self._files.inline(part), "format": _SOUNDS[kind]}}
        if kind != PDF:
            raise self._files.refused(part)
        if part.data is None:
            raise self._files.refused(part, " by address with Chat Completions", hint="send the data of the file")
        return {"type": "file", "file": {"filename": part.name or "file.pdf", "file_data": self._files.address(part)}}

    def _omit(self, part: Content, why: str) -> None:
        if isinstance(part, Thinking):
            self.omitted.note("thinking", why)
        else:
            self.omitted.note(f"a `{getattr(part, 'kind', type(part).__name__)}`", why)

    # --- tools and settings

    def _tools(self, request: ModelRequest) -> list[JsonObject]:
        own: list[JsonObject] = []
        for spec in request.tools:
            function = {"name": self.names.wire(spec.name), "description": spec.description}
            own.append({"type": "function", "function": {**function, **self._schema("parameters", spec.input_schema)}})
        return [*own, *request.settings.extra.get("tools", ())]

    def _schema(self, key: str, schema: JsonObject) -> JsonObject:
        if not self._dialect.strict:
            return {key: schema}
        kept = strict(schema)
        return {key: schema if kept is None else kept, "strict": kept is not None}

    def _format(self, request: ModelRequest) -> JsonObject | None:
        schema = request.output_schema
        if schema is None:
            return None
        if self._dialect.strict and schema.get("type") != "object":
            why = f"{self._dialect.provider} takes objects alone; the model was told of it in words"
            self.omitted.note("the output schema", why)
            return None
        return {"type": "json_schema", "json_schema": {"name": "answer", **self._schema("schema", schema)}}

    def _choice(self, settings: ModelSettings) -> JsonObject:
        choice = settings.tool_choice
        named = choice not in (None, "auto", "none", "required")
        chosen: Any = {"type": "function", "function": {"name": self.names.wire(choice or "")}} if named else choice
        return without_empty(tool_choice=chosen, parallel_tool_calls=settings.parallel_tools)

    def _settings(self, settings: ModelSettings) -> JsonObject:
        if settings.top_k is not None:
            self.omitted.note("the setting `top_k`", "Chat Completions has none")
        return without_empty(
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=settings.seed,
            stop=list(settings.stop or ()),
            **{self._dialect.limit: settings.max_output_tokens},
        )


__all__ = ["Sending"]
