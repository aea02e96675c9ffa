"""The plugin on a board: names, keys, settings, and what it costs to have it."""

from __future__ import annotations

from pathlib import Path

import pegboard_gemini
import pytest
from pegboard import Agent, ModelBase
from pegboard_gemini.config import Settings
from pegboard_gemini.model import GeminiModel
from pegboard_gemini.models import capabilities_of
from pegboard_testing.conformance.roles import KeyedPluginSuite, ManifestSuite
from pegboard_testing.wire_server import wire_server

PACKAGE = Path(pegboard_gemini.__file__).parent
VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_GENAI_API_VERSION")
TEXT = (Path(__file__).parent / "data" / "text.sse").read_bytes()


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have one."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


async def test_without_a_board_the_key_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As are the address and the version of the API; the first name of a key wins, and nothing else is said of it."""
    monkeypatch.setenv("GEMINI_API_KEY", "mine")
    monkeypatch.setenv("GOOGLE_API_KEY", "another")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9")
    with wire_server() as wire:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", wire.url)
        wire.answer(TEXT)
        model = GeminiModel("a-model")

        await model.get_response(Agent("a"), "?")
        await model.aclose()

    assert wire.requests[0].path == "/v9/models/a-model:streamGenerateContent?alt=sse"
    assert wire.requests[0].headers["x-goog-api-key"] == "mine"


async def test_the_sdk_does_not_talk_of_keys(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It would say that it uses a key which it does not use."""
    for name in VARIABLES[:2]:
        monkeypatch.setenv(name, "k")
    with wire_server() as wire:
        wire.answer(TEXT)
        model = GeminiModel("a-model", settings=Settings(base_url=wire.url))

        await model.get_response(Agent("a"), "?")
        await model.aclose()

    assert "API_KEY" not in caplog.text


class TestGeminiPlugin(KeyedPluginSuite, ManifestSuite):
    provider = "gemini"
    name = "gemini-3.8-flash"
    default = Settings().default_model
    keys = ("GEMINI_API_KEY", "GOOGLE_API_KEY")

    @pytest.fixture
    def package(self) -> Path:
        return PACKAGE

    @pytest.fixture
    def model_alone(self) -> ModelBase:
        return GeminiModel(self.name)

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings


@pytest.mark.parametrize(
    ("model", "thinking", "with_tools"),
    [
        ("gemini-2.0-flash", "no", "no"),
        ("gemini-2.5-pro", "yes", "no"),
        ("models/gemini-2.5-flash", "yes", "no"),
        ("gemini-3.8-flash", "yes", "yes"),
        ("gemini-of-the-future", "yes", "yes"),
    ],
)
def test_what_models_can_do(model: str, thinking: str, with_tools: str) -> None:
    """Old ones less; one that is not known yet is taken for a new one."""
    found = capabilities_of(model)

    assert (found.thinking, found.structured_output, found.structured_with_tools) == (thinking, "yes", with_tools)


@pytest.mark.parametrize(
    ("model", "window"),
    [
        (Settings().default_model, 1_048_576),
        ("gemini-4-argon", 1_048_576),
        ("gemini-of-the-future", None),
    ],
)
def test_how_much_models_can_read(model: str, window: int | None) -> None:
    """Of the default it is known; of what nobody has said it is not."""
    assert capabilities_of(model).context_window == window
