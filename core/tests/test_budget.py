"""The budget tree: reserved before use, settled after, shared with child runs; prices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, tool
from pegboard.budget import Account
from pegboard.errors import BudgetExceededError, ModelServerError
from pegboard.prices import Prices, cost_of, most_cost, says_all
from pegboard.types import (
    UNSET,
    Allow,
    BudgetRequest,
    Deny,
    File,
    Message,
    ModelSettings,
    Price,
    PriceTable,
    PriceTier,
    ResourceLimits,
    RunState,
    Settlement,
    ToolResult,
    Usage,
    evolve,
)
from pegboard_replay import CUT, FunctionModel, Gate, ScriptedModel, call, turn
from pegboard_testing import FakeClock

if TYPE_CHECKING:
    from core.tests.conftest import Bench


@tool(effect="pure", inline=True)
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


def account(**limits: Any) -> Account:
    return Account(ResourceLimits(**limits), FakeClock())


def test_a_reservation_counts_until_it_is_settled() -> None:
    """What is reserved cannot be used twice; what was not used comes back."""
    budget = account(tokens=100)
    reservation = budget.reserve({"tokens": 80})

    assert budget.remaining("tokens") == 20
    reservation.settle({"tokens": 30})
    assert (budget.remaining("tokens"), budget.used("tokens")) == (70, 30)


def test_a_released_reservation_leaves_nothing() -> None:
    """Nothing was used, so everything is there again; a second release changes nothing."""
    budget = account(requests=1)
    reservation = budget.reserve({"requests": 1})
    reservation.release()
    reservation.release()

    assert budget.remaining("requests") == 1


def test_a_unit_that_is_not_known_afterwards_stands_as_reserved() -> None:
    """A stream that was cut without usage costs what was set aside for it."""
    budget = account(tokens=100)
    budget.reserve({"tokens": 80, "requests": 1}).settle({"requests": 1})

    assert budget.used("tokens") == 80


def test_a_refusal_says_where_the_tokens_come_from() -> None:
    """Not only the sum, which nobody asked for."""
    with pytest.raises(BudgetExceededError) as caught:
        account(tokens=3).reserve({"tokens": 4105, "requests": 1}, made_of="9 for the request, 4096 for the answer")

    assert caught.value.message == (
        "the budget of this run is 3 tokens: 0 are used or reserved, "
        "and this step may need 4105 more (9 for the request, 4096 for the answer)"
    )


def test_nothing_is_reserved_where_a_limit_above_says_no() -> None:
    """A refusal anywhere in the chain leaves all accounts as they were."""
    root = account(tokens=50)
    child = Account(ResourceLimits(tokens=1000), FakeClock(), parent=root, name="child")

    with pytest.raises(BudgetExceededError, match="budget of a run above this one is 50 tokens: 0 are used"):
        child.reserve({"tokens": 60})
    assert (root.used("tokens"), child.used("tokens")) == (0, 0)


def test_the_smallest_remainder_of_the_chain_holds() -> None:
    """A child may use what is left to it and to everybody above it."""
    root = account(tokens=50, seconds=10)
    child = Account(ResourceLimits(tokens=20, cost_usd=1), FakeClock(), parent=root)
    child.reserve({"tokens": 15})

    assert child.remaining("tokens") == 5
    assert root.remaining("tokens") == 35
    assert child.remaining("seconds") == 10
    assert child.remaining("cost_usd") == 1
    assert child.remaining("tool_calls") is None
    assert child.limits("tokens")
    assert not child.limits("requests")


def test_time_runs_out() -> None:
    """Seconds are counted from the moment when the account was opened, and never below nothing."""
    clock = FakeClock()
    budget = Account(ResourceLimits(seconds=5), clock)
    clock.advance(3)
    assert budget.remaining("seconds") == 2
    clock.advance(30)
    assert budget.remaining("seconds") == 0


def test_a_warning_comes_once_for_each_unit() -> None:
    """At four fifths of a limit there is one warning, however often more is used."""
    warned: list[tuple[str, str, float, float]] = []
    budget = Account(ResourceLimits(tokens=10), FakeClock(), warn=lambda *what: warned.append(what))
    for _ in range(5):
        budget.reserve({"tokens": 2}).settle({})

    assert warned == [("run", "tokens", 0.8, 10)]


# --- prices ------------------------------------------------------------------------------------------------------


TODAY = 1_770_000_000.0  # 2026-02-02


def table(model: str, price: float, dated: str = "2026-01-01", valid_from: str = "", **more: Any) -> PriceTable:
    row = Price(provider="demo", model=model, input=price, output=2 * price, valid_from=valid_from, **more)
    return PriceTable(prices=(row,), dated=dated, source="test")


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        pytest.param([], None, id="no table"),
        pytest.param([table("other", 1)], None, id="no row"),
        pytest.param([table("big", 1)], 1, id="by name"),
        pytest.param([table("b*", 1)], 1, id="by pattern"),
        pytest.param([table("big", 1, "2026-01-01"), table("big", 2, "2026-02-01")], 2, id="the newest table"),
        pytest.param([table("*", 1, "2026-01-01"), table("big", 2, "2026-01-01")], 2, id="the longest pattern"),
        pytest.param(
            [table("big", 1, valid_from="2025-01-01"), table("big", 2, valid_from="2026-01-01")], 2, id="valid last"
        ),
    ],
)
def test_the_price_of_a_model(tables: list[PriceTable], expected: float | None) -> None:
    """A price is looked up by provider and name; of several, the newest and most exact row holds."""
    price = Prices(tables).find("demo:big", TODAY)

    assert (price.input if price else None) == expected


def rows(*prices: Price, ordered: bool = False) -> Prices:
    return Prices([PriceTable(prices=prices, dated="2026-01-01", source="test", ordered=ordered)])


def row(model: str = "", input: float = 1, **more: Any) -> Price:
    return Price(provider="demo", model=model, input=input, output=1, **more)


def priced(prices: Prices, name: str, at: float = TODAY) -> float | None:
    found = prices.find(f"demo:{name}", at)
    return None if found is None else found.input


def test_a_price_of_the_future_does_not_count_yet() -> None:
    """It does from its day on, in the same process too."""
    prices = rows(row("big", 1), row("big", 2, valid_from="2026-02-03"))

    assert priced(prices, "big") == 1
    assert priced(prices, "big", TODAY + 86_400) == 2
    assert priced(rows(row("new", 1, valid_from="2026-02-03")), "new") is None


def test_a_name_may_be_matched_by_a_regular_expression() -> None:
    """Anywhere in it, in lower case."""
    prices = rows(row(match="^o[134](-mini)?$"))

    assert (priced(prices, "O3-mini"), priced(prices, "o2")) == (1, None)


def test_in_an_ordered_table_the_first_name_counts() -> None:
    """Whatever is longer or valid later below it."""
    prices = rows(
        row("b*", 1), row("big", 5, valid_from="2026-01-01"), row("b*", 2, valid_from="2026-01-01"), ordered=True
    )

    assert priced(prices, "big") == 2


def test_of_thousands_of_rows_a_model_is_looked_for_once() -> None:
    """The second look-up of a model does not look at a row."""
    prices = rows(*[row(f"m{n}") for n in range(5000)])
    first = prices.find("demo:m4999", TODAY)
    prices._rows.clear()

    assert first is not None
    assert prices.find("demo:m4999", TODAY + 60) is first


def test_a_long_request_is_in_a_tier() -> None:
    """For all of its tokens, from the first one above the threshold on."""
    price = row("big", 1, tiers=(PriceTier(over_tokens=1000, input=2, output=10, cache_read=0.5),))

    assert cost_of(price, Usage(1000, 0)) == pytest.approx(1000e-6)
    assert cost_of(price, Usage(1001, 100, 1)) == pytest.approx((2000 + 0.5 + 1000) * 1e-6)


def test_what_is_reserved_is_the_dearest_that_it_can_be() -> None:
    """All of the request may be written to a cache."""
    assert most_cost(row("big", 4, cache_write=5), 1_000_000, 1_000_000) == 6


@pytest.mark.parametrize("where", ["request", "tool", "answer"])
def test_what_is_priced_apart_makes_a_cost_unknown(where: str) -> None:
    """Wherever it stands; other kinds are in the price of text."""
    sound, picture = File(media_type="audio/wav", data=b"x"), File(media_type="image/png", data=b"x")
    price = row("big", apart=("audio",))

    def asked(file: File) -> tuple[list[Message], tuple[File, ...]]:
        held = ToolResult(call_id="1", content=(file,)) if where == "tool" else file
        return [Message("user", (held,))] if where != "answer" else [], (file,) if where == "answer" else ()

    assert says_all(price, *asked(picture))
    assert not says_all(price, *asked(sound))
    assert says_all(row("big"), *asked(sound))


def test_cached_tokens_have_prices_of_their_own() -> None:
    """Input includes cache reads and writes; where their price is not known, it is that of input."""
    usage = Usage(1_000_000, 1_000_000, 500_000, 250_000)

    assert cost_of(table("big", 4).prices[0], usage) == 4 + 8
    assert cost_of(table("big", 4, cache_read=1, cache_write=5).prices[0], usage) == 1 + 0.5 + 1.25 + 8


@pytest.mark.parametrize(
    ("price", "usage"),
    [
        pytest.param(None, Usage(1, 1), id="no price"),
        pytest.param(table("big", 1).prices[0], Usage(None, 1), id="input unknown"),
        pytest.param(table("big", 1).prices[0], Usage(1, None), id="output unknown"),
    ],
)
def test_an_unknown_cost_is_no_number(price: Price | None, usage: Usage) -> None:
    """Without price or usage there is no cost; 0 would be a lie."""
    assert cost_of(price, usage) is None


def test_unknown_usage_stays_unknown_when_it_is_added() -> None:
    """Unknown plus anything is unknown; nothing sent plus anything is that."""
    known, unknown = Usage(1, 2, 0, 0, 0, 1, "provider"), Usage()

    assert (known + unknown).input_tokens is None
    assert (known + known).total_tokens == 6
    assert (known + unknown).source == "estimated"
    assert known + Usage(0, 0, 0, 0, 0, 0) == known
    assert Usage(0, 0, 0, 0, 0, 0) + known == known


# --- in a run ----------------------------------------------------------------------------------------------------

SHORT = ModelSettings(max_output_tokens=10)


def agent(**config: Any) -> Agent:
    return Agent("agent", settings=SHORT, **config)


async def test_a_run_ends_before_a_request_that_its_budget_does_not_cover(bench: Bench) -> None:
    """The request is not sent, and the end reason is `budget`."""
    model = ScriptedModel(["never"])
    result = await bench.run(model, agent=agent(), limits=ResourceLimits(tokens=5))

    assert (result.end_reason, model.requests) == ("budget", [])
    assert isinstance(result.error, BudgetExceededError)


async def test_a_request_settles_what_it_really_used(bench: Bench) -> None:
    """The reservation is replaced by the usage that the provider reported."""
    model = ScriptedModel([turn(call("add", a=1, b=2), usage=Usage(30, 5)), turn("3", usage=Usage(40, 5))])
    run = bench.prepare(model, agent=agent(tools=[add]), limits=ResourceLimits(tokens=1000, requests=2, tool_calls=1))
    result = await bench.runner().drive(run)

    assert result.ok
    assert run.budget.used("tokens") == 80
    assert (run.budget.remaining("requests"), run.budget.remaining("tool_calls")) == (0, 0)


async def test_a_request_without_usage_costs_what_was_reserved(bench: Bench) -> None:
    """Unknown is never taken for nothing."""
    run = bench.prepare(ScriptedModel(["hi"]), agent=agent(), limits=ResourceLimits(tokens=1000))
    await bench.runner().drive(run)

    assert run.budget.used("tokens") > 10


@pytest.mark.parametrize(
    ("script", "used"),
    [
        pytest.param(ModelServerError("no"), 0, id="never sent"),
        pytest.param(turn("half", CUT), 1, id="cut while it streamed"),
    ],
)
async def test_a_failed_request_costs_something_only_when_it_had_begun(bench: Bench, script: Any, used: int) -> None:
    """A refused connection gives everything back; a stream that was cut keeps the reservation."""
    run = bench.prepare(ScriptedModel([script]), agent=agent(), limits=ResourceLimits(requests=5))
    await bench.runner().drive(run)

    assert run.budget.used("requests") == used


async def test_a_tool_call_over_the_limit_ends_the_run_with_a_valid_history(bench: Bench) -> None:
    """The call gets a result that says why, and the run ends with `budget`."""
    model = ScriptedModel([call("add", a=1, b=2), turn(call("add", a=1, b=3), call("add", a=1, b=4))])
    result = await bench.run(model, agent=agent(tools=[add]), limits=ResourceLimits(tool_calls=2))

    assert result.end_reason == "budget"
    assert [r.code for r in bench.results(result)] == [None, None, "budget.exceeded"]


async def test_a_limit_of_the_agent_and_one_of_the_run_both_hold(bench: Bench) -> None:
    """For each unit the smaller one counts."""
    run = bench.prepare(
        ScriptedModel([]), agent=agent(limits=ResourceLimits(tokens=10, requests=7)), limits=ResourceLimits(tokens=99)
    )

    assert (run.budget.remaining("tokens"), run.budget.remaining("requests")) == (10, 7)


async def test_the_operator_binds_every_run(bench: Bench) -> None:
    """What an agent or a caller asks for can only be less than what the operator allows."""
    bench.bound(resources=ResourceLimits(requests=1))
    generous = ResourceLimits(requests=100)
    one = bench.prepare(ScriptedModel([]), agent=agent(limits=generous))
    other = bench.prepare(ScriptedModel([]), agent=agent(), limits=generous)

    assert (one.budget.remaining("requests"), other.budget.remaining("requests")) == (1, 1)


async def test_a_run_that_is_nearly_at_its_limit_says_so(bench: Bench) -> None:
    """The warning is an event of the run."""
    result = await bench.run(
        ScriptedModel([turn("hi", usage=Usage(85, 5))]), agent=agent(), limits=ResourceLimits(requests=1)
    )

    (warning,) = bench.events(result, "budget.warning")
    assert (warning["unit"], warning["share"], warning["limit"]) == ("requests", 1.0, 1)


async def test_a_money_limit_refuses_a_model_without_price(bench: Bench) -> None:
    """A limit that cannot be kept is not pretended to be kept."""
    model = ScriptedModel(["never"])
    result = await bench.run(model, agent=agent(), limits=ResourceLimits(cost_usd=1))

    assert (result.end_reason, model.requests) == ("budget", [])
    assert result.error is not None
    assert getattr(result.error, "code", "") == "budget.price_unknown"


async def test_an_unknown_price_may_be_allowed(bench: Bench) -> None:
    """Whoever says so gets the run, with its cost unknown."""
    bench.unknown_price = "allow"
    result = await bench.run(ScriptedModel(["hi"]), agent=agent(), limits=ResourceLimits(cost_usd=1))

    assert (result.ok, result.cost_usd, result.unpriced_models) == (True, None, ("scripted:script",))


async def test_money_is_counted_where_there_is_a_price(bench: Bench) -> None:
    """The cost of a run is that of its requests, and the account knows it."""
    bench.price("scripted:script", input=1_000_000, output=2_000_000)
    run = bench.prepare(
        ScriptedModel([turn("hi", usage=Usage(3, 1))]), agent=agent(), limits=ResourceLimits(cost_usd=1000)
    )
    result = await bench.runner().drive(run)

    assert (result.cost_usd, run.budget.used("cost_usd"), result.unpriced_models) == (5, 5, ())


async def test_a_run_without_requests_costs_nothing(bench: Bench) -> None:
    """No request means 0, and that is known."""
    assert (await bench.run(ScriptedModel([]), agent=agent(), limits=ResourceLimits(tokens=1))).cost_usd == 0.0


async def test_sixteen_parallel_children_never_overspend(bench: Bench) -> None:
    """Children reserve from one account, so together they stay within it however they interleave."""
    sent, ready = 0, Gate()

    async def answer(request: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent == 3:
            ready.open()
        await ready.wait()
        return turn("ok", usage=Usage(50, 10))

    bench.models["shared"] = FunctionModel(answer)
    child = agent(model="shared")

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            results = await asyncio.gather(*(ctx.call_agent(child, "hi", required=False) for _ in range(16)))
            return evolve(state, output=[result.end_reason for result in results])

    run = bench.prepare(None, agent=Parent("parent"), limits=ResourceLimits(requests=3))
    result = await bench.runner().drive(run)

    assert sent == 3
    assert sorted(result.output) == ["budget"] * 13 + ["completed"] * 3
    assert run.budget.remaining("requests") == 0
    assert result.usage.requests == 3


async def test_a_child_is_bound_by_its_own_limits_too(bench: Bench) -> None:
    """Limits given to a child run hold for it and not for its parent."""
    bench.models["m"] = ScriptedModel(["one", "two"])

    class Parent(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            refused = await ctx.call_agent(
                Agent("a", model="m"), "hi", required=False, limits=ResourceLimits(requests=0)
            )
            fine = await ctx.call_agent(Agent("b", model="m"), "hi")
            return evolve(state, output=(refused.end_reason, fine.output))

    assert (await bench.run(None, agent=Parent("parent"))).output == ("budget", "one")


async def test_an_answer_can_not_be_longer_than_what_was_reserved_for_it(bench: Bench) -> None:
    """Under a limit on tokens the model is told how long its answer may be at most."""
    model = ScriptedModel(["hi", "hi"])
    await bench.run(model, limits=ResourceLimits(tokens=100_000))
    await bench.run(model)

    assert [request.settings.max_output_tokens for request in model.requests] == [4096, None]


# --- plugins -----------------------------------------------------------------------------------------------------


async def test_a_plugin_may_refuse_a_budget(bench: Bench) -> None:
    """A deny of `reserve_budget` ends the run, and what core had reserved is given back."""
    asked: list[BudgetRequest] = []

    def reserve_budget(ctx: Any, request: BudgetRequest) -> Deny:
        asked.append(request)
        return Deny("not today")

    bench.plug(reserve_budget=reserve_budget)
    run = bench.prepare(ScriptedModel(["never"]), agent=agent(), limits=ResourceLimits(requests=1))
    result = await bench.runner().drive(run)

    assert (result.end_reason, run.budget.used("requests")) == ("budget", 0)
    assert "not today" in str(result.error)
    assert (asked[0].kind, asked[0].resource) == ("model", "scripted:script")


async def test_settlements_say_what_became_of_each_reservation(bench: Bench) -> None:
    """`settle_budget` is told after each request and call, with what was used or estimated."""
    told: list[Settlement] = []
    bench.plug(reserve_budget=lambda request: Allow(), settle_budget=lambda settlement: told.append(settlement))
    model = ScriptedModel([turn(call("add", a=1, b=2), usage=Usage(7, 3)), turn("half", CUT)])
    await bench.run(model, agent=agent(tools=[add]))

    assert [(s.request.kind, s.tokens, s.outcome, s.estimated) for s in told][:2] == [
        ("model", 10, "done", False),
        ("tool", None, "done", False),
    ]
    assert (told[2].outcome, told[2].estimated) == ("failed", True)


async def test_no_account_is_opened_where_nothing_is_limited(bench: Bench) -> None:
    """Without limits nothing is counted, and everything remains."""
    run = bench.prepare(ScriptedModel(["hi"]), agent=agent())
    result = await bench.runner().drive(run)

    assert result.output is not UNSET
    assert not run.is_bounded
    assert run.budget.remaining("tokens") is None


def test_nobody_is_warned_of_what_is_only_set_aside() -> None:
    """A request that may need the whole rest mostly needs little of it."""
    warned: list[tuple[str, str, float, float]] = []
    budget = Account(ResourceLimits(tokens=10), FakeClock(), warn=lambda *what: warned.append(what))
    first, second = budget.reserve({"tokens": 6}), budget.reserve({"tokens": 4})
    first.settle({"tokens": 1})

    assert warned == []

    second.settle({"tokens": 8})

    assert warned == [("run", "tokens", 0.9, 10)]
