"""The plugin on a board: names, keys, settings, and what it costs to have it."""

from __future__ import annotations

from pathlib import Path

import pegboard_anthropic
import pytest
from pegboard import Agent
from pegboard.errors import CredentialsMissingError, ModelNoneError
from pegboard_anthropic.config import Settings
from pegboard_anthropic.models import capabilities_of
from pegboard_testing import MakeBoard, startup_imports
from pegboard_testing.conformance.roles import ManifestSuite

PACKAGE = Path(pegboard_anthropic.__file__).parent


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have one."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)


@pytest.mark.parametrize("name", ["claude-sonnet-5-5", "anthropic:claude-sonnet-5-5"])
async def test_a_name_with_and_without_the_provider(make_board: MakeBoard, name: str) -> None:
    """Both are the same model; nothing is asked of anybody for it."""
    board = await make_board(folders=[PACKAGE])

    assert (await board.model(name)).id == "anthropic:claude-sonnet-5-5"


async def test_without_a_key_the_error_says_what_to_type(make_board: MakeBoard) -> None:
    """At the first request, and nothing is sent."""
    board = await make_board(folders=[PACKAGE])

    result = await board.run(Agent("a", model="claude-sonnet-5-5"), "?", check=False)

    assert isinstance(result.error, CredentialsMissingError)
    assert "ANTHROPIC_API_KEY" in str(result.error.hint)


async def test_auto_needs_a_key(make_board: MakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    """It offers itself only where it could be asked."""
    board = await make_board(folders=[PACKAGE])
    with pytest.raises(ModelNoneError):
        await board.model("auto")

    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")

    model = await board.model("auto")
    assert (model.id, model.why) == (f"anthropic:{Settings().default_model}", "there is a key of Anthropic")


class TestAnthropicManifest(ManifestSuite):
    @pytest.fixture
    def package(self) -> Path:
        return PACKAGE

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings


def test_no_sdk_before_the_first_request() -> None:
    """Neither its own nor another provider's."""
    heavy = ["anthropic", "openai", "google.genai", "httpx2", "pydantic"]
    startup_imports("import pegboard_anthropic.plugin", forbidden=heavy)


@pytest.mark.parametrize(
    ("model", "thinking", "structured"),
    [("claude-3-5-haiku-x", "no", "no"), ("claude-3-7-sonnet-x", "yes", "no"), ("claude-of-the-future", "yes", "yes")],
)
def test_what_models_can_do(model: str, thinking: str, structured: str) -> None:
    """Old ones less; one that is not known yet is taken for a new one."""
    found = capabilities_of(model)

    assert (found.thinking, found.structured_output) == (thinking, structured)


async def test_whether_there_is_a_key_can_be_asked_before(make_board: MakeBoard) -> None:
    """Nothing is sent for it."""
    board = await make_board(folders=[PACKAGE])
    model = await board.model("claude-sonnet-5-5")

    with pytest.raises(CredentialsMissingError):
        await model.connect()
