"""Answers of the right type that hold what they must not: a fault of the plugin, like one of the wrong type."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from pegboard.types import (
    Alternative,
    Approval,
    Fallback,
    Finding,
    Grant,
    Layout,
    ModelResponse,
    Part,
    Plan,
    Price,
    PriceTable,
    Retry,
    RunState,
    Scores,
    StreamEvent,
    Text,
    ToolResult,
    Unit,
    Usage,
)

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench


def prices(input: Any, output: Any = 1.0) -> PriceTable:
    return PriceTable(prices=(Price(provider="p", model="m", input=input, output=output),), dated="2026", source="s")


ODD: list[tuple[str, Any]] = [
    ("check_quality", [None]),
    ("check_quality", [Finding(severity="odd", message="m")]),  # type: ignore[arg-type]
    ("check_health", [5]),
    ("context_gather", [5]),
    ("context_chunk", ["x"]),
    ("context_select", [object()]),
    ("context_order", [1]),
    ("context_layout", Layout(messages=[5])),  # type: ignore[list-item]
    ("context_fuse", Scores(scorer="s", scores={"a": "x"})),  # type: ignore[dict-item]
    ("allocate_budget", [Grant(agent="a", tokens="x")]),  # type: ignore[arg-type]
    ("provide_prices", PriceTable(prices=(5,), dated="2026", source="s")),  # type: ignore[arg-type]
    ("provide_prices", prices(None)),
    ("provide_prices", prices(-1.0)),
    ("provide_prices", prices(1.0, float("nan"))),
    ("recover", Retry(delay_s="x")),  # type: ignore[arg-type]
    ("recover", Retry(delay_s=float("nan"))),
    ("recover", Fallback(target=None)),  # type: ignore[arg-type]
    ("recover", Alternative(settings={"nope": 1})),
    ("recover", Alternative(settings={"temperature": "hot"})),
    ("recover", Alternative(settings=None)),  # type: ignore[arg-type]
    ("request_approval", Approval(id="x", granted="yes")),  # type: ignore[arg-type]
]

GOOD: list[tuple[str, Any]] = [
    ("check_quality", [Finding(severity="error", message="m")]),
    ("context_chunk", [Unit(path="p", name="n", kind="k", start=1, end=1, digest="d", tokens=1)]),
    ("context_select", (Part(id="i", owner="o", kind="k", text="t", tokens=1),)),
    ("context_fuse", Scores(scorer="s", scores={"a": 1.0})),
    ("allocate_budget", [Grant(agent="a", tokens=1)]),
    ("provide_prices", prices(1.0)),
    ("recover", Retry(delay_s=1)),
    ("recover", Alternative(settings={"temperature": 0.5}, plan=Plan())),
    ("request_approval", Approval(id="x", granted=True, scope="run")),
    ("label", frozenset({"tainted"})),
]

ARGUMENTS = {"allocate_budget": 3, "check_health": 1, "context_fuse": 3, "context_layout": 3, "context_order": 3}
ARGUMENTS |= {"context_select": 3, "label": 3, "provide_prices": 1}


async def asked(bench: Bench, hook: str) -> Any:
    return await getattr(bench.hooks, hook)(*["argument"] * ARGUMENTS.get(hook, 2))


@pytest.mark.parametrize(("hook", "answer"), ODD)
async def test_what_does_not_belong_into_an_answer_is_a_fault(bench: Bench, hook: str, answer: Any) -> None:
    """It is isolated, with the code of a wrong type and the plugin's name."""
    bench.add("a", **{hook: lambda: answer})

    assert not await asked(bench, hook)
    ((record, error),) = bench.report.faults
    assert (record.plugin, record.error_code) == ("a", "hook.type")
    assert f"`{hook}`" in str(error)


@pytest.mark.parametrize(("hook", "answer"), GOOD)
async def test_what_belongs_into_an_answer_holds(bench: Bench, hook: str, answer: Any) -> None:
    """A check refuses nothing that is right."""
    bench.add("a", **{hook: lambda: answer})

    found = await asked(bench, hook)

    assert found in (answer, [("a", answer)])
    assert bench.report.faults == []


@pytest.mark.parametrize(
    ("value", "sink"), [([None], "model"), ([5], "model"), ([object()], "event"), ("\udce9", "log")]
)
async def test_a_redaction_that_is_no_json_is_none(bench: Bench, value: Any, sink: str) -> None:
    """The marker of a failed redaction stands instead: nothing may pass that was not redacted."""
    bench.add("a", redact=lambda: value)

    assert await bench.hooks.redact("ctx", [{"role": "user"}], sink) == "[redaction failed]"


RESPONSE = ModelResponse(parts=(Text("inner"),), usage=Usage(1, 1), model="m")


@pytest.mark.parametrize(
    "answer",
    [
        ModelResponse(parts=(Text("x"),), usage=None, model="m"),  # type: ignore[arg-type]
        ModelResponse(parts=None, model="m"),  # type: ignore[arg-type]
        ModelResponse(parts=(5,), model="m"),  # type: ignore[arg-type]
        ModelResponse(parts=(Text("x"),), model=None),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_layer_cannot_answer_with_half_a_response(bench: Bench, answer: Any, goes_on: bool) -> None:
    """What the provider said stands, whether the layer asked it or not."""

    async def model_request(request: Any, call_next: Any) -> Any:
        if goes_on:
            await call_next(request)
        return answer

    async def body(ctx: Any, value: Any) -> ModelResponse:
        return RESPONSE

    bench.add("a", model_request=model_request)

    assert await bench.hooks.model_request("ctx", "request", body) is RESPONSE
    assert [record.error_code for record, _ in bench.report.faults] == ["hook.type"]


@pytest.mark.parametrize(
    ("hook", "answer"),
    [
        ("tool_call", ToolResult(call_id="c", content=(5,))),  # type: ignore[arg-type]
        ("tool_call", ToolResult(call_id="c", status="odd")),  # type: ignore[arg-type]
        ("execution", RunState(task="t", plan=5)),  # type: ignore[arg-type]
        ("execution", RunState(task="t", tier="odd")),  # type: ignore[arg-type]
    ],
)
async def test_a_layer_cannot_answer_with_odd_fields(bench: Bench, hook: str, answer: Any) -> None:
    """The same holds for calls and phases."""
    inner = object()

    async def layer(call_next: Any) -> Any:
        return answer

    async def body(ctx: Any, value: Any) -> Any:
        return inner

    bench.add("a", **{hook: layer})

    assert await getattr(bench.hooks, hook)("ctx", "value", body) is inner


async def test_a_transformer_gives_what_it_was_given(bench: Bench) -> None:
    """What is no event is a fault, and the stream passes."""

    async def transform_stream(stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for _ in stream:
            yield 5

    async def source() -> AsyncIterator[StreamEvent]:
        yield StreamEvent("text", "x")

    bench.add("a", transform_stream=transform_stream)

    found = [event async for event in bench.hooks.transform_stream("ctx", source())]

    assert [event.content for event in found] == ["x"]
    assert [record.error_code for record, _ in bench.report.faults] == ["hook.type"]
