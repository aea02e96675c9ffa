"""`RecordingModel`, `ReplayModel` and the cassette between them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pegboard import Message, ModelBase
from pegboard.errors import ModelRateLimitedError, ModelStreamError
from pegboard.types import (
    File,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    ModelSettings,
    Opaque,
    Secret,
    StreamEvent,
    Thinking,
    ToolCall,
    ToolSpec,
    UnknownPart,
    Usage,
    tool_result,
)
from pegboard_replay import (
    CUT,
    CassetteError,
    RecordingModel,
    ReplayMissError,
    ReplayModel,
    ScriptedModel,
    TurnLike,
    call,
    raw_call,
    thinking,
    turn,
)


def ask(text: str = "hi", **options: Any) -> ModelRequest:
    return ModelRequest(model="scripted:script", messages=(Message.user(text),), **options)


async def answer(model: ModelBase, request: ModelRequest) -> ModelResponse:
    return await model.send(request, lambda event: None)


async def record(path: Path, turns: list[TurnLike], *requests: ModelRequest) -> ReplayModel:
    model = RecordingModel(ScriptedModel(turns), path)
    for request in requests:
        await answer(model, request)
    return ReplayModel(path)


RICH = turn(
    thinking("hm"),
    Thinking("signed", Opaque(provider="p", model="m", kind="signature", data="abc")),
    "text ",
    "in two",
    call("add", a=1),
    raw_call("add", "{"),
    ModelChunk(call_delta=("c9", "add", '{"b": 1}')),
    File(media_type="image/png", data=b"\x00\x01"),
    UnknownPart({"type": "hologram", "depth": 3}),
    usage=Usage(3, 4, cache_read_tokens=1, source="provider"),
)


async def test_a_recording_answers_like_the_model(tmp_path: Path) -> None:
    """Every kind of part, usage and finish survive the cassette."""
    direct = await answer(ScriptedModel([RICH]), ask())

    replayed = await answer(await record(tmp_path / "c.json", [RICH], ask()), ask())

    assert replayed == direct


async def test_streaming_is_preserved(tmp_path: Path) -> None:
    """The deltas come as they came."""
    model = await record(tmp_path / "c.json", [turn("a", "b", "c")], ask())
    seen: list[StreamEvent] = []

    await model.send(ask(), seen.append)

    assert [event.content for event in seen] == ["a", "b", "c"]


async def test_a_replay_has_the_name_and_abilities_of_the_model(tmp_path: Path) -> None:
    """The request of a run is the same with the recording as with the model."""
    model = await record(tmp_path / "c.json", ["x"], ask())

    assert model.id == "scripted:script"
    assert model.capabilities("script") == ScriptedModel([]).capabilities("script")


async def test_equal_requests_keep_their_order(tmp_path: Path) -> None:
    """The n-th equal request gets the n-th answer, and one more is a miss."""
    model = await record(tmp_path / "c.json", ["first", "second"], ask(), ask())

    assert [(await answer(model, ask())).text for _ in range(2)] == ["first", "second"]
    with pytest.raises(ReplayMissError, match="2 times"):
        await answer(model, ask())


def with_ids(suffix: str) -> ModelRequest:
    messages = (
        Message("user", Message.user("add").parts, id=f"m{suffix}", metadata={"at": suffix}),
        Message("assistant", (ToolCall(id=f"call_{suffix}", name="add", arguments={"a": 1}),)),
        Message("tool", (tool_result(f"call_{suffix}", "1"),)),
    )
    return ModelRequest(model="scripted:script", messages=messages, run=f"run-{suffix}")


async def test_ids_and_runs_do_not_matter(tmp_path: Path) -> None:
    """Ids of messages, calls and runs differ each time and are left out."""
    model = await record(tmp_path / "c.json", ["x"], with_ids("1"))

    assert (await answer(model, with_ids("2"))).text == "x"


@pytest.mark.parametrize(
    "other",
    [
        ask("other"),
        ask(instructions="be terse"),
        ask(tools=(ToolSpec("add", "", {}),)),
        ask(settings=ModelSettings(temperature=0.5)),
        ask(output_schema={"type": "object"}),
        ModelRequest(model="scripted:other", messages=ask().messages),
    ],
    ids=["message", "instructions", "tools", "settings", "output schema", "model"],
)
async def test_what_a_model_sees_matters(tmp_path: Path, other: ModelRequest) -> None:
    """A difference in anything that is sent is a miss."""
    model = await record(tmp_path / "c.json", ["x"], ask())

    with pytest.raises(ReplayMissError):
        await answer(model, other)


async def test_a_miss_shows_the_difference_to_the_nearest_request(tmp_path: Path) -> None:
    """The diff is taken against the most similar recorded request."""
    requests = (ask("something else entirely", instructions="long " * 20), ask("add 1 and 2"))
    model = await record(tmp_path / "c.json", ["x", "y"], *requests)

    with pytest.raises(ReplayMissError) as raised:
        await answer(model, ask("add 1 and 3"))

    assert '-     "text": "add 1 and 2",' in raised.value.message
    assert '+     "text": "add 1 and 3",' in raised.value.message
    assert raised.value.code == "replay.miss"


async def test_a_fault_is_recorded_and_raised_again(tmp_path: Path) -> None:
    """The same class with the same details, after the deltas that came before it."""
    path = tmp_path / "c.json"
    fault = ModelRateLimitedError("slow down", retry_after_s=7, status=429)
    recording = RecordingModel(ScriptedModel([turn("par", fault)]), path)
    with pytest.raises(ModelRateLimitedError):
        await answer(recording, ask())

    with pytest.raises(ModelRateLimitedError, match="slow down") as raised:
        await answer(ReplayModel(path), ask())

    assert (raised.value.retry_after_s, raised.value.status, raised.value.stream_started) == (7, 429, True)


async def test_a_cut_stream_is_recorded_as_cut(tmp_path: Path) -> None:
    """A replay is not better than what was recorded."""
    path = tmp_path / "c.json"
    with pytest.raises(ModelStreamError):
        await answer(RecordingModel(ScriptedModel([turn("half", CUT)]), path), ask())

    with pytest.raises(ModelStreamError):
        await answer(ReplayModel(path), ask())


class Raw(ModelBase):
    """A model whose SDK raises something raw."""

    provider, name = "demo", "raw"

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        yield ModelChunk(text="x")
        raise OSError("socket")


async def test_an_unclassified_error_is_recorded_as_a_fault(tmp_path: Path) -> None:
    """What the provider did not classify is `model.unknown` in the cassette as well."""
    path = tmp_path / "c.json"
    with pytest.raises(Exception, match="OSError: socket"):
        await answer(RecordingModel(Raw(), path), ask())

    with pytest.raises(Exception, match="OSError: socket") as raised:
        await answer(ReplayModel(path), ask())
    assert getattr(raised.value, "code", None) == "model.unknown"


KEY = "sk-ant-api03-abcdefghijklmnop"


async def test_no_secret_is_written(tmp_path: Path) -> None:
    """Secrets in settings, headers, texts, arguments and errors are masked."""
    path = tmp_path / "c.json"
    headers = {"Authorization": "Basic plain", "X-Api-Key": "0123", "timeout": 3, "hidden": Secret("very-secret")}
    request = ask(f"my key is {KEY}", settings=ModelSettings(extra={"headers": headers}))
    model = RecordingModel(ScriptedModel([call("login", using=KEY)]), path)

    await answer(model, request)

    text = path.read_text()
    for secret in (KEY, "plain", "0123", "very-secret"):
        assert secret not in text
    assert '"timeout": 3' in text


async def test_another_key_finds_the_recording(tmp_path: Path) -> None:
    """Secrets are masked before the digest is taken."""
    mine = ModelSettings(extra={"headers": {"authorization": "mine"}})
    yours = ModelSettings(extra={"headers": {"authorization": "yours"}})
    model = await record(tmp_path / "c.json", ["x"], ask(settings=mine))

    assert (await answer(model, ask(settings=yours))).text == "x"


async def test_an_argument_called_key_is_not_a_secret(tmp_path: Path) -> None:
    """Names are judged in settings only, or two different calls would look the same."""
    model = await record(tmp_path / "c.json", [call("get", key="a")], ask())

    assert (await answer(model, ask())).tool_calls[0].arguments == {"key": "a"}


async def test_the_file_is_there_after_each_answer(tmp_path: Path) -> None:
    """A run that breaks leaves what it had, whole, and no temporary file."""
    path = tmp_path / "deep" / "c.json"
    model = RecordingModel(ScriptedModel(["a", "b"]), path)

    await answer(model, ask("1"))
    after_one = json.loads(path.read_bytes())
    await answer(model, ask("2"))

    assert after_one["pegboard_cassette"] == 2
    assert [len(after_one["entries"]), len(json.loads(path.read_bytes())["entries"])] == [2, 3]
    assert [file.name for file in path.parent.iterdir()] == ["c.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no cassette"),
        (b"not json", "is not a cassette"),
        (b"[]", "is not a cassette"),
        (b"{}", "is not a cassette"),
        (b'{"pegboard_cassette": 3}', "has version 3; this pegboard-replay reads up to version 2"),
        (b'{"pegboard_cassette": "two"}', "its version is 'two'"),
        (b'{"pegboard_cassette": 0}', "its version is 0"),
        (b'{"pegboard_cassette": true}', "its version is True"),
        (b'{"pegboard_cassette": 1, "model": 3}', "is not a cassette"),
        (b'{"pegboard_cassette": 2, "started": 0, "entries": [{"kind": "request"}]}', "missing required field"),
        (b'{"pegboard_cassette": 2, "started": 0, "entries": [{"kind": "song"}]}', "is not a cassette"),
        (b'{"pegboard_cassette": 2, "started": 0, "entries": [', "is not a cassette"),
    ],
    ids=[
        "missing",
        "no json",
        "list",
        "no version",
        "newer",
        "a word",
        "zero",
        "no number",
        "wrong type",
        "damaged entry",
        "unknown entry",
        "cut off",
    ],
)
def test_a_bad_cassette_is_refused_with_its_path(tmp_path: Path, content: bytes | None, message: str) -> None:
    """The error names the file and what is wrong with it."""
    path = tmp_path / "c.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(CassetteError, match=message) as raised:
        ReplayModel(path)
    assert str(path) in raised.value.message
    assert raised.value.hint


async def test_the_first_version_stays_readable() -> None:
    """A cassette of version 1 is read for ever, and its requests are found."""
    model = ReplayModel(Path(__file__).parent / "cassette_v1.json")
    add = ToolSpec("add", "Add.", {"type": "object"})

    response = await answer(model, ask(instructions="be terse", tools=(add,)))

    assert (response.text, response.tool_calls[0].arguments) == ("hello", {"a": 1, "b": 2})


async def test_a_recording_passes_through_what_it_wraps(tmp_path: Path) -> None:
    """Counting, closing and classifying are the model's own."""

    class Inner(ScriptedModel):
        closed = False

        async def count_tokens(self, request: ModelRequest) -> int | None:
            return 42

        async def aclose(self) -> None:
            self.closed = True

    inner = Inner([])
    model = RecordingModel(inner, tmp_path / "c.json")
    await model.aclose()

    assert await model.count_tokens(ask()) == 42
    assert inner.closed
    assert model.capabilities("x") == inner.capabilities("x")
