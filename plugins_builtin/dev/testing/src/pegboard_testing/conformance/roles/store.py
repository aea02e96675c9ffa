"""What every store promises; the memory store of core is the reference. And what those promise that offer more."""

from __future__ import annotations

import asyncio

import pytest
from pegboard import Event
from pegboard.errors import RunBusyError, RunNotFoundError
from pegboard.interfaces import ConversationRow, ConversationStore, RunRow, StepRecord, Store, StoreControl
from pegboard.types import File, Message, Text, ToolCall, ToolResult, Usage

_ODD_IDS = ("a", "A", "a\0b", "a/../b", "'; drop table run; --", "%", "ü", "u\u0308", " a", "a ")
"""Ids that are easily taken for one another or for something else."""


class StoreSuite:
    """A store that is empty."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store."""
        raise NotImplementedError("provide the fixture `store`")

    def test_it_says_whether_it_is_durable(self, store: Store) -> None:
        """A durable run is refused elsewhere."""
        assert isinstance(store.durable, bool)

    @pytest.mark.asyncio
    async def test_what_was_added_is_loaded(self, store: Store) -> None:
        """Row, events in order, steps."""
        row, events, steps = _row("r1"), [_event("r1", 0), _event("r1", 1)], [_step("r1", 1)]

        await store.append(row, events, steps)

        loaded_row, loaded_events, loaded_steps = await store.load("r1")
        assert (loaded_row, list(loaded_events), list(loaded_steps)) == (row, events, steps)

    @pytest.mark.asyncio
    async def test_additions_follow_one_another(self, store: Store) -> None:
        """A log is added to, and the row is the newest one."""
        await store.append(_row("r1"), [_event("r1", 0)], [])
        await store.append(_row("r1", "done"), [_event("r1", 1)], [], barrier=True)

        row, events, _ = await store.load("r1")
        assert (row.state, [event.seq for event in events]) == ("done", [0, 1])

    @pytest.mark.asyncio
    async def test_a_step_is_replaced_by_its_newer_record(self, store: Store) -> None:
        """An intent becomes what came of it, in its place."""
        await store.append(_row("r1"), [], [_step("r1", 1, "intent"), _step("r1", 2)])
        await store.append(_row("r1"), [], [_step("r1", 1, "done")])

        _, _, steps = await store.load("r1")
        assert [(step.step, step.state) for step in steps] == [("tool.call:x#1", "done"), ("tool.call:x#2", "done")]

    @pytest.mark.parametrize("seq", [0, 2], ids=["known", "gap"])
    @pytest.mark.asyncio
    async def test_a_second_writer_is_refused(self, store: Store, seq: int) -> None:
        """An event that is not the next one means that somebody else wrote; nothing of the addition is kept."""
        await store.append(_row("r1"), [_event("r1", 0)], [])

        with pytest.raises(RunBusyError):
            await store.append(_row("r1", "done"), [_event("r1", seq)], [_step("r1", 1)])

        row, events, steps = await store.load("r1")
        assert (row.state, len(events), len(steps)) == ("running", 1, 0)

    @pytest.mark.asyncio
    async def test_of_writers_at_once_one_wins(self, store: Store) -> None:
        """Each event is there once."""
        await store.append(_row("r1"), [_event("r1", 0)], [])

        tries = (store.append(_row("r1"), [_event("r1", 1)], []) for _ in range(5))
        outcomes = await asyncio.gather(*tries, return_exceptions=True)

        assert sum(outcome is None for outcome in outcomes) == 1
        assert all(outcome is None or isinstance(outcome, RunBusyError) for outcome in outcomes)

    @pytest.mark.asyncio
    async def test_runs_do_not_mix(self, store: Store) -> None:
        """Each run has a log of its own."""
        await store.append(_row("r1"), [_event("r1", 0)], [_step("r1", 1)])
        await store.append(_row("r2"), [_event("r2", 0)], [])

        _, events, steps = await store.load("r2")
        assert ([event.run for event in events], list(steps)) == (["r2"], [])

    @pytest.mark.asyncio
    async def test_runs_are_listed_newest_first(self, store: Store) -> None:
        """At most as many as wanted, and of one tree where one is named."""
        for number in range(4):
            await store.append(_row(f"r{number}", root="a" if number % 2 else "b", at=float(number)), [], [])

        assert [row.run for row in await store.runs()] == ["r3", "r2", "r1", "r0"]
        assert [row.run for row in await store.runs(limit=2)] == ["r3", "r2"]
        assert [row.run for row in await store.runs(root="a")] == ["r3", "r1"]

    @pytest.mark.asyncio
    async def test_runs_are_found_by_the_beginning_of_their_ids(self, store: Store) -> None:
        """In the order of their ids, so that the one of just that id comes first; and only roots where wanted."""
        for run, root in (("r1.b", "r1"), ("r1", "r1"), ("r2", "r2"), ("r", "r"), ("R1", "R1"), ("r1.a", "r1")):
            await store.append(_row(run, root=root), [], [])

        assert [row.run for row in await store.runs(prefix="r1")] == ["r1", "r1.a", "r1.b"]
        assert [row.run for row in await store.runs(prefix="r", roots=True)] == ["r", "r1", "r2"]
        assert [row.run for row in await store.runs(roots=True)] == ["R1", "r", "r2", "r1"]
        assert [row.run for row in await store.runs(prefix="")][:2] == ["R1", "r"]
        assert [row.run for row in await store.runs(prefix="%", limit=1)] == []

    @pytest.mark.asyncio
    async def test_a_list_of_runs_reads_no_inputs(self, store: Store) -> None:
        """They can be long; `load` has them."""
        await store.append(_row("r1"), [], [])

        assert [row.input for row in await store.runs()] == [None]
        assert (await store.load("r1"))[0].input is not None

    @pytest.mark.asyncio
    async def test_an_unknown_run_is_said_to_be(self, store: Store) -> None:
        """By the error that commands know."""
        with pytest.raises(RunNotFoundError):
            await store.load("never")

    @pytest.mark.asyncio
    async def test_a_blob_comes_back(self, store: Store) -> None:
        """Whole and in slices, and an empty one too."""
        ref = await store.put_blob(b"0123456789")

        assert await store.get_blob(ref) == b"0123456789"
        assert await store.get_blob(ref, 2, 3) == b"234"
        assert await store.get_blob(ref, 8) == b"89"
        assert await store.get_blob(await store.put_blob(b"")) == b""

    @pytest.mark.asyncio
    async def test_equal_blobs_have_one_handle(self, store: Store) -> None:
        """The handle is derived from the content."""
        first, same, other = [await store.put_blob(data) for data in (b"x", b"x", b"y")]

        assert first == same != other

    @pytest.mark.asyncio
    async def test_an_unknown_blob_is_said_to_be(self, store: Store) -> None:
        """Also one whose handle looks like a path."""
        for ref in ("never", "../../etc/passwd"):
            with pytest.raises(RunNotFoundError):
                await store.get_blob(ref)

    @pytest.mark.asyncio
    async def test_ids_are_taken_as_they_are(self, store: Store) -> None:
        """No two are one, and none is a path or a command."""
        for run in _ODD_IDS:
            await store.append(_row(run), [_event(run, 0)], [_step(run, 1)])

        for run in _ODD_IDS:
            row, events, steps = await store.load(run)
            assert (row.run, [event.run for event in events], [step.run for step in steps]) == (run, [run], [run])


class StoreControlSuite:
    """A store that is empty and lets itself be looked after."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store that implements `StoreControl` too."""
        raise NotImplementedError("provide the fixture `store`")

    @pytest.fixture
    def control(self, store: Store) -> StoreControl:
        """The same store."""
        assert isinstance(store, StoreControl)
        return store

    @pytest.mark.asyncio
    async def test_events_are_read_from_an_offset(self, store: Store, control: StoreControl) -> None:
        """Those above it, in order, and at most as many as wanted, however they were added."""
        for first, count in ((0, 3), (3, 1), (4, 4)):
            await store.append(_row("r1"), [_event("r1", first + number) for number in range(count)], [])
            await store.append(_row("r2"), [_event("r2", first + number) for number in range(count)], [])

        for after in range(-1, 9):
            for limit in (None, 0, 1, 3, 100):
                wanted = list(range(after + 1, 8))[:limit]
                found = await control.events("r1", after=after, limit=limit)
                assert [(event.run, event.seq) for event in found] == [("r1", seq) for seq in wanted]

    @pytest.mark.asyncio
    async def test_events_of_an_unknown_run_are_said_to_be(self, control: StoreControl) -> None:
        """By the error that commands know; a run without events has none."""
        with pytest.raises(RunNotFoundError):
            await control.events("never")

    @pytest.mark.asyncio
    async def test_a_sound_store_has_no_problems(self, store: Store, control: StoreControl) -> None:
        """Neither an empty one nor one with something in it."""
        assert list(await control.check()) == []
        ref = await store.put_blob(b"x" * 10_000)
        await store.append(_row("r1"), [_event("r1", 0)], [_step("r1", 1, artifact=ref)])

        assert list(await control.check()) == []

    @pytest.mark.asyncio
    async def test_what_was_removed_is_gone(self, store: Store, control: StoreControl) -> None:
        """And nothing else; what is not there is no error. The id can begin anew."""
        for run in ("r1", "r2"):
            await store.append(_row(run), [_event(run, 0)], [_step(run, 1)])
            await store.append(_row(run, "done"), [_event(run, 1)], [])

        await control.remove(["r1", "never"])

        assert [row.run for row in await store.runs()] == ["r2"]
        with pytest.raises(RunNotFoundError):
            await store.load("r1")
        await store.append(_row("r1"), [_event("r1", 0)], [])
        assert [len(part) for part in (await store.load("r1"))[1:]] == [1, 0]

    @pytest.mark.asyncio
    async def test_a_blob_goes_with_the_last_run_that_mentions_it(self, store: Store, control: StoreControl) -> None:
        """Wherever it is mentioned; the room is given back."""
        in_step, in_text, shared = [await store.put_blob(letter * 100_000) for letter in (b"a", b"b", b"c")]
        await store.append(_row("r1"), [_event("r1", 0, f"see {in_text} for more")], [_step("r1", 1, artifact=in_step)])
        await store.append(_row("r1", "done"), [], [_step("r1", 2, artifact=shared)])
        await store.append(_row("r2", "done"), [], [_step("r2", 1, artifact=shared)])

        assert await control.remove(["r1"]) >= 200_000

        for ref in (in_step, in_text):
            with pytest.raises(RunNotFoundError):
                await store.get_blob(ref)
        assert await store.get_blob(shared, 0, 1) == b"c"
        await control.remove(["r2"])
        with pytest.raises(RunNotFoundError):
            await store.get_blob(shared)

    @pytest.mark.asyncio
    async def test_a_blob_that_will_be_mentioned_stays(self, store: Store, control: StoreControl) -> None:
        """It is put before the step that has it is recorded, and others may remove runs in between."""
        ref = await store.put_blob(b"x" * 1000)
        await store.append(_row("r1", "done"), [_event("r1", 0)], [_step("r1", 1, artifact=ref)])
        again = await store.put_blob(b"x" * 1000)
        await control.remove(["r1"])

        assert again == ref
        assert len(await store.get_blob(ref)) == 1000

    @pytest.mark.asyncio
    async def test_a_run_that_is_under_way_is_not_removed(self, store: Store, control: StoreControl) -> None:
        """Nor anything that was to be removed with it."""
        await store.append(_row("r1"), [_event("r1", 0)], [])
        await store.append(_row("r2", "done"), [_event("r2", 0)], [])

        with pytest.raises(RunBusyError):
            await control.remove(["r2", "r1"])

        assert {row.run for row in await store.runs()} == {"r1", "r2"}

    @pytest.mark.asyncio
    async def test_it_tells_which_runs_are_driven(self, store: Store, control: StoreControl) -> None:
        """Those that this process began and has not ended; unknown ones are not."""
        await store.append(_row("r1"), [_event("r1", 0)], [])
        await store.append(_row("r2", "done"), [_event("r2", 0)], [])

        assert set(await control.driven(["r1", "r2", "never"])) == {"r1"}

    @pytest.mark.asyncio
    async def test_it_says_how_much_room_it_takes(self, store: Store, control: StoreControl) -> None:
        """More when there is more in it."""
        before = await control.size_bytes()
        await store.put_blob(b"x" * 1_000_000)

        assert await control.size_bytes() >= before + 1_000_000


class ConversationStoreSuite:
    """A store that is empty and keeps conversations."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store that implements `ConversationStore` too."""
        raise NotImplementedError("provide the fixture `store`")

    @pytest.fixture
    def talks(self, store: Store) -> ConversationStore:
        """The same store."""
        assert isinstance(store, ConversationStore)
        return store

    @pytest.mark.asyncio
    async def test_what_was_said_is_loaded(self, talks: ConversationStore) -> None:
        """Row and messages in order, with every kind of part."""
        result = ToolResult(call_id="c", content=(Text("3"),), structured={"sum": 3})
        messages = [
            Message.user("1 + 2? \u2028ü"),
            Message("assistant", (ToolCall(id="c", name="add", arguments={"a": 1}),), metadata={"agent": "x"}),
            Message("tool", (result, File(media_type="image/png", data=b"\0\xff"))),
        ]
        row = ConversationRow(id="c1", agents=("x", "y"), last="x", messages=3, at=2.5)

        await talks.append_messages(row, messages, expect=0)

        loaded, found = await talks.load_conversation("c1")
        assert (loaded, list(found)) == (row, messages)

    @pytest.mark.asyncio
    async def test_messages_follow_one_another(self, talks: ConversationStore) -> None:
        """A conversation is added to, its row is the newest one, and its count is that of its messages."""
        await talks.append_messages(ConversationRow(id="c1", last="x"), [Message.user("1")], expect=0)
        await talks.append_messages(
            ConversationRow(id="c1", last="y"), [Message.user("2"), Message.user("3")], expect=1
        )

        row, messages = await talks.load_conversation("c1")
        assert (row.last, row.messages, [message.text for message in messages]) == ("y", 3, ["1", "2", "3"])

    @pytest.mark.parametrize("expect", [0, 2], ids=["fewer", "more"])
    @pytest.mark.asyncio
    async def test_a_second_speaker_is_refused(self, talks: ConversationStore, expect: int) -> None:
        """Another number of messages means that somebody else wrote; nothing of the addition is kept."""
        await talks.append_messages(ConversationRow(id="c1", last="x"), [Message.user("1")], expect=0)

        with pytest.raises(RunBusyError):
            await talks.append_messages(ConversationRow(id="c1", last="y"), [Message.user("2")], expect=expect)

        row, messages = await talks.load_conversation("c1")
        assert (row.last, len(messages)) == ("x", 1)

    @pytest.mark.asyncio
    async def test_conversations_are_listed_newest_first(self, talks: ConversationStore) -> None:
        """By when they were last written; at most as many as wanted."""
        for number, id in enumerate(("c1", "c2", "c3", "c1")):
            expect = 1 if number == 3 else 0
            await talks.append_messages(ConversationRow(id=id, at=float(number)), [Message.user("x")], expect=expect)

        assert [row.id for row in await talks.conversations()] == ["c1", "c3", "c2"]
        assert [row.id for row in await talks.conversations(limit=1)] == ["c1"]

    @pytest.mark.asyncio
    async def test_an_unknown_conversation_is_said_to_be(self, talks: ConversationStore) -> None:
        """By the error that commands know."""
        with pytest.raises(RunNotFoundError):
            await talks.load_conversation("never")

    @pytest.mark.asyncio
    async def test_conversations_do_not_mix(self, talks: ConversationStore) -> None:
        """Each id has a history of its own."""
        for id in _ODD_IDS:
            await talks.append_messages(ConversationRow(id=id), [Message.user(id)], expect=0)

        for id in _ODD_IDS:
            assert [message.text for message in (await talks.load_conversation(id))[1]] == [id]


def _row(run: str, state: str = "running", *, root: str | None = None, at: float = 1.0) -> RunRow:
    return RunRow(run=run, root=root or run, agent="a", state=state, input={"x": [1, "ü"]}, at=at)  # type: ignore[arg-type]  # one of the states


def _event(run: str, seq: int, text: str = "ü\u2028") -> Event:
    return Event(id=f"{run}.{seq}", run=run, seq=seq, kind="step.done", at=1.5, data={"n": seq, "text": text})


def _step(run: str, number: int, state: str = "done", *, artifact: str | None = None) -> StepRecord:
    return StepRecord(
        run=run,
        step=f"tool.call:x#{number}",
        op="tool.call:x",
        state=state,  # type: ignore[arg-type]  # one of the states
        result={"text": "x"} if artifact is None else None,
        artifact=artifact,
        usage=Usage(1, 2, source="provider"),
        at=2.5,
    )


__all__ = ["ConversationStoreSuite", "StoreControlSuite", "StoreSuite"]
