"""The plugin on a board: names, keys, settings, and what it costs to have it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pegboard_openai
import pytest
from pegboard import Agent, Message, ModelBase
from pegboard.types import ModelRequest
from pegboard_openai.config import Settings
from pegboard_openai.model import OpenAIModel
from pegboard_openai.models import capabilities_of
from pegboard_testing import MakeBoard
from pegboard_testing.conformance.roles import KeyedPluginSuite, ManifestSuite
from pegboard_testing.wire_server import wire_server

PACKAGE = Path(pegboard_openai.__file__).parent
TEXT = (Path(__file__).parent / "data" / "responses" / "text.sse").read_bytes()


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have one."""
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


class TestOpenAIPlugin(KeyedPluginSuite, ManifestSuite):
    provider = "openai"
    name = "gpt-5.5"
    default = Settings().default_model
    keys = ("OPENAI_API_KEY",)

    @pytest.fixture
    def package(self) -> Path:
        return PACKAGE

    @pytest.fixture
    def model_alone(self) -> ModelBase:
        return OpenAIModel(self.name)

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings


@pytest.mark.parametrize("name", ["o3-mini", "o4-mini-2025-04-16", "chatgpt-4o-latest"])
async def test_older_names_are_known_too(make_board: MakeBoard, name: str) -> None:
    """They need no provider before them."""
    board = await make_board(folders=[PACKAGE])

    assert (await board.model(name)).id == f"openai:{name}"


async def test_the_environment_says_where_and_for_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere with this SDK; settings come first."""
    with wire_server() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v9")
        monkeypatch.setenv("OPENAI_ORG_ID", "of the environment")
        server.answer(TEXT)
        model = OpenAIModel("gpt-x", settings=Settings(project="of the settings"))
        await model.get_response(Agent("a"), "?")
        await model.aclose()

    (received,) = server.requests
    assert received.path == "/v9/responses"
    assert received.headers["openai-organization"] == "of the environment"
    assert received.headers["openai-project"] == "of the settings"


async def test_the_provider_counts_tokens() -> None:
    """Responses has a counter, which takes fewer parameters than a request has; Chat Completions has none."""

    async def key() -> str:
        return "k"

    with wire_server() as server:
        server.answer(b'{"object": "response.input_tokens", "input_tokens": 12}', content_type="application/json")
        settings = Settings(base_url=f"{server.url}/v1")
        model = OpenAIModel("gpt-x", key=key, settings=settings)
        chat = OpenAIModel("gpt-x", key=key, settings=msgspec.structs.replace(settings, api="chat"))
        request = ModelRequest(model="openai:gpt-x", messages=(Message.user("?"),))

        assert (await model.count_tokens(request), await chat.count_tokens(request)) == (12, None)
        await model.aclose()

    assert [received.path for received in server.requests] == ["/v1/responses/input_tokens"]
    assert set(server.requests[0].json) == {"model", "input"}


@pytest.mark.parametrize(
    ("model", "window"),
    [
        (Settings().default_model, 1_050_000),
        ("gpt-5.2", 400_000),
        ("gpt-5.4-mini-2026-03-01", 400_000),
        ("gpt-5.5", 1_000_000),
        ("gpt-of-the-future", None),
    ],
)
def test_how_much_models_can_read(model: str, window: int | None) -> None:
    """Of the default it is known; of what nobody has said it is not."""
    assert capabilities_of(model, "responses").context_window == window
