"""The phases of a run: their order, who may change what, and how a run closes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from pegboard import Agent, tool
from pegboard.errors import LoopLimitError, ModelServerError, PegboardError, UnknownPhaseError
from pegboard.phases import CLOSING_PHASES, LOOP_PHASES, RUN_PHASES
from pegboard.types import UNSET, Finding, Plan, PlanStep, ResourceLimits, Retry, RunResult, RunState, evolve
from pegboard_replay import FunctionModel, Gate, ScriptedModel, call, turn

if TYPE_CHECKING:
    from core.tests.conftest import Bench

Next = Callable[[RunState], Awaitable[RunState]]

OUTER = ["initialization", "execution", "validation", "integration"]
INNER = list(LOOP_PHASES)
ALL = ["initialization", "execution", *INNER, "validation", "integration", *CLOSING_PHASES]
WALKED = [phase for phase in ALL if phase not in CLOSING_PHASES]


@tool(effect="pure", inline=True)
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


async def passing(ctx: Any, state: RunState, call_next: Next) -> RunState:
    return await call_next(state)


def test_the_tables_name_every_phase() -> None:
    """Two tables hold the order; the closing phases come after them."""
    assert list(RUN_PHASES) == OUTER
    assert INNER == [
        "task_initiation",
        "analyze_requirements",
        "tool_discovery",
        "planning_phase",
        "execution_phase",
        "completion_verification",
    ]


async def test_a_phase_that_nobody_implements_is_skipped(bench: Bench) -> None:
    """Only phases with a body of core are entered when there are no plugins."""
    result = await bench.run(ScriptedModel(["done"]))

    assert bench.phases(result) == ["initialization", "execution", "execution_phase"]
    assert result.output == "done"


async def test_the_phases_come_in_order(bench: Bench) -> None:
    """Where somebody implements them all, all are entered, in the order of the tables."""
    bench.plug(**dict.fromkeys(ALL, passing))
    result = await bench.run(ScriptedModel(["done"]))

    assert bench.phases(result) == ALL
    assert {data["outcome"] for data in bench.events(result, "phase.left")} == {"done"}


@pytest.mark.parametrize("phase", WALKED)
async def test_a_plugin_may_prepare_a_phase(bench: Bench, phase: str) -> None:
    """What goes into `call_next` is what the phase works on."""
    seen: list[str] = []

    async def prepare(ctx: Any, state: RunState, call_next: Next) -> RunState:
        return await call_next(evolve(state, task=f"{state.task}!"))

    async def look(ctx: Any, state: RunState, call_next: Next) -> RunState:
        seen.append(state.task)
        return await call_next(state)

    bench.plug("a", **{phase: prepare})
    bench.plug("b", **{phase: look})
    await bench.run(ScriptedModel(["done"]), "go")

    assert seen == ["go!"]


@pytest.mark.parametrize("phase", [phase for phase in WALKED if phase != "initialization"])
async def test_a_plugin_may_replace_a_phase(bench: Bench, phase: str) -> None:
    """A phase that does not call on gives its own state; the run goes on with it."""

    async def replace(ctx: Any, state: RunState, call_next: Next) -> RunState:
        return evolve(state, output=f"by {phase}")

    bench.plug(**{phase: replace})
    result = await bench.run(ScriptedModel(["by the model"]))

    last = phase in ("execution", "execution_phase", "completion_verification", "validation", "integration")
    assert result.output == (f"by {phase}" if last else "by the model")


@pytest.mark.parametrize("phase", WALKED)
async def test_a_plugin_may_change_what_a_phase_gives(bench: Bench, phase: str) -> None:
    """What a layer returns after `call_next` is the outcome of the phase."""

    async def wrap(ctx: Any, state: RunState, call_next: Next) -> RunState:
        return evolve(await call_next(state), confidence=0.5)

    bench.plug(**{phase: wrap})
    seen: list[float | None] = []

    async def idle(state: RunState, call_next: Next) -> RunState:
        seen.append(state.confidence)
        return await call_next(state)

    bench.plug("watch", idle=idle)
    await bench.run(ScriptedModel(["done"]))

    assert seen == [0.5]


async def test_a_plugin_may_repair_a_phase(bench: Bench) -> None:
    """A layer that catches what came out of `call_next` decides what follows."""

    async def repair(state: RunState, call_next: Next) -> RunState:
        try:
            return await call_next(state)
        except ModelServerError:
            return evolve(state, output="made up")

    bench.plug(execution_phase=repair)
    result = await bench.run(ScriptedModel([ModelServerError("down")]))

    assert (result.end_reason, result.output) == ("completed", "made up")


@pytest.mark.parametrize("phase", ALL)
async def test_a_plugin_that_fails_does_not_end_the_run(make_bench: type[Bench], phase: str) -> None:
    """A layer that raises is bypassed before `call_next`, and its fault is reported."""
    bench = make_bench(strict=False)

    async def broken(state: RunState, call_next: Next) -> RunState:
        raise RuntimeError("broken")

    bench.plug(**{phase: broken})
    result = await bench.run(ScriptedModel(["done"]))

    assert (result.end_reason, result.output) == ("completed", "done")
    assert [(fault.hook, fault.outcome) for fault in bench.faults] == [(phase, "error")]


async def test_a_phase_that_failed_says_so(bench: Bench) -> None:
    """The error is an event with the phase in which it arose, and the phase has an end."""
    result = await bench.run(ScriptedModel([ModelServerError("down")]))

    (error,) = bench.events(result, "phase.error")
    assert (error["phase"], error["code"], error["decision"]) == ("execution_phase", "model.server_error", "abort")
    assert [d["outcome"] for d in bench.events(result, "phase.left")] == ["done", "failed", "failed"]


# --- transitions -------------------------------------------------------------------------------------------------


async def test_a_plugin_may_override_a_transition(bench: Bench) -> None:
    """`next_phase` sees what the table proposes and may name another phase."""
    proposals: list[str] = []

    def next_phase(state: RunState, proposed: str) -> str | None:
        proposals.append(proposed)
        return "execution_phase" if proposed == "planning_phase" else None

    bench.plug(next_phase=next_phase, planning_phase=passing)
    result = await bench.run(ScriptedModel(["done"]))

    assert "planning_phase" not in bench.phases(result)
    assert proposals[:3] == ["execution", "analyze_requirements", "tool_discovery"]
    assert proposals[-1] == "end"


async def test_a_plugin_may_end_the_loop_early(bench: Bench) -> None:
    """`end` is a transition from everywhere."""
    bench.plug(next_phase=lambda proposed: "end" if proposed == "completion_verification" else None)
    bench.plug("other", completion_verification=passing)
    result = await bench.run(ScriptedModel(["done"]))

    assert "completion_verification" not in bench.phases(result)
    assert result.output == "done"


@pytest.mark.parametrize("name", ["nowhere", "cleanup", "initialization"])
async def test_an_unknown_phase_ends_the_run(bench: Bench, name: str) -> None:
    """A name that cannot be entered from here is an error that says what there is, and no hang."""
    bench.plug(next_phase=lambda proposed: name if proposed == "planning_phase" else None)
    result = await bench.run(ScriptedModel(["done"]))

    assert isinstance(result.error, UnknownPhaseError)
    assert "execution_phase" in result.error.message


async def test_transitions_that_never_end_are_ended(bench: Bench) -> None:
    """A plugin that sends the run round in circles meets a limit."""
    bench.plug(next_phase=lambda proposed: "task_initiation" if proposed == "analyze_requirements" else None)
    result = await bench.run(ScriptedModel(["done"]))

    assert result.end_reason == "limit"
    assert isinstance(result.error, LoopLimitError)


# --- verification and validation ---------------------------------------------------------------------------------


async def test_verification_sends_the_run_back_to_work(bench: Bench) -> None:
    """Without an output that holds the turns go on, with all that was said so far."""
    seen = 0

    async def verify(state: RunState, call_next: Next) -> RunState:
        nonlocal seen
        seen += 1
        return evolve(state, output=UNSET) if seen == 1 else await call_next(state)

    bench.plug(completion_verification=verify)
    result = await bench.run(ScriptedModel(["first", "second"]))

    assert (result.output, result.turns) == ("second", 2)
    assert bench.phases(result).count("execution_phase") == 2


async def test_verification_sends_back_at_most_three_times(bench: Bench) -> None:
    """The fourth return ends the run with `limit`, never in silence."""

    async def verify(state: RunState, call_next: Next) -> RunState:
        return evolve(state, output=UNSET)

    bench.plug(completion_verification=verify)
    model = ScriptedModel(["no"] * 9)
    result = await bench.run(model)

    assert result.end_reason == "limit"
    assert len(model.requests) == 4


@pytest.mark.parametrize(("status", "turns"), [("completed", 1), ("skipped", 1), ("failed", 1), ("pending", 4)])
async def test_a_plan_with_open_steps_is_not_done(bench: Bench, status: Any, turns: int) -> None:
    """Core's verification wants every step of the plan closed."""

    async def plan(state: RunState, call_next: Next) -> RunState:
        return evolve(state, plan=Plan((PlanStep(n=1, text="one", status=status),)))

    bench.plug(planning_phase=plan)
    result = await bench.run(ScriptedModel(["done"] * 9))

    assert result.turns == turns
    assert result.end_reason == ("limit" if turns == 4 else "completed")


async def test_confidence_below_the_minimum_fails_the_run(bench: Bench) -> None:
    """What an agent itself doubts is no result."""

    async def judge(state: RunState, call_next: Next) -> RunState:
        return evolve(await call_next(state), confidence=0.4)

    bench.plug(execution_phase=judge)
    agent = Agent("agent", min_confidence=0.5)
    result = await bench.run(ScriptedModel(["maybe"]), agent=agent)

    assert (result.end_reason, result.confidence) == ("failed", 0.4)
    assert getattr(result.error, "code", None) == "validation.failed"
    assert result.output == "maybe"


async def test_no_confidence_is_not_enough_where_one_is_asked_for(bench: Bench) -> None:
    """An agent that says nothing about it has none."""
    result = await bench.run(ScriptedModel(["maybe"]), agent=Agent("agent", min_confidence=0.5))

    assert getattr(result.error, "code", None) == "validation.failed"


@pytest.mark.parametrize(("severity", "end"), [("warning", "completed"), ("error", "failed")])
async def test_quality_findings_are_in_the_result(bench: Bench, severity: Any, end: str) -> None:
    """A finding is kept; one of severity `error` fails the run."""

    def check_quality(result: RunResult) -> Sequence[Finding]:
        return [Finding(severity=severity, message=f"{result.output} is too short", check="length")]

    bench.plug(check_quality=check_quality)
    result = await bench.run(ScriptedModel(["ok"]))

    assert result.end_reason == end
    assert [finding.message for finding in result.findings] == ["ok is too short"]


async def test_a_quality_check_that_fails_degrades_the_result(make_bench: type[Bench]) -> None:
    """Nobody takes an answer that was not checked for one that was."""
    bench = make_bench(strict=False)

    def check_quality(result: RunResult) -> Sequence[Finding]:
        raise RuntimeError("broken")

    bench.plug(check_quality=check_quality)
    result = await bench.run(ScriptedModel(["ok"]))

    assert result.ok
    assert [(entry.what, entry.code) for entry in result.degraded] == [("quality check", "hook.failed")]


async def test_input_that_does_not_fit_never_reaches_the_model(bench: Bench) -> None:
    """The input schema is checked first."""
    schema = {"type": "object", "required": ["city"]}
    model = ScriptedModel(["sunny"])
    bad = await bench.run(model, {"town": "x"}, agent=Agent("agent", input_schema=schema))
    good = await bench.run(model, {"city": "x"}, agent=Agent("agent", input_schema=schema))

    assert getattr(bad.error, "code", None) == "agent.input_invalid"
    assert good.output == "sunny"
    assert model.requests[0].messages[0].text == '{"city":"x"}'


# --- limits ------------------------------------------------------------------------------------------------------


async def test_turns_are_limited(bench: Bench) -> None:
    """After the last turn the run ends with `limit`; the limit of agent and operator both hold."""
    model = FunctionModel(lambda request: call("add", a=len(request.messages), b=1))
    bench.bound(turns=4)
    one = await bench.run(model, agent=Agent("agent", tools=[add], max_turns=2))
    other = await bench.run(model, agent=Agent("agent", tools=[add], max_turns=99))

    assert [(result.end_reason, result.turns) for result in (one, other)] == [("limit", 2), ("limit", 4)]


async def test_wall_clock_is_limited(bench: Bench) -> None:
    """A run that takes too long is stopped where it is, and closes as any other."""
    bench.plug(cleanup=passing)
    result = await bench.run(ScriptedModel([turn("half", Gate())]), limits=ResourceLimits(seconds=0.01))

    assert result.end_reason == "limit"
    assert "0.01 s" in str(result.error)
    assert bench.phases(result)[-1] == "cleanup"


async def test_a_timeout_of_somebody_else_is_no_limit_of_the_run(bench: Bench) -> None:
    """A `TimeoutError` from inside fails the run as any other error."""

    class Impatient(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            raise TimeoutError("of my own")

    result = await bench.run(None, agent=Impatient("x"), limits=ResourceLimits(seconds=100))

    assert result.end_reason == "failed"
    assert "of my own" in str(result.error)


# --- closing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["success", "failure", "cancel"])
async def test_a_run_always_closes(bench: Bench, how: str) -> None:
    """`state_cleanup`, `cleanup` and `idle` run whatever happened, and see what did."""
    failures: list[str | None] = []

    async def look(state: RunState, call_next: Next) -> RunState:
        failures.append(state.failure.code if state.failure else None)
        return await call_next(state)

    bench.plug(**dict.fromkeys(CLOSING_PHASES, look))
    gate = Gate()
    script: Any = {"success": "done", "failure": ModelServerError("down"), "cancel": turn(gate)}[how]
    run = bench.prepare(ScriptedModel([script]))
    task = asyncio.ensure_future(bench.runner().drive(run))
    if how == "cancel":
        await gate.reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        result = caught.value.run  # type: ignore[attr-defined]  # where a cancelled run leaves its result
    else:
        result = await task

    assert bench.phases(result)[-3:] == list(CLOSING_PHASES)
    assert failures == [{"success": None, "failure": "model.server_error", "cancel": "cancelled"}[how]] * 3
    bench.check(result)


@pytest.mark.parametrize("phase", CLOSING_PHASES)
async def test_a_failure_while_closing_hides_nothing(bench: Bench, phase: str) -> None:
    """It is an event; the other closing phases run, and the first error stays the error of the run."""

    async def broken(state: RunState, call_next: Next) -> RunState:
        raise PegboardError("while closing")

    bench.plug("broken", **{phase: broken})
    bench.plug("fine", **dict.fromkeys(CLOSING_PHASES, passing))
    result = await bench.run(ScriptedModel([ModelServerError("first")]))

    (error,) = bench.events(result, "cleanup.error")
    assert (error["phase"], error["message"]) == (phase, "while closing")
    assert bench.phases(result)[-3:] == list(CLOSING_PHASES)
    assert isinstance(result.error, ModelServerError)


async def test_a_failure_while_closing_does_not_fail_a_run_that_was_done(bench: Bench) -> None:
    """The task was completed; the event says what could not be cleaned up."""

    async def cleanup(state: RunState, call_next: Next) -> RunState:
        raise RuntimeError("no")

    bench.plug(cleanup=cleanup)
    result = await bench.run(ScriptedModel(["done"]))

    assert (result.end_reason, result.output) == ("completed", "done")
    assert bench.events(result, "cleanup.error")[0]["code"] == "unknown"


async def test_a_cancel_while_closing_is_not_lost(bench: Bench) -> None:
    """The rest of the closing still runs, then the cancellation goes up."""
    gate = Gate()

    async def state_cleanup(state: RunState, call_next: Next) -> RunState:
        await gate.wait()
        return await call_next(state)

    bench.plug(state_cleanup=state_cleanup, cleanup=passing)
    task = asyncio.create_task(bench.run(ScriptedModel(["done"])))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task

    result: RunResult = caught.value.run  # type: ignore[attr-defined]  # where a cancelled run leaves its result
    assert bench.phases(result)[-2:] == ["state_cleanup", "cleanup"]
    assert result.end_reason == "cancelled"


async def test_nested_states_are_closed_at_the_end(bench: Bench) -> None:
    """What a plugin put into the scope of the execution is gone after the run."""

    async def task_initiation(ctx: Any, state: RunState, call_next: Next) -> RunState:
        ctx.scoped.set("execution", "note", "x")
        ctx.scoped.push()
        return await call_next(state)

    bench.plug(task_initiation=task_initiation)
    run = bench.prepare(ScriptedModel(["done"]))
    result = await bench.runner().drive(run)

    assert bench.phases(result)[-1] == "state_cleanup"
    assert (run.scoped.depth, run.scoped.get("execution", "note")) == (0, None)


# --- modules -----------------------------------------------------------------------------------------------------


class Memory:
    """A module with one tool, whose life can be watched."""

    name = "memory"
    description = "Remembers."

    def __init__(self, fails: str = "", offers: Sequence[Any] = (add,)) -> None:
        self.life: list[str] = []
        self._fails = fails
        self._offers = offers

    def tools(self) -> Sequence[Any]:
        return self._offers

    async def initialize(self, ctx: Any) -> None:
        self.life.append("initialize")
        if self._fails == "initialize":
            raise RuntimeError("no memory")

    async def cleanup(self) -> None:
        self.life.append("cleanup")
        if self._fails == "cleanup":
            raise RuntimeError("no end")


async def test_a_module_brings_its_tools_and_is_cleaned_up(bench: Bench) -> None:
    """Its tools are offered while the run goes on, and its `cleanup` is called at the end."""
    memory = Memory()
    model = ScriptedModel([call("add", a=1, b=2), "3"])
    result = await bench.run(model, agent=Agent("agent", modules=[memory]))

    assert [spec.name for spec in model.requests[0].tools] == ["add"]
    assert [r.text for r in bench.results(result)] == ["3"]
    assert memory.life == ["initialize", "cleanup"]


async def test_a_module_that_can_not_begin_is_cleaned_up_all_the_same(bench: Bench) -> None:
    """`cleanup` follows a failure of `initialize`, and the run fails with its error."""
    memory, other = Memory("initialize"), Memory()
    result = await bench.run(ScriptedModel(["never"]), agent=Agent("agent", modules=[other, memory]))

    assert "no memory" in str(result.error)
    assert (memory.life, other.life) == (["initialize", "cleanup"],) * 2


async def test_a_module_that_can_begin_at_last_begins_anew(bench: Bench) -> None:
    """Where the failure of a first attempt is recovered from, all that had begun ends before the second."""

    class Late(Memory):
        name = "late"

        async def initialize(self, ctx: Any) -> None:
            await super().initialize(ctx)
            if self.life.count("initialize") == 1:
                raise RuntimeError("not yet")

    bench.plug(recover=lambda failure: Retry())
    late, other = Late(offers=()), Memory()
    result = await bench.run(ScriptedModel(["done"]), agent=Agent("agent", modules=[other, late]))

    assert result.output == "done"
    assert (late.life, other.life) == (["initialize", "cleanup"] * 2,) * 2


async def test_a_module_that_can_not_end_keeps_no_other_from_ending(bench: Bench) -> None:
    """Each failure is an event that names the module."""
    memory, other = Memory("cleanup"), Memory(offers=())
    result = await bench.run(ScriptedModel(["done"]), agent=Agent("agent", modules=[other, memory]))

    assert result.ok
    assert other.life == ["initialize", "cleanup"]
    assert bench.events(result, "cleanup.error")[0]["message"] == "memory: no end"


async def test_two_modules_cannot_bring_one_tool(bench: Bench) -> None:
    """A name that is taken is refused, and nothing is renamed."""
    agent = Agent("agent", modules=[Memory(), Memory()])
    result = await bench.run(ScriptedModel(["never"]), agent=agent)

    assert result.end_reason == "failed"
    assert "`add`" in str(result.error)


# --- agents that compute -----------------------------------------------------------------------------------------


async def test_an_agent_may_compute_without_a_model(bench: Bench) -> None:
    """`execute` replaces the turns; no model is looked up."""

    class Doubler(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            return evolve(state, output=state.task * 2)

    result = await bench.run(None, "ab", agent=Doubler("doubler", model="not there"))

    assert (result.output, result.turns) == ("abab", 0)


async def test_an_agent_that_computes_may_use_the_turns(bench: Bench) -> None:
    """`turns` does what would have been done, with the model of the agent."""
    bench.models["m"] = ScriptedModel(["hello"])

    class Shouter(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            state = await turns(ctx, state)
            return evolve(state, output=state.output.upper())

    assert (await bench.run(None, agent=Shouter("shouter", model="m"))).output == "HELLO"


async def test_the_output_of_an_agent_that_computes_is_validated(bench: Bench) -> None:
    """Its output schema holds too, with the raw value in the error."""

    class Wrong(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            return evolve(state, output={1, 2})

    result = await bench.run(None, agent=Wrong("wrong", output={"type": "object"}))

    assert getattr(result.error, "code", None) == "model.output_invalid"
    assert getattr(result.error, "raw", "") != ""


async def test_an_agent_may_bring_its_own_model(bench: Bench) -> None:
    """An object instead of a name; a runner without a model uses it."""
    assert (await bench.run(None, agent=Agent("agent", model=ScriptedModel(["mine"])))).output == "mine"


async def test_an_agent_config_is_an_agent(bench: Bench) -> None:
    """Whoever has only the data may run it."""
    from_config = await bench.runner(ScriptedModel(["hi"])).get_response(Agent("a").config, "go")

    assert (from_config.agent, from_config.output) == ("a", "hi")


async def test_an_error_that_is_not_ours_is_wrapped(bench: Bench) -> None:
    """The result's error has a code, names the cause, and holds the result so far."""

    class Broken(Agent):
        async def execute(self, ctx: Any, state: RunState, turns: Any) -> RunState:
            raise KeyError("x")

    result = await bench.run(None, agent=Broken("broken"))

    assert isinstance(result.error, PegboardError)
    assert (result.error.code, result.end_reason) == ("run.failed", "failed")
    assert isinstance(result.error.__cause__, KeyError)
    assert isinstance(result.error.run, RunResult)
    with pytest.raises(PegboardError):
        result.raise_for_error()
