"""What an agent must answer with: free text, or a value that fits a type or JSON Schema.

A schema is asked for natively, as a synthetic tool `final_output`, or in the instructions, whichever the model can do.
The answer is validated here; whether it may be repaired is the turns' business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pegboard.errors import ModelOutputInvalidError
from pegboard.lazy import LazyModule
from pegboard.types import AgentConfig, JsonObject, ModelCapabilities, ModelRequest, ToolCall, ToolSpec

if TYPE_CHECKING:
    from pegboard import schema
else:
    schema = LazyModule("pegboard.schema")

FINAL_OUTPUT = "final_output"
Strategy = Literal["native", "tool", "prompt"]


class StructuredOutput:
    """The output contract of one run and how the model is asked to keep it."""

    __slots__ = ("contract", "invalid", "strategy")

    def __init__(self, config: AgentConfig, capabilities: ModelCapabilities, *, has_tools: bool) -> None:
        self.contract = schema.OutputContract(config.output if config.answer is None else config.answer)
        self.strategy: Strategy = _choose(config, capabilities, has_tools)
        self.invalid = 0
        """How often an answer was sent back."""

    def ask(self, request: ModelRequest) -> ModelRequest:
        """The request with the contract in it."""
        if self.strategy == "native":
            return msgspec.structs.replace(request, output_schema=self.contract.schema)
        if self.strategy == "tool":
            spec = ToolSpec(FINAL_OUTPUT, "Give the final answer; ends the task.", self._as_object())
            return msgspec.structs.replace(request, tools=(*request.tools, spec))
        return msgspec.structs.replace(request, instructions=in_words(request.instructions, self.contract.schema))

    def from_call(self, call: ToolCall) -> Any:
        """The value in a call of `final_output`. Raises `ModelOutputInvalidError`."""
        if call.error is not None:
            raise _unreadable(f"the answer is not JSON: {call.error}", call.raw_arguments or "")
        if not self.contract.wrapped:
            return self.contract.validate(call.arguments)
        if set(call.arguments) != {"value"}:
            raw = msgspec.json.encode(call.arguments).decode()
            raise _unreadable("the answer needs exactly one argument, `value`", raw)
        return self.contract.validate(call.arguments["value"])

    def from_text(self, text: str) -> Any:
        """The value in a text. Raises `ModelOutputInvalidError`."""
        try:
            return self.contract.parse(text)
        except ModelOutputInvalidError as error:
            if self.strategy == "tool":
                error.message = f"{error.message}; call `{FINAL_OUTPUT}`"
            raise

    def _as_object(self) -> JsonObject:
        inner = self.contract.schema
        if not self.contract.wrapped:
            return inner
        definitions: JsonObject = {key: inner[key] for key in ("$defs", "definitions") if key in inner}
        bare = {key: value for key, value in inner.items() if key not in definitions}
        return {"type": "object", "properties": {"value": bare}, "required": ["value"], **definitions}


def in_words(instructions: str, schema: JsonObject) -> str:
    """Instructions with a schema that has no place of its own in a request."""
    text = msgspec.json.encode(schema, order="sorted").decode()
    return f"{instructions}\n\nAnswer with JSON only, of this JSON Schema:\n{text}".lstrip()


def _unreadable(message: str, raw: str) -> ModelOutputInvalidError:
    error = ModelOutputInvalidError(message)
    error.raw = raw
    return error


def _choose(config: AgentConfig, capabilities: ModelCapabilities, has_tools: bool) -> Strategy:
    if config.output_mode != "auto":
        return config.output_mode
    together = not has_tools or capabilities.structured_with_tools == "yes"
    if capabilities.structured_output == "yes" and together:
        return "native"
    return "prompt" if capabilities.tools == "no" else "tool"
