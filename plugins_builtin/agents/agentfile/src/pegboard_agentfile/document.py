"""The fields that a file gives, with the line of each: all of a YAML file, or the front matter and text of Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pegboard.errors import AgentFileError
from pegboard_plainyaml import YamlInvalidError, read_text, read_yaml

from pegboard_agentfile.faults import Fault, Lines, line_of, refusal

_FENCE = "---"


class Document(NamedTuple):
    """What a file says, before it is known whether that makes an agent."""

    fields: dict[str, Any]
    lines: Lines


def read_document(path: str, content: bytes) -> Document:
    """The fields of a file.

    Raises:
        AgentFileError: it is no UTF-8, no YAML, has no front matter, or is no mapping with names for keys.
    """
    try:
        text = read_text(content)
        document = _markdown(path, text) if path.endswith(".md") else _yaml(path, text)
    except YamlInvalidError as error:
        raise refusal(path, [Fault(fault.message, fault.line) for fault in error.faults]) from error
    unnamed = list(_unnamed(document.fields, (), document.lines))
    if unnamed:
        raise refusal(path, unnamed)
    return document


def _yaml(path: str, text: str) -> Document:
    data, lines = read_yaml(text)
    if not isinstance(data, dict):
        raise refusal(path, [Fault("an agent is a mapping of fields, such as `instructions: Answer briefly.`")])
    return Document(data, lines)


def _markdown(path: str, text: str) -> Document:
    rows = text.split("\n")
    fences = [number for number, row in enumerate(rows) if row.rstrip() == _FENCE][:2]
    if fences[:1] != [0]:
        raise _no_front_matter(path)
    if len(fences) < 2:
        raise refusal(path, [Fault("the front matter that begins here has no end; close it with a line `---`", 1)])
    # A line stands for the fence, so that the lines that errors name are those of the file.
    document = _front_matter(path, "\n".join(["", *rows[1 : fences[1]]]))
    return _with_text(path, document, "\n".join(rows[fences[1] + 1 :]).strip())


def _no_front_matter(path: str) -> AgentFileError:
    told = "no front matter, so this is no agent: the first line must be `---` (as part of a task, write it after `--`)"
    return refusal(path, [Fault(told, 1, f"peg run -- {path}")])


def _front_matter(path: str, text: str) -> Document:
    return _yaml(path, text) if text.strip() else Document({}, {})


def _with_text(path: str, document: Document, text: str) -> Document:
    if not text:
        return document
    if "instructions" in document.fields:
        told = "`instructions` are given twice: here, and as the text below the front matter"
        raise refusal(path, [Fault(told, line_of(document.lines, ("instructions",)))])
    return Document({**document.fields, "instructions": text}, document.lines)


def _unnamed(value: Any, path: tuple[str, ...], lines: Lines) -> Iterator[Fault]:
    """Keys that are no text, which YAML allows and JSON does not."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if isinstance(value, dict) and not isinstance(key, str):
            yield Fault(f"the key `{key}` must be text; write it in quotes", line_of(lines, (*path, str(key))))
        yield from _unnamed(inner, (*path, str(key)), lines)
