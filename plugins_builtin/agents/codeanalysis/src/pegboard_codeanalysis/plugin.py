"""The plugin: offers the agents and workflows, shows a model what was computed, and judges what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pegboard import hookimpl
from pegboard.interfaces import HostContext, RunContext
from pegboard.lazy import LazyModule
from pegboard.types import Agent, ContextRequest, Finding, RunResult, Source

if TYPE_CHECKING:
    from pegboard_codeanalysis import workflows
    from pegboard_codeanalysis.agents import base, quality, team
else:
    # Not before somebody asks for an agent: together they bring most of this distribution along.
    workflows = LazyModule("pegboard_codeanalysis.workflows")
    base = LazyModule("pegboard_codeanalysis.agents.base")
    quality = LazyModule("pegboard_codeanalysis.agents.quality")
    team = LazyModule("pegboard_codeanalysis.agents.team")


class Plugin:
    """Keeps what its agents share: the workers, and what is shown to a model at the moment."""

    def __init__(self) -> None:
        self._shared: Any = None
        self._host: HostContext | None = None

    def activate(self, ctx: HostContext) -> None:
        """Remember the host; nothing is started yet."""
        self._host = ctx

    async def deactivate(self, ctx: HostContext) -> None:
        """End the workers."""
        if self._shared is not None:
            await self._shared.workshop.aclose()

    @hookimpl
    def provide_agents(self, ctx: HostContext) -> Sequence[Agent]:
        """The agents and the workflows of them."""
        if self._shared is None:
            self._shared = team.shared_of(self._host or ctx)
        agents: Sequence[Agent] = team.agents(self._shared)
        return agents

    @hookimpl
    async def context_gather(self, ctx: RunContext, request: ContextRequest) -> Sequence[Source] | None:
        """What an agent of ours computed, while its model is asked; nothing for all others."""
        brief = None if self._shared is None else self._shared.briefs.get(ctx.run)
        parts: Sequence[Source] | None = None if brief is None else await brief.shown()
        return parts

    @hookimpl
    def check_quality(self, ctx: RunContext, result: RunResult) -> Sequence[Finding] | None:
        """The quality standards of our own agents. What is to fail is the run that a person started, not its parts."""
        config = ctx.agent.config
        if self._shared is None or not (config.workflow or isinstance(ctx.agent, base.AnalysisAgent)):
            return None
        if config.workflow is not None:
            return quality.of_threshold(result.output) if config.workflow in workflows.ALL else None
        found: Sequence[Finding] = quality.findings(config, result.output)
        return found if ctx.parent is None else [item for item in found if item.severity != "error"]
