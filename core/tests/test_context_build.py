"""The context build and what a model is shown: steps in order, budgets kept, history fitted, nothing destroyed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pegboard import Agent, Message
from pegboard.context import newest_groups, usable_tokens
from pegboard.history import estimate_message, settled
from pegboard.types import (
    Block,
    ContextBuild,
    ContextNeeds,
    ContextRequest,
    HistoryView,
    Json,
    Layout,
    ModelCapabilities,
    ModelSettings,
    Part,
    Receipt,
    Scores,
    Source,
    Text,
    ToolCall,
    Unit,
    Usage,
    evolve,
    tool_result,
)
from pegboard_replay import ScriptedModel, call, turn
from pegboard_testing import FakeTool

if TYPE_CHECKING:
    from core.tests.conftest import Bench


class Page:
    """A source with a text, that knows whether it was read."""

    kind = "text"

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.size = len(text)
        self.digest = f"digest of {path}"
        self.owner = "pages"
        self._text = text
        self.was_read = False

    def read(self) -> str:
        self.was_read = True
        return self._text


def gathers(*pages: Page) -> Callable[[], Sequence[Source]]:
    def context_gather() -> Sequence[Source]:
        return pages

    return context_gather


def windowed(tokens: int | None, *script: Any, **more: Any) -> ScriptedModel:
    return ScriptedModel(script, capabilities=ModelCapabilities(context_window=tokens, **more))


# --- the build ---------------------------------------------------------------------------------------------------


async def test_without_sources_there_is_no_build(bench: Bench) -> None:
    """The history is shown as it is, and no step is made."""
    model = ScriptedModel(["ok"])
    result = await bench.run(model)

    assert list(model.requests[0].messages) == [Message.user("go")]
    assert bench.events(result, "context.built") == []


async def test_what_was_gathered_stands_before_the_task(bench: Bench) -> None:
    """Each part says what it is and who put it there; the log does not hold it."""
    bench.plug(context_gather=gathers(Page("a.py", "print(1)"), Page("b.py", "print(2)")))
    model = ScriptedModel(["ok"])
    result = await bench.run(model, "explain", history=[Message.user("hi"), Message.assistant("hello")])

    texts = [message.text for message in model.requests[0].messages]
    assert texts[:2] == ["hi", "hello"]
    assert "<part id='a.py:1' from='pages'>\nprint(1)\n</part>" in texts[2]
    assert texts[3] == "explain"
    assert [message.text for message in result.messages] == ["hi", "hello", "explain", "ok"]


async def test_a_build_is_one_step_and_says_what_is_in_it(bench: Bench) -> None:
    """The event lists every part with owner, cost and score, and the time of each step."""
    bench.plug(context_gather=gathers(Page("a.py", "print(1)")))
    result = await bench.run(ScriptedModel(["ok"]))

    (built,) = bench.events(result, "context.built")
    (part,) = built["parts"]
    assert (part["id"], part["owner"], part["stability"], part["reason"]) == ("a.py:1", "pages", "turn", None)
    assert (built["used"], built["budget"], built["dropped"]) == (part["tokens"], 18_000, [])
    assert list(built["durations_ms"]) == ["gather", "chunk", "score", "select", "order", "compress"]
    assert bench.events(result, "step.started")[0]["step"] == "context.build#1"


async def test_a_build_is_made_once_for_a_run(bench: Bench) -> None:
    """Later turns show the same selection, so that the prefix stays."""
    bench.plug(context_gather=gathers(Page("a.py", "print(1)")))
    model = ScriptedModel([call("echo"), "ok"])
    result = await bench.run(model, tools=[FakeTool("echo")])

    assert len(bench.events(result, "context.built")) == 1
    assert list(model.requests[1].messages[:2]) == list(model.requests[0].messages[:2])


async def test_every_step_may_be_taken_by_a_plugin(bench: Bench) -> None:
    """Each step sees what the one before it gave."""
    seen: list[str] = []

    def context_chunk(source: Source) -> Sequence[Unit]:
        seen.append("chunk")
        names = source.read().split()
        return [
            Unit(path=source.path, name=n, kind="word", start=i, end=i, digest=n, tokens=1, text=n, owner="words")
            for i, n in enumerate(names)
        ]

    def context_score(units: Sequence[Unit]) -> Scores:
        seen.append("score")
        return Scores(scorer="length", scores={unit.digest: float(len(unit.text)) for unit in units})

    def context_fuse(tables: Sequence[Scores]) -> Scores:
        seen.append("fuse")
        assert [table.scorer for table in tables] == ["length", "other"]
        return tables[0]

    def context_select(scores: Scores) -> Sequence[Part]:
        seen.append("select")
        best = sorted(scores.units, key=lambda unit: -scores.scores[unit.digest])[:2]
        return [Part(id=u.name, owner="words", kind="word", text=u.text, tokens=1) for u in best]

    def context_order(parts: Sequence[Part]) -> Sequence[Part]:
        seen.append("order")
        return sorted(parts, key=lambda part: part.id)

    def context_compress(part: Part) -> Part:
        seen.append("compress")
        return evolve(part, text=part.text[:3])

    bench.plug(
        "main",
        context_gather=gathers(Page("a", "x yyyy zzzzzz ww")),
        context_chunk=context_chunk,
        context_score=context_score,
        context_fuse=context_fuse,
        context_select=context_select,
        context_order=context_order,
        context_compress=context_compress,
    )
    bench.plug("other", context_score=lambda: Scores(scorer="other", scores={}))
    model = ScriptedModel(["ok"])
    await bench.run(model)

    assert seen == ["chunk", "score", "fuse", "select", "order", "compress", "compress"]
    assert model.requests[0].messages[0].text == (
        "<part id='yyyy' from='words'>\nyyy\n</part>\n\n<part id='zzzzzz' from='words'>\nzzz\n</part>"
    )


async def test_plugins_without_opinion_leave_a_step_to_core(bench: Bench) -> None:
    """`None` everywhere is the same as nobody."""
    nothing: Callable[..., None] = lambda: None  # noqa: E731  # a hook and no function of ours
    bench.plug(
        context_gather=gathers(Page("a.py", "one"), Page("b.py", "two")),
        context_chunk=nothing,
        context_fuse=nothing,
        context_select=nothing,
        context_order=nothing,
        context_layout=nothing,
        context_score=lambda: Scores(scorer="s", scores={"digest of b.py": 9.0, "digest of a.py": 1.0}),
    )
    model = ScriptedModel(["ok"])
    await bench.run(model)

    text = model.requests[0].messages[0].text
    assert text.index("b.py") < text.index("a.py")
    assert model.requests[0].messages[1].text == "go"


async def test_the_lowest_scores_are_dropped_first(bench: Bench) -> None:
    """What does not fit is left out with its reason, and the budget is never passed."""
    pages = [Page(f"{n}.py", f"{n}" * 300) for n in range(5)]
    bench.plug(context_gather=gathers(*pages))
    agent = Agent("a", context=ContextNeeds(optimal_tokens=250))
    result = await bench.run(ScriptedModel(["ok"]), agent=agent)

    (built,) = bench.events(result, "context.built")
    assert built["used"] <= built["budget"] == 250
    assert [part["id"] for part in built["parts"]] == ["0.py:1", "1.py:1"]
    assert [(part["id"], part["reason"]) for part in built["dropped"]] == [(f"{n}.py:1", "budget") for n in (2, 3, 4)]


@pytest.mark.parametrize("step", ["context_select", "context_compress"])
async def test_a_plugin_that_goes_over_the_budget_is_cut_and_named(bench: Bench, step: str) -> None:
    """Whatever a plugin says, the budget holds; the result says that it was cut."""
    fat = Part(id="fat", owner="p", kind="k", text="x", tokens=10_000, score=1)
    pinned = evolve(fat, id="pin", tokens=10, pinned=True)
    hooks: dict[str, Any] = {
        "context_select": lambda: [fat, pinned],
        "context_compress": lambda part: evolve(part, tokens=10_000 if part.id == "0.py:1" else part.tokens),
    }
    bench.plug(context_gather=gathers(Page("0.py", "a"), Page("1.py", "b")), **{step: hooks[step]})
    agent = Agent("a", context=ContextNeeds(optimal_tokens=100))
    result = await bench.run(ScriptedModel(["ok"]), agent=agent)

    (built,) = bench.events(result, "context.built")
    assert built["used"] <= 100
    assert len(built["parts"]) == len(built["dropped"]) == 1
    assert [(e.what, e.why) for e in result.degraded] == [
        ("context", f"`{step}` went over the budget; the lowest parts were dropped")
    ]


async def test_the_selection_takes_its_share_of_the_window(bench: Bench) -> None:
    """Of a small window the selection gets three tenths at most."""
    bench.plug(context_gather=gathers(Page("a.py", "x" * 9000)))
    result = await bench.run(windowed(1000, "ok"))

    (built,) = bench.events(result, "context.built")
    assert built["budget"] == int((1000 - 250) * 0.9 * 0.3)
    assert built["parts"] == []


async def test_a_gatherer_that_fails_degrades_the_run(make_bench: type[Bench]) -> None:
    """The others' sources are used, and nobody takes the context for complete."""
    bench = make_bench(strict=False)

    def context_gather() -> Sequence[Source]:
        raise RuntimeError("broken")

    bench.plug("broken", context_gather=context_gather)
    bench.plug("fine", context_gather=gathers(Page("a.py", "print(1)")))
    model = ScriptedModel(["ok"])
    result = await bench.run(model)

    assert [(e.what, e.plugin, e.code) for e in result.degraded] == [("context sources", "broken", "hook.failed")]
    assert "a.py" in model.requests[0].messages[0].text


async def test_a_build_that_fails_is_a_failed_step(bench: Bench) -> None:
    """A source that cannot be read ends the step with its error."""

    class Unreadable(Page):
        def read(self) -> str:
            raise OSError("gone")

    bench.plug(context_gather=gathers(Unreadable("a.py", "")))
    result = await bench.run(ScriptedModel(["never"]))

    assert bench.events(result, "step.failed")[0]["op"] == "context.build"
    assert "gone" in str(result.error)


async def test_a_cache_may_answer_for_the_whole_build(bench: Bench) -> None:
    """Nothing is gathered then."""
    page = Page("a.py", "x")
    part = Part(id="cached", owner="cache", kind="k", text="from the cache", tokens=4)

    async def context_cache(request: ContextRequest, call_next: Any) -> ContextBuild:
        assert (request.query, request.agent) == ("go", "agent")
        return ContextBuild(parts=(part,), used=4, cache_hit=True)

    bench.plug(context_gather=gathers(page), context_cache=context_cache)
    model = ScriptedModel(["ok"])
    result = await bench.run(model)

    assert (page.was_read, bench.events(result, "context.built")[0]["cache_hit"]) == (False, True)
    assert "from the cache" in model.requests[0].messages[0].text


async def test_a_cache_without_gatherers_may_still_ask_for_a_build(bench: Bench) -> None:
    """There is nothing to gather then, and that is no fault."""

    async def context_cache(request: ContextRequest, call_next: Any) -> ContextBuild:
        build: ContextBuild = await call_next(request)
        return build

    bench.plug(context_cache=context_cache)
    result = await bench.run(ScriptedModel(["ok"]))

    assert bench.events(result, "context.built")[0]["parts"] == []


async def test_without_a_task_the_selection_comes_last(bench: Bench) -> None:
    """Where nobody asked anything there is no place before it."""
    bench.plug(context_gather=gathers(Page("a.py", "1")))
    model = ScriptedModel(["ok"])
    await bench.run(model, Message("system", (Text("be kind"),)))

    assert [message.role for message in model.requests[0].messages] == ["system", "user"]


async def test_a_build_is_read_back_on_resume(bench: Bench) -> None:
    """Another life of the run shows the same context without gathering again."""
    page = Page("a.py", "print(1)")
    bench.plug(context_gather=gathers(page))
    first = await bench.run(ScriptedModel(["half"]))
    page.was_read = False
    again = await bench.resume(first, ScriptedModel([]))

    assert (page.was_read, again.output) == (False, "half")


async def test_what_a_context_cost_is_told_after_each_turn(bench: Bench) -> None:
    """`context_measure` gets the build and the usage of the request."""
    told: list[tuple[int, Usage]] = []

    def context_measure(build: ContextBuild, usage: Usage) -> None:
        told.append((len(build.parts), usage))

    bench.plug(context_gather=gathers(Page("a.py", "print(1)")), context_measure=context_measure)
    await bench.run(ScriptedModel([turn("ok", usage=Usage(5, 1))]))

    assert told == [(1, Usage(5, 1))]


# --- layout ------------------------------------------------------------------------------------------------------


async def test_a_layout_orders_blocks_and_marks_caches(bench: Bench) -> None:
    """It sees the conversation, the selection and the task, each with its stability."""
    seen: list[tuple[str, str]] = []

    def context_layout(blocks: Sequence[Block]) -> Layout:
        seen.extend((block.name, block.stability) for block in blocks)
        messages = [message for block in reversed(blocks) for message in block.messages]
        return Layout(messages=messages, cache_marks=(0,))

    bench.plug(context_gather=gathers(Page("a.py", "print(1)")), context_layout=context_layout)
    model = ScriptedModel(["ok"])
    await bench.run(model, "now", history=[Message.user("hi"), Message.assistant("hello")])

    assert seen == [("conversation", "session"), ("selection", "turn"), ("task", "turn")]
    assert model.requests[0].cache_marks == (0,)
    assert model.requests[0].messages[0].text == "now"


async def test_a_layout_that_is_too_large_is_not_used(bench: Bench) -> None:
    """The window holds, whatever a plugin adds."""
    fat = Message.user("x" * 9000)
    bench.plug(context_layout=lambda blocks: Layout(messages=[fat, *blocks[-1].messages]))
    model = windowed(1000, "ok")
    await bench.run(model)

    assert list(model.requests[0].messages) == [Message.user("go")]


# --- fitting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "capabilities", "settings", "expected"),
    [
        pytest.param(None, {}, {}, None, id="unknown window"),
        pytest.param(100_000, {}, {}, int((100_000 - 4096) * 0.9), id="default answer"),
        pytest.param(100_000, {"max_output": 1000}, {}, int(99_000 * 0.9), id="what the model can say"),
        pytest.param(100_000, {}, {"max_output_tokens": 20_000}, int(80_000 * 0.9), id="what the agent wants"),
        pytest.param(1000, {}, {}, int(750 * 0.9), id="small window"),
        pytest.param(1000, {}, {"max_output_tokens": 5000}, 0, id="no room at all"),
    ],
)
async def test_the_answer_is_left_its_room(
    bench: Bench, window: int | None, capabilities: Json, settings: Json, expected: int | None
) -> None:
    """Of the window, the answer and a reserve are taken off before anything is shown."""
    model = windowed(window, **capabilities)
    run = bench.prepare(model, agent=Agent("a", settings=ModelSettings(**settings)))

    assert usable_tokens(run, model) == expected


def long_history(turns: int) -> list[Message]:
    messages: list[Message] = []
    for n in range(turns):
        messages += [
            Message.user(f"question {n} " + "x" * 60),
            Message("assistant", (ToolCall(id=f"c{n}", name="echo"),)),
            Message("tool", (tool_result(f"c{n}", "y" * 60),)),
            Message.assistant(f"answer {n}"),
        ]
    return messages


async def test_a_history_that_is_too_long_is_shortened_for_the_model_only(bench: Bench) -> None:
    """The newest groups are shown, calls with their results; the log keeps everything, and the event is a receipt."""
    model = windowed(600, "ok")
    history = long_history(20)
    result = await bench.run(model, "and now?", history=history)

    sent = list(model.requests[0].messages)
    assert sent[-1].text == "and now?"
    assert settled(list(sent)) == sent
    assert sum(map(estimate_message, sent)) <= int(450 * 0.9)
    assert list(result.messages[:-1]) == [*history, Message.user("and now?")]
    (event,) = bench.events(result, "context.compacted")
    assert event["tokens_after"] < event["tokens_before"]
    assert event["receipts"][0]["recall"] == "the run's log has them all"
    assert result.degraded[0].what == "conversation"


async def test_a_plugin_may_shorten_the_history(bench: Bench) -> None:
    """It is asked rung by rung until its view fits."""
    rungs: list[int] = []
    receipt = Receipt(ref="r", what="all", tokens_before=9, tokens_after=1, by="sum", why="window")

    def context_compact(history: Sequence[Message], target_tokens: int, rung: int) -> HistoryView:
        rungs.append(rung)
        kept = history[-1:] if rung == 2 else history
        return HistoryView(messages=[Message.user("summary"), *kept], receipts=(receipt,))

    bench.plug(context_compact=context_compact)
    model = windowed(600, "ok")
    result = await bench.run(model, "and now?", history=long_history(20))

    assert rungs == [0, 1, 2]
    assert [message.text for message in model.requests[0].messages] == ["summary", "and now?"]
    assert bench.events(result, "context.compacted")[0]["receipts"][0]["by"] == "sum"
    assert result.degraded == ()


@pytest.mark.parametrize(
    "view",
    [
        pytest.param([Message("assistant", (ToolCall(id="x", name="echo"),))], id="open call"),
        pytest.param(
            [Message("assistant", (ToolCall(id="x", name="echo"),)), Message.user("and?")], id="open call, earlier"
        ),
        pytest.param([Message("tool", (tool_result("x", "?"),)), Message.user("and?")], id="result without call"),
        pytest.param(long_history(20), id="too long"),
    ],
)
async def test_a_view_that_no_provider_accepts_is_not_used(bench: Bench, view: list[Message]) -> None:
    """Core's own cut takes its place; the ladder has an end."""
    bench.plug(context_compact=lambda: HistoryView(messages=view))
    model = windowed(600, "ok")
    result = await bench.run(model, "and now?", history=long_history(20))

    assert model.requests[0].messages[-1].text == "and now?"
    assert result.degraded[0].what == "conversation"


async def test_a_plugin_that_gives_up_leaves_it_to_core(bench: Bench) -> None:
    """`None` ends the ladder."""
    bench.plug(context_compact=lambda: None)
    result = await bench.run(windowed(600, "ok"), "and now?", history=long_history(20))

    assert result.ok
    assert result.degraded[0].what == "conversation"


async def test_the_task_is_shown_however_much_was_said_after_it(bench: Bench) -> None:
    """In a long run the newest turns alone would leave the model without what it is there for."""
    texts = iter(range(99))
    echo = FakeTool("echo", returns=lambda args: f"result {next(texts)} " + "y" * 200)
    model = windowed(600, *(call("echo", n=n) for n in range(9)), "ok")
    result = await bench.run(model, "find the answer", tools=[echo])

    assert result.output == "ok"
    assert all(request.messages[0].text == "find the answer" for request in model.requests)
    assert all(settled(list(request.messages)) == list(request.messages) for request in model.requests)


@given(st.integers(0, 12), st.integers(0, 400), st.booleans())
def test_a_cut_never_parts_a_call_from_its_result(turns: int, budget: int, ends_open: bool) -> None:
    """Property of core's own cut: valid whatever the budget, within it where more than the last group is shown."""
    history = [*long_history(turns), Message.user("now")]
    if ends_open:
        history = history[:-1] or history
    view = list(newest_groups(history, budget).messages)

    assert settled(list(view)) == view
    assert not view or view[-1] == history[-1]
    total = sum(map(estimate_message, view))
    assert total <= budget or len(view) <= 3


async def test_a_text_part_says_which_message_it_is_in(bench: Bench) -> None:
    """The selection is one message of the user, before the task."""
    bench.plug(context_gather=gathers(Page("a.py", "1")))
    model = ScriptedModel(["ok"])
    await bench.run(model)

    selection = model.requests[0].messages[0]
    assert (selection.role, len(selection.parts)) == ("user", 1)
    assert isinstance(selection.parts[0], Text)
