"""What a failure of a provider tells, over the real SDKs: no key, on one line, within the time for an answer."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import pytest_asyncio
from pegboard import Message, ModelBase
from pegboard.errors import CredentialsInvalidError, ModelFault, ModelTimeoutError
from pegboard.listing import ListedModel
from pegboard.model import verified
from pegboard.types import ModelRequest
from pegboard_anthropic.config import Settings as AnthropicSettings
from pegboard_anthropic.model import AnthropicModel
from pegboard_gemini.config import Settings as GeminiSettings
from pegboard_gemini.model import GeminiModel
from pegboard_local.config import Settings as LocalSettings
from pegboard_local.model import LocalModel
from pegboard_local.servers import CONFIGURED, Server
from pegboard_openai.config import Settings as OpenAISettings
from pegboard_openai.model import OpenAIModel
from pegboard_testing.wire_server import WireServer, wire_server

SECRET = "sk-a-secret-that-nobody-may-see"
REQUEST = ModelRequest(model="", messages=(Message.user("hi"),))
Key = Callable[[], Any]


def anthropic(url: str, key: Key, limit_s: float) -> ModelBase:
    return AnthropicModel("claude-x", key=key, settings=AnthropicSettings(base_url=url, answer_timeout_s=limit_s))


def openai(url: str, key: Key, limit_s: float) -> ModelBase:
    return OpenAIModel("gpt-x", key=key, settings=OpenAISettings(base_url=f"{url}/v1", answer_timeout_s=limit_s))


def openai_chat(url: str, key: Key, limit_s: float) -> ModelBase:
    settings = OpenAISettings(base_url=f"{url}/v1", api="chat", answer_timeout_s=limit_s)
    return OpenAIModel("gpt-x", key=key, settings=settings)


def gemini(url: str, key: Key, limit_s: float) -> ModelBase:
    return GeminiModel("gemini-x", key=key, settings=GeminiSettings(base_url=url, answer_timeout_s=limit_s))


def local(url: str, key: Key, limit_s: float) -> ModelBase:
    server = Server(preset=CONFIGURED, url=f"{url}/v1")
    return LocalModel("m", server, key=key, settings=LocalSettings(answer_timeout_s=limit_s))


Make = Callable[..., ModelBase]
EACH = pytest.mark.parametrize("provider", [anthropic, openai, openai_chat, gemini, local])


@pytest.fixture
def wire() -> Iterator[WireServer]:
    with wire_server() as server:
        yield server


@pytest_asyncio.fixture
async def opened(wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Makes models with a key, and closes them at the end."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    models: list[ModelBase] = []

    def make(provider: Callable[[str, Key, float], ModelBase], key: str = SECRET, limit_s: float = 30.0) -> ModelBase:
        async def given() -> str:
            return key

        models.append(provider(wire.url, given, limit_s))
        return models[-1]

    yield make
    for model in models:
        await model.aclose()


def repeats_the_key(wire: WireServer, status: int = 401) -> None:
    """As a gateway does that shows what it was sent, wherever it can."""
    body = {"error": {"message": f"wrong key {SECRET}\n\nhint: run `x`", "type": SECRET, "code": status}}
    wire.fail(status, body, x_request_id=f"r-{SECRET}")


async def failure(model: ModelBase) -> ModelFault:
    with pytest.raises(ModelFault) as caught:
        await model.send(REQUEST, None)
    return caught.value


def is_shown(error: BaseException) -> bool:
    """Whether the key is in anything that is printed of an error."""
    fields: Mapping[str, Any] = vars(error)
    return SECRET in "".join(traceback.format_exception(error)) + repr(fields) + repr(error.args)


@EACH
async def test_an_answer_that_repeats_the_key(opened: Make, wire: WireServer, provider: Any) -> None:
    """It is in no message, no id and no cause, whichever door was used."""
    repeats_the_key(wire)
    model = opened(provider)

    error = await failure(model)
    with pytest.raises(ModelFault) as checked:
        await verified(model)

    assert not is_shown(error)
    assert error.request_id in ("r-***", None)
    assert not is_shown(checked.value)
    if isinstance(model, ListedModel):
        with pytest.raises(Exception) as listed:  # noqa: PT011  # whatever the SDK raises
            await model.names()
        fault = model.classify_error(listed.value)
        assert fault is not None
        assert SECRET not in repr(vars(fault)) + str(fault)


@EACH
async def test_what_a_provider_says_is_one_line_under_its_name(opened: Make, wire: WireServer, provider: Any) -> None:
    """Nobody takes it for a hint of ours."""
    repeats_the_key(wire, 400)
    model = opened(provider)

    error = await failure(model)

    assert str(error) == f"{model.provider} said (HTTP 400): wrong key *** hint: run `x`"


@EACH
async def test_a_key_from_a_file_with_a_line_break(opened: Make, wire: WireServer, provider: Any) -> None:
    """It is sent without it."""
    repeats_the_key(wire)

    error = await failure(opened(provider, f"{SECRET}\n"))

    assert any(value.endswith(SECRET) for value in wire.requests[0].headers.values())
    assert not is_shown(error)


@EACH
async def test_a_key_that_cannot_be_sent(opened: Make, wire: WireServer, provider: Any) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(CredentialsInvalidError) as refused:
        await opened(provider, f"{SECRET}\u2013{SECRET}").send(REQUEST, None)

    assert not is_shown(refused.value)
    assert wire.requests == []


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        (lambda url: AnthropicModel("m", settings=AnthropicSettings(base_url=url)), "ANTHROPIC_API_KEY"),
        (lambda url: OpenAIModel("m", settings=OpenAISettings(base_url=url)), "OPENAI_API_KEY"),
        (lambda url: GeminiModel("m", settings=GeminiSettings(base_url=url)), "GEMINI_API_KEY"),
    ],
    ids=["anthropic", "openai", "gemini"],
)
async def test_a_key_that_the_sdk_finds_by_itself(
    wire: WireServer, monkeypatch: pytest.MonkeyPatch, model: Callable[[str], ModelBase], variable: str
) -> None:
    """In a program without a board; it is treated alike."""
    monkeypatch.setenv(variable, f"{SECRET}\n")
    repeats_the_key(wire)
    made = model(wire.url)

    error = await failure(made)
    await made.aclose()

    assert any(value.endswith(SECRET) for value in wire.requests[0].headers.values())
    assert not is_shown(error)


class Pinging(BaseHTTPRequestHandler):
    """Answers with comments alone, or for Gemini with empty lines, as long as somebody listens."""

    def do_POST(self) -> None:
        """The name that the library wants."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b"\n" if "gemini" in self.path else b": ping\n\n")
                threading.Event().wait(0.02)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@EACH
async def test_a_server_that_only_pings(wire: WireServer, provider: Any) -> None:
    """It is never silent, and ends by the limit of a whole answer."""

    async def key() -> str:
        return SECRET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pinging)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    model = provider(f"http://127.0.0.1:{server.server_port}", key, 0.3)
    try:
        with pytest.raises(ModelTimeoutError, match="limit of a whole answer"):
            await model.send(REQUEST, None)
    finally:
        await model.aclose()
        await asyncio.to_thread(server.shutdown)
        thread.join()
        server.server_close()
