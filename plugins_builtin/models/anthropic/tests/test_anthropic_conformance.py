"""The plugin keeps the rules for model plugins, over the real SDK and a real server."""

from __future__ import annotations

from pathlib import Path

from pegboard import ModelBase
from pegboard_anthropic.config import Settings
from pegboard_anthropic.model import AnthropicModel
from pegboard_testing.conformance.roles.provider import SECRET, WITHIN_S, ProviderSuite, Refusal


async def key() -> str:
    return SECRET


class TestAnthropic(ProviderSuite):
    """The Messages API."""

    streams = Path(__file__).parent / "data"
    overflow = Refusal(400, "prompt is too long: 210000 tokens > 200000 maximum", "invalid_request_error")
    quota = Refusal(400, "Your credit balance is too low to access the API.", "invalid_request_error")

    def make(self, url: str, *, name: str = "a-model", read_timeout_s: float = WITHIN_S) -> ModelBase:
        return AnthropicModel(name, key=key, settings=Settings(base_url=url, read_timeout_s=read_timeout_s))
