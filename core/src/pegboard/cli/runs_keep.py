"""`peg runs`: going on with runs, copying them, playing them back, handing them on, forgetting them."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from pegboard import views
from pegboard.cli import lives
from pegboard.cli.ages import Age
from pegboard.cli.contract import Answer, Output, WholeNumber, command, option
from pegboard.cli.render import exact_json
from pegboard.cli.run import LiveText, answer_of_run, resumed
from pegboard.cli.stored import control_of, driven_of, find_run, open_store
from pegboard.cli.written import write_file
from pegboard.clock import SYSTEM_CLOCK
from pegboard.errors import RunNotFoundError, UsageError
from pegboard.events import event_to_json
from pegboard.interfaces import RunRow, Store
from pegboard.journal import Journal
from pegboard.tools import result_of
from pegboard.types import ToolResult, to_json, tool_result

EXPORT_SCHEMA = "peg.run/1"
_RUN = click.argument("run")
_ALLOW = option("--allow", multiple=True, metavar="TOOL", help="Approve the calls of a tool, as `peg run --allow`.")
_SAID = {"done": "done, as a person says", "fail": "a person says that this failed"}


async def _found(given: str) -> RunRow:
    async with open_store() as store:
        return await find_run(store, given)


# --- further lives -----------------------------------------------------------------------------------------------


@command("resume", stream=True)
@_RUN
@_ALLOW
def resume(run: str, allow: tuple[str, ...]) -> Answer:
    """Go on with a run that was interrupted; steps that are recorded are not repeated."""
    return _answered_run(run, allow, Output.current())


def _answered_run(given: str, allow: Sequence[str], out: Output) -> Answer:
    async def work() -> Answer:
        return await resumed((await _found(given)).run, out, allow=allow)

    try:
        return asyncio.run(work())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@command("fork", stream=True)
@_RUN
@option(
    "--before", "step", metavar="STEP", help="Copy what was recorded before this step, for example `model.request#3`."
)
@option("--run", "go_on", is_flag=True, help="Go on with the copy at once.")
@_ALLOW
def fork(run: str, step: str | None, go_on: bool, allow: tuple[str, ...]) -> Answer:
    """Copy a run up to a step under a new id; the copy goes on from there and the first one stays as it is."""
    out = Output.current()
    first, copy = asyncio.run(_fork(run, step))
    if go_on:
        return _answered_run(copy, allow, out)
    out.say(f"go on with it: peg runs resume {copy}")
    return Answer({"run": copy, "forked_from": first}, copy)


async def _fork(given: str, step: str | None) -> tuple[str, str]:
    row = await _found(given)
    async with lives.board_here() as board:
        await lives.bring_agent(board, row)
        return row.run, await board.fork(row.run, before=step)


@command("replay")
@_RUN
def replay(run: str) -> Answer:
    """Run it again from the record alone: nothing is asked of a model or a tool, and what is missing is an error."""
    return asyncio.run(_replay(run, Output.current()))


async def _replay(given: str, out: Output) -> Answer:
    row = await _found(given)
    async with lives.board_here() as board:
        await lives.bring_agent(board, row)
        result = await board.replay(row.run)
        LiveText(out).end(result)
        return answer_of_run(result, out, summary=board.hooks.on_event is None)


# --- what a person knows -----------------------------------------------------------------------------------------


@command("resolve")
@_RUN
@click.argument("step")
@click.argument("outcome", type=click.Choice(["done", "redo", "fail"]))
@option("--result", metavar="JSON", help="What the tool would have returned, with `done`.")
def resolve(run: str, step: str, outcome: Literal["done", "redo", "fail"], result: str | None) -> Answer:
    """Say what became of an unsafe step that was cut off: it was done, or is to be done again, or failed.

    STEP is a step of RUN as `peg runs show RUN` names it. Then the run can be gone on with.
    """
    if result is not None and outcome != "done":
        raise UsageError(
            f"with `{outcome}` there is no result", hint=f"peg runs resolve {run} {step} done --result '{result}'"
        )
    return asyncio.run(_resolve(run, step, outcome, None if result is None else _parsed(result)))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"the result is not JSON: {error}", hint="peg runs resolve --help") from error


async def _resolve(given: str, step: str, outcome: Literal["done", "redo", "fail"], value: Any) -> Answer:
    async with open_store() as store:
        row = await find_run(store, given)
        journal = await Journal.load(store, row.run, SYSTEM_CLOCK)
        journal.reconcile(step, None if outcome == "redo" else _outcome(journal, step, outcome, value), outcome=outcome)
        await journal.flush(barrier=True)
        left = views.unresolved(journal.events)
    way_on = f"peg runs resume {row.root}" if not left else f"peg runs resolve {row.run} {left[0]} done"
    data = {"run": row.run, "step": step, "outcome": outcome, "unresolved": list(left)}
    return Answer(data, f"step `{step}`: {outcome}; next: {way_on}")


def _outcome(journal: Journal, step: str, outcome: str, value: Any) -> Any:
    """The result of the call that the step made, as JSON."""
    started = (event.data for event in journal.events if event.kind == "step.started" and event.data["step"] == step)
    call_id = next((data["call_id"] for data in started if data.get("call_id")), "")
    result: ToolResult = tool_result(call_id, _SAID[outcome], status="ok" if outcome == "done" else "error")
    return to_json(result if value is None else result_of(call_id, value))


# --- handing on --------------------------------------------------------------------------------------------------


@command("export")
@_RUN
@option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file; stdout without it.")
def export(run: str, output: Path | None) -> Answer:
    """Write a run and its child runs as JSON lines: a row, its steps, its events, for each."""
    return _export(run, output, Output.current())


def _export(given: str, output: Path | None, out: Output) -> Answer:
    run, lines = asyncio.run(_lines(given))
    if output is None:
        return Answer({"run": run, "lines": lines}, "" if out.machine else "\n".join(map(exact_json, lines)))
    write_file(output, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return Answer({"run": run, "file": str(output), "lines": len(lines)}, f"{len(lines)} lines in `{output}`")


async def _lines(given: str) -> tuple[str, Sequence[Any]]:
    async with open_store() as store:
        row = await find_run(store, given)
        runs = await _with_children(store, row)
        return row.run, [line for run in runs for line in await _export_lines(store, run)]


async def _with_children(store: Store, row: RunRow) -> Sequence[str]:
    tree = await store.runs(root=row.root, limit=sys.maxsize)
    return [row.run, *sorted(other.run for other in tree if other.run.startswith(f"{row.run}."))]


async def _export_lines(store: Store, run: str) -> list[dict[str, Any]]:
    row, events, steps = await store.load(run)
    lines = [{"schema": EXPORT_SCHEMA, "type": "run", "data": msgspec.to_builtins(row)}]
    for step in steps:
        if step.artifact is not None:  # a large result, which is kept beside the step
            step = msgspec.structs.replace(step, result=msgspec.json.decode(await store.get_blob(step.artifact)))
        lines.append({"type": "step", "data": msgspec.to_builtins(step)})
    return [*lines, *({"type": "event", "data": event_to_json(event)} for event in events)]


# --- forgetting --------------------------------------------------------------------------------------------------


@command("prune")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@option("--older-than", type=Age(), metavar="AGE", help="Runs that ended longer ago, for example `30d` or `12h`.")
@option("--keep", type=WholeNumber(min=0), help="All but the newest so many.")
@option("--dry-run", is_flag=True, help="Only say what would be removed.")
@option("-y", "--yes", is_flag=True, help="Do not ask.")
def prune(runs: tuple[str, ...], older_than: float | None, keep: int | None, dry_run: bool, yes: bool) -> Answer:
    """Forget runs, with their child runs and what only they hold. Conversations stay.

    Without a RUN only those that no process drives and that wait for nobody.
    """
    if bool(runs) == (older_than is not None or keep is not None):
        raise UsageError("say either which runs to forget or how old", hint="peg runs prune --older-than 30d")
    return asyncio.run(_prune(runs, older_than, keep, dry_run, yes, Output.current()))


async def _prune(
    named: Sequence[str], age_s: float | None, keep: int | None, dry_run: bool, yes: bool, out: Output
) -> Answer:
    async with open_store() as store:
        control = control_of(store, "forget runs")
        roots = await _named(store, named) if named else await _over(store, age_s, keep)
        doomed = [row.run for root in roots for row in await store.runs(root=root, limit=sys.maxsize)]
        data = {"runs": roots, "with_children": len(doomed), "dry_run": dry_run}
        count = f"{len(roots)} run{'' if len(roots) == 1 else 's'}"
        if dry_run or not roots:
            return Answer(data, f"{count} would be forgotten" if roots else "nothing to forget")
        if not yes:
            out.ask(f"forget {count}?", data, hint=_with_yes(named, age_s, keep))
        freed = await control.remove(doomed)
    return Answer({**data, "freed_bytes": freed}, f"{count} forgotten, {freed / 1e6:.1f} MB freed")


def _with_yes(named: Sequence[str], age_s: float | None, keep: int | None) -> str:
    """The same command without the question."""
    older = [] if age_s is None else ["--older-than", f"{age_s:.0f}s"]
    kept = [] if keep is None else ["--keep", str(keep)]
    return " ".join(["peg runs prune", *named, *older, *kept, "--yes"])


async def _named(store: Store, given: Sequence[str]) -> list[str]:
    rows = [await find_run(store, one) for one in given]
    for row in rows:
        if row.root != row.run:
            raise RunNotFoundError(
                f"`{row.run}` is a child run, which goes with run `{row.root}`", hint=f"peg runs prune {row.root}"
            )
    return list(dict.fromkeys(row.run for row in rows))


async def _over(store: Store, age_s: float | None, keep: int | None) -> list[str]:
    """Roots that are not among the newest, old enough, and in whose tree nothing goes on or waits for a person."""
    rows = await store.runs(limit=sys.maxsize)
    driven = await driven_of(store, rows)
    busy = {row.root for row in rows if row.run in driven or row.state == "paused"}
    roots = [row for row in rows if row.root == row.run][keep or 0 :]
    return [
        row.run
        for row in roots
        if row.run not in busy and (age_s is None or (row.ended_at or row.at) < time.time() - age_s)
    ]
