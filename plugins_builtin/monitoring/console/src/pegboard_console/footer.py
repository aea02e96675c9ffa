"""The lines that stay at the bottom of the terminal: from what is known of the runs, the time, and the room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from pegboard_console.cells import cells, fitted
from pegboard_console.lines import Line, Tone, count
from pegboard_console.state import GraphView, NodeView, RunView, State, Wait
from pegboard_console.text import visible

SHARE_OF_SCREEN: Final = 3
"""One in so many rows is ours at most: the rest is for what has happened."""
MOST_ROWS: Final = 16
_STATES: Final = ("running", "failed", "waiting", "done", "absent", "skipped", "cancelled")
_TONES: Final[dict[str, Tone]] = {"running": "plain", "failed": "bad", "absent": "warn"}
_NAME: Final = 40
_MOST_NAMES: Final = 3
_SHORT_ID: Final = 8


class Size(NamedTuple):
    """The room on a terminal."""

    columns: int
    rows: int


def footer(state: State, now: float, size: Size, *, stopping: bool = False) -> list[Line]:
    """The live lines, none wider than the terminal: what goes on in the runs, and a line for each outermost run."""
    room = max(1, min(size.rows // SHARE_OF_SCREEN, MOST_ROWS))
    roots = list(state.roots.values())[-room:]
    named = len(roots) > 1
    details: list[Line] = []
    summaries: list[Line] = []
    for run in roots:
        more = _details(run, now, room - len(roots) - len(details))
        details += more
        facts = _facts(run, now, named=named, stopping=stopping, alone=not more)
        summaries.append(_summary(facts, size.columns - 1))
    whole = details + summaries
    return [Line(fitted(line.words, size.columns - 1), line.tone) for line in whole]


# --- the line of an outermost run ------------------------------------------------------------------------------------


class _Fact(NamedTuple):
    rank: int
    """Which ones stay where there is little room: the lowest."""
    words: str


def _summary(all: Iterable[_Fact], columns: int) -> Line:
    facts = [fact for fact in all if fact.words]
    while len(facts) > 1 and _width(facts) > columns:
        facts.remove(max(facts))
    return Line(" · ".join(fact.words for fact in facts), "faint")


def _width(facts: Sequence[_Fact]) -> int:
    return sum(cells(fact.words) + 3 for fact in facts) - 3


def _facts(run: RunView, now: float, *, named: bool, stopping: bool, alone: bool) -> Iterator[_Fact]:
    """What there is to say; `alone` where no line above tells of nodes and child runs."""
    spent = run.spent
    if stopping:
        yield _Fact(0, "stopping")
    if named:
        yield _Fact(3, f"run {visible(run.id[:_SHORT_ID])}")
    yield _Fact(2, (_inside(run) if alone else "") or visible(run.phase))
    yield _Fact(5, _turn(run))
    if spent.unsplit:
        yield _Fact(6, f"{count(spent.unsplit)} tokens")
    if spent.read or spent.written:
        cached = f" ({count(spent.cached)} cached)" if spent.cached else ""
        yield _Fact(6, f"{count(spent.read)} in{cached}")
        yield _Fact(7, f"{count(spent.written)} out")
    if spent.requests:
        yield _Fact(4, _money(spent.cost_usd) if spent.priced else "cost unknown")
    yield _Fact(1, elapsed(now - run.since))
    if run.context is not None:
        yield _Fact(9, f"context {run.context:.0%}".replace("%", " %"))
    tools = sum(len(each.tools) for each in _tree(run))
    if tools:
        yield _Fact(8, f"{tools} tool{'s' if tools > 1 else ''} running")


def _inside(run: RunView) -> str:
    """The nodes or child runs that go on in it, by name as far as that is short."""
    nodes = run.graph.running if run.graph is not None else {}
    names = [node.id for node in nodes.values()] or [child.agent for child in run.children.values()]
    if not names:
        return ""
    return f"{', '.join(visible(name, _NAME) for name in names) if len(names) <= _MOST_NAMES else len(names)} running"


def _tree(run: RunView) -> Iterator[RunView]:
    yield run
    for child in run.children.values():
        yield from _tree(child)


def _turn(run: RunView) -> str:
    if not run.turn:
        return ""
    return f"turn {run.turn}/{run.max_turns}" if run.max_turns else f"turn {run.turn}"


def _money(cost_usd: float) -> str:
    return "<$0.001" if 0 < cost_usd < 0.001 else f"${cost_usd:.3f}"


def elapsed(seconds: float) -> str:
    """Minutes and seconds, with hours where there are some."""
    whole = max(0, int(seconds))
    minutes = f"{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{whole // 3600}:{minutes}" if whole >= 3600 else minutes


# --- what goes on in it ----------------------------------------------------------------------------------------------


def _details(run: RunView, now: float, room: int) -> list[Line]:
    """Waits first, since they answer why nothing moves; then nodes or child runs, as far as there is room."""
    lines = [_waiting(wait, now) for wait in _waits(run)]
    lines += _graph(run, run.graph, now, room - len(lines)) if run.graph else _children(run, now)
    return _shortened(lines, room)


def _shortened(lines: list[Line], room: int) -> list[Line]:
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], Line(f"  and {len(lines) - room + 1} more", "faint")] if room > 0 else []


def _waits(run: RunView) -> Iterator[Wait]:
    return (each.wait for each in _tree(run) if each.wait is not None)


def _waiting(wait: Wait, now: float) -> Line:
    who = visible(wait.model.partition(":")[0] or "the model", _NAME)
    left = max(0, round(wait.until - now))
    return Line(
        f"waiting for {who}: {visible(wait.code, _NAME)}, next try in {left} s (try {wait.tries + 1}), Ctrl-C ends it",
        "warn",
    )


def _children(run: RunView, now: float, depth: int = 1) -> Iterator[Line]:
    for child in run.children.values():
        facts = " · ".join(filter(None, [_turn(child), _doing(child), elapsed(now - child.since)]))
        yield Line(f"{'  ' * depth}{visible(child.agent, _NAME)}: {facts}")
        yield from _children(child, now, depth + 1)


def _doing(run: RunView) -> str:
    if len(run.tools) == 1:
        return f"tool {visible(next(iter(run.tools.values())), _NAME)}"
    if run.tools:
        return f"{len(run.tools)} tools running"
    return "model" if run.asking else visible(run.phase)


def _graph(run: RunView, graph: GraphView, now: float, room: int) -> Iterator[Line]:
    """Where all nodes have room they stand still in their order; else those that run, those that failed, and counts."""
    counts = ", ".join(f"{graph.counts[state]} {state}" for state in _STATES if graph.counts[state])
    yield Line(f"{visible(graph.name, _NAME)}: {counts}")
    fits = len(graph.nodes) < room
    nodes = graph.nodes.values() if fits else [*graph.running.values(), *reversed(graph.failed.values())][: room - 1]
    width = max((cells(visible(node.id, _NAME)) for node in nodes), default=0)
    for node in nodes:
        name = visible(node.id, _NAME)
        yield Line(f"  {name}{' ' * (width - cells(name))}  {_node(run, node, now)}", _TONES.get(node.state, "faint"))


def _node(run: RunView, node: NodeView, now: float) -> str:
    if node.state != "running":
        return f"{visible(node.state)}: {visible(node.reason)}" if node.reason else visible(node.state)
    child = next((child for child in run.children.values() if child.agent == node.agent), None)
    own = [_turn(child), _doing(child)] if child is not None else []
    return " · ".join(filter(None, ["running", elapsed(now - node.since), *own]))


__all__ = ["MOST_ROWS", "SHARE_OF_SCREEN", "Size", "elapsed", "footer"]
