"""One implementation of one hook, with all that is needed to call it and to say whose it is."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from pegboard.errors import PluginKindError

if TYPE_CHECKING:
    from pegboard.hookspecs import ImplOptions, Spec

Pool = Callable[..., Awaitable[Any]]
"""`run(function, *args, **kwargs)` in a thread that nobody waits for at exit."""


class Implementation:
    """A registered function: how it is called, how long it may take, and to whom it belongs."""

    __slots__ = (
        "call", "context", "dist", "hook", "is_async", "keywords", "kinds", "limit_s", "options", "plugin",
        "positional", "shut", "version",
    )  # fmt: skip

    def __init__(
        self,
        spec: Spec,
        plugin: str,
        options: ImplOptions,
        *,
        call: Callable[..., Any] | None = None,
        dist: str | None = None,
        version: str | None = None,
        context: object | None = None,
    ) -> None:
        self.hook = spec.name
        self.plugin = plugin
        self.dist = dist
        self.version = version
        self.options = options
        self.limit_s = _shorter(spec.timeout_s, options.timeout_s)
        self.kinds = options.kinds
        self.call = call
        self.is_async = False
        self.positional: tuple[str, ...] = ()
        self.keywords: tuple[str, ...] = ()
        self.context = context if _takes_host_context(spec) else None
        """The plugin's own `HostContext`, which it is given instead of the caller's; `None` where there is none."""
        self.shut: str | None = None
        """Why it is not called and answers as after a failure: an error code; `None` when it is called."""

    def closed_off(self, code: str) -> Implementation:
        """The same, not to be called, and answering as if it had failed with `code`."""
        other = object.__new__(Implementation)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        other.shut = code
        return other


def inspected(
    spec: Spec,
    plugin: str,
    function: Callable[..., Any],
    options: ImplOptions,
    pool: Pool,
    *,
    dist: str | None = None,
    version: str | None = None,
    context: object | None = None,
) -> Implementation:
    """The implementation that `function` is.

    Raises:
        PluginKindError: its arguments or its kind of function are not what the hook asks for.
    """
    implementation = Implementation(spec, plugin, options, dist=dist, version=version, context=context)
    implementation.is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
    implementation.positional, implementation.keywords = _arguments(spec, plugin, function)
    _check_function(spec, plugin, function, implementation.is_async, options)
    implementation.call = function
    if options.blocking:
        implementation.call, implementation.is_async = _in_pool(pool, function), True
    return implementation


def passed(implementation: Implementation, context_name: str) -> str:
    """The arguments of a call of it, as source text; `context_name` stands for the plugin's own context, if any."""
    given = {"ctx": context_name} if implementation.context is not None else {}
    positional = [given.get(name, name) for name in implementation.positional]
    return ", ".join([*positional, *(f"{name}={given.get(name, name)}" for name in implementation.keywords)])


def starter(implementation: Implementation, names: tuple[str, ...]) -> Callable[..., Any]:
    """Calls it, given all arguments of its hook by position."""
    arguments = passed(implementation, "own_context")
    if implementation.call is not None and arguments == ", ".join(names):
        return implementation.call
    # `function_`, since hooks may have an argument `call`.
    text = f"lambda function_, own_context: lambda {', '.join(names)}: function_({arguments})"
    bind: Callable[..., Callable[..., Any]] = eval(text, {})
    return bind(implementation.call, implementation.context)


def _in_pool(pool: Pool, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await pool(function, *args, **kwargs)

    return call


def _shorter(limit_s: float | None, wanted_s: float | None) -> float | None:
    if limit_s is None or wanted_s is None:
        return limit_s if wanted_s is None else wanted_s
    return min(limit_s, wanted_s)


def _takes_host_context(spec: Spec) -> bool:
    return bool(spec.function.__annotations__.get("ctx") == "HostContext")


def _arguments(spec: Spec, plugin: str, function: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which arguments of the spec are passed by position, and which by keyword."""
    positional: list[str] = []
    keywords: list[str] = []
    unknown: list[str] = []
    skipped = False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name not in spec.args:
            skipped = True
            if parameter.default is parameter.empty:
                unknown.append(name)
        elif skipped or parameter.kind is parameter.KEYWORD_ONLY:
            keywords.append(name)
        else:
            positional.append(name)
    if unknown:
        raise PluginKindError(
            f"plugin `{plugin}`: hook `{spec.name}` has no argument {_quoted(unknown)}; it has {_quoted(spec.args)}",
            hint=f"peg plugins validate {plugin}",
            plugin=plugin,
        )
    return tuple(positional), tuple(keywords)


def _check_function(
    spec: Spec, plugin: str, function: Callable[..., Any], is_async: bool, options: ImplOptions
) -> None:
    is_generator = inspect.isasyncgenfunction(inspect.unwrap(function))
    problem = None
    if spec.sync_only and (is_async or is_generator or options.blocking):
        problem = "must be a plain `def` that does not wait"
    elif spec.kind == "around" and not is_async:
        problem = "goes around something and must be `async def`"
    elif (spec.kind == "stream") != is_generator:
        problem = "must be an async generator" if spec.kind == "stream" else "must not be an async generator"
    elif options.blocking and is_async:
        problem = "is `async def`; `blocking` is for a plain `def`"
    elif options.position is not None and spec.kind != "around":
        problem = "has a `position`, which only hooks that go around something know"
    elif options.kinds and spec.name != "on_event":
        problem = "has `kinds`, which only `on_event` knows"
    if problem is not None:
        raise PluginKindError(
            f"plugin `{plugin}`: its `{spec.name}` {problem}", hint=f"peg plugins validate {plugin}", plugin=plugin
        )


def _quoted(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
