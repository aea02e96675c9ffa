"""Tools: how a typed Python function becomes one, how arguments are checked, how one is called.

Whether a call is allowed, journaled or limited is the runner's business, not that of this module.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, get_args, overload
from weakref import WeakKeyDictionary

import msgspec

from pegboard.deadline import AbandonedError, finish, is_closing
from pegboard.errors import (
    ApprovalNeededError,
    HookTimeoutError,
    PegboardError,
    ToolArgumentsError,
    ToolDefinitionError,
    ToolError,
    ToolUnsafeUnknownError,
    describe,
)
from pegboard.interfaces import HostContext, RunContext, Tool, ToolContext
from pegboard.lazy import LazyModule
from pegboard.signs import storable, storable_text
from pegboard.threads import DaemonPool
from pegboard.types import (
    Effect,
    JsonObject,
    Text,
    Tier,
    ToolCall,
    ToolResult,
    ToolSpec,
    content_from_json,
    to_json,
    tool_result,
)

if TYPE_CHECKING:
    from pegboard import schema
else:
    schema = LazyModule("pegboard.schema")  # pydantic and jsonschema, not before the first schema

_ContextArgument: TypeAlias = tuple[str, type]
"""The parameter that a context is given to, and whether it is the `ToolContext` or the `RunContext`."""

_log = logging.getLogger("pegboard.tools")
_NOT_OF_THE_CALL = (ApprovalNeededError, ToolUnsafeUnknownError, KeyboardInterrupt, AbandonedError)
_POOL = DaemonPool(name="pegboard-tool")
_EFFECTS: tuple[str, ...] = get_args(Effect)
_TIERS: tuple[str, ...] = get_args(Tier)
TOOL_PARTS = tuple(name for name in vars(Tool) if not name.startswith("_"))
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
        _check_definition(function, effect, tier, timeout_s)
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
        self._context_arg: _ContextArgument | None = None
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
            name, kind = self._context_arg
            args = {**args, name: ctx.run if kind is RunContext else ctx}
        if self.is_async:
            value = await self.function(**args)
        elif self.inline:
            value = self.function(**args)
            if value.__class__ is CoroutineType:
                value = await value
        else:
            value = await _POOL.run(self.function, **args)
        return result_of(ctx.call.id, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as a test does: nothing is checked and no run stands around it."""
        return self.function(*args, **kwargs)

    def _signature(self) -> tuple[JsonObject, Callable[[Any], dict[str, Any]], _ContextArgument | None]:
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
    same result is no sign of a stuck loop. A call that takes longer than `timeout_s` is an error that the model sees. A
    parameter annotated `ToolContext` or `RunContext` is filled in and not shown to the model. What is returned is shown
    as it is when it is text, else as JSON. The tool can still be called like the function, for example in a test.

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
    if _is_tool(value):
        return value  # type: ignore[no-any-return]  # a tool
    raise ToolDefinitionError(f"{value!r} is neither a tool nor a function", hint="peg help tool.invalid")


def _is_tool(value: object) -> bool:
    try:
        return isinstance(value, Tool)
    except KeyboardInterrupt:
        raise
    except BaseException:  # up to Python 3.11 properties are called to find out whether they are there
        return all(hasattr(type(value), name) or name in getattr(value, "__dict__", ()) for name in TOOL_PARTS)


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
    except BaseException as exc:
        if _goes_up(tool, exc):
            raise
        return _failure(tool, call, exc, ctx)
    if not isinstance(tool, FunctionTool):
        result = _sound(result, call)
    return result if result.call_id == call.id else msgspec.structs.replace(result, call_id=call.id)


def _goes_up(tool: Tool, error: BaseException) -> bool:
    """Whether an error is not of the call: it is being ended, or only a person can decide what follows."""
    if is_closing() or isinstance(error, _NOT_OF_THE_CALL):
        return True
    if isinstance(error, asyncio.CancelledError):  # else it waited for something that somebody else cancelled
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    # The tool's own comes as the cause of another error, or from what does not wait.
    return isinstance(error, GeneratorExit) and not is_cheap(tool)


def _failure(tool: Tool, call: ToolCall, error: BaseException, ctx: ToolContext) -> ToolResult:
    """The result of a call that raised; a tool that calls `sys.exit` does not end the host."""
    if isinstance(error, HookTimeoutError):
        text = f"tool `{call.name}` did not finish within {tool.timeout_s or 0:g} s"
        return tool_result(call.id, text, status="error", code="tool.timeout")
    cause = error.__cause__ if isinstance(error.__cause__, GeneratorExit) else error
    _note(call, cause, ctx)
    if isinstance(cause, PegboardError):
        return tool_result(call.id, _for_model(cause), status="error", code=cause.code)
    text = f"tool `{call.name}` failed: {type(cause).__name__}: {describe(cause)}"
    return tool_result(call.id, text, status="error", code="tool.failed")


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
    except GeneratorExit as exc:  # its own: nobody can close what has not waited yet
        raise ToolError(f"tool `{limit.hook}` raised GeneratorExit") from exc
    return await finish(running, waiting, limit)


def is_cheap(tool: Tool) -> bool:
    """Whether it returns at once, so that a task or a deadline of its own would cost more than the call."""
    return isinstance(tool, FunctionTool) and tool.inline


def _sound(value: object, call: ToolCall) -> ToolResult:
    """A result that somebody else made, checked to its leaves: what is no JSON would only fail later, in a store.

    Texts that no encoding can carry, such as the names of files in another encoding, are spelled out.
    """
    try:
        if not isinstance(value, ToolResult):
            raise TypeError(f"{type(value).__name__} instead of a `ToolResult`")
        checked = content_from_json(storable(to_json(value)))
        assert isinstance(checked, ToolResult)  # `to_json` said so
    except (TypeError, ValueError, NotImplementedError, RecursionError) as error:
        text = f"tool `{call.name}` returned what is no result: {describe(error)}"
        return tool_result(call.id, text, status="error", code="tool.failed")
    return value if checked == value else checked


def _note(call: ToolCall, error: BaseException, ctx: ToolContext) -> None:
    """Where it failed, for people: in the log of events, and with its traceback in that of the program."""
    note = getattr(ctx, "note", None)  # not part of what a tool is given
    if note is not None:
        note(error)
    _log.debug("tool `%s` failed", call.name, exc_info=error)


def result_of(call_id: str, value: Any) -> ToolResult:
    """What a function returned, as a result: text as it is, anything else as JSON and for code."""
    if value.__class__ is str:
        return ToolResult(call_id=call_id, content=(Text(storable_text(value)),))
    if isinstance(value, ToolResult):
        return _sound(value, ToolCall(id=call_id, name="function", arguments={}))
    if value is None:
        return ToolResult(call_id=call_id, content=(Text("done"),))
    if value.__class__ is int:
        return ToolResult(call_id=call_id, content=(Text(str(value)),), structured=value)
    data = storable(msgspec.to_builtins(value, enc_hook=schema.jsonable, str_keys=True))
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


def _check_definition(function: object, effect: str, tier: str, timeout_s: float | None) -> None:
    name = getattr(function, "__name__", function)
    if effect not in _EFFECTS or tier not in _TIERS:
        wrong, known = (effect, _EFFECTS) if effect not in _EFFECTS else (tier, _TIERS)
        raise ToolDefinitionError(
            f"tool `{name}`: `{wrong}` is none of {', '.join(known)}", hint="peg help tool.invalid"
        )
    if timeout_s is not None and not timeout_s > 0:
        raise ToolDefinitionError(f"tool `{name}`: `timeout_s` must be more than 0", hint="peg help tool.invalid")


def _summary(function: Callable[..., Any]) -> str:
    doc = inspect.getdoc(function) or ""
    return doc.split("\nArgs:")[0].strip()


def _for_model(error: PegboardError) -> str:
    return f"{error.message} (hint: {error.hint})" if error.hint else error.message


__all__ = [
    "TOOL_PARTS",
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
