"""The one log of events: envelope, kinds, JSON form, upcasters.

Streaming, history, resume, audit, traces, metrics and viewers are readers of this log. While a run goes on its events
are light records, and become envelopes when somebody reads them. Who reads and who stores them is not known here.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from pegboard.errors import EventError, JournalVersionError, describe
from pegboard.signs import storable
from pegboard.types import JsonObject, Usage

EVENT_VERSION: Final = 1
"""The version of the envelope and of `data` that this code writes."""

EVENT_KINDS: Final[Mapping[str, str]] = {
    "run.started": "a run began: agent, version, input; of a run that is kept also the versions of plugins",
    "run.finished": "a run ended: end reason, usage, degraded parts",
    "run.paused": "a run waits for a person or a quota",
    "run.resumed": "a run goes on from its journal",
    "run.cancelled": "a run was cancelled, by whom and why",
    "run.forked": "a run was copied from another one at a step",
    "run.message": "a message was queued into the running run",
    "phase.entered": "a phase began",
    "phase.left": "a phase ended: outcome and duration",
    "phase.error": "an error arose in a phase, and what was decided",
    "model.chosen": "nobody named a model: the one that a plugin chose for `auto`, and why",
    "budget.reserved": "what a request may use at most, before it is sent",
    "model.requested": "what was sent to a model: what is new in it since the request before, and how much is not",
    "step.started": "a step began: operation, attempt, effect",
    "step.done": "a step ended: result or its reference, usage, duration",
    "step.failed": "a step ended with an error",
    "step.attempt_reset": "a step is repeated; what its attempt streamed is void",
    "approval.requested": "a person is asked: call id and digest of the arguments",
    "approval.decided": "the answer, and who gave it",
    "effect.intent": "an unsafe effect is about to happen",
    "effect.done": "an unsafe effect has happened",
    "effect.reconciled": "it was found out whether an unsafe effect has happened",
    "context.built": "a context was built: parts, owners, tokens, whether those are exact, what was dropped and why",
    "context.compacted": "the view of the conversation was shortened; tokens, whether those are exact, receipts",
    "context.offloaded": "a large part was moved to the blob store; tokens, and whether those are exact",
    "tool.tier": "another tier of tools: from, to, reason",
    "tool.loop": "the same call with the same result again: count and what was done",
    "model.setting_ignored": "a model lacks a setting that was asked for",
    "output.invalid": "an answer does not fit the output schema: the errors that were handed back",
    "state.pushed": "a nested state began: depth and name",
    "state.popped": "a nested state ended",
    "budget.warning": "an account is nearly used up: account, share, limit",
    "cleanup.error": "something failed while cleaning up; it hides no earlier error",
    "run.degraded": "something was skipped, cut, replaced or unavailable",
    "hook.called": "with explaining on: one call of an implementation, its order, time, outcome and change",
    "plugin.state": "a plugin changed its state",
    "plugin.fault": "an implementation failed: hook, outcome, code, what was skipped",
    "plugin.undeclared": "a plugin opened, executed or connected to something without permission: what, target",
    "stream.gap": "a slow reader was skipped: the last offset delivered",
}
"""Every kind that core writes. Plugins may write others, under a prefix that is their id."""

_OWN_KIND: Final = r"[\w/-]+(\.[\w/-]+)+"


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One record of the log. `seq` is dense per run; `(run, seq)` is the read offset everywhere."""

    v: int = EVENT_VERSION
    id: str
    """Unique over all stores, for deduplication."""
    run: str
    parent: str | None = None
    seq: int
    kind: str
    at: float
    """Seconds since the epoch, for people; nothing orders by it."""
    agent: str | None = None
    plugin: str | None = None
    data: JsonObject = {}


# What every run says again and again is held in structs until somebody reads it: a dict takes four times the memory.


class PhaseEntered(msgspec.Struct, frozen=True, gc=False):
    """The data of `phase.entered`."""

    phase: str


class PhaseLeft(msgspec.Struct, frozen=True, gc=False):
    """The data of `phase.left`."""

    phase: str
    outcome: Literal["done", "failed"]
    duration_ms: float


class StepStarted(msgspec.Struct, frozen=True, gc=False):
    """The data of `step.started`; what is unset is left out."""

    op: str
    step: str
    attempt: int
    model: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    call_id: str | UnsetType = UNSET


class StepDone(msgspec.Struct, frozen=True, gc=False):
    """The data of `step.done`; what is unset is left out."""

    op: str
    step: str
    duration_ms: float
    tokens: int | UnsetType | None = UNSET
    usage: Usage | UnsetType = UNSET
    cost_usd: float | UnsetType | None = UNSET
    name: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    code: str | UnsetType | None = UNSET
    message: str | UnsetType = UNSET
    where: str | UnsetType = UNSET
    """`file.py:12 in function`, where a tool raised."""


class Tokens(msgspec.Struct, frozen=True, gc=False):
    """What a run used; `None` is not known."""

    input_tokens: int | None
    output_tokens: int | None


class RunFinished(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The data of `run.finished`."""

    end_reason: str
    usage: Tokens
    cost_usd: float | None
    unpriced_models: list[str]
    turns: int
    degraded: list[str]
    duration_ms: float


Data: TypeAlias = JsonObject | RunFinished | PhaseEntered | PhaseLeft | StepStarted | StepDone
"""What an event says, as it is recorded."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """The light form of an event: what is not the same for all events of a run, or its place in the log."""

    kind: str
    at: float
    plugin: str | None
    data: Data


Upcaster = Callable[[JsonObject], JsonObject]
UPCASTERS: dict[int, Upcaster] = {}
"""From version n to n + 1; pure functions, kept for ever, each with a fixture file of that version."""


def event_of_plugin(kind: object, data: object) -> JsonObject:
    """The data of an event that a plugin writes, as the plain JSON that a store gives back.

    Raises:
        EventError: the kind is one of core's or has no prefix, or the data is not a JSON object.
    """
    refusal = _refusal(kind) if isinstance(kind, str) else f"`{kind}` is no kind of event"
    if refusal is not None:
        raise EventError(refusal)
    try:
        read = _plain(data)
    except (TypeError, ValueError, NotImplementedError, RecursionError) as error:
        raise EventError(f"the data of event `{kind}` is not JSON: {describe(error)}") from error
    if not isinstance(read, dict):
        raise EventError(f"the data of event `{kind}` must be an object, and is {type(data).__name__}")
    return read


@lru_cache(maxsize=512)  # a plugin has a few kinds, and writes each of them often
def _refusal(kind: str) -> str | None:
    if re.fullmatch(_OWN_KIND, kind) is None:
        return f"`{kind}` is no kind of event; a plugin writes `<plugin id>.<name>`"
    return f"event `{kind}` is core's own; a plugin writes `<plugin id>.<name>`" if kind in EVENT_KINDS else None


def _plain(data: object) -> object:
    try:
        return msgspec.json.decode(msgspec.json.encode(data))
    except UnicodeEncodeError:  # half a surrogate pair
        plain = storable(msgspec.to_builtins(data, str_keys=True))
        return msgspec.json.decode(msgspec.json.encode(plain))


def event_to_json(event: Event) -> JsonObject:
    """The event as plain JSON."""
    data: JsonObject = msgspec.to_builtins(event, enc_hook=repr)
    return data


def event_from_json(data: JsonObject, upcasters: Mapping[int, Upcaster] | None = None) -> Event:
    """An event from its JSON form, brought up to the current version.

    Raises:
        JournalVersionError: the event is newer than this code, or no upcaster leads from its version to ours.
    """
    steps = UPCASTERS if upcasters is None else upcasters
    version = data.get("v", 0)
    if not isinstance(version, int) or version > EVENT_VERSION:
        raise JournalVersionError(
            f"event {data.get('run')}#{data.get('seq')} has version {version}; this pegboard reads up to "
            f"{EVENT_VERSION}",
            hint="pip install --upgrade pegboard",
        )
    while version < EVENT_VERSION:
        if version not in steps:
            raise JournalVersionError(f"no way to read events of version {version}")
        data = steps[version](data)
        version += 1
        data = {**data, "v": version}
    return msgspec.convert(data, Event)


class EventLog(Sequence[Event]):
    """The events of one run, appended as light records and made into envelopes when read."""

    __slots__ = ("_agent", "_envelopes", "_parent", "_run", "records")

    def __init__(self, run: str, parent: str | None = None, agent: str | None = None) -> None:
        self._run = run
        self._parent = parent
        self._agent = agent
        self.records: list[Record] = []
        """The events in their light form. The journal adds to it."""
        self._envelopes: list[Event] = []

    def append(self, kind: str, at: float, data: Data, plugin: str | None = None) -> None:
        """Record that something happened at `at`."""
        self.records.append(Record(kind, at, plugin, data))

    def restore(self, events: Sequence[Event]) -> None:
        """Start with events that were recorded before; only before the first `append`."""
        self._envelopes = list(events)
        self.records = [Record(event.kind, event.at, event.plugin, event.data) for event in events]

    def replace_data(self, index: int, data: JsonObject) -> Event:
        """Put redacted data in the place of what an event held; the event."""
        self.records[index] = msgspec.structs.replace(self.records[index], data=data)
        self._envelopes[index] = msgspec.structs.replace(self._read(index), data=data)
        return self._envelopes[index]

    def last(self) -> Event:
        """The newest event."""
        return self._read(len(self.records) - 1)

    def _read(self, index: int) -> Event:
        envelopes = self._envelopes
        while (seq := len(envelopes)) <= index:
            record = self.records[seq]
            data = record.data
            envelopes.append(
                Event(
                    id=f"{self._run}.{seq}",
                    run=self._run,
                    parent=self._parent,
                    seq=seq,
                    kind=record.kind,
                    at=record.at,
                    agent=self._agent,
                    plugin=record.plugin,
                    data=data if isinstance(data, dict) else msgspec.to_builtins(data),
                )
            )
        return envelopes[index]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._read(i) for i in range(*index.indices(len(self.records)))]
        size = len(self.records)
        if not -size <= index < size:
            raise IndexError(index)
        return self._read(index % size)


BOARD_EVENTS_KEPT: Final = 1000
"""How many events a board keeps; plugins that come and go for weeks must not fill the memory."""


class BoardLog(Sequence[Event]):
    """What happened to the plugins of a board outside of any run: the newest `BOARD_EVENTS_KEPT` events.

    Who needs all of them watches with `on_event`. `seq` counts on over those that were dropped.
    """

    __slots__ = ("_kept", "dropped")

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=BOARD_EVENTS_KEPT)
        self.dropped = 0
        """How many older events are gone."""

    def append(self, kind: str, at: float, data: JsonObject, plugin: str | None = None) -> None:
        """Record that something happened at `at`."""
        seq = self.dropped + len(self._kept)
        self.dropped += len(self._kept) == BOARD_EVENTS_KEPT
        self._kept.append(Event(id=f"board.{seq}", run="board", seq=seq, kind=kind, at=at, plugin=plugin, data=data))

    def last(self) -> Event:
        """The newest event."""
        return self._kept[-1]

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: Any) -> Any:
        return list(self._kept)[index] if isinstance(index, slice) else self._kept[index]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._kept)

    def __repr__(self) -> str:
        return f"<log of {len(self._kept)} events of a board, {self.dropped} dropped>"
