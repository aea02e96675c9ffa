"""Workflows of pegboard agents: graphs in YAML or Python."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pegboard_workflow.agent import WorkflowAgent as WorkflowAgent
    from pegboard_workflow.builder import Flow as Flow
    from pegboard_workflow.builder import Ref as Ref
    from pegboard_workflow.errors import Problem as Problem
    from pegboard_workflow.errors import WorkflowFailedError as WorkflowFailedError
    from pegboard_workflow.errors import WorkflowInvalidError as WorkflowInvalidError
    from pegboard_workflow.library import load_workflow as load_workflow
    from pegboard_workflow.model import Node as Node
    from pegboard_workflow.model import Repeat as Repeat
    from pegboard_workflow.model import Retry as Retry
    from pegboard_workflow.model import Share as Share
    from pegboard_workflow.model import Workflow as Workflow
    from pegboard_workflow.model import workflow_of as workflow_of
    from pegboard_workflow.patterns import fan_out as fan_out
    from pegboard_workflow.patterns import loop_until as loop_until
    from pegboard_workflow.patterns import pipeline as pipeline
    from pegboard_workflow.patterns import review_chain as review_chain

_HOMES = {
    "Flow": "builder",
    "Node": "model",
    "Problem": "errors",
    "Ref": "builder",
    "Repeat": "model",
    "Retry": "model",
    "Share": "model",
    "Workflow": "model",
    "WorkflowAgent": "agent",
    "WorkflowFailedError": "errors",
    "WorkflowInvalidError": "errors",
    "fan_out": "patterns",
    "load_workflow": "library",
    "loop_until": "patterns",
    "pipeline": "patterns",
    "review_chain": "patterns",
    "workflow_of": "model",
}

__all__ = [*_HOMES]  # built from the table, so that both cannot differ


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pegboard_workflow' has no attribute {name!r}")
    value = getattr(import_module(f"pegboard_workflow.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
