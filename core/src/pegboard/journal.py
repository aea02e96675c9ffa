"""The journal of a run: its events, and its steps with deterministic ids.

A step is what must not happen twice by accident. It is recorded when it ends; a resumed run reads recorded results back
and goes on at the first missing one. Without a store everything stays in memory, as live values; with one, each step is
handed over as JSON when it ends. Databases are not known here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

import msgspec

from pegboard.clock import elapsed_ms
from pegboard.errors import (
    JournalDivergedError,
    JournalUnserializableError,
    RunBusyError,
    RunNotFoundError,
    describe,
)
from pegboard.events import Event, EventLog
from pegboard.interfaces import Clock, RunRow, StepRecord, Store
from pegboard.lazy import LazyModule
from pegboard.types import (
    ContextBuild,
    Effect,
    Json,
    JsonObject,
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
BLOB_AT_BYTES = 256 * 1024
"""A result larger than this is kept as a blob, and the record holds its digest."""


SCOPE: ContextVar[str] = ContextVar("pegboard_scope", default="")
"""The step that is under way in this task. Steps inside it are counted apart: parallel calls keep their ids, and so do
steps after one that a resumed run reads back without coming to what is inside it."""


class Step:
    """One step while it is under way."""

    __slots__ = ("attempt", "effect", "id", "key", "op", "outer", "params", "recorded", "started")

    def __init__(self, id: str, op: str, params: Any, effect: Effect | None, recorded: Any) -> None:
        self.id = id
        self.op = op
        self.params = params
        self.effect = effect
        self.recorded = recorded
        """What an earlier life of the run recorded for this step, or `None`."""
        self.key: str | None = None
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
        "_clock",
        "_counts",
        "_decisions",
        "_messages",
        "_pending",
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
        self.events = EventLog(row.run, row.parent, row.agent)
        self.kept: dict[str, Kept] = {}
        self._clock = clock
        self._time = clock.time
        self._store = store
        self._watch: Callable[[Event], None] | None = None
        self._scrub: Callable[[Json], Awaitable[Json]] | None = None
        self._counts: dict[str, int] = {}
        self._decisions: dict[str, list[JsonObject]] = {}
        self._messages: dict[int, list[JsonObject]] = {}
        self._pending: list[StepRecord] = []
        self._sent = 0
        self._writing: asyncio.Lock | None = None
        self.flushes = store is not None
        """Whether `flush` has anything to do at all."""

    # --- events

    def emit(self, kind: str, data: JsonObject, plugin: str | None = None) -> None:
        """Record an event, and show it to whoever watches: at once, or where something redacts, after that."""
        self.events.records.append((kind, self._time(), plugin, data))
        if self._watch is not None and self._scrub is None:
            self._watch(self.events.last())

    # --- steps

    def open(self, op: str, params: Any, effect: Effect | None = None) -> Step:
        """The next step of an operation. Steps of a parallel group are opened in call order, before any is awaited.

        Raises:
            JournalDivergedError: an earlier life of this run recorded other parameters for this step.
        """
        name = self._name(op)
        n = self._counts[name] = self._counts.get(name, 0) + 1
        step_id = f"{name}#{n}"
        kept = self.kept.get(step_id)
        if kept is None:
            return Step(step_id, op, params, effect, None)
        step = Step(step_id, op, params, effect, None)
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

    def start(self, step: Step, **data: Any) -> None:
        """The step begins."""
        step.started = self._clock.monotonic()
        step.outer = SCOPE.set(step.id)
        self.emit("step.started", {"op": step.op, "step": step.id, "attempt": step.attempt, **data})

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
        self.emit("step.done", {"op": step.op, "step": step.id, "duration_ms": self._since(step), **data})

    def fail(self, step: Step, error: BaseException) -> None:
        """The step failed; a repeat of it is another attempt of the same step."""
        self._leave(step)
        code = "cancelled" if isinstance(error, asyncio.CancelledError) else getattr(error, "code", "unknown")
        described = {"code": code, "message": describe(error)}
        # An intent without outcome must stay one, of this life or an earlier: what came of the effect is not known.
        if step.key is None and step.recorded is None:
            self._keep(step, "failed", error=described)
        self.emit("step.failed", {"op": step.op, "step": step.id, "duration_ms": self._since(step), **described})

    async def step(self, op: str, params: Json, call: Callable[[], Awaitable[Any]]) -> Any:
        """Do `call` as a step whose result is plain JSON."""
        step = self.open(op, params)
        if step.recorded is not None:
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

    # --- earlier lives

    def decisions_before(self, op: str) -> Sequence[JsonObject]:
        """What an earlier life decided after failures of the step of `op` that comes next; each is told once."""
        if not self._decisions:
            return ()
        name = self._name(op)
        return self._decisions.pop(f"{name}#{self._counts.get(name, 0) + 1}", ())

    def messages_at(self, turn: int) -> Sequence[JsonObject]:
        """What was queued into an earlier life before this turn; told once."""
        return self._messages.pop(turn, ()) if self._messages else ()

    def _recall(self) -> None:
        for event in self.events:
            if event.kind == "phase.error" and event.data.get("change") and event.data.get("step"):
                self._decisions.setdefault(event.data["step"], []).append(event.data["change"])
            elif event.kind == "run.message":
                self._messages.setdefault(event.data["turn"], []).append(event.data["message"])

    # --- the store

    @property
    def durable(self) -> bool:
        """Whether what is recorded survives the process."""
        return self._store is not None and self._store.durable

    async def flush(self, *, barrier: bool = False, state: Any = None) -> None:
        """Hand everything new to the store, in one transaction."""
        if state is not None:
            self.row = msgspec.structs.replace(self.row, state=state)
        if not self.flushes:
            return
        # In a task of its own: of what is cut off half way nobody would know what the store has.
        await asyncio.shield(asyncio.ensure_future(self._write(barrier)))

    async def _write(self, barrier: bool) -> None:
        if self._writing is None:
            self._writing = asyncio.Lock()
        async with self._writing:
            events = await self._scrubbed(self._sent)
            steps = list(self._pending)
            if self._store is not None:
                stored = [await self._offload(record) for record in steps]
                await self._store.append(self.row, events, stored, barrier=barrier)
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

    # --- inside

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
                params_digest=digest_of(step.params),
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

    async def _offload(self, record: StepRecord) -> StepRecord:
        if record.result is None or self._store is None:
            return record
        if self._scrub is not None:
            record = msgspec.structs.replace(record, result=await self._scrub(record.result))
        data = msgspec.json.encode(record.result)
        if len(data) <= BLOB_AT_BYTES:
            return record
        return msgspec.structs.replace(record, result=None, artifact=await self._store.put_blob(data))

    def _since(self, step: Step) -> float:
        return elapsed_ms(self._clock, step.started)


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
        fields = {name: result[name] for name in ("run", "agent", "output", "end_reason", "turns", "cost_usd")}
        usage, unpriced = msgspec.convert(result["usage"], Usage), tuple(result["unpriced_models"])
        return RunResult(**fields, usage=usage, unpriced_models=unpriced)
    return result


def _encoded(step: Step, result: Any) -> Json:
    if result is None:
        return None
    try:
        data = result.to_json() if isinstance(result, RunResult) else to_json(result)
        msgspec.json.encode(data)
    except (TypeError, NotImplementedError, ValueError) as exc:
        raise JournalUnserializableError(f"the result of step `{step.id}` is not JSON: {exc}") from exc
    return data


async def _whole(store: Store, record: StepRecord) -> StepRecord:
    if record.artifact is None:
        return record
    return msgspec.structs.replace(record, result=msgspec.json.decode(await store.get_blob(record.artifact)))


def _short(params: Any, digest: str | None) -> str:
    return (digest or digest_of(params))[:8]


class MemoryStore:
    """A `Store` that forgets with the process: for tests, and as the reference that other stores are compared with."""

    durable = False

    def __init__(self, keep: int = 256) -> None:
        self._keep = keep
        self._runs: OrderedDict[str, tuple[RunRow, list[Event], dict[str, StepRecord]]] = OrderedDict()
        self._blobs: dict[str, bytes] = {}

    async def append(
        self, row: RunRow, events: Sequence[Event], steps: Sequence[StepRecord], *, barrier: bool = False
    ) -> None:
        _, known, records = self._runs.get(row.run, (row, [], {}))
        if events and events[0].seq != len(known):
            raise RunBusyError(f"run `{row.run}` was written by somebody else at event {len(known)}")
        known.extend(events)
        records.update({record.step: record for record in steps})
        self._runs[row.run] = (row, known, records)
        while len(self._runs) > self._keep:
            self._runs.popitem(last=False)

    async def load(self, run: str) -> tuple[RunRow, Sequence[Event], Sequence[StepRecord]]:
        if run not in self._runs:
            raise RunNotFoundError(f"no run `{run}`", hint="peg help run.not_found")
        row, events, steps = self._runs[run]
        return row, list(events), list(steps.values())

    async def runs(self, *, root: str | None = None, limit: int = 100) -> Sequence[RunRow]:
        rows = [row for row, _, _ in reversed(self._runs.values()) if root is None or row.root == root]
        return rows[:limit]

    async def put_blob(self, data: bytes) -> str:
        ref = blob_ref(data)
        self._blobs[ref] = data
        return ref

    async def get_blob(self, ref: str, start: int = 0, size: int | None = None) -> bytes:
        if ref not in self._blobs:
            raise RunNotFoundError(f"no blob `{ref}`", hint="peg help run.not_found")
        data = self._blobs[ref]
        return data[start:] if size is None else data[start : start + size]


def blob_ref(data: bytes) -> str:
    """The handle of a blob, derived from its content."""
    return f"blob-{hashlib.sha256(data).hexdigest()[:32]}"
