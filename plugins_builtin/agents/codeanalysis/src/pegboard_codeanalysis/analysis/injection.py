"""Whether SQL that is put together as text can be an injection: what is put in, and whether it reaches a database.

Only the function that the text stands in is looked at. What it was called with counts as coming from outside, unless it
is a number, was checked against a list, or goes through something that quotes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from pegboard_codeanalysis.analysis.model import Severity

Origin = Literal["fixed", "unknown", "outside"]
_RUNS: Final = ("execute", "raw", "read_sql", "mogrify")
_QUOTES: Final = ("quote", "escape", "literal", "identifier")
_NUMBERS: Final = frozenset(("int", "float", "len", "bool", "range", "id", "hash"))
_NUMBER_TYPES: Final = frozenset(("int", "float", "bool"))
_OUTSIDE: Final = frozenset(("input", "argv", "request", "environ", "getenv"))
_TEXTS: Final = frozenset(
    ("join", "format", "replace", "strip", "lstrip", "rstrip", "lower", "upper", "title", "encode", "decode", "get")
)
"""Methods that give a text, or an item, made of what they are given."""
_BEFORE: Final = re.compile(r"(.)(?:%s|\{)")
_DEPTH: Final = 20
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def severity_of(tree: ast.Module, line: int) -> Severity | None:
    """How grave the SQL that is put together in a line is; `None` where all of it is fixed."""
    scopes = _scopes(tree, line)
    built = _built(scopes[-1], line)
    if built is None:
        return "note"
    names = _Names(scopes)
    origins = {names.origin(part) for part in _parts(built)}
    if origins <= {"fixed"}:
        return None
    if "outside" not in origins:
        return "note"
    if not _runs(scopes[-1], built):
        return "low"
    return "medium" if _quotes_all(built) else "high"


def _scopes(tree: ast.Module, line: int) -> list[ast.AST]:
    """The module, and the functions around a line, from the outside to the inside."""
    every = (node for node in ast.walk(tree) if isinstance(node, Function))  # breadth first: the outer ones come first
    return [tree, *(node for node in every if node.lineno <= line <= (node.end_lineno or 0))]


def _built(scope: ast.AST, line: int) -> ast.expr | None:
    """The largest expression around a line that puts a text together."""
    return next(
        (
            node
            for node in ast.walk(scope)
            if isinstance(node, ast.expr) and _is_built(node) and node.lineno <= line <= (node.end_lineno or 0)
        ),
        None,
    )


def _is_built(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr == "format"
    return isinstance(node, ast.JoinedStr)


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    """What is put in."""
    if isinstance(node, ast.JoinedStr):
        for value in node.values:
            if isinstance(value, ast.FormattedValue) and not _is_number_format(value):
                yield from _parts(value.value)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _parts(node.left)
        yield from _parts(node.right)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        yield from _parts(node.left)
        yield from _values(node.right)
    elif isinstance(node, ast.Call) and _is_built(node) and isinstance(node.func, ast.Attribute):
        yield from _parts(node.func.value)
        for each in (*node.args, *(keyword.value for keyword in node.keywords)):
            yield from _parts(each)
    else:
        yield node


def _values(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Tuple | ast.List):
        for each in node.elts:
            yield from _parts(each)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _parts(value)
    else:
        yield from _parts(node)


def _is_number_format(value: ast.FormattedValue) -> bool:
    spec = value.format_spec
    last = spec.values[-1] if isinstance(spec, ast.JoinedStr) and spec.values else None
    return isinstance(last, ast.Constant) and str(last.value).endswith(tuple("dxXobfeg"))


def _quotes_all(built: ast.expr) -> bool:
    """Whether everything stands in backticks, and so is the name of a table or a column: seldom what a user types."""
    return set(_BEFORE.findall(ast.unparse(built))) == {"`"}


def _runs(scope: ast.AST, built: ast.expr) -> bool:
    """Whether a text reaches a call that runs SQL: by itself, or by the names that it is given."""
    names = _holding(scope, built)
    for call in ast.walk(scope):
        if isinstance(call, ast.Call) and _called(call.func).lower().startswith(_RUNS):
            for argument in (*call.args[:1], *(keyword.value for keyword in call.keywords)):
                for node in ast.walk(argument):
                    if node is built or (isinstance(node, ast.Name) and node.id in names):
                        return True
    return False


def _holding(scope: ast.AST, built: ast.expr) -> set[str]:
    """The names that hold a text, also together with more."""
    names: set[str] = set()
    for _ in range(3):  # each round one name further
        for targets, value in _assignments(scope):
            if any(node is built or (isinstance(node, ast.Name) and node.id in names) for node in ast.walk(value)):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def _assignments(scope: ast.AST) -> Iterator[tuple[Sequence[ast.expr], ast.expr]]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            yield node.targets, node.value
        elif isinstance(node, ast.AugAssign | ast.NamedExpr) or (isinstance(node, ast.AnnAssign) and node.value):
            yield [node.target], node.value  # type: ignore[misc]  # there is a value, as was just asked
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            yield [node.target], node.iter


def _called(function: ast.expr) -> str:
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


class _Names:
    """Where the names of a function come from."""

    def __init__(self, scopes: Sequence[ast.AST]) -> None:
        self._outside: set[str] = set()
        self._numbers: set[str] = set()
        self._given: dict[str, list[ast.expr]] = {}
        self._checked: set[str] = set()
        self._known: dict[str, Origin] = {}
        for scope in scopes:
            self._add(scope, module=isinstance(scope, ast.Module))

    def _add(self, scope: ast.AST, *, module: bool) -> None:
        if isinstance(scope, Function):
            self._parameters(scope.args)
        nodes = scope.body if isinstance(scope, ast.Module) else [scope]
        for part in nodes:
            if module and isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            for targets, value in _assignments(part):
                for target in targets:
                    for name in ast.walk(target):
                        if isinstance(name, ast.Name):
                            self._given.setdefault(name.id, []).append(value)
            self._checked.update(_checked(part))

    def _parameters(self, given: ast.arguments) -> None:
        for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
            if one is not None and one.arg not in ("self", "cls"):
                kind = one.annotation
                number = isinstance(kind, ast.Name) and kind.id in _NUMBER_TYPES
                (self._numbers if number else self._outside).add(one.arg)

    def origin(self, node: ast.AST, depth: int = 0) -> Origin:
        """The worst of everything that a value is made of."""
        if depth > _DEPTH:
            return "unknown"
        if isinstance(node, ast.Constant):
            return "fixed"
        if isinstance(node, ast.Name):
            return self._name(node.id, depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if isinstance(node, ast.Attribute):
            return self._attribute(node, depth)
        if isinstance(node, ast.IfExp):
            return self._worst((node.body, node.orelse), depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and _is_text(node.left, node.right):
            return "fixed"
        if isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp):
            return self.origin(node.elt, depth + 1)
        parts = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr)]
        return self._worst(parts, depth) if parts else "fixed" if isinstance(node, ast.expr) else "unknown"

    def _name(self, name: str, depth: int) -> Origin:
        if name in self._numbers:
            return "fixed"
        if name in self._outside or name in _OUTSIDE:
            return "unknown" if name in self._checked else "outside"
        if name not in self._known:
            self._known[name] = "fixed"  # what is made of itself is no worse than what it began with
            found = self._worst(self._given[name], depth) if name in self._given else "unknown"
            self._known[name] = "unknown" if found == "outside" and name in self._checked else found
        return self._known[name]

    def _call(self, node: ast.Call, depth: int) -> Origin:
        name = _called(node.func).lower()
        if name in _NUMBERS:
            return "fixed"
        if name in _OUTSIDE:
            return "outside"
        if name.endswith("qn") or any(word in name for word in _QUOTES):
            return "unknown"
        if isinstance(node.func, ast.Attribute):
            owner = self.origin(node.func.value, depth + 1)
            if name in _TEXTS:
                return self._worst((node.func.value, *node.args), depth)
            return owner if owner == "outside" else "unknown"
        # What a function makes of its arguments cannot be seen, but for those that only change the form.
        if name in ("str", "repr", "sorted", "list", "tuple", "map", "reversed", "next", "iter"):
            return self._worst(node.args, depth)
        return "unknown"

    def _attribute(self, node: ast.Attribute, depth: int) -> Origin:
        if node.attr in _OUTSIDE:
            return "outside"
        if node.attr.startswith("_") or (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
            return "unknown"
        return self.origin(node.value, depth + 1)

    def _worst(self, nodes: Sequence[ast.AST], depth: int) -> Origin:
        origins = {self.origin(each, depth + 1) for each in nodes}
        return "outside" if "outside" in origins else "unknown" if "unknown" in origins else "fixed"


def _is_text(*nodes: ast.AST) -> bool:
    """Whether one of the two that are multiplied is a fixed text, or a list of fixed texts."""
    lists = (each for each in nodes if isinstance(each, ast.List | ast.Tuple))
    fixed = any(all(isinstance(item, ast.Constant) for item in each.elts) for each in lists)
    return fixed or any(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in nodes)


def _checked(scope: ast.AST) -> Iterator[str]:
    """Names that are looked up in a list of what is allowed, or asked whether they are plain names."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name):
            if any(isinstance(each, ast.In | ast.NotIn) for each in node.ops):
                yield node.left.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if isinstance(node.func.value, ast.Name) and node.func.attr in ("isidentifier", "isdigit", "isalnum"):
                yield node.func.value.id
            elif node.func.attr in ("match", "fullmatch"):
                yield from (each.id for each in node.args if isinstance(each, ast.Name))
