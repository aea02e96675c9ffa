"""The plugin on a board: whose price counts, what is unknown, and that money is never overspent."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pegboard_prices
import pytest
from pegboard import Agent, Pegboard, RunResult
from pegboard.types import Price, PriceTable, ResourceLimits, RunState, Usage, evolve, to_json
from pegboard_prices.config import Settings
from pegboard_replay import FunctionModel, ScriptedModel, turn
from pegboard_testing import FakeClock, MakeBoard, startup_imports
from pegboard_testing.conformance.roles import ManifestSuite

PACKAGE = Path(pegboard_prices.__file__).parent
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MODEL = "claude-3-5-haiku-latest"
THEIRS = 0.8 + 4.0
"""What a million tokens in and out cost by the data of `genai-prices`."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's own, since rows are kept there."""
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path / "home"))


def model(name: str = MODEL, provider: str = "anthropic") -> ScriptedModel:
    made = ScriptedModel([turn("hi", usage=Usage(1_000_000, 1_000_000, source="provider"))], name=name)
    made.provider = provider
    return made


async def board_with(make_board: MakeBoard, tmp_path: Path, **settings: Any) -> Pegboard:
    config = {"plugins": {"prices": settings}}
    return await make_board(folders=[PACKAGE], clock=FakeClock(NOW.timestamp()), config=config, workspace=tmp_path)


async def result_of(board: Pegboard, asked: ScriptedModel) -> RunResult:
    return await board.run(Agent("a", model=asked), "?")


def own(**prices: Any) -> dict[str, Any]:
    return {"provider": "anthropic", "model": MODEL, "input": 1.0, "output": 1.0, **prices}


def written(path: Path, *prices: Price, dated: str = "2020-01-01") -> str:
    table = PriceTable(prices=prices, dated=dated, source="the finance department")
    path.write_text(json.dumps(to_json(table)))
    return path.name


async def test_the_example_of_the_readme_prices_a_model_of_this_machine(make_board: MakeBoard, tmp_path: Path) -> None:
    """As `pegboard-local` names it."""
    (example,) = re.findall(r"```toml\n(.*?)```", (PACKAGE.parents[1] / "README.md").read_text("utf-8"), re.DOTALL)
    settings = tomllib.loads(example)["plugins"]["prices"]
    written(tmp_path / settings["table"])
    board = await board_with(make_board, tmp_path, **settings)

    assert (await result_of(board, model("qwen3", "ollama"))).cost_usd == 0


async def test_a_known_model_has_a_cost(make_board: MakeBoard, tmp_path: Path) -> None:
    """Without any setting."""
    board = await board_with(make_board, tmp_path)

    assert (await result_of(board, model())).cost_usd == pytest.approx(THEIRS)


async def test_the_cost_of_an_unknown_model_is_unknown(make_board: MakeBoard, tmp_path: Path) -> None:
    """And never 0; the result says which model it was."""
    board = await board_with(make_board, tmp_path)
    result = await result_of(board, model("of-the-future"))

    assert (result.cost_usd, result.unpriced_models) == (None, ("anthropic:of-the-future",))


async def test_a_price_of_ones_own_beats_what_is_known(make_board: MakeBoard, tmp_path: Path) -> None:
    """Also for a model that nobody else knows."""
    board = await board_with(make_board, tmp_path, rows=[own(), own(provider="local", model="*", input=0, output=0)])

    assert (await result_of(board, model())).cost_usd == pytest.approx(2.0)
    assert (await result_of(board, model("llama", "local"))).cost_usd == 0.0


async def test_a_table_of_ones_own_beats_what_is_known(make_board: MakeBoard, tmp_path: Path) -> None:
    """However old it is: whoever configures it wants it."""
    path = written(tmp_path / "prices.json", Price(provider="anthropic", model="claude-3-5-*", input=3, output=4))
    board = await board_with(make_board, tmp_path, table=path)

    assert (await result_of(board, model())).cost_usd == pytest.approx(7.0)


async def test_a_row_beats_the_table(make_board: MakeBoard, tmp_path: Path) -> None:
    """Of the same name, whatever days they hold from."""
    row = Price(provider="anthropic", model=MODEL, input=3, output=4, valid_from="2026-01-01")
    board = await board_with(make_board, tmp_path, rows=[own()], table=written(tmp_path / "prices.json", row))

    assert (await result_of(board, model())).cost_usd == pytest.approx(2.0)


async def test_a_price_that_does_not_hold_yet_is_none(make_board: MakeBoard, tmp_path: Path) -> None:
    """What will be is no reason to take another price for it."""
    board = await board_with(make_board, tmp_path, rows=[own(valid_from="2026-12-01")])

    assert (await result_of(board, model())).cost_usd is None


async def test_without_the_bundled_data_only_ones_own_count(make_board: MakeBoard, tmp_path: Path) -> None:
    """For those who trust no table but theirs."""
    board = await board_with(make_board, tmp_path, bundled=False)

    assert (await result_of(board, model())).cost_usd is None


@pytest.mark.parametrize("content", [None, "{", '{"prices": 5}'], ids=["missing", "no json", "no table"])
async def test_a_table_that_cannot_be_read_leaves_costs_unknown(
    make_board: MakeBoard, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    """Nobody takes other prices for those that were configured; the run goes on."""
    if content is not None:
        (tmp_path / "prices.json").write_text(content)
    board = await board_with(make_board, tmp_path, table="prices.json")

    assert (await result_of(board, model())).cost_usd is None
    assert "the price table `prices.json` cannot be read" in caplog.text


async def test_parallel_children_never_overspend(make_board: MakeBoard, tmp_path: Path) -> None:
    """With real prices: whatever the children do together, the limit of their parent holds."""
    limit, used = 0.05, Usage(400, 900, source="provider")
    board = await board_with(make_board, tmp_path)
    inner = FunctionModel(lambda _: turn("done", usage=used), name=MODEL)
    inner.provider = "anthropic"
    await board.add_agent(Agent("child", model=inner))

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            calls = [ctx.call_agent("child", "go", required=False) for _ in range(16)]
            return evolve(state, output=[result.ok for result in await asyncio.gather(*calls)])

    result = await board.run(Parent("parent", limits=ResourceLimits(cost_usd=limit)), "go")

    each = (400 * 0.8 + 900 * 4) / 1e6
    assert result.cost_usd == pytest.approx(sum(result.output) * each)
    assert result.cost_usd is not None
    assert 0 < result.cost_usd <= limit
    assert not all(result.output)


class TestPricesManifest(ManifestSuite):
    @pytest.fixture
    def package(self) -> Path:
        return PACKAGE

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings


def test_the_schema_has_rows_as_core_has_them() -> None:
    """Whoever writes a row by hand is told of each of its fields."""
    schema = json.loads((PACKAGE / "schemas" / "config.json").read_text())["properties"]

    assert set(schema["rows"]["items"]["properties"]) == set(Price.__struct_fields__)


def test_no_data_before_a_price_is_asked_for() -> None:
    """Neither the data nor the library that it comes with."""
    startup_imports("import pegboard_prices.plugin", forbidden=["genai_prices", "pydantic"])
