"""What can be wrong with a workflow, and what can go wrong while one runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pegboard.errors import ExitCode, PegboardError
from pegboard.types import Json

MOST_TOLD = 20
"""Problems that the message of an error spells out; all of them are in its `problems`."""

PROBLEMS: Mapping[str, str] = {
    "workflow.agent": "an agent that nothing here provides",
    "workflow.condition": "a condition that cannot be read",
    "workflow.cycle": "nodes, or workflows, that need one another in a circle",
    "workflow.duplicate": "a key, and so a node, that is there twice",
    "workflow.function": "a function that does not take the inputs of its node",
    "workflow.needs": "a need for a node that there is not",
    "workflow.reference": "a reference to nothing, or one that cannot be read",
    "workflow.schema": "a key that there is not, or a value of the wrong kind",
    "workflow.transform": "a transform that there is not",
    "workflow.type": "data that does not fit what takes it",
    "workflow.yaml": "a file that is no YAML, or more than a workflow can be",
}
"""The codes of problems that are found before anything runs."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a workflow."""

    code: str
    message: str
    node: str | None = None
    """The node, with those of nested workflows as `outer/inner`; `None` is the workflow itself."""
    hint: str = ""
    """What to write instead."""
    line: int | None = None
    """In the file, where it came from one."""

    def __str__(self) -> str:
        place = [f"line {self.line}"] if self.line else []
        place += [f"node `{self.node}`"] if self.node else []
        hint = f" ({self.hint})" if self.hint else ""
        return f"{', '.join(place) or 'workflow'}: {self.message} [{self.code}]{hint}"


class WorkflowInvalidError(PegboardError):
    """A workflow cannot run as it is written; nothing of it was started.

    Everything that is wrong is told at once, each with its node: `peg workflow check NAME` prints the same list.
    """

    code = "workflow.invalid"
    exit_code = ExitCode.CONFIG
    default_hint = "peg workflow check"

    def __init__(self, workflow: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        told = "; ".join(map(str, problems[:MOST_TOLD]))
        more = f"; and {len(problems) - MOST_TOLD} more" if len(problems) > MOST_TOLD else ""
        super().__init__(f"workflow `{workflow}`: {told}{more}", hint=f"peg workflow check {workflow}")

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "problems": msgspec.to_builtins(self.problems)}


class WorkflowNotFoundError(PegboardError):
    """No workflow has this name, and no file either."""

    code = "workflow.not_found"
    exit_code = ExitCode.USAGE
    default_hint = "peg workflow list"


class WorkflowFailedError(PegboardError):
    """A required node failed, or an output was not there.

    `finished` has the results of the nodes that came to their end, and so has the output of the run that failed.
    """

    code = "workflow.failed"

    def __init__(self, message: str, *, node: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.node = node
        self.finished: Mapping[str, Json] = {}


class NodeTimeoutError(PegboardError):
    """A node did not come to its end within its `timeout_s`; what it had begun was cancelled."""

    code = "workflow.timeout"
    exit_code = ExitCode.LIMIT
    retryable = True


class NodeDataError(PegboardError):
    """The data of a node is not what its reference, condition, transform or `foreach` needs."""

    code = "workflow.data"


class RepeatLimitError(PegboardError):
    """The condition of a loop did not hold within its bound."""

    code = "workflow.repeat"
    exit_code = ExitCode.LIMIT
