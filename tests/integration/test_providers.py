"""One conversation over several providers, each through its own SDK and against a server that speaks its protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from itertools import permutations
from pathlib import Path

import pytest
import pytest_asyncio
from pegboard import Agent, AgentRunner, ModelBase
from pegboard_anthropic.config import Settings as AnthropicSettings
from pegboard_anthropic.model import AnthropicModel
from pegboard_gemini.config import Settings as GeminiSettings
from pegboard_gemini.model import GeminiModel
from pegboard_openai.config import Settings as OpenAISettings
from pegboard_openai.model import OpenAIModel
from pegboard_testing import FakeTool
from pegboard_testing.aimock import Aimock, aimock_server
from pegboard_testing.conformance.roles.model import SCHEMA
from pegboard_testing.conformance.roles.provider import FIXTURES, SECRET

Make = Callable[[str], ModelBase]


async def key() -> str:
    return SECRET


MAKERS: Mapping[str, Make] = {
    "anthropic": lambda url: AnthropicModel("a-model", key=key, settings=AnthropicSettings(base_url=url)),
    "openai": lambda url: OpenAIModel("a-model", key=key, settings=OpenAISettings(base_url=f"{url}/v1")),
    "openai-chat": lambda url: OpenAIModel(
        "a-model", key=key, settings=OpenAISettings(base_url=f"{url}/v1", api="chat")
    ),
    "gemini": lambda url: GeminiModel(
        "gemini-a-model", key=key, settings=GeminiSettings(base_url=url, api_version="v1beta")
    ),
}


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    with aimock_server(FIXTURES, Path(tmp_path_factory.mktemp("aimock"))) as server:
        yield server


@pytest_asyncio.fixture
async def model(aimock: Aimock) -> AsyncIterator[Make]:
    """Makes models by the provider's name, and closes them at the end."""
    made: list[ModelBase] = []

    def make(provider: str) -> ModelBase:
        made.append(MAKERS[provider](aimock.url))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


@pytest.mark.parametrize(("first", "second"), list(permutations(MAKERS, 2)), ids="-".join)
async def test_a_conversation_moves_from_one_provider_to_another(first: str, second: str, model: Make) -> None:
    """With a call and its result in it, in any direction; what the other cannot take is left out."""
    agent = Agent(
        "probe",
        tools=[FakeTool("files.probe", input_schema=dict(SCHEMA)), FakeTool("probe", input_schema=dict(SCHEMA))],
    )
    begun = await AgentRunner(model(first)).get_response(agent, "Use the tool.")

    gone_on = await AgentRunner(model(second)).get_response(agent, "Go on.", history=begun.raise_for_error().messages)

    assert gone_on.raise_for_error().output == "Gone on."
    assert len(gone_on.messages) == len(begun.messages) + 2
