"""What is stored, as bytes: events and steps as lines of JSON, rows as JSON; and the blobs that they mention."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from pegboard.errors import JournalCorruptError, JournalUnserializableError, JournalVersionError
from pegboard.events import EVENT_VERSION, Event, event_from_json
from pegboard.interfaces import RunRow, StepRecord

STEP_SCHEMA: Final = 1
"""The newest form of `StepRecord` that is known here."""
_ENCODER: Final = msgspec.json.Encoder(enc_hook=repr)  # as `event_to_json`
_EVENTS: Final = msgspec.json.Decoder(Event)
_PLAIN: Final = msgspec.json.Decoder(dict[str, Any])
_STEPS: Final = msgspec.json.Decoder(StepRecord)
_ROWS: Final = msgspec.json.Decoder(RunRow)
UNREADABLE: Final = (msgspec.MsgspecError, KeyError, RecursionError, TypeError, ValueError)
"""What comes of decoding what is damaged; in a damaged file a column may also hold a number in place of bytes."""
_UNWRITABLE: Final = (RecursionError, TypeError, ValueError)
_MENTION: Final = re.compile(rb"blob-[0-9a-f]{32}")


class Addition:
    """What is added to a run's log, ready to be stored."""

    __slots__ = ("count", "events", "first", "mentions", "row", "steps")

    def __init__(self, row: RunRow, events: Sequence[Event], steps: Sequence[StepRecord]) -> None:
        self.row = row
        self.count = len(events)
        self.first = events[0].seq if events else None
        self.events = lines(events, row.run)
        self.steps = lines(steps, row.run)
        self.mentions = mentions(self.events) | mentions(self.steps)

    @property
    def size_bytes(self) -> int:
        """About what it takes in the file."""
        return len(self.events) + len(self.steps)


def lines(values: Iterable[Event | StepRecord], run: str) -> bytes:
    """A line for each."""
    try:
        return _ENCODER.encode_lines(values)
    except _UNWRITABLE as error:
        raise JournalUnserializableError(f"what run `{run}` recorded is not JSON: {error}") from error


def encoded(value: Any) -> bytes:
    """A value as JSON."""
    try:
        return _ENCODER.encode(value)
    except _UNWRITABLE as error:
        raise JournalUnserializableError(f"what is to be stored is not JSON: {error}") from error


def mentions(data: bytes) -> set[str]:
    """The handles of blobs in it, also those in the midst of a text."""
    return {found.decode() for found in _MENTION.findall(data)} if b"blob-" in data else set()


def split_row(row: RunRow) -> tuple[bytes, bytes]:
    """The row without its input, and the input: it can be large, and does not change when the state does."""
    return encoded(msgspec.structs.replace(row, input=None)), encoded(row.input)


def joined_row(row: bytes, input: bytes, run: str) -> RunRow:
    """What `split_row` took apart. Raises `JournalCorruptError`."""
    found = row_of(row, run)
    try:
        return msgspec.structs.replace(found, input=msgspec.json.decode(input))
    except UNREADABLE as error:
        raise corrupt(run, error) from error


def row_of(row: bytes, run: str) -> RunRow:
    """A row without its input. Raises `JournalCorruptError`."""
    try:
        return _ROWS.decode(row)
    except UNREADABLE as error:
        raise corrupt(run, error) from error


def events_of(pieces: Sequence[bytes], run: str) -> Sequence[Event]:
    """The events in some lines, brought up to this version.

    Raises:
        JournalCorruptError: they cannot be read.
        JournalVersionError: they are newer.
    """
    try:
        data = b"".join(pieces)
        events = _EVENTS.decode_lines(data)
    except msgspec.ValidationError:  # of another version, perhaps
        return _brought_up(data, run)
    except UNREADABLE as error:
        raise corrupt(run, error) from error
    return events if all(event.v == EVENT_VERSION for event in events) else _brought_up(data, run)


def _brought_up(data: bytes, run: str) -> Sequence[Event]:
    try:
        return [event_from_json(line) for line in _PLAIN.decode_lines(data)]
    except UNREADABLE as error:
        raise corrupt(run, error) from error


def steps_of(pieces: Sequence[bytes], run: str) -> Sequence[StepRecord]:
    """The steps in some lines; of two of one name the later counts. Raises as `events_of` does."""
    try:
        records = {record.step: record for record in _STEPS.decode_lines(b"".join(pieces))}
    except UNREADABLE as error:
        raise corrupt(run, error) from error
    newest = max((record.schema for record in records.values()), default=STEP_SCHEMA)
    if newest > STEP_SCHEMA:
        raise JournalVersionError(
            f"run `{run}` has steps of version {newest}; this pegboard-sqlite reads up to {STEP_SCHEMA}",
            hint="pip install --upgrade pegboard pegboard-sqlite",
        )
    return list(records.values())


def corrupt(run: str, error: Exception) -> JournalCorruptError:
    """What is said of a run that cannot be read."""
    return JournalCorruptError(
        f"what is stored of run `{run}` cannot be read: {error}", hint="peg doctor --deep", run=run
    )
