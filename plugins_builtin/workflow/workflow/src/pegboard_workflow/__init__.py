"""Workflows of pegboard agents: graphs in YAML or Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pegboard.lazy import lazy_names

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
    "Flow": "pegboard_workflow.builder",
    "Node": "pegboard_workflow.model",
    "Problem": "pegboard_workflow.errors",
    "Ref": "pegboard_workflow.builder",
    "Repeat": "pegboard_workflow.model",
    "Retry": "pegboard_workflow.model",
    "Share": "pegboard_workflow.model",
    "Workflow": "pegboard_workflow.model",
    "WorkflowAgent": "pegboard_workflow.agent",
    "WorkflowFailedError": "pegboard_workflow.errors",
    "WorkflowInvalidError": "pegboard_workflow.errors",
    "fan_out": "pegboard_workflow.patterns",
    "load_workflow": "pegboard_workflow.library",
    "loop_until": "pegboard_workflow.patterns",
    "pipeline": "pegboard_workflow.patterns",
    "review_chain": "pegboard_workflow.patterns",
    "workflow_of": "pegboard_workflow.model",
}

__all__ = [*_HOMES]  # built from the table, so that both cannot differ
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
