"""Rows, entries and versions that hold something else than was written: a typed error that names what is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pegboard import Event
from pegboard.errors import JournalCorruptError, JournalUnserializableError, JournalVersionError, StorageError
from pegboard.interfaces import ConversationRow, RunRow
from pegboard_sqlite import SqliteStore, schema
from pegboard_sqlite.retention import Retention

OpenStore = Callable[..., SqliteStore]


async def add(store: SqliteStore, run: str, seq: int = 0, data: Any = None) -> None:
    event = Event(id=f"{run}.{seq}", run=run, seq=seq, kind="k", at=0.0, data=data or {})
    await store.append(RunRow(run=run, root=run, state="done", at=1.0), [event], [])


def changed(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def damaged(open_store: OpenStore, path: Path, *statements: str) -> SqliteStore:
    """A store with the runs `r1` and `r2` after something was done to the first."""
    before = open_store()
    for run in ("r1", "r2"):
        await add(before, run)
    await before.aclose()
    changed(path, *statements)
    return open_store()


@pytest.mark.parametrize(
    "change",
    [
        "update run set row = 7 where number = 1",
        "update run set row = x'ff' where number = 1",
        "update run set row = '' where number = 1",
        "update run set input = 7 where number = 1",
        "update run set input = x'22ff22' where number = 1",
        "update entry set events = 'text' where slot >> 32 = 1",
        "update entry set steps = 1.5 where slot >> 32 = 1",
    ],
)
async def test_what_is_damaged_names_its_run(open_store: OpenStore, path: Path, change: str) -> None:
    """Whatever a column holds; the check says it, and the other run is as it was."""
    store = await damaged(open_store, path, change)

    with pytest.raises(JournalCorruptError, match="`r1`") as caught:
        await store.load("r1")
    problems = await store.check()

    assert caught.value.hint == "peg doctor --deep"
    assert len(problems) == 1
    assert "`r1`" in problems[0]
    assert len((await store.load("r2"))[1]) == 1


@pytest.mark.parametrize("change", ["row = 7", "row = 7, at = 'when', root = x'ff'", "row = x'7b', at = -1e308"])
async def test_a_damaged_row_is_listed_beside_the_others(open_store: OpenStore, path: Path, change: str) -> None:
    """With what is wrong, so that it can be seen and forgotten."""
    store = await damaged(open_store, path, f"update run set {change} where number = 1")

    first, second = await store.runs()

    assert (first.run, first.state) == ("r2", "done")
    assert (second.run, second.state, (second.summary or {})["error"]["code"]) == ("r1", "parked", "journal.corrupt")
    await store.remove(["r1"])
    assert [row.run for row in await store.runs()] == ["r2"]


async def test_a_damaged_name_costs_no_other_run(open_store: OpenStore, path: Path) -> None:
    """It is listed by what can be read of it."""
    store = await damaged(open_store, path, "update run set id = cast(x'7231ff' as text), row = 7 where number = 1")

    assert [row.run for row in await store.runs()] == ["r2", "r1\ufffd"]


async def test_nothing_is_added_after_a_damaged_entry(open_store: OpenStore, path: Path) -> None:
    """Where the next event belongs is not known."""
    store = await damaged(open_store, path, "update entry set count = 'many' where slot >> 32 = 1")

    with pytest.raises(JournalCorruptError, match="`r1`"):
        await add(store, "r1", 1)


async def test_a_run_of_unknown_age_is_not_forgotten(open_store: OpenStore, path: Path) -> None:
    """By retention, while those that are known to be old are."""
    await damaged(open_store, path, "update run set at = 'when' where number = 1")
    store = open_store(retention=Retention(keep_days=1))

    await add(store, "r3")
    await store.aclose()

    assert {row.run for row in await store.runs()} == {"r1"}


async def test_a_damaged_conversation_is_listed_beside_the_others(open_store: OpenStore, path: Path) -> None:
    """Reading it names it."""
    before = open_store()
    for id in ("c1", "c2"):
        await before.append_messages(ConversationRow(id=id, at=1.0), [], expect=0)
    await before.aclose()
    changed(path, "update conversation set row = 7, count = 'many' where id = 'c1'")
    store = open_store()

    with pytest.raises(JournalCorruptError, match="`c1`"):
        await store.load_conversation("c1")
    with pytest.raises(JournalCorruptError, match="`c1`"):
        await store.conversations()
    changed(path, "update conversation set count = 3 where id = 'c1'")
    assert [(row.id, row.messages) for row in await store.conversations()] == [("c2", 0), ("c1", 3)]


async def test_a_blob_that_became_a_number_is_found(open_store: OpenStore, path: Path) -> None:
    """Like one with other bytes."""
    store = open_store()
    ref = await store.put_blob(b"right")
    changed(path, "update blob set data = 7")

    assert await store.check() == [f"blob `{ref}` holds something else than was put"]


@pytest.mark.parametrize("change", ["delete from migration", "drop table migration"])
async def test_a_newer_file_is_refused_whoever_wrote_it(open_store: OpenStore, path: Path, change: str) -> None:
    """What tells who it was is of a newer version too."""
    store = await damaged(open_store, path, f"pragma user_version = {len(schema.MIGRATIONS) + 1}", change)

    with pytest.raises(JournalVersionError, match="written by an unknown program"):
        await store.runs()


@pytest.mark.parametrize("version", [0, -5])
async def test_an_impossible_version_is_damage(open_store: OpenStore, path: Path, version: int) -> None:
    """A file of ours has one from the moment it is ours."""
    store = await damaged(open_store, path, f"pragma user_version = {version}")

    with pytest.raises(JournalCorruptError, match=f"version {version}"):
        await store.runs()


async def test_an_empty_file_with_a_version_is_of_another_program(open_store: OpenStore, path: Path) -> None:
    """Nothing is made in it."""
    changed(path, "pragma user_version = -5")

    with pytest.raises(StorageError, match="another program"):
        await open_store().runs()


async def test_what_is_nested_too_deeply_is_refused(store: SqliteStore) -> None:
    """As something that cannot be recorded; nothing was added."""
    deep: dict[str, Any] = {}
    for _ in range(50_000):
        deep = {"a": deep}

    with pytest.raises(JournalUnserializableError, match="`r1`"):
        await add(store, "r1", data=deep)
    assert await store.runs() == []


async def test_what_is_stored_too_deeply_is_damage(open_store: OpenStore, path: Path) -> None:
    """Somebody else wrote it."""
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    event = f'{{"id":"r1.0","run":"r1","seq":0,"kind":"k","at":0,"data":{deep}}}'
    store = await damaged(open_store, path, f"update entry set events = cast('{event}' as blob) where slot >> 32 = 1")

    with pytest.raises(JournalCorruptError, match="`r1`"):
        await store.load("r1")
