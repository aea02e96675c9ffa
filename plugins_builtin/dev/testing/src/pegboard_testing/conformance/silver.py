"""The checks of the silver tier: it behaves well inside a run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Final

from pegboard.hookspecs import HOOK_API

from pegboard_testing.conformance.bronze import NotApplicable
from pegboard_testing.conformance.subject import Subject

CANCEL_LIMIT_S: Final = 0.9
"""A hook that has not finished 1 s after a cancel is abandoned, so a run that takes that long had one."""
_OPERATORS: Final = ("==", "~=", "!=", "<=", ">=", "<", ">")


def has_tests(subject: Subject) -> Iterable[str]:
    """In the source tree; a wheel does not have them."""
    if subject.source is None:
        raise NotApplicable("a wheel has no tests; check it where it is developed")
    if not any(subject.source.glob("tests/**/test_*.py")):
        yield "no `tests/test_*.py`"


def is_typed(subject: Subject) -> Iterable[str]:
    """Every parameter and every result, by reading the source."""
    for path, tree in subject.modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (missing := list(_unannotated(node))):
                yield f"{path}:{node.lineno} `{node.name}` lacks annotations: {', '.join(missing)}"


def honours_cancel(subject: Subject) -> Iterable[str]:
    """A run is cancelled while a model answers, and another while a tool works."""
    _needs_hooks(subject)
    for where, seconds in subject.probe("cancel")["seconds"].items():
        if seconds is None or seconds > CANCEL_LIMIT_S:
            took = "did not end" if seconds is None else f"took {seconds:.1f} s to end"
            yield f"a run that was cancelled in its {where} {took}"


def leaves_loop_free(subject: Subject) -> Iterable[str]:
    """Sleeping, starting programs and connecting in the loop's own thread are seen as they happen."""
    _needs_hooks(subject)
    answer = subject.probe("run")
    yield from (f"blocks the loop: {call}" for call in answer["blocking"])
    if answer["error"]:
        yield f"a run with it failed: {answer['error']}"


def declares_limits(subject: Subject) -> Iterable[str]:
    """A tool that waits for ever holds its run for ever; an effect that is not said counts as unsafe."""
    tools = subject.manifest.get("contributes", {}).get("tools", ())
    if not tools:
        raise NotApplicable("it has no tools")
    yield from (f"tool `{tool['name']}` declares no effect" for tool in tools if "effect" not in tool)
    for name, limit in subject.probe("run")["tool_limits"].items():
        if limit is None:
            yield f"tool `{name}` has no `timeout_s`"


def hides_secrets(subject: Subject) -> Iterable[str]:
    """Each secret setting gets a value that is easy to find again."""
    if not subject.manifest.get("config", {}).get("secrets"):
        raise NotApplicable("it has no secrets")
    yield from (f"a secret stands in {place}" for place in subject.probe("run")["revealed"])


def bounds_core(subject: Subject) -> Iterable[str]:
    """An upper bound, since a major version may remove what it uses; other cores are tried in its own tests."""
    needs = [need for need in subject.dist.requires or () if _is_core(need)]
    if not needs:
        yield "the distribution does not depend on `pegboard`"
    elif "<" not in needs[0] and "~=" not in needs[0]:
        yield f"`{needs[0]}` has no upper bound"
    api = str(subject.manifest.get("api", ""))
    if "<" not in api and "~=" not in api:
        yield f'`api = "{api}"` has no upper bound'
    if subject.peg("plugins", "info", subject.plugin).get("data", {}).get("state") == "rejected":
        yield f"it does not work with the hook API {HOOK_API}"


def _unannotated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    extra = [argument for argument in (node.args.vararg, node.args.kwarg) if argument is not None]
    for position, argument in enumerate([*arguments, *extra]):
        if argument.annotation is None and not (position == 0 and argument.arg in ("self", "cls")):
            yield argument.arg
    if node.returns is None and node.name != "__init__":
        yield "return"


def _needs_hooks(subject: Subject) -> None:
    if not subject.manifest.get("hooks"):
        raise NotApplicable("it has no hooks")


def _is_core(requirement: str) -> bool:
    name = requirement.partition(";")[0]
    for operator in _OPERATORS:
        name = name.partition(operator)[0]
    return name.partition("[")[0].strip().lower() == "pegboard"


__all__ = [
    "CANCEL_LIMIT_S",
    "bounds_core",
    "declares_limits",
    "has_tests",
    "hides_secrets",
    "honours_cancel",
    "is_typed",
    "leaves_loop_free",
]
