"""References to data, and the values that are made of them: `$input.path`, `$nodes.review.findings[0]`.

A string that is one reference stands for the value itself; in any other string `${input.path}` puts the value in as
text. `$$` is a dollar sign. A `?` at the end makes nothing of what is absent or missing. Nothing is ever evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from pegboard_workflow.errors import NodeDataError
from pegboard_workflow.model import kind_of
from pegboard_workflow.sizes import MAX_VALUE_BYTES

NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]*"
LOCALS: Final = ("item", "index", "output", "last", "round")
"""Roots inside a `foreach` (`item`, `index`), a `repeat` (`last`, `round`), and its `until` (`output`)."""
_PATH: Final = rf'(?:\.{NAME}|\[\d{{1,9}}\]|\["[^"\]]*"\])*'
_REFERENCE: Final = re.compile(rf"(input|nodes\.({NAME})|{'|'.join(LOCALS)})({_PATH})(\?)?")
_SEGMENT: Final = re.compile(rf'\.({NAME})|\[(\d+)\]|\["([^"\]]*)"\]')
_INSIDE: Final = re.compile(r"\$\$|\$\{([^{}]*)\}")
MAX_DEPTH: Final = 32
"""Of lists and mappings inside one another."""


class BadReference(ValueError):
    """A reference cannot be read; the message says why."""


class Absent(msgspec.Struct, frozen=True, gc=False):
    """What stands in the place of a result that there is not."""

    node: str
    reason: str
    skipped: bool = False
    """That it was not wanted, by a `when`; else it failed, or needed what failed."""

    def mark(self) -> dict[str, Any]:
        """As a consumer sees it that accepts it."""
        return {"absent": True, "reason": self.reason, "node": self.node}


class IsAbsent(Exception):
    """A reference met something absent that it does not put up with."""

    def __init__(self, absent: Absent) -> None:
        super().__init__(absent.reason)
        self.absent = absent


class Scope:
    """What references are resolved in."""

    __slots__ = ("input", "local", "results", "room")

    def __init__(
        self, input: Any, results: Sequence[Any], local: Mapping[str, Any] | None = None, room: int = MAX_VALUE_BYTES
    ) -> None:
        self.input = input
        self.results = results
        """By the position of the node; `Absent` where there is none."""
        self.local = local
        self.room = room
        """How many characters of text may still be put together; what is only referred to takes no memory."""


Value: TypeAlias = Callable[[Scope], Any]
"""Makes a value; raises `IsAbsent` or `NodeDataError`."""


class Reference(NamedTuple):
    """One reference."""

    root: str
    node: str | None
    path: tuple[str | int, ...]
    optional: bool

    def __str__(self) -> str:
        return f"${self.root if self.node is None else f'nodes.{self.node}'}{path_text(self.path)}{'?' * self.optional}"


def path_text(path: Sequence[str | int]) -> str:
    """A path as it is written behind a root."""
    return "".join(_segment_text(part) for part in path)


def _segment_text(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if re.fullmatch(NAME, part) else f'["{part}"]'


def parse(text: str) -> Reference:
    """A reference without its `$`. Raises `BadReference`."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise BadReference(f"`${text}` is no reference; a dollar sign alone is `$$`")
    root, node, path, optional = match.groups()
    keys = [int(number) if number else key or quoted for key, number, quoted in _SEGMENT.findall(path)]
    return Reference("nodes" if node else root, node, tuple(keys), bool(optional))


def references(data: Any, depth: int = 0) -> Iterator[Reference]:
    """Every reference in a value. Raises `BadReference`."""
    if depth > MAX_DEPTH:
        raise BadReference(f"values are more than {MAX_DEPTH} deep inside one another")
    if isinstance(data, str):
        yield from _in_text(data)
    elif isinstance(data, Mapping):
        for item in data.values():
            yield from references(item, depth + 1)
    elif isinstance(data, list | tuple):
        for item in data:
            yield from references(item, depth + 1)


def whole(data: Any) -> Reference | None:
    """The reference that a value is as a whole, if it is one."""
    if not isinstance(data, str) or not data.startswith("$") or data.startswith(("$$", "${")):
        return None
    return parse(data[1:])


def _in_text(text: str) -> Iterator[Reference]:
    if "$" not in text:
        return
    one = whole(text)
    if one is not None:
        yield one
        return
    for match in _INSIDE.finditer(text):
        if match[1] is not None:
            yield parse(match[1])


# --- making values -----------------------------------------------------------------------------------------------


def compile_value(data: Any, position: Callable[[str], int]) -> Value:
    """What makes a value in a scope; `position` is that of a node by its name."""
    if not any(True for _ in references(data)):
        constant = _unescaped(data)
        return lambda _: constant
    if isinstance(data, str):
        one = whole(data)
        return compile_reference(one, position) if one is not None else _text(data, position)
    if isinstance(data, Mapping):
        made = [(key, compile_value(item, position)) for key, item in data.items()]
        return lambda scope: {key: make(scope) for key, make in made}
    items = [compile_value(item, position) for item in data]
    return lambda scope: [make(scope) for make in items]


def compile_reference(reference: Reference, position: Callable[[str], int]) -> Value:
    """What looks a reference up."""
    path, optional, root = reference.path, reference.optional, reference.root
    if reference.node is not None:
        return _node_value(reference, position(reference.node))
    if root == "input":
        if not path:
            return lambda scope: scope.input
        return lambda scope: _follow(scope.input, path, optional, reference)

    def local(scope: Scope) -> Any:
        if scope.local is None or root not in scope.local:
            raise NodeDataError(f"`{reference}` is not there")
        return _follow(scope.local[root], path, optional, reference)

    return local


def _node_value(reference: Reference, at: int) -> Value:
    path, optional = reference.path, reference.optional

    def make(scope: Scope) -> Any:
        value = scope.results[at]
        if type(value) is Absent:
            if optional:
                return None
            raise IsAbsent(value)
        return _follow(value, path, optional, reference) if path else value

    return make


def _follow(value: Any, path: Sequence[str | int], optional: bool, reference: Reference) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            if optional:
                return None
            there = f"there is {kind_of(value)}"
            if isinstance(value, Mapping):
                there = f"there is {', '.join(f'`{key}`' for key in list(value)[:8]) or 'nothing'}"
            raise NodeDataError(f"`{reference}`: `{_segment_text(part)}` is not there; {there}") from None
    return value


def _text(template: str, position: Callable[[str], int]) -> Value:
    pieces: list[str | Value] = []
    end = 0
    for match in _INSIDE.finditer(template):
        pieces.append(template[end : match.start()])
        pieces.append("$" if match[1] is None else compile_reference(parse(match[1]), position))
        end = match.end()
    pieces.append(template[end:])
    return lambda scope: "".join(_filled(pieces, template, scope))


def _filled(pieces: Sequence[str | Value], template: str, scope: Scope) -> Iterator[str]:
    for piece in pieces:
        text = piece if isinstance(piece, str) else as_text(piece(scope))
        scope.room -= len(text)
        if scope.room < 0:
            raise NodeDataError(f"the text of `{template[:80]}` is too large; hand on the name of a file instead")
        yield text


def as_text(value: Any) -> str:
    """A value inside a text: text as it is, nothing as nothing, the rest as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _unescaped(data: Any) -> Any:
    if isinstance(data, str):
        return data.replace("$$", "$")
    if isinstance(data, Mapping):
        return {key: _unescaped(item) for key, item in data.items()}
    return [_unescaped(item) for item in data] if isinstance(data, list | tuple) else data
