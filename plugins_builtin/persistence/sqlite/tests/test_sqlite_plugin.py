"""The plugin: settings, the driver on a board, and what it says of its health."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from pegboard import Agent, Pegboard
from pegboard.errors import ConfigError, StorageError
from pegboard.interfaces import HostContext
from pegboard_replay import ScriptedModel
from pegboard_sqlite import SqliteStore
from pegboard_sqlite import plugin as module
from pegboard_sqlite.plugin import Plugin, Settings, make_store
from pegboard_testing.conformance.roles import ManifestSuite


class Context:
    """As much of a host as the plugin uses."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.config = config
        self.data_dir = folder
        self.clock = None
        self.log = None


def context(folder: Path, **config: Any) -> HostContext:
    return cast(HostContext, Context(folder, **config))


def test_the_file_is_in_the_data_folder_unless_it_is_said(tmp_path: Path) -> None:
    """`~` is the home of whoever runs it."""
    assert make_store(context(tmp_path)).path == tmp_path / "store.db"
    assert make_store(context(tmp_path, path="~/x.db")).path == Path.home() / "x.db"


def test_unknown_settings_are_refused(tmp_path: Path) -> None:
    """A misspelt setting is an error and not silence."""
    with pytest.raises(msgspec.ValidationError, match="keep_day"):
        make_store(context(tmp_path, keep_day=1))


class TestSqliteManifest(ManifestSuite):
    @pytest.fixture
    def package(self) -> Path:
        return Path(module.__file__).parent

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings


async def test_a_sound_file_is_well(tmp_path: Path) -> None:
    """And one that is not there yet is no finding."""
    ctx = context(tmp_path)
    assert await Plugin().check_health(ctx) is None

    store = SqliteStore(tmp_path / "store.db")
    await store.put_blob(b"x")
    await store.aclose()
    assert await Plugin().check_health(ctx) == []


async def test_a_damaged_file_is_a_finding(tmp_path: Path) -> None:
    """With what is wrong."""
    put(tmp_path / "store.db", b"no database" * 1000)

    findings = await Plugin().check_health(context(tmp_path))

    assert findings is not None
    assert [finding.status for finding in findings] == ["fail"]
    assert "damaged" in findings[0].what


async def test_a_home_that_is_nowhere_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    """And a finding with what mends it."""
    ctx = context(tmp_path, path="~nobody-of-this-name/store.db")

    with pytest.raises(ConfigError, match="nobody-of-this-name"):
        make_store(ctx)
    findings = await Plugin().check_health(ctx)
    assert findings is not None
    assert [finding.fix for finding in findings] == ["peg config set plugins.sqlite.path PATH"]


async def test_a_file_in_place_of_the_data_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a fault of the store, with a hint that shows the file."""
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path))
    (tmp_path / "data" / "plugins").mkdir(parents=True)
    put(tmp_path / "data" / "plugins" / "sqlite", b"")

    with pytest.raises(StorageError, match="for the store cannot be used") as caught:
        await Pegboard(autoload=True).start()
    assert caught.value.hint == f"ls -ld {tmp_path / 'data' / 'plugins' / 'sqlite'}"


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


async def test_a_board_has_the_driver_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is in the plugin's data folder."""
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path))
    async with Pegboard(autoload=True, config={"drivers": {"store": "sqlite"}}) as board:
        assert board.durable
        await board.run(Agent("a", model=ScriptedModel(["ok"])), "go", durable=True)
        store = board.plugins.driver("store")
        await store.aclose()

    assert store.path == tmp_path / "data" / "plugins" / "sqlite" / "store.db"
    assert await store.size_bytes() > 0


async def test_a_board_keeps_its_runs_and_conversations(tmp_path: Path) -> None:
    """In the file, and another board goes on with them."""
    store = SqliteStore(tmp_path / "store.db")
    agent = Agent("a", model=ScriptedModel(["one"]))
    async with Pegboard(store=store, agents=[agent]) as board:
        talk = board.conversations.create("c", agents=["a"])
        await talk.send("first")
    await store.aclose()

    store = SqliteStore(tmp_path / "store.db")
    async with Pegboard(store=store, agents=[Agent("a", model=ScriptedModel(["again"]))]) as board:
        talk = await board.conversations.open("c")
        await talk.send("second")
        assert [message.text for message in talk.messages if message.text] == ["first", "one", "second", "again"]
    assert [row.state for row in await store.runs()] == ["done", "done"]
    assert await store.check() == []
    await store.aclose()
