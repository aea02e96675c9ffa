"""What one Python file says of itself: its imports, functions, public objects and names. It is parsed, never run."""

from __future__ import annotations

import argparse
import ast
import asyncio
import collections
import re
import threading
import unittest
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import complexipy
import griffe
import vulture  # type: ignore[import-untyped]  # it has no types

from pegboard_codeanalysis.analysis.model import ApiFact, FileFacts, FunctionFact, ImportFact, UnusedFact, sound
from pegboard_codeanalysis.analysis.secret import masked

T = TypeVar("T")
VERSION: Final = f"2:{version('complexipy')}:{version('griffelib')}:{version('vulture')}"
_SUPPRESSED: Final = re.compile(r"#\s*(noqa|nosec|type:\s*ignore)\b", re.IGNORECASE)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNUSED_KINDS: Final = ("funcs", "classes", "methods", "props")
_ONLY_YIELD: Final = re.compile(r"\s*(?:(?:if|while) (?:False|0|TYPE_CHECKING):)?\s*(?:yield\b[^#]*)?(?:#.*)?")
_HOOKED: Final = (
    argparse.ArgumentParser, argparse.HelpFormatter, argparse.Action, asyncio.BaseEventLoop, threading.Thread,
    unittest.TestCase, unittest.TestResult, unittest.TestSuite, collections.UserDict,
)  # fmt: skip
_HOOKS: Final = frozenset(name for owner in _HOOKED for name in dir(owner)) | {"_asdict", "_replace", "_make"}
"""Private names of the standard library that others write anew, and that it calls."""
_DOTTED: Final = re.compile(r"\.?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::[\w.]+)?")
_MAX_NAME: Final = 120
_MAX_SIGNATURE: Final = 160
_MAX_STRING: Final = 4000


class _Dead(vulture.Vulture):  # type: ignore[misc]  # vulture has no types
    """Vulture over a tree that is there already."""

    def look(self, tree: ast.AST, code: str, path: str) -> None:
        self.code = code.splitlines()
        self.noqa_lines = vulture.noqa.parse_noqa(self.code)
        self.filename = Path(path)
        self.visit(tree)
        self.reachability.reset()


def facts_of(path: str, data: bytes, *, shipped: bool = True) -> FileFacts:
    """Everything that is known of a file by itself; where it cannot be parsed, why.

    Of what is not `shipped`, as tests are, neither public objects nor dead code is of interest: that halves the time.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes are the linter's business
        try:
            tree = ast.parse(data, filename=path, type_comments=False)
            code = _decoded(data)
        except SyntaxError as exc:
            return FileFacts(
                error=sound(exc.msg or "invalid syntax"), error_line=max(1, exc.lineno or 1), **_sizes(data)
            )
        except (ValueError, RecursionError, MemoryError, LookupError) as exc:
            return FileFacts(error=sound(f"{type(exc).__name__}: {exc}"), error_line=1, **_sizes(data))
        return _facts(path, data, code, tree, shipped=shipped)


def _facts(path: str, data: bytes, code: str, tree: ast.Module, *, shipped: bool) -> FileFacts:
    missing: list[str] = []

    def attempt(tool: str, call: Callable[[], T], instead: T) -> T:
        try:
            return call()
        except (KeyboardInterrupt, SystemExit, TimeoutError):
            raise
        except BaseException as exc:  # a panic of Rust code is no Exception
            missing.append(sound(f"{tool}: {type(exc).__name__}: {exc}"[:200]))
            return instead

    nothing: Any = ()
    doc = ast.get_docstring(tree, clean=True) or ""
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    dead = attempt("vulture", lambda: _dead(path, code, tree), None) if shipped else None
    used = dead.used_names if dead else _names(tree)
    return FileFacts(
        summary=sound(doc.strip().partition("\n")[0][:200]),
        documented=bool(doc.strip()),
        classes=code.count("\nclass "),
        imports=attempt("imports", lambda: tuple(_Imports(tree).found), nothing),
        functions=attempt("complexipy", lambda: _functions(code), nothing),
        api=attempt("griffe", lambda: tuple(_api(path, code)), nothing) if shipped else (),
        defined=tuple(_unused(dead)) if dead else (),
        unreachable=tuple(_unreachable(dead)) if dead else (),
        **_handed_on(tree, strings),
        used=tuple(sorted({*(name for name in used if name.startswith("_")), *_words_in_strings(strings)})),
        missing=tuple(missing),
        **_sizes(data),
    )


def _decoded(data: bytes) -> str:
    """The text as Python reads it: the encoding may be declared, line ends are made one kind."""
    first = b"\n".join(data.splitlines()[:2])
    declared = re.search(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", first, re.MULTILINE)
    text = data.decode(declared[1].decode() if declared else "utf-8-sig")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _sizes(data: bytes) -> dict[str, Any]:
    code = comments = suppressed = 0
    for raw in data.decode("utf-8", "replace").splitlines():
        line = raw.strip()
        if line.startswith("#"):
            comments += 1
        elif line:
            code += 1
        if "#" in line and _SUPPRESSED.search(line):
            suppressed += 1
    return {"code_lines": code, "comment_lines": comments, "suppressed": suppressed}


def _functions(code: str) -> tuple[FunctionFact, ...]:
    rows = complexipy.code_complexity(code).functions
    return tuple(
        FunctionFact(row.name.replace("::", "."), row.line_start, row.line_end, row.complexity) for row in rows
    )


# --- imports -----------------------------------------------------------------------------------------------------


class _Imports(ast.NodeVisitor):
    def __init__(self, tree: ast.Module) -> None:
        self.found: list[ImportFact] = []
        self._typing = 0
        self._deferred = 0
        self.visit(tree)

    def visit_Import(self, node: ast.Import) -> None:  # the name that ast calls
        for name in node.names:
            self._add(name.name, 0, (), node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._add(node.module or "", node.level, tuple(name.name for name in node.names), node.lineno)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        typing = _is_type_checking(node.test)
        self._typing += typing
        for statement in node.body:
            self.visit(statement)
        self._typing -= typing
        for statement in node.orelse:
            self.visit(statement)

    def _function(self, node: ast.AST) -> None:
        self._deferred += 1
        self.generic_visit(node)
        self._deferred -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _function  # noqa: N815

    def visit_Expr(self, node: ast.Expr) -> None:
        """No import is inside an expression."""

    def _add(self, module: str, level: int, names: tuple[str, ...], line: int) -> None:
        self.found.append(ImportFact(module, level, names, line, self._typing > 0, self._deferred > 0))


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


# --- public objects ----------------------------------------------------------------------------------------------


def _api(path: str, code: str) -> Iterator[ApiFact]:
    """What a module offers to others, by griffe's rules: `__all__`, else names without underscore."""
    stem = Path(path).stem
    module = griffe.visit(stem if stem.isidentifier() else "module", filepath=Path(path), code=code)
    for item in module.members.values():
        if item.is_alias or not item.is_public or not (item.is_function or item.is_class):
            continue
        yield _described(item, item.name)
        if item.is_class:
            yield from _methods(item)


def _methods(owner: Any) -> Iterator[ApiFact]:
    for item in owner.members.values():
        if item.is_alias or not item.is_function or item.name.startswith("_") or not item.is_public:
            continue
        yield _described(item, f"{owner.name}.{item.name}")


def _described(item: Any, name: str) -> ApiFact:
    kind = "class" if item.is_class else "method" if "." in name else "function"
    signature = "" if item.is_class else str(item.signature())
    return ApiFact(name, kind, item.lineno or 1, bool(item.has_docstring), sound(masked(signature)[:_MAX_SIGNATURE]))


def _handed_on(tree: ast.Module, strings: Sequence[str]) -> dict[str, Any]:
    """What a module says in `__all__`, and the names of modules that stand in its strings."""
    named = {text.partition(":")[0] for text in strings if _is_dotted(text)}
    offered, told = _offered(tree)
    return {"offered": offered, "offered_told": told, "named": tuple(sorted(named))}


def _is_dotted(text: str) -> bool:
    return "." in text and len(text) <= _MAX_NAME and _DOTTED.fullmatch(text) is not None


def _offered(tree: ast.Module) -> tuple[tuple[str, ...] | None, bool]:
    """The names in `__all__`, `None` where there is none; and whether all of them can be told without running it."""
    names: list[str] = []
    there, told = False, True
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not any(isinstance(each, ast.Name) and each.id == "__all__" for each in targets):
            continue
        there = True
        items = getattr(getattr(node, "value", None), "elts", None)
        told = told and items is not None and all(isinstance(each, ast.Constant) for each in items)
        names += [str(each.value) for each in items or () if isinstance(each, ast.Constant)]
    return (tuple(names) if there else None), told


# --- names -------------------------------------------------------------------------------------------------------


def _dead(path: str, code: str, tree: ast.Module) -> Any:
    dead = _Dead()
    dead.look(tree, code, path)
    return dead


def _names(tree: ast.Module) -> set[str]:
    """Names that are used, without asking whether they are defined."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found.update(name.name for name in node.names)
    return found


def _unused(dead: Any) -> Iterator[UnusedFact]:
    """Private names that are defined here, and that no protocol asks for, as `_missing_` and `_repr_html_` are.

    Public ones may be used by anybody, and are not judged.
    """
    for kind in _UNUSED_KINDS:
        for item in getattr(dead, f"defined_{kind}"):
            if item.name.startswith("_") and not item.name.endswith("_") and item.name not in _HOOKS:
                yield UnusedFact(item.name, item.typ, item.first_lineno, item.confidence)


def _unreachable(dead: Any) -> Iterator[UnusedFact]:
    for item in dead.unreachable_code:
        lines = dead.code[item.first_lineno - 1 : item.last_lineno]
        if all(_ONLY_YIELD.fullmatch(line) for line in lines):
            continue  # it is there to make the function a generator
        yield UnusedFact(item.name, "unreachable", item.first_lineno, item.confidence, item.message)


def _words_in_strings(strings: Sequence[str]) -> set[str]:
    """Names may be built from strings; only what could be a private name is of interest."""
    found: set[str] = set()
    for text in strings:
        if "_" in text[:_MAX_STRING]:
            found.update(word for word in _WORD.findall(text[:_MAX_STRING]) if word.startswith("_"))
    return found
