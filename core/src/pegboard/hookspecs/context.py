"""The steps of a context build, the view of a conversation, and how a budget is shared out.

All are bypassed when they fail: the previous value, or core's minimal body, holds, and the result says `degraded`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pegboard.hookspecs.marks import hookspec
from pegboard.interfaces import Call, RunContext
from pegboard.types import (
    Block,
    BudgetShare,
    ContextBuild,
    ContextRequest,
    Grant,
    HistoryView,
    Layout,
    Message,
    Part,
    Scores,
    Source,
    Unit,
    Usage,
)


@hookspec(
    kind="around",
    since="1.0",
    value="request",
    timeout_s=0.25,
    timed=True,
    returns=ContextBuild,
    nobody="the context is built",
)
async def context_cache(ctx: RunContext, request: ContextRequest, call_next: Call) -> ContextBuild:  # type: ignore[empty-body]
    """Answer from a cache, or fill it.

    When: around the whole build, before gathering.
    Value: `request`; `call_next(request)` gives the `ContextBuild`. Key a cache by content digests, never by times.
    Raises: before `call_next` bypassed; after it the inner build stands.
    Cancel: nothing is stored.
    """


@hookspec(kind="collect", since="1.0", timeout_s=1.0, timed=True, returns=(list, tuple), nobody="no sources")
async def context_gather(ctx: RunContext, request: ContextRequest) -> Sequence[Source] | None:
    """Name sources, without reading them.

    When: first step of a build.
    Return: sources whose `read` is called only if they survive scoring, or `None`.
    Raises: the sources of this implementation are missing and listed under `degraded`.
    Cancel: nothing to undo.
    """


@hookspec(
    kind="first", since="1.0", timeout_s=2.0, timed=True, returns=(list, tuple), nobody="the whole source is one unit"
)
async def context_chunk(ctx: RunContext, source: Source) -> Sequence[Unit] | None:
    """Cut a source into units that are shown whole or not at all.

    When: for each gathered source. Chunking and scoring share two seconds.
    Return: units, or `None` for a kind of source that is not yours.
    Raises: the next implementation is asked.
    Cancel: nothing to undo.
    """


@hookspec(kind="collect", since="1.0", timeout_s=2.0, timed=True, returns=Scores, nobody="order of gathering")
async def context_score(ctx: RunContext, request: ContextRequest, units: Sequence[Unit]) -> Scores | None:
    """Judge how relevant each unit is to the query.

    When: after chunking, all scorers.
    Return: scores by unit digest, higher is better, or `None`.
    Raises: the table is missing and listed under `degraded`.
    Cancel: nothing to undo.
    """


@hookspec(kind="first", since="1.0", timeout_s=0.25, timed=True, returns=Scores, nobody="the first table")
async def context_fuse(ctx: RunContext, request: ContextRequest, tables: Sequence[Scores]) -> Scores | None:
    """Make one table of several.

    When: after scoring.
    Return: one table, or `None` for no opinion.
    Raises: the next implementation is asked.
    Cancel: nothing to undo.
    """


@hookspec(
    kind="first",
    since="1.0",
    timeout_s=0.25,
    timed=True,
    returns=(list, tuple),
    nobody="by score until the budget is full",
)
async def context_select(ctx: RunContext, request: ContextRequest, scores: Scores) -> Sequence[Part] | None:
    """Choose what is shown, and at which level.

    When: after fusing.
    Return: parts whose tokens together fit `request.budget`, or `None`. Core drops the lowest-scored part while they
        do not fit, and names the plugin.
    Raises: the next implementation is asked.
    Cancel: nothing to undo.
    """


@hookspec(kind="first", since="1.0", timeout_s=0.25, timed=True, returns=(list, tuple), nobody="as selected")
async def context_order(ctx: RunContext, request: ContextRequest, parts: Sequence[Part]) -> Sequence[Part] | None:
    """Put the parts into the order in which they are shown.

    When: after selection.
    Return: the same parts in another order, or `None`.
    Raises: the next implementation is asked.
    Cancel: nothing to undo.
    """


@hookspec(kind="pipeline", since="1.0", value="part", timeout_s=0.25, returns=Part, nobody="unchanged")
async def context_compress(ctx: RunContext, part: Part, request: ContextRequest) -> Part | None:
    """Make a part shorter.

    When: for each part that was chosen.
    Value: `part`; return a shorter copy with a receipt. `None` is unchanged.
    Raises: the previous value is kept.
    Cancel: nothing to undo.
    """


@hookspec(
    kind="first",
    since="1.0",
    timeout_s=0.25,
    timed=True,
    returns=Layout,
    nobody="static, session, turn; no cache marks",
)
async def context_layout(ctx: RunContext, request: ContextRequest, blocks: Sequence[Block]) -> Layout | None:
    """Place the blocks as messages and say where a provider may cache.

    When: before each model request that has a context.
    Return: messages whose stability never falls along the list, and cache marks, or `None`.
    Raises: the next implementation is asked.
    Cancel: nothing to undo.
    """


@hookspec(kind="notify", since="1.0", timed=True)
async def context_measure(ctx: RunContext, build: ContextBuild, usage: Usage) -> None:
    """See what a context cost and whether it was used.

    When: after each turn that had a build.
    Raises: recorded, the others are told.
    Cancel: nothing to undo.
    """


@hookspec(
    kind="first",
    since="1.0",
    timeout_s=30.0,
    timed=True,
    returns=HistoryView,
    nobody="the newest groups that fit, with a receipt",
)
async def context_compact(
    ctx: RunContext, history: Sequence[Message], target_tokens: int, rung: int
) -> HistoryView | None:
    """Shorten the view of a conversation; the log keeps everything.

    When: the history does not fit. Asked with rung 0, 1, 2 … until the view fits or nobody answers; each rung may
        cost more than the one before. May make a model request.
    Return: a view in which every call still has its result, with receipts, or `None`.
    Raises: the next implementation is asked.
    Cancel: the history is as it was.
    """


@hookspec(
    kind="first",
    since="1.0",
    timed=True,
    returns=Part,
    nobody="the whole goes to the blob store; head and tail are kept",
)
async def context_offload(ctx: RunContext, part: Part) -> Part | None:
    """Replace a part that is too large by a preview and a handle.

    When: a tool result over the limit, before the model sees it.
    Return: a part with `ref` set, or `None` for no opinion.
    Raises: the next implementation is asked.
    Cancel: nothing to undo.
    """


@hookspec(
    kind="first",
    since="1.0",
    timeout_s=0.25,
    timed=True,
    returns=(list, tuple),
    nobody="minimums first, then by priority up to each optimum",
)
async def allocate_budget(ctx: RunContext, requests: Sequence[BudgetShare], total: int) -> Sequence[Grant] | None:
    """Share a context budget out between agents.

    When: several agents of a tree want context at once.
    Return: one grant per request, together no more than `total`, or `None`.
    Raises: the next implementation is asked.
    Cancel: nothing is granted.
    """
