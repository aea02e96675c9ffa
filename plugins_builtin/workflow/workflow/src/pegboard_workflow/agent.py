"""A workflow as an agent: whoever runs it need not know that it is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypedDict, Unpack

import msgspec
from pegboard.errors import PegboardError
from pegboard.interfaces import RunContext
from pegboard.types import Agent, AgentConfig, JsonObject, RunState, evolve

from pegboard_workflow.binding import Bound, Find, Nested, bind
from pegboard_workflow.check import problems_of
from pegboard_workflow.errors import Problem, WorkflowInvalidError
from pegboard_workflow.execution import Execution
from pegboard_workflow.model import Workflow, data_of, workflow_of
from pegboard_workflow.plan import Plan
from pegboard_workflow.sizes import MAX_VALUE_BYTES

MAX_PARALLEL: Final = 64


class Allowed(TypedDict, total=False):
    """What the operator allows, whatever a workflow says."""

    max_parallel: int
    max_value_bytes: int


class WorkflowAgent(Agent):
    """An agent whose `execute` runs a graph.

    It is made also of a workflow that is wrong, so that what is wrong is told when it is to run, all at once.

        agent = WorkflowAgent(workflow)
        result = await board.run(agent, {"path": "src"})
    """

    __slots__ = ("_bounds", "_known", "max_parallel", "max_value_bytes", "plan", "problems", "workflow")

    def __init__(
        self,
        workflow: Workflow,
        config: AgentConfig | None = None,
        *,
        problems: Sequence[Problem] = (),
        max_parallel: int = MAX_PARALLEL,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        super().__init__(_config(workflow, config))
        self.workflow = workflow
        self.problems = tuple(problems or problems_of(workflow))
        self.plan = Plan(workflow) if not self.problems else None
        self.max_parallel = max_parallel
        """What the operator allows at once, whatever the workflow says."""
        self.max_value_bytes = max_value_bytes
        """What the operator allows for one input or output of a node."""
        self._known: Sequence[Agent | None] | None = None
        self._bounds: Sequence[Bound] = ()

    @classmethod
    def of_config(cls, config: AgentConfig, **allowed: Unpack[Allowed]) -> WorkflowAgent:
        """The agent for a configuration that holds a graph; `allowed` is what the operator allows."""
        try:
            workflow = workflow_of(config.workflow, config.name)
        except WorkflowInvalidError as error:
            nothing = Workflow(name=config.name, nodes={})
            return cls(nothing, config, problems=error.problems, **allowed)
        return cls(msgspec.structs.replace(workflow, name=config.name), config, **allowed)

    async def execute(self, ctx: RunContext, state: RunState, turns: Any) -> RunState:
        """Check everything, then run the graph.

        Raises:
            WorkflowInvalidError: it cannot run as it is written; nothing was started.
            PegboardError: a required node failed; `finished` and `output` hold what there is.
        """
        bounds = await self.bound(ctx.find_agent)
        assert self.plan is not None
        parallel = min(self.workflow.parallel, self.max_parallel)
        output = await Execution(self.plan, bounds, ctx, ctx.input, parallel, self.max_value_bytes).run()
        return evolve(state, output=output)

    async def bound(self, find: Find) -> Sequence[Bound]:
        """What each node works with; made anew only when a name means another agent than before.

        Raises:
            WorkflowInvalidError: with everything that is wrong.
        """
        if self.plan is None:
            raise WorkflowInvalidError(self.name, self.problems)
        found = [await _found(find, name) for name in self.plan.agents]
        if self._known is not None and all(a is b for a, b in zip(found, self._known, strict=True)):
            return self._bounds
        bounds, problems = await bind(self.plan, find, _look_into, self._nested)
        if problems:
            raise WorkflowInvalidError(self.name, problems)
        self._known, self._bounds = found, bounds
        return bounds

    def _nested(self, workflow: Workflow) -> WorkflowAgent:
        return WorkflowAgent(workflow, max_parallel=self.max_parallel, max_value_bytes=self.max_value_bytes)


async def _found(find: Find, name: str) -> Agent | None:
    try:
        return await find(name)
    except PegboardError:
        return None


def _look_into(agent: Agent) -> Nested | None:
    return Nested(agent.plan, agent.problems) if isinstance(agent, WorkflowAgent) else None


def _config(workflow: Workflow, config: AgentConfig | None) -> AgentConfig:
    """The agent's own settings lead; what they leave open, the workflow says."""
    if config is None:
        data: JsonObject | None = data_of(workflow)
        config = AgentConfig(name=workflow.name, version=workflow.version, workflow=data)
    return msgspec.structs.replace(
        config,
        description=config.description or workflow.description,
        input_schema=workflow.input if config.input_schema is None else config.input_schema,
        output=workflow.output_schema if config.output is None else config.output,
    )
