"""A request of ours as parameters of the Responses API: pure functions, and the same bytes for the same request.

Nothing is stored at the provider: reasoning and the items of server-side tools come back whole, and are sent whole.
What the wire has no place for is left out with a note, or refused before anything is sent; never silently changed.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    Opaque,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from pegboard.wire import Omissions, ToolNames, without_empty
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

from pegboard_openai.models import Line
from pegboard_openai.tuning import Tuned

PROVIDER: Final = "openai"
PHASE: Final = "phase"
"""Kind of an `Opaque` that says what the text before it was: a comment on the way, or the answer. Any other kind is the
type of a whole item of the output: `reasoning`, a call of a server-side tool."""
_ENCRYPTED: Final = "reasoning.encrypted_content"


class Sending:
    """The parameters of one request, the names of its tools, and what was left out of it."""

    def __init__(self, fit: Tuned, model: str, line: Line) -> None:
        request = fit.request
        self.names = ToolNames(spec.name for spec in request.tools)
        self.omitted = Omissions(fit.omitted)
        self._model = model
        self._files = Files("OpenAI")
        self.params = self._params(fit, line)
        self.extra = beside(self.params, request.settings.extra)

    def _params(self, fit: Tuned, line: Line) -> JsonObject:
        request = fit.request
        schema = self._format(request)
        instructions = request.instructions
        if request.output_schema is not None and schema is None:
            instructions = in_words(instructions, request.output_schema)
        return {
            "model": self._model,
            "input": self._input(request),
            "store": False,
            **without_empty(
                instructions=instructions,
                include=[_ENCRYPTED] if line.thinks else None,
                tools=self._tools(request),
                text={"format": schema} if schema else None,
                reasoning={"effort": fit.effort} if fit.effort else None,
                prompt_cache_key=fit.cache_key,
            ),
            **(self._choice(request.settings) if request.tools else {}),
            **self._settings(request.settings),
        }

    # --- messages

    def _input(self, request: ModelRequest) -> list[JsonObject]:
        return [item for message in request.messages for item in self._items(message)]

    def _items(self, message: Message) -> Iterable[JsonObject]:
        if message.role == "system":
            return [{"role": "system", "content": message.text}] if message.text else ()
        if message.role == "assistant":
            return self._said(message)
        results = [self._result(part) for part in message.parts if isinstance(part, ToolResult)]
        content = [block for part in message.parts for block in self._blocks(part)]
        return [*results, {"role": "user", "content": content}] if content else results

    def _said(self, message: Message) -> list[JsonObject]:
        items: list[JsonObject] = []
        for part in message.parts:
            if isinstance(part, Text):
                items += [{"role": "assistant", "content": part.text}] if part.text else ()
            elif isinstance(part, ToolCall):
                items.append(self._call(part))
            elif isinstance(part, Thinking) and part.bound is None:
                self.omitted.note("thinking", "it is not encrypted, so that OpenAI does not take it back")
            elif isinstance(part, Thinking | Opaque):
                self._verbatim(part.bound if isinstance(part, Thinking) else part, items)
            elif not isinstance(part, Citation):
                self._omit(part)
        while items and items[-1].get("type") == "reasoning":  # the API refuses one that nothing came of
            items.pop()
            self.omitted.note("thinking", "the answer was cut before anything came of it")
        return items

    def _verbatim(self, part: Opaque | None, items: list[JsonObject]) -> None:
        if part is None:
            return
        if part.provider != PROVIDER or part.model != self._model:
            self.omitted.note(f"a `{part.kind}`", f"it is bound to `{part.provider}:{part.model}`")
        elif part.kind != PHASE:
            items.append(part.data)
        elif items and items[-1].get("role") == "assistant":
            items[-1]["phase"] = part.data

    def _call(self, part: ToolCall) -> JsonObject:
        name = self.names.wire(part.name)
        return {"type": "function_call", "call_id": id_of(part.id), "name": name, "arguments": arguments_of(part)}

    def _result(self, part: ToolResult) -> JsonObject:
        files = [inner for inner in part.content if isinstance(inner, File) and text_of_file(inner) is None]
        for inner in part.content:
            if not isinstance(inner, Text | File | Citation):
                self._omit(inner)
        text = text_of_result(part)
        told = [{"type": "input_text", "text": text}] if text else []
        output: Any = [*told, *(self._file(file) for file in files)] if files else text
        return {"type": "function_call_output", "call_id": id_of(part.call_id), "output": output}

    def _blocks(self, part: Content) -> Iterable[JsonObject]:
        if isinstance(part, Text):
            return [{"type": "input_text", "text": part.text}] if part.text else ()
        if isinstance(part, File):
            return [self._file(part)]
        if not isinstance(part, ToolResult | Citation):
            self._omit(part)
        return ()

    def _file(self, part: File) -> JsonObject:
        kind, text = kind_of(part), text_of_file(part)
        if text is not None:
            return {"type": "input_text", "text": text}
        if kind in IMAGES:
            return {"type": "input_image", "detail": "auto", "image_url": self._files.address(part)}
        if kind != PDF:
            hint = 'set `api = "chat"` under `[plugins.openai]`' if kind.startswith("audio/") else None
            raise self._files.refused(part, " with Responses", hint=hint)
        if part.data is None and part.uri is not None:
            return {"type": "input_file", "file_url": part.uri}
        return {"type": "input_file", "filename": part.name or "file.pdf", "file_data": self._files.address(part)}

    def _omit(self, part: Content) -> None:
        self.omitted.note(f"a `{getattr(part, 'kind', type(part).__name__)}`", "Responses has no place for it")

    # --- tools and settings

    def _tools(self, request: ModelRequest) -> list[JsonObject]:
        own: list[JsonObject] = []
        for spec in request.tools:
            kept = strict(spec.input_schema)
            own.append(
                {
                    "type": "function",
                    "name": self.names.wire(spec.name),
                    "description": spec.description,
                    "parameters": spec.input_schema if kept is None else kept,
                    "strict": kept is not None,
                }
            )
        return [*own, *request.settings.extra.get("tools", ())]

    def _format(self, request: ModelRequest) -> JsonObject | None:
        schema = request.output_schema
        if schema is None:
            return None
        if schema.get("type") != "object":
            self.omitted.note("the output schema", "OpenAI takes objects alone; the model was told of it in words")
            return None
        kept = strict(schema)
        chosen = schema if kept is None else kept
        return {"type": "json_schema", "name": "answer", "schema": chosen, "strict": kept is not None}

    def _choice(self, settings: ModelSettings) -> JsonObject:
        choice = settings.tool_choice
        named = choice not in (None, "auto", "none", "required")
        chosen: Any = {"type": "function", "name": self.names.wire(choice or "")} if named else choice
        return without_empty(tool_choice=chosen, parallel_tool_calls=settings.parallel_tools)

    def _settings(self, settings: ModelSettings) -> JsonObject:
        for name in ("seed", "stop"):
            if getattr(settings, name) not in (None, ()):
                self.omitted.note(f"the setting `{name}`", "Responses has none")
        return without_empty(
            temperature=settings.temperature, top_p=settings.top_p, max_output_tokens=settings.max_output_tokens
        )


__all__ = ["PHASE", "PROVIDER", "Sending"]
