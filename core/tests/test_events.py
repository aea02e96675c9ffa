"""The one log of events: envelope, versions, JSON, and the light records behind it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pegboard import tool
from pegboard.errors import EventError, JournalVersionError
from pegboard.events import (
    BOARD_EVENTS_KEPT,
    EVENT_KINDS,
    EVENT_VERSION,
    BoardLog,
    Data,
    Event,
    EventLog,
    PhaseLeft,
    StepDone,
    StepStarted,
    Tokens,
    event_from_json,
    event_to_json,
)
from pegboard.types import JsonObject
from pegboard_replay import ScriptedModel, call

if TYPE_CHECKING:
    from core.tests.conftest import Bench

LOOP: list[Any] = []
LOOP.append(LOOP)
SOURCES = Path(__file__).parents[1] / "src" / "pegboard"


def event(**data: Any) -> JsonObject:
    return {"v": 1, "id": "r.0", "run": "r", "seq": 0, "kind": "run.started", "at": 1.0, "data": data}


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_every_kind_survives_json(kind: str) -> None:
    """An event is the same after a round trip, whatever its data holds."""
    data = {"text": "ä€😀", "number": 1.5, "none": None, "list": [1, {"a": True}]}
    log = EventLog("r", "parent", "agent")
    log.append(kind, 1.25, data, "plugin")
    line = json.dumps(event_to_json(log[0]))

    assert event_from_json(json.loads(line)) == log[0]
    assert (log[0].v, log[0].parent, log[0].agent, log[0].plugin) == (EVENT_VERSION, "parent", "agent", "plugin")


@pytest.mark.parametrize(
    ("light", "data"),
    [
        (PhaseLeft("execution", "done", 1.5), {"phase": "execution", "outcome": "done", "duration_ms": 1.5}),
        (StepStarted("model.request", "model.request#1", 1, model="m"), {"attempt": 1, "model": "m"}),
        (StepDone("op", "op#1", 0.5, tokens=None), {"duration_ms": 0.5, "tokens": None}),
    ],
    ids=["phase", "started", "done"],
)
def test_data_that_is_held_in_a_struct_is_read_as_json(light: Data, data: JsonObject) -> None:
    """Readers see a plain dict, in which what is unknown stands as `None` and what was not said is missing."""
    log = EventLog("r")
    log.append("phase.left", 1.0, light)
    read = {key: value for key, value in log[0].data.items() if key not in ("op", "step")}

    assert read == data
    assert event_from_json(event_to_json(log[0])) == log[0]


def test_core_writes_only_kinds_that_are_listed() -> None:
    """Every kind that the source emits stands in the table, and is dotted."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES.glob("*.py"))
    written = set(re.findall(r'(?:emit|record|_board_event)\(\s*"([a-z._]+)"', text))

    assert written
    assert written <= set(EVENT_KINDS)
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", kind) for kind in EVENT_KINDS)


def test_what_is_not_json_is_shown_as_text() -> None:
    """A log never fails over what a plugin put into it."""
    log = EventLog("r")
    log.append("x.y", 0.0, {"thing": object})

    assert event_to_json(log[0])["data"]["thing"] == repr(object)


@pytest.mark.parametrize("kind", ["run.finished", "effect.done", "found", "my-plugin.", "my plugin.found", "", 3])
async def test_a_plugin_writes_only_kinds_of_its_own(bench: Bench, kind: Any) -> None:
    """What core says happened in a run is what readers of the log rely on."""
    run = bench.prepare(ScriptedModel(["ok"]))

    with pytest.raises(EventError) as caught:
        run.emit(kind, {})

    assert (caught.value.code, caught.value.hint) == ("event.invalid", "peg help event.invalid")
    assert list(run.journal.events) == []


@pytest.mark.parametrize("data", [{"thing": object()}, {(1, 2): 3}, [1], "text", None, {"loop": LOOP}])
async def test_what_a_plugin_writes_is_json(bench: Bench, data: Any) -> None:
    """A mistake is told to the plugin that made it, and not to the store much later."""
    with pytest.raises(EventError, match=r"the data of event `mine\.found`"):
        bench.prepare(ScriptedModel(["ok"])).emit("mine.found", data)


@pytest.mark.parametrize("kind", ["mine.found", "git/github.pull-request", "workflow.node"])
async def test_what_a_plugin_wrote_reads_the_same_before_and_after_a_store(bench: Bench, kind: str) -> None:
    """Later changes of the plugin's own object do not show, and values become their JSON at once."""
    run = bench.prepare(ScriptedModel(["ok"]))
    data = {"files": ["a\udcff"], "share": float("nan"), "usage": Tokens(1, None), 3: (4,)}
    run.emit(kind, data)  # type: ignore[arg-type]  # a plugin is not held to types
    data.clear()

    log = run.journal.events
    assert (log[0].kind, log[0].data) == (
        kind,
        {"files": ["a\\udcff"], "share": None, "usage": {"input_tokens": 1, "output_tokens": None}, "3": [4]},
    )
    assert event_from_json(json.loads(json.dumps(event_to_json(log[0])))) == log[0]


def test_a_board_keeps_its_newest_events() -> None:
    """A board that lives for weeks does not fill the memory, and says how much it forgot."""
    log = BoardLog()
    for n in range(BOARD_EVENTS_KEPT + 3):
        log.append("plugin.state", float(n), {"n": n}, "plugin")

    assert (len(log), log.dropped) == (BOARD_EVENTS_KEPT, 3)
    assert (log[0].data, log[-1].seq, log.last().id) == ({"n": 3}, BOARD_EVENTS_KEPT + 2, f"board.{log[-1].seq}")
    assert [event.seq for event in log[:2]] == [event.seq for event in log][:2] == [3, 4]


async def test_a_watcher_that_fails_is_not_asked_for_the_rest_of_the_run(bench: Bench) -> None:
    """The breaker holds within a run too, not only from the next one on."""
    bench.dispatcher.strict = False
    seen: list[str] = []

    @tool(effect="pure", inline=True)
    def add(a: int) -> int:
        return a

    def on_event(event: Event) -> None:
        seen.append(event.kind)
        raise ValueError("broken")

    bench.plug(on_event=on_event)
    result = await bench.run(ScriptedModel([*[call("add", a=n) for n in range(6)], "done"]), tools=[add])

    assert len(seen) < len(result.journal.events) / 2


# --- versions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [EVENT_VERSION + 1, "1", None])
def test_a_newer_event_is_refused(version: Any) -> None:
    """The message names its version and says what to do."""
    with pytest.raises(JournalVersionError, match=rf"version {version}; this pegboard reads up to {EVENT_VERSION}"):
        event_from_json({**event(), "v": version})


def test_an_older_event_is_brought_up_to_date() -> None:
    """Upcasters lead from version to version; each sees what the one before it made."""

    def first(data: JsonObject) -> JsonObject:
        assert data["v"] == -1
        return {**data, "data": {"was": data["data"]["old"]}}

    def second(data: JsonObject) -> JsonObject:
        assert data["v"] == 0
        return {**data, "data": {"is": data["data"]["was"]}}

    found = event_from_json({**event(old=7), "v": -1}, {-1: first, 0: second})

    assert (found.v, found.data) == (EVENT_VERSION, {"is": 7})


def test_an_event_nobody_can_read_is_refused() -> None:
    """Without an upcaster there is no guessing."""
    with pytest.raises(JournalVersionError, match="no way to read events of version 0"):
        event_from_json({**event(), "v": 0})
    with pytest.raises(JournalVersionError):
        event_from_json({key: value for key, value in event().items() if key != "v"})


def test_fields_of_the_future_are_ignored() -> None:
    """A new optional field does not need a new version."""
    assert event_from_json({**event(), "more": 1}) == msgspec.convert(event(), Event)


# --- the log -----------------------------------------------------------------------------------------------------


def test_a_log_is_read_like_a_list() -> None:
    """Indexes, slices and iteration give envelopes, each made once."""
    log = EventLog("r")
    for n in range(3):
        log.append("x.y", float(n), {"n": n})

    assert (len(log), log[-1].seq, log[0].id) == (3, 2, "r.0")
    assert [e.data["n"] for e in log[1:]] == [1, 2]
    assert [e.seq for e in log] == [0, 1, 2]
    assert log.last() is log[2]
    for index in (3, -4):
        with pytest.raises(IndexError):
            log[index]


def test_a_log_goes_on_after_what_was_stored() -> None:
    """Restored events keep their envelopes, and numbers go on."""
    before = EventLog("r")
    before.append("x.y", 0.0, {"n": 0})
    log = EventLog("r")
    log.restore(list(before))
    log.append("x.y", 1.0, {"n": 1})

    assert log[0] is before[0]
    assert [e.seq for e in log] == [0, 1]


def test_redacted_data_takes_the_place_of_the_other() -> None:
    """It is gone from the record and from the envelope."""
    log = EventLog("r")
    log.append("x.y", 0.0, {"key": "hunter2"})
    replaced = log.replace_data(0, {"key": "***"})

    assert replaced == log[0]
    assert "hunter2" not in repr((log.records, list(log)))


async def test_redaction_applies_before_watchers_see_a_run(bench: Bench) -> None:
    """In the events of a run, at its watchers and in its result's log there is only the redacted form."""
    seen: list[Event] = []

    def redact(value: Any, sink: str) -> Any:
        text = json.dumps(value).replace("hunter2", "***")
        return json.loads(text)

    def on_event(event: Event) -> None:
        seen.append(event)

    bench.plug(redact=redact, on_event=on_event)
    result = await bench.run(ScriptedModel(["ok"]), "my key is hunter2")

    assert "hunter2" not in repr([seen, list(result.events)])
    assert seen == list(result.events)
    assert bench.events(result, "run.started")[0]["input"] == "my key is ***"


async def test_a_watcher_sees_every_event_in_order(bench: Bench) -> None:
    """Also those of steps; it may say which kinds it wants."""

    @tool(effect="pure", inline=True)
    def add(a: int) -> int:
        """Add."""
        return a

    seen: list[str] = []

    def on_event(event: Event) -> None:
        seen.append(event.kind)

    bench.plug(on_event=on_event)
    result = await bench.run(ScriptedModel([call("add", a=1), "ok"]), tools=[add])

    assert seen == [event.kind for event in result.events]


async def test_a_watcher_that_fails_disturbs_nobody(make_bench: type[Bench]) -> None:
    """The others see everything, and the run goes on."""
    bench = make_bench(strict=False)
    seen: list[int] = []

    def broken(event: Event) -> None:
        raise RuntimeError("broken")

    def on_event(event: Event) -> None:
        seen.append(event.seq)

    bench.plug("a", on_event=broken)
    bench.plug("b", on_event=on_event)
    result = await bench.run(ScriptedModel(["ok"]))

    assert seen == list(range(len(result.events)))
    assert {fault.plugin for fault in bench.faults} == {"a"}


async def test_a_watcher_that_goes_is_not_told_any_more(bench: Bench) -> None:
    """Whoever watches now is told, and not who did when the run began."""
    seen: list[str] = []

    def on_event(event: Event) -> None:
        seen.append(event.kind)
        if event.kind == "step.started":
            bench.dispatcher.unregister("watcher")

    bench.plug("watcher", on_event=on_event)
    await bench.run(ScriptedModel(["ok"]))

    assert seen[-1] == "step.started"
