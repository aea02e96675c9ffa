"""Context as a build with inspectable parts (`docs/explanation/` has the semantics of each step)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from pegboard.types.messages import Message
from pegboard.types.runs import Degradation

Stability = Literal["static", "session", "turn"]


class ContextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a context build is asked for."""

    run: str
    agent: str
    query: str
    workspace: str | None = None
    budget: int | None = None
    """In tokens; a limit that is never passed. `None` is no limit known."""
    sources: tuple[str, ...] = ()
    stage: Literal["orient", "locate", "edit", "review"] = "locate"
    threshold: float = 0.05
    """Share of the top score below which a unit is dropped."""
    pins: tuple[str, ...] = ()


class Source(Protocol):
    """Something that can be read, found without reading it."""

    path: str
    kind: str
    size: int
    digest: str
    owner: str

    def read(self) -> str:
        """The text. Called only for what survives scoring."""


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a source that is shown whole or not at all."""

    path: str
    name: str
    kind: str
    start: int
    end: int
    digest: str
    tokens: int
    text: str = ""
    owner: str = ""


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """One scorer's judgement: unit digest to score, higher is better."""

    scorer: str
    scores: Mapping[str, float]
    units: tuple[Unit, ...] = ()


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of the context, with what it costs and who put it there."""

    id: str
    owner: str
    kind: str
    text: str
    tokens: int
    level: Literal["body", "signature", "path"] = "body"
    ref: str | None = None
    exact: bool = False
    """Whether `tokens` is counted rather than estimated."""
    score: float = 0.0
    scores: Mapping[str, float] = {}
    stability: Stability = "turn"
    pinned: bool = False
    reason: str | None = None
    """Why it was dropped: `budget`, `threshold`, `duplicate`, `policy` or `deadline`."""
    receipt: Receipt | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Proof of a removal, and the way back."""

    ref: str | None
    what: str
    tokens_before: int
    tokens_after: int
    by: str
    why: str
    recall: str = ""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of one stability that stand together."""

    name: str
    stability: Stability
    owner: str
    messages: tuple[Message, ...] = ()
    parts: tuple[Part, ...] = ()


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The blocks as messages, and the places where a provider may cache."""

    messages: Sequence[Message]
    cache_marks: tuple[int, ...] = ()


class ContextBuild(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a build: what was shown, what was dropped, and why."""

    parts: tuple[Part, ...] = ()
    dropped: tuple[Part, ...] = ()
    budget: int | None = None
    used: int = 0
    cache_hit: bool = False
    prefix_digests: tuple[str, ...] = ()
    durations_ms: Mapping[str, float] = {}
    degraded: tuple[Degradation, ...] = ()


class HistoryView(msgspec.Struct, frozen=True, kw_only=True):
    """What of a conversation the model is shown; the log keeps everything."""

    messages: Sequence[Message]
    receipts: tuple[Receipt, ...] = ()


class BudgetShare(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's wish for a share of a context budget."""

    agent: str
    min_tokens: int
    optimal_tokens: int
    max_tokens: int | None = None
    priority: int = 0
    waiting: int = 0
    """How often it was deferred already."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent got: at least its minimum, or nothing and deferred."""

    agent: str
    tokens: int
    deferred: bool = False
