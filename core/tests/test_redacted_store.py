"""What `redact` takes out is nowhere in the store: not in rows, events, results, errors or conversations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from pegboard import Agent, Message, Pegboard, hookimpl, tool
from pegboard.errors import JournalCorruptError, StorageError
from pegboard.interfaces import ConversationRow, RunRow, StepRecord
from pegboard.memory import MemoryStore
from pegboard.types import ModelRequest, to_json
from pegboard_replay import FunctionModel, call

SECRET = "sk-do-not-tell"


class KeepingStore(MemoryStore):
    """A store that remembers everything that it was ever given, conversations too, and may break down."""

    durable = True

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Any] = []
        self.broken_after = 1_000_000
        self._said: dict[str, list[Message]] = {}

    async def append(self, row: RunRow, events: Any, steps: Sequence[StepRecord], *, barrier: bool = False) -> None:
        if len(self.given) >= self.broken_after:
            raise StorageError("pulled out")
        self.given.append(msgspec.to_builtins([row, list(events), list(steps)], enc_hook=repr))
        await super().append(row, events, steps, barrier=barrier)

    async def append_messages(self, row: ConversationRow, messages: Sequence[Message], *, expect: int) -> None:
        self.given.append(to_json(messages))
        self._said.setdefault(row.id, []).extend(messages)

    async def load_conversation(self, id: str) -> tuple[ConversationRow, Sequence[Message]]:
        return ConversationRow(id=id, agents=("worker",), messages=len(self._said[id])), self._said[id]

    async def conversations(self, *, limit: int = 100) -> Sequence[ConversationRow]:
        return ()

    @property
    def text(self) -> str:
        """Everything that it was given."""
        return json.dumps(self.given, default=repr)


class Redactor:
    """Takes the secret out."""

    id = "redactor"

    @hookimpl
    async def redact(self, ctx: Any, value: Any, sink: str) -> Any:
        return json.loads(json.dumps(value).replace(SECRET, "***"))


class Failing:
    """Cannot redact what holds the secret."""

    id = "failing"

    @hookimpl
    async def redact(self, ctx: Any, value: Any, sink: str) -> Any:
        if SECRET in json.dumps(value):
            raise ValueError("no idea")
        return value


@tool(effect="idempotent", inline=True)
def fetch(n: int) -> str:
    """Fetch it; the third time it fails."""
    if n == 3:
        raise ValueError(f"refused {SECRET}")
    return f"key {n}: {SECRET}"


def worker() -> Agent:
    def answer(request: ModelRequest) -> Any:
        n = sum(len(message.tool_calls) for message in request.messages) + 1
        return f"it is {SECRET}" if n > 3 else call("fetch", n=n)

    return Agent("worker", model=FunctionModel(answer), tools=[fetch])


async def test_a_secret_never_reaches_the_store() -> None:
    """Wherever it was said: in the task, in results, in errors, in the answer."""
    store = KeepingStore()
    async with Pegboard(store=store, plugins=[Redactor()]) as board:
        result = await board.run(worker(), f"use {SECRET}")

    assert SECRET in str(result.output)
    assert "use ***" in store.text
    assert SECRET not in store.text


@pytest.mark.parametrize("broken_after", [3, 4, 5, 6])
async def test_a_run_goes_on_from_what_is_left_of_it(broken_after: int) -> None:
    """What was redacted differs from what it was, and that is no divergence."""
    store = KeepingStore()
    async with Pegboard(store=store, plugins=[Redactor()], agents=[worker()]) as board:
        store.broken_after = broken_after
        assert (await board.run("worker", f"use {SECRET}", run="r", check=False)).end_reason == "failed"
    store.broken_after = 1_000_000
    async with Pegboard(store=store, plugins=[Redactor()], agents=[worker()]) as board:
        result = await board.resume("r")

    assert result.end_reason == "completed"
    assert SECRET not in store.text


async def test_a_secret_never_reaches_a_stored_conversation() -> None:
    """In this process it was said as it was said; another one has what is left."""
    store = KeepingStore()
    async with Pegboard(store=store, plugins=[Redactor()], agents=[worker()]) as board:
        talk = board.conversations.create("c", agents=["worker"])
        await talk.send(f"use {SECRET}")
    async with Pegboard(store=store, plugins=[Redactor()], agents=[worker()]) as board:
        again = await board.conversations.open("c")

    assert talk.messages[0].text == f"use {SECRET}"
    assert again.messages[0].text == "use ***"
    assert [message.role for message in again.messages] == [message.role for message in talk.messages]
    assert SECRET not in store.text


async def test_what_cannot_be_redacted_is_not_kept() -> None:
    """The run goes on, and a later life says why it cannot."""
    store = KeepingStore()
    async with Pegboard(store=store, plugins=[Failing()], agents=[worker()]) as board:
        await board.run("worker", f"use {SECRET}", run="r", check=False)
        talk = board.conversations.create("c", agents=["worker"])
        with pytest.raises(StorageError, match="could not be redacted"):
            await talk.send(f"use {SECRET}")
    async with Pegboard(store=store, agents=[worker()]) as board:
        with pytest.raises(JournalCorruptError, match="could not be redacted"):
            await board.resume("r")

    assert SECRET not in store.text
