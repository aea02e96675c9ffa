"""Reads a workflow from YAML as plain data, with the line of each key; what is wrong with it is a `Problem`."""

from __future__ import annotations

from typing import Any

import pegboard_plainyaml
from pegboard_plainyaml import YamlFault, YamlInvalidError

from pegboard_workflow.errors import Problem, WorkflowInvalidError


def read_yaml(raw: bytes | str, name: str = "workflow") -> tuple[Any, dict[tuple[str, ...], int]]:
    """The data of a YAML document, and the line of each key by its path.

    Raises:
        WorkflowInvalidError: it is not UTF-8, no YAML, has a key twice, or stands for more than a workflow can be.
    """
    try:
        return pegboard_plainyaml.read_yaml(raw)
    except YamlInvalidError as error:
        raise WorkflowInvalidError(name, [_problem(fault) for fault in error.faults]) from error


def _problem(fault: YamlFault) -> Problem:
    if fault.path[-2:-1] == ("nodes",):
        message = f"a second node has the name `{fault.path[-1]}`; the first is in line {fault.first_line}"
        return Problem(code="workflow.duplicate", message=message, node=fault.path[-1], line=fault.line)
    code = "workflow.duplicate" if fault.path else "workflow.yaml"
    return Problem(code=code, message=fault.message, line=fault.line)
