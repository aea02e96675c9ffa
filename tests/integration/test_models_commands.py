"""`peg models` with the real SDKs, against a server of this machine that answers as a provider would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pegboard_testing.wire_server import WireServer, wire_server

FAMILY = Path(__file__).resolve().parents[2] / "plugins_builtin" / "models"
NOWHERE = "http://127.0.0.1:1"
SDKS = ("anthropic", "openai", "google.genai")


class Provider(NamedTuple):
    """What differs between providers for somebody who checks a model of theirs."""

    plugin: str
    variable: str
    model: str
    described: Mapping[str, Any]
    """What the server says of the model."""
    listed: Mapping[str, Any]
    stream: Path
    refused: Mapping[str, Any]
    """What the server says of a wrong key."""
    refused_status: int = 401

    @property
    def name(self) -> str:
        """As it is typed."""
        return f"{self.plugin}:{self.model}"


_OPENAI = {"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "openai"}
_CLAUDE = {"id": "claude-sonnet-5-5", "type": "model", "display_name": "Sonnet", "created_at": "2026-01-01T00:00:00Z"}
_GEMINI = {"name": "models/gemini-3-pro", "displayName": "Pro", "supportedGenerationMethods": ["generateContent"]}
PROVIDERS = (
    Provider(
        "anthropic",
        "ANTHROPIC_API_KEY",
        "claude-sonnet-5-5",
        _CLAUDE,
        {"data": [_CLAUDE], "has_more": False, "first_id": "a", "last_id": "a"},
        FAMILY / "anthropic" / "tests" / "data" / "text.sse",
        {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}},
    ),
    Provider(
        "openai",
        "OPENAI_API_KEY",
        "gpt-4o",
        _OPENAI,
        {"object": "list", "data": [_OPENAI]},
        FAMILY / "openai" / "tests" / "data" / "responses" / "text.sse",
        {
            "error": {
                "message": "Incorrect API key provided",
                "type": "invalid_request_error",
                "code": "invalid_api_key",
            }
        },
    ),
    Provider(
        "gemini",
        "GEMINI_API_KEY",
        "gemini-3-pro",
        _GEMINI,
        {"models": [_GEMINI, {"name": "models/embedding-1", "supportedGenerationMethods": ["embedContent"]}]},
        FAMILY / "gemini" / "tests" / "data" / "text.sse",
        {"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}},
        400,
    ),
)
_ALL = [PROVIDERS[0], *(pytest.param(provider, marks=pytest.mark.slow) for provider in PROVIDERS[1:])]
EACH = pytest.mark.parametrize("provider", _ALL, ids=lambda provider: provider.plugin)
"""Each takes a process or two: one provider stands for all, and the sweep walks through the others."""


class Peg:
    """`peg` in a process of its own, with its own home, without keys and without servers of this machine."""

    def __init__(self, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_TOKEN"))}
        nobody = {
            f"PEGBOARD__PLUGINS__LOCAL__{name}_URL": NOWHERE for name in ("OLLAMA", "LLAMACPP", "VLLM", "LMSTUDIO")
        }
        self.environment = {**kept, "PEGBOARD_HOME": str(home), "HOME": str(home), "NO_COLOR": "1", **nobody}

    def key(self, provider: Provider, url: str) -> None:
        """A key, and where the provider is."""
        self.environment[provider.variable] = "sk-very-secret"
        self.environment[f"PEGBOARD__PLUGINS__{provider.plugin.upper()}__BASE_URL"] = url

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._run("-m", "pegboard", *words)

    def json(self, *words: str) -> dict[str, Any]:
        """The one object of `--json`, which holds no key."""
        done = self(*words, "--json")
        assert "sk-very-secret" not in done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def loaded(self, *words: str) -> set[str]:
        """The SDKs that a command has imported."""
        code = (
            "import sys\nfrom click.testing import CliRunner\nfrom pegboard.cli.app import peg\n"
            f"found = CliRunner().invoke(peg, {list(words)!r})\nassert found.exit_code == 0, found.output\n"
            f"print(*(name for name in {SDKS!r} if name in sys.modules))"
        )
        done = self._run("-c", code)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            env=self.environment,
            cwd=self.environment["HOME"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture
def peg(tmp_path: Path) -> Peg:
    return Peg(tmp_path)


@pytest.fixture
def wire() -> Iterator[WireServer]:
    with wire_server() as server:
        yield server


def says(wire: WireServer, body: Mapping[str, Any], status: int = 200) -> None:
    """JSON comes next."""
    wire.answer(json.dumps(body).encode(), status=status, content_type="application/json")


def provider_of(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The entry of a provider in a list."""
    (entry,) = [entry for entry in found["data"]["providers"] if entry["provider"] == name]
    return dict(entry)


# --- list


@EACH
def test_a_provider_without_a_key_says_what_to_type(peg: Peg, provider: Provider) -> None:
    """It is listed with its patterns, and with the variable that is missing."""
    entry = provider_of(peg.json("models", "list"), provider.plugin)

    assert (entry["ready"], entry["setup"]) == ("no", f"export {provider.variable}=…")
    assert f"{provider.plugin}:*" in entry["patterns"]


@EACH
def test_a_key_is_named_by_its_place(peg: Peg, wire: WireServer, provider: Provider) -> None:
    """A provider with a key is ready, `auto` chooses it, and nobody was asked for that."""
    peg.key(provider, wire.url)

    found = peg.json("models", "list")

    assert provider_of(found, provider.plugin)["why"] == f"there is a key at `env:{provider.variable}`"
    assert provider_of(found, provider.plugin)["ready"] == "yes"
    assert provider_of(found, provider.plugin)["models"] == [found["data"]["auto"]["model"]]
    assert found["data"]["auto"]["model"].startswith(f"{provider.plugin}:")
    assert wire.requests == []


def test_a_list_imports_no_sdk(peg: Peg, wire: WireServer) -> None:
    """Not even where there are keys."""
    for provider in PROVIDERS:
        peg.key(provider, wire.url)

    assert peg.loaded("models", "list") == set()


@EACH
def test_remote_lists_what_the_key_may_use(peg: Peg, wire: WireServer, provider: Provider) -> None:
    """Through the SDK of that provider alone; what cannot chat is left out."""
    peg.key(provider, wire.url)
    says(wire, provider.listed)

    entry = provider_of(peg.json("models", "list", "--remote"), provider.plugin)

    assert (entry["models"], entry["source"]) == ([provider.name], "provider")
    assert {request.method for request in wire.requests} == {"GET"}


def test_remote_imports_the_sdk_of_those_with_a_key(peg: Peg, wire: WireServer) -> None:
    """And no other provider's."""
    anthropic = PROVIDERS[0]
    peg.key(anthropic, wire.url)
    says(wire, anthropic.listed)

    assert peg.loaded("models", "list", "--remote") == {"anthropic"}


def test_remote_goes_on_after_a_failure(peg: Peg, wire: WireServer) -> None:
    """The provider that failed says why; the others are listed."""
    anthropic, openai, _ = PROVIDERS
    peg.key(anthropic, wire.url)
    peg.key(openai, NOWHERE)
    says(wire, anthropic.listed)

    found = peg.json("models", "list", "--remote")

    assert provider_of(found, "anthropic")["models"] == [anthropic.name]
    assert (provider_of(found, "openai")["ready"], provider_of(found, "openai")["code"]) == ("no", "model.connection")


@EACH
def test_remote_takes_nothing_else_for_a_list(peg: Peg, wire: WireServer, provider: Provider) -> None:
    """A gateway that answers with some other JSON has no models."""
    peg.key(provider, wire.url)
    says(wire, {"a": 1})

    entry = provider_of(peg.json("models", "list", "--remote"), provider.plugin)

    assert (entry["models"], entry["code"]) == ([], "model.stream_malformed")


def test_remote_ends_with_a_list_that_does_not(peg: Peg, wire: WireServer) -> None:
    """A server may say for ever that there is more; what came is listed, and that it was cut."""
    anthropic = PROVIDERS[0]
    peg.key(anthropic, wire.url)
    many = [{**_CLAUDE, "id": f"m{number}"} for number in range(3_000)]
    says(wire, {"data": many, "has_more": True, "first_id": "a", "last_id": "a"})

    entry = provider_of(peg.json("models", "list", "--remote"), "anthropic")

    assert len(entry["models"]) == 5_000
    assert "cut after 5000 models" in entry["why"]


def test_a_server_of_this_machine_is_found(peg: Peg, wire: WireServer) -> None:
    """With its models; it is asked with `GET` only."""
    peg.environment["PEGBOARD__PLUGINS__LOCAL__OLLAMA_URL"] = wire.url
    says(wire, {"models": [{"name": "qwen3:8b"}]})

    found = peg.json("models", "list")

    assert provider_of(found, "ollama")["models"] == ["ollama:qwen3:8b"]
    assert found["data"]["auto"]["model"] == "ollama:qwen3:8b"
    assert "is the first server that is ready" in found["data"]["auto"]["why"]
    assert {request.method for request in wire.requests} == {"GET"}


def test_a_server_elsewhere_is_not_asked(peg: Peg) -> None:
    """Only `--remote` leaves this machine."""
    peg.environment["PEGBOARD__PLUGINS__LOCAL__OLLAMA_URL"] = "http://models.example:11434"

    entry = provider_of(peg.json("models", "list"), "ollama")

    assert (entry["ready"], entry["setup"]) == ("unknown", "peg models list --remote")


def test_aliases_and_the_default_say_where_they_are_set(peg: Peg, tmp_path: Path) -> None:
    """With file and line."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text('model = "fast"\n[models.aliases]\nfast = "scripted:demo"\n')

    data = peg.json("models", "list")["data"]

    assert data["default"]["name"] == "fast"
    assert data["default"]["set_in"].endswith("config.toml:1")
    assert data["aliases"][0]["model"] == "scripted:demo"
    assert data["aliases"][0]["set_in"].endswith("config.toml:3")


# --- check


@EACH
def test_a_model_that_can_be_used(peg: Peg, wire: WireServer, provider: Provider) -> None:
    """Plugin, key by its place, server, capabilities with their source, price with date and source."""
    peg.key(provider, wire.url)
    says(wire, provider.described)

    found = peg.json("models", "check", provider.name)

    said = {step["step"]: step for step in found["data"]["steps"]}
    assert (found["ok"], said["server"]["status"]) == (True, "ok")
    assert provider.plugin in said["plugin"]["what"]
    assert said["access"]["what"] == f"there is a key at `env:{provider.variable}`"
    assert found["data"]["capabilities"]["source"] == "declared"
    assert len(wire.requests) == 1


@EACH
def test_a_check_asks_for_one_word(peg: Peg, wire: WireServer, provider: Provider) -> None:
    """`--ask` says before that it costs money, and afterwards what came: text, tokens, cost, time."""
    peg.key(provider, wire.url)
    says(wire, provider.described)
    wire.answer(provider.stream.read_bytes())

    done = peg("models", "check", provider.name, "--ask", "--json")

    answer = json.loads(done.stdout)["data"]["answer"]
    assert "cost" in done.stderr
    assert answer["text"]
    assert answer["usage"]["output_tokens"] > 0
    assert answer["first_token_s"] >= 0
    assert len(wire.requests) == 2


def test_a_price_has_a_date_and_a_source(peg: Peg, wire: WireServer) -> None:
    """Of those that `pegboard-prices` knows; of others it is unknown, and never 0."""
    openai = PROVIDERS[1]
    peg.key(openai, wire.url)
    says(wire, openai.described)

    price = peg.json("models", "check", openai.name)["data"]["price"]

    assert price["source"].startswith("genai-prices ")
    assert price["dated"] > "2026"
    assert price["price"]["input"] > 0
    assert peg.json("models", "check", "openai:gpt-of-the-future")["data"]["price"] is None


@EACH
def test_no_key(peg: Peg, provider: Provider) -> None:
    """Exit code 5, and the hint is what to type."""
    done = peg("models", "check", provider.name)

    assert done.returncode == 5
    assert f"export {provider.variable}=…" in done.stderr


@EACH
def test_a_key_that_cannot_be_sent(peg: Peg, wire: WireServer, provider: Provider) -> None:
    """It is told before anything is sent, with what to type, and not shown; a list says so too."""
    peg.key(provider, wire.url)
    peg.environment[provider.variable] = "sk-very\nsk-very-secret"

    error = peg.json("models", "check", provider.name)["error"]
    entry = provider_of(peg.json("models", "list"), provider.plugin)

    assert (error["code"], error["exit_code"], error["hint"]) == (
        "credentials.invalid", 5, f"export {provider.variable}=…",
    )  # fmt: skip
    assert (entry["ready"], entry["code"], wire.requests) == ("no", "credentials.invalid", [])


@EACH
def test_a_wrong_key(peg: Peg, wire: WireServer, provider: Provider) -> None:
    """Exit code 5; it was asked once."""
    peg.key(provider, wire.url)
    says(wire, provider.refused, provider.refused_status)

    error = peg.json("models", "check", provider.name)["error"]

    assert (error["code"], error["exit_code"], len(wire.requests)) == ("model.auth", 5, 1)


@EACH
def test_a_gateway_that_describes_no_model(peg: Peg, wire: WireServer, provider: Provider) -> None:
    """It may answer all the same: only `--ask` tells, and asks."""
    peg.key(provider, wire.url)
    says(wire, {"error": {"code": 404, "message": "not found", "type": "not_found_error"}}, 404)

    unsure = peg.json("models", "check", provider.name)
    wire.answer(provider.stream.read_bytes())
    asked = peg.json("models", "check", provider.name, "--ask")

    (server,) = [step for step in unsure["data"]["steps"] if step["step"] == "server"]
    assert (unsure["ok"], server["status"]) == (True, "unknown")
    assert "only `--ask` tells" in server["what"]
    assert asked["data"]["answer"]["text"]


@EACH
def test_a_model_that_nobody_has(peg: Peg, wire: WireServer, provider: Provider) -> None:
    """Exit code 4, and the message says who said so."""
    peg.key(provider, wire.url)
    says(wire, {"error": {"code": 404, "message": "no such thing", "type": "not_found_error"}}, 404)

    error = peg.json("models", "check", provider.name, "--ask")["error"]

    assert (error["code"], error["exit_code"]) == ("model.not_offered", 4)
    assert error["message"] == f"{provider.plugin} said (HTTP 404): no such thing"


@EACH
@pytest.mark.parametrize("url", [NOWHERE, "http://no-such-host.invalid"], ids=["down", "dns"])
def test_a_server_that_is_not_there(peg: Peg, provider: Provider, url: str) -> None:
    """Exit code 8, whether nobody listens or nobody knows the name."""
    peg.key(provider, url)

    error = peg.json("models", "check", provider.name)["error"]

    assert (error["code"], error["exit_code"]) == ("model.connection", 8)


@EACH
@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html>hello</html>", "text/html"), (b"{]", "application/json"), (b'{"a": 1}', "application/json")],
    ids=["html", "broken", "other"],
)
def test_a_server_that_talks_of_something_else(
    peg: Peg, wire: WireServer, provider: Provider, body: bytes, kind: str
) -> None:
    """It is a fault of the protocol, exit code 8, and not a model."""
    peg.key(provider, wire.url)
    wire.answer(body, content_type=kind)

    error = peg.json("models", "check", provider.name)["error"]

    assert (error["code"], error["exit_code"]) == ("model.stream_malformed", 8)


def test_a_local_server_that_lacks_the_model(peg: Peg, wire: WireServer) -> None:
    """Exit code 4; the error says what it has, and the hint how to load it."""
    peg.environment["PEGBOARD__PLUGINS__LOCAL__OLLAMA_URL"] = wire.url
    says(wire, {"object": "list", "data": [{"id": "qwen3:latest", "object": "model"}]})

    assert peg.json("models", "check", "ollama:qwen3")["ok"]
    error = peg.json("models", "check", "ollama:llama9")["error"]
    assert (error["code"], error["exit_code"], error["hint"]) == ("model.not_offered", 4, "ollama pull llama9")


def test_a_local_server_that_is_down(peg: Peg) -> None:
    """Exit code 8, and the hint starts it."""
    error = peg.json("models", "check", "ollama:qwen3")["error"]

    assert (error["exit_code"], error["hint"]) == (8, "ollama serve")


@pytest.mark.parametrize("provider", PROVIDERS[:2], ids=lambda provider: provider.plugin)
def test_an_address_that_is_none(peg: Peg, provider: Provider) -> None:
    """It is told as a fault of the model, and not as one of ours."""
    peg.key(provider, "no address")

    error = peg.json("models", "check", provider.name)["error"]

    assert error["code"].startswith("model.")


def test_without_a_name_the_default_is_checked(peg: Peg) -> None:
    """The setting `model`; and where there is none, what `auto` picks, whose error is that of a run."""
    assert peg.json("models", "check")["error"]["code"] == "model.none"

    peg.environment["PEGBOARD__MODEL"] = "scripted:demo"

    found = peg.json("models", "check")
    assert (found["data"]["model"], found["ok"]) == ("scripted:demo", True)
