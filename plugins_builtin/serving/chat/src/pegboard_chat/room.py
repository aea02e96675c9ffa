"""What the next request of a conversation would hold, part by part, and which share of the model's window that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from pegboard.cli.render import escaped, table
from pegboard.counting import Counting
from pegboard.events import Event
from pegboard.model import ModelBase, capabilities_of
from pegboard.runtime import Pegboard
from pegboard.toolbox import Toolbox
from pegboard.types import Agent, JsonObject, Message

_WORDS = {"system": "system messages", "user": "what you said", "assistant": "answers", "tool": "results of tools"}


class RoomPart(msgspec.Struct, frozen=True):
    """Something that is in a request, and who put it there."""

    what: str
    owner: str
    count: int
    tokens: int


class Room(msgspec.Struct, frozen=True):
    """The next request."""

    parts: list[RoomPart]
    exact: bool
    """Whether tokens are counted as the provider does, rather than estimated."""
    window: int | None
    """What the model can hold; `None` is unknown."""

    @property
    def tokens(self) -> int:
        """Of all parts."""
        return sum(part.tokens for part in self.parts)

    def to_json(self) -> JsonObject:
        """All of it as plain JSON."""
        data: JsonObject = msgspec.to_builtins(self)
        return {**data, "tokens": self.tokens}

    def text(self) -> str:
        """A table of the parts, and the share of the window."""
        about = "" if self.exact else "about "
        rows = [[part.what, escaped(part.owner), str(part.count), f"{about}{part.tokens}"] for part in self.parts]
        whole = ["the next request", "", "", f"{about}{self.tokens}"]
        drawn = table(["PART", "FROM", "COUNT", "TOKENS"], [*rows, whole])
        return f"{drawn}\n{share_of(self.tokens, self.window)}; what you say next is added to it"


def share_of(tokens: int, window: int | None) -> str:
    """The share of a window in words."""
    if window is None:
        return f"context {tokens} tokens, the model's window is not known"
    return f"context {100 * tokens / window:.0f} % of {window} tokens"


async def next_room(
    board: Pegboard, agent: Agent, model: ModelBase, messages: Sequence[Message], events: Sequence[Event]
) -> Room:
    """What the next request would hold, as far as that is known before it is made.

    Args:
        board: where the agent has its tools
        agent: who would answer
        model: what would be asked
        messages: what was said so far
        events: those of the last turn: what plugins selected for it, they may select again
    """
    counting = await board.counting(model.id)
    tools = await board.tools(agent)
    parts = [
        *_instructions(agent, counting),
        *_tools(tools, counting),
        *_messages(messages, counting),
        *_selection(events),
    ]
    return Room(parts, counting.exact, capabilities_of(model).context_window)


def _instructions(agent: Agent, counting: Counting) -> Iterator[RoomPart]:
    if agent.config.instructions:
        yield RoomPart("instructions", agent.name, 1, counting.text(agent.config.instructions))


def _tools(tools: Toolbox, counting: Counting) -> Iterator[RoomPart]:
    """By plugin. Those of higher tiers are sent only once a model has asked for them."""
    found: dict[str, list[int]] = {}
    for spec in tools.specs("core"):
        size = counting.text(f"{spec.description}{spec.input_schema}")
        found.setdefault(tools[spec.name].owner or "the agent", []).append(size)
    for owner, sizes in found.items():
        yield RoomPart("tools", owner, len(sizes), sum(sizes))


def _messages(messages: Sequence[Message], counting: Counting) -> Iterator[RoomPart]:
    for role, what in _WORDS.items():
        sizes = [counting.message(message) for message in messages if message.role == role]
        if sizes:
            yield RoomPart(what, "this conversation", len(sizes), sum(sizes))


def _selection(events: Sequence[Event]) -> Iterator[RoomPart]:
    built: list[Any] = [event.data for event in events if event.kind == "context.built"]
    found: dict[str, list[int]] = {}
    for part in built[-1]["parts"] if built else ():
        found.setdefault(part["owner"], []).append(part["tokens"])
    for owner, sizes in found.items():
        yield RoomPart("selected in the last turn", owner, len(sizes), sum(sizes))
