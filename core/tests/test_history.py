"""The messages of a conversation: the log, its views, and the repair of open calls."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pegboard import Agent, Message
from pegboard.history import (
    MessageLog,
    MessageView,
    estimate_message,
    estimate_tokens,
    open_results,
    settled,
)
from pegboard.types import (
    File,
    ModelSettings,
    Secret,
    Text,
    ToolCall,
    ToolResult,
    UnknownPart,
    message_from_json,
    to_json,
    tool_result,
)


def calls(*ids: str) -> Message:
    return Message("assistant", tuple(ToolCall(id=id, name="add") for id in ids))


def results(*ids: str) -> Message:
    return Message("tool", tuple(tool_result(id, "3") for id in ids))


def shape(messages: list[Message]) -> list[tuple[str, list[str]]]:
    """Role, and the calls or the results' ids with their status."""
    return [
        (
            message.role,
            [call.id for call in message.tool_calls]
            + [f"{part.call_id}:{part.status}" for part in message.parts if isinstance(part, ToolResult)],
        )
        for message in messages
    ]


def test_a_view_does_not_see_what_comes_later() -> None:
    """A view holds the messages that were there when it was made."""
    log = MessageLog([Message.user("one")])
    view = log.view()
    log.append(Message.assistant("two"))

    assert (len(view), len(log)) == (1, 2)
    assert [message.text for message in view] == ["one"]


def test_a_view_is_read_like_a_list() -> None:
    """Indexes and slices of a view are those of the list that it stands for, and go no further."""
    log = MessageLog([Message.user(text) for text in "abc"])
    view = log.view()
    log.append(Message.user("d"))

    assert view[0].text == "a"
    assert view[-1].text == "c"
    assert [message.text for message in view[1:]] == ["b", "c"]
    assert view == [Message.user(text) for text in "abc"]
    assert view != [Message.user(text) for text in "abx"]
    assert view != "abc"
    for index in (3, -4):
        with pytest.raises(IndexError):
            view[index]


def test_a_view_is_taken_over_without_checking_it_again() -> None:
    """A log that begins with a view of another one has its messages and grows by itself."""
    first = MessageLog([Message.user("one")])
    second = MessageLog(first.view())
    second.append(Message.user("two"))

    assert (len(first), len(second)) == (1, 2)
    assert [message.text for message in second[:]] == ["one", "two"]
    assert [message.text for message in second] == ["one", "two"]


def test_logs_and_views_show_their_size_and_not_their_content() -> None:
    """A `repr` never fills a terminal."""
    log = MessageLog([Message.user("a secret")])

    assert (repr(log), repr(log.view())) == ("<log of 1 messages>", "<1 messages>")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([calls("a"), results("a")], [("assistant", ["a"]), ("tool", ["a:ok"])], id="valid"),
        pytest.param([calls("a")], [("assistant", ["a"]), ("tool", ["a:unknown"])], id="open at the end"),
        pytest.param(
            [calls("a"), Message.user("and?")],
            [("assistant", ["a"]), ("tool", ["a:unknown"]), ("user", [])],
            id="open in the middle",
        ),
        pytest.param(
            [calls("a", "b"), results("b")],
            [("assistant", ["a", "b"]), ("tool", ["b:ok"]), ("tool", ["a:unknown"])],
            id="one of two open",
        ),
        pytest.param([results("x"), Message.user("hi")], [("user", [])], id="a result without a call"),
        pytest.param(
            [calls("a"), results("a", "x")], [("assistant", ["a"]), ("tool", ["a:ok"])], id="one result too many"
        ),
        pytest.param(
            [calls("a"), results("a"), results("a")], [("assistant", ["a"]), ("tool", ["a:ok"])], id="a result twice"
        ),
        pytest.param(
            [calls("a"), calls("b"), results("b")],
            [("assistant", ["a"]), ("tool", ["a:unknown"]), ("assistant", ["b"]), ("tool", ["b:ok"])],
            id="two turns",
        ),
    ],
)
def test_a_repaired_history_has_one_result_per_call(
    messages: list[Message], expected: list[tuple[str, list[str]]]
) -> None:
    """Open calls get a result `unknown`; results without a call are dropped."""
    assert shape(settled(messages)) == expected


_PIECES = st.lists(
    st.one_of(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(lambda ids: calls(*ids)),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(lambda ids: results(*ids)),
        st.just(Message.user("hi")),
    ),
    max_size=8,
)


@given(_PIECES)
def test_repair_is_idempotent_and_complete(messages: list[Message]) -> None:
    """Whatever a history was, repairing it twice changes nothing more, and each call has exactly one result."""
    repaired = settled(messages)

    assert settled(repaired) == repaired
    asked = [call.id for message in repaired for call in message.tool_calls]
    answered = [part.call_id for message in repaired for part in message.parts if isinstance(part, ToolResult)]
    assert sorted(asked) == sorted(answered)


def test_other_parts_of_a_tool_message_stay() -> None:
    """Only results are judged; what else stands in the message is kept."""
    message = Message("tool", (tool_result("x", "?"), Text("a remark")))

    assert settled([message]) == [Message("tool", (Text("a remark"),))]


@pytest.mark.parametrize("status", ["cancelled", "unknown"])
def test_settling_closes_the_calls_of_the_last_turn(status: str) -> None:
    """Each open call of the last turn gets a result of the status given; the others stay as they are."""
    log = MessageLog([Message.user("go")])
    log.append(calls("a", "b"))
    log.append(results("a"))

    added = log.settle(status)

    assert [(result.call_id, result.status) for result in added] == [("b", status)]
    assert settled(list(log)) == list(log)


def test_settling_a_settled_log_adds_nothing() -> None:
    """There is nothing to close in an empty log, after a user's message, and when all calls are answered."""
    for messages in ([], [Message.user("hi")], [calls("a"), results("a")]):
        log = MessageLog(messages)
        assert log.settle() == ()
        assert len(log) == len(messages)


def test_there_are_no_open_calls_without_a_turn() -> None:
    """A history of results alone has no calls to answer."""
    assert open_results([results("a")], "unknown") == ()


@given(st.text(max_size=400))
def test_the_estimate_never_falls_below_the_words(text: str) -> None:
    """A text has at least as many estimated tokens as it has words, and one at least."""
    assert estimate_tokens(text) >= max(1, len(text) // 3)


def test_wide_characters_count_one_each() -> None:
    """Text beyond ASCII is counted by character, since tokenizers cut it finer."""
    assert estimate_tokens("äöü") == 4
    assert estimate_tokens("abc") == 2


def test_every_kind_of_part_costs_something() -> None:
    """Calls by their arguments, results by their text, files by a flat rate."""
    assert estimate_message(Message("assistant", (ToolCall(id="a", name="add", raw_arguments="x" * 300),))) > 100
    assert estimate_message(Message("tool", (tool_result("a", "x" * 300),))) > 100
    assert estimate_message(Message("user", (File(media_type="image/png", uri="file:x"),))) == 260
    assert estimate_message(Message("user", (UnknownPart({"type": "new"}),))) == 260


def test_a_log_counts_each_message_once() -> None:
    """The tokens of a log are those of its messages, also after it grew."""
    log = MessageLog([Message.user("one")])
    before = log.tokens()
    log.append(Message.user("two"))

    assert before == estimate_message(log[0])
    assert log.tokens() == sum(map(estimate_message, log))
    assert MessageLog().tokens() == 0


def test_messages_survive_json_with_parts_nobody_knows() -> None:
    """A part of a kind of the future comes back as it was."""
    message = Message("assistant", (Text("hi"), UnknownPart({"type": "hologram", "data": [1]})), "m1", {"a": 1})

    assert message_from_json(to_json(message)) == message
    assert hash(UnknownPart({"a": 1, "b": 2})) == hash(UnknownPart({"b": 2, "a": 1}))


def test_a_result_survives_json_with_its_content() -> None:
    """The parts inside a result are read like those of a message."""
    part = ToolResult(call_id="a", content=(Text("x"), UnknownPart({"type": "new"})), structured={"n": 1}, artifact="b")

    assert message_from_json(to_json(Message("tool", (part,)))).parts == (part,)


def test_a_view_is_plain_json() -> None:
    """A view of a history is written like a list."""
    log = MessageLog([Message.user("hi")])

    assert to_json(log.view()) == to_json([Message.user("hi")])
    assert isinstance(log.view(), MessageView)


def test_what_is_not_json_is_said() -> None:
    """Functions are shown by their name; anything else that is no value is refused."""
    assert to_json(Agent("a", tools=[len]).config)["tools"] == ("len",)
    with pytest.raises(NotImplementedError, match="object is not JSON"):
        to_json({"a": object()})


def test_a_secret_shows_itself_to_nobody_else() -> None:
    """Not in a `repr`, not as text, not in a pickle."""
    secret = Secret("hunter2")

    assert (repr(secret), str(secret), secret.reveal()) == ("Secret('***')", "Secret('***')", "hunter2")
    with pytest.raises(TypeError, match="a secret cannot be pickled"):
        pickle.dumps(secret)


@pytest.mark.parametrize(
    ("own", "base", "expected"),
    [
        (ModelSettings(seed=1), ModelSettings(), ModelSettings(seed=1)),
        (ModelSettings(seed=1), ModelSettings(seed=2, top_k=3), ModelSettings(seed=1, top_k=3)),
        (ModelSettings(), ModelSettings(top_k=3), ModelSettings(top_k=3)),
    ],
)
def test_settings_fill_their_gaps_from_the_layer_below(
    own: ModelSettings, base: ModelSettings, expected: ModelSettings
) -> None:
    """What is not said leaves it to the next one."""
    assert own.over(base) == expected
