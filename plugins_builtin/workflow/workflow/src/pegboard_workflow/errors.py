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
    "workflow.agent": """A node names an agent that nothing here provides.

`peg agents list` shows the agents of plugins. One of your own is named as `module:object`, where the module
lies in the working folder or beside the project's `.pegboard`; in Python, give the node the agent itself.""",
    "workflow.condition": """A condition cannot be read.

It knows references, numbers, texts in quotes, `true`, `false`, `null`, `== != < <= > >=`, `in`, `is present`,
`is absent`, `and`, `or`, `not` and brackets.""",
    "workflow.cycle": """Nodes, or workflows, need one another in a circle, which the message prints.

A node waits for everything that its `inputs`, `when`, `foreach` and `needs` refer to. Take one of these away,
or make the circle a `repeat`.""",
    "workflow.duplicate": """A key is there twice, and YAML would keep the last one in silence. Give one of the
nodes another name.""",
    "workflow.function": """The function of a node does not take the inputs of the node.

It is called with them by name, or with the one value where they are no mapping, and with the run as `ctx` where
it has such a parameter.""",
    "workflow.needs": """A need for a node that is not there. Nodes of the same workflow can be needed, and not
those inside a nested one.""",
    "workflow.reference": """A reference leads to nothing, or cannot be read.

`$input`, `$nodes.NAME` and `$nodes.NAME.path[0]` are references; `$item` is there only with `foreach`, and
`$last` and `$round` only with `repeat`. A dollar sign is written `$$`.""",
    "workflow.schema": """A key that there is not, or a value of the wrong kind. The message says where, and
what is near.""",
    "workflow.transform": """A transform that there is not. The message names one that is near, where there is
one.""",
    "workflow.type": """Data does not fit what takes it, and this is sure from both JSON Schemas.

A `transform` may bridge it, or a reference that goes deeper, such as `$nodes.NAME.findings`.""",
    "workflow.yaml": """A file is no YAML, cannot be read, or is more than a workflow can be.

It is read as YAML 1.2: one document, keys that are texts, and no tags.""",
}
"""The codes of problems that are found before anything runs, and what `peg help CODE` says of each."""
STATES: Mapping[str, str] = {
    "workflow.absent": """A node did not run, since something that it needs is absent: it failed and was not
required, or was skipped.

Refer to it with `?`, or set `accepts_absent`, to run without it.""",
}
"""Codes of what a run is degraded by."""


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
