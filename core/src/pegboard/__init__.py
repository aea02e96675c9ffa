"""pegboard: an agent runtime whose core knows when things happen and whose plugins know what happens.

Names resolve on first use (PEP 562): the console script passes through here, and asyncio alone costs more than twice
a bare `peg --version`. Importing this package scans nothing, reads no environment and writes no cache.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # `typing` alone costs 8 ms, and `peg --version` passes through here
if TYPE_CHECKING:  # `as`, or a type checker takes these for private names
    from pegboard.agent import AgentRegistry as AgentRegistry
    from pegboard.conversation import ConversationContext as ConversationContext
    from pegboard.conversation import ConversationManager as ConversationManager
    from pegboard.errors import ExitCode as ExitCode
    from pegboard.errors import PegboardError as PegboardError
    from pegboard.events import Event as Event
    from pegboard.hookspecs import hookimpl as hookimpl
    from pegboard.interfaces import Call as Call
    from pegboard.interfaces import HostContext as HostContext
    from pegboard.interfaces import Module as Module
    from pegboard.interfaces import Next as Next
    from pegboard.interfaces import RunContext as RunContext
    from pegboard.interfaces import Tool as Tool
    from pegboard.interfaces import ToolContext as ToolContext
    from pegboard.model import ModelBase as ModelBase
    from pegboard.runner import AgentRunner as AgentRunner
    from pegboard.runtime import Pegboard as Pegboard
    from pegboard.runtime import get_model_for_name as get_model_for_name
    from pegboard.tools import tool as tool
    from pegboard.types import Agent as Agent
    from pegboard.types import AgentConfig as AgentConfig
    from pegboard.types import Message as Message
    from pegboard.types import RunResult as RunResult
    from pegboard.types import StreamEvent as StreamEvent

__version__ = "0.1.0"

_HOMES = {
    "Agent": "pegboard.types",
    "AgentConfig": "pegboard.types",
    "AgentRegistry": "pegboard.agent",
    "AgentRunner": "pegboard.runner",
    "Call": "pegboard.interfaces",
    "ConversationContext": "pegboard.conversation",
    "ConversationManager": "pegboard.conversation",
    "Event": "pegboard.events",
    "ExitCode": "pegboard.errors",
    "HostContext": "pegboard.interfaces",
    "Message": "pegboard.types",
    "ModelBase": "pegboard.model",
    "Module": "pegboard.interfaces",
    "Next": "pegboard.interfaces",
    "Pegboard": "pegboard.runtime",
    "PegboardError": "pegboard.errors",
    "RunContext": "pegboard.interfaces",
    "RunResult": "pegboard.types",
    "StreamEvent": "pegboard.types",
    "Tool": "pegboard.interfaces",
    "ToolContext": "pegboard.interfaces",
    "get_model_for_name": "pegboard.runtime",
    "hookimpl": "pegboard.hookspecs",
    "tool": "pegboard.tools",
}

__all__ = [*_HOMES, "__version__"]  # built from the table, so that both cannot differ


def __getattr__(name: str) -> object:  # not by `lazy.lazy_names`, since this package imports no module of its own
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pegboard' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
