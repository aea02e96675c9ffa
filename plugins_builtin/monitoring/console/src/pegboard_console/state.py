"""What the live display knows of the runs that go on: events are folded into it, and nothing of it is drawn here.

A key that an event lacks leaves its part as it was, since events of older cores and of other plugins are folded too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from pegboard.events import Event

ENDED: Final = frozenset({"done", "failed", "absent", "skipped", "cancelled"})
"""States of workflow nodes that do not change any more."""


class Spent:
    """What model requests have used, with those of child runs."""

    __slots__ = ("cached", "cost_usd", "priced", "read", "requests", "unsplit", "written")

    def __init__(self) -> None:
        self.requests = 0
        self.read = self.written = self.cached = 0
        self.unsplit = 0
        """Tokens of requests that said only how many there were in all."""
        self.cost_usd = 0.0
        self.priced = True

    def add(self, data: dict[str, Any]) -> None:
        """The end of one request."""
        usage = data.get("usage") or data
        self.requests += 1
        if usage.get("input_tokens") is None:
            self.unsplit += data.get("tokens") or 0
        else:
            self.read += usage["input_tokens"]
            self.written += usage.get("output_tokens") or 0
            self.cached += usage.get("cache_read_tokens") or 0
        cost = data.get("cost_usd")
        self.priced = self.priced and cost is not None
        self.cost_usd += cost or 0.0


class Wait:
    """Why nothing happens for a while."""

    __slots__ = ("code", "model", "run", "tries", "until")

    def __init__(self, run: str, model: str, code: str, until: float, tries: int) -> None:
        self.run = run
        self.model = model
        self.code = code
        self.until = until
        self.tries = tries
        """How often it was tried in vain."""


class NodeView:
    """A node of a workflow."""

    __slots__ = ("agent", "id", "reason", "since", "state")

    def __init__(self, id: str, agent: str) -> None:
        self.id = id
        self.agent = agent
        self.state = "waiting"
        self.since = 0.0
        self.reason = ""


class GraphView:
    """The nodes of a workflow: counted by state, so that one of ten thousand nodes is drawn as fast as one of ten."""

    def __init__(self, name: str, nodes: list[NodeView]) -> None:
        self.name = name
        self.nodes = {node.id: node for node in nodes}
        self.counts = Counter({"waiting": len(nodes)})
        self.running: dict[str, NodeView] = {}
        self.failed: dict[str, NodeView] = {}

    def fold(self, event: Event) -> None:
        """A node changed its state."""
        data = event.data
        node = self.nodes.get(str(data.get("node")))
        state = str(data.get("state"))
        if node is None or node.state == state:
            return
        self.counts[node.state] -= 1
        self.counts[state] += 1
        self.running.pop(node.id, None)
        node.state, node.since, node.reason = state, event.at, str(data.get("reason") or data.get("code") or "")
        node.agent = str(data.get("agent") or node.agent)
        if state == "running":
            self.running[node.id] = node
        elif state == "failed":
            self.failed[node.id] = node


class RunView:
    """One run that goes on."""

    def __init__(self, event: Event, above: RunView | None) -> None:
        self.id = event.run
        self.agent = str(event.data.get("agent") or event.agent or "agent")
        self.above = above
        self.since = event.at
        self.phase = ""
        self.turn = 0
        self.max_turns: int | None = event.data.get("max_turns")
        self.model = ""
        self.asking = False
        """Whether a request to the model is under way."""
        self.tools: dict[str, str] = {}
        """Names of the tools that run, by step."""
        self.context: float | None = None
        """Which share of its tokens the context has used."""
        self.wait: Wait | None = None
        self.tries: Counter[str] = Counter()
        self.spent = Spent()
        self.graph: GraphView | None = None
        self.children: dict[str, RunView] = {}


class State:
    """All runs that go on, outermost ones first."""

    def __init__(self) -> None:
        self.roots: dict[str, RunView] = {}
        self._runs: dict[str, RunView] = {}

    def fold(self, event: Event) -> None:
        """Take in what happened."""
        if event.kind in ("run.started", "run.resumed"):
            self._begin(event)
            return
        run = self._runs.get(event.run)
        fold = _FOLDS.get(event.kind)
        if run is not None and fold is not None:
            fold(run, event)
        if event.kind == "run.finished":
            self._end(event.run)

    def _begin(self, event: Event) -> None:
        if event.run in self._runs:
            return
        above = self._runs.get(event.parent) if event.parent else None
        run = self._runs[event.run] = RunView(event, above)
        (self.roots if above is None else above.children)[event.run] = run

    def _end(self, id: str) -> None:
        run = self._runs.pop(id, None)
        if run is None:
            return
        (self.roots if run.above is None else run.above.children).pop(id, None)
        for child in list(run.children):  # of a run that was torn away nobody tells any more
            self._end(child)


# --- what each kind changes ------------------------------------------------------------------------------------------


def _phase_entered(run: RunView, event: Event) -> None:
    run.phase = str(event.data.get("phase") or "").removesuffix("_phase").replace("_", " ")
    run.wait = None


def _phase_error(run: RunView, event: Event) -> None:
    data = event.data
    delay = (data.get("change") or {}).get("delay_s")
    if data.get("decision") == "retry" and isinstance(delay, (int, float)) and delay > 0:
        step = str(data.get("step"))
        run.tries[step] += 1
        code = str(data.get("code") or "it failed")
        run.wait = Wait(run.id, run.model, code, event.at + delay, run.tries[step])


def _step_started(run: RunView, event: Event) -> None:
    data = event.data
    op, step = str(data.get("op")), str(data.get("step"))
    run.wait = None
    if op == "model.request":
        run.asking = True
        run.model = str(data.get("model") or run.model)
        number = step.rpartition("#")[2]
        run.turn = max(run.turn, int(number)) if number.isdecimal() else run.turn + 1
    elif op.startswith("tool.call:"):
        run.tools[step] = op.partition(":")[2]


def _step_ended(run: RunView, event: Event) -> None:
    data = event.data
    if data.get("op") != "model.request":
        run.tools.pop(str(data.get("step")), None)
        return
    run.asking = False
    if event.kind == "step.done":
        above: RunView | None = run
        while above is not None:
            above.spent.add(data)
            above = above.above


def _context_built(run: RunView, event: Event) -> None:
    used, budget = event.data.get("used"), event.data.get("budget")
    if isinstance(used, int) and isinstance(budget, int) and budget > 0:
        run.context = used / budget


def _graph(run: RunView, event: Event) -> None:
    nodes = [NodeView(str(node["id"]), str(node.get("agent") or "")) for node in event.data.get("nodes") or ()]
    run.graph = GraphView(str(event.data.get("name") or run.agent), nodes)


def _node(run: RunView, event: Event) -> None:
    if run.graph is not None:
        run.graph.fold(event)


_FOLDS: Final[dict[str, Callable[[RunView, Event], None]]] = {
    "phase.entered": _phase_entered,
    "phase.error": _phase_error,
    "step.started": _step_started,
    "step.done": _step_ended,
    "step.failed": _step_ended,
    "context.built": _context_built,
    "workflow.graph": _graph,
    "workflow.node": _node,
}

__all__ = ["ENDED", "GraphView", "NodeView", "RunView", "Spent", "State", "Wait"]
