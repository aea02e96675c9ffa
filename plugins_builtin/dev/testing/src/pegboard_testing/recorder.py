"""`Recorder`: a plugin that remembers which hooks were called, with what and in which order, and changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from pegboard.hookspecs import SPECS, Spec, hookimpl


class HookCall(NamedTuple):
    """One call of a hook."""

    hook: str
    arguments: dict[str, Any]


class Recorder:
    """Implements every hook whose name fits one of `patterns`, as an observer.

    recorder = Recorder("model_request", "tool_*")
    board = await make_board(plugins=[recorder])
    ...
    recorder.assert_order("model_request", "tool_call", "model_request")
    """

    def __init__(self, *patterns: str, id: str = "recorder") -> None:
        self.id = id
        """Its id on the board; two recorders on one board need different ones."""
        self.calls: list[HookCall] = []
        """Every call, in order."""
        wanted = [spec for name, spec in SPECS.items() if any(fnmatchcase(name, pattern) for pattern in patterns)]
        if not wanted:
            raise ValueError(f"no hook fits {', '.join(patterns)}")
        for spec in wanted:
            setattr(self, spec.name, _implementation(spec, self.calls))

    @property
    def hooks(self) -> list[str]:
        """The names of the hooks that were called, in order."""
        return [call.hook for call in self.calls]

    def assert_order(self, *hooks: str) -> None:
        """Exactly these hooks were called, in this order."""
        assert self.hooks == list(hooks), f"called were {self.hooks}"

    def __repr__(self) -> str:
        return f"<recorder of {len(self.calls)} calls>"


def _implementation(spec: Spec, calls: list[HookCall]) -> Callable[..., Any]:
    """A function with the arguments of the hook, since implementations are called by name."""
    names = ", ".join(spec.args)
    kind = "async def" if spec.kind in ("around", "stream") else "def"
    body = {"around": f"return await watch({names})", "stream": f"async for item in watch({names}): yield item"}
    source = f"{kind} {spec.name}({names}):\n    {body.get(spec.kind, f'return watch({names})')}\n"
    scope: dict[str, Any] = {"watch": _watch(spec, calls)}
    exec(source, scope)  # of names that core defines; nothing of a plugin is in it
    implementation: Callable[..., Any] = hookimpl(scope[spec.name])
    return implementation


def _watch(spec: Spec, calls: list[HookCall]) -> Callable[..., Any]:
    def remember(*values: Any) -> dict[str, Any]:
        arguments = dict(zip(spec.args, values, strict=True))
        calls.append(HookCall(spec.name, {name: value for name, value in arguments.items() if name != "call_next"}))
        return arguments

    async def around(*values: Any) -> Any:
        arguments = remember(*values)
        return await arguments["call_next"](arguments[spec.value or ""])

    async def stream(*values: Any) -> AsyncIterator[Any]:
        async for item in remember(*values)[spec.value or ""]:
            yield item

    def other(*values: Any) -> None:
        remember(*values)

    return {"around": around, "stream": stream}.get(spec.kind, other)


__all__ = ["HookCall", "Recorder"]
