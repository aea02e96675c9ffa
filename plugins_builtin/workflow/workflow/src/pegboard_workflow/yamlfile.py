"""Reads a workflow from YAML as plain data, with the line of each key.

PyYAML and not ruamel.yaml: its C parser reads 10,000 nodes in a tenth of the time, and nothing is ever written back,
which is what ruamel is for. Only its events are used: its composer recurses in C and dies of a file of brackets, and
its resolver takes `no` and `on` for booleans. Scalars here are those of YAML 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from pegboard_workflow.errors import Problem, WorkflowInvalidError

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


def read_yaml(raw: bytes | str, name: str = "workflow") -> tuple[Any, dict[tuple[str, ...], int]]:
    """The data of a YAML document, and the line of each key by its path.

    Raises:
        WorkflowInvalidError: it is not UTF-8, no YAML, has a key twice, or stands for more than a workflow can be.
    """
    builder = _Builder()
    try:
        text = _decoded(raw)
        value = builder.document(yaml.parse(text, Loader=_LOADER))
    except _Fault as fault:
        raise _refused(name, "workflow.yaml", str(fault), fault.line) from fault
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        text = getattr(exc, "problem", None) or str(exc).splitlines()[0]
        raise _refused(name, "workflow.yaml", f"is no YAML: {text}", mark.line + 1 if mark else None) from exc
    if builder.problems:
        raise WorkflowInvalidError(name, builder.problems)
    return value, builder.lines


class _Fault(Exception):
    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def _decoded(raw: bytes | str) -> str:
    if len(raw) > MAX_BYTES:
        raise _Fault(f"is larger than {MAX_BYTES // 1024 // 1024} MiB")
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _Fault(f"is not UTF-8: byte {exc.start}", raw[: exc.start].count(b"\n") + 1) from exc


def _refused(name: str, code: str, message: str, line: int | None) -> WorkflowInvalidError:
    return WorkflowInvalidError(name, [Problem(code=code, message=message, line=line)])


class _Builder:
    """Values from events, without recursion that a file could deepen at will."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, ...], int] = {}
        self.problems: list[Problem] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0

    def document(self, events: Iterator[Any]) -> Any:
        """The one document that there may be."""
        value, documents = None, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Fault("holds more than one document", _line(event))
                value = self._value(next(events), events, ())
        return value

    def _value(self, event: Any, events: Iterator[Any], path: tuple[str, ...]) -> Any:
        line = _line(event)
        if len(path) > MAX_DEPTH:
            raise _Fault(f"is nested more than {MAX_DEPTH} deep", line)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line)
        if event.tag not in _TAGS:
            raise _Fault(f"the tag `{event.tag}` has no meaning here", line)
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
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            line = _line(event)
            key = self._value(event, events, path)
            if isinstance(key, list | dict):
                raise _Fault("a key is a list or mapping", line)
            inner = (*path, str(key))
            if key in values:
                self._twice(inner, line)
            self.lines.setdefault(inner, line)
            values[key] = self._value(next(events), events, inner)
        return values

    def _twice(self, path: tuple[str, ...], line: int) -> None:
        node = path[-1] if path[-2:-1] == ("nodes",) else None
        what = f"a second node has the name `{node}`" if node else f"the key `{path[-1]}` is there twice"
        message = f"{what}; the first is in line {self.lines[path]}"
        self.problems.append(Problem(code="workflow.duplicate", message=message, node=node, line=line))

    def _alias(self, name: str | None, line: int) -> Any:
        if name is None or name not in self._anchors:
            raise _Fault(f"`*{name}` stands for nothing that is complete before it", line)
        value, count = self._anchors[name]
        self._counted(count, line)
        return value

    def _counted(self, count: int, line: int) -> None:
        self._count += count
        if self._count > MAX_VALUES:
            raise _Fault(f"stands for more than {MAX_VALUES} values", line)


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
