"""The plugin on a board: names, keys, settings, and what it costs to have it."""

from __future__ import annotations

from pathlib import Path

import pegboard_anthropic
import pytest
from pegboard import ModelBase
from pegboard_anthropic.config import Settings
from pegboard_anthropic.model import AnthropicModel
from pegboard_anthropic.models import capabilities_of
from pegboard_testing.conformance.roles import KeyedPluginSuite, ManifestSuite

PACKAGE = Path(pegboard_anthropic.__file__).parent


class TestAnthropicPlugin(KeyedPluginSuite, ManifestSuite):
    provider = "anthropic"
    name = "claude-sonnet-5-5"
    default = Settings().default_model
    keys = ("ANTHROPIC_API_KEY",)

    @pytest.fixture
    def package(self) -> Path:
        return PACKAGE

    @pytest.fixture
    def model_alone(self) -> ModelBase:
        return AnthropicModel(self.name)

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings


@pytest.mark.parametrize(
    ("model", "thinking", "structured"),
    [("claude-3-5-haiku-x", "no", "no"), ("claude-3-7-sonnet-x", "yes", "no"), ("claude-of-the-future", "yes", "yes")],
)
def test_what_models_can_do(model: str, thinking: str, structured: str) -> None:
    """Old ones less; one that is not known yet is taken for a new one."""
    found = capabilities_of(model)

    assert (found.thinking, found.structured_output) == (thinking, structured)


@pytest.mark.parametrize(
    ("model", "window"),
    [
        (Settings().default_model, 1_000_000),
        ("claude-opus-4-7", 1_000_000),
        ("claude-sonnet-4-5-20250929", 200_000),
        ("claude-of-the-future", None),
    ],
)
def test_how_much_models_can_read(model: str, window: int | None) -> None:
    """Of the default it is known; of what nobody has said it is not."""
    assert capabilities_of(model).context_window == window
