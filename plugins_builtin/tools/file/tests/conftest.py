"""A board with the file tools as they are installed, and a workspace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pegboard.types import Json, ToolResult
from pegboard_testing import Consent, MakeBoard, use_tool

Use = Callable[..., Awaitable[ToolResult]]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """The workspace, empty."""
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


@pytest.fixture
def settings() -> dict[str, object]:
    """Of the plugin; tests that want others replace the fixture or fill it."""
    return {}


@pytest.fixture
async def use(
    make_board: MakeBoard,
    workspace: Path,
    settings: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Use:
    """Call a tool in a run of its own: `await use("read", path="a.txt")`."""
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PEGBOARD_DISABLE_PLUGINS", "console,sqlite")
    config = {"drivers": {"files": "local"}, "plugins": {"file": settings}}

    async def use(tool: str, /, **arguments: Json) -> ToolResult:
        board = await make_board(autoload=True, workspace=workspace, config=config, plugins=[Consent()])
        return await use_tool(board, f"file.{tool}", **arguments)

    return use
