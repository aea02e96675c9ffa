"""The plugin on a board: names, `auto`, settings, and what it costs to have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pegboard_local
import pytest
from pegboard import Agent, Pegboard, hookimpl
from pegboard.errors import ConfigError, CredentialsMissingError, ModelNoneError
from pegboard_local.config import Settings
from pegboard_replay import ScriptedModel
from pegboard_testing import MakeBoard, startup_imports
from pegboard_testing.conformance.roles import ManifestSuite
from pegboard_testing.wire_server import WireServer, wire_server

PACKAGE = Path(pegboard_local.__file__).parent
TEXT = (Path(__file__).parent / "data" / "text.sse").read_bytes()
NOBODY = {f"{name}_url": "http://127.0.0.1:1" for name in ("ollama", "llamacpp", "vllm", "lmstudio")}


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have one."""
    for name in ("OLLAMA_HOST", "LMSTUDIO_API_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def wire() -> Iterator[WireServer]:
    with wire_server() as server:
        yield server


async def board_with(make_board: MakeBoard, *plugins: object, **settings: Any) -> Pegboard:
    config = {"plugins": {"local": {**NOBODY, **settings}}}
    return await make_board(folders=[PACKAGE], plugins=plugins, config=config)


def ollama(wire: WireServer) -> WireServer:
    """An Ollama with one model, which answers."""
    wire.answer(b'{"models": [{"name": "qwen3:8b"}]}', content_type="application/json")
    wire.answer(TEXT)
    return wire


@pytest.mark.parametrize("name", ["ollama:qwen3:8b", "llamacpp:m", "vllm:org/m", "lmstudio:m", "local:m"])
async def test_names(make_board: MakeBoard, wire: WireServer, name: str) -> None:
    """Of every kind of server; nothing is asked of any for it."""
    board = await board_with(make_board, base_url=f"{wire.url}/v1", ollama_url=wire.url)

    assert (await board.model(name)).id == name
    assert wire.requests == []


async def test_local_needs_an_address(make_board: MakeBoard) -> None:
    """The error says where to write it."""
    board = await board_with(make_board)

    with pytest.raises(ConfigError, match=r"plugins\.local\.base_url"):
        await board.model("local:m")


async def test_a_model_is_where_the_environment_says(
    make_board: MakeBoard, wire: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ollama's own tools find it."""
    monkeypatch.setenv("OLLAMA_HOST", wire.url.removeprefix("http://"))
    wire.answer(TEXT)
    board = await board_with(make_board, ollama_url=None)

    await board.run(Agent("a", model="ollama:qwen3"), "?")

    assert wire.requests[0].path == "/v1/chat/completions"


async def test_auto_says_which_and_why(make_board: MakeBoard, wire: WireServer) -> None:
    """In an event of the run; nothing is asked before there is a run."""
    board = await board_with(make_board, ollama_url=ollama(wire).url)
    assert wire.requests == []

    result = await board.run(Agent("a"), "?")

    (event,) = (event for event in result.events if event.kind == "model.chosen")
    host = wire.url.removeprefix("http://")
    assert event.data == {"model": "ollama:qwen3:8b", "why": f"Ollama at {host} is the first server that is ready"}
    assert wire.requests[1].json["model"] == "qwen3:8b"


async def test_a_model_that_was_named_needs_no_reason(make_board: MakeBoard, wire: WireServer) -> None:
    """Whoever named it knows."""
    wire.answer(TEXT)
    board = await board_with(make_board, ollama_url=wire.url)

    result = await board.run(Agent("a", model="ollama:qwen3:8b"), "?")

    assert [event.kind for event in result.events if event.kind == "model.chosen"] == []


async def test_a_plugin_with_a_key_comes_first(make_board: MakeBoard, wire: WireServer) -> None:
    """Whatever its name; the machine is not even looked at."""

    class Zebra:
        @hookimpl
        async def provide_model(self, name: str) -> ScriptedModel:
            return ScriptedModel(["striped"])

    board = await board_with(make_board, Zebra(), ollama_url=ollama(wire).url)

    assert (await board.run(Agent("a"), "?")).output == "striped"
    assert wire.requests == []


async def test_with_nothing_ready_the_hint_says_what_to_type(make_board: MakeBoard) -> None:
    """And the next run looks again."""
    board = await board_with(make_board)

    with pytest.raises(ModelNoneError) as caught:
        await board.model("auto")

    assert caught.value.hint == "`ollama pull qwen3` or `peg models list`"


async def test_a_server_that_is_started_later_is_found(make_board: MakeBoard, wire: WireServer) -> None:
    """That none was ready is not remembered."""
    wire.answer(b"{}", content_type="application/json")
    board = await board_with(make_board, ollama_url=wire.url)
    with pytest.raises(ModelNoneError):
        await board.model("auto")
    wire.answers.clear()
    ollama(wire)

    assert (await board.model("auto")).id == "ollama:qwen3:8b"


async def test_a_key_is_for_the_configured_server(
    make_board: MakeBoard, wire: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others get none, above all not that of OpenAI, nor who pays it."""
    monkeypatch.setenv("MY_KEY", "k")
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "of OpenAI")
    wire.answer(TEXT)
    board = await board_with(make_board, base_url=f"{wire.url}/v1", vllm_url=wire.url, api_key="env:MY_KEY")

    await board.run(Agent("a", model="local:m"), "?")
    await board.run(Agent("a", model="vllm:m"), "?")

    assert [request.headers["authorization"] for request in wire.requests] == ["Bearer k", "Bearer none"]
    assert "of OpenAI" not in repr(wire.requests)


async def test_a_key_that_is_not_there_is_missing(make_board: MakeBoard, wire: WireServer) -> None:
    """Nothing is sent without it."""
    board = await board_with(make_board, base_url=f"{wire.url}/v1", api_key="env:NO_SUCH_KEY")

    result = await board.run(Agent("a", model="local:m"), "?", check=False)

    assert isinstance(result.error, CredentialsMissingError)
    assert wire.requests == []


class TestLocalManifest(ManifestSuite):
    @pytest.fixture
    def package(self) -> Path:
        return PACKAGE

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings


def test_no_sdk_before_the_first_request() -> None:
    """Neither its own nor another provider's."""
    heavy = ["anthropic", "openai", "google.genai", "httpx2", "pydantic", "pegboard_openai"]
    startup_imports("import pegboard_local.plugin", forbidden=heavy)
