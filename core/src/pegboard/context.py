"""Runs the steps of a context build in order under a budget, and reads every message list through them.

Core has no policy of its own here: what is gathered, scored and shown is up to plugins. With no sources and a history
inside the window this is a handful of tests for `None`: no copy, no count, no step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from pegboard.history import estimate_message, settled
from pegboard.model import ModelBase, capabilities_of
from pegboard.run import Run
from pegboard.spent import count_inside
from pegboard.types import (
    Block,
    ContextBuild,
    ContextRequest,
    HistoryView,
    Layout,
    Message,
    Part,
    Receipt,
    Scores,
    Source,
    Text,
    ToolResult,
    Unit,
)

SELECTION_TOKENS = 18_000
"""Working budget for selected sources; more context was measured to solve less (see `docs/explanation/`)."""
SELECTION_SHARE = 0.3
RESERVE_SHARE = 0.1
DEFAULT_OUTPUT_TOKENS = 4096
"""Kept free, and reserved in a budget, for an answer whose length nothing limits."""
MAX_RUNGS = 8

Prepared = tuple[Sequence[Message], tuple[int, ...]]


async def prepare(run: Run, model: ModelBase) -> Prepared:
    """The messages of the next request, and where a provider may cache."""
    run.log.settle()
    hooks = run.hooks
    if hooks.provide_token_counter is not None:
        run.counting = await run.services.counting(model.id)
    messages: Sequence[Message] = run.log.view()
    budget = usable_tokens(run, model)
    if hooks.context_gather is not None or hooks.context_cache is not None:
        await _build_once(run, budget)
    if budget is not None:
        messages = await _fitted(run, messages, budget)
    build = run.builds[-1] if run.builds else None
    if hooks.context_layout is None:
        return (_with_selection(messages, build) if build and build.parts else messages), ()
    return await _laid_out(run, messages, build, budget)


def usable_tokens(run: Run, model: ModelBase) -> int | None:
    """What a request may hold beside the answer, or `None` when the model's window is not known."""
    capabilities = capabilities_of(model)
    window = run.context_tokens or capabilities.context_window
    if window is None:
        return None
    if run.context_tokens is not None:
        return window
    answer = run.settings.max_output_tokens or min(capabilities.max_output or DEFAULT_OUTPUT_TOKENS, window // 4)
    return max(0, int((window - answer) * (1 - RESERVE_SHARE)))


# --- building ----------------------------------------------------------------------------------------------------


async def _build_once(run: Run, budget: int | None) -> None:
    """Build for the run's task; again only when a smaller context was asked for."""
    if run.builds and run.context_tokens is None:
        return
    needs = run.config.context
    room = needs.optimal_tokens or SELECTION_TOKENS
    if budget is not None:
        room = min(room, int(budget * SELECTION_SHARE))
    request = ContextRequest(
        run=run.run,
        agent=run.config.name,
        query=run.task,
        workspace=run.workspace,
        budget=room,
        sources=needs.sources,
    )
    build = await _as_step(run, request)
    run.builds = (*run.builds, build)
    _report(run, build)


async def _as_step(run: Run, request: ContextRequest) -> ContextBuild:
    journal = run.journal
    step = journal.open("context.build", msgspec.structs.replace(request, run=""))
    if step.recorded is not None:
        recorded: ContextBuild = journal.result(step)
        await count_inside(run, step)
        return recorded
    run.replaying = False
    journal.start(step)
    layer = run.hooks.context_cache
    try:
        build = await (layer(run, request, _build) if layer is not None else _build(run, request))
    except BaseException as error:
        journal.fail(step, error)
        raise
    journal.finish(step, build, tokens=build.used)
    return build


async def _build(run: Any, request: ContextRequest) -> ContextBuild:
    """gather, chunk, score, fuse, select, order, compress; each bypassed where nobody implements it."""
    durations: dict[str, float] = {}
    timed = _timer(run, durations)
    sources = await timed("gather", _gather(run, request))
    units = await timed("chunk", _chunk(run, sources))
    scores = await timed("score", _score(run, request, units))
    chosen = await timed("select", _select(run, request, scores))
    kept, dropped = _within(run, chosen, request.budget, "select")
    ordered = await timed("order", _order(run, request, kept))
    short = await timed("compress", _compress(run, ordered, request))
    final, more = _within(run, short, request.budget, "compress")
    return ContextBuild(
        parts=tuple(final),
        dropped=(*dropped, *more),
        budget=request.budget,
        used=sum(part.tokens for part in final),
        durations_ms=durations,
    )


def _timer(run: Run, durations: dict[str, float]) -> Callable[[str, Awaitable[Any]], Awaitable[Any]]:
    async def timed(name: str, work: Awaitable[Any]) -> Any:
        started = run.clock.monotonic()
        try:
            return await work
        finally:
            durations[name] = round((run.clock.monotonic() - started) * 1000, 3)

    return timed


async def _gather(run: Run, request: ContextRequest) -> Sequence[Source]:
    layer = run.hooks.context_gather
    if layer is None:
        return ()
    collected = await layer(run, request)
    for plugin, code in collected.missing:
        run.degrade("context sources", "the plugin's gathering failed", plugin=plugin, code=code)
    return [source for _, sources in collected for source in sources]


async def _chunk(run: Run, sources: Sequence[Source]) -> Sequence[Unit]:
    layer = run.hooks.context_chunk
    units: list[Unit] = []
    for source in sources:
        found = await layer(run, source) if layer is not None else None
        units.extend(found if found is not None else [_whole(run, source)])
    return units


def _whole(run: Run, source: Source) -> Unit:
    text = source.read()
    return Unit(
        path=source.path,
        name=source.path,
        kind=source.kind,
        start=1,
        end=text.count("\n") + 1,
        digest=source.digest,
        tokens=run.counting.text(text),
        text=text,
        owner=source.owner,
    )


async def _score(run: Run, request: ContextRequest, units: Sequence[Unit]) -> Scores:
    hooks = run.hooks
    tables = [scores for _, scores in await hooks.context_score(run, request, units)] if hooks.context_score else []
    fused = await hooks.context_fuse(run, request, tables) if hooks.context_fuse and tables else None
    if fused is None:
        in_order = {unit.digest: 1.0 - n / (len(units) + 1) for n, unit in enumerate(units)}
        fused = tables[0] if tables else Scores(scorer="order", scores=in_order)
    return msgspec.structs.replace(fused, units=tuple(units))


async def _select(run: Run, request: ContextRequest, scores: Scores) -> Sequence[Part]:
    layer = run.hooks.context_select
    parts = await layer(run, request, scores) if layer is not None else None
    if parts is not None:
        return parts
    ranked = sorted(scores.units, key=lambda unit: (-scores.scores.get(unit.digest, 0.0), unit.path, unit.start))
    return [_part(unit, scores.scores.get(unit.digest, 0.0), scores.scorer) for unit in ranked]


def _part(unit: Unit, score: float, scorer: str) -> Part:
    return Part(
        id=f"{unit.path}:{unit.start}",
        owner=unit.owner or "core",
        kind=unit.kind,
        text=unit.text,
        tokens=unit.tokens,
        score=score,
        scores={scorer: score},
    )


def _within(run: Run, parts: Sequence[Part], budget: int | None, step: str) -> tuple[list[Part], list[Part]]:
    """The parts that fit, best scores first; never more than the budget, whatever a plugin says."""
    if budget is None or sum(part.tokens for part in parts) <= budget:
        return list(parts), []
    fitting: set[int] = set()
    for index in sorted(range(len(parts)), key=lambda index: (not parts[index].pinned, -parts[index].score)):
        if parts[index].pinned or parts[index].tokens <= budget:
            fitting.add(index)
            budget -= parts[index].tokens
    kept = [part for index, part in enumerate(parts) if index in fitting]
    dropped = [
        msgspec.structs.replace(part, reason="budget") for index, part in enumerate(parts) if index not in fitting
    ]
    if dropped and getattr(run.hooks, f"context_{step}") is not None:
        run.degrade("context", f"`context_{step}` went over the budget; the lowest parts were dropped")
    return kept, dropped


async def _order(run: Run, request: ContextRequest, parts: list[Part]) -> Sequence[Part]:
    layer = run.hooks.context_order
    ordered = await layer(run, request, parts) if layer is not None else None
    return parts if ordered is None else ordered


async def _compress(run: Run, parts: Sequence[Part], request: ContextRequest) -> Sequence[Part]:
    layer = run.hooks.context_compress
    return parts if layer is None else [await layer(run, part, request) for part in parts]


def _report(run: Run, build: ContextBuild) -> None:
    run.record(
        "context.built",
        {
            "budget": build.budget,
            "used": build.used,
            "exact": run.counting.exact,
            "cache_hit": build.cache_hit,
            "durations_ms": dict(build.durations_ms),
            "parts": [_row(part) for part in build.parts],
            "dropped": [_row(part) for part in build.dropped],
        },
    )


def _row(part: Part) -> dict[str, Any]:
    return {
        "id": part.id,
        "owner": part.owner,
        "tokens": part.tokens,
        "score": part.score,
        "stability": part.stability,
        "reason": part.reason,
    }


# --- showing -----------------------------------------------------------------------------------------------------


def _with_selection(messages: Sequence[Message], build: ContextBuild) -> Sequence[Message]:
    """The conversation, with what was selected just before the task that it was selected for."""
    place = _last_task(messages)
    return (*messages[:place], _selection(build), *messages[place:])


def _selection(build: ContextBuild) -> Message:
    text = "\n\n".join(f"<part id={part.id!r} from={part.owner!r}>\n{part.text}\n</part>" for part in build.parts)
    return Message("user", (Text(text),))


def _last_task(messages: Sequence[Message]) -> int:
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user":
            return index
    return len(messages)


async def _laid_out(run: Run, messages: Sequence[Message], build: ContextBuild | None, budget: int | None) -> Prepared:
    place = _last_task(messages)
    blocks = [
        Block(name="conversation", stability="session", owner="core", messages=tuple(messages[:place])),
        Block(name="task", stability="turn", owner="core", messages=tuple(messages[place:])),
    ]
    if build is not None and build.parts:
        selection = Block(
            name="selection", stability="turn", owner="core", messages=(_selection(build),), parts=build.parts
        )
        blocks.insert(1, selection)
    request = ContextRequest(run=run.run, agent=run.config.name, query=run.task, budget=budget)
    layout: Layout | None = await run.hooks.context_layout(run, request, blocks) if run.hooks.context_layout else None
    if layout is None or (budget is not None and sum(map(run.counting.message, layout.messages)) > budget):
        return [message for block in blocks for message in block.messages], ()
    return layout.messages, layout.cache_marks


# --- fitting -----------------------------------------------------------------------------------------------------


async def _fitted(run: Run, messages: Sequence[Message], budget: int) -> Sequence[Message]:
    """The messages, or where they are too many a shorter view; the log keeps everything."""
    if run.log.tokens(run.counting.message) <= budget:
        return messages
    view = await _compacted(run, messages, budget)
    run.record(
        "context.compacted",
        {
            "tokens_before": run.log.tokens(run.counting.message),
            "tokens_after": sum(map(run.counting.message, view.messages)),
            "exact": run.counting.exact,
            "receipts": [msgspec.to_builtins(receipt) for receipt in view.receipts],
        },
    )
    return view.messages


async def _compacted(run: Run, messages: Sequence[Message], budget: int) -> HistoryView:
    layer = run.hooks.context_compact
    for rung in range(MAX_RUNGS if layer is not None else 0):
        view = await layer(run, messages, budget, rung) if layer is not None else None
        if view is None:
            break
        whole = list(view.messages)
        if settled(whole) == whole and sum(map(run.counting.message, view.messages)) <= budget:
            return view
    view = newest_groups(messages, budget, task=len(run.history), measure=run.counting.message)
    run.degrade("conversation", f"{len(messages) - len(view.messages)} older messages are not shown to the model")
    return view


def newest_groups(
    messages: Sequence[Message],
    budget: int,
    *,
    task: int | None = None,
    measure: Callable[[Message], int] = estimate_message,
) -> HistoryView:
    """The newest messages that fit, never parting a call from its result, and before them the one at `task`."""
    first = messages[task : task + 1] if task is not None else ()
    total = sum(map(measure, first))
    view: list[Message] = []
    for group in reversed(_groups(messages)):
        size = sum(map(measure, group))
        if view and total + size > budget:
            break
        view = [*group, *view]
        total += size
    if len(messages) - len(view) > (task or 0):
        view = [*first, *view]
    receipt = Receipt(
        ref=None,
        what=f"{len(messages) - len(view)} oldest messages",
        tokens_before=sum(map(measure, messages)),
        tokens_after=sum(map(measure, view)),
        by="core",
        why="window",
        recall="the run's log has them all",
    )
    return HistoryView(messages=view, receipts=(receipt,))


def _groups(messages: Sequence[Message]) -> list[list[Message]]:
    groups: list[list[Message]] = []
    for message in messages:
        answers = any(isinstance(part, ToolResult) for part in message.parts)
        if answers and groups:
            groups[-1].append(message)
        else:
            groups.append([message])
    return groups
