"""The journal of a run: its events, and its steps with deterministic ids.

A step is what must not happen twice by accident. It is recorded when it ends; a resumed run reads recorded results back
and goes on at the first missing one. Without a store everything stays in memory, as live values; with one, each step is
handed over as JSON when it ends. Databases are not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec import UnsetType

from pegboard.clock import elapsed_ms
from pegboard.errors import (
    JournalDivergedError,
    JournalUnserializableError,
    PegboardError,
    RunNotFoundError,
    ToolUnsafeUnknownError,
    describe,
)
from pegboard.events import Data, Event, EventLog, Record, StepDone, StepStarted
from pegboard.interfaces import Clock, RunRow, StepRecord, Store
from pegboard.lazy import LazyModule
from pegboard.types import (
    UNSET,
    ContextBuild,
    Degradation,
    Effect,
    Finding,
    Json,
    JsonObject,
    Message,
    ModelRequest,
    ModelResponse,
    RunResult,
    Usage,
    content_from_json,
    to_json,
)

if TYPE_CHECKING:
    import hashlib
else:
    hashlib = LazyModule("hashlib")  # without a store there are no digests

OPERATIONS = ("model.request", "tool.call:", "agent.call:", "context.build", "approval:", "plugin:")
"""Operation names are persisted data: ids are `<op>#<n>`. Those that end in `:` are followed by a name."""
_SPENDING = ("model.request", "agent.call:")
"""Operations that use tokens."""
BLOB_AT_BYTES = 256 * 1024
"""A result larger than this is kept as a blob, and the record holds its digest."""


QuickAppend: TypeAlias = Callable[[RunRow, Sequence[Event], Sequence[StepRecord]], bool]
"""`QuickStore.append_at_once`."""
SCOPE: ContextVar[str] = ContextVar("pegboard_scope", default="")
"""The step that is under way in this task. Steps inside it are counted apart: parallel calls keep their ids, and so do
steps after one that a resumed run reads back without coming to what is inside it."""


class Step:
    """One step while it is under way."""

    __slots__ = ("attempt", "effect", "id", "key", "op", "outer", "params", "recorded", "started", "where")

    def __init__(self, id: str, op: str, params: Any, effect: Effect | None) -> None:
        self.id = id
        self.op = op
        self.params = params
        self.effect = effect
        self.recorded: Any = None
        """What an earlier life of the run recorded for this step, or `None`."""
        self.key: str | None = None
        self.where: str | None = None
        """The place in somebody's code where it failed."""
        self.attempt = 1
        self.started = 0.0
        self.outer: Token[str] | None = None


class Kept:
    """What is remembered of a step in memory: the live values, and what a store holds, where there is one."""

    __slots__ = ("attempt", "live", "params", "record", "state")

    def __init__(
        self, state: str, attempt: int, live: Any = None, params: Any = None, record: StepRecord | None = None
    ) -> None:
        self.state = state
        self.attempt = attempt
        self.live = live
        self.params = params
        self.record = record


class Journal:
    """Events and steps of one run."""

    __slots__ = (
        "_before",
        "_clean",
        "_clock",
        "_counts",
        "_decisions",
        "_inside",
        "_messages",
        "_next",
        "_next_is_barrier",
        "_only_recorded",
        "_pending",
        "_quick",
        "_request",
        "_scrub",
        "_sent",
        "_store",
        "_time",
        "_watch",
        "_writing",
        "events",
        "flushes",
        "kept",
        "row",
    )

    def __init__(
        self,
        row: RunRow,
        clock: Clock,
        *,
        store: Store | None = None,
    ) -> None:
        self.row = row
        self._before = row
        """As it was before this life."""
        self.events = EventLog(row.run, row.parent, row.agent)
        self.kept: dict[str, Kept] = {}
        self._clock = clock
        self._time = clock.time
        self._store = store
        self._watch: Callable[[Event], None] | None = None
        self._scrub: Callable[[Json], Awaitable[Json]] | None = None
        self._clean: tuple[RunRow, RunRow] | None = None
        """The row as it was last handed over, and what was left of it after redaction."""
        self._counts: dict[str, int] = {}
        self._decisions: dict[str, list[JsonObject]] | None = None
        self._messages: dict[int, list[JsonObject]] | None = None
        """What earlier lives decided and were told; `None` in the first one."""
        self._inside: dict[str, list[RunResult | ModelResponse]] | None = None
        self._only_recorded = False
        self._request: tuple[Sequence[Message], JsonObject] | None = None
        """The messages of the last request, and the rest of it as JSON."""
        self._pending: list[StepRecord] = []
        self._sent = 0
        self._writing: asyncio.Lock | None = None
        self._next: asyncio.Future[None] | None = None
        """A write that has not begun yet, and takes whatever is new by then."""
        self._next_is_barrier = False
        self._quick: QuickAppend | None = getattr(store, "append_at_once", None)
        self.flushes = store is not None
        """Whether `flush` has anything to do at all."""

    # --- events

    def emit(self, kind: str, data: Data, plugin: str | None = None) -> None:
        """Record an event, and show it to whoever watches: at once, or where something redacts, after that."""
        self.events.records.append(Record(kind, self._time(), plugin, data))
        if self._watch is not None and self._scrub is None:
            self._watch(self.events.last())

    # --- steps

    def open(self, op: str, params: Any, effect: Effect | None = None) -> Step:
        """The next step of an operation. Steps of a parallel group are opened in call order, before any is awaited.

        Raises:
            JournalDivergedError: an earlier life of this run recorded other parameters for this step; or, in a replay,
                no result.
        """
        name = self._name(op)
        n = self._counts[name] = self._counts.get(name, 0) + 1
        step_id = f"{name}#{n}"
        kept = self.kept.get(step_id)
        step = Step(step_id, op, params, effect)
        if self._only_recorded:
            self._check_recorded(step_id, kept)
        if kept is None:
            return step
        if kept.state == "failed":  # a repeat may differ: another model, other instructions
            step.attempt = kept.attempt + 1
            return step
        self._compare(step_id, kept, params)
        step.recorded, step.attempt = kept, kept.attempt
        return step

    def reopen(self, step: Step) -> None:
        """The step is repeated: what its last attempt streamed is void."""
        self._counts[step.id.rpartition("#")[0]] -= 1
        inner = f"{step.id}/"
        self._counts = {name: count for name, count in self._counts.items() if not name.startswith(inner)}
        self.emit("step.attempt_reset", {"step": step.id, "attempt": step.attempt + 1})

    def start(
        self,
        step: Step,
        *,
        model: str | UnsetType = UNSET,
        name: str | UnsetType = UNSET,
        call_id: str | UnsetType = UNSET,
    ) -> None:
        """The step begins."""
        step.started = self._clock.monotonic()
        step.outer = SCOPE.set(step.id)
        self.emit("step.started", StepStarted(step.op, step.id, step.attempt, model, name, call_id))

    async def intend(self, step: Step, key: str) -> None:
        """An unsafe effect is about to happen: safe in the store before it does."""
        step.key = key
        self._keep(step, "intent")
        self.emit("effect.intent", {"step": step.id, "key": key})
        try:
            await self.flush(barrier=True)
        except BaseException:
            step.key = None  # the effect does not begin, so there will be no doubt about it
            raise

    def finish(self, step: Step, result: Any, *, usage: Usage | None = None, **data: Any) -> None:
        """The step ended. Nothing is awaited; `flush` brings it to the store."""
        self._leave(step)
        self._keep(step, "done", result, usage=usage)
        if step.effect == "unsafe" and step.key is not None:
            self.emit("effect.done", {"step": step.id, "key": step.key})
        self.emit(
            "step.done", StepDone(step.op, step.id, elapsed_ms(self._clock, step.started), usage=usage or UNSET, **data)
        )

    def fail(self, step: Step, error: BaseException, spent: RunResult | None = None, **told: Json) -> None:
        """The step failed; a repeat of it is another attempt of the same step. What was spent is kept beside that."""
        self._leave(step)
        described = _described(error)
        # An intent without outcome must stay one, of this life or an earlier: what came of the effect is not known.
        if step.key is None and step.recorded is None:
            self._keep(step, "failed", None if spent is None else _without_output(spent), error=described)
        took = elapsed_ms(self._clock, step.started)
        self.emit("step.failed", {"op": step.op, "step": step.id, "duration_ms": took, **described, **told})

    def requested(self, request: ModelRequest) -> None:
        """A request is sent, exactly so. What is recorded is what is new in it, so that a long run stays linear."""
        before, settings_before = self._request or ((), {})
        messages = request.messages
        same = 0
        for one, other in zip(before, messages, strict=False):
            if one is not other and one != other:
                break
            same += 1
        settings = to_json(msgspec.structs.replace(request, messages=(), run=""))
        del settings["messages"], settings["run"]
        changed = {name: value for name, value in settings.items() if settings_before.get(name, UNSET) != value}
        self._request = messages, settings
        self.emit("model.requested", {**changed, "same": same, "messages": to_json(messages[same:])})

    def reserved(self, amounts: Mapping[Any, float]) -> None:
        """So much is set aside for the step that is under way: what a life that is cut off may have used."""
        self.emit("budget.reserved", {"step": SCOPE.get(), "amounts": dict(amounts)})

    def unknown_effect(self, step: str, therefore: str) -> ToolUnsafeUnknownError:
        """What is raised where nobody knows what became of an unsafe step; in a store a person can say it."""
        return ToolUnsafeUnknownError(
            f"it is not known whether step `{step}` of run `{self.row.run}` took effect before it was interrupted; "
            f"{therefore}",
            hint=f"peg runs resolve {self.row.run} {step} done" if self.durable else "peg help tool.unsafe_unknown",
        )

    def reconcile(self, step: str, result: Json, **said: Any) -> None:
        """What came of an unsafe effect that was cut off is known now: this result, or `None` to do the step again.

        Raises:
            RunNotFoundError: nothing is in doubt about such a step.
        """
        kept = self.kept.get(step)
        if kept is None or kept.state != "intent" or kept.record is None:
            doubted = ", ".join(f"`{name}`" for name, other in self.kept.items() if other.state == "intent") or "none"
            raise RunNotFoundError(
                f"run `{self.row.run}`: nothing is in doubt about a step `{step}`; steps in doubt: {doubted}",
                hint=f"peg runs show {self.row.run}",
            )
        error = {"code": "effect.not_done", "message": "it is to be done again"} if result is None else None
        record = msgspec.structs.replace(
            kept.record, state="failed" if error else "done", result=result, error=error, at=self._clock.time()
        )
        self.kept[step] = Kept(record.state, kept.attempt, record=record)
        self._pending.append(record)
        self.row = msgspec.structs.replace(self.row, state="paused", ended_at=None, summary=None)
        self.emit("effect.reconciled", {"step": step, "key": record.key, **said})

    async def step(
        self,
        op: str,
        params: Json,
        call: Callable[[], Awaitable[Any]],
        recalled: Callable[[Step], Awaitable[None]] | None = None,
    ) -> Any:
        """Do `call` as a step whose result is plain JSON; `recalled` is told of a step that is read back instead."""
        step = self.open(op, params)
        if step.recorded is not None:
            if recalled is not None:
                await recalled(step)
            return self.result(step)
        self.start(step)
        try:
            value = await call()
            self.finish(step, value)
        except BaseException as error:
            self.fail(step, error)
            raise
        await self.flush()
        return value

    def result(self, step: Step) -> Any:
        """What was recorded for a step: the live value where there is one, else made of its JSON."""
        kept: Kept = step.recorded
        if kept.live is not None or kept.record is None:
            return kept.live
        return decode(step.op, kept.record.result)

    def inside(self, step: Step) -> Sequence[RunResult | ModelResponse]:
        """The child runs and model requests inside a step, to which a life does not come that reads the step back."""
        if self._inside is None:
            self._inside = {}
            for id, kept in self.kept.items():
                if "/" in id and (spent := _spent(kept)) is not None:
                    for place, character in enumerate(id):
                        if character == "/":
                            self._inside.setdefault(id[:place], []).append(spent)
        return self._inside.get(step.id, ())

    # --- earlier lives

    def decisions_before(self, op: str) -> Sequence[tuple[str, JsonObject]]:
        """What an earlier life decided after failures of the step of `op` that comes next, with its id; told once."""
        if not self._decisions:
            return ()
        name = self._name(op)
        step = f"{name}#{self._counts.get(name, 0) + 1}"
        return [(step, change) for change in self._decisions.pop(step, ())]

    def first_model(self) -> str | None:
        """The model that was asked first; with another one a run that goes on would tell its task to somebody else."""
        asked = (event.data for event in self.events if event.kind == "step.started")
        return next((data["model"] for data in asked if data["op"] == "model.request"), None)

    def messages_at(self, turn: int) -> Sequence[JsonObject]:
        """What was queued into an earlier life before this turn; told once."""
        return self._messages.pop(turn, ()) if self._messages else ()

    def _recall(self) -> None:
        self._recall_from(self.events)

    def _recall_from(self, events: EventLog) -> None:
        decisions: dict[str, list[JsonObject]] = {}
        messages: dict[int, list[JsonObject]] = {}
        for event in events:
            if event.kind == "phase.error" and event.data.get("change") and event.data.get("step"):
                decisions.setdefault(event.data["step"], []).append(event.data["change"])
            elif event.kind == "run.message":
                messages.setdefault(event.data["turn"], []).append(event.data["message"])
        self._decisions, self._messages = decisions, messages

    # --- the store

    @property
    def durable(self) -> bool:
        """Whether what is recorded survives the process."""
        return self._store is not None and self._store.durable

    def begin(self) -> Awaitable[None]:
        """The run is under way, and the store knows it."""
        self._before = self.row
        self.row = msgspec.structs.replace(self.row, state="running", ended_at=None, summary=None)
        return self.flush(barrier=True)

    def end(self, state: Any, result: RunResult) -> Awaitable[None]:
        """The run is over, and the store knows what it came to."""
        self.row = msgspec.structs.replace(
            self.row, state=state, ended_at=self._clock.time(), summary=_summary(result, self.events)
        )
        return self.flush(barrier=True)

    def end_as_before(self) -> Awaitable[None]:
        """The run is what it was: this life could not take it up, and did nothing."""
        self.row = self._before
        return self.flush(barrier=True)

    async def flush(self, *, barrier: bool = False) -> None:
        """Hand everything new to the store, in one transaction."""
        if not self.flushes:
            return
        if not barrier and self._next is None and self._added_at_once():
            return
        # In a task of its own: of what is cut off half way nobody would know what the store has. One task for all who
        # ask before it begins: a thousand nodes may end in one tick.
        if self._next is None:
            self._next = asyncio.ensure_future(self._write())
        self._next_is_barrier |= barrier
        await asyncio.shield(self._next)

    def _added_at_once(self) -> bool:
        """Whether the store has it already, without a task and with nobody in between."""
        quick = self._quick
        if quick is None or self._scrub is not None or (self._writing is not None and self._writing.locked()):
            return False
        steps, size = list(self._pending), len(self.events)
        if not quick(self.row, self.events[self._sent :], steps):
            return False
        del self._pending[: len(steps)]
        self._sent = size
        return True

    async def _write(self) -> None:
        if self._writing is None:
            self._writing = asyncio.Lock()
        async with self._writing:
            self._next, barrier, self._next_is_barrier = None, self._next_is_barrier, False
            events = await self._scrubbed(self._sent)
            steps = list(self._pending)
            if self._store is not None:
                stored = [await self._offload(record) for record in steps]
                await self._store.append(await self._clean_row(), events, stored, barrier=barrier)
            del self._pending[: len(steps)]
            self._sent += len(events)

    @classmethod
    async def load(cls, store: Store, run: str, clock: Clock) -> Journal:
        """Begin another life of a run with what a store has of its earlier ones. Raises `RunNotFoundError`."""
        row, events, steps = await store.load(run)
        journal = cls(row, clock, store=store)
        journal.events.restore(events)
        journal._sent = len(events)
        for record in steps:
            whole = await _whole(store, record)
            journal.kept[record.step] = Kept(record.state, record.attempt, record=whole)
        journal._recall()
        return journal

    def attach(self, watch: Callable[[Event], None] | None, scrub: Callable[[Json], Awaitable[Json]] | None) -> None:
        """Who sees each event, and what takes out of it before that what nobody must see."""
        self._watch = watch
        self._scrub = scrub
        self.flushes = self._store is not None or scrub is not None

    def again(self) -> Journal:
        """A journal that goes on from this one, in the same process."""
        journal = Journal(self.row, self._clock, store=self._store)
        journal.events = self.events
        journal._sent = self._sent
        journal._pending = self._pending
        journal.kept = dict(self.kept)
        journal._recall()
        return journal

    def forked(self, run: str, before: str | None = None) -> Journal:
        """A journal for another run that has the past of this one, up to a step.

        Raises:
            RunNotFoundError: this run has no such step.
            ToolUnsafeUnknownError: of a step of this past it is not known whether it took effect.
        """
        past, steps = self._past(before)
        row = msgspec.structs.replace(
            self.row, run=run, root=run, parent=None, state="paused", at=self._clock.time(), ended_at=None, summary=None
        )
        journal = Journal(row, self._clock, store=self._store)
        journal.events.restore([_of_run(event, run, seq) for seq, event in enumerate(past)])
        journal.emit("run.forked", {"forked_from": self.row.run, "before": before})
        journal.kept = {step: _kept_for(kept, run) for step, kept in self.kept.items() if step in steps}
        journal._pending = [kept.record for kept in journal.kept.values() if kept.record is not None]
        journal._recall()
        return journal

    def only_recorded(self, run: str) -> Journal:
        """A journal that plays the past of this one back, and refuses to do what is not in it. Nothing is stored."""
        row = msgspec.structs.replace(self.row, run=run, state="running", ended_at=None, summary=None)
        journal = Journal(row, self._clock)
        journal.kept = {step: _kept_for(kept, run) for step, kept in self.kept.items()}
        journal._recall_from(self.events)
        journal._only_recorded = True
        return journal

    # --- inside

    def _past(self, before: str | None) -> tuple[Sequence[Event], set[str]]:
        """The events before a step begins, without the end of the run, and the steps that were over by then."""
        begins = len(self.events)
        if before is not None:
            starts = (
                event.seq for event in self.events if event.kind == "step.started" and event.data["step"] == before
            )
            begins = next(starts, -1)
            if begins < 0:
                raise RunNotFoundError(
                    f"run `{self.row.run}` has no step `{before}`", hint=f"peg runs show {self.row.run}"
                )
        past = [event for event in self.events[:begins] if event.kind not in ("run.finished", "run.cancelled")]
        for event in past:
            if event.kind == "effect.intent" and self.kept[event.data["step"]].state == "intent":
                raise self.unknown_effect(event.data["step"], "a copy of the run would repeat it")
        return past, {event.data["step"] for event in past if event.kind in ("step.done", "effect.reconciled")}

    def _check_recorded(self, step: str, kept: Kept | None) -> None:
        if kept is None or kept.state == "intent":
            raise JournalDivergedError(
                f"run `{self.row.run}`, step `{step}`: nothing was recorded of it, and a replay does nothing new",
                hint=f"peg runs show {self.row.run}",
            )
        if kept.state == "failed":
            error = (kept.record.error if kept.record is not None else None) or {}
            raise JournalDivergedError(
                f"run `{self.row.run}`, step `{step}` failed and was not repeated: {error.get('message', 'no reason')}",
                hint=f"peg runs show {self.row.run}",
            )

    def _leave(self, step: Step) -> None:
        if step.outer is not None:
            SCOPE.reset(step.outer)
            step.outer = None

    def _keep(
        self, step: Step, state: Any, result: Any = None, *, usage: Usage | None = None, error: Any = None
    ) -> None:
        record = None
        if self._store is not None:
            record = StepRecord(
                run=self.row.run,
                step=step.id,
                op=step.op,
                # What is redacted in the store is another thing than it was, so there is nothing to compare later.
                params_digest=digest_of(step.params) if self._scrub is None else None,
                state=state,
                attempt=step.attempt,
                effect=step.effect,
                key=step.key,
                result=_encoded(step, result),
                usage=usage,
                error=error,
                at=self._clock.time(),
            )
            self._pending.append(record)
        self.kept[step.id] = Kept(state, step.attempt, result, step.params, record)

    def _name(self, op: str) -> str:
        scope = SCOPE.get()
        return f"{scope}/{op}" if scope else op

    def _compare(self, step: str, kept: Kept, params: Any) -> None:
        digest = kept.record.params_digest if kept.record is not None else None
        same = kept.params == params if kept.params is not None else digest in (None, digest_of(params))
        if not same:
            raise JournalDivergedError(
                f"run `{self.row.run}`, step `{step}`: recorded with other parameters "
                f"({_short(kept.params, digest)}, now {_short(params, digest_of(params))})",
                hint="peg help journal.diverged",
            )

    async def _scrubbed(self, start: int) -> Sequence[Event]:
        if self._scrub is None:
            return list(self.events[start:])
        events: list[Event] = []
        for index in range(start, len(self.events)):
            data = await self._scrub(self.events[index].data)
            # A marker stands where the redaction itself failed.
            event = self.events.replace_data(index, data if isinstance(data, dict) else {"redacted": data})
            events.append(event)
            if self._watch is not None:
                self._watch(event)
        return events

    async def _clean_row(self) -> RunRow:
        """The row without what must not be seen: what was asked is as private as what came of it."""
        if self._scrub is None:
            return self.row
        if self._clean is None or self._clean[0] is not self.row:
            texts = {"task": self.row.task, "input": self.row.input, "summary": self.row.summary}
            clean = await self._scrub(texts)
            if not isinstance(clean, dict) or clean.keys() != texts.keys():  # a marker: the redaction itself failed
                clean = {"task": "", "input": None, "summary": None}
            row = msgspec.structs.replace(self.row, **{**clean, "task": str(clean["task"])})
            self._clean = self.row, row
        return self._clean[1]

    async def _offload(self, record: StepRecord) -> StepRecord:
        if self._scrub is not None:
            error: Any = None if record.error is None else await self._scrub(record.error)
            result = None if record.result is None else await self._scrub(record.result)
            record = msgspec.structs.replace(record, result=result, error=error)
        if record.result is None or self._store is None:
            return record
        data = msgspec.json.encode(record.result)
        if len(data) <= BLOB_AT_BYTES:
            return record
        return msgspec.structs.replace(record, result=None, artifact=await self._store.put_blob(data))


def digest_of(params: Any) -> str:
    """A stable digest of a step's parameters; the run's id and a request's position do not count."""
    if isinstance(params, ModelRequest):
        params = msgspec.structs.replace(params, run="")
    return hashlib.sha256(msgspec.json.encode(to_json(params), order="sorted")).hexdigest()[:32]


def decode(op: str, result: Json) -> Any:
    """A recorded result as the value that its operation gives."""
    if op == "model.request":
        parts = tuple(map(content_from_json, result["parts"]))
        usage = msgspec.convert(result["usage"], Usage)
        return ModelResponse(parts=parts, finish=result["finish"], usage=usage, model=result["model"])
    if op.startswith("tool.call:"):
        return content_from_json(result)
    if op == "context.build":
        return msgspec.convert(result, ContextBuild)
    if op.startswith("agent.call:"):
        names = ("run", "agent", "output", "end_reason", "turns", "cost_usd", "confidence")
        return RunResult(
            **{name: result[name] for name in names},
            usage=msgspec.convert(result["usage"], Usage),
            unpriced_models=tuple(result["unpriced_models"]),
            degraded=msgspec.convert(result["degraded"], tuple[Degradation, ...]),
            findings=msgspec.convert(result["findings"], tuple[Finding, ...]),
        )
    return result


def _without_output(result: RunResult) -> RunResult:
    """What a child run that failed used; whatever else came of it is in its own log."""
    return RunResult(
        run=result.run,
        agent=result.agent,
        end_reason=result.end_reason,
        usage=result.usage,
        cost_usd=result.cost_usd,
        unpriced_models=result.unpriced_models,
        turns=result.turns,
    )


def _spent(kept: Kept) -> RunResult | ModelResponse | None:
    """What a step used, where it was a child run or a model request."""
    value, record = kept.live, kept.record
    if value is None and record is not None and record.result is not None and record.op.startswith(_SPENDING):
        value = decode(record.op, record.result)
    return value if isinstance(value, RunResult | ModelResponse) else None


def _encoded(step: Step, result: Any) -> Json:
    if result is None:
        return None
    try:
        data = result.to_json() if isinstance(result, RunResult) else to_json(result)
        msgspec.json.encode(data)
    except (TypeError, NotImplementedError, ValueError) as exc:
        raise JournalUnserializableError(f"the result of step `{step.id}` is not JSON: {exc}") from exc
    return data


def code_of(error: BaseException) -> str:
    """The stable code of an error. What a foreign one has as its `code`, a status of HTTP for example, is none."""
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return error.code if isinstance(error, PegboardError) else "unknown"


def _described(error: BaseException) -> JsonObject:
    return {"code": code_of(error), "message": describe(error)}


def _summary(result: RunResult, events: EventLog) -> JsonObject:
    return {
        "end_reason": result.end_reason,
        "turns": result.turns,
        "input_tokens": result.usage.input_tokens,
        "output_tokens": result.usage.output_tokens,
        "cost_usd": result.cost_usd,
        "unpriced_models": list(result.unpriced_models),
        "confidence": result.confidence,
        "degraded": [f"{entry.what}: {entry.why}" for entry in result.degraded],
        "error": None if result.error is None else _described(result.error),
        "events": len(events),
    }


def _of_run(event: Event, run: str, seq: int) -> Event:
    return msgspec.structs.replace(event, id=f"{run}.{seq}", run=run, seq=seq, parent=None)


def _kept_for(kept: Kept, run: str) -> Kept:
    record = None if kept.record is None else msgspec.structs.replace(kept.record, run=run, key=None)
    params = kept.params
    if isinstance(params, ModelRequest):
        params = msgspec.structs.replace(params, run=run)
    return Kept(kept.state, kept.attempt, kept.live, params, record)


async def _whole(store: Store, record: StepRecord) -> StepRecord:
    if record.artifact is None:
        return record
    return msgspec.structs.replace(record, result=msgspec.json.decode(await store.get_blob(record.artifact)))


def _short(params: Any, digest: str | None) -> str:
    return (digest or digest_of(params))[:8]
