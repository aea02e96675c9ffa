"""What a loop does again and again without need: goes over the same data, searches a list, opens the same thing.

Only what the syntax shows for certain is told; how long the data is, nobody knows here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from pegboard_codeanalysis.analysis.model import Finding, Place

_OPENING: Final = frozenset(
    ("open", "connect", "re.compile", "create_engine", "Session", "requests.Session", "Client", "httpx.Client")
)
_LISTS: Final = frozenset(("list", "sorted", "split", "splitlines", "readlines"))
_Loop = ast.For | ast.AsyncFor
_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def findings(source: bytes, path: str) -> Iterator[Finding]:
    """Everything of the kind in a file; nothing where it cannot be parsed."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for scope in ast.walk(tree):
        if isinstance(scope, _Scope):
            yield from _of_scope(scope, path)


def _of_scope(scope: _Scope, path: str) -> Iterator[Finding]:
    inside = list(_inside(scope))
    lists = _lists(inside)
    for loop in inside:
        if isinstance(loop, _Loop):
            yield from _nested(loop, path)
            yield from _opened(loop, path)
    searched = {node.lineno: node for loop in inside if isinstance(loop, _Loop | ast.While)
                for node in _in_body(loop) if isinstance(node, ast.Compare) and _searches(node, lists)}  # fmt: skip
    for line, node in searched.items():
        name = ast.unparse(node.comparators[0])
        yield Finding(
            rule="list-search", tool="loops", severity="low", place=Place(path, line), confidence=0.7,
            message=f"a list is searched in a loop: `{name}`",
        )  # fmt: skip


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """What belongs to a scope itself, and not to a function or class in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _SCOPES):
            yield child
            yield from _inside(child)


def _in_body(loop: _Loop | ast.While) -> Iterator[ast.AST]:
    for statement in loop.body:
        if not isinstance(statement, _SCOPES):
            yield statement
            yield from _inside(statement)


# --- the same data, inside of itself


def _nested(loop: _Loop, path: str) -> Iterator[Finding]:
    data = ast.dump(loop.iter)
    if not any(isinstance(node, ast.Name) for node in ast.walk(loop.iter)):
        return  # a literal, or a range of fixed length
    changed = _bound(loop)
    if any(isinstance(node, ast.Name) and node.id in changed for node in ast.walk(loop.iter)):
        return
    for node in _in_body(loop):
        if isinstance(node, _Loop) and ast.dump(node.iter) == data:
            yield Finding(
                rule="nested-loop", tool="loops", severity="low", place=Place(path, node.lineno), confidence=0.8,
                message=f"a loop over the same data inside a loop: `{ast.unparse(loop.iter)[:80]}`",
            )  # fmt: skip


# --- a list that is searched


def _lists(inside: list[ast.AST]) -> set[str]:
    """Names that hold lists of unknown length, and nothing else."""
    found: set[str] = set()
    others: set[str] = set()
    for node in inside:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            (found if _is_list(node.value) else others).update(names)
    return found - others


def _is_list(value: ast.AST) -> bool:
    if isinstance(value, ast.Call):
        return _called(value).rpartition(".")[2] in _LISTS
    return isinstance(value, ast.ListComp) or (isinstance(value, ast.List) and not value.elts)


def _searches(node: ast.Compare, lists: set[str]) -> bool:
    first = node.comparators[0]
    return isinstance(node.ops[0], ast.In | ast.NotIn) and isinstance(first, ast.Name) and first.id in lists


# --- the same thing, opened each time


def _opened(loop: _Loop, path: str) -> Iterator[Finding]:
    """Calls that open something and do not depend on the round; a loop that is left early tries again instead."""
    nodes = list(_in_body(loop))
    if any(isinstance(node, ast.Break | ast.Return) for node in nodes):
        return
    changed = _bound(loop)
    for node in nodes:
        if not isinstance(node, ast.Call) or not _opens(_called(node)):
            continue
        if not any(isinstance(part, ast.Name) and part.id in changed for part in ast.walk(node)):
            yield Finding(
                rule="open-in-loop", tool="loops", severity="medium", place=Place(path, node.lineno), confidence=0.7,
                message=f"the same is opened in every round: `{ast.unparse(node)[:80]}`",
            )  # fmt: skip


def _opens(name: str) -> bool:
    return name in _OPENING or name.endswith(".connect")


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func) if isinstance(call.func, ast.Name | ast.Attribute) else ""


def _bound(loop: _Loop) -> set[str]:
    """Names that mean something else in each round."""
    nodes = [loop.target, *ast.walk(loop.target), *_in_body(loop)]
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
