"""The rows of the bundled data in the cache folder: made once, read afterwards, made anew where they are damaged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import pegboard_prices
import pytest
from pegboard.interfaces import HostContext
from pegboard_prices import kept
from pegboard_prices.kept import bundled_table
from pegboard_testing import MakeBoard, startup_imports

PACKAGE = Path(pegboard_prices.__file__).parent
TODAY = date(2026, 11, 21)
EMPTY = msgspec.msgpack.encode({"dates": [], "prices": []})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one."""
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
async def ctx(make_board: MakeBoard) -> HostContext:
    """The context that the plugin is given."""
    board = await make_board(folders=[PACKAGE])
    return board.plugins.context("prices")


def the_file(ctx: HostContext) -> Path:
    """The one file of the cache folder."""
    (file,) = ctx.cache_dir.iterdir()
    return file


def test_the_table_says_where_it_is_from_and_of_when(ctx: HostContext) -> None:
    """Of a day that was, whatever days its prices speak of."""
    made = bundled_table(ctx, TODAY)

    assert made.source.startswith("genai-prices ")
    assert "2026-01-01" < made.dated <= "2026-11-21"


def test_what_is_read_is_what_was_made(ctx: HostContext) -> None:
    """To the last row and its order."""
    made = bundled_table(ctx, TODAY)

    assert len(made.prices) > 1_000
    assert bundled_table(ctx, TODAY) == made


def test_the_data_is_not_loaded_again(ctx: HostContext, home: Path) -> None:
    """In the next process the rows are read, and the library stays where it is."""
    bundled_table(ctx, TODAY)
    code = f"""
import asyncio, os
os.environ["PEGBOARD_HOME"] = {str(home)!r}
from pegboard import Pegboard

async def ask():
    async with Pegboard(folders=[{str(PACKAGE)!r}]) as board:
        assert (await board.prices()).find("openai:gpt-4o", board.host_context.clock.time())

asyncio.run(ask())
"""
    startup_imports(code, forbidden=["genai_prices"])


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:-9], lambda data: b"junk" + data, lambda data: EMPTY],
    ids=["empty", "cut", "junk", "no rows"],
)
def test_a_damaged_file_is_made_anew(
    ctx: HostContext, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    """Prices are as they were, and it is told."""
    made = bundled_table(ctx, TODAY)
    file = the_file(ctx)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))

    assert bundled_table(ctx, TODAY) == made
    assert the_file(ctx).read_bytes() == whole
    assert "is damaged" in caplog.text


def test_another_version_of_the_data_has_a_file_of_its_own(ctx: HostContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an upgrade brings its prices at once."""
    bundled_table(ctx, TODAY)
    monkeypatch.setattr(kept, "version", lambda _: "9.9.9")

    assert bundled_table(ctx, TODAY).source == "genai-prices 9.9.9"
    assert len(list(ctx.cache_dir.iterdir())) == 2


def test_without_a_place_prices_are_there_all_the_same(ctx: HostContext, home: Path) -> None:
    """Only the time is lost."""
    home.mkdir(exist_ok=True)
    (home / "cache").write_text("a file where the folder should be")

    assert bundled_table(ctx, TODAY).prices
