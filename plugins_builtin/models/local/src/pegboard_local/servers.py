"""The servers that are known by name: where each listens, how it lists its models, what starts it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from pegboard_local.config import Settings


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of server."""

    name: str
    """The provider, as in `ollama:MODEL`."""
    title: str
    port: int
    variable: str | None = None
    """Of the environment, where the server's own tools look for its address."""
    ready: str | None = None
    """What answers 200 only when a model is loaded, where its list does not tell."""
    models: str = "/v1/models"
    """Where its models are listed."""
    lists_all: bool = True
    """Whether it refuses a name that it does not list."""
    start: str | None = None
    """What to type where it does not answer."""
    load: str | None = None
    """What to type where it lacks a model; `{}` is its name."""


PRESETS: Final = (
    Preset(
        name="ollama",
        title="Ollama",
        port=11434,
        variable="OLLAMA_HOST",
        models="/api/tags",
        start="ollama serve",
        load="ollama pull {}",
    ),
    Preset(
        name="llamacpp",
        title="llama.cpp",
        port=8080,
        ready="/health",
        lists_all=False,
        start="llama-server -m MODEL.gguf",
    ),
    Preset(name="vllm", title="vLLM", port=8000, start="vllm serve MODEL", load="vllm serve {}"),
    Preset(
        name="lmstudio",
        title="LM Studio",
        port=1234,
        variable="LMSTUDIO_API_URL",
        models="/api/v0/models",
        start="lms server start",
        load="lms get {}",
    ),
)
CONFIGURED: Final = Preset(name="local", title="the configured server", port=80, lists_all=False)


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One server, at its address."""

    preset: Preset
    url: str
    """With the path of Chat Completions, mostly `/v1`."""

    @property
    def name(self) -> str:
        """The provider."""
        return self.preset.name

    @property
    def host(self) -> str:
        """Host and port, for people."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")

    def beside(self, path: str) -> str:
        """The address of a path of its own, which stands beside `/v1`."""
        if self.preset is CONFIGURED:
            return self.url + path.removeprefix("/v1")
        return self.url.removesuffix("/v1") + path


def servers_of(settings: Settings, environment: Mapping[str, str]) -> Iterator[Server]:
    """The configured server, where there is one, and every known kind."""
    if settings.base_url:
        yield Server(preset=CONFIGURED, url=address_of(settings.base_url, CONFIGURED.port, path=""))
    for preset in PRESETS:
        given = getattr(settings, f"{preset.name}_url") or environment.get(preset.variable or "")
        yield Server(preset=preset, url=address_of(given or "", preset.port))


def address_of(given: str, port: int, *, path: str = "/v1") -> str:
    """A whole address of what people write: `host`, `:port`, `host:port`, with or without a scheme or a path."""
    has_scheme = "://" in given
    parts = urlsplit(given if has_scheme else f"http://{given}")
    host = parts.hostname or "127.0.0.1"
    if host in ("0.0.0.0", "::"):  # where a server listens; nobody can connect to it
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    netloc = f"[{host}]" if ":" in host else host
    number = parts.port or (None if has_scheme else port)
    netloc += f":{number}" if number else ""
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/") or path, "", ""))


def is_loopback(host: str) -> bool:
    """Whether an address is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


__all__ = ["CONFIGURED", "PRESETS", "Preset", "Server", "address_of", "is_loopback", "servers_of"]
