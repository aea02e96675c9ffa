"""What `peg models` is told of the servers, and what a check learns of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pegboard_local
import pytest
from pegboard import Pegboard
from pegboard.errors import ModelNotOfferedError, ModelStreamMalformedError
from pegboard.model import verified
from pegboard.types import ModelListing
from pegboard_testing import MakeBoard
from pegboard_testing.wire_server import WireServer, wire_server

PACKAGE = Path(pegboard_local.__file__).parent
NOBODY = {f"{name}_url": "http://127.0.0.1:1" for name in ("ollama", "llamacpp", "vllm", "lmstudio")}
ELSEWHERE = "http://models.example/v1"


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have one."""
    for name in ("OLLAMA_HOST", "LMSTUDIO_API_URL", "LOCAL_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def wire() -> Iterator[WireServer]:
    with wire_server() as server:
        yield server


async def board_with(make_board: MakeBoard, **settings: Any) -> Pegboard:
    return await make_board(folders=[PACKAGE], config={"plugins": {"local": {**NOBODY, **settings}}})


async def listings(board: Pegboard, *, remote: bool = False) -> dict[str, ModelListing]:
    """What the plugin says, by provider."""
    assert board.hooks.list_models is not None
    ((_, found),) = await board.hooks.list_models(board.host_context, remote)
    return {listing.provider: listing for listing in found}


def has(wire: WireServer, *models: str) -> None:
    """A server that speaks as OpenAI does has these models."""
    items = ", ".join(f'{{"id": "{model}", "object": "model"}}' for model in models)
    wire.answer(f'{{"object": "list", "data": [{items}]}}'.encode(), content_type="application/json")


async def test_every_kind_of_server_has_its_listing(make_board: MakeBoard) -> None:
    """Where none answers it says what starts one, and where none is configured what configures one."""
    found = await listings(await board_with(make_board))

    assert set(found) == {"ollama", "llamacpp", "vllm", "lmstudio", "local"}
    assert (found["vllm"].ready, found["vllm"].setup) == ("no", "vllm serve MODEL")
    assert found["local"].setup.startswith("peg config set plugins.local.base_url ")


async def test_the_configured_server_is_listed(make_board: MakeBoard, wire: WireServer) -> None:
    """With its models as they are named."""
    has(wire, "org/model")

    found = await listings(await board_with(make_board, base_url=f"{wire.url}/v1"))

    assert (found["local"].ready, found["local"].models) == ("yes", ("local:org/model",))


async def test_a_key_that_is_missing_is_a_matter_of_one_server(make_board: MakeBoard, wire: WireServer) -> None:
    """The others are asked all the same."""
    has(wire, "m")
    board = await board_with(make_board, base_url=ELSEWHERE, api_key="env:LOCAL_KEY", vllm_url=wire.url)

    found = await listings(board, remote=True)

    assert (found["local"].code, found["local"].setup) == ("credentials.missing", "export LOCAL_KEY=…")
    assert found["vllm"].models == ("vllm:m",)


async def test_another_machine_is_not_asked(make_board: MakeBoard) -> None:
    """Whether it is ready is unknown then."""
    found = await listings(await board_with(make_board, base_url=ELSEWHERE))

    assert (found["local"].ready, found["local"].setup) == ("unknown", "peg models list --remote")


@pytest.mark.parametrize("name", ["vllm:m", "ollama:m", "llamacpp:m:latest"])
async def test_a_model_that_a_server_has(make_board: MakeBoard, wire: WireServer, name: str) -> None:
    """By its name, or by that of Ollama without its tag."""
    has(wire, "m" if name.startswith("vllm") else "m:latest")
    board = await board_with(make_board, **{f"{name.partition(':')[0]}_url": wire.url})

    assert await verified(await board.model(name))


async def test_a_server_that_takes_any_name_confirms_none(make_board: MakeBoard, wire: WireServer) -> None:
    """What it does not list it may have all the same, which only a request tells."""
    has(wire, "a", "b")
    board = await board_with(make_board, base_url=f"{wire.url}/v1", llamacpp_url=wire.url)

    assert not await verified(await board.model("llamacpp:whatever"))
    assert not await verified(await board.model("local:whatever"))
    assert await verified(await board.model("local:b"))


async def test_a_model_that_a_server_lacks(make_board: MakeBoard, wire: WireServer) -> None:
    """The error says what it has."""
    has(wire, "a", "b")
    board = await board_with(make_board, vllm_url=wire.url)

    with pytest.raises(ModelNotOfferedError, match="it has `a`, `b`"):
        await verified(await board.model("vllm:m"))


async def test_what_is_no_server_of_models(make_board: MakeBoard, wire: WireServer) -> None:
    """Something else that listens there."""
    wire.answer(b"<html>hello</html>", content_type="text/html")
    board = await board_with(make_board, vllm_url=wire.url)

    with pytest.raises(ModelStreamMalformedError):
        await verified(await board.model("vllm:m"))


async def test_a_list_that_is_too_long_is_cut(make_board: MakeBoard, wire: WireServer) -> None:
    """It says so."""
    has(wire, *(f"m{number}" for number in range(5_001)))

    found = await listings(await board_with(make_board, vllm_url=wire.url))

    assert len(found["vllm"].models) == 5_000
    assert "cut after 5000 models" in found["vllm"].why
