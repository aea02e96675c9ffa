"""One run of a workflow: a node starts as soon as what it needs is there, the most urgent first, so many at once.

A node whose condition does not hold is skipped; one that lacks what it needs is absent; one that nobody wants any
more is cancelled. A required node that fails ends the run, and what was finished by then is kept.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, Final, Literal

from pegboard.clock import elapsed_ms
from pegboard.deadline import GRACE_S, AbandonedError
from pegboard.errors import (
    BudgetExceededError,
    LoopLimitError,
    ModelFault,
    ModelUnavailableError,
    PegboardError,
    describe,
)
from pegboard.interfaces import RunContext
from pegboard.types import Json

from pegboard_workflow.binding import Bound
from pegboard_workflow.budget import Budget
from pegboard_workflow.errors import WorkflowFailedError
from pegboard_workflow.isolation import failure_of, goes_up, within
from pegboard_workflow.plan import Plan, Step, inputs_of
from pegboard_workflow.references import Absent, IsAbsent, Scope, compile_value
from pegboard_workflow.sizes import check_size
from pegboard_workflow.work import ENDS_WORKFLOW, Record, Work, items_of, value_of

State = Literal["waiting", "running", "done", "failed", "absent", "skipped", "cancelled"]
_TELLING: Final = (*ENDS_WORKFLOW, BudgetExceededError, LoopLimitError, ModelFault, ModelUnavailableError)
"""Errors that tell by themselves how the run ends: by a limit, for want of a person, of room or of a model."""
_YIELD_EVERY: Final = 64
"""Nodes that one worker does without a pause for others, where none of them waits for anything."""
_NEVER: Final[Any] = Absent("", "it did not run")


class Execution:
    """One run."""

    def __init__(
        self, plan: Plan, bounds: Sequence[Bound], ctx: RunContext, input: Json, parallel: int, max_value_bytes: int
    ) -> None:
        self.plan = plan
        self.ctx = ctx
        self.budget = Budget(ctx, plan)
        size = len(plan.steps)
        self._bounds = bounds
        self._results: list[Any] = [_NEVER] * size
        self.scope = Scope(input, self._results)
        self.max_value_bytes = max_value_bytes
        self._states: list[State] = ["waiting"] * size
        self._missing = [len(step.needs) for step in plan.steps]
        self._unasked = [len(step.when_needs) for step in plan.steps]
        self._wanted = [len(step.dependents) + (step.index in plan.goals) for step in plan.steps]
        """How many living nodes, or outputs, want the result of a node."""
        self._unfinished = size
        self._ready: list[tuple[int, int]] = []
        self._over: deque[tuple[int, State, Any]] = deque()
        """Nodes that came to an end of which the others do not know yet: a queue, since chains may be long."""
        self._parallel = parallel
        self._workers: set[asyncio.Task[None]] = set()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._unwanted: set[int] = set()
        self._is_stopping = False
        self._failed: tuple[Step, Exception] | None = None
        self._finished = asyncio.get_running_loop().create_future()

    async def run(self) -> Json:
        """The output. Raises what failed a required node, with `output` and `finished` set to what there is."""
        self.ctx.emit("workflow.graph", {"name": self.plan.workflow.name, "nodes": self.plan.graph})
        try:
            for step in self.plan.steps:
                if not step.needs:
                    self._consider(step)
            self._spread()
            self._employ()
            await self._finished
            if self._failed is not None:
                raise self._failure()
            return self._output()
        finally:
            await self._stop()

    # --- what is next

    def _consider(self, step: Step) -> None:
        """Everything that a node needs is there, or ended otherwise."""
        if self._states[step.index] != "waiting":
            return
        if step.when is not None and not step.when_needs and not self._holds(step):
            return
        heappush(self._ready, (-step.node.priority, step.index))

    def _holds(self, step: Step) -> bool:
        """Judge the condition; where it does not hold, or cannot be judged, the node comes to its end."""
        assert step.when is not None
        try:
            if step.when(self.scope):
                return True
        except Exception as error:
            self._has_failed(step, error)
            return False
        text = f"`{step.node.when}` does not hold"
        self._over.append((step.index, "skipped", Absent(step.name, text, skipped=True)))
        return False

    def _spread(self) -> None:
        """Tell the others of every node that came to its end, until one has failed the workflow."""
        while self._over and self._failed is None:
            index, state, value = self._over.popleft()
            if self._states[index] not in ("waiting", "running"):
                continue
            self._states[index] = state
            self._results[index] = value
            self._unfinished -= 1
            self._hand_on(self.plan.steps[index], state, value)
        if self._unfinished == 0 and not self._finished.done():
            self._finished.set_result(None)

    def _hand_on(self, step: Step, state: State, value: Any) -> None:
        if state == "absent":
            self.ctx.degrade(f"node `{step.name}`", value.reason, code="workflow.absent")
        if state != "done":
            self._tell_end(step, state, value)
            self._forsake(step)
        absent = type(value) is Absent
        for index in step.when_dependents:
            self._unasked[index] -= 1
            if self._unasked[index] == 0 and self._states[index] == "waiting":
                self._holds(self.plan.steps[index])
        for index in step.dependents:
            self._missing[index] -= 1
            if self._states[index] != "waiting":
                continue
            if absent and step.index in self._bounds[index].hard:
                self._lacks(self.plan.steps[index], value)
            elif self._missing[index] == 0:
                self._consider(self.plan.steps[index])

    def _lacks(self, step: Step, absent: Absent) -> None:
        """A node cannot run: something that it needs is not there."""
        reason = f"it needs `{absent.node}`: {absent.reason}"
        state: State = "skipped" if absent.skipped else "absent"
        self._over.append((step.index, state, Absent(step.name, reason, absent.skipped)))

    def _forsake(self, step: Step) -> None:
        """A node gave nothing, so it wants nothing any more; what nobody wants is cancelled."""
        self.budget.settle(step)
        for need in step.needs:
            self._wanted[need] -= 1
            if self._wanted[need] == 0:
                self._cancel(self.plan.steps[need])

    def _cancel(self, step: Step) -> None:
        if self._states[step.index] == "waiting":
            self._over.append((step.index, "cancelled", Absent(step.name, "nobody wants it any more", skipped=True)))
        elif step.index in self._running:
            self._unwanted.add(step.index)
            self._running[step.index].cancel()

    # --- who works

    def _employ(self) -> None:
        """As many workers as there is work for, up to the cap."""
        if self._finished.done():
            return
        for _ in range(min(len(self._ready), self._parallel - len(self._workers))):
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)

    async def _work(self) -> None:
        """Node after node, while there are any that can run."""
        worker: Any = asyncio.current_task()
        done = 0
        try:
            while self._ready and not self._finished.done():
                _, index = heappop(self._ready)
                if self._states[index] != "waiting":
                    continue
                self._states[index] = "running"
                self._running[index] = worker
                await self._perform(self.plan.steps[index])
                if worker.cancelling():
                    break
                self._spread()
                if self._ready and len(self._workers) < self._parallel:
                    self._employ()
                done += 1
                if done % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
        except (Exception, asyncio.CancelledError) as error:  # a fault of this file: never to be waited for in vain
            if not self._finished.done():
                self._finished.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._workers.discard(worker)
            if not self._finished.done():
                self._spread()
                self._employ()

    async def _perform(self, step: Step) -> None:
        """One node from its inputs to its end."""
        index = step.index
        started = self.ctx.clock.monotonic()
        try:
            record = await self._recorded(step)
        except IsAbsent as exc:
            self._lacks(step, exc.absent)
        except BaseException as error:
            if isinstance(error, AbandonedError):
                self.ctx.degrade(f"node `{step.name}`", f"it did not stop within {GRACE_S:g} s and was left behind")
            if isinstance(error, asyncio.CancelledError) and index in self._unwanted:
                self._over.append((index, "cancelled", Absent(step.name, "nobody wants it any more", skipped=True)))
            elif self._is_from_outside(error, self._running[index]):
                raise
            else:
                self._has_failed(step, failure_of(step.name, error))
        else:
            self._has_ended(step, record, elapsed_ms(self.ctx.clock, started))
        finally:
            self._running.pop(index, None)

    def _is_from_outside(self, error: BaseException, worker: asyncio.Task[None]) -> bool:
        """Whether it is the worker that is ended: only `_stop` cancels it for good, whatever a node does to it."""
        if isinstance(error, asyncio.CancelledError):
            return self._is_stopping
        return not isinstance(error, Exception) and goes_up(error, worker)

    async def _recorded(self, step: Step) -> Record:
        """What comes of a node, as one step of its own name: read back where an earlier life of the run did it."""
        self.scope.room = self.max_value_bytes
        inputs = self._inputs(step)
        if step.grows:
            check_size(inputs, self.max_value_bytes, "the input", step.name)
        if step.simple:
            function = step.call
            assert function is not None
            positional, named = function.arguments(inputs, self.ctx)

            async def call() -> Record:
                self.tell(step, "running")
                value = await within(function.function(*positional, **named), step.name)
                check_size(value, self.max_value_bytes, "the output", step.name)
                return {"value": value}

            if step.node.required:
                return await self.ctx.step(step.op, inputs, call)  # type: ignore[no-any-return]  # a record
        work = Work(self, step, self._bounds[step.index])
        return await self.ctx.step(step.op, inputs, lambda: work.record(inputs))  # type: ignore[no-any-return]

    def _inputs(self, step: Step) -> Any:
        """The inputs of a node; of a `foreach` its items, of a `repeat` those of its first round."""
        scope = self.scope
        if step.foreach is not None:
            return items_of(step, scope)
        if step.until is not None:
            scope = Scope(scope.input, scope.results, {"round": 1, "last": None}, self.max_value_bytes)
        try:
            return step.inputs(scope)
        except IsAbsent:
            scope.room = self.max_value_bytes
            return self._inputs_without(step, scope)

    def _inputs_without(self, step: Step, scope: Scope) -> Any:
        """The inputs where something is absent: a mark, nothing, or no such input, as the node takes it."""
        data, takes = inputs_of(step.node), self._bounds[step.index].takes
        if not isinstance(data, Mapping):
            return self._one_without(step, data, scope)
        inputs = {}
        for key, item in data.items():
            way = takes.get(key, "mark" if step.node.accepts_absent else "")
            try:
                inputs[key] = compile_value(item, self.plan.position)(scope)
            except IsAbsent as exc:
                if not way:
                    raise
                if way != "omit":
                    inputs[key] = exc.absent.mark() if way == "mark" else None
        return inputs

    def _one_without(self, step: Step, data: Any, scope: Scope) -> Any:
        if not step.node.accepts_absent:
            return step.inputs(scope)
        if isinstance(data, list | tuple):
            return [self._one_without(step, item, scope) for item in data]
        try:
            return compile_value(data, self.plan.position)(scope)
        except IsAbsent as exc:
            return exc.absent.mark()

    # --- how it ends

    def _has_ended(self, step: Step, record: Record, duration_ms: float) -> None:
        for what, why, code in record.get("degraded", ()):
            self.ctx.degrade(what, why, code=code)
        if self.budget.is_bounded:
            self.budget.settle(step)  # also where it was read back, and never asked for its share
        value = value_of(record)
        if type(value) is Absent:
            self._over.append((step.index, "failed", value))
            return
        self.tell(step, "done", duration_ms=duration_ms)
        self._over.append((step.index, "done", value))

    def ends(self, error: Exception) -> bool:
        """Whether an error ends the workflow, also where the node is not required."""
        return isinstance(error, ENDS_WORKFLOW) or (
            isinstance(error, BudgetExceededError) and self.budget.is_of_the_workflow
        )

    def _has_failed(self, step: Step, error: Exception) -> None:
        reason = describe(error)
        code = error.code if isinstance(error, PegboardError) else "unknown"
        self._over.append((step.index, "failed", Absent(step.name, reason)))
        if step.node.required or self.ends(error):
            if self._failed is None:
                self._failed = step, error
            if not self._finished.done():
                self._finished.set_result(None)
        else:
            self.ctx.degrade(f"node `{step.name}`", f"it failed: {reason}", code=code)

    async def _stop(self) -> None:
        """Cancel whoever works, and say of every node that has not come to its end that it will not."""
        self._is_stopping = True
        if not self._finished.done():
            self._finished.cancel()
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        while self._over:
            index, state, value = self._over.popleft()
            if self._states[index] in ("waiting", "running"):
                self._states[index], self._results[index] = state, value
                if state != "done":
                    self._tell_end(self.plan.steps[index], state, value)
        for step in self.plan.steps:
            if self._states[step.index] in ("waiting", "running"):
                self._states[step.index] = "cancelled"
                self.tell(step, "cancelled", reason="the workflow ended")

    def _failure(self) -> PegboardError:
        assert self._failed is not None
        step, error = self._failed
        if isinstance(error, _TELLING):
            failure: PegboardError = error
            failure.add_note(f"in node `{step.name}` of workflow `{self.plan.workflow.name}`")
        else:
            failure = WorkflowFailedError(
                f"node `{step.name}` failed: {describe(error)}",
                node=step.name,
                hint=error.hint if isinstance(error, PegboardError) else None,
            )
            failure.__cause__ = error
        return self._with_finished(failure)

    def _with_finished(self, failure: PegboardError) -> PegboardError:
        finished = {
            step.name: self._results[step.index] for step in self.plan.steps if self._states[step.index] == "done"
        }
        failure.finished = failure.output = finished  # type: ignore[attr-defined]  # what there is, for whoever looks
        return failure

    def _output(self) -> Json:
        """What the workflow gives. Raises `WorkflowFailedError` where that is absent, `NodeDataError` for too much."""
        try:
            output = self._shown()
            check_size(output, self.max_value_bytes, "the output of the workflow")
            return output
        except IsAbsent as exc:
            text = f"the output needs `{exc.absent.node}`: {exc.absent.reason}"
            raise self._with_finished(
                WorkflowFailedError(text, node=exc.absent.node, hint=f"peg workflow show {self.plan.workflow.name}")
            ) from exc
        except PegboardError as error:
            raise self._with_finished(error) from None

    def _shown(self) -> Json:
        """By the mapping of the workflow, or what its last nodes gave."""
        if self.plan.output is not None:
            self.scope.room = self.max_value_bytes
            return self.plan.output(self.scope)
        if len(self.plan.ends) == 1:
            return self._end(self.plan.ends[0])
        return {self.plan.names[index]: self._marked(index) for index in self.plan.ends}

    def _end(self, index: int) -> Json:
        value = self._results[index]
        if type(value) is Absent:
            raise IsAbsent(value)
        return value

    def _marked(self, index: int) -> Json:
        value = self._results[index]
        return value.mark() if type(value) is Absent else value

    # --- what is told

    def tell(self, step: Step, state: str, **more: Any) -> None:
        """Write an event of a node."""
        self.ctx.emit("workflow.node", {"node": step.name, "state": state, "agent": step.agent, **more})

    def _tell_end(self, step: Step, state: State, value: Any) -> None:
        more = {"reason": value.reason} if type(value) is Absent else {}
        self.tell(step, state, **more)
