"""The language of `when` and `until`: references, literals, comparison, presence, `and`, `or`, `not`. Nothing else.

A condition is read into a tree of tuples, and never evaluated as code.

    $nodes.review.score >= 0.8 and not ($input.draft or $nodes.tests is absent)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pegboard_workflow.errors import NodeDataError
from pegboard_workflow.model import kind_of
from pegboard_workflow.references import (
    NAME,
    BadReference,
    IsAbsent,
    Reference,
    Scope,
    Value,
    compile_reference,
    parse,
)

MAX_CHARACTERS: Final = 4000
MAX_DEPTH: Final = 32
_TOKEN: Final = re.compile(
    rf"""\s*(?:
    (?P<reference>\$(?:{NAME})(?:\.{NAME}|\[\d{{1,9}}\]|\["[^"\]]*"\])*\??)
  | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<sign>==|!=|<=|>=|<|>|\(|\))
  | (?P<word>[A-Za-z]+)
    )""",
    re.VERBOSE,
)
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_LITERALS: Final[Mapping[str, Any]] = {"true": True, "false": False, "null": None}


class BadCondition(ValueError):
    """A condition cannot be read; the message says why."""


class Condition:
    """A condition that was read: its references, and how to judge it."""

    def __init__(self, text: str) -> None:
        parser = _Parser(text)
        self.text = text
        self._tree = parser.whole()
        self.references = tuple(parser.references)

    def compiled(self, position: Callable[[str], int]) -> Callable[[Scope], bool]:
        """What judges it in a scope; raises `NodeDataError` where two values cannot be compared."""
        judge = _build(self._tree, position)
        return lambda scope: bool(judge(scope))


class _Parser:
    """Recursive descent; `or` binds weakest, then `and`, `not`, comparison."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            raise BadCondition(f"a condition has at most {MAX_CHARACTERS} characters")
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self.references: list[Reference] = []

    def whole(self) -> tuple[Any, ...]:
        tree = self._or()
        if self._at < len(self._tokens):
            raise BadCondition(f"`{self._tokens[self._at][1]}` is not expected here")
        return tree

    def _or(self) -> tuple[Any, ...]:
        parts = [self._and()]
        while self._take("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else ("or", parts)

    def _and(self) -> tuple[Any, ...]:
        parts = [self._not()]
        while self._take("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else ("and", parts)

    def _not(self) -> tuple[Any, ...]:
        negations = 0
        while self._take("not"):
            negations += 1
        inner = self._comparison()
        return ("not", inner) if negations % 2 else inner

    def _comparison(self) -> tuple[Any, ...]:
        left = self._operand()
        if self._take("is"):
            present = self._take("present")
            if not present and not self._take("absent"):
                raise BadCondition("after `is` comes `present` or `absent`")
            if left[0] != "reference":
                raise BadCondition("only a reference can be present or absent")
            return ("present", left[1], present)
        if self._take("in"):
            return ("in", left, self._operand())
        kind, sign = self._peek()
        if kind == "sign" and sign in _COMPARE:
            self._at += 1
            return ("compare", sign, left, self._operand())
        return left

    def _operand(self) -> tuple[Any, ...]:
        kind, text = self._peek()
        self._at += 1
        if text == "(":
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise BadCondition(f"brackets are more than {MAX_DEPTH} deep inside one another")
            inner = self._or()
            if not self._take(")"):
                raise BadCondition("a bracket is not closed")
            self._depth -= 1
            return inner
        if kind == "reference":
            return ("reference", self._reference(text))
        if kind == "number":
            return ("literal", float(text) if any(sign in text for sign in ".eE") else int(text))
        if kind == "text":
            return ("literal", re.sub(r"\\(.)", r"\1", text[1:-1]))
        if text in _LITERALS:
            return ("literal", _LITERALS[text])
        raise BadCondition(f"`{text}` is not expected here" if text else "it ends too early")

    def _reference(self, text: str) -> Reference:
        try:
            reference = parse(text[1:])
        except BadReference as exc:
            raise BadCondition(str(exc)) from exc
        self.references.append(reference)
        return reference

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self, text: str) -> bool:
        if self._peek()[1] == text and self._peek()[0] in ("word", "sign"):
            self._at += 1
            return True
        return False


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    end, text = 0, text.rstrip()
    while end < len(text):
        match = _TOKEN.match(text, end)
        if match is None:
            raise BadCondition(f"`{text[end:].strip()[:20]}` cannot be read")
        kind = match.lastgroup or ""
        found.append((kind, match[kind]))
        end = match.end()
    if not found:
        raise BadCondition("it is empty")
    return found


def _build(tree: tuple[Any, ...], position: Callable[[str], int]) -> Value:
    kind = tree[0]
    if kind in ("or", "and"):
        parts = [_build(part, position) for part in tree[1]]
        judge = any if kind == "or" else all
        return lambda scope: judge(part(scope) for part in parts)
    if kind == "not":
        inner = _build(tree[1], position)
        return lambda scope: not inner(scope)
    if kind == "literal":
        constant = tree[1]
        return lambda _: constant
    if kind == "reference":
        return _lenient(tree[1], position)
    if kind == "present":
        value, wanted = _lenient(tree[1], position), tree[2]
        return lambda scope: (value(scope) is not None) is wanted
    left, right = _build(tree[-2], position), _build(tree[-1], position)
    if kind == "in":
        return lambda scope: _contains(right(scope), left(scope))
    sign = tree[1]
    return lambda scope: _compared(sign, left(scope), right(scope))


def _lenient(reference: Reference, position: Callable[[str], int]) -> Value:
    """What is absent or missing is nothing here: a condition is where that is asked."""
    look_up = compile_reference(reference._replace(optional=True), position)

    def value(scope: Scope) -> Any:
        try:
            return look_up(scope)
        except IsAbsent:
            return None

    return value


def _compared(sign: str, left: Any, right: Any) -> bool:
    if sign in ("==", "!="):
        return _COMPARE[sign](left, right)
    if left is None or right is None:
        return False
    if not _comparable(left, right):
        raise NodeDataError(f"{kind_of(left)} `{sign}` {kind_of(right)} cannot be compared")
    return _COMPARE[sign](left, right)


def _comparable(left: Any, right: Any) -> bool:
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (left, right)]
    return all(numbers) or (isinstance(left, str) and isinstance(right, str))


def _contains(container: Any, value: Any) -> bool:
    if isinstance(container, str):
        return isinstance(value, str) and value in container
    if isinstance(container, list | tuple):
        return value in container
    if isinstance(container, Mapping):
        return isinstance(value, str) and value in container
    return False
