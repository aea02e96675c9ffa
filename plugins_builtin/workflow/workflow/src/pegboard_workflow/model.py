"""What a workflow is: frozen values, and how they are made of plain data with everything that is wrong told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET
from pegboard.shape import near
from pegboard.types import Json, JsonObject

from pegboard_workflow.errors import Problem, WorkflowInvalidError

Positive = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Limit = Annotated[float, msgspec.Meta(gt=0)]
Lines: TypeAlias = Mapping[tuple[str, ...], int]
"""The line of each key of a file, by its path."""

PARALLEL: Final = 16
MAX_ITEMS: Final = 10_000


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often an agent or function is asked again after it failed."""

    attempts: Positive = 1
    """In all, the first included."""
    delay_s: Seconds = 0.0
    backoff: Annotated[float, msgspec.Meta(ge=1)] = 2.0
    """Each further delay is so many times the one before."""


class Share(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node needs of a budget at least, and what it can make good use of."""

    min: Seconds = 0
    optimal: Seconds | None = None
    """`None` is `min`."""


class Repeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A node that is done again until a condition holds."""

    until: str
    """A condition, over `$output` and `$round` too."""
    at_most: Positive
    at_limit: Literal["fail", "last"] = "fail"
    """When it never held: fail, or take the last output and list the node under `degraded`."""


NO_RETRY: Final = Retry()


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node of a workflow: an agent, a nested workflow, a function, or only a transform."""

    agent: Any = None
    """The name of an agent or workflow; in data also a nested workflow, in Python an `Agent` or `Workflow`."""
    run: Callable[..., Any] | None = None
    """A function, in Python only: called with the inputs by name, and with the run as `ctx` where it has one."""
    inline: bool = False
    """That a plain function returns at once, so that it needs no thread."""
    transform: Any = ()
    """What becomes of the result: a name of `transforms.NAMED`, in Python also a function, or several in order."""
    inputs: Any = UNSET
    """A value with references in it. Without one: the item of a `foreach`, else the input of the workflow."""
    needs: tuple[str, ...] = ()
    """Nodes that come first, beside those that are referred to."""
    when: str | None = None
    """A condition; the node is skipped when it does not hold."""
    required: bool = True
    """Whether the workflow fails with it."""
    accepts_absent: bool = False
    """Whether it also runs without what it needs, with a mark in its place."""
    fallback: tuple[Any, ...] = ()
    """Agents to try after the first, in order."""
    retry: Retry = NO_RETRY
    timeout_s: Limit | None = None
    """For one attempt, and again for each transform that is a function; of a `foreach`, for those of one item."""
    priority: int = 0
    """Higher goes first, where not all can."""
    tokens: Share | None = None
    cost_usd: Share | None = None
    foreach: Any = None
    """A list, or a reference to one; the node is done for each item, and its output is the list of the results."""
    concurrency: Positive = 4
    """Items at once."""
    max_items: Positive = MAX_ITEMS
    repeat: Repeat | None = None
    description: str = ""


class Workflow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A graph of nodes."""

    name: str = "workflow"
    nodes: Mapping[str, Node]
    description: str = ""
    version: str = "0"
    input: JsonObject | None = None
    """JSON Schema of what it takes; `None` is text."""
    output: Any = UNSET
    """A value with references in it. Without one: what the last node gives, or of several each by its name."""
    output_schema: JsonObject | None = None
    parallel: Positive = PARALLEL
    """Nodes at once."""


_FIELDS: Final[Mapping[type, Mapping[str, Any]]] = {
    kind: {field.name: field.type for field in msgspec.structs.fields(kind)} for kind in (Node, Workflow)
}
_DEFAULTS: Final = {
    kind: {field.name: field.default for field in msgspec.structs.fields(kind)}
    for kind in (Node, Workflow, Retry, Share, Repeat)
}
_CODE_ONLY: Final = frozenset({"run", "inline"})


def workflow_of(data: Any, name: str | None = None, lines: Lines | None = None) -> Workflow:
    """A workflow made of plain data.

    Args:
        data: a mapping with the fields of `Workflow`; a node is a mapping with those of `Node`.
        name: what it is called where the data does not say.
        lines: where each key stands in the file.

    Raises:
        WorkflowInvalidError: keys or values that a workflow does not have, all of them told.
    """
    reader = _Reader(lines or {})
    values = reader.workflow(data, name or "workflow", ())
    if reader.problems:
        known = values.get("name") if isinstance(values.get("name"), str) else name
        raise WorkflowInvalidError(known or "workflow", reader.problems)
    return Workflow(**values)


class _Reader:
    """Reads data into values, and collects what is wrong with it."""

    def __init__(self, lines: Lines) -> None:
        self.problems: list[Problem] = []
        self._lines = lines

    def workflow(self, data: Any, name: str, path: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            self._add(path, f"a workflow is a mapping, and this is {kind_of(data)}", "nodes: {…}")
            return {}
        nodes = data.get("nodes")
        values = dict(self._values(Workflow, {**data, "nodes": {}}, path))
        values.setdefault("name", name)
        if not isinstance(nodes, Mapping) or not nodes:
            self._add((*path, "nodes"), f"`nodes` is {kind_of(nodes)}, and must be a mapping of nodes", "nodes: {…}")
            nodes = {}
        values["nodes"] = {str(key): self._node(key, node, (*path, "nodes")) for key, node in nodes.items()}
        return values

    def _node(self, key: Any, data: Any, above: tuple[str, ...]) -> Node:
        path = (*above, str(key))
        if not isinstance(key, str):
            self._add(path, f"the name of a node is text, and `{key}` is {kind_of(key)}", f'"{key}": …')
        if isinstance(data, str):
            data = {"agent": data}
        if not isinstance(data, Mapping):
            self._add(path, f"a node is a mapping, and this is {kind_of(data)}", "agent: NAME")
            return Node()
        values = dict(self._values(Node, data, path))
        if isinstance(values.get("agent"), Mapping):
            values["agent"] = self._nested(values["agent"], path)
        return Node(**values)

    def _nested(self, data: Any, path: tuple[str, ...]) -> Workflow | None:
        before = len(self.problems)
        values = self.workflow(data, path[-1], (*path, "agent"))
        return Workflow(**values) if len(self.problems) == before else None

    def _values(self, kind: type, data: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        fields = _FIELDS[kind]
        for key, value in data.items():
            if key not in fields or key in _CODE_ONLY:
                hint = "functions are for workflows in Python" if key in _CODE_ONLY else ""
                self._add((*path, str(key)), f"there is no key `{key}`{near(str(key), list(fields))}", hint)
                continue
            if key == "transform" and isinstance(value, str):
                value = (value,)
            try:
                yield key, msgspec.convert(value, fields[key])
            except msgspec.ValidationError as exc:
                text = str(exc)
                self._add((*path, key), f"`{key}`: {text[:1].lower()}{text[1:]}")

    def _add(self, path: tuple[str, ...], message: str, hint: str = "") -> None:
        line = next((self._lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self._lines), None)
        node = "/".join(name for before, name in pairwise(path) if before == "nodes") or None
        self.problems.append(Problem(code="workflow.schema", message=message, node=node, hint=hint, line=line))


def data_of(workflow: Workflow) -> JsonObject | None:
    """A workflow as the plain data that `workflow_of` reads; `None` where code is part of it."""
    try:
        data: JsonObject = msgspec.to_builtins(_sparse(workflow))
    except (TypeError, NotImplementedError):
        return None
    return data


def _sparse(value: Any) -> Any:
    """Only what differs from the defaults."""
    if isinstance(value, Node | Workflow | Retry | Share | Repeat):
        said = [(name, getattr(value, name)) for name in value.__struct_fields__]
        return {name: _sparse(field) for name, field in said if field != _DEFAULTS[type(value)][name]}
    if isinstance(value, Mapping):
        return {key: _sparse(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sparse(item) for item in value]
    return value


def kind_of(value: Json | Any) -> str:
    """What a value is, in words."""
    if value is None:
        return "nothing"
    names = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return names.get(type(value), type(value).__name__)
