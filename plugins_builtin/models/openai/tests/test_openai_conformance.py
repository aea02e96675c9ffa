"""The plugin keeps the rules for model plugins by both APIs, over the real SDK and a real server."""

from __future__ import annotations

from pathlib import Path

from pegboard import ModelBase
from pegboard_openai.config import Settings
from pegboard_openai.model import OpenAIModel
from pegboard_testing.conformance.roles.provider import SECRET, WITHIN_S, ProviderSuite, Refusal

DATA = Path(__file__).parent / "data"
OVERFLOW = Refusal(
    400,
    "This model's maximum context length is 128000 tokens, and yours has 210000.",
    "invalid_request_error",
)
QUOTA = Refusal(429, "You exceeded your current quota.", "insufficient_quota")


async def key() -> str:
    return SECRET


class TestResponses(ProviderSuite):
    """The Responses API."""

    streams = DATA / "responses"
    overflow = OVERFLOW
    quota = QUOTA

    def make(self, url: str, *, name: str = "a-model", read_timeout_s: float = WITHIN_S) -> ModelBase:
        return OpenAIModel(name, key=key, settings=Settings(base_url=f"{url}/v1", read_timeout_s=read_timeout_s))


class TestChat(ProviderSuite):
    """Chat Completions."""

    streams = DATA / "chat"
    lacks = {"thinking": "OpenAI shows no thinking with Chat Completions"}
    overflow = OVERFLOW
    quota = QUOTA

    def make(self, url: str, *, name: str = "a-model", read_timeout_s: float = WITHIN_S) -> ModelBase:
        settings = Settings(api="chat", base_url=f"{url}/v1", read_timeout_s=read_timeout_s)
        return OpenAIModel(name, key=key, settings=settings)
