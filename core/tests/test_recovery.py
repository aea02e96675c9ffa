"""Recovery: who decides what follows a failure, how often, and what is shown of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, Message, RunResult, tool
from pegboard.errors import (
    BudgetExceededError,
    ModelContextOverflowError,
    ModelFault,
    ModelServerError,
    ModelUnavailableError,
    StorageExhaustedError,
)
from pegboard.hookspecs import hookimpl
from pegboard.interfaces import Call, RunContext
from pegboard.types import (
    Abort,
    Action,
    Allow,
    Alternative,
    Extend,
    Failure,
    Fallback,
    ModelRequest,
    ModelResponse,
    Plan,
    PlanStep,
    RecoveryDecision,
    ResourceLimits,
    Retry,
    RetryPolicy,
    RunState,
    StreamEvent,
    Usage,
    evolve,
)
from pegboard_replay import CUT, Gate, ScriptedModel, call, turn
from pegboard_testing import FakeClock

if TYPE_CHECKING:
    from core.tests.conftest import Bench

Next = Callable[[RunState], Awaitable[RunState]]
DOWN = ModelServerError("down")


@tool(effect="pure", inline=True)
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


class Doctor:
    """Answers failures with a list of decisions and remembers what it was shown."""

    def __init__(self, *decisions: RecoveryDecision | None) -> None:
        self._decisions = list(decisions)
        self.failures: list[Failure] = []

    def __call__(self, failure: Failure) -> RecoveryDecision | None:
        self.failures.append(failure)
        return self._decisions.pop(0) if self._decisions else Abort()


def recover(doctor: Doctor) -> Callable[[Failure], RecoveryDecision | None]:
    def ask(failure: Failure) -> RecoveryDecision | None:
        return doctor(failure)

    return ask


def attempts(bench: Bench, result: RunResult) -> list[tuple[str, int]]:
    """Step and attempt of everything that was begun."""
    return [(data["step"], data["attempt"]) for data in bench.events(result, "step.started")]


# --- decisions ---------------------------------------------------------------------------------------------------


async def test_without_anybody_to_ask_a_failure_ends_the_run(bench: Bench) -> None:
    """Core never repeats anything by itself."""
    model = ScriptedModel([DOWN, "never"])
    result = await bench.run(model)

    assert (result.end_reason, len(model.requests)) == ("unavailable", 1)


async def test_a_retry_is_another_attempt_of_the_same_step(bench: Bench) -> None:
    """The step keeps its id, its attempt goes up, and the turn is not counted twice."""
    doctor = Doctor(Retry(), Retry())
    bench.plug(recover=recover(doctor))
    result = await bench.run(ScriptedModel([DOWN, DOWN, call("add", a=1, b=2), "3"]), tools=[add])

    assert attempts(bench, result) == [
        ("model.request#1", 1),
        ("model.request#1", 2),
        ("model.request#1", 3),
        ("tool.call:add#1", 1),
        ("model.request#2", 1),
    ]
    assert [data["attempt"] for data in bench.events(result, "step.attempt_reset")] == [2, 3]
    assert (result.output, result.turns) == ("3", 2)
    assert [(f.step, f.attempt, f.phase) for f in doctor.failures] == [
        ("model.request#1", 1, "execution_phase"),
        ("model.request#1", 2, "execution_phase"),
    ]


async def test_a_retry_waits_as_long_as_it_says(make_bench: type[Bench]) -> None:
    """The delay passes on the injected clock, and the second request is not sent before."""
    clock = FakeClock()
    bench = make_bench(clock=clock)
    bench.plug(recover=recover(Doctor(Retry(delay_s=30))))
    model = ScriptedModel([DOWN, "done"])
    task = asyncio.create_task(bench.run(model))
    await clock.sleeping()
    assert len(model.requests) == 1

    clock.advance(30)
    assert (await task).output == "done"


async def test_an_alternative_changes_what_is_asked(bench: Bench) -> None:
    """Instructions are added, settings replaced; the request is sent again with them."""
    change = Alternative(instructions="Be brief.", settings={"temperature": 0.5, "max_output_tokens": 9})
    bench.plug(recover=recover(Doctor(change)))
    model = ScriptedModel([DOWN, "done"])
    await bench.run(model, agent=Agent("agent", instructions="You are kind."))

    assert [request.instructions for request in model.requests] == ["You are kind.", "You are kind.\n\nBe brief."]
    assert model.requests[1].settings.temperature == 0.5
    assert model.requests[1].settings.max_output_tokens == 9


async def test_an_alternative_may_make_the_context_smaller(bench: Bench) -> None:
    """After an overflow the history is shown no larger than the decision says."""
    bench.plug(recover=recover(Doctor(Alternative(context_tokens=40))))
    model = ScriptedModel([ModelContextOverflowError("too long"), "done"])
    history = [message for n in range(9) for message in _said(f"question {n}")]
    result = await bench.run(model, "now", history=history)

    assert result.output == "done"
    assert len(model.requests[1].messages) < len(model.requests[0].messages)
    assert model.requests[1].messages[-1].text == "now"
    assert len(result.messages) == len(history) + 2


def _said(text: str) -> Sequence[Any]:
    from_user, from_model = Message.user(text), Message.assistant("yes " * 5)
    return from_user, from_model


async def test_an_alternative_may_bring_another_plan(bench: Bench) -> None:
    """The plan of the decision replaces that of the run."""
    done = Plan((PlanStep(n=1, text="other", status="completed"),))
    bench.plug(recover=recover(Doctor(Alternative(plan=done))))
    plans: list[Plan | None] = []

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        return evolve(state, plan=Plan((PlanStep(n=1, text="one"),)))

    async def idle(state: RunState, call_next: Next) -> RunState:
        plans.append(state.plan)
        return state

    bench.plug("plans", planning_phase=planning_phase, idle=idle)
    result = await bench.run(ScriptedModel([DOWN, "done"]))

    assert (result.end_reason, plans) == ("completed", [done])


async def test_an_alternative_may_raise_the_tier(bench: Bench) -> None:
    """Tools of the tier are offered in the next attempt."""
    bench.tiers["add"] = "toolbelt"
    bench.plug(recover=recover(Doctor(Alternative(tier="toolbelt"))))
    model = ScriptedModel([call("nothing"), DOWN, "done"])
    await bench.run(model, agent=Agent("agent", tools=[add]))

    assert [len(request.tools) for request in model.requests] == [0, 1, 1]


async def test_a_fallback_to_another_model(bench: Bench) -> None:
    """The whole step is asked of the other model, and the result lists both names."""
    bench.models["spare"] = ScriptedModel(["spared"], name="spare")
    bench.plug(recover=recover(Doctor(Fallback(target="spare", reason="the first was down"))))
    result = await bench.run(ScriptedModel([DOWN], name="first"))

    assert result.output == "spared"
    assert [(entry.what, entry.why) for entry in result.degraded] == [
        ("model `scripted:first`", "fell back to `spare`: the first was down")
    ]


async def test_a_fallback_to_another_agent(bench: Bench) -> None:
    """The rest of the run is done with the other agent's instructions, tools and model."""
    spare = ScriptedModel([call("add", a=1, b=2), "3"])
    bench.models["spare"] = spare
    bench.agents["other"] = Agent("other", model="spare", tools=[add], instructions="You add.")
    bench.plug(recover=recover(Doctor(Fallback(target="agent:other"))))
    result = await bench.run(ScriptedModel([DOWN]))

    assert (result.output, result.agent) == ("3", "other")
    assert spare.requests[0].instructions == "You add."


async def test_a_fallback_that_is_not_there_ends_the_run(bench: Bench) -> None:
    """With the failure that it was to help out of; what was missing is said beside it."""
    bench.plug(recover=recover(Doctor(Fallback(target="nowhere"))))
    result = await bench.run(ScriptedModel([DOWN]))

    assert getattr(result.error, "code", None) == "model.server_error"
    assert [(part.what, part.code) for part in result.degraded] == [("fallback `nowhere`", "model.none")]


@pytest.mark.parametrize("decision", [Abort(reason="enough"), None])
async def test_an_abort_ends_the_run_with_the_first_error(bench: Bench, decision: Abort | None) -> None:
    """Nothing is repeated; no opinion is an abort too."""
    model = ScriptedModel([DOWN, "never"])
    bench.plug(recover=recover(Doctor(decision)))
    result = await bench.run(model)

    assert getattr(result.error, "code", None) == "model.server_error"
    assert len(model.requests) == 1
    assert bench.events(result, "phase.error")[-1]["decision"] == "abort"


async def test_error_handling_may_be_wrapped(bench: Bench) -> None:
    """A layer of `error_handling` decides without `recover`, or over it."""

    async def error_handling(state: RunState, call_next: Next) -> RunState:
        assert state.failure is not None
        return evolve(state, decision=Retry())

    bench.plug(error_handling=error_handling)
    result = await bench.run(ScriptedModel([DOWN, "done"]))

    assert result.output == "done"
    assert bench.phases(result).count("error_handling") == 1


async def test_a_phase_of_a_plugin_that_fails_is_entered_again(bench: Bench) -> None:
    """Recovery goes back to the phase that failed, not to the start."""
    tries = 0

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RuntimeError("not yet")
        return await call_next(state)

    doctor = Doctor(Retry(), Retry())
    bench.plug(planning_phase=planning_phase)
    bench.plug("doctor", recover=recover(doctor))
    result = await bench.run(ScriptedModel(["done"]))

    assert (result.output, tries) == ("done", 3)
    assert bench.phases(result).count("execution_phase") == 1
    assert [(f.code, f.phase, f.step) for f in doctor.failures] == [("unknown", "planning_phase", None)] * 2


async def test_the_state_comes_through_recovery_unmarked(bench: Bench) -> None:
    """Failure and decision are taken out again before the phase is entered."""
    seen: list[Any] = []

    async def execution_phase(state: RunState, call_next: Next) -> RunState:
        seen.append((state.failure, state.decision))
        return await call_next(state)

    bench.plug(execution_phase=execution_phase)
    bench.plug("doctor", recover=recover(Doctor(Retry())))
    await bench.run(ScriptedModel([DOWN, "done"]))

    assert seen == [(None, None), (None, None)]


# --- bounds ------------------------------------------------------------------------------------------------------


async def test_a_step_is_repeated_at_most_three_times(bench: Bench) -> None:
    """Four attempts, then the last error ends the run, whatever the plugin wants."""
    model = ScriptedModel([DOWN] * 9)
    bench.plug(recover=lambda failure: Retry())
    result = await bench.run(model)

    assert (len(model.requests), result.end_reason) == (4, "unavailable")


@pytest.mark.parametrize(("policy", "bound", "requests"), [(2, 3, 2), (9, 1, 2), (1, 3, 1)])
async def test_agent_and_operator_both_bound_the_repeats(bench: Bench, policy: int, bound: int, requests: int) -> None:
    """The smaller number holds."""
    bench.bound(step_repeats=bound)
    bench.plug(recover=lambda failure: Retry())
    model = ScriptedModel([DOWN] * 9)
    await bench.run(model, agent=Agent("agent", retry=RetryPolicy(attempts=policy)))

    assert len(model.requests) == requests


async def test_a_run_is_repeated_at_most_ten_times(bench: Bench) -> None:
    """However many steps it has: the eleventh repeat is refused."""
    bench.plug(recover=lambda failure: Retry())
    script: list[Any] = [item for n in range(9) for item in (DOWN, DOWN, call("add", a=n, b=1))]
    model = ScriptedModel([*script, "done"])
    result = await bench.run(model, tools=[add])

    assert result.end_reason == "unavailable"
    assert len(bench.events(result, "step.attempt_reset")) == 10


@pytest.mark.parametrize(
    "agent",
    [
        pytest.param(Agent("agent", max_turns=0), id="turns"),
        pytest.param(Agent("agent", tools=[add], limits=ResourceLimits(tool_calls=0)), id="tool calls"),
    ],
)
async def test_limits_are_never_offered_to_recovery(bench: Bench, agent: Agent) -> None:
    """What was reached is not talked away; the budget of a request to a model is another matter."""
    doctor = Doctor(Retry())
    bench.plug(recover=recover(doctor))
    result = await bench.run(ScriptedModel([call("add", a=1, b=2), "never"]), agent=agent)

    assert result.end_reason in ("limit", "budget")
    assert doctor.failures == []


async def test_a_full_store_is_never_offered_to_recovery(bench: Bench) -> None:
    """Storage is not mended by another attempt."""
    doctor = Doctor(Retry())

    async def planning_phase(state: RunState, call_next: Next) -> RunState:
        raise StorageExhaustedError("disk full")

    bench.plug(recover=recover(doctor))
    bench.plug("full", planning_phase=planning_phase)
    result = await bench.run(ScriptedModel(["never"]))

    assert (doctor.failures, getattr(result.error, "code", None)) == ([], "storage.exhausted")


async def test_a_cancellation_is_never_offered_to_recovery(bench: Bench) -> None:
    """Whoever cancels wants an end and no advice."""
    doctor = Doctor(Retry())
    bench.plug(recover=recover(doctor))
    gate = Gate()
    task = asyncio.create_task(bench.run(ScriptedModel([turn("half", gate)])))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert doctor.failures == []


async def test_what_was_cancelled_by_somebody_else_fails_the_run(bench: Bench) -> None:
    """A cancellation that nobody asked of this task is an error, and does not end whoever waits for the run."""

    class Careless(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            raise asyncio.CancelledError

    result = await bench.run(None, agent=Careless("careless"))

    assert (result.end_reason, getattr(result.error, "code", None)) == ("failed", "run.failed")


@pytest.mark.parametrize(
    ("error", "end"),
    [
        pytest.param(ModelUnavailableError("all used up"), "unavailable", id="used up"),
        pytest.param(ModelServerError("down"), "unavailable", id="retryable"),
        pytest.param(ModelFault("odd"), "failed", id="not retryable"),
    ],
)
async def test_a_run_says_whether_a_later_try_may_help(bench: Bench, error: ModelFault, end: str) -> None:
    """Faults of a provider that pass end a run as `unavailable`."""
    assert (await bench.run(ScriptedModel([error]))).end_reason == end


async def test_a_failure_that_was_handled_inside_is_no_concern_of_recovery(bench: Bench) -> None:
    """An agent that caught the error of a request may fail later, and only that failure is recovered from."""
    bench.models["m"] = ScriptedModel([DOWN, "unused"])
    doctor = Doctor(Retry())
    bench.plug(recover=recover(doctor))
    tries = 0

    class Careful(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            nonlocal tries
            tries += 1
            try:
                state = await turns(ctx, state)
            except ModelFault:
                raise RuntimeError("mine") from None
            return state

    result = await bench.run(None, agent=Careful("careful", model="m"))

    assert (result.output, tries) == ("unused", 2)
    assert doctor.failures[0].code == "unknown"


async def test_a_fallback_has_attempts_of_its_own(bench: Bench) -> None:
    """Attempts are counted for each model; `repeatable` says when only a fallback goes on."""
    seen: list[bool] = []

    def ask(failure: Failure) -> RecoveryDecision:
        seen.append(failure.repeatable)
        return Retry() if failure.repeatable or failure.fallbacks else Fallback(target="spare")

    bench.models["spare"] = ScriptedModel([DOWN] * 9, name="spare")
    bench.plug(recover=ask)
    model = ScriptedModel([DOWN] * 9)
    result = await bench.run(model)

    assert seen == [True, True, True, False] * 2
    assert (len(model.requests), result.end_reason) == (4, "unavailable")


async def test_one_step_is_never_attempted_more_than_ten_times(bench: Bench) -> None:
    """Whatever agent, operator and plugin want."""
    bench.bound(step_repeats=99, run_repeats=99)
    bench.plug(recover=lambda failure: Retry())
    model = ScriptedModel([DOWN] * 20)
    await bench.run(model, agent=Agent("agent", retry=RetryPolicy(attempts=99, repeats_per_run=99)))

    assert len(model.requests) == 10


async def test_what_was_tried_in_vain_is_said(bench: Bench) -> None:
    """The run ends as unavailable, with the last fault as the cause; a fault that no repeat mends stays itself."""
    bench.plug(recover=lambda failure: Retry())
    tried = await bench.run(ScriptedModel([DOWN] * 9))
    refused = await bench.run(ScriptedModel([DOWN, *[ModelFault("odd")] * 9]))

    assert isinstance(tried.error, ModelUnavailableError)
    assert isinstance(tried.error.__cause__, ModelServerError)
    assert (type(refused.error), str(refused.error)) == (ModelFault, "odd")


async def test_who_decides_sees_what_was_decided(bench: Bench) -> None:
    """About this step, and where the run has gone."""
    bench.models["spare"] = ScriptedModel([DOWN, "done"], name="spare")
    doctor = Doctor(Retry(), Fallback(target="spare"), Retry())
    bench.plug(recover=recover(doctor))
    await bench.run(ScriptedModel([DOWN] * 9))

    last = doctor.failures[-1]
    assert last.decided == (Retry(), Fallback(target="spare"))
    assert (last.fallbacks, last.attempt) == (("spare",), 3)


async def test_after_a_fallback_that_is_not_there_another_may_be_named(bench: Bench) -> None:
    """It is asked about that failure too, and the step goes on as the same one."""
    bench.models["spare"] = ScriptedModel(["done"], name="spare")
    bench.plug(recover=recover(Doctor(Fallback(target="nowhere"), Fallback(target="spare"))))
    events = await bench.stream(ScriptedModel([turn("half", CUT)]))

    assert (events[-1].content.output, events[-1].content.turns) == ("done", 1)
    assert shown(events) == "done"


@pytest.mark.parametrize("finish", ["length", "refused"])
async def test_an_answer_that_was_cut_gives_way_to_the_next(bench: Bench, finish: Any) -> None:
    """It is shown as void, and no part of the conversation; both are paid for."""
    bench.plug(recover=lambda failure: Alternative(settings={"max_output_tokens": 9}))
    used = Usage(1, 1, 0, 0, 0, source="provider")
    events = await bench.stream(ScriptedModel([turn("half", finish=finish, usage=used), turn("whole", usage=used)]))
    result = events[-1].content

    assert shown(events) == "whole"
    assert [message.text for message in result.messages] == ["go", "whole"]
    assert result.usage.requests == 2


async def test_a_layer_may_wait_on_the_clock_longer_than_it_may_take(bench: Bench) -> None:
    """What is waited by `ctx.wait` is not counted against the limit of the hook."""

    class Patient:
        @hookimpl(timeout_s=0.01)
        async def model_request(self, ctx: RunContext, request: ModelRequest, call_next: Call) -> ModelResponse:
            await ctx.wait(0.05)
            answer: ModelResponse = await call_next(request)
            return answer

    bench.dispatcher.register("patient", Patient(), context=object())

    assert (await bench.run(ScriptedModel(["done"]))).output == "done"


async def test_attempts_of_an_earlier_life_count(bench: Bench) -> None:
    """A run that is interrupted again and again does not try for ever; one that was given up begins anew."""
    doctor = Doctor(Retry(), Retry())
    bench.plug(recover=recover(doctor))
    gate = Gate()
    run = bench.prepare(ScriptedModel([DOWN, turn("half", gate)]), "go", agent=Agent("agent"))
    task = asyncio.ensure_future(bench.runner().drive(run))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    given_up = await bench.resume(run.result(), ScriptedModel([DOWN] * 9))
    doctor.failures.clear()
    await bench.resume(given_up, ScriptedModel([DOWN]))

    assert [failure.attempt for failure in doctor.failures] == [1]
    assert given_up.end_reason == "unavailable"


# --- while streaming ---------------------------------------------------------------------------------------------


def shown(events: Sequence[StreamEvent]) -> str:
    """What a consumer has that forgets everything at a `restart`."""
    text = ""
    for event in events:
        if event.type == "restart":
            text = ""
        elif event.type == "text":
            text += event.content
    return text


@pytest.mark.parametrize("cut_after", range(5))
async def test_text_of_two_attempts_is_never_joined(bench: Bench, cut_after: int) -> None:
    """Wherever the stream was cut, a `restart` comes before the text of the next attempt."""
    bench.plug(recover=lambda failure: Retry())
    model = ScriptedModel([turn(*"abcde"[:cut_after], CUT), "xyz"], split=1)
    events = await bench.stream(model)
    kinds = [event.type for event in events]

    assert shown(events) == "xyz"
    assert kinds.count("restart") == (1 if cut_after else 0)
    assert [event.accumulated for event in events if event.type == "text"][-3:] == ["x", "xy", "xyz"]
    assert events[-1].content.output == "xyz"


async def test_a_restart_says_why(bench: Bench) -> None:
    """The error comes first, then the restart with its cause, then the new attempt under its number."""
    bench.plug(recover=lambda failure: Retry())
    events = await bench.stream(ScriptedModel([turn("half", CUT), "whole"]))

    assert [(event.type, event.attempt) for event in events] == [
        ("start", 1),
        ("text", 1),
        ("error", 1),
        ("restart", 1),
        ("start", 2),
        ("text", 2),
        ("final", 1),
    ]
    assert events[2].content == "model.stream_incomplete"
    assert events[3].data == {"cause": "retry", "attempt": 1, "model": "scripted:script"}


async def test_a_fallback_in_the_middle_of_a_stream(bench: Bench) -> None:
    """The text of the first model is void, also when a stream had already begun."""
    bench.models["spare"] = ScriptedModel(["spared"], name="spare")
    bench.plug(recover=lambda failure: Fallback(target="spare"))
    events = await bench.stream(ScriptedModel([turn("half", CUT)]))

    (restart,) = [event for event in events if event.type == "restart"]
    assert restart.data == {"cause": "fallback", "attempt": 1, "model": "scripted:spare"}
    assert shown(events) == "spared"


async def test_usage_of_void_attempts_counts(bench: Bench) -> None:
    """A failed attempt has cost something, known or not; the number of requests says so."""
    bench.plug(recover=lambda failure: Retry())
    fault = ModelServerError("cut", usage=Usage(10, 5, source="provider"), stream_started=True)
    result = await bench.run(ScriptedModel([fault, turn("ok", usage=Usage(1, 1, 0, 0, 0, source="provider"))]))

    assert (result.usage.input_tokens, result.usage.output_tokens, result.usage.requests) == (11, 6, 2)


async def test_an_end_that_nobody_knows_is_said(bench: Bench) -> None:
    """An answer may be less than whole, where its provider has a word for its end that is new."""
    result = await bench.run(ScriptedModel([turn("half an ans", finish="other")]))

    assert (result.output, [part.what for part in result.degraded]) == ("half an ans", ["an answer"])


# --- limits ------------------------------------------------------------------------------------------------------

NEARLY_NOTHING = ResourceLimits(tokens=10)


@pytest.mark.parametrize("decision", [Retry(), Alternative(instructions="be brief"), Extend(amount=0)], ids=type)
async def test_a_limit_cannot_be_overcome_by_asking_again(bench: Bench, decision: RecoveryDecision) -> None:
    """A request that would pass a limit is the same request next time."""
    model = ScriptedModel(["never"])
    doctor = Doctor(decision)
    bench.plug(recover=recover(doctor))
    result = await bench.run(model, limits=NEARLY_NOTHING)

    (failure,) = doctor.failures
    assert (failure.code, failure.repeatable, model.requests) == ("budget.exceeded", False, [])
    assert isinstance(result.error, BudgetExceededError)
    assert (result.error.unit, result.error.limit) == ("tokens", 10)


async def test_a_limit_is_extended_only_where_somebody_approves(bench: Bench) -> None:
    """A plugin that decides to spend more is asked for it, as for every effect; without a policy nobody is."""
    model = ScriptedModel(["never"])
    bench.plug(recover=recover(Doctor(Extend(amount=100_000))))
    result = await bench.run(model, limits=NEARLY_NOTHING)

    assert (result.end_reason, model.requests) == ("needs_approval", [])


async def test_a_policy_may_extend_a_limit(bench: Bench) -> None:
    """It is an action like any other, of the verb `budget.raise`."""
    asked: list[Action] = []

    def authorize(action: Action) -> Allow:
        asked.append(action)
        return Allow()

    bench.plug(recover=recover(Doctor(Extend(amount=100_000))), authorize=authorize)
    result = await bench.run(ScriptedModel(["done"]), limits=NEARLY_NOTHING)

    assert result.output == "done"
    assert [(action.verb, action.resource) for action in asked] == [("budget.raise", "tokens")]


async def test_only_a_budget_that_is_short_is_extended(bench: Bench) -> None:
    """After another failure such a decision gives up."""
    model = ScriptedModel([DOWN, "never"])
    bench.plug(recover=recover(Doctor(Extend(amount=1))))
    result = await bench.run(model)

    assert getattr(result.error, "code", None) == "model.server_error"
    assert len(model.requests) == 1


async def test_an_answer_that_the_budget_made_too_short_is_the_end_of_the_budget(bench: Bench) -> None:
    """Not of the model's own limit, which a repeat could raise; what it said is kept, and counts."""
    cut = turn("the beginning", usage=Usage(10, 290, source="provider"), finish="length")
    model = ScriptedModel([cut, "never"])
    doctor = Doctor(Retry())
    bench.plug(recover=recover(doctor))
    result = await bench.run(model, limits=ResourceLimits(tokens=300))

    assert (result.end_reason, len(model.requests), result.usage.output_tokens) == ("budget", 1, 290)
    assert (doctor.failures[0].code, result.messages[-1].text) == ("budget.exceeded", "the beginning")


async def test_an_answer_that_was_cut_goes_on_with_more_of_the_budget(bench: Bench) -> None:
    """From the start: what was shown of it is void."""
    cut = turn("the beginning", usage=Usage(10, 290, source="provider"), finish="length")
    model = ScriptedModel([cut, "the whole"])
    bench.plug(recover=recover(Doctor(Extend(amount=10_000))), authorize=lambda action: Allow())
    result = await bench.run(model, limits=ResourceLimits(tokens=300))

    assert (result.output, [message.role for message in result.messages]) == ("the whole", ["user", "assistant"])
    limits = [request.settings.max_output_tokens or 0 for request in model.requests]
    assert limits[0] < 300 < limits[1]
