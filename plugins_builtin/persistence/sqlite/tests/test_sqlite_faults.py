"""Disks, files and neighbours that fail: a typed error each, and nothing half written."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pegboard import Event
from pegboard.errors import (
    JournalCorruptError,
    JournalVersionError,
    PegboardError,
    StorageError,
    StorageExhaustedError,
)
from pegboard.interfaces import RunRow
from pegboard_sqlite import SqliteStore, schema
from pegboard_sqlite.faults import check_place

OpenStore = Callable[..., SqliteStore]


async def add(store: SqliteStore, run: str, seq: int = 0, text: str = "", *, barrier: bool = False) -> None:
    event = Event(id=f"{run}.{seq}", run=run, seq=seq, kind="k", at=0.0, data={"text": text})
    await store.append(RunRow(run=run, root=run), [event], [], barrier=barrier)


async def writing(store: SqliteStore) -> sqlite3.Connection:
    """The connection that writes."""
    opened: Any = await store._open()
    connection: sqlite3.Connection = opened.connection
    return connection


async def gathered(*work: Any) -> list[Any]:
    return await asyncio.gather(*work, return_exceptions=True)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def make_folder(path: Path) -> None:
    path.mkdir()


def plain(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


# --- no room -----------------------------------------------------------------------------------------------------


async def test_a_full_disk_is_said_and_nothing_is_half_written(store: SqliteStore) -> None:
    """What was recorded before is there; with room again the same addition succeeds."""
    await add(store, "r1")
    connection = await writing(store)
    connection.execute("pragma max_page_count = 30")

    for size in (1000, 1_000_000):  # in the loop, and in a thread
        outcomes = [(await gathered(add(store, f"r{size}", seq, "x" * size)))[0] for seq in range(50)]
        assert isinstance(next(filter(None, outcomes)), StorageExhaustedError)
    assert await store.check() == []
    connection.execute("pragma max_page_count = 100000")

    await add(store, "r1", 1)
    assert len(await store.events("r1")) == 2


async def test_of_a_group_that_does_not_fit_each_is_told(store: SqliteStore) -> None:
    """Those that fit by themselves are added."""
    connection = await writing(store)
    count = connection.execute("pragma page_count").fetchone()[0]
    connection.execute(f"pragma max_page_count = {count + 8}")

    outcomes = await gathered(add(store, "large", text="x" * 100_000), *(add(store, f"r{n}") for n in range(3)))

    assert isinstance(outcomes[0], StorageExhaustedError)
    assert outcomes[1:] == [None] * 3
    assert {row.run for row in await store.runs()} == {"r0", "r1", "r2"}


LIMITED = """
import asyncio, resource, sys
from pegboard import Event
from pegboard.errors import StorageExhaustedError
from pegboard.interfaces import RunRow
from pegboard_sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    seq = 0
    async def add():
        event = Event(id=f"r.{seq}", run="r", seq=seq, kind="k", at=0, data={"text": "x" * 5000})
        await store.append(RunRow(run="r", root="r"), [event], [])
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
    try:
        while True:
            await add()
            seq += 1
    except StorageExhaustedError:
        print("exhausted at", seq)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await add()
    print([event.seq for event in await store.events("r")] == list(range(seq + 1)), await store.check())
    await store.aclose()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_a_file_that_may_not_grow_is_a_full_disk(path: Path) -> None:
    """Although SQLite takes it for a broken one; when it may grow again the run goes on."""
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True)

    said = done.stdout.splitlines()
    assert [said[0].startswith("exhausted at"), *said[1:]] == [True, "True []"], done.stderr


async def test_a_failed_sync_is_said(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to be safe against a power failure is not; no effect begins after that."""
    await add(store, "r1")

    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fdatasync", failing)
    with pytest.raises(StorageError, match="Input/output error"):
        await add(store, "r2", barrier=True)


# --- files that cannot be used -----------------------------------------------------------------------------------


async def test_a_missing_folder_is_said(open_store: OpenStore, tmp_path: Path) -> None:
    """With the command that makes it; it may be a disk that is not there."""
    store = open_store(path=tmp_path / "gone" / "store.db")

    with pytest.raises(StorageError, match="no folder") as caught:
        await add(store, "r1")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'gone'}"


async def test_a_folder_in_its_place_is_said(open_store: OpenStore, path: Path) -> None:
    """What is there is no file."""
    make_folder(path)

    with pytest.raises(StorageError, match="cannot be opened"):
        await open_store().runs()


async def test_the_database_of_another_program_is_left_alone(open_store: OpenStore, path: Path) -> None:
    """Not one byte of it is changed."""
    with plain(path) as other:
        other.execute("create table theirs (x)")
    other.close()
    before = content_of(path)

    with pytest.raises(StorageError, match="another program"):
        await add(open_store(), "r1")
    assert content_of(path) == before


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough" * 50, b"SQLite format 3\0" + b"\xff" * 4080]
)
async def test_a_file_that_is_no_database_is_said(open_store: OpenStore, path: Path, content: bytes) -> None:
    """And left alone."""
    put(path, content)

    with pytest.raises((JournalCorruptError, StorageError)):
        await open_store().runs()
    assert content_of(path) == content


async def test_damaged_pages_are_said(open_store: OpenStore, path: Path) -> None:
    """By reading and by checking; runs in other pages are read."""
    before = open_store()
    for run in ("r1", "r2"):
        for seq in range(50):
            await add(before, run, seq, "x" * 2000)
    await before.aclose()
    data = bytearray(content_of(path))
    middle = len(data) // 4 // 4096 * 4096
    data[middle : middle + 8192] = b"\xee" * 8192
    put(path, bytes(data))

    store = open_store()
    outcomes = await gathered(store.load("r1"), store.load("r2"))

    assert len([error for error in outcomes if isinstance(error, JournalCorruptError)]) == 1
    assert len(await store.check()) > 0


async def test_an_entry_that_cannot_be_read_parks_its_run_alone(store: SqliteStore) -> None:
    """Reading names the run, and so does the check."""
    for run in ("r1", "r2"):
        await add(store, run)
    (await writing(store)).execute("update entry set events = x'7b22' where slot >> 32 = 1")

    with pytest.raises(JournalCorruptError, match="`r1`"):
        await store.load("r1")
    assert len(await store.events("r2")) == 1
    problems = await store.check()
    assert len(problems) == 1
    assert "`r1`" in problems[0]


async def test_what_is_lacking_is_found(store: SqliteStore) -> None:
    """Events, results that were kept as blobs, and blobs that changed."""
    for seq in range(3):
        await add(store, "r1", seq)
    await store.put_blob(b"right")
    connection = await writing(store)
    connection.execute("delete from entry where slot & 1")
    connection.execute("update blob set data = 'wrong'")

    problems = await store.check()

    assert [any(word in problem for problem in problems) for word in ("lacks events", "something else")] == [True, True]


async def test_a_locked_file_is_said(open_store: OpenStore, path: Path) -> None:
    """After waiting for as long as was agreed, and without keeping the loop from other work."""
    store = open_store(patience_s=0.05)
    await add(store, "r1")
    other = plain(path)
    other.execute("begin immediate")

    with pytest.raises(StorageError, match="locked by another process"):
        await add(store, "r1", 1)
    other.execute("rollback")
    other.close()

    await add(store, "r1", 1)


READ_ONLY = """
import asyncio, os, sys
from pegboard import Event
from pegboard.errors import StorageError
from pegboard.interfaces import RunRow
from pegboard_sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    try:
        await store.append(RunRow(run="r", root="r"), [Event(id="r.0", run="r", seq=0, kind="k", at=0)], [])
    except StorageError as error:
        print(error.code, "folder cannot be written" in error.message, error.hint)
    await store.aclose()

os.setgid(65534)
os.setuid(65534)
asyncio.run(main())
"""


@pytest.mark.parametrize("there", [True, False], ids=["file", "folder"])
async def test_what_may_not_be_written_is_said(open_store: OpenStore, tmp_path: Path, there: bool) -> None:
    """A file or a folder of somebody else, or on a disk that is mounted to be read only; the hint shows whose it is."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    if there:
        before = open_store(path=folder / "store.db")
        await add(before, "r1")
        await before.aclose()

    said = as_nobody(READ_ONLY, folder)

    assert said == f"storage.failed True ls -la {folder}\n"


def as_nobody(code: str, folder: Path) -> str:
    """What a program prints that may read the folder and not write to it."""
    if sys.platform == "win32" or os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    for each in (folder, *folder.parents):
        if each.owner() == "root" and str(each).startswith("/tmp/"):
            each.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code, str(folder / "store.db")], capture_output=True, text=True)
    return done.stdout or done.stderr


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/home/x/data", "nfs4"), ("/home/x/data/deep", "nfs4"), ("/mnt/with space", "cifs"), ("/home/local", None)],
)
def test_network_file_systems_are_refused(tmp_path: Path, folder: str, kind: str | None) -> None:
    """As the system lists them: the longest mount point that holds the folder decides."""
    place = tmp_path / folder[1:]
    place.mkdir(parents=True)
    mounts = tmp_path / "mounts"
    listed = [("/", "ext4"), ("/home/x/data", "ext4"), ("/home/x/data", "nfs4"), (r"/mnt/with\040space", "cifs")]
    mounts.write_text("".join(f"1 0 0:1 / {tmp_path}{point} rw - {kind} source rw\n" for point, kind in listed))

    if kind is None:
        check_place(place / "store.db", mounts)
        return
    with pytest.raises(StorageError, match=f"network file system .`{kind}`"):
        check_place(place / "store.db", mounts)


def test_a_system_without_a_list_of_mounts_is_trusted(tmp_path: Path) -> None:
    """Nothing can be told there."""
    check_place(tmp_path / "store.db", tmp_path / "none")


# --- versions ----------------------------------------------------------------------------------------------------


async def test_a_newer_file_is_refused_with_the_fix(open_store: OpenStore, path: Path) -> None:
    """It says who wrote it, and is not changed."""
    before = open_store()
    await add(before, "r1")
    await before.aclose()
    with plain(path) as other:
        other.execute(f"pragma user_version = {len(schema.MIGRATIONS) + 1}")
        other.execute("insert into migration values (99, 'pegboard-sqlite 9.0', 0)")
    other.close()
    content = content_of(path)

    with pytest.raises(JournalVersionError, match=r"written by pegboard-sqlite 9\.0") as caught:
        await open_store().load("r1")
    assert caught.value.hint == "pip install --upgrade pegboard-sqlite"
    assert content_of(path) == content


async def test_an_older_file_is_brought_up_to_date(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is in it."""
    before = open_store()
    await add(before, "r1")
    await before.aclose()

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "create table later (x); alter table run add y"))
    store = open_store()

    assert len(await store.events("r1")) == 1
    connection = await writing(store)
    assert connection.execute("select number from migration").fetchall() == [(1,), (2,)]


async def test_a_migration_that_fails_changes_nothing(
    open_store: OpenStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that are missing are one transaction."""
    before = open_store()
    await add(before, "r1")
    await before.aclose()

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "create table later (x)", "create nonsense"))
        with pytest.raises(PegboardError):
            await open_store().load("r1")

    assert len(await open_store().events("r1")) == 1


async def test_a_newer_event_is_refused(store: SqliteStore) -> None:
    """By the run that has it; a step too."""
    await add(store, "r1")
    (await writing(store)).execute("update entry set events = cast(replace(events, '\"v\":1', '\"v\":99') as blob)")

    with pytest.raises(JournalVersionError, match="version 99"):
        await store.load("r1")
