"""Workflows in files: how YAML is read, what is refused, and which files become agents."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pegboard_workflow
import pytest
from pegboard import Pegboard
from pegboard_testing import MakeBoard
from pegboard_workflow import WorkflowInvalidError, load_workflow
from pegboard_workflow.yamlfile import read_yaml

FOLDER = Path(pegboard_workflow.__file__).parent
COUNT = "nodes: {count: {transform: count}}\n"


def refused(raw: bytes | str) -> tuple[str, str, int | None]:
    """Code, message and line of the one problem of a document."""
    with pytest.raises(WorkflowInvalidError) as caught:
        read_yaml(raw)
    (problem,) = caught.value.problems
    return problem.code, problem.message, problem.line


def test_a_node_that_is_there_twice() -> None:
    """YAML would keep the last in silence."""
    said = refused("nodes:\n  a: {transform: text}\n  a: {transform: count}\n")
    assert said == ("workflow.duplicate", "a second node has the name `a`; the first is in line 2", 3)


@pytest.mark.parametrize(
    ("raw", "code", "said", "line"),
    [
        (b"nodes:\n  a: \xff\n", "workflow.yaml", "is not UTF-8: byte 12", 2),
        ("nodes: [", "workflow.yaml", "is no YAML", 2),
        ("a: 1\na: 2\n", "workflow.duplicate", "the key `a` is there twice", 2),
    ],
    ids=["utf8", "broken", "twice"],
)
def test_what_is_refused(raw: bytes | str, code: str, said: str, line: int) -> None:
    """With the line, as a problem of the workflow."""
    found, message, where = refused(raw)

    assert (found, where) == (code, line)
    assert said in message


def test_ten_thousand_nodes_in_a_file(tmp_path: Path) -> None:
    """They are read and checked."""
    nodes = "".join(f"  n{n}: {{transform: text, inputs: $nodes.n{n - 1}}}\n" for n in range(1, 10_000))
    file = tmp_path / "many.yaml"
    file.write_text(f"nodes:\n  n0: {{transform: text}}\n{nodes}")

    assert len(load_workflow(file).nodes) == 10_000


def test_problems_of_a_file_have_lines(tmp_path: Path) -> None:
    """Those of the shape, and those of what it means."""
    file = tmp_path / "bad.yaml"
    file.write_text("nodes:\n  a:\n    transform: text\n  b:\n    transform: text\n    inputs: $nodes.c\n")
    with pytest.raises(WorkflowInvalidError) as caught:
        load_workflow(file)

    assert [(problem.node, problem.line) for problem in caught.value.problems] == [("b", 4)]
    assert str(caught.value.problems[0]).startswith("line 4, node `b`: ")


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_a_file_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    """Nothing is waited for."""
    path = tmp_path / "x.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)

    with pytest.raises(WorkflowInvalidError, match="cannot be read"):
        load_workflow(path)


# --- which files become agents -----------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one sound workflow, one that is not, and a file that is none."""
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path / "home"))
    folder = tmp_path / "project" / ".pegboard" / "workflows"
    folder.mkdir(parents=True)
    (folder / "counts.yaml").write_text(COUNT)
    (folder / "broken.yml").write_text("nodes: {a: {agnet: x}}\n")
    (folder / "notes.txt").write_text("nothing")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def trust(project: Path) -> None:
    """Say in the person's own configuration that the folder is trusted."""
    home = project.parent / "home" / "config"
    home.mkdir(parents=True)
    (home / "config.toml").write_text(f'trusted_folders = ["{project}"]\n')


async def opened(make_board: MakeBoard, **settings: Any) -> Pegboard:
    return await make_board(folders=[FOLDER], config={"plugins": {"workflow": settings}})


async def test_workflows_of_a_trusted_project_can_be_run_by_name(project: Path, make_board: MakeBoard) -> None:
    """Also one that is wrong has its name, and says what is wrong when it is run."""
    trust(project)
    board = await opened(make_board)

    assert sorted(board.plugins.agents()) == ["broken", "counts"]
    assert (await board.run("counts", "four")).output == 4
    with pytest.raises(WorkflowInvalidError, match="line 1, node `a`: there is no key `agnet`"):
        await board.run("broken", "x")


async def test_workflows_of_another_project_are_left_alone(
    project: Path, make_board: MakeBoard, caplog: pytest.LogCaptureFixture
) -> None:
    """What was cloned runs by name only where a person has said that it may; how to say so is told."""
    with caplog.at_level(logging.WARNING):
        board = await opened(make_board)

    assert list(board.plugins.agents()) == []
    assert "peg config set trusted_folders" in caplog.text


async def test_paths_of_the_settings(project: Path, make_board: MakeBoard) -> None:
    """Files and folders that a person has named need no trust; `project = false` leaves the rest unread."""
    board = await opened(make_board, project=False, paths=[str(project / ".pegboard/workflows/counts.yaml")])

    assert list(board.plugins.agents()) == ["counts"]
