"""Large results: a preview and a handle in the history, the whole in the blob store, every byte by handle."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, tool
from pegboard.history import estimate_tokens
from pegboard.memory import MemoryStore
from pegboard.types import File, Part, Text, ToolResult, evolve
from pegboard_replay import FunctionModel, ScriptedModel, call
from pegboard_testing import FakeTool

if TYPE_CHECKING:
    from core.tests.conftest import Bench

LONG = "".join(f"line {n}\n" for n in range(5000))


async def test_a_long_result_becomes_preview_and_handle(bench: Bench) -> None:
    """Head and tail are shown, and how much was left out; `artifact` is the handle."""
    result = await bench.run(ScriptedModel([call("read"), "ok"]), tools=[FakeTool("read", returns=LONG)])

    (answer,) = bench.results(result)
    assert answer.text.startswith("line 0\n")
    assert answer.text.endswith("line 4999\n")
    assert answer.artifact is not None
    assert f"`{answer.artifact}`, {len(LONG)} bytes" in answer.text
    assert estimate_tokens(answer.text) < bench.offload_over_tokens
    (event,) = bench.events(result, "context.offloaded")
    assert (event["ref"], event["by"], event["tokens_before"]) == (answer.artifact, "core", estimate_tokens(LONG))


@pytest.mark.parametrize("length", [10, 1999, 5990])
async def test_a_result_within_the_limit_stays(bench: Bench, length: int) -> None:
    """What a model can be shown is shown."""
    result = await bench.run(ScriptedModel([call("read"), "ok"]), tools=[FakeTool("read", returns="x" * length)])

    (answer,) = bench.results(result)
    assert (answer.text, answer.artifact) == ("x" * length, None)


async def test_every_byte_can_be_read_by_handle(bench: Bench) -> None:
    """After an offload the model has the tool `read_output`, and its slices make up the whole."""
    size = 4000
    read: list[str] = []

    def model(request: Any) -> Any:
        text = request.messages[-1].parts[0].text if request.messages[-1].role == "tool" else ""
        if not read and not text:
            return call("read")
        if found := re.search(r"the whole is `(blob-\w+)`", text):
            return call("read_output", ref=found[1], start=0, size=size)
        read.append(text)
        if len("".join(read)) < len(LONG):
            return call("read_output", ref=handle(request), start=len("".join(read)), size=size)
        return "done"

    def handle(request: Any) -> str:
        parts = [part for message in request.messages for part in message.parts]
        return next(part.artifact for part in parts if isinstance(part, ToolResult) and part.artifact)

    agent = Agent("a", tools=[FakeTool("read", returns=LONG)], max_turns=99)
    bench.bound(turns=99)
    result = await bench.run(FunctionModel(model), agent=agent)

    assert result.output == "done"
    assert "".join(read) == LONG


async def test_no_slice_is_larger_than_a_model_can_be_shown(bench: Bench) -> None:
    """However much is asked for, at most 4000 bytes come back."""
    ref = await bench.blobs.put_blob(LONG.encode())
    model = ScriptedModel([call("read"), call("read_output", ref=ref, start=7, size=10**9), "ok"])
    result = await bench.run(model, tools=[FakeTool("read", returns=LONG)])

    assert bench.results(result)[1].text == LONG[7:4007]


async def test_a_handle_that_is_not_there_is_an_error_the_model_sees(bench: Bench) -> None:
    """The run goes on."""
    model = ScriptedModel([call("read"), call("read_output", ref="blob-x", start=0, size=9), "ok"])
    result = await bench.run(model, tools=[FakeTool("read", returns=LONG)])

    assert bench.results(result)[1].code == "run.not_found"
    assert result.output == "ok"


async def test_the_tool_is_offered_only_when_there_is_something_to_read(bench: Bench) -> None:
    """It costs tokens from the first handle on, and not before."""
    model = ScriptedModel([call("read"), "ok"])
    await bench.run(model, tools=[FakeTool("read", returns=LONG)])

    assert [[spec.name for spec in request.tools] for request in model.requests] == [
        ["read"],
        ["read", "read_output"],
    ]


async def test_other_parts_of_a_result_stay(bench: Bench) -> None:
    """Only the text is shortened; structured data would be as long and is left out."""
    picture = File(media_type="image/png", uri="x")
    given = ToolResult(call_id="", content=(Text(LONG), picture), structured={"text": LONG})
    result = await bench.run(ScriptedModel([call("read"), "ok"]), tools=[FakeTool("read", returns=given)])

    (answer,) = bench.results(result)
    assert answer.content[1:] == (picture,)
    assert answer.structured is None


async def test_characters_are_not_cut(bench: Bench) -> None:
    """A text beyond ASCII is previewed by character."""
    text = "ä€😀" * 3000
    result = await bench.run(ScriptedModel([call("read"), "ok"]), tools=[FakeTool("read", returns=text)])

    (answer,) = bench.results(result)
    assert "\ufffd" not in answer.text
    assert answer.artifact is not None
    assert await bench.blobs.get_blob(answer.artifact) == text.encode()


async def test_a_plugin_may_offload_in_its_own_way(bench: Bench) -> None:
    """What `context_offload` answers is shown; it says where the whole is."""

    def context_offload(part: Part) -> Part:
        return evolve(part, text="a summary", tokens=3, ref="mine-1", owner="summaries")

    bench.plug(context_offload=context_offload)
    result = await bench.run(ScriptedModel([call("read"), "ok"]), tools=[FakeTool("read", returns=LONG)])

    (answer,) = bench.results(result)
    assert (answer.text, answer.artifact) == ("a summary", "mine-1")
    assert bench.events(result, "context.offloaded")[0]["by"] == "summaries"


async def test_a_plugin_without_opinion_leaves_it_to_core(bench: Bench) -> None:
    """`None` means the store."""
    bench.plug(context_offload=lambda: None)
    result = await bench.run(ScriptedModel([call("read"), "ok"]), tools=[FakeTool("read", returns=LONG)])

    assert (bench.results(result)[0].artifact or "").startswith("blob-")


async def test_blobs_go_to_the_store_of_the_run(make_bench: type[Bench]) -> None:
    """Where runs are kept, their large results are kept too."""
    store = MemoryStore()
    bench = make_bench(store=store)

    @tool(effect="pure", inline=True)
    def read() -> str:
        """Read."""
        return LONG

    result = await bench.run(ScriptedModel([call("read"), "ok"]), tools=[read])

    ref = bench.results(result)[0].artifact
    assert ref is not None
    assert await store.get_blob(ref) == LONG.encode()


async def test_another_life_can_read_what_was_offloaded(bench: Bench) -> None:
    """What reads the rest is offered again, so that the requests after it are the recorded ones."""
    tools = [FakeTool("read", returns=LONG), FakeTool("look")]
    before = await bench.run(ScriptedModel([call("read"), call("look")]), tools=tools)
    after = await bench.resume(before, ScriptedModel(["ok"]), tools=tools)

    assert (after.output, after.error) == ("ok", None)
