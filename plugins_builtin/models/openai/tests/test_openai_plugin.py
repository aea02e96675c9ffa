"""The plugin on a board: names, keys, settings, and what it costs to have it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pegboard_openai
import pytest
from pegboard import Agent, Message
from pegboard.errors import CredentialsMissingError, ModelAuthError, ModelNoneError
from pegboard.types import ModelRequest
from pegboard_openai.config import Settings
from pegboard_openai.model import OpenAIModel
from pegboard_testing import MakeBoard, startup_imports
from pegboard_testing.conformance.roles import ManifestSuite
from pegboard_testing.wire_server import wire_server

PACKAGE = Path(pegboard_openai.__file__).parent
TEXT = (Path(__file__).parent / "data" / "responses" / "text.sse").read_bytes()


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have one."""
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["gpt-5.5", "openai:gpt-5.5"])
async def test_a_name_with_and_without_the_provider(make_board: MakeBoard, name: str) -> None:
    """Both are the same model; nothing is asked of anybody for it."""
    board = await make_board(folders=[PACKAGE])

    assert (await board.model(name)).id == "openai:gpt-5.5"


async def test_without_a_key_the_error_says_what_to_type(make_board: MakeBoard) -> None:
    """At the first request, and nothing is sent."""
    board = await make_board(folders=[PACKAGE])

    result = await board.run(Agent("a", model="gpt-5.5"), "?", check=False)

    assert isinstance(result.error, CredentialsMissingError)
    assert "OPENAI_API_KEY" in str(result.error.hint)


async def test_auto_needs_a_key(make_board: MakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    """It offers itself only where it could be asked."""
    board = await make_board(folders=[PACKAGE])
    with pytest.raises(ModelNoneError):
        await board.model("auto")

    monkeypatch.setenv("OPENAI_API_KEY", "k")

    model = await board.model("auto")
    assert (model.id, model.why) == (f"openai:{Settings().default_model}", "there is a key of OpenAI")


class TestOpenAIManifest(ManifestSuite):
    @pytest.fixture
    def package(self) -> Path:
        return PACKAGE

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings


def test_no_sdk_before_the_first_request() -> None:
    """Neither its own nor another provider's."""
    heavy = ["anthropic", "openai", "google.genai", "httpx2", "pydantic"]
    startup_imports("import pegboard_openai.plugin", forbidden=heavy)


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


async def test_without_a_board_a_missing_key_is_a_fault_too() -> None:
    """And nothing raw of the SDK."""
    model = OpenAIModel("gpt-x")

    with pytest.raises(ModelAuthError):
        await model.get_response(Agent("a"), "?")


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
