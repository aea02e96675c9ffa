"""Tools: how a typed Python function becomes one, how arguments are checked, how one is called.

Whether a call is allowed, journaled or limited is the runner's business, not that of this module.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload
from weakref import WeakKeyDictionary

import msgspec

from pegboard.deadline import finish
from pegboard.errors import (
    ApprovalNeededError,
    HookTimeoutError,
    PegboardError,
    ToolArgumentsError,
    ToolDefinitionError,
    ToolUnsafeUnknownError,
    describe,
)
from pegboard.interfaces import HostContext, RunContext, Tool, ToolContext
from pegboard.lazy import LazyModule
from pegboard.threads import DaemonPool
from pegboard.types import (
    Citation,
    Effect,
    File,
    JsonObject,
    Opaque,
    Text,
    Thinking,
    Tier,
    ToolCall,
    ToolResult,
    ToolSpec,
    UnknownPart,
    tool_result,
)

if TYPE_CHECKING:
    from pegboard import schema
else:
    schema = LazyModule("pegboard.schema")  # pydantic and jsonschema, not before the first schema

F = TypeVar("F", bound=Callable[..., Any])

_POOL = DaemonPool(name="pegboard-tool")
_NO_PERMISSIONS: Mapping[str, tuple[str, ...]] = {}


class FunctionTool:
    """A tool made of a function. Its schema is read from the signature when it is first needed."""

    __slots__ = (
        "_check",
        "_context_arg",
        "_resources",
        "_schema",
        "_spec",
        "description",
        "effect",
        "function",
        "inline",
        "is_async",
        "name",
        "output_schema",
        "permissions",
        "polling",
        "tier",
        "timeout_s",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        effect: Effect = "unsafe",
        tier: Tier = "core",
        timeout_s: float | None = 120.0,
        inline: bool = False,
        polling: bool = False,
        resources: Callable[[Mapping[str, Any]], frozenset[str] | None] | Sequence[str] | None = None,
        permissions: Mapping[str, tuple[str, ...]] = _NO_PERMISSIONS,
    ) -> None:
        self.function = function
        self.name: str = name or str(getattr(function, "__name__", type(function).__name__))
        self.description = description if description is not None else _summary(function)
        self.effect: Effect = effect
        self.tier: Tier = tier
        self.timeout_s = timeout_s
        self.inline = inline
        self.polling = polling
        self.permissions = permissions
        self.output_schema: JsonObject | None = None
        self.is_async = inspect.iscoroutinefunction(function)
        self._resources = resources
        self._schema: JsonObject | None = None
        self._check: Callable[[Any], dict[str, Any]] | None = None
        self._context_arg: str | None = None
        self._spec: ToolSpec | None = None

    @property
    def input_schema(self) -> JsonObject:
        """JSON Schema of the arguments."""
        if self._schema is None:
            self._schema, self._check, self._context_arg = self._signature()
        return self._schema

    @property
    def spec(self) -> ToolSpec:
        """What a model is told; made once."""
        if self._spec is None:
            self._spec = ToolSpec(self.name, self.description, self.input_schema)
        return self._spec

    def validate(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the function's types. Raises `ToolArgumentsError`."""
        if self._check is None:
            self._schema, self._check, self._context_arg = self._signature()
        return self._check(args)

    def resources(self, args: Mapping[str, Any]) -> frozenset[str] | None:
        """Lock keys; a function that declares none and only reads is free, any other excludes every other call."""
        if callable(self._resources):
            return self._resources(args)
        if self._resources is not None:
            return frozenset(self._resources)
        return None if self.effect == "unsafe" else frozenset()

    async def execute(self, args: Mapping[str, Any], ctx: ToolContext) -> ToolResult:
        """Call the function: in the loop when it is async or declared cheap, else in a worker thread."""
        if self._context_arg is not None:
            args = {**args, self._context_arg: ctx}
        if self.is_async:
            value = await self.function(**args)
        elif self.inline:
            value = self.function(**args)
            if value.__class__ is CoroutineType:
                value = await value
        else:
            value = await _POOL.run(self.function, **args)
        return result_of(ctx.call.id, value)

    def _signature(self) -> tuple[JsonObject, Callable[[Any], dict[str, Any]], str | None]:
        return schema.for_function(self.function, self.name, (ToolContext, RunContext))

    def __repr__(self) -> str:
        return f"<tool {self.name}>"


@overload
def tool(function: Callable[..., Any]) -> FunctionTool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect = "unsafe",
    tier: Tier = "core",
    timeout_s: float | None = 120.0,
    inline: bool = False,
    polling: bool = False,
    resources: Callable[[Mapping[str, Any]], frozenset[str] | None] | Sequence[str] | None = None,
    permissions: Mapping[str, tuple[str, ...]] = _NO_PERMISSIONS,
) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Make a tool of a typed function; name, description and schema come from it.

    `effect` says what a repeat would do: nothing (`pure`), the same (`idempotent`), the same for one key (`keyed`), or
    harm (`unsafe`, also when undeclared). `inline` is for plain functions that return at once: they run in the event
    loop and not in a worker thread. `resources` names what a call locks. `polling` says that the same call with the
    same result is no sign of a stuck loop. A parameter annotated `ToolContext` is filled in and not shown to the model.

        @tool(effect="pure", inline=True)
        def add(a: int, b: int) -> int:
            \"\"\"Add two integers.\"\"\"
            return a + b
    """
    if function is not None:
        return FunctionTool(function, **options)
    return lambda fn: FunctionTool(fn, **options)


_wrapped: WeakKeyDictionary[Callable[..., Any], FunctionTool] = WeakKeyDictionary()


def as_tool(value: Any) -> Tool:
    """A tool as it is, a function as a tool; one and the same for each function, so that its schema is read once.

    Raises:
        ToolDefinitionError: it is neither.
    """
    if value.__class__ is FunctionTool:  # the common case, and the protocol check below is dear
        return value
    if inspect.isfunction(value) or inspect.ismethod(value) or inspect.isbuiltin(value):
        known = _wrapped.get(value)
        if known is None:
            known = _wrapped[value] = FunctionTool(value)
        return known
    if isinstance(value, Tool):
        return value
    raise ToolDefinitionError(f"{value!r} is neither a tool nor a function", hint="peg help tool.invalid")


def spec_for(tool: Tool) -> ToolSpec:
    """What a model is told about a tool."""
    if isinstance(tool, FunctionTool):
        return tool.spec
    return ToolSpec(tool.name, tool.description, tool.input_schema)


def check_arguments(tool: Tool, call: ToolCall) -> dict[str, Any]:
    """The arguments of a call, checked against the tool's schema.

    Raises:
        ToolArgumentsError: they were not JSON, or do not fit; the message tells a model what to mend.
    """
    if call.error is not None:
        raise ToolArgumentsError(f"tool `{call.name}`: {call.error}")
    if isinstance(tool, FunctionTool):
        return tool.validate(call.arguments)
    return schema.check_json(tool.input_schema, call.arguments, f"tool `{call.name}`")  # type: ignore[no-any-return]


async def call_tool(tool: Tool, call: ToolCall, ctx: ToolContext) -> ToolResult:
    """Check and execute; whatever goes wrong becomes a result, never an exception, except cancellation."""
    try:
        args = check_arguments(tool, call)
    except ToolArgumentsError as exc:
        return tool_result(call.id, exc.message, status="error", code=exc.code)
    return await execute(tool, args, call, ctx)


async def execute(tool: Tool, args: Mapping[str, Any], call: ToolCall, ctx: ToolContext) -> ToolResult:
    """Execute with checked arguments under the tool's own time limit; what it raises becomes a result.

    A tool that swallows its cancel is abandoned a second later: neither a limit nor a cancelled run waits for it.
    """
    try:
        running = tool.execute(args, ctx)
        result = await (running if is_cheap(tool) else _limited(running, _ToolLimit(tool.name, tool.timeout_s)))
    except (ApprovalNeededError, ToolUnsafeUnknownError):
        raise  # of a child run: what only a person can decide is not for the model
    except HookTimeoutError:
        text = f"tool `{call.name}` did not finish within {tool.timeout_s or 0:g} s"
        return tool_result(call.id, text, status="error", code="tool.timeout")
    except PegboardError as exc:
        return tool_result(call.id, _for_model(exc), status="error", code=exc.code)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _failed(call, exc)  # nobody cancelled the call: it waited for something that was
    except BaseException as exc:  # a tool that calls `sys.exit` does not end the host
        return _failed(call, exc)
    if not _is_result(result):
        text = f"tool `{call.name}` returned {type(result).__name__} instead of a `ToolResult`"
        return tool_result(call.id, text, status="error", code="tool.failed")
    return result if result.call_id == call.id else msgspec.structs.replace(result, call_id=call.id)


class _ToolLimit(NamedTuple):
    """What the driver of a suspended coroutine must know of a tool."""

    hook: str
    limit_s: float | None
    plugin: str = "tool"


async def _limited(running: Any, limit: _ToolLimit) -> Any:
    if not hasattr(running, "send"):  # an awaitable of another kind, which cannot be stepped
        return await running
    try:
        waiting = running.send(None)
    except StopIteration as end:
        return end.value
    return await finish(running, waiting, limit)


def is_cheap(tool: Tool) -> bool:
    """Whether it returns at once, so that a task or a deadline of its own would cost more than the call."""
    """Whether it returns at once, so that a task or a deadline of its own would cost more than the call."""
    return isinstance(tool, FunctionTool) and tool.inline


def _is_result(value: object) -> bool:
    content: object = value.content if isinstance(value, ToolResult) else None
    return isinstance(content, tuple) and all(map(_is_content, content))


def _is_content(part: object) -> bool:
    return isinstance(part, Text | Thinking | File | Citation | Opaque | UnknownPart)


def _failed(call: ToolCall, error: BaseException) -> ToolResult:
    text = f"tool `{call.name}` failed: {type(error).__name__}: {describe(error)}"
    return tool_result(call.id, text, status="error", code="tool.failed")


def result_of(call_id: str, value: Any) -> ToolResult:
    """What a function returned, as a result: text as it is, anything else as JSON and for code."""
    if value.__class__ is str:
        return ToolResult(call_id=call_id, content=(Text(value),))
    if isinstance(value, ToolResult):
        return value
    if value is None:
        return ToolResult(call_id=call_id, content=(Text("done"),))
    if value.__class__ is int:
        return ToolResult(call_id=call_id, content=(Text(str(value)),), structured=value)
    data = msgspec.to_builtins(value, enc_hook=schema.jsonable, str_keys=True)
    return ToolResult(call_id=call_id, content=(Text(msgspec.json.encode(data).decode()),), structured=data)


class DirectToolContext:
    """The context of a call that no run stands around."""

    __slots__ = ("attempt", "call", "host", "idempotency_key", "run")

    def __init__(self, call: ToolCall) -> None:
        self.call = call
        self.idempotency_key = call.id
        self.attempt = 1
        self.host: HostContext | None = None
        self.run: Any = None

    def progress(self, message: str, share: float | None = None) -> None:
        return None


def _summary(function: Callable[..., Any]) -> str:
    doc = inspect.getdoc(function) or ""
    return doc.split("\nArgs:")[0].strip()


def _for_model(error: PegboardError) -> str:
    return f"{error.message} (hint: {error.hint})" if error.hint else error.message


__all__ = [
    "DirectToolContext",
    "FunctionTool",
    "as_tool",
    "call_tool",
    "check_arguments",
    "execute",
    "is_cheap",
    "result_of",
    "spec_for",
    "tool",
]
