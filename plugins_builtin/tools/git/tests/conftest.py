"""A board with the git tools as they are installed, and a real repository in its workspace."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from pegboard.types import Json, ToolResult
from pegboard_testing import Consent, MakeBoard, use_tool

Use = Callable[..., Awaitable[ToolResult]]
Git = Callable[..., str]

IDENTITY: Mapping[str, str] = {
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05+00:00",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05+00:00",
    "GIT_CONFIG_NOSYSTEM": "1",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a name in it, and without anything else of whoever runs the tests."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PEGBOARD_HOME", str(home / "pegboard"))
    monkeypatch.setenv("PEGBOARD_DISABLE_PLUGINS", "console,sqlite")
    return home


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """The workspace, which is no repository yet."""
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


@pytest.fixture
def git(workspace: Path, home: Path) -> Git:
    """Runs git as a person would."""

    def git(*arguments: str, cwd: Path = workspace) -> str:
        environment = {**os.environ, **IDENTITY}
        done = subprocess.run(["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return git


@pytest.fixture
def repository(git: Git, workspace: Path) -> Path:
    """A repository with two commits of `a.txt`."""
    git("init", "-q")
    for text in ("one\n", "one\ntwo\n"):
        (workspace / "a.txt").write_text(text)
        git("add", ".")
        git("commit", "-q", "-m", f"Write {len(text)} bytes\n\nAs was agreed.")
    return workspace


@pytest.fixture
def settings() -> dict[str, object]:
    """Of the plugin; a test fills it."""
    return {}


@pytest.fixture
async def use(make_board: MakeBoard, home: Path, workspace: Path, settings: dict[str, object]) -> Use:
    """Call a tool in a run of its own: `await use("status")`."""
    config = {"drivers": {"files": "local"}, "plugins": {"git": settings}}

    async def use(tool: str, /, **arguments: Json) -> ToolResult:
        board = await make_board(autoload=True, workspace=workspace, config=config, plugins=[Consent()])
        return await use_tool(board, f"git.{tool}", **arguments)

    return use
