"""The plugin keeps the rules for model plugins, over the real SDK and a real server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pegboard import ModelBase
from pegboard_gemini.config import Settings
from pegboard_gemini.model import GeminiModel
from pegboard_testing.conformance.roles.provider import SECRET, WITHIN_S, ProviderSuite, Refusal


async def key() -> str:
    return SECRET


class TestGemini(ProviderSuite):
    """`generateContent`, streamed."""

    streams = Path(__file__).parent / "data"
    lacks = {
        "arguments": "Gemini sends the arguments of a call as an object, never as text",
        "extra": "the SDK checks each name, and an error says which one it does not know",
    }
    overflow = Refusal(
        400,
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "INVALID_ARGUMENT",
    )
    quota = Refusal(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "RESOURCE_EXHAUSTED",
    )
    keepalive = b"\n\n"  # the SDK takes a comment for the body of an error

    def make(self, url: str, *, name: str = "a-model", read_timeout_s: float = WITHIN_S) -> ModelBase:
        settings = Settings(base_url=url, api_version="v1beta", read_timeout_s=read_timeout_s)
        return GeminiModel(name, key=key, settings=settings)

    def error_body(self, refusal: Refusal) -> Mapping[str, Any]:
        return {"error": {"code": refusal.status, "message": refusal.message, "status": refusal.kind}}
