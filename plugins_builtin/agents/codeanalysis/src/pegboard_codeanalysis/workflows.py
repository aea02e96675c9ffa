"""The workflows `code-analysis` and `code-review`, as data. Whoever runs workflows reads it; nothing here runs any."""

from __future__ import annotations

from typing import Final

from pegboard.types import AgentConfig, JsonObject

from pegboard_codeanalysis.agents import schemas
from pegboard_codeanalysis.agents.base import VERSION


def _of(node: str, *names: str) -> JsonObject:
    """What a workflow hands on: a text for people, and beside it what a program asks for."""
    return {name: f"$nodes.{node}.{name}" for name in names}


ANALYSIS: Final[JsonObject] = {
    "name": "code-analysis",
    "version": VERSION,
    "description": "Four agents look at a code base and leave a report.",
    "input": schemas.target(fail_on=schemas.FAIL_ON),
    "nodes": {
        "context_gathering": {
            "agent": "context_gathering",
            "description": "what there is",
            "priority": 3,
            "timeout_s": 300,
        },
        "architecture_analysis": {
            "agent": "architecture_analysis",
            "description": "how it hangs together",
            "inputs": {"path": "$nodes.context_gathering.root", "exclude": "$nodes.context_gathering.exclude"},
            "required": False,
            "priority": 2,
            "timeout_s": 900,
            "tokens": {"min": 4000, "optimal": 40000},
        },
        "code_review": {
            "agent": "code_review",
            "description": "what is wrong with it",
            "inputs": {"path": "$nodes.context_gathering.root", "exclude": "$nodes.context_gathering.exclude"},
            "required": False,
            "priority": 2,
            "timeout_s": 900,
            "tokens": {"min": 4000, "optimal": 40000},
        },
        "documentation_generation": {
            "agent": "documentation_generation",
            "description": "what is documented, and the report",
            "inputs": {
                "path": "$nodes.context_gathering.root",
                "exclude": "$nodes.context_gathering.exclude",
                "fail_on": "$nodes.context_gathering.fail_on",
                "context": "$nodes.context_gathering",
                "architecture": "$nodes.architecture_analysis",
                "review": "$nodes.code_review",
            },
            "priority": 3,
            "timeout_s": 900,
        },
    },
    "output": _of(
        "documentation_generation",
        "text",
        "summary",
        "counts",
        "findings",
        "findings_left_out",
        "report",
        "fail_on",
        "fails",
    ),
}
_RANGE: Final[JsonObject] = {
    "path": "$nodes.review.path",
    "range": "$nodes.review.range",
    "fail_on": "$nodes.review.fail_on",
}
REVIEW: Final[JsonObject] = {
    "name": "code-review",
    "version": VERSION,
    "description": "A chain of reviewers looks at a range of commits and comes to a verdict.",
    "input": schemas.target(range=schemas.RANGE, fail_on=schemas.FAIL_ON),
    "nodes": {
        "review": {"agent": "change_review", "description": "is it right", "timeout_s": 300},
        "security": {
            "agent": "security_review", "description": "is it safe", "inputs": _RANGE, "needs": ["review"],
            "required": False, "timeout_s": 300,
        },
        "performance": {
            "agent": "performance_review", "description": "is it fast", "inputs": _RANGE, "needs": ["review"],
            "required": False, "timeout_s": 300,
        },
        "approval": {
            "agent": "change_approval",
            "description": "does it go in",
            "inputs": {
                **_RANGE,
                "review": "$nodes.review",
                "security": "$nodes.security",
                "performance": "$nodes.performance",
            },
            "timeout_s": 300,
        },
    },
    "output": _of(
        "approval", "text", "verdict", "summary", "range", "counts", "findings", "report", "fail_on", "fails",
    ),
}  # fmt: skip


ALL: Final = (ANALYSIS, REVIEW)


def configs() -> tuple[AgentConfig, ...]:
    """Both as agents."""
    return tuple(
        AgentConfig(
            name=data["name"],
            version=VERSION,
            description=data["description"],
            input_schema=data["input"],
            workflow=data,
            capabilities=(capability,),
        )
        for data, capability in ((ANALYSIS, "code.analysis"), (REVIEW, "code.change"))
    )
