"""Conversations in the file. They outlive the runs that they were held in."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec
from pegboard.errors import JournalCorruptError, RunBusyError, RunNotFoundError
from pegboard.interfaces import ConversationRow
from pegboard.types import Message, message_from_json, to_json

from pegboard_sqlite.blobs import conversation_holder, mention
from pegboard_sqlite.owners import Owner
from pegboard_sqlite.records import UNREADABLE, encoded, mentions
from pegboard_sqlite.schema import SLOT_BITS, at_most, key

_ROWS = msgspec.json.Decoder(ConversationRow)


class Speech:
    """What is added to a conversation, ready to be stored."""

    __slots__ = ("data", "expect", "messages", "row")

    def __init__(self, row: ConversationRow, messages: Sequence[Message], expect: int) -> None:
        self.row = msgspec.structs.replace(row, messages=expect + len(messages))
        self.data = encoded(self.row)
        self.messages = [encoded(to_json(message)) for message in messages]
        self.expect = expect

    @property
    def size_bytes(self) -> int:
        """About what it takes in the file."""
        return sum(map(len, self.messages))


def add(connection: sqlite3.Connection, speech: Speech, owner: Owner) -> None:
    """Add messages. Raises `RunBusyError` where there are not as many as expected."""
    row = speech.row
    found = connection.execute("select number, count from conversation where id = ?", (key(row.id),)).fetchone()
    there = found[1] if found is not None else 0
    if there != speech.expect:
        raise RunBusyError(
            f"conversation `{row.id}` has {there} messages and not {speech.expect}: somebody else wrote to it",
            hint="peg help run.busy",
        )
    number = found[0] if found is not None else _begun(connection, row)
    connection.execute(
        "update conversation set at = ?, count = ?, row = ? where number = ?",
        (row.at, row.messages, speech.data, number),
    )
    slot = number << SLOT_BITS | speech.expect
    values = [(slot + place, data) for place, data in enumerate(speech.messages)]
    connection.executemany("insert into message values (?, ?)", values)
    refs = mentions(b"\n".join(speech.messages))
    if refs:
        mention(connection, refs, conversation_holder(number), owner.id)


def load(connection: sqlite3.Connection, id: str) -> tuple[ConversationRow, Sequence[Message]]:
    """All of a conversation. Raises `RunNotFoundError`."""
    found = connection.execute("select number, count, row from conversation where id = ?", (key(id),)).fetchone()
    if found is None:
        raise RunNotFoundError(f"no conversation `{id}` in the store", hint="peg help run.not_found")
    number, count, row = found
    slot = number << SLOT_BITS
    try:
        # No more than the row tells of: another process may have added to it since that was read.
        stored = connection.execute("select data from message where slot >= ? and slot < ?", (slot, slot + count))
        return _ROWS.decode(row), [message_from_json(msgspec.json.decode(data)) for (data,) in stored]
    except UNREADABLE as error:
        raise _corrupt(id, error) from error


def newest(connection: sqlite3.Connection, limit: int) -> Sequence[ConversationRow]:
    """Rows of conversations, those first that were written last."""
    found = connection.execute(
        "select row, id, at, count from conversation order by at desc, number desc limit ?", (at_most(limit),)
    )
    return [_listed_row(*values) for values in found]


def _listed_row(row: bytes, id: str, at: float, count: int) -> ConversationRow:
    """A row; of one that cannot be read what stands beside it, so that the others are listed all the same."""
    try:
        return _ROWS.decode(row)
    except UNREADABLE as error:
        try:
            return msgspec.convert({"id": id, "at": at, "messages": count}, ConversationRow)
        except msgspec.ValidationError:
            raise _corrupt(id, error) from error


def _corrupt(id: str, error: Exception) -> JournalCorruptError:
    return JournalCorruptError(f"conversation `{id}` cannot be read: {error}", hint="peg doctor --deep")


def _begun(connection: sqlite3.Connection, row: ConversationRow) -> int:
    cursor = connection.execute(
        "insert into conversation (id, at, count, row) values (?, ?, 0, ?)", (row.id, row.at, b"")
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid
