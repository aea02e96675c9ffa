"""Tokens are counted by the counter that a plugin offers, wherever core needs a count, and estimated without one."""

from __future__ import annotations

from typing import Any

import pytest
from pegboard import Agent, Pegboard, RunContext, RunResult, hookimpl, tool
from pegboard.context import usable_tokens
from pegboard.counting import REMEMBERED_TEXTS, Counting
from pegboard.errors import BudgetExceededError
from pegboard.history import estimate_message, estimate_tokens
from pegboard.interfaces import HostContext
from pegboard.types import BudgetRequest, Message, ModelCapabilities, ResourceLimits, Source
from pegboard_replay import ScriptedModel, call


class Words:
    """Counts words."""

    exact = True

    def __init__(self, fails: object = None) -> None:
        self.texts: list[str] = []
        self._fails = fails

    def count(self, text: str) -> Any:
        self.texts.append(text)
        if isinstance(self._fails, Exception):
            raise self._fails
        return len(text.split()) if self._fails is None else self._fails


class Counts:
    """A plugin that offers a counter for every model."""

    id = "counts"

    def __init__(self, counter: Any = None) -> None:
        self.counter = Words() if counter is None else counter
        self.asked: list[str] = []
        self.requests: list[BudgetRequest] = []

    @hookimpl
    def provide_token_counter(self, ctx: HostContext, model: str) -> Any:
        self.asked.append(model)
        return self.counter

    @hookimpl
    def reserve_budget(self, ctx: RunContext, request: BudgetRequest) -> None:
        self.requests.append(request)


class Page:
    """A source of three words."""

    path, kind, size, digest, owner = "a.txt", "text", 16, "1", "counts"

    def read(self) -> str:
        return "three words here"


@tool(effect="pure", inline=True)
def long() -> str:
    """Give a text of many letters and few words."""
    return "x" * 30_000


def data_of(result: RunResult, kind: str) -> list[Any]:
    return [event.data for event in result.events if event.kind == kind]


async def test_a_budget_reserves_what_was_counted() -> None:
    """And the gate is told whether the number is exact."""
    plugin, limits = Counts(), ResourceLimits(tokens=50_000)
    async with Pegboard(plugins=[plugin]) as board:
        await board.run(Agent(model=ScriptedModel(["ok"]), instructions="a " * 7), "one two three", limits=limits)

    # 7 words of instructions, 3 of the message, 4 for its frame, and 4096 for the answer.
    assert [(request.tokens, request.exact) for request in plugin.requests] == [(7 + 3 + 4 + 4096, True)]


async def test_a_refused_reservation_says_whether_it_was_counted() -> None:
    """`about` is for estimates."""
    for plugins, told in ([Counts()], "(5 for the request"), ([], "(about 7 for the request"):
        async with Pegboard(plugins=plugins) as board:
            with pytest.raises(BudgetExceededError) as caught:
                await board.run(Agent(model=ScriptedModel(["ok"])), "hey", limits=ResourceLimits(tokens=3))
        assert told in str(caught.value)


async def test_a_counter_decides_what_is_too_long_to_show() -> None:
    """What has few tokens by its count stays whole, which the estimate would not have let pass."""
    for plugins, events in ([Counts()], 0), ([], 1):
        async with Pegboard(plugins=plugins) as board:
            result = await board.run(Agent(model=ScriptedModel([call("long"), "ok"]), tools=[long]), "go")
        assert len(data_of(result, "context.offloaded")) == events
        assert [data["exact"] for data in data_of(result, "context.offloaded")] == [False] * events


async def test_a_counter_decides_what_fits_the_window() -> None:
    """The event says that its numbers were counted."""
    history = [Message.user("word " * 50), Message("assistant", Message.user("yes " * 50).parts)]
    model = ScriptedModel(["ok"], capabilities=ModelCapabilities(context_window=100))
    async with Pegboard(plugins=[Counts()]) as board:
        run = board.prepare(Agent(model=model), "now", history=history)
        room = usable_tokens(run, model)
        result = await board.drive(run)

    (data,) = data_of(result, "context.compacted")
    assert room is not None
    assert (data["tokens_before"], data["exact"]) == (4 + 50 + 4 + 50 + 4 + 1, True)
    assert data["tokens_after"] <= room


async def test_sources_are_counted_too() -> None:
    """What a build shows in its event is what the counter said."""

    class Sources(Counts):
        @hookimpl
        def context_gather(self, ctx: RunContext, request: Any) -> list[Source]:
            return [Page()]

    async with Pegboard(plugins=[Sources()]) as board:
        result = await board.run(Agent(model=ScriptedModel(["ok"])), "go")

    (data,) = data_of(result, "context.built")
    assert (data["exact"], [part["tokens"] for part in data["parts"]]) == (True, [3])


async def test_each_model_is_asked_for_once() -> None:
    """A counter may hold a vocabulary, so it is made once and not for each run."""
    plugin = Counts()
    async with Pegboard(plugins=[plugin]) as board:
        for _ in range(2):
            await board.run(Agent(model=ScriptedModel(["ok"])), "go")

    assert plugin.asked == [ScriptedModel([]).id]


async def test_a_plugin_that_goes_takes_its_counter_along() -> None:
    """The next run is estimated."""
    plugin, limits = Counts(), ResourceLimits(tokens=50_000)
    async with Pegboard(plugins=[plugin]) as board:
        await board.run(Agent(model=ScriptedModel(["ok"])), "go", limits=limits)
        before = len(plugin.counter.texts)
        await board.plugins.disable("counts")
        await board.run(Agent(model=ScriptedModel(["ok"])), "go", limits=limits)

    assert len(plugin.counter.texts) == before > 0


@pytest.mark.parametrize("fails", [ValueError("no"), -1, 2.5, "3", True])
async def test_a_counter_that_fails_is_replaced_by_the_estimate(fails: object) -> None:
    """The run goes on, and says once what happened."""
    plugin, limits = Counts(Words(fails)), ResourceLimits(tokens=50_000)
    async with Pegboard(plugins=[plugin]) as board:
        result = await board.run(Agent(model=ScriptedModel([call("long"), "ok"]), tools=[long]), "go", limits=limits)

    assert result.output == "ok"
    assert [entry.what for entry in result.degraded] == [f"counting tokens of `{ScriptedModel([]).id}`"]
    assert (len(plugin.counter.texts), plugin.requests[0].exact) == (1, False)


async def test_what_is_no_counter_is_replaced_by_the_estimate() -> None:
    """A plugin may return anything."""
    async with Pegboard(plugins=[Counts(object())]) as board:
        result = await board.run(Agent(model=ScriptedModel(["ok"])), "go")

    assert (result.output, len(result.degraded)) == ("ok", 1)


def test_a_text_is_counted_once_while_it_is_remembered() -> None:
    """Every request holds most of the one before it, and tokenizers are not quick."""
    counter = Words()
    counting = Counting(counter)
    for text in ["a b", "a b", *map(str, range(REMEMBERED_TEXTS)), "a b"]:
        counting.text(text)

    assert counter.texts.count("a b") == 2


def test_without_a_counter_tokens_are_estimated() -> None:
    """By the one rule of thumb."""
    message = Message.user("some text")

    assert (Counting().text("abc"), Counting().exact) == (estimate_tokens("abc"), False)
    assert Counting().message(message) == estimate_message(message)
