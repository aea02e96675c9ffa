"""What is sent to a model and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from pegboard.errors import AgentError
from pegboard.types.messages import Content, JsonObject, Message, ToolCall, calls_of, text_of

FinishReason = Literal["stop", "tool_calls", "length", "refused", "pause", "other"]
"""`pause` is a long turn of a provider's own tools, which wants to be sent back to go on."""
_LEVELS = ("off", "low", "medium", "high")
Known = Literal["yes", "no", "unknown"]
EventType = Literal[
    "start",
    "text",
    "thinking",
    "tool_call_start",
    "tool_call_delta",
    "tool_call",
    "tool_result",
    "file",
    "citation",
    "usage",
    "restart",
    "error",
    "final",
]


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one or more requests. `None` is *unknown*; unknown plus anything is unknown, never 0."""

    input_tokens: int | None = None
    """Includes cache reads and writes."""
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    thinking_tokens: int | None = None
    requests: int = 1
    source: Literal["provider", "estimated", "unknown"] = "unknown"

    def __add__(self, other: Usage) -> Usage:
        # No requests at all is the neutral element: a run that has sent nothing has used nothing.
        if not self.requests:
            return other
        if not other.requests:
            return self
        return Usage(
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
            _sum(self.cache_read_tokens, other.cache_read_tokens),
            _sum(self.cache_write_tokens, other.cache_write_tokens),
            _sum(self.thinking_tokens, other.thinking_tokens),
            self.requests + other.requests,
            self.source if self.source == other.source else "estimated",
        )

    @property
    def total_tokens(self) -> int | None:
        """Input and output together."""
        return _sum(self.input_tokens, self.output_tokens)


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


NO_USAGE = Usage(0, 0, 0, 0, 0, 0, "provider")


class ModelSettings(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How to ask. `None` leaves a setting to the next layer: run, agent, alias, provider."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    thinking: Literal["off", "low", "medium", "high"] | int | None = None
    """A level, or a number of tokens."""
    tool_choice: str | None = None
    """`auto`, `none`, `required`, or the name of one tool."""
    parallel_tools: bool | None = None
    cache: Literal["auto", "off", "explicit"] | None = None
    timeout_s: float | None = None
    extra: JsonObject = {}
    """Passed to the provider verbatim."""

    def __post_init__(self) -> None:
        wanted = self.thinking
        if wanted is None or wanted in _LEVELS or (wanted.__class__ is int and wanted >= 0):
            return
        raise AgentError(
            f"the setting `thinking` is {wanted!r}, and must be `off`, `low`, `medium`, `high` or a number of tokens",
            hint="peg help agent.invalid",
        )

    def over(self, base: ModelSettings) -> ModelSettings:
        """These settings, with the gaps filled from `base`."""
        if base is DEFAULT_SETTINGS:
            return self
        own = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) not in (None, {})}
        return msgspec.structs.replace(base, **own) if own else base


DEFAULT_SETTINGS = ModelSettings()


class ToolSpec(msgspec.Struct, frozen=True, gc=False):
    """What a model is told about a tool."""

    name: str
    description: str
    input_schema: JsonObject


class ModelCapabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a model can do. `unknown` is tried once, then remembered."""

    tools: Known = "unknown"
    parallel_tools: Known = "unknown"
    structured_output: Known = "unknown"
    structured_with_tools: Known = "unknown"
    thinking: Known = "unknown"
    vision: Known = "unknown"
    audio: Known = "unknown"
    files: Known = "unknown"
    prompt_cache: Literal["none", "implicit", "explicit", "unknown"] = "unknown"
    system_role: Known = "unknown"
    seed: Known = "unknown"
    context_window: int | None = None
    """In tokens; `None` when not known."""
    max_output: int | None = None
    source: Literal["declared", "probed", "configured"] = "declared"


class ModelRequest(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is about to be sent to a model."""

    model: str
    """Provider and name, for example `"anthropic:claude-x"`."""
    messages: Sequence[Message]
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    settings: ModelSettings = DEFAULT_SETTINGS
    output_schema: JsonObject | None = None
    """Set when the model's own schema mode is to be used."""
    cache_marks: tuple[int, ...] = ()
    """Indexes of messages after which the layout asks for a cache breakpoint."""
    run: str = ""


class Finish(msgspec.Struct, frozen=True, gc=False):
    """How a provider's stream ended."""

    reason: FinishReason
    usage: Usage | None = None
    model: str | None = None
    """The model that answered as its provider calls it, where it differs from the one asked for."""


class Omission(msgspec.Struct, frozen=True, gc=False):
    """Something of a request that the provider was not given, because it could not take it."""

    what: str
    why: str


class ModelChunk(msgspec.Struct, gc=False):
    """One piece of a provider's stream, made by a provider plugin; exactly one of the fields is set.

    `text` and `thinking` are deltas. `tool_call` is complete, or `call_delta` is `(id, name, argument text)` with the
    name in its first delta only. `part` is any other complete part. `usage` is what was used up to here, where a
    provider says so before the end. `omitted` says what of the request was left out. The last chunk carries `finish`.
    """

    # Mutable on purpose: one is made per delta and thrown away, and nothing shares it.
    text: str | None = None
    thinking: str | None = None
    tool_call: ToolCall | None = None
    call_delta: tuple[str, str, str] | None = None
    part: Content | None = None
    finish: Finish | None = None
    usage: Usage | None = None
    omitted: Omission | None = None


class ModelResponse(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The complete answer to one request."""

    parts: tuple[Content, ...]
    finish: FinishReason = "stop"
    usage: Usage = Usage()
    model: str = ""
    omitted: tuple[Omission, ...] = ()
    """What of the request the provider was not given."""

    @property
    def text(self) -> str:
        """The visible text."""
        return text_of(self.parts)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the model asks for."""
        return calls_of(self.parts)


class StreamEvent:
    """One event of a streamed run.

    `content` is the delta, part or data that `type` names. `accumulated` is the message so far in this attempt,
    joined only when it is read, since joining at every delta is quadratic; on the final event it is the `RunResult`.
    A `restart` voids the attempt before it: forget its text.
    """

    __slots__ = ("_buffer", "_length", "attempt", "content", "data", "is_final", "run", "seq", "type")

    def __init__(
        self,
        type: EventType,
        content: Any = None,
        *,
        is_final: bool = False,
        run: str = "",
        seq: int = 0,
        attempt: int = 1,
        data: JsonObject | None = None,
        buffer: list[str] | None = None,
    ) -> None:
        self.type = type
        self.content = content
        self.is_final = is_final
        self.run = run
        self.seq = seq
        self.attempt = attempt
        self.data = data
        self._buffer = buffer
        self._length = len(buffer) if buffer is not None else 0

    @property
    def accumulated(self) -> Any:
        """The text of this attempt up to this event, or the `RunResult` on the final one."""
        if self.is_final:
            return self.content
        return "".join(self._buffer[: self._length]) if self._buffer is not None else ""

    def __repr__(self) -> str:
        return f"StreamEvent({self.type!r}, {self.content!r}, attempt={self.attempt}, seq={self.seq})"


class ModelListing(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the models of one provider can be asked now, and which there are."""

    provider: str
    """As in `provider:model`."""
    ready: Known = "unknown"
    """Whether a model of it could be asked now, as far as that is known without a request."""
    why: str = ""
    """For people: where the key is, which server answers, or what is missing."""
    setup: str = ""
    """What to type where it is not ready."""
    models: tuple[str, ...] = ()
    """Those that are known, as they are named: `provider:model`."""
    source: Literal["declared", "server", "provider"] = "declared"
    """Who named them: the plugin, a server that was found, or the provider, which was asked."""
    code: str = ""
    """Of the error that says why it is not ready."""


class PriceTier(msgspec.Struct, frozen=True, kw_only=True):
    """What all tokens of a long request cost, per million."""

    over_tokens: int
    """Of input, caches included; a request with more is in this tier."""
    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs, per million tokens."""

    provider: str
    model: str = ""
    """A name, or a pattern with `*`."""
    match: str = ""
    """For what no pattern can say: a regular expression that is searched for in the name in lower case."""
    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    tiers: tuple[PriceTier, ...] = ()
    apart: tuple[str, ...] = ()
    """Kinds of content (`audio`, `image`, `video`) that have other prices: with one of them a cost is unknown."""
    currency: str = "USD"
    valid_from: str = ""
    """A date as in `2026-01-31`, before which the row does not count."""


class PriceTable(msgspec.Struct, frozen=True, kw_only=True):
    """Dated prices with their source. No row for a model means its cost is unknown, never 0."""

    prices: tuple[Price, ...]
    dated: str
    source: str
    ordered: bool = False
    """Whether of several names and patterns the first one counts, and not the longest."""
