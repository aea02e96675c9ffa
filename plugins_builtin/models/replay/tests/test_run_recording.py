"""`Recording` and `Replay`: whole runs, with tools, child runs, faults and pauses, recorded and played back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pegboard import Agent, Message, Pegboard, RunResult, hookimpl, tool
from pegboard.errors import ModelRateLimitedError
from pegboard.events import event_to_json
from pegboard.interfaces import RunContext, ToolContext
from pegboard.model import ModelBase
from pegboard.types import (
    AgentCall,
    Approval,
    ApprovalRequest,
    Ask,
    Failure,
    Fallback,
    ModelRequest,
    Retry,
    StreamEvent,
    ToolSpec,
    Usage,
)
from pegboard_replay import CassetteError, Recording, Replay, ScriptedModel, call, thinking, turn
from pegboard_replay.forms import error_from_json, error_to_json
from pegboard_replay.requests import scrub

PEOPLE = {"ann": 3, "bob": 2, "cid": 1}


class Effects:
    """Tools that leave something behind, and answer in another order than they are called."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def tools(self) -> list[Any]:
        @tool(effect="unsafe")
        async def greet(name: str) -> str:
            """Greet a person."""
            await asyncio.sleep(PEOPLE[name] / 200)
            self.done.append(name)
            return f"{name} smiles"

        @tool(effect="pure", inline=True)
        def add(a: int, b: int) -> int:
            """Add."""
            self.done.append("add")
            return a + b

        @tool(effect="pure")
        def read() -> str:
            """Read something long."""
            self.done.append("read")
            return "word " * 20_000

        @tool(effect="pure")
        def fail() -> str:
            """Fail."""
            self.done.append("fail")
            raise ValueError("no such thing")

        @tool(effect="pure")
        async def wave(name: str) -> str:
            """Wave at a person; several at once."""
            await asyncio.sleep(PEOPLE[name] / 200)
            self.done.append(name)
            return f"{name} waves back"

        return [greet, add, read, fail, wave]


Script = Callable[[], Sequence[Any]]


def scripted(script: Sequence[Any], **options: Any) -> Callable[[], Agent]:
    """What makes an agent anew, with a model that has not played yet."""
    return lambda: Agent("clerk", model=ScriptedModel(list(script), split=3), **options)


async def ran(
    agent: Agent, around: Recording | Replay, *, plugins: Sequence[Any] = (), agents: Sequence[Agent] = ()
) -> tuple[RunResult, list[tuple[str, str]]]:
    """A streamed run, and its stream without the last event."""
    shown: list[tuple[str, str]] = []
    async with Pegboard(plugins=[around, *plugins], agents=agents, clock=around.clock) as board:
        async for event in board.stream(agent, "Go.", run="r1"):
            if event.is_final:
                return event.content, shown
            shown.append(as_shown(event))
    raise AssertionError("it did not end")


def as_shown(event: StreamEvent) -> tuple[str, str]:
    return event.type, repr((event.content, event.attempt, event.data))


def plain(result: RunResult) -> str:
    """Everything that there is of a result, with its messages and events byte for byte."""
    events = [event_to_json(event) for event in result.events]
    for event in events:
        event["data"].pop("where", None)  # in the code of a tool, which is not executed in a replay
    messages = msgspec.to_builtins(list(result.messages), enc_hook=repr)
    return json.dumps({**result.to_json(), "messages": messages, "events": events})


async def same(
    path: Path,
    agent: Callable[[], Agent],
    *,
    plugins: Callable[[], Sequence[Any]] = tuple,
    agents: Callable[[], Sequence[Agent]] = tuple,
) -> RunResult:
    """Record a run, replay it with a model that has nothing to say, and compare all that can be seen of both."""
    recorded, first = await ran(agent(), Recording(path), plugins=plugins(), agents=agents())
    replay = Replay(path)

    replayed, second = await asyncio.wait_for(ran(agent(), replay, plugins=plugins(), agents=agents()), 30)

    assert replay.difference() is None
    assert second == first
    assert plain(replayed) == plain(recorded)
    return replayed


async def test_a_run_with_tools_is_the_same_again(tmp_path: Path) -> None:
    """Text, thinking, pieces, usage, calls of tools with and without effects, a long result that is offloaded."""
    effects = Effects()
    script = [
        turn(thinking("hm"), "I add.", call("add", a=1, b=2)),
        call("greet", name="bob"),
        call("read"),
        call("fail"),
        "All is done.",
    ]

    result = await same(tmp_path / "run.json", scripted(script, tools=effects.tools()))

    assert result.output == "All is done."


async def test_no_tool_is_executed_and_no_model_asked(tmp_path: Path) -> None:
    """What a tool leaves behind is there once, after the recording."""
    effects = Effects()
    model = ScriptedModel([call("greet", name="bob"), "done"])
    await ran(Agent("clerk", model=model, tools=effects.tools()), Recording(tmp_path / "run.json"))
    silent = ScriptedModel([])

    result, _ = await ran(Agent("clerk", model=silent, tools=effects.tools()), Replay(tmp_path / "run.json"))

    assert (result.output, effects.done, silent.requests) == ("done", ["bob"], [])


async def test_parallel_calls_end_in_the_order_of_the_recording(tmp_path: Path) -> None:
    """The first call ends last; the events of the replay say so too."""
    effects = Effects()
    script = [turn(*(call("wave", name=name) for name in PEOPLE)), "done"]

    result = await same(tmp_path / "run.json", scripted(script, tools=effects.tools()))

    ended = [event.data["step"] for event in result.events if event.kind == "step.done" and "name" in event.data]
    assert ended == ["tool.call:wave#3", "tool.call:wave#2", "tool.call:wave#1"]
    assert effects.done == ["cid", "bob", "ann"]


class Waiting(ScriptedModel):
    """A model that takes its time."""

    def __init__(self, script: Sequence[Any], wait_s: float, name: str) -> None:
        super().__init__(script, name=name)
        self._wait_s = wait_s

    async def stream(self, request: Any) -> Any:
        await asyncio.sleep(self._wait_s)
        async for chunk in super().stream(request):
            yield chunk


class Boss(Agent):
    """Asks all of its people at once."""

    async def execute(self, ctx: RunContext, state: Any, turns: Any) -> Any:
        results = await asyncio.gather(*(ctx.call_agent(name, "How are you?") for name in PEOPLE))
        return msgspec.structs.replace(state, output=[result.output for result in results])


def people() -> list[Agent]:
    return [Agent(name, model=Waiting([f"{name} is well"], s / 100, name)) for name, s in PEOPLE.items()]


async def test_parallel_child_runs_are_the_same_again(tmp_path: Path) -> None:
    """Each with its own model; the events of all of them together are in the same order."""
    result = await same(tmp_path / "run.json", lambda: Boss("boss"), agents=people)

    assert result.output == ["ann is well", "bob is well", "cid is well"]
    assert result.usage.requests == 3


def asking() -> list[Any]:
    @tool(effect="pure")
    async def ask_all(ctx: ToolContext) -> str:
        """Ask all people, the first one twice."""
        results = await asyncio.gather(*(ctx.run.call_agent(name, "How are you?") for name in PEOPLE))
        ctx.run.emit("poll.done", {"asked": len(results)})
        again = await ctx.run.call_agent("ann", "Really?")
        return f"{len(results)} are well, {again.output}"

    return [ask_all]


async def test_child_runs_of_a_tool_are_the_same_again(tmp_path: Path) -> None:
    """The tool is not executed, and what it began is: with what its child runs used, and the events that it wrote."""

    def twice() -> list[Agent]:
        return [Agent(n, model=Waiting([f"{n} is well", "indeed"], s / 100, n)) for n, s in PEOPLE.items()]

    result = await same(tmp_path / "run.json", scripted([call("ask_all"), "done"], tools=asking()), agents=twice)

    assert result.usage.requests == 6
    assert "poll.done" in [event.kind for event in result.events]


PAUSE_S = 0.123


class Patient:
    """Tries again after a pause."""

    plugin_id = "patient"

    @hookimpl
    def recover(self, ctx: RunContext, failure: Failure) -> Retry:
        return Retry(delay_s=PAUSE_S)


async def test_a_fault_and_the_pause_after_it_are_the_same_again(tmp_path: Path) -> None:
    """The fault comes again, with its text before it, and what was billed; the pause is in the events."""
    fault = ModelRateLimitedError("slow down", retry_after_s=1, status=429, usage=Usage(7, 3, source="provider"))

    result = await same(tmp_path / "run.json", scripted([turn("half", fault), "whole"]), plugins=lambda: [Patient()])

    assert result.output == "whole"
    assert result.events[-1].at - result.events[0].at >= PAUSE_S


async def test_a_fault_that_asks_for_no_pause_is_the_same_again(tmp_path: Path) -> None:
    """0 is an answer of the provider, and another one than none."""
    fault = ModelRateLimitedError("slow down", retry_after_s=0.0)

    assert getattr(error_from_json(error_to_json(fault)), "retry_after_s", None) == 0.0


async def test_a_pause_that_was_not_recorded_passes(tmp_path: Path) -> None:
    """By the clock too, so that nobody waits for ever for a time that never comes."""
    path = tmp_path / "run.json"
    recording = Recording(path)
    async with Pegboard(plugins=[recording], clock=recording.clock) as board:
        await board.run(Agent("a", model=ScriptedModel(["done"])), "go", run="r1")
    clock = Replay(path).clock
    before = clock.monotonic()
    await clock.sleep(0.01)

    assert clock.monotonic() - before == pytest.approx(0.01)


async def test_a_pause_takes_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a timer of its length in the replay."""
    path = tmp_path / "run.json"
    fault = ModelRateLimitedError("slow down", status=429)
    await ran(scripted([fault, "whole"])(), Recording(path), plugins=[Patient()])
    loop = asyncio.get_running_loop()
    call_later, delays = loop.call_later, []

    def noted(delay: float, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        delays.append(delay)
        return call_later(delay, *arguments, **options)

    monkeypatch.setattr(loop, "call_later", noted)
    result, _ = await ran(scripted([])(), Replay(path), plugins=[Patient()])

    assert result.output == "whole"
    assert PAUSE_S not in delays


class Person:
    """Asks for everything, and says no to one thing."""

    plugin_id = "person"

    def __init__(self) -> None:
        self.asked = 0

    @hookimpl
    def authorize(self, ctx: RunContext, action: Any) -> Ask | None:
        return Ask("really?") if action.verb == "tool.call" else None

    @hookimpl
    def request_approval(self, ctx: RunContext, request: ApprovalRequest) -> Approval:
        self.asked += 1
        granted = request.action.arguments != {"name": "bob"}
        return Approval(id=request.id, granted=granted, by="ann", reason="" if granted else "not bob")


async def test_a_person_is_asked_once(tmp_path: Path) -> None:
    """The answers are in the cassette, also the reason of a refusal."""
    effects, person = Effects(), Person()
    script = [turn(call("greet", name="bob"), call("greet", name="cid")), "done"]

    result = await same(tmp_path / "run.json", scripted(script, tools=effects.tools()), plugins=lambda: [person])

    assert person.asked == 2
    assert effects.done == ["cid"]
    assert "not bob" in result.messages[2].parts[0].content[0].text  # type: ignore[union-attr]  # the refusal


class Elsewhere:
    """Runs agents on another machine."""

    plugin_id = "elsewhere"

    def __init__(self) -> None:
        self.calls = 0

    @hookimpl
    async def agent_call(self, ctx: RunContext, call: AgentCall, call_next: Any) -> RunResult:
        self.calls += 1
        await asyncio.sleep(0.01)
        return RunResult(run="far", agent=call.agent, output=f"{call.agent} is far")


async def test_what_ran_elsewhere_comes_from_the_cassette(tmp_path: Path) -> None:
    """The other machine is not asked again."""
    elsewhere = Elsewhere()

    result = await same(tmp_path / "run.json", lambda: Boss("boss"), plugins=lambda: [elsewhere], agents=people)

    assert result.output == ["ann is far", "bob is far", "cid is far"]
    assert elsewhere.calls == 3


async def test_a_model_is_found_by_its_name(tmp_path: Path) -> None:
    """No plugin has to be there that makes the model."""

    class Models:
        plugin_id = "models"

        @hookimpl
        def provide_model(self, name: str) -> ModelBase | None:
            return ScriptedModel(["hello"], name="far") if name == "acme:far" else None

    path = tmp_path / "run.json"
    await ran(Agent("clerk", model="acme:far"), Recording(path), plugins=[Models()])

    result, _ = await ran(Agent("clerk", model="acme:far"), Replay(path))

    assert result.output == "hello"


async def test_another_task_is_a_miss(tmp_path: Path) -> None:
    """The run ends with the difference to what was recorded; nothing is sent."""
    path = tmp_path / "run.json"
    await ran(scripted(["hello"], instructions="Be kind.")(), Recording(path))

    replay = Replay(path)
    result, _ = await ran(scripted(["hello"], instructions="Be terse.")(), replay)

    assert result.error is not None
    assert '- "instructions": "Be kind."' in str(result.error)
    assert '+ "instructions": "Be terse."' in str(result.error)
    assert "event" in (replay.difference() or "")


async def test_a_tool_that_was_not_called_is_not_executed(tmp_path: Path) -> None:
    """Where the run goes another way, what it calls is an error with the difference."""
    effects = Effects()
    path = tmp_path / "run.json"
    await ran(scripted([call("add", a=1, b=2), "done"], tools=effects.tools())(), Recording(path))
    cassette = json.loads(path.read_bytes())
    cassette["entries"][2]["arguments"]["a"] = 9
    path.write_text(json.dumps(cassette))

    result, _ = await ran(scripted([], tools=effects.tools())(), Replay(path))

    assert effects.done == ["add"]
    assert '-  "a": 9' in plain(result).replace('\\\\"', '"').replace('\\"', '"')
    assert not result.ok


SECRETS = {
    "key": "sk-ant-api03-abcdefghijklmnop",
    "assigned": "hunter2hunter2",
    "argument": "open-sesame",
}


async def test_no_secret_of_a_tool_is_written(tmp_path: Path) -> None:
    """Not of its arguments, its result, the text of a model in pieces, or an event; and the replay finds everything."""

    @tool(effect="pure")
    def login(password: str) -> str:
        """Log in."""
        return f"key {SECRETS['key']}, DB_PASSWORD={SECRETS['assigned']}"

    path = tmp_path / "run.json"
    script = [call("login", password=SECRETS["argument"]), f"It is {SECRETS['key']}."]
    await ran(scripted(script, tools=[login])(), Recording(path))

    replay = Replay(path)
    result, _ = await ran(scripted([], tools=[login])(), replay)

    assert [name for name, secret in SECRETS.items() if secret in path.read_text()] == []
    assert (result.output, replay.difference()) == ("It is ***.", None)


async def test_a_run_that_is_cut_off_leaves_what_there_was(tmp_path: Path) -> None:
    """The file is whole, and a replay goes as far as it does."""
    path = tmp_path / "run.json"
    gate = asyncio.Event()

    @tool(effect="pure")
    async def wait() -> str:
        """Wait for ever."""
        gate.set()
        await asyncio.Event().wait()
        return "never"

    running = asyncio.create_task(ran(scripted([call("wait"), "done"], tools=[wait])(), Recording(path)))
    await gate.wait()
    kinds = [entry["kind"] for entry in json.loads(path.read_bytes())["entries"]]
    running.cancel()
    await asyncio.wait({running})

    assert kinds == ["model", "request"]
    assert json.loads(path.read_bytes())["entries"][2]["cut"]


async def test_a_long_conversation_is_not_written_again_and_again(tmp_path: Path) -> None:
    """Of each request only what is new is in the file, and the replay finds each whole."""
    effects = Effects()
    many = 18
    script = [*(call("add", a=n, b=1) for n in range(many)), "done"]
    agent = scripted(script, tools=effects.tools())

    await same(tmp_path / "run.json", agent)

    entries = json.loads((tmp_path / "run.json").read_bytes())["entries"]
    requests = [entry for entry in entries if entry["kind"] == "request"]
    assert len(requests) == many + 1
    assert max(len(entry["request"]["messages"]) for entry in requests) == 2


@pytest.mark.parametrize("with_clock", [True, False])
async def test_the_clock_is_a_choice(tmp_path: Path, with_clock: bool) -> None:
    """Without it a run is replayed all the same; only the times in its events are others."""
    path = tmp_path / "run.json"
    await ran(scripted(["hello"])(), Recording(path))
    replay = Replay(path)
    clock = {"clock": replay.clock} if with_clock else {}

    async with Pegboard(plugins=[replay], **clock) as board:  # type: ignore[arg-type]  # a clock or nothing
        result = await board.run(scripted([])(), "Go.", run="r1")

    assert result.output == "hello"
    assert (replay.difference() is None) == with_clock


class Other:
    """Falls back to another model."""

    plugin_id = "other"

    @hookimpl
    def recover(self, ctx: RunContext, failure: Failure) -> Fallback:
        return Fallback(target="acme:other")

    @hookimpl
    def provide_model(self, name: str) -> ModelBase | None:
        return ScriptedModel(["I am the other one."], name="other") if name == "acme:other" else None


async def test_a_fallback_to_another_model_is_the_same_again(tmp_path: Path) -> None:
    """One cassette holds both models; the stream says again that what was shown is void."""
    script = [turn("half", ModelRateLimitedError("slow down", status=429))]

    result = await same(tmp_path / "run.json", scripted(script), plugins=lambda: [Other()])

    entries = json.loads((tmp_path / "run.json").read_bytes())["entries"]
    assert [entry["id"] for entry in entries if entry["kind"] == "model"] == ["scripted:script", "scripted:other"]
    assert result.output == "I am the other one."


class Racer(Agent):
    """Takes the first answer, and cancels the rest."""

    async def execute(self, ctx: RunContext, state: Any, turns: Any) -> Any:
        children = [asyncio.create_task(ctx.call_agent(name, "How are you?")) for name in PEOPLE]
        done, _ = await asyncio.wait(children, return_when=asyncio.FIRST_COMPLETED)
        for child in children:
            child.cancel()
        await asyncio.wait(children)
        return msgspec.structs.replace(state, output=[task.result().output for task in done])


@pytest.mark.parametrize("others_wait_s", [30, 0.01], ids=["before they answer", "as they answer"])
async def test_what_was_cancelled_is_cancelled_again(tmp_path: Path, others_wait_s: float) -> None:
    """Those that lost never answer in the replay either, also where they were about to."""

    def racers() -> list[Agent]:
        waits = {name: others_wait_s if name != "cid" else 0.01 for name in PEOPLE}
        return [Agent(name, model=Waiting([f"{name} is well"], waits[name], name)) for name in ("cid", "ann", "bob")]

    result = await same(tmp_path / "run.json", lambda: Racer("racer"), agents=racers)

    entries = json.loads((tmp_path / "run.json").read_bytes())["entries"]
    assert len([entry for entry in entries if entry.get("cut")]) == 2
    assert len(result.output) == 1


@pytest.mark.parametrize(
    ("pieces", "written"),
    [
        (["my key is sk-ant-", "api03-abcdef", "ghijklmnop."], ["my key is ***."]),
        (["DB_PASS", "WORD=hunter2", "hunter2 is set"], ["DB_PASSWORD=*** is set"]),
        (["no ", "secret"], ["no ", "secret"]),
    ],
    ids=["key", "assigned", "none"],
)
async def test_a_secret_in_pieces_is_not_written(tmp_path: Path, pieces: list[str], written: list[str]) -> None:
    """Deltas that spell one out together become one; others stay as they came."""
    path = tmp_path / "run.json"
    await ran(Agent("clerk", model=ScriptedModel([turn(*pieces)])), Recording(path))

    entries = json.loads(path.read_bytes())["entries"]

    (chunks,) = [entry["chunks"] for entry in entries if entry["kind"] == "request"]
    assert [chunk["text"] for chunk in chunks if "text" in chunk] == written


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("password=hunter22", "password=***"),
        ('{"api_key": "abcdef12"}', '{"api_key": "***"}'),
        ("the password is long", "the password is long"),
        ("token: 17", "token: 17"),
    ],
)
def test_scrubbing_twice_is_scrubbing_once(text: str, scrubbed: str) -> None:
    """What was scrubbed in the recording is found by what is scrubbed in the replay."""
    assert scrub(text) == scrubbed
    assert scrub(scrubbed) == scrubbed


async def test_a_cassette_of_the_first_version_answers_a_run(tmp_path: Path) -> None:
    """It has one model and no clock, and its requests are found."""
    replay = Replay(Path(__file__).parent / "cassette_v1.json")
    add = ToolSpec("add", "Add.", {"type": "object"})

    async with Pegboard(plugins=[replay]) as board:
        model = await board.model("scripted:script")
        messages = (Message.user("hi"),)
        request = ModelRequest(model="scripted:script", messages=messages, instructions="be terse", tools=(add,))
        response = await model.send(request, None)

    assert response.text == "hello"


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "approval", "answer": {"granted": True}},
        {"kind": "approval", "answer": {"id": "a", "granted": "perhaps"}},
        {"kind": "agent", "agent": "far", "task": "go", "result": {"output": "x"}},
    ],
    ids=["answer to nothing", "no answer", "half a result"],
)
def test_a_damaged_entry_is_refused_before_anything_runs(tmp_path: Path, entry: dict[str, Any]) -> None:
    """Nobody is asked, and nothing is called, instead of what cannot be read."""
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"pegboard_cassette": 2, "started": 0, "entries": [entry]}))

    with pytest.raises(CassetteError, match="is damaged"):
        Replay(path)
