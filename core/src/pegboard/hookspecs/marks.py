"""The two markers: `hookspec` for core's contract, `hookimpl` for those who implement it.

A spec's kind says how several implementations compose and what happens when one fails; it is data on the function,
so that documentation, checks and dispatch read the same thing. How hooks are called is not known here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, overload

import msgspec
import pluggy

Kind = Literal["notify", "collect", "first", "pipeline", "around", "gate", "stream"]
F = TypeVar("F", bound=Callable[..., Any])

HOOK_API = "1.0"
"""The version of the whole contract, apart from the distribution's version."""

KIND_LIMITS_S: dict[Kind, float] = {
    "notify": 2.0,
    "collect": 5.0,
    "first": 5.0,
    "pipeline": 5.0,
    "around": 5.0,
    "gate": 5.0,
    "stream": 0.25,
}

_PROJECT = "pegboard"
_SPEC = "__pegboard_spec__"
_OPTIONS = "__pegboard_options__"
_mark_spec = pluggy.HookspecMarker(_PROJECT)
_mark_impl = pluggy.HookimplMarker(_PROJECT)


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """One hook of the contract."""

    name: str
    family: str
    kind: Kind
    since: str
    args: tuple[str, ...]
    """Argument names, in order; they are the contract. Implementations take any subset."""
    value: str | None = None
    """The argument that is threaded through (`pipeline`, `around`) or transformed (`stream`)."""
    timeout_s: float | None = None
    """Seconds for one implementation; `None` is no limit, as while a person thinks."""
    timed: bool = False
    sync_only: bool = False
    replay: bool = False
    on_error: Literal["kind", "closed"] = "kind"
    nobody: str = ""
    """What holds when nobody answers, in words."""
    returns: Any = None
    """Class, or tuple of classes, that an answer must be an instance of; `None` is not checked."""
    writable: tuple[str, ...] = ()
    deprecated: str | None = None
    function: Any = None


class ImplOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What an implementation says of itself, in code or in its manifest."""

    band: int = 0
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    timeout_s: float | None = None
    blocking: bool = False
    position: Literal["outermost", "innermost"] | None = None
    kinds: tuple[str, ...] = ()
    """`on_event` only: prefixes of the event kinds that are wanted; empty is all."""


def hookspec(
    *,
    kind: Kind,
    since: str,
    value: str | None = None,
    nobody: str = "",
    timeout_s: float | Literal["kind"] | None = "kind",
    timed: bool = False,
    sync_only: bool = False,
    replay: bool = False,
    on_error: Literal["kind", "closed"] = "kind",
    returns: Any = None,
    writable: Sequence[str] = (),
) -> Callable[[F], F]:
    """Mark a function as a hook of the contract."""

    def mark(function: F) -> F:
        spec = Spec(
            name=function.__name__,
            family=function.__module__.rpartition(".")[2],
            kind=kind,
            since=since,
            args=tuple(inspect.signature(function).parameters),
            value=value,
            timeout_s=KIND_LIMITS_S[kind] if timeout_s == "kind" else timeout_s,
            timed=timed,
            sync_only=sync_only,
            replay=replay,
            on_error=on_error,
            nobody=nobody,
            returns=returns,
            writable=tuple(writable),
            function=function,
        )
        setattr(function, _SPEC, spec)
        return _mark_spec(function)

    return mark


@overload
def hookimpl(function: F) -> F: ...
@overload
def hookimpl(
    *,
    band: int = 0,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    timeout_s: float | None = None,
    blocking: bool = False,
    position: Literal["outermost", "innermost"] | None = None,
    kinds: Sequence[str] = (),
) -> Callable[[F], F]: ...
def hookimpl(
    function: F | None = None,
    *,
    band: int = 0,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    timeout_s: float | None = None,
    blocking: bool = False,
    position: Literal["outermost", "innermost"] | None = None,
    kinds: Sequence[str] = (),
) -> F | Callable[[F], F]:
    """Mark a method as an implementation of the hook of its name.

    Options stand here for plugins without a manifest; where there is one, its `[hooks.<name>]` table leads and
    `peg plugins validate` proves that both agree.
    """
    options = ImplOptions(
        band=band,
        before=tuple(before),
        after=tuple(after),
        timeout_s=timeout_s,
        blocking=blocking,
        position=position,
        kinds=tuple(kinds),
    )

    def mark(fn: F) -> F:
        setattr(fn, _OPTIONS, options)
        return _mark_impl(fn)

    return mark(function) if function is not None else mark


def spec_of(function: object) -> Spec | None:
    """The spec on a function, where there is one."""
    return getattr(function, _SPEC, None)


def options_of(function: object) -> ImplOptions | None:
    """The options that `hookimpl` left on a function, where it is an implementation."""
    return getattr(function, _OPTIONS, None)
