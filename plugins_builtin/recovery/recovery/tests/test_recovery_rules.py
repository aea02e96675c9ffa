"""What follows which failure, in whole runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, Message
from pegboard.errors import (
    BudgetExceededError,
    CredentialsMissingError,
    ModelAuthError,
    ModelConnectionError,
    ModelContextOverflowError,
    ModelEmptyResponseError,
    ModelFault,
    ModelNotOfferedError,
    ModelOverloadedError,
    ModelPermissionError,
    ModelQuotaError,
    ModelRateLimitedError,
    ModelRefusedError,
    ModelRequestError,
    ModelServerError,
    ModelStreamCutError,
    ModelStreamError,
    ModelStreamMalformedError,
    ModelTimeoutError,
    ModelUnavailableError,
    ModelUnsupportedError,
)
from pegboard.types import ModelSettings, ResourceLimits, RetryPolicy, StreamEvent, Usage
from pegboard_replay import CUT, turn

if TYPE_CHECKING:
    from plugins_builtin.recovery.recovery.tests.conftest import Scene

PASSING = (
    ModelRateLimitedError, ModelOverloadedError, ModelServerError, ModelConnectionError, ModelTimeoutError,
    ModelStreamCutError, ModelStreamError, ModelStreamMalformedError, ModelEmptyResponseError,
)  # fmt: skip
LASTING = (ModelAuthError, ModelPermissionError, ModelNotOfferedError, ModelQuotaError, CredentialsMissingError)


def ids(error: type[Exception]) -> str:
    return str(getattr(error, "code", error))


# --- again -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", PASSING, ids=ids)
async def test_what_passes_is_tried_again(scene: Scene, error: type[ModelFault]) -> None:
    """The same model is asked again, and the answer is whole."""
    model = scene.model("a:one", [error("bad luck"), error("again"), "done"])
    result = await scene.run(Agent("agent", model="a:one"))

    assert (result.output, len(model.requests)) == ("done", 3)


@pytest.mark.parametrize("error", PASSING, ids=ids)
async def test_what_does_not_pass_is_asked_of_another_model(scene: Scene, error: type[ModelFault]) -> None:
    """After four attempts; the fallback has its own four, and the result names both."""
    scene.model("a:one", [error("down")] * 4)
    scene.model("b:two", [error("down"), "spared"])
    result = await scene.run(Agent("agent", model="a:one", fallbacks=("b:two",)))

    assert [name for name, _ in scene.sent] == ["a:one"] * 4 + ["b:two"] * 2
    assert result.output == "spared"
    assert [(entry.what, entry.why) for entry in result.degraded] == [
        ("model `a:one`", f"fell back to `b:two`: `{error.code}`")
    ]


async def test_when_everything_was_tried_the_model_is_unavailable(scene: Scene) -> None:
    """The last fault is the cause, and the message has its words."""
    scene.model("a:one", [ModelServerError("down")] * 4)
    scene.model("b:two", [ModelConnectionError("no route")] * 4)
    result = await scene.run(Agent("agent", model="a:one", fallbacks=("b:two",)))

    assert isinstance(result.error, ModelUnavailableError)
    assert (result.end_reason, type(result.error.__cause__)) == ("unavailable", ModelConnectionError)
    assert "no model answered in 8 attempts and 1 fallbacks" in str(result.error)
    assert "no route" in str(result.error)


async def test_one_step_is_never_asked_more_than_ten_times(scene: Scene) -> None:
    """Whatever is configured."""
    scene.settings = {"attempts": 10, "fallbacks": ["b:two", "c:three"]}
    for name in ("a:one", "b:two", "c:three"):
        scene.model(name, [ModelServerError("down")] * 20)
    policy = RetryPolicy(attempts=10, repeats_per_run=10)
    await scene.run(Agent("agent", model="a:one", retry=policy))

    assert len(scene.sent) == 10


async def test_waits_grow_and_stay_within_their_bounds(scene: Scene) -> None:
    """Each is at most twice the one before, and never more than the cap."""
    scene.settings = {"backoff_s": 4, "backoff_most_s": 6}
    scene.model("a:one", [ModelServerError("down")] * 4)
    result = await scene.run(Agent("agent", model="a:one"))

    changes = [event.data["change"] for event in result.events if event.kind == "phase.error"]
    delays = [change["delay_s"] for change in changes if change["decision"] == "retry"]
    assert all(0 <= delay <= most for delay, most in zip(delays, (4, 6, 6), strict=True))
    assert len(set(delays)) == 3  # drawn anew each time


async def test_nothing_is_sent_before_the_provider_allows_it(scene: Scene) -> None:
    """Retry-After is a lower bound, also where it is above the cap."""
    scene.model("a:one", [ModelRateLimitedError("slow", retry_after_s=45), "done"])
    result = await scene.run(Agent("agent", model="a:one"))

    (first, second) = [at for _, at in scene.sent]
    assert result.output == "done"
    assert second - first >= 45


async def test_a_wait_beyond_the_deadline_is_none(scene: Scene) -> None:
    """The fallback follows at once; without one the fault itself ends the run, and says when to come back."""
    scene.settings = {"deadline_s": 60}
    scene.model("a:one", [ModelRateLimitedError("come tomorrow", retry_after_s=86_400)] * 2)
    scene.model("b:two", ["spared"])
    spared = await scene.run(Agent("agent", model="a:one", fallbacks=("b:two",)))
    alone = await scene.run(Agent("agent", model="a:one"))

    assert (spared.output, scene.clock.monotonic()) == ("spared", 0)
    assert isinstance(alone.error, ModelRateLimitedError)
    assert alone.error.retry_after_s == 86_400


async def test_attempts_end_at_the_deadline(scene: Scene) -> None:
    """It counts from the first failure, whatever the number of attempts that are left."""
    scene.settings = {"deadline_s": 5, "attempts": 9}
    scene.model("a:one", [ModelOverloadedError("busy", retry_after_s=2)] * 9)
    await scene.run(Agent("agent", model="a:one", retry=RetryPolicy(attempts=9)))

    assert len(scene.sent) == 3


async def test_no_wait_is_longer_than_the_run_may_take(scene: Scene) -> None:
    """A run with little time left goes elsewhere instead of sleeping until its end."""
    scene.model("a:one", [ModelOverloadedError("busy", retry_after_s=20)])
    scene.model("b:two", ["spared"])
    agent = Agent("agent", model="a:one", fallbacks=("b:two",), limits=ResourceLimits(seconds=10))

    assert (await scene.run(agent)).output == "spared"


async def test_nothing_is_repeated_that_cannot_be_paid(scene: Scene) -> None:
    """Also what failed counts, and a budget that is used up is the end."""
    used = ModelServerError("cut", usage=Usage(4000, 2000, source="provider"), stream_started=True)
    model = scene.model("a:one", [used] * 4)
    result = await scene.run(Agent("agent", model="a:one", limits=ResourceLimits(tokens=5000)))

    assert isinstance(result.error, ModelServerError | BudgetExceededError)
    assert len(model.requests) == 1


# --- elsewhere ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", LASTING, ids=ids)
async def test_what_lasts_is_never_tried_again(scene: Scene, error: type[Exception]) -> None:
    """One request, and the error itself with its hint."""
    model = scene.model("a:one", [error("no"), "never"])
    result = await scene.run(Agent("agent", model="a:one"))

    assert (type(result.error), len(model.requests)) == (error, 1)


async def test_a_provider_that_refuses_is_asked_last(scene: Scene) -> None:
    """Its other models stand behind the same gate; what another provider has comes before them."""
    scene.settings = {"deadline_s": 30}
    scene.model("a:one", [ModelRateLimitedError("slow", retry_after_s=400)])
    scene.model("a:two", ["later"])
    scene.model("b:three", ["at once"])
    result = await scene.run(Agent("agent", model="a:one", fallbacks=("a:two", "b:three")))

    assert (result.output, [name for name, _ in scene.sent]) == ("at once", ["a:one", "b:three"])


@pytest.mark.parametrize("error", [*LASTING, ModelRefusedError], ids=ids)
async def test_another_model_may_do_what_this_one_may_not(scene: Scene, error: type[Exception]) -> None:
    """A configured fallback is asked at once."""
    scene.model("a:one", [error("no")])
    scene.model("b:two", ["spared"])
    result = await scene.run(Agent("agent", model="a:one", fallbacks=("b:two",)))

    assert (result.output, len(scene.sent), scene.clock.monotonic()) == ("spared", 2, 0)


@pytest.mark.parametrize("error", [ModelRequestError, ModelFault], ids=ids)
async def test_a_bad_request_is_asked_of_nobody_else(scene: Scene, error: type[ModelFault]) -> None:
    """It would be as bad there; type and text stay."""
    scene.model("a:one", [error("what is that")])
    scene.model("b:two", ["never"])
    result = await scene.run(Agent("agent", model="a:one", fallbacks=("b:two",)))

    assert (type(result.error), len(scene.sent)) == (error, 1)
    assert "what is that" in str(result.error)


async def test_an_agents_own_fallbacks_lead(scene: Scene) -> None:
    """Those of the configuration follow, and each is tried once."""
    scene.settings = {"fallbacks": ["c:three", "b:two"]}
    for name in ("a:one", "b:two", "c:three"):
        scene.model(name, [ModelAuthError("no")])
    await scene.run(Agent("agent", model="a:one", fallbacks=("b:two",)))

    assert [name for name, _ in scene.sent] == ["a:one", "b:two", "c:three"]


async def test_a_fallback_that_is_not_there_is_passed_over(scene: Scene) -> None:
    """The next one is taken, and the step is the same one again."""
    scene.model("a:one", [turn("half", ModelAuthError("no"))])
    scene.model("c:three", ["spared"])
    result = await scene.run(Agent("agent", model="a:one", fallbacks=("b:gone", "c:three")))

    assert (result.output, result.turns) == ("spared", 1)


async def test_a_model_that_does_not_exist_is_replaced_before_the_run_begins(scene: Scene) -> None:
    """Its name is looked up in the first phase of a run."""
    scene.model("b:two", ["spared"])
    result = await scene.run(Agent("agent", model="nobody:knows", fallbacks=("b:two",)))

    assert result.output == "spared"


async def test_another_agent_may_go_on(scene: Scene) -> None:
    """With its instructions and its model."""
    scene.model("a:one", [ModelServerError("down")] * 4)
    spare = scene.model("b:two", ["spared"])
    scene.agents = [Agent("simple", model="b:two", instructions="Be simple.")]
    result = await scene.run(Agent("agent", model="a:one", fallbacks=("agent:simple",)))

    assert (result.output, spare.requests[0].instructions) == ("spared", "Be simple.")


# --- otherwise ---------------------------------------------------------------------------------------------------


async def test_a_context_that_was_too_long_is_made_shorter(scene: Scene) -> None:
    """Again and again, and the result says so."""
    overflow = ModelContextOverflowError("too long")
    model = scene.model("a:one", [overflow, overflow, "done"])
    history = [message for n in range(20) for message in (Message.user(f"question {n}"), Message.assistant("yes " * 9))]
    result = await scene.run(Agent("agent", model="a:one"), "now", history=history)

    sizes = [len(request.messages) for request in model.requests]
    assert result.output == "done"
    assert sizes[0] > sizes[1] > sizes[2]
    assert model.requests[2].messages[-1].text == "now"
    assert any("was cut to about" in entry.why for entry in result.degraded)


async def test_a_context_that_cannot_get_shorter_is_the_end(scene: Scene) -> None:
    """What is left is the task itself."""
    model = scene.model("a:one", [ModelContextOverflowError("too long")] * 2)
    result = await scene.run(Agent("agent", model="a:one"))

    assert (type(result.error), len(model.requests)) == (ModelContextOverflowError, 1)


async def test_an_answer_that_was_cut_gets_more_room(scene: Scene) -> None:
    """Twice as much each time; the cut answers are not part of the conversation."""
    model = scene.model("a:one", [turn("ha", finish="length"), turn("half", finish="length"), "whole"])
    settings = ModelSettings(max_output_tokens=1000)
    result = await scene.run(Agent("agent", model="a:one", settings=settings))

    assert [request.settings.max_output_tokens for request in model.requests] == [1000, 2000, 4000]
    assert [message.text for message in result.messages] == ["go", "whole"]


async def test_where_there_is_no_more_room_the_model_is_to_be_brief(scene: Scene) -> None:
    """It is told so once; what it said then stays, as does the error."""
    scene.settings = {"most_output_tokens": 100}
    model = scene.model("a:one", [turn("too long", finish="length")] * 2)
    settings = ModelSettings(max_output_tokens=100)
    result = await scene.run(Agent("agent", model="a:one", settings=settings))

    assert "more briefly" in model.requests[1].instructions
    assert getattr(result.error, "code", None) == "model.output_limit"
    assert [message.text for message in result.messages] == ["go", "too long"]


async def test_a_model_is_told_of_its_errors_once_more(scene: Scene) -> None:
    """After core's own repairs; the instructions name what is wrong."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    model = scene.model("a:one", [{"n": "x"}, {"n": "y"}, {"n": "z"}, {"n": 3}])
    result = await scene.run(Agent("agent", model="a:one", output=schema))

    assert result.output == {"n": 3}
    assert "Keep exactly to the format" in model.requests[3].instructions


async def test_what_a_model_lacks_is_left_out(scene: Scene) -> None:
    """Once, and it is said; what the task depends on stays."""
    model = scene.model("a:one", [ModelUnsupportedError("no `seed` here"), "done"])
    settings = ModelSettings(seed=1, temperature=0.5, max_output_tokens=9)
    result = await scene.run(Agent("agent", model="a:one", settings=settings))

    assert model.requests[1].settings == ModelSettings(max_output_tokens=9)
    assert [entry.why for entry in result.degraded] == ["without `temperature`, `seed`: no `seed` here"]


# --- while streaming ---------------------------------------------------------------------------------------------


def shown(events: list[StreamEvent]) -> str:
    """What a client shows that forgets everything at a `restart`."""
    text = ""
    for event in events:
        text = "" if event.type == "restart" else text + event.content if event.type == "text" else text
    return text


@pytest.mark.parametrize("ends", [{"finish": "length"}, {"finish": "refused"}, None], ids=["length", "refused", "cut"])
async def test_no_text_is_shown_twice(scene: Scene, ends: Any) -> None:
    """A stream that began, was repeated, and fell back in the end leaves only the last answer."""
    begun = turn("half", CUT) if ends is None else turn("half", **ends)
    scene.model("a:one", [begun] * 9)
    scene.model("b:two", ["whole"])
    agent = Agent("agent", model="a:one", fallbacks=("b:gone", "b:two"))
    board = await scene.board()

    async def collect() -> list[StreamEvent]:
        return [event async for event in board.stream(agent, "go")]

    events = await scene.through(collect())

    assert shown(events) == "whole"
    assert events[-1].content.output == "whole"


# --- in another life ---------------------------------------------------------------------------------------------


async def test_a_run_that_is_taken_up_decides_the_same(scene: Scene) -> None:
    """It goes on with the fallback, asks the first model nothing, and waits for nothing."""
    scene.model("a:one", [ModelServerError("down")] * 4)
    scene.model("b:two", [ModelRequestError("a bug, mended meanwhile"), "spared"])
    board = await scene.board()
    agent = Agent("agent", model="a:one", fallbacks=("b:two",))
    before = await scene.through(board.run(agent, "go", check=False))
    passed = scene.clock.monotonic()
    result = await board.resume(before.run, check=False)

    assert isinstance(before.error, ModelRequestError)
    assert result.output == "spared"
    assert [name for name, _ in scene.sent] == ["a:one"] * 4 + ["b:two"] * 2
    assert scene.clock.monotonic() == passed
