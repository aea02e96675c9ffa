"""The plugin keeps the rules for model plugins, over the real SDK and a real server, as any server and as Ollama."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pegboard import ModelBase
from pegboard_local.config import Settings
from pegboard_local.model import LocalModel
from pegboard_local.servers import CONFIGURED, Server
from pegboard_testing.conformance.roles.provider import SECRET, WITHIN_S, ProviderSuite, Refusal


async def key() -> str:
    return SECRET


class TestLocal(ProviderSuite):
    """A server with a key; the others differ in their address alone."""

    streams = Path(__file__).parent / "data"
    overflow = Refusal(
        400,
        "the request exceeds the available context size (4096 tokens), try increasing it",
        "exceed_context_size_error",
    )
    quota = Refusal(429, "You exceeded your current quota.", "insufficient_quota")

    def make(self, url: str, *, name: str = "a-model", read_timeout_s: float = WITHIN_S) -> ModelBase:
        server = Server(preset=CONFIGURED, url=f"{url}/v1")
        return LocalModel(name, server, key=key, settings=Settings(read_timeout_s=read_timeout_s))

    def error_body(self, refusal: Refusal) -> Mapping[str, Any]:
        """As llama.cpp writes it, with a code that is a number."""
        return {"error": {"code": refusal.status, "message": refusal.message, "type": refusal.kind}}
