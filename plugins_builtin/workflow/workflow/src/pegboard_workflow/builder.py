"""Workflows in Python: nodes are added one after another, and refer to one another as values.

Nothing runs and nothing is checked while it is written; that comes with its first run.

    flow = Flow("greet")
    name = flow.add("name", run=read_name)
    flow.add("greeting", agent="greeter", inputs={"name": name, "tone": flow.input["tone"]})
    agent = flow.agent()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET
from pegboard.types import JsonObject

from pegboard_workflow.agent import WorkflowAgent
from pegboard_workflow.errors import Problem, WorkflowInvalidError
from pegboard_workflow.model import PARALLEL, Node, Workflow
from pegboard_workflow.references import path_text


class Ref:
    """What a node gives, or a part of it: `files["paths"][0]`."""

    __slots__ = ("_optional", "_path", "_root")

    def __init__(self, root: str, path: tuple[str | int, ...] = (), optional: bool = False) -> None:
        self._root = root
        self._path = path
        self._optional = optional

    def __getitem__(self, part: str | int) -> Ref:
        return Ref(self._root, (*self._path, part), self._optional)

    def or_none(self) -> Ref:
        """The same, and nothing where it is absent or missing."""
        return Ref(self._root, self._path, True)

    @property
    def name(self) -> str:
        """The name of the node."""
        return self._root.removeprefix("nodes.")

    def __iter__(self) -> None:
        raise TypeError(f"`{self}` is known when the workflow runs; `foreach` goes over it")

    def __str__(self) -> str:
        return f"${self._root}{path_text(self._path)}{'?' * self._optional}"

    def __format__(self, spec: str) -> str:
        return f"${{{str(self)[1:]}}}"  # inside an f-string it becomes a part of a text

    def __repr__(self) -> str:
        return f"<reference {self}>"


class Flow:
    """A workflow while it is written."""

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        version: str = "0",
        input: JsonObject | None = None,
        output_schema: JsonObject | None = None,
        parallel: int = PARALLEL,
    ) -> None:
        self._fields: dict[str, Any] = {"name": name, "description": description, "version": version}
        self._fields |= {"input": input, "output_schema": output_schema, "parallel": parallel}
        self._nodes: dict[str, Node] = {}
        self._twice: list[Problem] = []
        self.output: Any = UNSET
        """A value with references in it; without one, what the last node gives."""

    @property
    def input(self) -> Ref:
        """The input of the workflow."""
        return Ref("input")

    @property
    def item(self) -> Ref:
        """The item, inside a `foreach`."""
        return Ref("item")

    @property
    def index(self) -> Ref:
        """The position of the item, inside a `foreach`."""
        return Ref("index")

    @property
    def last(self) -> Ref:
        """What the round before gave, inside a `repeat`."""
        return Ref("last")

    def add(self, name: str, **fields: Any) -> Ref:
        """Add a node; the keywords are the fields of `Node`. What it gives, for others to refer to."""
        if name in self._nodes:
            self._twice.append(
                Problem(code="workflow.duplicate", message=f"a second node has the name `{name}`", node=name)
            )
        for key in ("inputs", "foreach", "when"):
            if key in fields:
                fields[key] = written(fields[key])
        if "needs" in fields:
            fields["needs"] = tuple(need.name if isinstance(need, Ref) else need for need in fields["needs"])
        self._nodes[name] = Node(**fields)
        return Ref(f"nodes.{name}")

    def build(self) -> Workflow:
        """The workflow. Raises `WorkflowInvalidError` where a name was given twice."""
        if self._twice:
            raise WorkflowInvalidError(self._fields["name"], self._twice)
        return Workflow(nodes=dict(self._nodes), output=written(self.output), **self._fields)

    def agent(self) -> WorkflowAgent:
        """The workflow as an agent that runs it."""
        return WorkflowAgent(self.build())


def written(value: Any) -> Any:
    """A value with its references as they are written in YAML."""
    if isinstance(value, Ref):
        return str(value)
    if isinstance(value, Mapping):
        return {key: written(item) for key, item in value.items()}
    return [written(item) for item in value] if isinstance(value, list | tuple) else value
