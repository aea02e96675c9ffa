"""The plugin: makes agents that are graphs into agents that run them, and offers the workflows that lie in files.

Every board passes through here at its start, so what a workflow needs is not imported before there is one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from pegboard import hookimpl
from pegboard.config import find_project
from pegboard.errors import UntrustedConfigError
from pegboard.interfaces import HostContext, Next
from pegboard.lazy import LazyModule
from pegboard.threads import DaemonPool
from pegboard.types import Agent

if TYPE_CHECKING:
    from pegboard_workflow import agent as workflow_agent
    from pegboard_workflow import library
else:
    workflow_agent = LazyModule("pegboard_workflow.agent")
    library = LazyModule("pegboard_workflow.library")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `[plugins.workflow]` may say."""

    paths: tuple[str, ...] = ()
    project: bool = True
    max_parallel: int = 64
    max_value_bytes: int = 16_777_216

    @property
    def allowed(self) -> workflow_agent.Allowed:
        """What the operator allows a workflow."""
        return {"max_parallel": self.max_parallel, "max_value_bytes": self.max_value_bytes}


class Plugin:
    """Workflows."""

    def __init__(self) -> None:
        self._settings = Settings()
        self._pool = DaemonPool(1, "pegboard-workflow-files")
        self._warned = False

    def activate(self, ctx: HostContext) -> None:
        """Read the settings."""
        self._settings = msgspec.convert(ctx.config or {}, Settings)
        ctx.undo(self._pool.close)

    @hookimpl
    async def registration(self, ctx: HostContext, agent: Agent, call_next: Next[Agent]) -> Agent:
        """An agent that is a graph becomes one that runs it."""
        if agent.config.workflow is None or agent.execute is not None:
            return await call_next(agent)
        made = workflow_agent.WorkflowAgent.of_config(agent.config, **self._settings.allowed)
        return await call_next(made)

    @hookimpl
    async def provide_agents(self, ctx: HostContext) -> Sequence[Agent] | None:
        """The workflows of the project, and of the paths in the settings. Of two with one name the first is taken."""
        if not self._settings.paths and not self._has_project():
            return None
        found = await self._pool.run(self._read, ctx)
        return list({agent.name: agent for agent in reversed(found)}.values())

    def _has_project(self) -> bool:
        project = find_project() if self._settings.project else None
        return project is not None and os.path.isdir(project / ".pegboard" / "workflows")  # noqa: PTH112  # as core

    def _read(self, ctx: HostContext) -> list[Agent]:
        found: list[Any] = library.in_paths(self._settings.paths)
        if self._settings.project:
            try:
                found += library.in_project()
            except UntrustedConfigError as error:
                self._warn(ctx, error)
        return [each.agent(**self._settings.allowed) for each in found]

    def _warn(self, ctx: HostContext, error: UntrustedConfigError) -> None:
        """Once, however often the board asks."""
        if not self._warned:
            ctx.log.warning("%s; %s", error.message, error.hint)
        self._warned = True
