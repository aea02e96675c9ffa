"""What every store promises; the memory store of core is the reference."""

from __future__ import annotations

import asyncio

import pytest
from pegboard import Event
from pegboard.errors import RunBusyError, RunNotFoundError
from pegboard.interfaces import RunRow, StepRecord, Store
from pegboard.types import Usage


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


def _row(run: str, state: str = "running", *, root: str | None = None, at: float = 1.0) -> RunRow:
    return RunRow(run=run, root=root or run, agent="a", state=state, input={"x": [1, "ü"]}, at=at)  # type: ignore[arg-type]  # one of the states


def _event(run: str, seq: int) -> Event:
    return Event(id=f"{run}.{seq}", run=run, seq=seq, kind="step.done", at=1.5, data={"n": seq, "text": "ü\u2028"})


def _step(run: str, number: int, state: str = "done") -> StepRecord:
    return StepRecord(
        run=run,
        step=f"tool.call:x#{number}",
        op="tool.call:x",
        state=state,  # type: ignore[arg-type]  # one of the states
        result={"text": "x"},
        usage=Usage(1, 2, source="provider"),
        at=2.5,
    )


__all__ = ["StoreSuite"]
