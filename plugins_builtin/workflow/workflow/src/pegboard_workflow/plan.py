"""A workflow made ready to run: nodes by position, what each waits for, and its values as functions.

A plan knows no agents; it is made once for a workflow, and serves all its runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET

from pegboard_workflow.conditions import Condition
from pegboard_workflow.model import Node, Workflow
from pegboard_workflow.references import Reference, Scope, Value, compile_value, references, whole
from pegboard_workflow.transforms import NAMED

Function = Callable[..., Any]
CONTEXT: Final = "ctx"


class Step:
    """One node, ready to run."""

    __slots__ = (
        "agent",
        "call",
        "dependents",
        "foreach",
        "grows",
        "hard",
        "index",
        "inputs",
        "name",
        "needs",
        "node",
        "op",
        "simple",
        "transforms",
        "until",
        "when",
        "when_dependents",
        "when_needs",
    )

    def __init__(self, index: int, name: str, node: Node) -> None:
        self.index = index
        self.name = name
        self.node = node
        self.op = f"node:{name}"
        self.agent = target_name(node)
        self.needs: tuple[int, ...] = ()
        """Everything that it waits for."""
        self.when_needs: tuple[int, ...] = ()
        """What its condition refers to: it is judged when these are there, whatever else is not."""
        self.dependents: list[int] = []
        self.when_dependents: list[int] = []
        self.grows = False
        """Whether its inputs hold data, and are not only what the workflow itself says."""
        self.hard: frozenset[int] = frozenset()
        """Those of `needs` without which it cannot run, unless its agent takes nothing in their place."""
        self.inputs: Value
        self.when: Callable[[Scope], bool] | None = None
        self.until: Callable[[Scope], bool] | None = None
        self.foreach: Value | None = None
        self.transforms: Sequence[Function] = ()
        self.call: FunctionCall | None = None
        self.simple = False
        """An async function and nothing else: the light path."""


class FunctionCall:
    """How a function is called."""

    __slots__ = ("function", "is_async", "keywords", "wants_context")

    def __init__(self, function: Function) -> None:
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004  # an object whose call is async
        )
        names = _parameters(function)
        self.wants_context = names is not None and CONTEXT in names

    def arguments(self, inputs: Any, ctx: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments: a mapping by name, anything else as the one argument."""
        extra = {CONTEXT: ctx} if self.wants_context else {}
        if isinstance(inputs, dict):
            return (), {**inputs, **extra} if extra else inputs
        return (inputs,), extra


class Plan:
    """A whole workflow, ready to run."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.names = list(workflow.nodes)
        self._positions = {name: index for index, name in enumerate(self.names)}
        self.steps = [self._step(index, name, node) for index, (name, node) in enumerate(workflow.nodes.items())]
        for step in self.steps:
            for need in step.needs:
                self.steps[need].dependents.append(step.index)
            for need in step.when_needs:
                self.steps[need].when_dependents.append(step.index)
        shown = [] if workflow.output is UNSET else list(references(workflow.output))
        self.shown = frozenset(self._positions[ref.node] for ref in shown if ref.node is not None)
        """Nodes that the output refers to."""
        self.goals = self.shown | {step.index for step in self.steps if not step.dependents}
        """Nodes that are wanted for their own sake: what the output shows, and what nothing follows."""
        self.ends = [step.index for step in self.steps if not step.dependents]
        named = [target for step in self.steps for target in targets_of(step.node) if isinstance(target, str)]
        self.agents = tuple(dict.fromkeys(named))
        """The agents that it names."""
        self.output = None if workflow.output is UNSET else compile_value(workflow.output, self.position)
        self.graph = [
            {"id": step.name, "needs": [self.names[need] for need in step.needs], "agent": target_name(step.node)}
            for step in self.steps
        ]

    def position(self, name: str) -> int:
        """The position of a node."""
        return self._positions[name]

    def _step(self, index: int, name: str, node: Node) -> Step:
        step = Step(index, name, node)
        data = inputs_of(node)
        used = list(data_references(node))
        step.grows = bool(used)
        condition = Condition(node.when) if node.when is not None else None
        asked = condition.references if condition else ()
        step.needs = self._indices([*node.needs, *_nodes(used), *_nodes(asked)])
        step.when_needs = self._indices(_nodes(asked))
        step.hard = frozenset(self.hard_needs(node))
        step.inputs = compile_value(data, self.position)
        step.when = condition.compiled(self.position) if condition else None
        if node.repeat is not None:
            step.until = Condition(node.repeat.until).compiled(self.position)
        step.foreach = compile_value(node.foreach, self.position) if node.foreach is not None else None
        step.transforms = [NAMED[item] if isinstance(item, str) else item for item in transforms_of(node)]
        step.call = FunctionCall(node.run) if node.run is not None else None
        step.simple = step.call is not None and step.call.is_async and _is_plain(node)
        return step

    def hard_needs(self, node: Node, soft: Collection[str | None] = ()) -> Iterator[int]:
        """What a node cannot run without; `soft` are those that it can, beside those that it refers to with `?`."""
        if node.accepts_absent:
            return
        used = list(data_references(node))
        asked = Condition(node.when).references if node.when is not None else ()
        mentioned = {reference.node for reference in (*used, *asked)} | set(soft)
        yield from (self._positions[name] for name in node.needs if name not in mentioned)
        yield from (self._positions[ref.node] for ref in used if ref.node is not None and not ref.optional)

    def _indices(self, names: Sequence[str]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self._positions[name] for name in names))


def inputs_of(node: Node) -> Any:
    """What a node is given: its own `inputs`, else the item of its `foreach`, else the input of the workflow."""
    if node.inputs is not UNSET:
        return node.inputs
    return "$input" if node.foreach is None else "$item"


def data_references(node: Node) -> Iterator[Reference]:
    """The references through which data reaches a node."""
    yield from references(inputs_of(node))
    if node.foreach is not None:
        yield from references(node.foreach)
    if node.repeat is not None:
        yield from Condition(node.repeat.until).references


def transforms_of(node: Node) -> Sequence[Any]:
    """The transforms of a node, in order."""
    given = node.transform
    return given if isinstance(given, list | tuple) else (given,)


def targets_of(node: Node) -> Sequence[Any]:
    """The agents of a node, in the order in which they are tried."""
    return (*(() if node.agent is None else (node.agent,)), *node.fallback)


def target_name(node: Node) -> str:
    """What does the work of a node, in a word."""
    if node.agent is not None:
        return str(getattr(node.agent, "name", node.agent))
    if node.run is not None:
        return f"{getattr(node.run, '__name__', 'function')}()"
    return " | ".join(item if isinstance(item, str) else getattr(item, "__name__", "?") for item in transforms_of(node))


def single(data: Any) -> Mapping[str, Reference]:
    """Of inputs by name, those that are one reference each."""
    if not isinstance(data, Mapping):
        return {}
    found = {key: whole(item) for key, item in data.items()}
    return {key: reference for key, reference in found.items() if reference is not None}


def _nodes(found: Sequence[Reference]) -> list[str]:
    return [reference.node for reference in found if reference.node is not None]


def _parameters(function: Function) -> Sequence[str] | None:
    code = getattr(function, "__code__", None)
    if code is not None:
        names: Sequence[str] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return names
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None


def _is_plain(node: Node) -> bool:
    return not (
        node.foreach is not None or node.repeat is not None or node.fallback or node.retry.attempts > 1
        or node.timeout_s is not None or transforms_of(node) or node.tokens or node.cost_usd
    )  # fmt: skip
