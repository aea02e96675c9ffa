"""A board with the file tools as they are installed, and a workspace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pegboard import Agent, hookimpl
from pegboard.types import Action, Allow, ToolResult, Verdict
from pegboard_testing import MakeBoard, ScriptedModel, call

Use = Callable[..., Awaitable[ToolResult]]


class Consent:
    """Allows what would be asked for."""

    @hookimpl
    def authorize(self, action: Action) -> Verdict | None:
        return Allow()


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

    async def use(tool: str, /, **arguments: object) -> ToolResult:
        board = await make_board(autoload=True, workspace=workspace, config=config, plugins=[Consent()])
        model = ScriptedModel([call(f"file.{tool}", **arguments), "done"])
        result = await board.run(Agent("worker", model=model, tools=["file.*"]), "go")
        assert [event.data for event in result.events if event.kind == "plugin.undeclared"] == []
        (answer,) = model.requests[-1].messages[-1].parts
        assert isinstance(answer, ToolResult)
        return answer

    return use
