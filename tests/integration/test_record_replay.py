"""`peg record` and `peg replay` in processes of their own, through a provider's SDK, with plugins and a store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pegboard_testing.wire_server import WireServer, wire_server

from tests.integration.conftest import MakePlace, Place

STREAMS = Path(__file__).resolve().parents[2] / "plugins_builtin" / "models" / "anthropic" / "tests" / "data"
SECRET = "sk-ant-api03-abcdefghijklmnop"
AGENT = '''
"""An agent whose tool leaves something behind."""

from pathlib import Path

from pegboard import Agent, tool


@tool(effect="unsafe")
def get_weather(city: str, unit: str) -> str:
    """Look out of the window."""
    with Path("looked.txt").open("a") as file:
        file.write("looked\\n")
    return f"sunny in {city}, api_key=very-secret-thing"


clerk = Agent("clerk", tools=[get_weather], instructions="Be kind.")
'''
CONFIG = '[plugins.anthropic]\nbase_url = "{url}"\n[plugins.recovery]\nbackoff_s = 0.05\n'


@pytest.fixture
def place(make_place: MakePlace, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A folder with the agent."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return make_place({"people.py": AGENT})


@pytest.fixture
def wire() -> Iterator[WireServer]:
    """A server that refuses once, asks for a tool, and then answers."""
    with wire_server() as server:
        server.fail(429, {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}})
        server.answer((STREAMS / "tool.sse").read_bytes())
        server.answer((STREAMS / "text.sse").read_bytes())
        yield server


def record(place: Place, wire: WireServer, *options: str) -> tuple[int, str, str]:
    """Record a run of the agent."""
    settings = place.home / "config" / "config.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(CONFIG.format(url=wire.url), encoding="utf-8")
    return place.peg("record", "run.json", "people:clerk", "Weather?", "-m", "claude-sonnet-5-5", *options)


def go_offline(place: Place, wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server, a key, and what the tool left behind."""
    wire.stop()
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    (place.folder / "looked.txt").unlink()


def test_a_recorded_run_is_the_same_offline(place: Place, wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer, tokens, cost and events, after a refusal, a pause and a call of a tool, none of which happens again."""
    status, answer, talk = record(place, wire)
    assert (status, answer) == (0, "Hello from the mock, nice to meet you."), talk
    go_offline(place, wire, monkeypatch)

    status, again, talk = place.peg("replay", "run.json")

    assert (status, again) == (0, answer), talk
    assert not (place.folder / "looked.txt").exists()
    answered = place.json("replay", "run.json")
    assert answered["data"]["equal"]
    assert answered["data"]["run"]["usage"]["requests"] == 2


def test_no_secret_is_in_the_cassette(place: Place, wire: WireServer) -> None:
    """Neither the key of the provider nor what the tool gave away."""
    record(place, wire)

    text = (place.folder / "run.json").read_text(encoding="utf-8")
    assert "sunny in Paris" in text
    assert SECRET not in text
    assert "very-secret-thing" not in text


def test_a_replay_is_not_in_the_store(place: Place, wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the recorded run: it is in the cassette."""
    record(place, wire)
    go_offline(place, wire, monkeypatch)
    place.peg("replay", "run.json")

    assert place.json("runs", "list")["data"]["runs"] == []


def test_an_agent_that_changed_differs(place: Place, wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error with the first difference, as text and as data; the run itself says what was asked instead."""
    record(place, wire)
    go_offline(place, wire, monkeypatch)
    (place.folder / "people.py").write_text(AGENT.replace("Be kind.", "Be terse."), encoding="utf-8")

    status, _, talk = place.peg("replay", "run.json")

    assert status == 1
    assert "error: `run.json`: event " in talk
    assert "peg help replay.differs" in talk
    answered = place.json("replay", "run.json")
    assert answered["error"]["code"] == "replay.differs"
    assert '+ "instructions": "Be terse."' in answered["data"]["run"]["error"]["message"]


def test_a_run_that_failed_is_the_same_again(place: Place, wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails in the same way, and that is what was asked for."""
    wire.answers[:] = []
    wire.fail(401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}})
    status, _, _ = record(place, wire)
    assert status != 0
    wire.stop()
    monkeypatch.delenv("ANTHROPIC_API_KEY")

    status, _, talk = place.peg("replay", "run.json")

    assert status == 0, talk


def test_a_killed_recording_breaks_off(place: Place, wire: WireServer) -> None:
    """What there was is in the file, and a replay of it says that it breaks off."""
    record(place, wire)
    path = place.folder / "run.json"
    cassette: Any = json.loads(path.read_bytes())
    kept = [entry for entry in cassette["entries"] if entry["kind"] not in ("end", "answer")]
    path.write_text(json.dumps({**cassette, "entries": kept}), encoding="utf-8")

    status, _, talk = place.peg("replay", "run.json")

    assert status == 1
    assert "holds the end of no run: its recording broke off" in talk


def test_another_file_is_not_replaced(place: Place) -> None:
    """The name of the cassette was forgotten, and a file of the project stands there."""
    status, _, talk = place.peg("record", "people.py", "people:clerk", "Weather?")

    assert status == 4
    assert "it is not replaced" in talk
    assert (place.folder / "people.py").read_text(encoding="utf-8") == AGENT


def test_a_run_that_cannot_begin_replaces_nothing(place: Place, wire: WireServer) -> None:
    """The cassette of yesterday is still there after a name was mistyped."""
    record(place, wire)
    before = (place.folder / "run.json").read_bytes()
    status, _, talk = place.peg("record", "run.json", "people:clark", "Weather?")

    assert status != 0, talk
    assert (place.folder / "run.json").read_bytes() == before
