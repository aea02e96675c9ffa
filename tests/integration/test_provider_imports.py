"""What a provider brings along: its own SDK, and no other one's."""

from __future__ import annotations

from pathlib import Path

import pytest
from pegboard_testing import startup_imports
from pegboard_testing.wire_server import wire_server

MODELS = Path(__file__).parents[2] / "plugins_builtin" / "models"
ASK = """
import asyncio
from pegboard import Agent, AgentRunner
from pegboard_{package}.config import Settings
from pegboard_{package}.model import {model} as Model

async def key():
    return "k"

async def main():
    model = Model("a-model", key=key, settings=Settings(base_url={url!r}))
    result = await AgentRunner(model).get_response(Agent("a"), "Hello?")
    await model.aclose()
    print(result.raise_for_error().output)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("package", "model", "answer", "own", "others"),
    [
        ("anthropic", "AnthropicModel", "anthropic/tests/data/text.sse", "anthropic", ["openai", "google.genai"]),
        ("openai", "OpenAIModel", "openai/tests/data/responses/text.sse", "openai", ["anthropic", "google.genai"]),
        ("gemini", "GeminiModel", "gemini/tests/data/text.sse", "google.genai", ["anthropic", "openai"]),
    ],
    ids=["anthropic", "openai", "gemini"],
)
def test_a_request_imports_one_sdk(package: str, model: str, answer: str, own: str, others: list[str]) -> None:
    """Whoever uses one provider pays for no other."""
    with wire_server() as server:
        server.answer((MODELS / answer).read_bytes())
        started = startup_imports(ASK.format(package=package, model=model, url=server.url), forbidden=others)

    assert own in started.modules
    assert started.stdout.startswith("Hello from the mock")
