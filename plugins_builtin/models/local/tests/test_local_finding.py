"""`auto` finds a server that is ready: real servers on loopback, at ports that the configuration names."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pegboard_local.config import Settings
from pegboard_local.finding import WITHIN_S, Found, first_ready, models_of
from pegboard_local.servers import Server, servers_of
from pegboard_testing.wire_server import CUT, STALL, Piece, WireServer, wire_server

NOBODY = "http://127.0.0.1:1"
"""An address at which nothing listens."""


class Machine:
    """Servers of a machine; those that are not started are not there."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.urls: dict[str, Any] = {f"{name}_url": NOBODY for name in ("ollama", "llamacpp", "vllm", "lmstudio")}

    def start(self, name: str, *answers: Any, setting: str | None = None) -> WireServer:
        """Start one, which answers so, in this order: with JSON, with a status, or with pieces."""
        server = self._stack.enter_context(wire_server())
        for answer in answers:
            if isinstance(answer, int):
                server.fail(answer, {"error": "no"})
            else:
                pieces: tuple[Piece, ...] = answer if isinstance(answer, tuple) else (json.dumps(answer).encode(),)
                server.answer(*pieces, content_type="application/json")
        self.urls[setting or f"{name}_url"] = server.url
        return server

    def servers(self) -> list[Server]:
        return list(servers_of(Settings(**self.urls), {}))

    async def found(self) -> str | None:
        found = await first_ready(self.servers())
        return found and f"{found.server.name}:{found.model}"


@pytest.fixture
def machine() -> Iterator[Machine]:
    with ExitStack() as stack:
        yield Machine(stack)


def listed(*names: str, **more: Any) -> dict[str, Any]:
    """A list of models as most servers write it."""
    return {"object": "list", "data": [{"id": name, "object": "model", **more} for name in names]}


def tags(*names: str, **more: Any) -> dict[str, Any]:
    """A list of models as Ollama writes it."""
    return {"models": [{"name": name, "model": name, **more} for name in names]}


@pytest.mark.parametrize(
    ("name", "answers", "paths"),
    [
        ("ollama", [tags("m")], ["/api/tags"]),
        ("llamacpp", [{"status": "ok"}, listed("m")], ["/health", "/v1/models"]),
        ("vllm", [listed("m", owned_by="vllm")], ["/v1/models"]),
        ("lmstudio", [listed("m", type="llm")], ["/api/v0/models"]),
        ("lmstudio", [404, listed("m")], ["/api/v0/models", "/v1/models"]),
    ],
)
async def test_each_kind_is_found(machine: Machine, name: str, answers: list[Any], paths: list[str]) -> None:
    """By `GET` alone, at its own list of models."""
    server = machine.start(name, *answers)

    assert await machine.found() == f"{name}:m"
    assert [(request.method, request.path) for request in server.requests] == [("GET", path) for path in paths]


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("ollama", [tags()]),
        ("ollama", [tags("nomic-embed-text:latest")]),
        ("ollama", [tags("big:cloud", remote_host="https://example.com")]),
        ("lmstudio", [listed("m", type="embeddings")]),
        ("llamacpp", [503]),
        ("vllm", [500]),
        ("vllm", [(b"<html>a page of another program</html>",)]),
        ("vllm", [{"data": "no list"}]),
        ("vllm", [["no", "object"]]),
        ("vllm", [(CUT,)]),
        ("vllm", [(b"{", STALL)]),
        ("vllm", [(STALL,)]),
    ],
)
async def test_what_is_not_ready_is_passed_over(machine: Machine, name: str, answers: list[Any]) -> None:
    """One without a model of this machine that can chat, one that loads, and whatever else stands at its port."""
    machine.start(name, *answers)

    assert await machine.found() is None


async def test_the_first_of_several_is_taken(machine: Machine) -> None:
    """In the order of the list, whoever answers first; the configured server leads."""
    machine.start("vllm", listed("v"))
    machine.start("llamacpp", {}, listed("l"))
    assert await machine.found() == "llamacpp:l"

    server = machine.start("local", listed("c"), setting="base_url")
    machine.urls["base_url"] += "/v1"

    assert await machine.found() == "local:c"
    assert server.requests[0].path == "/v1/models"


async def test_a_loaded_model_leads(machine: Machine) -> None:
    """The others take seconds to load."""
    models = [{"id": "a", "type": "llm", "state": "not-loaded"}, {"id": "b", "type": "vlm", "state": "loaded"}]
    machine.start("lmstudio", {"data": models})

    assert await models_of(machine.servers()[3]) == ["b", "a"]


async def test_all_are_asked_at_once(machine: Machine) -> None:
    """Four that hang cost no more than one."""
    for name in ("ollama", "llamacpp", "vllm", "lmstudio"):
        machine.start(name, (STALL,))
    began = time.monotonic()

    assert await machine.found() is None
    assert time.monotonic() - began < 3 * WITHIN_S


async def test_a_key_is_for_its_own_server(machine: Machine) -> None:
    """No other one sees it."""
    configured = machine.start("local", listed("c"), setting="base_url")
    other = machine.start("vllm", listed("v"))

    found = await first_ready(machine.servers(), {"local": "k"})

    assert isinstance(found, Found)
    assert configured.requests[0].headers["authorization"] == "Bearer k"
    assert "authorization" not in other.requests[0].headers
