"""Finds patterns of a JSON Schema that could search for ever: a text can be cut in exponentially many ways by them.

Python's `re` tries them all, holding the interpreter meanwhile, so that neither a thread nor a time limit nor a signal
ends it: such a pattern has to be refused beforehand. A pattern is taken as a graph of its characters; it is ambiguous
where two different ways around, over the same text, lead back to the same place. It errs on the side of refusing.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from re import _compiler, _parser  # type: ignore[attr-defined]  # what `re` itself takes patterns apart with
from typing import Any, Final, NamedTuple

MAX_CHARACTERS: Final = 400
"""Characters and classes of characters in a pattern; of what has more nothing may be repeated without end."""
MAX_PAIRS: Final = 200_000
"""Pairs of ways that are looked at; where there are more, the pattern is refused."""
_COPIES: Final = 4
"""Repetitions that are written out; more are taken as any number, or where all are of one length, as so many."""
_DATA: Final = frozenset(("const", "default", "enum", "examples"))
_ALPHABET: Final = "".join(map(chr, range(128))) + "\u00e9\u0663\u2028\u4e2d"
"""Every ASCII character, and of the others a letter with case, a digit, a space and a letter without case."""
_FLAGGED: Final = re.compile(r"\(\?[a-zA-Z-]+[:)]")
Ways = dict[int, int]
"""In how many ways each place is reached; two is many."""


def patterns_of(schema: Any) -> Iterator[str]:
    """Every pattern in a JSON Schema."""
    if isinstance(schema, list):
        for item in schema:
            yield from patterns_of(item)
    if not isinstance(schema, Mapping):
        return
    for key, part in schema.items():
        if key == "pattern" and isinstance(part, str):
            yield part
        elif key not in _DATA:
            if key == "patternProperties" and isinstance(part, Mapping):
                yield from map(str, part)
            yield from patterns_of(part)


def is_runaway(pattern: str) -> bool:
    """Whether a pattern could search for ever; what is no pattern is told when it is used."""
    try:
        tree = _parser.parse(pattern)
        # With flags inside it is not worked out where they hold.
        graph = _Graph(re.IGNORECASE | re.DOTALL if _FLAGGED.search(pattern) else 0)
        graph.sequence(tree)
    except (re.error, RecursionError, OverflowError):
        return False
    except _TooLarge:
        return True
    return any(_is_ambiguous(graph, ring) for ring in _rings(graph.follow))


class _TooLarge(Exception):
    """A pattern has too many parts to be looked at."""


class _Piece(NamedTuple):
    """A part of a pattern: where it begins and ends, and in how many ways it matches nothing."""

    first: Ways
    last: Ways
    empty: int


_NOTHING: Final = _Piece({}, {}, 1)


class _Graph:
    """The places of a pattern, one for each character that it can match, and which one can follow which."""

    def __init__(self, flags: int) -> None:
        self.characters: list[frozenset[str]] = []
        self.follow: list[Ways] = []
        self._flags = flags

    def sequence(self, tree: Any) -> _Piece:
        """One part after another."""
        return reduce(self._joined, (self._element(str(kind), given) for kind, given in tree), _NOTHING)

    def _element(self, kind: str, given: Any) -> _Piece:
        if kind in ("ANY", "IN", "LITERAL", "NOT_LITERAL"):
            return self._place(self._matched(kind, given))
        if kind.endswith("_REPEAT"):
            return self._repeat(*given)
        if kind == "GROUPREF":  # whatever it was: any text
            return self._around(self._place(frozenset(_ALPHABET)), or_nothing=True)
        parts = [part for part in _flat(given) if isinstance(part, _parser.SubPattern)]
        if kind.startswith("ASSERT"):
            for part in parts:
                self.sequence(part)
            return _NOTHING
        if kind == "GROUPREF_EXISTS":
            return _either([*map(self.sequence, parts), *([_NOTHING] if len(parts) == 1 else [])])
        return _either([self.sequence(part) for part in parts]) if parts else _NOTHING

    def _repeat(self, low: int, high: int, body: Any) -> _Piece:
        least, most = body.getwidth()
        if low == high and least == most:
            low = high = min(high, _COPIES)
        if high > _COPIES:
            return self._around(self.sequence(body), or_nothing=low == 0)
        piece = _NOTHING
        for number in range(high, 0, -1):
            piece = self._joined(self.sequence(body), piece)
            if number > low:
                piece = piece._replace(empty=1)
        return piece

    def _around(self, piece: _Piece, *, or_nothing: bool) -> _Piece:
        self._link(piece.last, piece.first)
        return piece._replace(empty=1) if or_nothing else piece

    def _joined(self, one: _Piece, other: _Piece) -> _Piece:
        self._link(one.last, other.first)
        first = _sum(one.first, other.first, one.empty)
        return _Piece(first, _sum(other.last, one.last, other.empty), min(2, one.empty * other.empty))

    def _link(self, ends: Ways, begins: Ways) -> None:
        for place, ways in ends.items():
            self.follow[place] = _sum(self.follow[place], begins, ways)

    def _place(self, characters: frozenset[str]) -> _Piece:
        self.characters.append(characters)
        self.follow.append({})
        place = len(self.follow) - 1
        if place >= MAX_CHARACTERS:
            raise _TooLarge
        return _Piece({place: 1}, {place: 1}, 0)

    def _matched(self, kind: str, given: Any) -> frozenset[str]:
        """The characters that an element for one character matches."""
        state = _parser.State()
        state.str = ""
        element = (getattr(_parser, kind), given)
        matches = _compiler.compile(_parser.SubPattern(state, [element]), self._flags).fullmatch
        own = chr(given) if kind == "LITERAL" else ""
        return frozenset(character for character in _ALPHABET + own if matches(character))


def _flat(given: Any) -> Iterator[Any]:
    if isinstance(given, tuple | list):
        for part in given:
            yield from _flat(part)
    else:
        yield given


def _either(pieces: Sequence[_Piece]) -> _Piece:
    first: Ways = {}
    last: Ways = {}
    for piece in pieces:
        first, last = _sum(first, piece.first), _sum(last, piece.last)
    return _Piece(first, last, min(2, sum(piece.empty for piece in pieces)))


def _sum(one: Ways, other: Ways, times: int = 1) -> Ways:
    if not times:
        return one
    return {place: min(2, one.get(place, 0) + times * other.get(place, 0)) for place in {**one, **other}}


def _rings(follow: Sequence[Ways]) -> Iterator[set[int]]:
    """Places from each of which every other can be reached again."""
    reached = [_reached(follow[place], follow.__getitem__) for place in range(len(follow))]
    seen: set[int] = set()
    for place, those in enumerate(reached):
        if place in those and place not in seen:
            ring = {other for other in those if place in reached[other]}
            seen |= ring
            yield ring


def _is_ambiguous(graph: _Graph, ring: set[int]) -> bool:
    """Whether there are two ways around for one text."""
    inside = {place: [to for to in graph.follow[place] if to in ring] for place in ring}
    if any(graph.follow[place][to] > 1 for place in ring for to in inside[place]):
        return True
    left = MAX_PAIRS
    before: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def after(pair: tuple[int, int]) -> Iterator[tuple[int, int]]:
        nonlocal left
        for one in inside[pair[0]]:
            for other in inside[pair[1]]:
                left -= 1
                if left < 0:
                    raise _TooLarge
                if graph.characters[one] & graph.characters[other]:
                    before.setdefault((one, other), []).append(pair)
                    yield one, other

    together = [(place, place) for place in ring]
    try:
        parted = {pair for pair in _reached(together, after) if pair[0] != pair[1]}
    except _TooLarge:
        return True
    return not parted.isdisjoint(_reached(together, lambda pair: before.get(pair, ())))


def _reached(starts: Any, after: Callable[[Any], Any]) -> set[Any]:
    """What can be reached from some places, those included."""
    seen = set(starts)
    left = deque(seen)
    while left:
        for place in after(left.popleft()):
            if place not in seen:
                seen.add(place)
                left.append(place)
    return seen
