"""Workflows that lie in files: those of the project, and of the folders and files that the settings name.

A project's files come with whatever was cloned, so they become agents only where its folder is trusted, as it is with
core's own project file. To look at one, and to run it by its path, needs no trust: there a person has named it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Unpack

from pegboard import config
from pegboard.errors import PegboardError, UntrustedConfigError
from pegboard.regular import read_regular
from pegboard_plainyaml import MAX_BYTES

from pegboard_workflow.agent import Allowed, WorkflowAgent
from pegboard_workflow.check import problems_of
from pegboard_workflow.errors import Problem, WorkflowInvalidError
from pegboard_workflow.model import Workflow, workflow_of
from pegboard_workflow.yamlfile import read_yaml

FOLDER: Final = "workflows"
SUFFIXES: Final = (".yaml", ".yml")
MAX_FILES: Final = 1000


class Found(NamedTuple):
    """A file with a workflow, whether or not it is a sound one."""

    path: Path
    name: str
    workflow: Workflow | None
    problems: Sequence[Problem] = ()

    def agent(self, **allowed: Unpack[Allowed]) -> WorkflowAgent:
        """The agent that runs it, or tells what is wrong with it; `allowed` is what the operator allows."""
        workflow = self.workflow or Workflow(name=self.name, nodes={})
        return WorkflowAgent(workflow, problems=self.problems, **allowed)


def load_workflow(path: str | Path) -> Workflow:
    """The workflow in a YAML file, with the name of the file where it gives none.

    Raises:
        WorkflowInvalidError: the file cannot be read, or is no workflow; everything that is wrong is told.
    """
    path = Path(path)
    try:
        raw = read_regular(path, MAX_BYTES)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        problem = Problem(code="workflow.yaml", message=f"`{path}` cannot be read: {reason[:1].lower()}{reason[1:]}")
        raise WorkflowInvalidError(path.stem, [problem]) from exc
    data, lines = read_yaml(raw, path.stem)
    workflow = workflow_of(data, path.stem, lines)
    problems = [_with_line(problem, lines) for problem in problems_of(workflow)]
    if problems:
        raise WorkflowInvalidError(workflow.name, problems)
    return workflow


def look_at(path: Path) -> Found:
    """A file, with what is wrong with it."""
    try:
        workflow = load_workflow(path)
    except WorkflowInvalidError as error:
        return Found(path, path.stem, None, error.problems)
    return Found(path, workflow.name, workflow)


def in_paths(paths: Sequence[str]) -> list[Found]:
    """The workflows of files and folders, each file once, sorted within its folder."""
    files = dict.fromkeys(file for path in paths for file in _files(Path(path).expanduser()))
    return [look_at(file) for file in list(files)[:MAX_FILES]]


def in_project() -> list[Found]:
    """The workflows of the project around the working folder.

    Raises:
        UntrustedConfigError: there are some, and its folder is not trusted.
    """
    folder = project_folder()
    files = list(_files(folder)) if folder is not None else []
    if not files or folder is None:
        return []
    if not is_trusted(folder):
        project = folder.parent.parent
        raise UntrustedConfigError(
            f"{folder}: the workflows of a project may only be run by name in a trusted folder",
            hint=f"peg config set trusted_folders '[\"{project}\"]'",
        )
    return [look_at(file) for file in files[:MAX_FILES]]


def project_folder() -> Path | None:
    """Where the project around the working folder keeps workflows, whether or not the folder is there."""
    project = config.find_project()
    return project / config.PROJECT_FOLDER / FOLDER if project is not None else None


def is_trusted(folder: Path) -> bool:
    """Whether the person trusts the project that a folder of workflows is part of."""
    try:
        return config.load(folder.parent.parent, tolerant=True).trusted
    except PegboardError:
        return False


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        if path.exists():
            yield path
        return
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if entry.name.endswith(SUFFIXES))
    yield from (path / name for name in names)


def _with_line(problem: Problem, lines: dict[tuple[str, ...], int]) -> Problem:
    path = tuple(part for name in (problem.node or "").split("/") for part in ("nodes", name, "agent"))[:-1]
    line = lines.get(path)
    return Problem(
        code=problem.code, message=problem.message, node=problem.node, hint=problem.hint, line=line or problem.line
    )
