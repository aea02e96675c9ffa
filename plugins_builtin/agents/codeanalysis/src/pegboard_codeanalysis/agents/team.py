"""All agents of the plugin, and what they share."""

from __future__ import annotations

from pathlib import Path

from pegboard.interfaces import HostContext
from pegboard.types import Agent

from pegboard_codeanalysis import workflows
from pegboard_codeanalysis.agents import architecture, chain, context, documentation, review
from pegboard_codeanalysis.agents.base import Shared
from pegboard_codeanalysis.work.workshop import Workshop


def shared_of(host: HostContext) -> Shared:
    """The workers and what belongs to them; none is started before there is work."""

    def folder() -> Path:
        return host.cache_dir

    shared = Shared(Workshop(folder))
    shared.host = host
    return shared


def agents(shared: Shared) -> list[Agent]:
    """Every agent, the workflows last."""
    return [
        context.make(shared),
        architecture.make(shared),
        review.make(shared),
        documentation.make(shared),
        *chain.make(shared),
        *(Agent(config) for config in workflows.configs()),
    ]
