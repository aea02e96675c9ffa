"""Reads YAML that anybody may have written as plain data, with the line of each key.

PyYAML and not ruamel.yaml: its C parser reads 10,000 nodes in a tenth of the time, and nothing is ever written back,
which is what ruamel is for. Only its events are used: its composer recurses in C and dies of a file of brackets, and
its resolver takes `no` and `on` for booleans. Scalars here are those of YAML 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_VALUES: Final = 500_000
"""Counted with every alias written out, so that a small file cannot stand for an endless one."""
MAX_DEPTH: Final = 64
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAGS: Final = (None, "!", "tag:yaml.org,2002:str")
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


class YamlFault(NamedTuple):
    """One thing that is wrong with a document."""

    message: str
    """What is wrong, in words that go on from the name of the file."""
    line: int | None = None
    path: tuple[str, ...] = ()
    """Of a key that is there twice, the way to it; empty for every other fault."""
    first_line: int | None = None
    """Of such a key, where it is there first."""


class YamlInvalidError(ValueError):
    """A document is no YAML, or is more than may be read; `faults` tells each thing that is wrong."""

    def __init__(self, *faults: YamlFault) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.message for fault in faults))


def read_yaml(raw: bytes | str) -> tuple[Any, dict[tuple[str, ...], int]]:
    """The data of a YAML document, and the line of each key by its path.

    Raises:
        YamlInvalidError: it is not UTF-8, no YAML, has a key twice, or stands for more than `MAX_VALUES` values.
    """
    builder = _Builder()
    try:
        value = builder.document(yaml.parse(read_text(raw), Loader=_LOADER))
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        text = getattr(exc, "problem", None) or str(exc).splitlines()[0]
        raise YamlInvalidError(YamlFault(f"is no YAML: {text}", mark.line + 1 if mark else None)) from exc
    if builder.faults:
        raise YamlInvalidError(*builder.faults)
    return value, builder.lines


def _refusal(message: str, line: int | None = None) -> YamlInvalidError:
    return YamlInvalidError(YamlFault(message, line))


def read_text(raw: bytes | str) -> str:
    """The text of a document. Raises `YamlInvalidError`: it is too large, or no UTF-8."""
    if len(raw) > MAX_BYTES:
        raise _refusal(f"is larger than {MAX_BYTES // 1024 // 1024} MiB")
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _refusal(f"is not UTF-8: byte {exc.start}", raw[: exc.start].count(b"\n") + 1) from exc


class _Builder:
    """Values from events, without recursion that a file could deepen at will."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, ...], int] = {}
        self.faults: list[YamlFault] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0

    def document(self, events: Iterator[Any]) -> Any:
        """The one document that there may be."""
        value, documents = None, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _refusal("holds more than one document", _line(event))
                value = self._value(next(events), events, ())
        return value

    def _value(self, event: Any, events: Iterator[Any], path: tuple[str, ...]) -> Any:
        line = _line(event)
        if len(path) > MAX_DEPTH:
            raise _refusal(f"is nested more than {MAX_DEPTH} deep", line)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line)
        if event.tag not in _TAGS:
            raise _refusal(f"the tag `{event.tag}` has no meaning here", line)
        before = self._count
        self._counted(1, line)
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._list(events, path)
        else:
            value = self._mapping(events, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._count - before
        return value

    def _list(self, events: Iterator[Any], path: tuple[str, ...]) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._value(event, events, (*path, str(len(items)))))
        return items

    def _mapping(self, events: Iterator[Any], path: tuple[str, ...]) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        first: dict[Any, int] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            line = _line(event)
            key = self._value(event, events, path)
            if isinstance(key, list | dict):
                raise _refusal("a key is a list or mapping", line)
            inner = (*path, str(key))
            if key in values:
                self._twice(inner, line, first[key])
            first.setdefault(key, line)
            self.lines.setdefault(inner, line)
            values[key] = self._value(next(events), events, inner)
        return values

    def _twice(self, path: tuple[str, ...], line: int, first: int) -> None:
        # `true`, `1` and `1.0` are one key to Python, so the first may be written in another way.
        message = f"the key `{path[-1]}` is there twice; the first is in line {first}"
        self.faults.append(YamlFault(message, line, path, first))

    def _alias(self, name: str | None, line: int) -> Any:
        if name is None or name not in self._anchors:
            raise _refusal(f"`*{name}` stands for nothing that is complete before it", line)
        value, count = self._anchors[name]
        self._counted(count, line)
        return value

    def _counted(self, count: int, line: int) -> None:
        self._count += count
        if self._count > MAX_VALUES:
            raise _refusal(f"stands for more than {MAX_VALUES} values", line)


def _line(event: Any) -> int:
    number: int = event.start_mark.line + 1
    return number


def _scalar(event: Any) -> Any:
    text: str = event.value
    if not event.implicit[0]:  # quoted, or a block of text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
