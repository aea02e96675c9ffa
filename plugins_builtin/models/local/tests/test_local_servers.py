"""Where servers are, as people write it."""

from __future__ import annotations

import pytest
from pegboard_local.config import Settings
from pegboard_local.servers import address_of, servers_of


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:9", "http://127.0.0.1:9/v1"),
        (":9", "http://127.0.0.1:9/v1"),
        ("host", "http://host:11434/v1"),
        ("host:9", "http://host:9/v1"),
        ("http://host:9/", "http://host:9/v1"),
        ("https://host", "https://host/v1"),
        ("http://host:9/v1/", "http://host:9/v1"),
        ("https://host/ollama/v1", "https://host/ollama/v1"),
        ("http://[::1]:9", "http://[::1]:9/v1"),
    ],
)
def test_an_address_may_be_short(given: str, address: str) -> None:
    """Host, port, scheme and path are added; where a server listens to everybody, this machine is meant."""
    assert address_of(given, 11434) == address


def test_settings_lead_the_environment() -> None:
    """And a server that nobody mentions is at its usual port."""
    environment = {"OLLAMA_HOST": "host:1", "LMSTUDIO_API_URL": "http://host:2"}
    found = {server.name: server.url for server in servers_of(Settings(ollama_url="http://host:3"), environment)}

    assert found == {
        "ollama": "http://host:3/v1",
        "llamacpp": "http://127.0.0.1:8080/v1",
        "vllm": "http://127.0.0.1:8000/v1",
        "lmstudio": "http://host:2/v1",
    }


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://localhost:1/v1", "http://[::1]:1/v1"])
def test_this_machine_is_known(url: str) -> None:
    """By number and by name."""
    assert next(servers_of(Settings(base_url=url), {})).is_loopback
    assert not next(servers_of(Settings(base_url="http://host.example/v1"), {})).is_loopback
