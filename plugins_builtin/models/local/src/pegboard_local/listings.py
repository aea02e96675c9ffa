"""What `peg models list` is told of the servers: which answer, with which models, and what to type for the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pegboard.errors import PegboardError
from pegboard.types import ModelListing
from pegboard.wire import MOST_NAMES

from pegboard_local.servers import CONFIGURED, Server

UNSET: Final = ModelListing(
    provider=CONFIGURED.name,
    ready="no",
    why="`plugins.local.base_url` is not set",
    setup="peg config set plugins.local.base_url http://127.0.0.1:8000/v1",
)
"""Of the configured server, where none is configured."""


def not_asked(server: Server) -> ModelListing:
    """Of a server on another machine."""
    return ModelListing(
        provider=server.name,
        why=f"{server.host} is another machine, which only `--remote` asks",
        setup="peg models list --remote",
    )


def without_key(error: PegboardError) -> ModelListing:
    """Of the configured server, whose key is missing or is none."""
    return ModelListing(
        provider=CONFIGURED.name, ready="no", why=error.message, setup=error.hint or "", code=error.code
    )


def answered(server: Server, models: Sequence[str]) -> ModelListing:
    """Of a server that was asked for its models."""
    names = tuple(f"{server.name}:{model}" for model in models[:MOST_NAMES])
    if names:
        why = f"{server.preset.title} answers at {server.host}"
        if len(models) > MOST_NAMES:
            why += f"; its list was cut after {MOST_NAMES} models"
        return ModelListing(provider=server.name, ready="yes", why=why, models=names, source="server")
    why = f"no server that has a model answers at {server.host}"
    setup = server.preset.start or "peg config explain plugins.local.base_url"
    return ModelListing(provider=server.name, ready="no", why=why, setup=setup)


__all__ = ["UNSET", "answered", "not_asked", "without_key"]
