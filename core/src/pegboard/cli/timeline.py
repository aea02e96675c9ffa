"""A recorded run drawn in the terminal: its tree of phases, steps and child runs, each with a bar in time."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pegboard import views
from pegboard.cli.contract import Output
from pegboard.cli.render import escaped, table
from pegboard.cli.stored import control_of, driven_of
from pegboard.events import Event
from pegboard.interfaces import RunRow, Store, StoreControl
from pegboard.views import Clock, Span, Timeline

MIN_BAR, MAX_BAR = 12, 48
MAX_LABEL = 48
_BARS = {"failed": "x", "interrupted": "~"}


class Tree:
    """A run, and under the steps that started them its child runs; all on the clock of the outermost one."""

    def __init__(self, line: Timeline, events: Sequence[Event], children: Mapping[str, Tree]) -> None:
        self.line = line
        self.children = children
        self.above = {id(span): run for run, span in views.child_runs(line).items() if run in children}
        """The child run under a span, by the identity of the span."""
        self.first_failure = views.first_failure(events)
        """Of the first step that failed: step, code, message."""
        self.unresolved = views.unresolved(events)
        """The steps of which a person must say what became of them."""

    def to_json(self) -> dict[str, Any]:
        """The tree as plain JSON."""
        data: dict[str, Any] = msgspec.to_builtins(self.line)
        del data["row"]["input"]
        data["children"] = {run: child.to_json() for run, child in self.children.items()}
        data["first_failure"] = self.first_failure
        data["unresolved"] = list(self.unresolved)
        return data

    def all(self) -> Iterator[Tree]:
        """The runs of the tree, inner ones first."""
        for child in self.children.values():
            yield from child.all()
        yield self


class _Loading:
    """What is the same for all runs of one tree."""

    def __init__(self, control: StoreControl, rows: Sequence[RunRow], driven: Collection[str]) -> None:
        self.control = control
        self.rows = {row.run: row for row in rows}
        self.driven = driven

    async def tree(self, row: RunRow, clock: Clock | None = None) -> Tree:
        events = await self.control.events(row.run)
        clock = clock or Clock(row, events)
        status = views.status_of(row, self.driven)
        now = time.time() if status == "running" else None
        line = views.timeline(row, events, status=status, clock=clock, now=now)
        below = [self.rows[run] for run in views.child_runs(line) if run in self.rows]
        return Tree(line, events, {child.run: await self.tree(child, clock) for child in below})


async def load(store: Store, row: RunRow) -> Tree:
    """The tree of a run. A child that the store does not have (yet) is left out."""
    control = control_of(store, "list events")
    rows = await store.runs(root=row.root, limit=sys.maxsize)
    return await _Loading(control, rows, await driven_of(store, rows)).tree(row)


# --- drawing -----------------------------------------------------------------------------------------------------


def draw(tree: Tree, out: Output) -> str:
    """The whole as text: a head, what failed first, and a line for each span."""
    row, summary = tree.line.row, tree.line.row.summary or {}
    head = [f"run {row.run} · agent {row.agent} · {tree.line.status} · {duration(tree.line.duration_s)}"]
    if row.task:
        head.append(f"task: {escaped(row.task)}")
    head += _money(summary)
    head += [out.style(text, sys.stdout, fg="red") for text in _faults(tree, summary)]
    head += [f"degraded: {escaped(what)}" for what in summary.get("degraded", ())]
    return "\n".join([*head, "", *_lines(tree, out)])


def _money(summary: Mapping[str, Any]) -> Iterator[str]:
    if not summary.get("turns"):
        return
    unpriced = [escaped(model) for model in summary.get("unpriced_models", ())]
    cost = f"cost unknown: no price for {', '.join(unpriced)}" if unpriced else f"${summary.get('cost_usd') or 0:.4f}"
    counts = ((summary.get("input_tokens"), "in"), (summary.get("output_tokens"), "out"))
    tokens = [f"{number} {word}" for number, word in counts if number is not None] or ["tokens unknown"]
    yield " · ".join([f"{summary['turns']} turn{'s' if summary['turns'] != 1 else ''}", *tokens, cost])


def _faults(tree: Tree, summary: Mapping[str, Any]) -> Iterator[str]:
    """What failed first, wherever in the tree; the error of the run; and what a person has to say."""
    failure: Mapping[str, Any] = {}
    failed = next((each for each in tree.all() if each.first_failure is not None), None)
    if tree.line.status != "completed" and failed is not None and failed.first_failure is not None:
        failure = failed.first_failure
        where = f" in {failed.line.row.run}" if failed is not tree else ""
        yield escaped(f"failed first: {failure['step']}{where}: {failure.get('message')} ({failure.get('code')})")
    error = summary.get("error") or {}
    if error.get("message") != failure.get("message"):
        yield escaped(f"error: {error.get('message')} ({error.get('code')})")
    for each in tree.all():
        for step in each.unresolved if each.line.status != "running" else ():
            yield escaped(f"not known whether it took effect: {step} of run {each.line.row.run}")


def _lines(tree: Tree, out: Output) -> Iterator[str]:
    rows = list(_rows(tree, 0))
    label = min(MAX_LABEL, max((len(text) for text, _ in rows), default=0))
    width = max(MIN_BAR, min(MAX_BAR, shutil.get_terminal_size().columns - label - 16))
    first = min((span.start_s for _, span in rows), default=0.0)
    latest = max((span.end_s or span.start_s for _, span in rows), default=first)
    if tree.line.status == "running":
        latest = max(latest, first + tree.line.duration_s)
    for text, span in rows:
        end = latest if span.end_s is None else span.end_s
        bar = _bar(span.start_s - first, end - first, max(latest - first, 1e-9), width, _BARS.get(span.outcome, "="))
        took = span.outcome if span.outcome in ("open", "interrupted") else duration(end - span.start_s)
        shown = text if len(text) <= label else text[: label - 1] + "…"
        color = "red" if span.outcome == "failed" else None
        yield out.style(f"{shown:<{label}}  {bar}  {took:>11}", sys.stdout, fg=color)


def _rows(tree: Tree, depth: int) -> Iterator[tuple[str, Span]]:
    """A label for each span, those inside others below them."""

    def below(spans: Sequence[Span], depth: int) -> Iterator[tuple[str, Span]]:
        for span in spans:
            yield "  " * depth + label_of(span), span
            yield from below(span.children, depth + 1)
            if id(span) in tree.above:
                yield from _rows(tree.children[tree.above[id(span)]], depth + 1)

    return below(tree.line.spans, depth)


def label_of(span: Span) -> str:
    """What a span is called: a phase by its name, a step by its id inside the step around it."""
    if span.step is None:
        return escaped(span.name)
    own = escaped(span.step[span.step.rindex(span.name) :] if span.name in span.step else span.step)
    return f"{own} {escaped(str(span.detail['model']))}" if span.detail.get("model") else own


def _bar(start: float, end: float, total: float, width: int, sign: str) -> str:
    begin = min(width - 1, int(start / total * width))
    size = max(1, min(width - begin, round((end - start) / total * width)))
    return (" " * begin + sign * size).ljust(width)


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"


def context_table(build: Mapping[str, Any]) -> str:
    """The parts of one context build, kept ones first, with what each cost and why others were dropped."""
    parts = [(part, "kept") for part in build["parts"]] + [(part, "dropped") for part in build["dropped"]]
    rows = [
        [
            escaped(str(part["id"])),
            str(part["owner"]),
            str(part["tokens"]),
            f"{part['score']:.3f}",
            fate,
            escaped(part["reason"] or ""),
        ]
        for part, fate in parts
    ]
    hit = " · from the cache" if build["cache_hit"] else ""
    head = f"{build['used']} of {build['budget']} tokens used{hit}"
    return f"{head}\n{table(['PART', 'PLUGIN', 'TOKENS', 'SCORE', 'FATE', 'WHY'], rows)}{_per_plugin(parts)}"


def _per_plugin(parts: Sequence[tuple[Mapping[str, Any], str]]) -> str:
    """The kept tokens of each plugin, the most first."""
    totals: dict[str, int] = {}
    for part, fate in parts:
        totals[str(part["owner"])] = totals.get(str(part["owner"]), 0) + (part["tokens"] if fate == "kept" else 0)
    ordered = sorted(totals.items(), key=lambda pair: -pair[1])
    return f"\nby plugin: {', '.join(f'{owner} {tokens}' for owner, tokens in ordered)}" if ordered else ""
