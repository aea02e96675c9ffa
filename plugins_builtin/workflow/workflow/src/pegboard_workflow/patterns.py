"""Ready patterns: workflows of the shapes that most people need, as plain `Workflow` values.

An agent in them is a name, an `Agent` or another workflow. Each takes the input of the workflow as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import UNSET
from pegboard.types import JsonObject

from pegboard_workflow.model import NO_RETRY, Node, Repeat, Retry, Workflow

REVIEW_STAGES: Final = ("review", "security", "performance")


def pipeline(name: str, agents: Mapping[str, Any] | Sequence[Any], **fields: Any) -> Workflow:
    """One agent after another; each takes what the one before gave.

    Args:
        name: of the workflow
        agents: by the name of the node, or in order
        fields: further fields of `Workflow`
    """
    named = agents if isinstance(agents, Mapping) else {f"step{number}": item for number, item in enumerate(agents, 1)}
    nodes: dict[str, Node] = {}
    before = "$input"
    for node, agent in named.items():
        nodes[node] = Node(agent=agent, inputs=before)
        before = f"$nodes.{node}"
    return Workflow(name=name, nodes=nodes, **fields)


def review_chain(
    name: str = "review-chain",
    *,
    review: Any = "reviewer",
    security: Any = "security-reviewer",
    performance: Any = "performance-reviewer",
    approval: Any = "approver",
    optional: Sequence[str] = ("performance",),
    **fields: Any,
) -> Workflow:
    """Review, then security and performance with the review in hand, then the approval with all three.

    Args:
        name: of the workflow
        review: takes `change`
        security: takes `change` and `review`
        performance: the same
        approval: takes `change`, `review`, `security` and `performance`; those that are `optional` may be null
        optional: stages whose failure does not stop the chain
        fields: further fields of `Workflow`
    """
    seen: JsonObject = {"change": "$input"}
    nodes = {"review": Node(agent=review, inputs=seen, required="review" not in optional)}
    for stage, agent in (("security", security), ("performance", performance)):
        inputs = {**seen, "review": _result("review", optional)}
        nodes[stage] = Node(agent=agent, inputs=inputs, required=stage not in optional)
    everything = {stage: _result(stage, optional) for stage in REVIEW_STAGES}
    nodes["approval"] = Node(agent=approval, inputs={**seen, **everything})
    output = {**everything, "approval": "$nodes.approval"}
    return Workflow(name=name, nodes=nodes, **{"output": output, **fields})


def fan_out(
    name: str,
    *,
    items: Any,
    worker: Any,
    join: Any = None,
    inputs: Any = UNSET,
    concurrency: int = 4,
    required: bool = True,
    retry: Retry = NO_RETRY,
    **fields: Any,
) -> Workflow:
    """One agent for each item, and where there is a `join`, another one for the list of all results.

    Args:
        name: of the workflow
        items: a reference such as `$input.files`, or a list
        worker: takes one item, or what `inputs` makes of `$item`
        join: an agent that takes the list, or a function with one argument
        inputs: what the worker is given
        concurrency: items at once
        required: whether one item that fails is the failure of all
        retry: for each item
        fields: further fields of `Workflow`
    """
    each = Node(agent=worker, foreach=items, inputs=inputs, concurrency=concurrency, required=required, retry=retry)
    nodes = {"each": each}
    if join is not None:
        nodes["join"] = _worker(join, inputs="$nodes.each")
    return Workflow(name=name, nodes=nodes, **fields)


def loop_until(
    name: str,
    *,
    worker: Any,
    until: str,
    at_most: int,
    inputs: Any = UNSET,
    at_limit: Literal["fail", "last"] = "fail",
    **fields: Any,
) -> Workflow:
    """One agent again and again, until a condition on its `$output` holds, at most so many times.

    Args:
        name: of the workflow
        worker: takes `input`, and `last`, which is what it gave in the round before, or what `inputs` makes of them
        until: a condition such as `$output.approved`
        at_most: rounds
        inputs: what the worker is given, of `$input`, `$last` and `$round`
        at_limit: fail when there were too many rounds, or take the last output
        fields: further fields of `Workflow`
    """
    given = {"input": "$input", "last": "$last"} if inputs is UNSET else inputs
    repeat = Repeat(until=until, at_most=at_most, at_limit=at_limit)
    return Workflow(name=name, nodes={"loop": _worker(worker, inputs=given, repeat=repeat)}, **fields)


def _worker(target: Any, **fields: Any) -> Node:
    """A node for an agent, or for a function."""
    is_function = callable(target) and not hasattr(target, "config")
    return Node(run=target, **fields) if is_function else Node(agent=target, **fields)


def _result(stage: str, optional: Sequence[str]) -> str:
    return f"$nodes.{stage}?" if stage in optional else f"$nodes.{stage}"
