"""Where the file is: links to it, what happens to it while it is open, and ids and paths that nothing can be at."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pegboard import Event
from pegboard.errors import ConfigError, JournalUnserializableError, RunBusyError, RunNotFoundError, StorageError
from pegboard.interfaces import ConversationRow, RunRow
from pegboard_sqlite import SqliteStore

OpenStore = Callable[..., SqliteStore]
NOT_UNICODE = "\udcff"
movable = pytest.mark.skipif(sys.platform == "win32", reason="what is open stays where it is there")


async def add(store: SqliteStore, run: str, seq: int = 0, *, barrier: bool = False) -> None:
    event = Event(id=f"{run}.{seq}", run=run, seq=seq, kind="k", at=0.0)
    await store.append(RunRow(run=run, root=run), [event], [], barrier=barrier)


async def add_until_refused(store: SqliteStore, run: str) -> None:
    """Not every commit is looked at of those that come without a pause."""
    for seq in range(1, 1_000_000):
        await add(store, run, seq)


# --- while it is open --------------------------------------------------------------------------------------------


def remove(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def move_back(path: Path) -> None:
    path.with_name("elsewhere.db").rename(path)


def replace(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def remove_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


@movable
@pytest.mark.parametrize("happens", [remove, move, replace, remove_log])
async def test_nothing_is_added_to_a_file_that_is_gone(
    store: SqliteStore, path: Path, happens: Callable[[Path], None]
) -> None:
    """Nobody would find it again; what was added before was said to be there, and this is not."""
    await add(store, "r1")
    happens(path)

    with pytest.raises(StorageError, match="while it was open") as caught:
        await add(store, "r1", 1, barrier=True)
    assert caught.value.hint == f"ls -li {caught.value.message.split('`')[1]}*"
    with pytest.raises(StorageError, match="while it was open"):
        await store.runs()
    with pytest.raises(StorageError, match="while it was open"):
        await store.remove(["r1"])


@movable
async def test_a_removed_file_is_noticed_without_a_barrier(store: SqliteStore, path: Path) -> None:
    """At once, but for commits that come one after the other without a pause."""
    await add(store, "r1")
    remove(path)

    with pytest.raises(StorageError, match="was removed"):
        await add_until_refused(store, "r1")


@movable
async def test_a_file_that_is_back_is_gone_on_with(store: SqliteStore, path: Path) -> None:
    """What was refused meanwhile is not in it."""
    await add(store, "r1")
    move(path)
    with pytest.raises(StorageError):
        await add_until_refused(store, "r1")
    move_back(path)

    last = len(await store.events("r1"))
    await add(store, "r1", last, barrier=True)
    assert [event.seq for event in await store.events("r1")] == list(range(last + 1))


@movable
async def test_who_lost_his_lock_adds_nothing(open_store: OpenStore, path: Path) -> None:
    """Another store may have taken over the run, so that only one of them drives it."""
    first, second = open_store(), open_store()
    await add(first, "r1")
    shutil.rmtree(path.with_name("owners"))
    await add(second, "r1", 1)

    with pytest.raises(StorageError, match="others may go on"):
        await add(first, "r2", barrier=True)


# --- links -------------------------------------------------------------------------------------------------------


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A place in another folder that is a link to where the file is."""
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link.db"
    link.symlink_to(tmp_path / "store.db")
    return link


def point_elsewhere(link: Path) -> None:
    link.unlink()
    link.with_name("third.db").touch()
    link.symlink_to(link.with_name("third.db"))


async def test_a_link_is_followed(open_store: OpenStore, link: Path) -> None:
    """The file is made where it points to, and nothing beside the link."""
    store = open_store(path=link)
    await add(store, "r1", barrier=True)

    assert [row.run for row in await store.runs()] == ["r1"]
    assert await store.size_bytes() > 0
    assert list(link.parent.iterdir()) == [link]


async def test_who_comes_by_a_link_sees_who_drives(open_store: OpenStore, link: Path) -> None:
    """It is the same file."""
    await add(open_store(), "r1")
    store = open_store(path=link)

    assert await store.driven(["r1"]) == {"r1"}
    with pytest.raises(RunBusyError):
        await add(store, "r1", 1)


async def test_a_link_that_points_elsewhere_is_noticed(open_store: OpenStore, link: Path) -> None:
    """Whoever opens the link next finds another file."""
    store = open_store(path=link)
    await add(store, "r1")
    point_elsewhere(link)

    with pytest.raises(StorageError, match="was replaced"):
        await add(store, "r1", 1, barrier=True)


# --- what can be nowhere -----------------------------------------------------------------------------------------


async def test_ids_that_are_not_unicode_are_not_there(store: SqliteStore) -> None:
    """They cannot be stored, and are looked for like others."""
    await add(store, "r1")

    for work in (store.load(NOT_UNICODE), store.events(NOT_UNICODE), store.get_blob(NOT_UNICODE)):
        with pytest.raises(RunNotFoundError):
            await work
    with pytest.raises(RunNotFoundError):
        await store.load_conversation(NOT_UNICODE)
    assert await store.runs(prefix=NOT_UNICODE) == []
    assert await store.runs(root=NOT_UNICODE) == []
    assert await store.driven([NOT_UNICODE]) == set()
    assert await store.remove([NOT_UNICODE]) == 0


async def test_ids_that_are_not_unicode_are_not_stored(store: SqliteStore) -> None:
    """Nothing is added; also where there are no events yet."""
    for run in (store.append(RunRow(run=NOT_UNICODE, root="r"), [], []), add(store, NOT_UNICODE)):
        with pytest.raises(JournalUnserializableError):
            await run
    with pytest.raises(JournalUnserializableError):
        await store.append_messages(ConversationRow(id=NOT_UNICODE), [], expect=0)
    assert await store.runs() == []


@pytest.mark.parametrize(("limit", "count"), [(10**30, 2), (1, 1), (0, 0), (-1, 0)])
async def test_a_limit_may_be_any_number(store: SqliteStore, limit: int, count: int) -> None:
    """At most so many are listed, however few or many."""
    for run in ("r1", "r2"):
        await add(store, run)

    assert len(await store.runs(limit=limit)) == count


def test_a_path_with_a_nul_is_an_error_of_the_configuration() -> None:
    """The system knows no such path."""
    with pytest.raises(ConfigError) as caught:
        SqliteStore("/tmp/a\0b")
    assert caught.value.hint == "peg config set plugins.sqlite.path PATH"
