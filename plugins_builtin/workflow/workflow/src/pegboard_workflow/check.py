"""Everything that can be known to be wrong with a workflow before anything runs, all of it told at once.

First what the workflow itself says, then, with the agents at hand, whether they are there and whether data fits.
"""

from __future__ import annotations

import inspect
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET
from pegboard.shape import near

from pegboard_workflow.conditions import BadCondition, Condition
from pegboard_workflow.errors import Problem
from pegboard_workflow.model import Node, Share, Workflow
from pegboard_workflow.plan import CONTEXT, inputs_of, targets_of, transforms_of
from pegboard_workflow.references import NAME, BadReference, Reference, references
from pegboard_workflow.transforms import NAMED

MAX_CYCLES: Final = 20
MAX_SHARE: Final = 1e12
"""Of tokens or dollars; whatever is more was meant to be no limit."""
_VALID_NAME: Final = re.compile(NAME)
_WORKFLOW_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*")
_FOREACH: Final = frozenset(("item", "index"))
_REPEAT: Final = frozenset(("last", "round"))


def problems_of(workflow: Workflow, prefix: str = "") -> list[Problem]:
    """What is wrong with a workflow by itself, nested ones included; `prefix` goes before the names of its nodes."""
    check = _Check(workflow, prefix)
    check.name()
    for name, node in workflow.nodes.items():
        check.node(name, node)
    check.output()
    check.cycles()
    return check.problems


class _Check:
    def __init__(self, workflow: Workflow, prefix: str) -> None:
        self.problems: list[Problem] = []
        self._workflow = workflow
        self._prefix = prefix
        self._needs: dict[str, dict[str, None]] = {name: {} for name in workflow.nodes}
        """Of each node those that it waits for and that there are."""

    def name(self) -> None:
        name = self._workflow.name
        if not _WORKFLOW_NAME.fullmatch(name):
            self._add("schema", None, f"`{name[:80]}` is no name of a workflow", "letters, digits and `._/-`")

    def node(self, name: str, node: Node) -> None:
        if not _VALID_NAME.fullmatch(name):
            self._add("schema", name, f"`{name}` is no name of a node", "letters, digits, `_` and `-`, a letter first")
        self._work(name, node)
        for need in node.needs:
            if need in self._needs:
                self._needs[name][need] = None
            else:
                self._add("needs", name, f"it needs `{need}`, which is not there{self._near(need)}")
        there = (_FOREACH if node.foreach is not None else frozenset()) | (_REPEAT if node.repeat else frozenset())
        self._references(name, inputs_of(node), "inputs", there)
        self._references(name, node.foreach, "foreach", frozenset())
        self._condition(name, node.when, "when", frozenset())
        if node.repeat is not None:
            self._condition(name, node.repeat.until, "until", there | {"output"})

    def output(self) -> None:
        self._references(None, None if self._workflow.output is UNSET else self._workflow.output, "output", frozenset())

    def cycles(self) -> None:
        """Each circle once, as `a -> b -> a`."""
        for circle in _circles(self._needs):
            path = " -> ".join(circle)
            self._add("cycle", circle[0], f"nodes need one another in a circle: {path}", "take one of the needs away")

    def _work(self, name: str, node: Node) -> None:
        transforms = transforms_of(node)
        if node.agent is not None and node.run is not None:
            self._add("schema", name, "it has both `agent` and `run`", "one of the two")
        if node.agent is None and node.run is None and not transforms:
            self._add("schema", name, "it has nothing to do", "agent: NAME")
        if node.foreach is not None and node.repeat is not None:
            self._add("schema", name, "it has both `foreach` and `repeat`", "a nested workflow for one of the two")
        self._targets(name, node)
        for key, share in (("tokens", node.tokens), ("cost_usd", node.cost_usd)):
            self._share(name, key, share)
        if node.run is not None:
            self._function(name, node)

    def _share(self, name: str, key: str, share: Share | None) -> None:
        if share is None:
            return
        for part, amount in (("min", share.min), ("optimal", share.optimal)):
            if amount is not None and not 0 <= amount <= MAX_SHARE:  # nor what is no number at all
                text = f"`{key}`: `{part}` is {amount:g}, and must be a number from 0 to {MAX_SHARE:g}"
                self._add("schema", name, text)

    def _targets(self, name: str, node: Node) -> None:
        for target in targets_of(node):
            if isinstance(target, Workflow):
                self.problems += problems_of(target, f"{self._prefix}{name}/")
            elif not isinstance(target, str) and not hasattr(target, "config"):
                self._add("schema", name, f"`{target!r:.80}` is no agent and no workflow", "agent: NAME")
        for item in transforms_of(node):
            if isinstance(item, str) and item not in NAMED:
                self._add("transform", name, f"there is no transform `{item}`{near(item, list(NAMED))}")
            elif not isinstance(item, str) and not callable(item):
                self._add("transform", name, f"`{item!r:.80}` is no transform")

    def _function(self, name: str, node: Node) -> None:
        data = inputs_of(node)
        if not callable(node.run):
            self._add("function", name, f"`run` is {node.run!r:.80}, and must be a function")
            return
        try:
            signature = inspect.signature(node.run)
        except (TypeError, ValueError):
            return
        extra = {CONTEXT: None} if CONTEXT in signature.parameters else {}
        named = isinstance(data, Mapping)
        try:
            signature.bind(*(() if named else (None,)), **{**(data if named else {}), **extra})
        except TypeError as exc:
            self._add("function", name, f"its function does not take its inputs: {exc}")

    def _references(self, name: str | None, data: Any, where: str, there: frozenset[str]) -> None:
        if isinstance(data, str | list | tuple | Mapping):
            try:
                for reference in references(data):
                    self._reference(name, reference, where, there)
            except BadReference as exc:
                self._add("reference", name, f"`{where}`: {exc}")

    def _condition(self, name: str, text: str | None, where: str, there: frozenset[str]) -> None:
        if text is None:
            return
        try:
            condition = Condition(text)
        except BadCondition as exc:
            self._add("condition", name, f"`{where}`: `{text[:80]}`: {exc}")
            return
        for reference in condition.references:
            self._reference(name, reference, where, there)

    def _reference(self, name: str | None, reference: Reference, where: str, there: frozenset[str]) -> None:
        if reference.root == "input":
            return
        if reference.node is None:
            if reference.root not in there:
                needs = {"item": "foreach", "index": "foreach", "output": "`until`"}.get(reference.root, "repeat")
                self._add("reference", name, f"`{where}`: `{reference}` is there only with {needs}")
        elif reference.node not in self._needs:
            text = f"`{where}`: `{reference}`: there is no node `{reference.node}`{self._near(reference.node)}"
            self._add("reference", name, text)
        elif name is not None:
            self._needs[name][reference.node] = None

    def _near(self, name: str) -> str:
        return near(name, list(self._needs)) if len(self._needs) <= 1000 else ""

    def _add(self, code: str, node: str | None, message: str, hint: str = "") -> None:
        place = f"{self._prefix}{node}" if node is not None else self._prefix.rstrip("/") or None
        self.problems.append(Problem(code=f"workflow.{code}", message=message, node=place, hint=hint))


def _circles(needs: Mapping[str, Mapping[str, None]]) -> Iterator[Sequence[str]]:
    """Circles that share no node, in the order in which data would flow; without recursion, for there may be many."""
    left = _never_ready(needs)
    for _ in range(MAX_CYCLES):
        if not left:
            return
        circle = _circle(needs, left)
        yield circle
        left = _never_ready({name: needs[name] for name in left if name not in circle})


def _never_ready(needs: Mapping[str, Mapping[str, None]]) -> dict[str, None]:
    """Those that wait for a circle, or are in one."""
    missing = {name: sum(need in needs for need in wanted) for name, wanted in needs.items()}
    followers: dict[str, list[str]] = {name: [] for name in needs}
    for name, wanted in needs.items():
        for need in wanted:
            if need in followers:
                followers[need].append(name)
    ready = deque(name for name, count in missing.items() if count == 0)
    while ready:
        name = ready.popleft()
        del missing[name]
        for follower in followers[name]:
            missing[follower] -= 1
            if missing[follower] == 0:
                ready.append(follower)
    return dict.fromkeys(missing)


def _circle(needs: Mapping[str, Mapping[str, None]], left: Mapping[str, None]) -> list[str]:
    """Walk from what waits to what it waits for, until a node comes again."""
    name = next(iter(left))
    way: dict[str, None] = {}
    while name not in way:
        way[name] = None
        name = next(need for need in needs[name] if need in left)
    names = list(way)
    circle = names[names.index(name) :][::-1]
    start = circle.index(min(circle))
    circle = [*circle[start:], *circle[:start]]
    return [*circle, circle[0]]
