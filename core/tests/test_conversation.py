"""Conversations: one history, several runs and agents, and what happens when two speak at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from pegboard import Agent, Message, Pegboard, hookimpl, tool
from pegboard.conversation import ConversationContext
from pegboard.errors import AgentNotFoundError, ModelServerError, RunBusyError, RunNotFoundError
from pegboard.history import settled
from pegboard.types import ModelRequest, ToolCall
from pegboard_replay import FunctionModel, Gate, ScriptedModel, call, turn
from pegboard_sqlite import SqliteStore
from pegboard_testing import FakeTool, MakeBoard


def parrot(request: ModelRequest) -> str:
    """Answers with how much it was told and the last thing."""
    said = [message.text for message in request.messages if message.role == "user"]
    return f"{len(said)}: {said[-1]}"


def agent(name: str, model: Any = None) -> Agent:
    return Agent(name, model=model or FunctionModel(parrot))


def talk(board: Pegboard, *names: str, **options: Any) -> ConversationContext:
    return board.conversations.create(agents=[agent(name) for name in names], **options)


def spoken(conversation: ConversationContext) -> list[str]:
    """Who said what."""
    return [
        f"{(message.metadata or {}).get('agent', message.role)}: {message.text}" for message in conversation.messages
    ]


def answers(*outputs: Any) -> list[Any]:
    return [result.output for result in outputs]


# --- one history -------------------------------------------------------------------------------------------------


async def test_a_conversation_remembers(board: Pegboard) -> None:
    """Each run sees what was said before, and adds to it."""
    conversation = talk(board, "a")

    assert answers(await conversation.send("hello"), await conversation.send("again")) == ["1: hello", "2: again"]
    assert spoken(conversation) == ["user: hello", "a: 1: hello", "user: again", "a: 2: again"]


async def test_messages_of_agents_carry_their_name_and_run(board: Pegboard) -> None:
    """So that a reader knows who spoke."""
    conversation = talk(board, "a")
    result = await conversation.send("hello")

    assert result is not None
    assert conversation.messages[-1].metadata == {"agent": "a", "run": result.run}
    assert result.events[0].kind == "run.started"


async def test_several_agents_share_one_history(board: Pegboard) -> None:
    """What one said the other reads."""
    conversation = talk(board, "a", "b")
    await conversation.send("one", to="a")
    result = await conversation.send("two", to="b")

    assert answers(result) == ["2: two"]
    assert spoken(conversation) == ["user: one", "a: 1: one", "user: two", "b: 2: two"]


async def test_a_conversation_may_begin_with_a_history(board: Pegboard) -> None:
    """Also one that was cut off in the middle of a call: it is mended."""
    history = [Message.user("hi"), Message("assistant", (ToolCall(id="x", name="look"),))]
    conversation = talk(board, "a", history=history)
    await conversation.send("and?")

    assert settled(list(conversation.messages)) == list(conversation.messages)
    assert conversation.messages[2].parts[0].status == "unknown"  # type: ignore[union-attr]  # a result


async def test_a_message_may_be_more_than_text(board: Pegboard) -> None:
    """It is kept as it is."""
    conversation = talk(board, "a")
    message = Message("user", Message.user("look").parts, "m1", {"from": "ann"})
    await conversation.send(message)

    said = conversation.messages[0]
    assert (said.parts, said.id, (said.metadata or {})["from"]) == (message.parts, "m1", "ann")


# --- routing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "to", "expected"),
    [
        pytest.param("hi", None, "a", id="the first"),
        pytest.param("@b hi", None, "b", id="addressed"),
        pytest.param("@b hi", "a", "a", id="named by the caller"),
        pytest.param("@nobody hi", None, "a", id="addressed to nobody"),
        pytest.param("@", None, "a", id="half an address"),
    ],
)
async def test_who_answers(board: Pegboard, said: str, to: str | None, expected: str) -> None:
    """The one the caller names, else the one addressed, else the first."""
    conversation = talk(board, "a", "b")
    await conversation.send(said, to=to)

    assert spoken(conversation)[-1].startswith(f"{expected}: ")


async def test_the_last_one_goes_on(board: Pegboard) -> None:
    """Who answered last answers what is addressed to nobody."""
    conversation = talk(board, "a", "b")
    await conversation.send("@b hi")
    await conversation.send("and?")

    assert spoken(conversation)[-1] == "b: 2: and?"


class Router:
    """Sends messages where it was told to."""

    def __init__(self, choose: Callable[[Sequence[str]], str | None]) -> None:
        self._choose = choose

    @hookimpl
    def route_message(self, conversation: str, agents: Sequence[str], message: Message) -> str | None:
        return self._choose(agents)


async def test_a_plugin_may_route(make_board: MakeBoard) -> None:
    """Where several agents take part and nobody is addressed."""
    board = await make_board(plugins=[Router(lambda agents: agents[-1])])
    conversation = talk(board, "a", "b", "c")
    alone = talk(board, "x")
    await conversation.send("hi")
    await conversation.send("@a hi")
    await alone.send("hi")

    assert [line.split(":")[0] for line in spoken(conversation) if not line.startswith("user")] == ["c", "a"]
    assert spoken(alone)[-1].startswith("x")


async def test_a_plugin_without_opinion_changes_nothing(make_board: MakeBoard) -> None:
    """The usual order holds."""
    board = await make_board(plugins=[Router(lambda agents: None)])
    conversation = talk(board, "a", "b")
    await conversation.send("hi")

    assert spoken(conversation)[-1].startswith("a:")


async def test_routing_to_somebody_who_takes_no_part_is_refused(make_board: MakeBoard) -> None:
    """With what the plugin chose."""
    board = await make_board(plugins=[Router(lambda agents: "z")])

    with pytest.raises(AgentNotFoundError, match="`route_message` chose `z`"):
        await talk(board, "a", "b").send("hi")


async def test_agents_may_join_by_name(make_board: MakeBoard) -> None:
    """Agents of the board are named, others given; without any the board's default one answers."""
    board = await make_board(agents=[agent("known")], model=FunctionModel(parrot))
    conversation = board.conversations.create()
    await conversation.send("one")
    conversation.join("known")
    conversation.join(agent("new"))
    await conversation.send("@known two")
    await conversation.send("@new three")

    assert conversation.agents == ("known", "new")
    assert [(m.metadata or {}).get("agent") for m in conversation.messages if m.role == "assistant"] == [
        "default",
        "known",
        "new",
    ]


# --- two at once -------------------------------------------------------------------------------------------------


@pytest.fixture
def gate() -> Gate:
    """Where the first answer stops."""
    return Gate()


def gated(gate: Gate) -> Agent:
    """An agent whose first answer waits."""

    async def answer(request: ModelRequest) -> str:
        if gate.arrivals == 0:
            await gate.wait()
        return parrot(request)

    return agent("a", FunctionModel(answer))


async def test_a_second_message_waits_its_turn(board: Pegboard, gate: Gate) -> None:
    """By default it is answered after the first."""
    conversation = board.conversations.create(agents=[gated(gate)])
    first = asyncio.create_task(conversation.send("one"))
    await gate.reached()
    second = asyncio.create_task(conversation.send("two"))
    await asyncio.sleep(0)
    assert conversation.running is not None
    gate.open()

    assert answers(await first, await second) == ["1: one", "2: two"]
    assert conversation.running is None


async def test_a_second_message_may_be_refused(board: Pegboard, gate: Gate) -> None:
    """The error names the run that is under way; afterwards there is room again."""
    conversation = board.conversations.create("c1", agents=[gated(gate)])
    first = asyncio.create_task(conversation.send("one"))
    await gate.reached()
    with pytest.raises(RunBusyError, match="conversation `c1` is answering already") as caught:
        await conversation.send("two", when_busy="reject")
    gate.open()
    await first

    assert caught.value.run_id == board.conversations.get("c1").messages[-1].metadata["run"]  # type: ignore[index]
    assert answers(await conversation.send("three", when_busy="reject")) == ["2: three"]


async def test_refusing_is_decided_before_anything_is_awaited(board: Pegboard) -> None:
    """Of several that come at once, exactly one is answered."""

    async def answer(request: ModelRequest) -> str:
        await asyncio.sleep(0)
        return parrot(request)

    conversation = board.conversations.create(agents=[agent("a", FunctionModel(answer))])
    results = await asyncio.gather(
        *(conversation.send(str(n), when_busy="reject") for n in range(5)), return_exceptions=True
    )

    assert [type(result).__name__ for result in results] == ["RunResult", *["RunBusyError"] * 4]
    assert len(conversation.messages) == 2


async def test_a_second_message_may_steer_the_first_run(board: Pegboard) -> None:
    """It is handed to the run that is under way, and answered there."""
    look = Gate()
    model = ScriptedModel([call("look"), "in blue then"])

    async def wait(args: Any) -> str:
        await look.wait()
        return "seen"

    conversation = board.conversations.create(agents=[Agent("a", model=model, tools=[FakeTool("look", returns=wait)])])
    first = asyncio.create_task(conversation.send("paint it"))
    await look.reached()
    assert await conversation.send("in blue", when_busy="steer") is None
    look.open()
    result = await first

    assert result is not None
    assert [message.text for message in conversation.messages if message.role == "user"] == ["paint it", "in blue"]
    assert len(model.requests) == 2


async def test_steering_where_nothing_runs_is_just_speaking(board: Pegboard) -> None:
    """There is no run to steer, so one begins."""
    assert answers(await talk(board, "a").send("hi", when_busy="steer")) == ["1: hi"]


async def test_what_came_too_late_for_an_answer_is_not_lost(make_board: MakeBoard) -> None:
    """A message that was handed over while the run closed is in the history, and seen by the next run."""

    class Slow:
        def __init__(self) -> None:
            self.gate = Gate()

        @hookimpl
        async def integration(self, ctx: Any, state: Any, call_next: Any) -> Any:
            if self.gate.arrivals == 0:
                await self.gate.wait()
            return await call_next(state)

    slow = Slow()
    board = await make_board(plugins=[slow])
    conversation = talk(board, "a")
    first = asyncio.create_task(conversation.send("one"))
    await slow.gate.reached()
    assert await conversation.send("too late", when_busy="steer") is None
    slow.gate.open()
    await first

    assert spoken(conversation) == ["user: one", "a: 1: one", "user: too late"]
    assert answers(await conversation.send("three")) == ["3: three"]


async def test_fifty_at_once_are_answered_one_after_another(board: Pegboard) -> None:
    """Nothing is lost or mixed: each answer stands after its question, and each saw all before it."""

    async def answer(request: ModelRequest) -> str:
        await asyncio.sleep(0)
        return parrot(request)

    conversation = board.conversations.create(agents=[agent("a", FunctionModel(answer))])
    results = await asyncio.gather(*(conversation.send(f"q{n}") for n in range(50)))

    assert answers(*results) == [f"{n + 1}: q{n}" for n in range(50)]
    assert spoken(conversation) == [line for n in range(50) for line in (f"user: q{n}", f"a: {n + 1}: q{n}")]


# --- what can go wrong -------------------------------------------------------------------------------------------


async def test_what_was_said_before_a_failure_stays(board: Pegboard) -> None:
    """The error is raised, the question is in the history, and the conversation goes on."""
    model = ScriptedModel([ModelServerError("down"), "fine now"])
    conversation = board.conversations.create(agents=[agent("a", model)])
    with pytest.raises(ModelServerError):
        await conversation.send("one")

    assert spoken(conversation) == ["user: one"]
    assert conversation.running is None
    assert answers(await conversation.send("two")) == ["fine now"]


async def test_a_cancelled_answer_leaves_a_valid_history(board: Pegboard) -> None:
    """A call that was cut off has a result, and the next run is shown it."""
    gate = Gate()

    @tool(effect="pure")
    async def look() -> None:
        """Look."""
        await gate.wait()

    model = ScriptedModel([call("look"), "what now?"])
    conversation = board.conversations.create(agents=[Agent("a", model=model, tools=[look])])
    task = asyncio.create_task(conversation.send("one"))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await conversation.send("two")

    assert settled(list(conversation.messages)) == list(conversation.messages)
    assert [message.role for message in conversation.messages] == ["user", "assistant", "tool", "user", "assistant"]


async def test_an_agent_that_is_not_there_leaves_the_conversation_as_it_was(board: Pegboard) -> None:
    """Nothing was said, and nothing is under way."""
    conversation = talk(board, "a")
    with pytest.raises(AgentNotFoundError):
        await conversation.send("hi", to="nobody")

    assert (list(conversation.messages), conversation.running) == ([], None)
    assert answers(await conversation.send("hi", when_busy="reject")) == ["1: hi"]


# --- streams, forks, the manager ---------------------------------------------------------------------------------


async def test_an_answer_may_be_streamed(board: Pegboard) -> None:
    """The events are those of the run, and the history is kept."""
    conversation = board.conversations.create(agents=[agent("a", ScriptedModel(["hello"], split=2))])
    events = [event async for event in conversation.stream("hi")]

    assert "".join(event.content for event in events if event.type == "text") == "hello"
    assert events[-1].content.output == "hello"
    assert spoken(conversation) == ["user: hi", "a: hello"]


async def test_leaving_a_stream_keeps_what_was_said(board: Pegboard) -> None:
    """The run is cancelled and the conversation free again; as much of the answer as was read is in it."""

    async def endless(request: ModelRequest) -> AsyncGenerator[str, None]:
        while True:
            yield "x"

    conversation = board.conversations.create(agents=[agent("a", FunctionModel(endless)), agent("b")])
    async with aclosing(conversation.stream("hi")) as events:
        for _ in range(3):
            await anext(events)

    assert (spoken(conversation), conversation.running) == (["user: hi", "a: xx"], None)
    assert (conversation.messages[-1].metadata or {})["stopped"] is True
    assert answers(await conversation.send("@b and you?")) == ["2: @b and you?"]


async def test_a_stream_that_is_left_during_a_call_keeps_no_text_twice(board: Pegboard, gate: Gate) -> None:
    """A message that is whole stays as it is, with the calls in it."""
    look = FakeTool("look", returns=lambda arguments: gate.wait())
    model = ScriptedModel([turn("let me see", call("look"))])
    conversation = board.conversations.create(agents=[Agent("a", model=model, tools=[look])])
    async with aclosing(conversation.stream("hi")) as events:
        async for event in events:
            if event.type == "tool_call":
                await gate.reached()
                break

    assert [line for line in spoken(conversation) if "let me see" in line] == ["a: let me see"]


async def test_a_stream_that_steers_is_empty(board: Pegboard, gate: Gate) -> None:
    """Its message went into the other run, whose reader sees the answer."""
    conversation = board.conversations.create(agents=[gated(gate)])
    first = asyncio.create_task(conversation.send("one"))
    await gate.reached()
    assert [event async for event in conversation.stream("two", when_busy="steer")] == []
    gate.open()
    result = await first

    assert result is not None
    assert result.output == "2: two"


async def test_a_fork_may_end_before_a_turn(board: Pegboard) -> None:
    """Turns begin where somebody spoke; what is before one of them goes along, and the first one keeps everything."""
    conversation = talk(board, "a")
    await conversation.send("one")
    await conversation.send("two")
    other = conversation.fork(before=conversation.turns[-1])
    await other.send("three")

    assert list(conversation.turns) == [0, 2]
    assert spoken(other) == ["user: one", "a: 1: one", "user: three", "a: 2: three"]
    assert len(conversation.messages) == 4


async def test_what_is_said_into_a_running_turn_begins_none(board: Pegboard) -> None:
    """It was answered in the same run; what nobody answered is a turn of its own."""
    of_one = {"agent": "a", "run": "r1"}
    history = [
        Message.user("go"),
        Message("assistant", Message.user("on it").parts, metadata=of_one),
        Message.user("and be quick"),
        Message("assistant", Message.user("done").parts, metadata=of_one),
        Message.user("thanks"),
        Message.user("are you there?"),
    ]

    assert list(talk(board, "a", history=history).turns) == [0, 4, 5]


async def test_a_fork_goes_its_own_way(board: Pegboard) -> None:
    """It begins with what was said so far; neither sees what the other says later."""
    conversation = talk(board, "a")
    await conversation.send("one")
    other = conversation.fork("other")
    await conversation.send("two")
    await other.send("three")

    assert (other.id, other.agents) == ("other", ("a",))
    assert [line for line in spoken(conversation) if "user" in line] == ["user: one", "user: two"]
    assert [line for line in spoken(other) if "user" in line] == ["user: one", "user: three"]


async def test_conversations_are_found_by_their_id(board: Pegboard) -> None:
    """Two cannot have one id; one that was closed is forgotten."""
    manager = board.conversations
    one = manager.create("x")
    other = manager.create()

    assert manager.get("x") is one
    assert manager.get(other.id) is other
    assert len(manager) == 2
    with pytest.raises(RunBusyError, match="there is a conversation `x` already"):
        manager.create("x")
    manager.close("x")
    manager.close("x")
    with pytest.raises(RunNotFoundError, match="no conversation `x`"):
        manager.get("x")


async def test_two_conversations_do_not_wait_for_each_other(board: Pegboard, gate: Gate) -> None:
    """Only within one is there an order."""
    slow = board.conversations.create(agents=[gated(gate)])
    first = asyncio.create_task(slow.send("one"))
    await gate.reached()

    assert answers(await talk(board, "b").send("hi")) == ["1: hi"]
    gate.open()
    await first


async def test_usage_of_a_turn_is_that_of_its_run(board: Pegboard) -> None:
    """What was said before costs nothing again but its tokens."""
    conversation = board.conversations.create(agents=[agent("a", ScriptedModel([turn("x"), turn("y")]))])
    await conversation.send("one")
    result = await conversation.send("two")

    assert result is not None
    assert (result.usage.requests, result.turns, len(result.messages)) == (1, 1, 4)


# --- kept by a store ---------------------------------------------------------------------------------------------


@pytest.fixture
async def open_board(tmp_path: Path) -> AsyncGenerator[Callable[..., Pegboard]]:
    """Makes boards that share one file, each as a process of its own would."""
    stores: list[SqliteStore] = []

    def opened(*agents: Agent) -> Pegboard:
        stores.append(SqliteStore(tmp_path / "store.db"))
        return Pegboard(store=stores[-1], agents=agents)

    yield opened
    for store in stores:
        await store.aclose()


async def test_a_stored_conversation_has_a_title(open_board: Callable[..., Pegboard]) -> None:
    """The beginning of what was said first, on one line, also after another process went on."""
    async with open_board(agent("ann")) as board:
        talk = board.conversations.create("c", agents=["ann"])
        assert not talk.is_kept
        await talk.send("the  first\nthing " * 40)
        assert talk.is_kept
    async with open_board(agent("ann")) as board:
        await (await board.conversations.open("c")).send("another")
        (row,) = await board.conversations.stored()

    assert row.title.startswith("the first thing the first")
    assert len(row.title) == 80


async def test_another_process_goes_on_with_a_conversation(open_board: Callable[..., Pegboard]) -> None:
    """With its history, its agents, and whoever spoke last."""
    async with open_board(agent("ann"), agent("ben")) as board:
        talk = board.conversations.create("c", agents=["ann", "ben"])
        await talk.send("@ben one")
    async with open_board(agent("ann"), agent("ben")) as board:
        again = await board.conversations.open("c")
        answer = await again.send("two")

    assert answer is not None
    assert (answer.agent, again.agents) == ("ben", ("ann", "ben"))
    assert list(again.messages[:2]) == list(talk.messages)
    assert len(again.messages) == 4


async def test_an_agent_that_is_no_name_is_given_again(open_board: Callable[..., Pegboard]) -> None:
    """An object cannot be in a store; without it the conversation says that it is not there."""
    async with open_board() as board:
        await board.conversations.create("c", agents=[agent("ann")]).send("one")
    async with open_board() as board:
        with pytest.raises(AgentNotFoundError):
            await (await board.conversations.open("c")).send("two")
    async with open_board() as board:
        again = await board.conversations.open("c", agents=[agent("ann")])
        assert await again.send("two") is not None


async def test_of_two_that_speak_at_once_the_later_is_told(open_board: Callable[..., Pegboard]) -> None:
    """What the first one said stays as it is; opened again the conversation goes on."""
    async with open_board(agent("ann")) as first, open_board(agent("ann")) as second:
        await first.conversations.create("c", agents=["ann"]).send("one")
        late = await second.conversations.open("c")
        await first.conversations.get("c").send("two")
        with pytest.raises(RunBusyError):
            await late.send("three")
        second.conversations.close("c")
        again = await second.conversations.open("c")
        await again.send("four")

    assert spoken(again)[::2] == ["user: one", "user: two", "user: four"]


async def test_who_comes_too_late_pays_for_nothing(open_board: Callable[..., Pegboard]) -> None:
    """That another process spoke meanwhile is found out before a model is asked; the conversation stays as it is."""
    asked: list[ModelRequest] = []

    def answer(request: ModelRequest) -> str:
        asked.append(request)
        return "never"

    model = FunctionModel(answer)
    async with open_board(agent("ann")) as first, open_board(agent("ann", model)) as second:
        await first.conversations.create("c", agents=["ann"]).send("one")
        late = await second.conversations.open("c")
        await first.conversations.get("c").send("two")
        before = spoken(late)
        with pytest.raises(RunBusyError, match="no model was asked"):
            await late.send("three")

    assert (asked, spoken(late), late.running) == ([], before, None)


async def test_what_is_said_is_kept_before_a_model_is_asked(open_board: Callable[..., Pegboard]) -> None:
    """While one is being answered, another process that begins under the same id is refused at once."""
    gate = Gate()
    async with open_board(gated(gate)) as first, open_board(agent("ann")) as second:
        speaking = asyncio.create_task(first.conversations.create("c", agents=[gated(gate).name]).send("one"))
        await gate.reached()
        with pytest.raises(RunBusyError):
            await second.conversations.create("c", agents=["ann"]).send("two")
        second.conversations.close("c")
        seen = spoken(await second.conversations.open("c"))
        gate.open()
        answer = await speaking

    assert seen == ["user: one"]
    assert answer is not None


async def test_a_message_that_was_being_kept_when_it_was_cancelled_is_there_once(tmp_path: Path) -> None:
    """The conversation goes on after it, here and in another process."""
    gate = Gate()

    class Slow(SqliteStore):
        async def append_messages(self, row: Any, messages: Any, *, expect: int) -> None:
            if gate.arrivals == 0:
                await gate.wait()
            await super().append_messages(row, messages, expect=expect)

    async with aclosing(Slow(tmp_path / "store.db")) as store, Pegboard(store=store, agents=[agent("ann")]) as board:
        talk = board.conversations.create("c", agents=["ann"])
        speaking = asyncio.create_task(talk.send("one"))
        await gate.reached()
        speaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await speaking
        gate.open()
        await talk.send("two")
        board.conversations.close("c")
        again = await board.conversations.open("c")

    assert spoken(again)[:2] == ["user: one", "user: two"]
    assert spoken(again) == spoken(talk)


async def test_an_answer_that_comes_too_late_is_still_in_its_run(open_board: Callable[..., Pegboard]) -> None:
    """Another process may speak between the question and the answer; the error says where the answer is."""
    gate = Gate()
    async with open_board(gated(gate)) as first, open_board(agent("ann")) as second:
        talk = first.conversations.create("c", agents=[gated(gate).name])
        speaking = asyncio.create_task(talk.send("one"))
        await gate.reached()
        await (await second.conversations.open("c", agents=[agent("ann")])).send("two", to="ann")
        gate.open()
        with pytest.raises(RunBusyError, match="the answer was not added") as caught:
            await speaking

    assert caught.value.run_id == (talk.messages[-1].metadata or {})["run"]
    assert caught.value.hint == f"peg runs show {caught.value.run_id}"


async def test_stored_conversations_are_listed(open_board: Callable[..., Pegboard]) -> None:
    """The one that was last spoken in first; none where no store keeps them."""
    async with open_board(agent("ann")) as board:
        for id in ("a", "b", "a"):
            known = [row.id for row in await board.conversations.stored()]
            talk = board.conversations.get(id) if id in known else board.conversations.create(id, agents=["ann"])
            await talk.send("hello")
        rows = await board.conversations.stored()
    async with Pegboard() as board:
        assert await board.conversations.stored() == ()

    assert [(row.id, row.messages, row.last) for row in rows] == [("a", 4, "ann"), ("b", 2, "ann")]


async def test_what_was_said_is_kept_when_nobody_waits_for_the_answer(open_board: Callable[..., Pegboard]) -> None:
    """Also of an answer that was cut off; a later process has a history that every provider accepts."""
    gate = Gate()
    async with open_board(gated(gate)) as board:
        talk = board.conversations.create("c", agents=[gated(gate).name])
        speaking = asyncio.create_task(talk.send("one"))
        await gate.reached()
        speaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await speaking
    async with open_board(gated(gate)) as board:
        again = await board.conversations.open("c")

    assert list(again.messages) == list(talk.messages)
    assert again.messages[0].text == "one"
    assert settled(again.messages) == list(again.messages)


async def test_a_conversation_that_was_never_held_is_not_found(open_board: Callable[..., Pegboard]) -> None:
    """Neither in a store nor without one."""
    async with open_board() as board:
        with pytest.raises(RunNotFoundError):
            await board.conversations.open("never")
    async with Pegboard() as board:
        with pytest.raises(RunNotFoundError):
            await board.conversations.open("never")
