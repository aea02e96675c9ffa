"""A plan with its agents: whether they are there, whether data fits them, and what they put up with.

What is found wrong is told for all nodes at once, those of nested workflows included.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import UNSET
from pegboard.errors import PegboardError
from pegboard.lazy import LazyModule
from pegboard.types import Agent, JsonObject

from pegboard_workflow.errors import Problem
from pegboard_workflow.model import Node, Workflow
from pegboard_workflow.plan import Plan, Step, inputs_of, single, targets_of, transforms_of
from pegboard_workflow.references import Absent, Reference, whole
from pegboard_workflow.schemas import accepts, at_path, expanded, misfits, schema_of_value
from pegboard_workflow.transforms import schema_after, schema_taken

if TYPE_CHECKING:
    import pydantic
else:
    pydantic = LazyModule("pydantic")  # dear, and most agents give text or have a JSON Schema

Find = Callable[[str], Awaitable[Agent]]
"""The agent of a name; raises `PegboardError` where there is none."""
Schema = JsonObject | bool | None
_MARK = Absent("node", "reason").mark()


class Bound(NamedTuple):
    """What a node works with in one run."""

    targets: Sequence[Agent] = ()
    """The agents that are tried, in order."""
    takes: Mapping[str, str] = {}
    """For each input that may be absent, what is put in its place: `mark`, `null` or `omit`."""
    hard: frozenset[int] = frozenset()
    """Without these it does not run."""


class Nested(NamedTuple):
    """What an agent must be known by, to be looked into: a workflow of its own."""

    plan: Plan | None
    problems: Sequence[Problem]


async def bind(
    plan: Plan, find: Find, look_into: Callable[[Agent], Nested | None], wrap: Callable[[Workflow], Agent]
) -> tuple[list[Bound], list[Problem]]:
    """What every node works with, and everything that is wrong.

    Args:
        plan: the workflow
        find: looks agents up by name
        look_into: the workflow that an agent is, if it is one
        wrap: makes a nested workflow into an agent
    """
    binder = _Binder(find, look_into, wrap)
    bounds = await binder.workflow(plan, "", (plan.workflow.name,))
    return bounds, binder.problems


class _Binder:
    def __init__(
        self, find: Find, look_into: Callable[[Agent], Nested | None], wrap: Callable[[Workflow], Agent]
    ) -> None:
        self.problems: list[Problem] = []
        self._find = find
        self._look_into = look_into
        self._wrap = wrap
        self._found: dict[str, Agent | PegboardError] = {}
        self._seen: set[int] = set()
        """Nested workflows that were looked into already."""

    async def workflow(self, plan: Plan, prefix: str, trail: tuple[str, ...]) -> list[Bound]:
        targets = [await self._targets(step, prefix, trail) for step in plan.steps]
        schemas = _Schemas(plan, targets)
        bounds = []
        for step, agents in zip(plan.steps, targets, strict=True):
            name = f"{prefix}{step.name}"
            for message in schemas.faults(step, agents):
                self._add("type", name, message, "a `transform`, or another reference")
            takes = _takes(step, agents)
            bounds.append(Bound(agents, takes, _hard(plan, step, takes)))
        for message in schemas.output_faults():
            self._add("type", prefix.rstrip("/") or None, message, "a `transform`, or another reference")
        return bounds

    async def _targets(self, step: Step, prefix: str, trail: tuple[str, ...]) -> list[Agent]:
        found: list[Agent] = []
        for target in targets_of(step.node):
            name = f"{prefix}{step.name}"
            agent = await self._agent(target, name)
            if agent is None:
                continue
            found.append(agent)
            nested = self._look_into(agent)
            if nested is not None:
                await self._nested(agent, nested, name, trail)
        return found

    async def _agent(self, target: Any, name: str) -> Agent | None:
        if isinstance(target, Workflow):
            return self._wrap(target)
        if not isinstance(target, str):
            return target if isinstance(target, Agent) else None
        if target not in self._found:
            try:
                self._found[target] = await self._find(target)
            except PegboardError as error:
                self._found[target] = error
        found = self._found[target]
        if isinstance(found, Agent):
            return found
        module, colon, _ = target.partition(":")
        hint = f'python -c "import {module}"' if colon else found.hint or "peg agents list"
        self._add("agent", name, found.message, hint)
        return None

    async def _nested(self, agent: Agent, nested: Nested, name: str, trail: tuple[str, ...]) -> None:
        if agent.name in trail:
            path = " -> ".join((*trail[trail.index(agent.name) :], agent.name))
            self._add("cycle", name, f"workflows run one another in a circle: {path}", "take one of them away")
            return
        if id(agent) in self._seen:
            return
        self._seen.add(id(agent))
        for problem in nested.problems:
            self.problems.append(msgspec.structs.replace(problem, node="/".join(filter(None, (name, problem.node)))))
        if nested.plan is not None and not nested.problems:
            await self.workflow(nested.plan, f"{name}/", (*trail, agent.name))

    def _add(self, code: str, node: str | None, message: str, hint: str) -> None:
        self.problems.append(Problem(code=f"workflow.{code}", message=message, node=node, hint=hint))


class _Schemas:
    """What is known of the data on each edge."""

    def __init__(self, plan: Plan, targets: Sequence[Sequence[Agent]]) -> None:
        self._plan = plan
        self._agents: dict[int, tuple[Schema, Schema]] = {}
        """By the agent's identity: what it takes, and what it gives."""
        self._input = expanded(plan.workflow.input) if plan.workflow.input is not None else None
        self._outputs = [self._output(step, agents) for step, agents in zip(plan.steps, targets, strict=True)]

    def faults(self, step: Step, agents: Sequence[Agent]) -> Iterator[str]:
        """What does not fit in the inputs of a node."""
        yield from self._path_faults(inputs_of(step.node), step)
        if step.foreach is not None:
            yield from self._foreach_faults(step)
        yield from self._transform_faults(step, agents)
        wanted = [(agent, schema) for agent in agents if (schema := self._agent(agent)[0]) is not None]
        if not wanted:
            return
        given = self._value(inputs_of(step.node), step)
        for agent, schema in wanted:
            for fault in misfits(given, schema):
                yield f"the input of agent `{agent.name}`: {fault}"

    def _transform_faults(self, step: Step, agents: Sequence[Agent]) -> Iterator[str]:
        """What the first transform does not take, and each further one of what the one before it gives."""
        given = self._result(step.node, agents)
        if step.node.run is None and not targets_of(step.node):
            given = self._value(inputs_of(step.node), step)
        for item in transforms_of(step.node):
            if not isinstance(item, str):
                given = None
                continue
            for fault in misfits(given, schema_taken(item)):
                yield f"the transform `{item}`: {fault}"
            given = schema_after(item, given)

    def output_faults(self) -> Iterator[str]:
        """What does not fit in the output of the workflow."""
        workflow = self._plan.workflow
        if workflow.output is UNSET:
            return
        yield from self._path_faults(workflow.output, None)
        if workflow.output_schema is not None:
            for fault in misfits(self._value(workflow.output, None), expanded(workflow.output_schema)):
                yield f"the output of the workflow: {fault}"

    def _agent(self, agent: Agent) -> tuple[Schema, Schema]:
        found = self._agents.get(id(agent))
        if found is None:
            found = self._agents[id(agent)] = expanded(agent.config.input_schema), expanded(output_of(agent))
        return found

    def _output(self, step: Step, agents: Sequence[Agent]) -> Schema:
        """Of a node, after its transforms; not known where a fallback could give something else."""
        node = step.node
        schema = self._result(node, agents)
        for item in transforms_of(node):
            schema = schema_after(item, schema) if isinstance(item, str) else None
        if node.foreach is None:
            return schema
        items = schema if schema is not None and node.required else {}
        return {"type": "array", "items": items}

    def _result(self, node: Node, agents: Sequence[Agent]) -> Schema:
        """Of an agent, before any transform."""
        return self._agent(agents[0])[1] if len(agents) == 1 and not node.fallback else None

    def _foreach_faults(self, step: Step) -> Iterator[str]:
        yield from self._path_faults(step.node.foreach, step)
        for fault in misfits(self._value(step.node.foreach, step), {"type": "array"}):
            yield f"`foreach`: {fault}"

    def _path_faults(self, data: Any, step: Step | None) -> Iterator[str]:
        if isinstance(data, str):
            reference = whole(data)
            fault = self._look_up(reference, step)[1] if reference is not None and not reference.optional else None
            if fault is not None:
                yield f"`{reference}`: {fault}"
        elif isinstance(data, Mapping | list | tuple):
            for item in data.values() if isinstance(data, Mapping) else data:
                yield from self._path_faults(item, step)

    def _look_up(self, reference: Reference, step: Step | None) -> tuple[Schema, str | None]:
        if reference.node is not None:
            return at_path(self._outputs[self._plan.position(reference.node)], reference.path)
        if reference.root == "input":
            return at_path(self._input, reference.path)
        if reference.root == "item" and step is not None:
            items = self._value(step.node.foreach, None)
            inner = items.get("items") if isinstance(items, Mapping) else None
            return at_path(inner or None, reference.path)
        return ({"type": "integer"} if reference.root in ("index", "round") else None), None

    def _value(self, data: Any, step: Step | None) -> Schema:
        """What is known of a value with references in it."""
        if isinstance(data, str):
            reference = whole(data)
            if reference is None:
                return {"type": "string"} if "${" in data else schema_of_value(data.replace("$$", "$"))
            found = self._look_up(reference, step)[0]
            return {"anyOf": [found, {"type": "null"}]} if reference.optional and found is not None else found
        if isinstance(data, Mapping):
            parts = {str(key): self._value(item, step) for key, item in data.items()}
            known = {key: part if part is not None else {} for key, part in parts.items()}
            return {"type": "object", "properties": known, "required": list(parts), "additionalProperties": False}
        if isinstance(data, list | tuple):
            return {"type": "array"}
        return schema_of_value(data)


def output_of(agent: Agent) -> Any:
    """The JSON Schema of what an agent gives; `None` where it is not known."""
    output = agent.config.output
    if output is None:
        return {"type": "string"} if agent.execute is None else None
    if isinstance(output, Mapping):
        return output
    try:
        return pydantic.TypeAdapter(output).json_schema(mode="serialization")
    except Exception:  # the run tells of it, in core's words
        return None


def _takes(step: Step, agents: Sequence[Agent]) -> dict[str, str]:
    """What takes the place of an input that is absent, where every agent of the node takes it."""
    found = {}
    schemas = [expanded(agent.config.input_schema) for agent in agents]
    for key, reference in single(inputs_of(step.node)).items():
        if reference.node is None or reference.optional:
            continue
        ways = {_way(schema, key) for schema in schemas}
        if len(ways) == 1 and (way := ways.pop()) is not None:
            found[key] = way
    return found


def _way(schema: Schema, key: str) -> str | None:
    if not isinstance(schema, Mapping) or not isinstance(schema.get("properties"), Mapping):
        return None
    part = schema["properties"].get(key)
    if accepts(part, _MARK):
        return "mark"
    if accepts(part, None):
        return "null"
    return None if key in schema.get("required", ()) else "omit"


def _hard(plan: Plan, step: Step, takes: Mapping[str, str]) -> frozenset[int]:
    """The needs without which a node does not run: those that reach it otherwise than through an input it can miss."""
    if not takes or step.node.accepts_absent:
        return step.hard
    data = inputs_of(step.node)
    kept = {key: item for key, item in data.items() if key not in takes}
    thinned = msgspec.structs.replace(step.node, inputs=kept)
    soft = {ref.node for key, ref in single(data).items() if key in takes}
    return frozenset(plan.hard_needs(thinned, soft))
