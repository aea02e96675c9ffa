"""`peg runs`: what ran, how it went, what was sent to the model, and why a run differs from another one."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Any

import click
import msgspec

from pegboard import views
from pegboard.cli import timeline
from pegboard.cli.ages import Age
from pegboard.cli.contract import Answer, Output, WholeNumber, command, option
from pegboard.cli.render import escaped, exact_json, table
from pegboard.cli.stored import control_of, driven_of, find_run, open_store, warn_of_damaged
from pegboard.cli.watch import UNTRACED, hook_lines
from pegboard.errors import RunNotFoundError, UsageError
from pegboard.events import Event, event_to_json
from pegboard.interfaces import RunRow, Store

STATUSES = (
    "queued", "running", "interrupted", "paused", "completed", "failed", "cancelled", "budget", "limit",
    "needs_approval", "unavailable", "dead", "parked",
)  # fmt: skip
"""What `views.status_of` may say."""
_RESUMABLE = frozenset(
    {"interrupted", "paused", "needs_approval", "cancelled", "unavailable", "failed", "budget", "limit"}
)
_ENCODER = msgspec.json.Encoder(enc_hook=repr)
_POLL_S = 0.2
_PAGE = 2000
"""Events that are read and printed in one go."""
_MAX_TASK = 48
_MOST_CHILDREN = 5
_NO_CONTEXT = "no plugin built a context in this run: it had the history alone"
_MAX_VALUE = 200
_RUN = click.argument("run")
_NUMBER = click.argument("number", metavar="[N]", type=click.IntRange(min=1), required=False)
Wanted = Callable[[RunRow, str], bool]
"""Whether a run is to be listed, by its row and status."""


def _answered(work: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(work)


# --- which runs there are ----------------------------------------------------------------------------------------


@command("list")
@option("--agent", help="Only runs of this agent.")
@option("--state", type=click.Choice(STATUSES), help="Only runs that stand or ended so.")
@option("--since", type=Age(), metavar="AGE", help="Only runs that began no longer ago, for example `12h` or `30d`.")
@option("--children", is_flag=True, help="Child runs too.")
@option("--limit", type=WholeNumber(min=1), default=20, help="At most so many, newest first.")
def list_runs(agent: str | None, state: str | None, since: float | None, children: bool, limit: int) -> Answer:
    """List runs, newest first."""
    began = 0.0 if since is None else time.time() - since

    def wanted(row: RunRow, status: str) -> bool:
        return agent in (None, row.agent) and state in (None, status) and row.at >= began

    chosen = any(value is not None for value in (agent, state, since))
    return _answered(_list(wanted, children, limit, sys.maxsize if chosen else limit + 1))


async def _list(wanted: Wanted, children: bool, limit: int, read: int) -> Answer:
    async with open_store() as store:
        rows = await store.runs(roots=not children, limit=read)
        driven = await driven_of(store, rows)
    warn_of_damaged(rows)  # whatever is asked for: nobody knows what they were
    every = [(row, status) for row in rows if wanted(row, status := views.status_of(row, driven))]
    found = every[:limit]
    head = ["RUN", "AGENT", "STATE", "BEGAN", "TOOK", "TOKENS", "COST", "TASK"]
    text = table(head, [_row_cells(row, status) for row, status in found]) if found else "no runs"
    if len(every) > limit:
        text += f"\n… and more: peg runs list --limit {10 * limit}"
    return Answer({"runs": [row_json(*one) for one in found], "more": len(every) > limit}, text)


def _row_cells(row: RunRow, status: str) -> list[str]:
    summary = row.summary or {}
    began = _date(row.at)
    ended_at = time.time() if status == "running" else row.ended_at
    took = timeline.duration(max(ended_at - row.at, 0.0)) if ended_at is not None else "-"
    known = [summary.get(name) for name in ("input_tokens", "output_tokens")]
    tokens = str(sum(n for n in known if n)) if any(n is not None for n in known) else "-"
    task = escaped(row.task if len(row.task) <= _MAX_TASK else row.task[: _MAX_TASK - 1] + "…")
    return [escaped(row.run), escaped(row.agent) or "-", status, began, took, tokens, cost_text(summary), task]


def _date(at: float) -> str:
    """When it was here; a damaged row may say a time that no clock shows."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OSError, OverflowError, ValueError):
        return "-"


def cost_text(summary: dict[str, Any]) -> str:
    """The cost of a run, or that it is not known; of one that has not ended nothing can be said."""
    if "cost_usd" not in summary:
        return "-"
    cost = summary["cost_usd"]
    return "unknown" if cost is None else f"${cost:.4f}"


def row_json(row: RunRow, status: str) -> dict[str, Any]:
    """A row as plain JSON, without the recorded input, which may be long."""
    data: dict[str, Any] = {"status": status, **msgspec.to_builtins(row)}
    del data["input"]
    return data


# --- how one went ------------------------------------------------------------------------------------------------


@command("show")
@_RUN
def show(run: str) -> Answer:
    """Show how a run went: phases, steps and child runs in time, what failed first."""
    return _answered(_show(run, Output.current()))


async def _show(given: str, out: Output) -> Answer:
    async with open_store() as store:
        tree = await timeline.load(store, await find_run(store, given))
    _say_how_to_go_on(tree, out)
    return Answer(tree.to_json(), timeline.draw(tree, out))


def _say_how_to_go_on(tree: timeline.Tree, out: Output) -> None:
    if tree.line.status not in _RESUMABLE:
        return
    doubts = [(each.line.row.run, step) for each in tree.all() for step in each.unresolved]
    for run, step in doubts:
        out.say(f"say what became of the step (done, redo or fail): peg runs resolve {run} {step} done")
    out.say(f"{'then go' if doubts else 'go'} on with it: peg runs resume {tree.line.row.root}")


@command("events", stream=True)
@_RUN
@option("--after", type=click.IntRange(min=-1), default=-1, help="Only events with a higher number.")
@option("--kind", metavar="PREFIX", help="Only kinds that begin so, for example `step.`.")
@option("--follow", is_flag=True, help="Go on until the run ends.")
def events(run: str, after: int, kind: str | None, follow: bool) -> Answer:
    """Print the events of a run, one per line."""
    return _answered(_events(run, after, kind or "", follow, Output.current()))


async def _events(given: str, after: int, prefix: str, follow: bool, out: Output) -> Answer:
    found: list[Event] = []
    async with open_store() as store:
        run = (await find_run(store, given)).run
        async for page in _followed(store, run, after, follow, out):
            chosen = [event for event in page if event.kind.startswith(prefix)]
            _print_events(chosen, out)
            found += chosen if out.json else ()
    return Answer({"run": run, "events": list(map(event_to_json, found))})


async def _followed(store: Store, run: str, after: int, follow: bool, out: Output) -> AsyncIterator[Sequence[Event]]:
    """The events, page by page; to follow a run is to read on until nobody drives it any more."""
    control = control_of(store, "list events")
    while True:
        status = await _status(store, run) if follow else ""  # asked before reading, so that the last ones are read
        while page := await control.events(run, after, _PAGE):
            after = page[-1].seq
            yield page
        if status not in ("queued", "running"):
            if status == "interrupted":
                out.warn(f"the process that drove the run is gone; go on with it: peg runs resume {run}")
            return
        await asyncio.sleep(_POLL_S)


async def _status(store: Store, run: str) -> str:
    row = await find_run(store, run)
    return views.status_of(row, await driven_of(store, [row]))


def _print_events(page: Sequence[Event], out: Output) -> None:
    """Print them in one go: one call for each would take longer than to read them."""
    if not page:
        return
    if out.jsonl:
        out.lines(_json_lines(page))
    else:
        out.write("".join(map(_event_line, page)))


def _json_lines(page: Sequence[Event]) -> str:
    lines = _ENCODER.encode_lines(page)
    if lines.isascii():
        return lines.decode()
    return "".join(json.dumps(event_to_json(event)) + "\n" for event in page)  # whatever stdout can encode


def _event_line(event: Event) -> str:
    data = msgspec.json.encode(event.data, enc_hook=repr).decode()
    kind = event.kind if event.kind.isprintable() else escaped(event.kind)
    return f"{event.seq:>5}  {time.strftime('%H:%M:%S', time.localtime(event.at))}  {kind}  {data}\n"


# --- what was sent, and who put it there -------------------------------------------------------------------------


@command("prompt")
@_RUN
@_NUMBER
@option("--diff", "other", type=WholeNumber(min=1), metavar="M", help="Show what differs from request M.")
def prompt(run: str, number: int | None, other: int | None) -> Answer:
    """Print request N (the last, by default) as it was sent to the model, as JSON."""
    return _answered(_prompt(run, number, other))


async def _prompt(given: str, number: int | None, other: int | None) -> Answer:
    row, events = await _recorded(given)
    sent = list(views.requests(events))
    if not sent:
        children = await _asking(row)
        hint = f"peg runs prompt {children[0].run}" if children else f"peg runs show {row.run}"
        raise RunNotFoundError(f"run `{row.run}` sent nothing to a model{_told(children)}", hint=hint)
    chosen = _pick(sent, number, row.run, "requests")
    if other is None:
        return Answer({"run": row.run, "request": chosen, "of": len(sent)}, exact_json(chosen, indent=2))
    lines = views.changed_lines(_pick(sent, other, row.run, "requests"), chosen)
    return Answer({"run": row.run, "diff": lines}, "\n".join(map(escaped, lines)) or "the two requests are the same")


def _pick(found: Sequence[Any], number: int | None, run: str, what: str) -> Any:
    if number is not None and number > len(found):
        raise UsageError(f"run `{run}` has {len(found)} {what}, and not {number}", hint=f"peg runs show {run}")
    return found[(number or len(found)) - 1]


@command("context")
@_RUN
@_NUMBER
def context(run: str, number: int | None) -> Answer:
    """Show what each part of context N cost, who brought it, and what was dropped and why."""
    return _answered(_context(run, number))


async def _context(given: str, number: int | None) -> Answer:
    row, events = await _recorded(given)
    built = [event.data for event in events if event.kind == "context.built"]
    if not built:
        asking = () if any(event.kind == "model.requested" for event in events) else await _asking(row)
        nothing = f"run `{row.run}` sent nothing to a model{_told(asking)}" if asking else _NO_CONTEXT
        return Answer({"run": row.run, "build": None, "of": 0}, nothing)
    build = _pick(built, number, row.run, "contexts")
    return Answer({"run": row.run, "build": build, "of": len(built)}, timeline.context_table(build))


@command("explain")
@_RUN
@_NUMBER
def explain(run: str, number: int | None) -> Answer:
    """Show which plugins were called around request N, in which order, for how long, and what they changed."""
    return _answered(_explain(run, number))


async def _explain(given: str, number: int | None) -> Answer:
    row, events = await _recorded(given)
    sent = [event for event in events if event.kind == "model.requested"]
    if number is not None:
        _pick(sent, number, row.run, "requests")
    around = views.around_request(events, number) if sent else events
    calls = [event.data for event in around if event.kind == "hook.called"]
    explained = bool(row.input and row.input["options"].get("explain"))
    asking = () if sent else await _asking(row)
    nothing = f"no plugin was called around it; {UNTRACED}" if explained else "only runs of `peg run --explain` tell it"
    if asking:
        nothing = f"run `{row.run}` sent nothing to a model{_told(asking)}; {nothing}"
    data = {"run": row.run, "explained": explained, "calls": calls, "of": len(sent)}
    return Answer(data, "\n".join(hook_lines(calls)) or nothing)


async def _asking(row: RunRow) -> Sequence[RunRow]:
    """The runs inside of one that asked a model, each in its own name."""
    async with open_store() as store:
        rows = await store.runs(root=row.root, limit=sys.maxsize)
    inside = [other for other in rows if other.run.startswith(f"{row.run}.")]
    return sorted((other for other in inside if (other.summary or {}).get("turns")), key=lambda other: other.at)


def _told(children: Sequence[RunRow]) -> str:
    """That these did, in a half sentence."""
    named = [f"`{escaped(child.run)}` ({escaped(child.agent)})" for child in children[:_MOST_CHILDREN]]
    more = f" and {len(children) - len(named)} more" if len(children) > len(named) else ""
    return f"; its child runs did: {', '.join(named)}{more}" if named else ""


async def _recorded(given: str) -> tuple[RunRow, Sequence[Event]]:
    """A run with its input, and its events."""
    async with open_store() as store:
        row, events, _ = await store.load((await find_run(store, given)).run)
        return row, events


@command("diff")
@click.argument("a")
@click.argument("b")
def diff(a: str, b: str) -> Answer:
    """Show where two runs part: plugins, agent, input, then the first event and the first result that differ."""
    return _answered(_diff(a, b))


async def _diff(a: str, b: str) -> Answer:
    async with open_store() as store:
        runs = [await store.load((await find_run(store, given)).run) for given in (a, b)]
    found = list(views.differences(*runs))
    names = [row.run for row, _, _ in runs]
    text = "\n".join(_difference_lines(found, names)) or "they went alike"
    return Answer({"runs": names, "differences": msgspec.to_builtins(found)}, text)


def _difference_lines(found: Iterable[views.Difference], names: Sequence[str]) -> Iterable[str]:
    for one in found:
        yield f"{escaped(one.what)}:"
        for name, value in zip(names, (one.a, one.b), strict=True):
            said = json.dumps(value, ensure_ascii=False)
            yield f"  {name}: {escaped(said if len(said) <= _MAX_VALUE else said[: _MAX_VALUE - 1] + '…')}"
