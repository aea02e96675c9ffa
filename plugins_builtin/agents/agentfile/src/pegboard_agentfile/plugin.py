"""The plugin: an agent of what a file holds, or what is wrong with the file."""

from __future__ import annotations

from pegboard import hookimpl
from pegboard.errors import AgentFileError
from pegboard.types import Agent

from pegboard_agentfile.reading import agent_of


class Plugin:
    """Agents in files."""

    @hookimpl(blocking=True)
    def read_agent(self, path: str, content: bytes) -> Agent | AgentFileError:
        """In a thread, since Python beside the file may be imported for it."""
        try:
            return agent_of(path, content)
        except AgentFileError as error:
            return error
