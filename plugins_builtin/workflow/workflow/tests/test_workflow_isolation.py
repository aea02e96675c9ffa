"""What the code of a node can do to its workflow, by raising anything, never stopping, or taking all room."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pegboard_workflow
import pytest
from pegboard import Agent, Pegboard, RunResult, deadline
from pegboard.errors import BudgetExceededError, PegboardError, RunCancelledError, StorageExhaustedError
from pegboard.memory import MemoryStore
from pegboard.types import ResourceLimits
from pegboard_testing import MakeBoard
from pegboard_workflow import Flow, Repeat, Retry, Share, WorkflowAgent, WorkflowFailedError, workflow_of
from pegboard_workflow.plugin import Plugin
from pegboard_workflow.sizes import size_of

SMALL = 1024


class NoException(BaseException):
    """Not an `Exception`."""


async def one(**_: Any) -> int:
    """A node that works."""
    return 1


def raising(error: Callable[[], BaseException]) -> Callable[..., Any]:
    """A function that counts its calls in `calls`, and raises."""

    async def function(**_: Any) -> NoReturn:
        function.calls += 1  # type: ignore[attr-defined]  # a counter on itself
        raise error()

    function.calls = 0  # type: ignore[attr-defined]  # likewise
    return function


@pytest.fixture
async def board(make_board: MakeBoard) -> Pegboard:
    """A board with the plugin and nothing else."""
    return await make_board(plugins=[Plugin()])


async def result_of(board: Pegboard, flow: Flow, **options: Any) -> RunResult:
    return await board.run(flow.agent(), "go", check=False, **options)


def cause_of(result: RunResult) -> str | None:
    """The code of what failed the node."""
    return getattr(getattr(result.error, "__cause__", None), "code", None)


# --- raising -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, NoException, SystemExit])
@pytest.mark.parametrize("fields", [{}, {"timeout_s": 60}, {"foreach": [1, 2]}, {"retry": Retry(attempts=2)}])
async def test_whatever_a_node_raises_fails_it(
    board: Pegboard, error: type[BaseException], fields: dict[str, Any]
) -> None:
    """Also what is no `Exception`: the workflow comes to its end, and the host is not ended."""
    flow = Flow("flow")
    flow.add("a", run=raising(error), inputs={}, **fields)
    result = await result_of(board, flow)

    assert isinstance(result.error, WorkflowFailedError)
    assert f"raised {error.__name__}" in result.error.message


@pytest.mark.parametrize("fields", [{}, {"timeout_s": 60}])
async def test_an_optional_node_that_raises_a_cancel_is_absent(board: Pegboard, fields: dict[str, Any]) -> None:
    """As with any other failure, and the rest goes on."""
    flow = Flow("flow")
    lost = flow.add("a", run=raising(asyncio.CancelledError), inputs={}, required=False, **fields)
    flow.output = [lost.or_none(), flow.add("b", run=one, inputs={})]
    result = await result_of(board, flow)

    assert result.output == [None, 1]
    assert [part.what for part in result.degraded] == ["node `a`"]


@pytest.mark.parametrize("fields", [{}, {"timeout_s": 60}])
async def test_a_node_that_cancels_its_own_task_fails(board: Pegboard, fields: dict[str, Any]) -> None:
    """Nobody else wanted it ended, so the workflow neither hangs nor is cancelled with it."""

    async def odd() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.Event().wait()

    flow = Flow("flow", parallel=1)
    lost = flow.add("a", run=odd, inputs={}, required=False, priority=1, **fields)
    flow.output = [lost.or_none(), flow.add("b", run=one, inputs={})]

    assert (await result_of(board, flow)).output == [None, 1]


@pytest.mark.parametrize("inline", [False, True])
async def test_a_transform_that_exits_does_not_end_the_host(board: Pegboard, inline: bool) -> None:
    """It fails its node, in a thread as in the loop."""

    def leave(_: Any) -> NoReturn:
        raise SystemExit(3)

    flow = Flow("flow")
    flow.add("a", inputs=1, transform=leave, inline=inline)
    result = await result_of(board, flow)

    assert isinstance(result.error, WorkflowFailedError)
    assert "raised SystemExit" in result.error.message


# --- what ends the workflow --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "end"), [(StorageExhaustedError, "failed"), (RunCancelledError, "cancelled")], ids=["room", "cancel"]
)
@pytest.mark.parametrize("fields", [{}, {"foreach": [1]}])
async def test_no_room_and_a_cancel_end_the_workflow(
    board: Pegboard, error: type[PegboardError], end: str, fields: dict[str, Any]
) -> None:
    """They are no failure of the node: not repeated, not absent where it is optional; what was done is kept."""
    function = raising(lambda: error("no more"))
    flow = Flow("flow")
    first = flow.add("first", run=one, inputs={})
    flow.add("a", run=function, inputs={}, needs=[first], required=False, retry=Retry(attempts=3), **fields)
    result = await result_of(board, flow)

    assert isinstance(result.error, error)
    assert (result.end_reason, result.output, function.calls) == (end, {"first": 1}, 1)  # type: ignore[attr-defined]


async def test_a_run_without_room_goes_on_when_there_is_some(make_board: MakeBoard) -> None:
    """A resume does what was not done, and nothing twice."""
    store, calls = MemoryStore(), list[str]()

    async def note(name: str) -> str:
        calls.append(name)
        if calls == ["a", "b"]:
            raise StorageExhaustedError("no room")
        return name

    flow = Flow("flow")
    first = flow.add("a", run=note, inputs={"name": "a"})
    flow.add("b", run=note, inputs={"name": "b"}, needs=[first], required=False)
    for resumed in (False, True):
        board = await make_board(plugins=[Plugin()], store=store)
        await board.add_agent(flow.agent())
        result = await (board.resume("r") if resumed else board.run("flow", "go", run="r", check=False))

    assert result.output == "b"
    assert calls == ["a", "b", "b"]


@pytest.mark.parametrize(
    ("limits", "share", "ends"),
    [({"tokens": 10}, None, True), ({"tokens": 10}, Share(min=1), False), ({}, None, False)],
    ids=["of the workflow", "of the node", "of the agent"],
)
async def test_only_the_budget_of_the_workflow_ends_it(
    board: Pegboard, limits: dict[str, Any], share: Share | None, ends: bool
) -> None:
    """An optional node that passes its own share, or a limit of its own agent, is absent."""
    flow = Flow("flow")
    lost = flow.add("a", agent=Over("over"), required=False, tokens=share)
    flow.output = [lost.or_none()]
    result = await result_of(board, flow, limits=ResourceLimits(**limits))

    assert result.end_reason == ("budget" if ends else "completed")


class Over(Agent):
    """An agent that passes its budget."""

    async def execute(self, ctx: Any, state: Any, turns: Any) -> Any:
        raise BudgetExceededError("too much")


# --- time --------------------------------------------------------------------------------------------------------


async def test_a_transform_has_the_limit_of_its_node(board: Pegboard) -> None:
    """It runs in a thread, so that it keeps neither the loop nor the limit from working."""
    never = threading.Event()
    flow = Flow("flow")
    flow.add("a", inputs=1, transform=lambda _: never.wait(), timeout_s=0.01)
    result = await result_of(board, flow)
    never.set()

    assert cause_of(result) == "workflow.timeout"


async def test_an_inline_transform_needs_no_thread(board: Pegboard) -> None:
    """As an inline function, it is said to return at once."""
    flow = Flow("flow")
    flow.add("a", inputs=1, transform=lambda _: threading.current_thread().name, inline=True)
    flow.add("b", inputs=1, transform=lambda _: threading.current_thread().name)
    names = (await result_of(board, flow)).output

    assert names["a"] == threading.current_thread().name != names["b"]


class Deaf:
    """Work that swallows every cancel, until it is let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def work(self, **_: Any) -> None:
        self.entered.set()
        while not self.open.is_set():
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                continue


async def test_a_node_that_swallows_its_cancel_is_left_behind_at_its_limit(
    board: Pegboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a grace nobody waits for it any more."""
    monkeypatch.setattr(deadline, "GRACE_S", 0.01)
    flow = Flow("flow")
    flow.add("a", run=Deaf().work, inputs={}, timeout_s=0.01)

    assert cause_of(await result_of(board, flow)) == "workflow.timeout"


@pytest.mark.parametrize("fields", [{}, {"retry": Retry(attempts=2)}])
async def test_a_function_that_swallows_its_cancel_does_not_hold_up_the_end(
    board: Pegboard, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    """Another node failed: the workflow ends, and tells what it left behind."""
    monkeypatch.setattr(deadline, "GRACE_S", 0.01)
    deaf = Deaf()

    async def breaks() -> None:
        await deaf.entered.wait()
        raise ValueError("no luck")

    flow = Flow("flow")
    flow.add("deaf", run=deaf.work, inputs={}, **fields)
    flow.add("breaks", run=breaks, inputs={})
    result = await result_of(board, flow)

    assert "no luck" in str(result.error)
    assert "was left behind" in result.degraded[0].why


# --- room --------------------------------------------------------------------------------------------------------


async def small(board: Pegboard, flow: Flow, inputs: Any = "go") -> RunResult:
    """The result where values may have a kilobyte."""
    return await board.run(WorkflowAgent(flow.build(), max_value_bytes=SMALL), inputs, check=False)


@pytest.mark.parametrize("kind", ["text", "list"])
async def test_a_value_that_doubles_comes_to_an_end(board: Pegboard, kind: str) -> None:
    """Sixty nodes that each hand on twice what they got would fill any disk."""
    nodes: dict[str, Any] = {"n0": {"inputs": "x" * 10, "transform": "text"}}
    for number in range(1, 60):
        before = f"nodes.n{number - 1}"
        given: Any = f"${{{before}}}${{{before}}}" if kind == "text" else [f"${before}", f"${before}"]
        nodes[f"n{number}"] = {"inputs": given, "transform": "text" if kind == "text" else "compact"}
    result = await board.run(WorkflowAgent(workflow_of({"nodes": nodes})), "go", check=False)

    assert cause_of(result) == "workflow.data"


async def large() -> str:
    return "x" * SMALL


@pytest.mark.parametrize(
    "fields",
    [
        {"run": large, "inputs": {}},
        {"run": large, "inputs": {}, "timeout_s": 60},
        {"run": large, "inputs": {}, "repeat": Repeat(until="true", at_most=1)},
        {"transform": "count", "inputs": ["$input"] * 3},
        {"transform": "count", "inputs": {"$k": "${input}${input}${input}"}},
        {"transform": lambda _: "x" * SMALL, "inputs": 1},
        {"transform": "text", "foreach": ["$input", "$input", "$input"]},
        {"transform": "count", "foreach": [1], "inputs": "${input}${input}${input}"},
        {"transform": lambda _: "x" * 400, "foreach": [1, 2, 3]},
    ],
    ids=["output", "limited", "round", "input", "text", "transform", "items", "item", "results"],
)
async def test_too_large_a_value_fails_its_node(board: Pegboard, fields: dict[str, Any]) -> None:
    """An input as well as an output, wherever it comes from."""
    flow = Flow("flow")
    flow.add("a", **fields)

    assert cause_of(await small(board, flow, "x" * 400)) == "workflow.data"


async def test_too_large_an_output_fails_the_workflow(board: Pegboard) -> None:
    """What it refers to may be shared in memory, and is written out in the result."""
    flow = Flow("flow")
    flow.output = [flow.add("a", inputs="x" * 400, transform="text")] * 3

    assert (await small(board, flow)).error.code == "workflow.data"  # type: ignore[union-attr]  # it failed


async def test_large_values_are_only_referred_to(board: Pegboard) -> None:
    """A node may go over what is within the limit as often as it likes."""
    flow = Flow("flow")
    flow.output = [flow.add(f"n{i}", inputs="$input", transform="count") for i in range(10)]

    assert (await small(board, flow, "x" * 900)).output == [900] * 10


async def test_the_operator_says_how_large_a_value_may_be(make_board: MakeBoard) -> None:
    """`max_value_bytes` holds for every workflow of a board."""
    folder = Path(pegboard_workflow.__file__).parent
    board = await make_board(folders=[folder], config={"plugins": {"workflow": {"max_value_bytes": SMALL}}})
    await board.add_agent(Agent("a", workflow={"nodes": {"x": {"transform": "text"}}}))
    result = await board.run("a", "x" * SMALL, check=False)

    assert isinstance(result.error, PegboardError)
    assert "hand on the name of a file" in result.error.message
    assert result.error.hint == f"peg config set plugins.workflow.max_value_bytes {SMALL * 2}"


def test_what_has_no_end_is_not_counted_to_it() -> None:
    """A list in itself, or one that shares its parts, is given up beyond the limit."""
    endless: list[Any] = []
    endless.append(endless)
    doubled: list[Any] = []
    for _ in range(100):
        doubled = [doubled, doubled]

    assert size_of(endless, SMALL) > SMALL
    assert size_of(doubled, SMALL) > SMALL


def test_texts_count_as_many_bytes_as_they_take() -> None:
    """Beside the quotes: keys too, and letters outside of ASCII for more."""
    assert size_of({"k" * 100: ["x" * 100, "\u4e2d" * 100]}, 10_000) == pytest.approx(500, abs=30)
