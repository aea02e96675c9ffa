"""The work of one node: attempts and fallbacks, items and rounds, limits of time and money.

What comes of it is a record of plain JSON, so that a resumed run reads back the same: a value, or that it is absent,
and what was degraded on the way.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from pegboard.errors import (
    ApprovalNeededError,
    BudgetExceededError,
    PegboardError,
    RunCancelledError,
    StorageExhaustedError,
    ToolUnsafeUnknownError,
    describe,
)
from pegboard.interfaces import RunContext
from pegboard.threads import DaemonPool
from pegboard.types import Agent, RunResult, to_json

from pegboard_workflow.binding import Bound
from pegboard_workflow.budget import UNBOUNDED, Budget, Purse
from pegboard_workflow.errors import NodeDataError, NodeTimeoutError, RepeatLimitError
from pegboard_workflow.isolation import NodeOverdue, failure_of, goes_up, within
from pegboard_workflow.model import kind_of
from pegboard_workflow.plan import FunctionCall, Step
from pegboard_workflow.references import Absent, Scope
from pegboard_workflow.sizes import check_size, size_of, too_large
from pegboard_workflow.transforms import NAMED

ENDS_WORKFLOW: Final = (ApprovalNeededError, RunCancelledError, StorageExhaustedError, ToolUnsafeUnknownError)
"""They end the run whatever the node says: it goes on when somebody has decided, or has made room."""
NOT_REPEATED: Final = (*ENDS_WORKFLOW, BudgetExceededError)
_PLAIN: Final = (str, int, float, bool, type(None), list, dict)
_POOL: Final = DaemonPool(name="pegboard-workflow")
_QUICK: Final = frozenset(map(id, NAMED.values()))
"""Transforms that need neither a thread nor a limit: ours, on values of a bounded size."""

Record = dict[str, Any]
Note = list[str | None]
"""What was degraded: what, why, code."""


class Flow(Protocol):
    """The run that a node belongs to."""

    ctx: RunContext
    budget: Budget
    scope: Scope
    max_value_bytes: int

    def ends(self, error: Exception) -> bool:
        """Whether an error ends the workflow, also where the node is not required."""

    def tell(self, step: Step, state: str, **more: Any) -> None:
        """Write an event."""


def value_of(record: Record) -> Any:
    """The value in a record; `Absent` where there is none."""
    return Absent(record["node"], record["absent"]) if "absent" in record else record["value"]


class Work:
    """One node at work."""

    def __init__(self, flow: Flow, step: Step, bound: Bound) -> None:
        self._flow = flow
        self._ctx = flow.ctx
        self._step = step
        self._node = step.node
        self._bound = bound
        self._purse: Purse = UNBOUNDED
        self._among = 1
        """How many child runs share what the node may use."""
        self._notes: list[Note] = []

    @property
    def _hint(self) -> str:
        return f"peg workflow show {self._ctx.agent.name}"

    async def record(self, inputs: Any) -> Record:
        """What comes of the node; raises what failed a required one."""
        if self._flow.budget.is_bounded:
            self._flow.tell(self._step, "waiting", reason="budget")
            self._purse = await self._flow.budget.open(self._step)
        try:
            self._flow.tell(self._step, "running")
            return await self._settled(lambda: self._value(inputs), self._step.name)
        finally:
            if self._flow.budget.is_bounded:
                self._flow.budget.settle(self._step, self._purse)

    async def _settled(self, make: Callable[[], Awaitable[Any]], name: str) -> Record:
        try:
            record: Record = {"value": await make()}
        except Exception as error:
            if self._node.required or self._flow.ends(error):
                raise
            code = error.code if isinstance(error, PegboardError) else "unknown"
            self._note(f"node `{name}`", f"it failed: {describe(error)}", code)
            record = {"absent": describe(error), "node": self._step.name, "code": code}
        if self._notes:
            record["degraded"] = self._notes
        return record

    async def _value(self, inputs: Any) -> Any:
        if self._step.foreach is not None:
            return await self._each(inputs)
        if self._node.repeat is not None:
            return await self._until()
        return await self._one(inputs)

    # --- items

    async def _each(self, items: Sequence[Any]) -> list[Any]:
        """Every item; the results in the order of the items. A required node fails with its first item."""
        results: list[Any] = [None] * len(items)
        room = most_bytes = self._flow.max_value_bytes
        left = iter(range(len(items)))
        most = min(self._node.concurrency, len(items))
        self._among = max(1, len(items))

        async def work() -> None:
            nonlocal room
            for index in left:
                results[index] = await self._item(index, items[index])
                room -= size_of(results[index], room)
                if room < 0:
                    raise too_large(f"the list of the results of node `{self._step.name}`", most_bytes)

        await all_of([work() for _ in range(most)])
        return results

    async def _item(self, index: int, item: Any) -> Any:
        inputs = self._inputs({"item": item, "index": index})
        # A work of its own: what is degraded belongs to the item, and is read back with it.
        work = Work(self._flow, self._step, self._bound)
        work._purse, work._among = self._purse, self._among

        def call() -> Awaitable[Record]:
            return work._settled(lambda: work._one(inputs), f"{self._step.name}[{index}]")

        record = await self._ctx.step(f"item:{index}", inputs, call)
        self._notes += record.get("degraded", ())
        value = value_of(record)
        return value.mark() if isinstance(value, Absent) else value

    # --- rounds

    async def _until(self) -> Any:
        """Again and again, until the condition holds or there were enough rounds."""
        repeat = self._node.repeat
        assert repeat is not None
        assert self._step.until is not None
        last: Any = None
        for number in range(1, repeat.at_most + 1):
            local = {"round": number, "last": last}
            last = await self._round(number, self._inputs(local))
            if self._step.until(self._scope({**local, "output": last})):
                return last
        text = f"`{repeat.until}` did not hold in {repeat.at_most} rounds"
        if repeat.at_limit == "fail":
            raise RepeatLimitError(f"node `{self._step.name}`: {text}", hint=self._hint)
        self._note(f"node `{self._step.name}`", f"{text}; the last output is taken", RepeatLimitError.code)
        return last

    async def _round(self, number: int, inputs: Any) -> Any:
        async def call() -> Record:
            return {"value": await self._one(inputs), "degraded": self._taken_notes()}

        record = await self._ctx.step(f"round:{number}", inputs, call)
        self._notes += record["degraded"]
        return record["value"]

    def _taken_notes(self) -> list[Note]:
        taken, self._notes = self._notes, []
        return taken

    def _scope(self, local: Mapping[str, Any]) -> Scope:
        return Scope(self._flow.scope.input, self._flow.scope.results, local, self._flow.max_value_bytes)

    def _inputs(self, local: Mapping[str, Any]) -> Any:
        inputs = self._step.inputs(self._scope(local))
        check_size(inputs, self._flow.max_value_bytes, "an input", self._step.name)
        return inputs

    # --- attempts

    async def _one(self, inputs: Any) -> Any:
        """The value of one call, after its transforms; each of those has the time of an attempt."""
        value = self._bounded(await self._attempts(inputs))
        for transform in self._step.transforms:
            if id(transform) in _QUICK or self._node.inline:
                value = transform(value)
            else:
                value = await self._isolated(lambda transform=transform, value=value: _POOL.run(transform, value))  # type: ignore[misc]  # binds the loop's values
            self._bounded(value)
        return value

    def _bounded(self, value: Any) -> Any:
        check_size(value, self._flow.max_value_bytes, "the output", self._step.name)
        return value

    async def _attempts(self, inputs: Any) -> Any:
        """The first answer of those who are asked, each as often as `retry` says."""
        if self._step.call is None and not self._bound.targets:
            return inputs
        failed: Exception | None = None
        for name, ask in self._asked(inputs):
            delay_s = self._node.retry.delay_s
            for attempt in range(1, self._node.retry.attempts + 1):
                try:
                    value = await self._isolated(ask)
                except NOT_REPEATED:
                    raise
                except Exception as error:
                    failed = error
                    await self._wait(attempt, delay_s, error)
                    delay_s *= self._node.retry.backoff
                    continue
                if name is not None:
                    why = f"fell back to `{name}`: {describe(failed) if failed else ''}"
                    self._note(f"node `{self._step.name}`", why, getattr(failed, "code", None))
                return value
        assert failed is not None
        raise failed

    def _asked(self, inputs: Any) -> Iterator[tuple[str | None, Callable[[], Coroutine[Any, Any, Any]]]]:
        """Who is asked, in order; the first has no name, since it is no fallback."""
        targets = list(self._bound.targets)
        function = self._step.call
        if function is not None:
            yield None, lambda: self._call_function(function, inputs)
        for position, agent in enumerate(targets):
            first = position == 0 and function is None
            yield (None if first else agent.name), lambda agent=agent: self._call_agent(agent, inputs)  # type: ignore[misc]  # binds the loop's value

    async def _wait(self, attempt: int, delay_s: float, error: Exception) -> None:
        if attempt >= self._node.retry.attempts:
            return
        self._flow.tell(self._step, "running", reason=f"attempt {attempt} failed: {describe(error)}")
        if delay_s > 0:
            await self._ctx.clock.sleep(delay_s)

    async def _isolated(self, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """What somebody else's code gives, within the limit of the node."""
        task = asyncio.current_task()
        try:
            return await self._limited(ask)
        except Exception:
            raise
        except BaseException as exc:
            if goes_up(exc, task):
                raise
            raise failure_of(self._step.name, exc) from exc

    async def _limited(self, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        seconds = self._node.timeout_s
        if seconds is None and self._step.call is None:
            return await ask()  # a run that is cancelled may take its time to put things in order
        try:
            return await within(ask(), self._step.name, seconds)
        except NodeOverdue as exc:
            raise NodeTimeoutError(
                f"node `{self._step.name}` reached its limit of {seconds:g} s",
                hint=self._hint,
            ) from exc

    async def _call_function(self, function: FunctionCall, inputs: Any) -> Any:
        positional, named = function.arguments(inputs, self._ctx)
        if function.is_async or self._node.inline:
            value = function.function(*positional, **named)
        else:
            value = await _POOL.run(function.function, *positional, **named)
        return await value if inspect.isawaitable(value) else value

    async def _call_agent(self, agent: Agent, inputs: Any) -> Any:
        limits = self._purse.limits(self._among)
        task = inputs if isinstance(inputs, str) else f"{self._ctx.agent.name}: {self._step.name}"
        try:
            result = await self._ctx.call_agent(
                agent, task, inputs=None if isinstance(inputs, str) else inputs, limits=limits
            )
        except PegboardError as error:
            if error.run is not None:
                self._purse.charge(error.run)
            raise
        self._purse.charge(result)
        self._pass_on(result)
        return result.output if type(result.output) in _PLAIN else plain(result.output)

    def _pass_on(self, result: RunResult) -> None:
        """What a child run did without, the workflow did without too."""
        for part in result.degraded:
            self._note(f"node `{self._step.name}`: {part.what}", part.why, part.code)

    def _note(self, what: str, why: str, code: str | None) -> None:
        self._notes.append([what, why, code])


def items_of(step: Step, scope: Scope) -> Sequence[Any]:
    """The items of a `foreach`. Raises `NodeDataError` where they are no list, or too many."""
    assert step.foreach is not None
    items = step.foreach(scope)
    if not isinstance(items, list | tuple):
        raise NodeDataError(f"node `{step.name}`: `foreach` goes over a list, and got {kind_of(items)}")
    if len(items) > step.node.max_items:
        raise NodeDataError(
            f"node `{step.name}`: `foreach` got {len(items)} items, and takes {step.node.max_items} at most; "
            "`max_items` raises that"
        )
    return items


async def all_of(work: Sequence[Awaitable[None]]) -> None:
    """Wait for all; the first that fails, or a cancellation, ends the others."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def plain(value: Any) -> Any:
    """An output as plain JSON."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    return to_json(value) if not isinstance(value, Mapping) else dict(value)
