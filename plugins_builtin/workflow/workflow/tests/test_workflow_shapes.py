"""Ready patterns, the builder, and pictures."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from pegboard import Agent, Pegboard
from pegboard.types import evolve
from pegboard_testing import MakeBoard
from pegboard_workflow import (
    Flow,
    Workflow,
    WorkflowAgent,
    fan_out,
    loop_until,
    pipeline,
    review_chain,
    workflow_of,
)
from pegboard_workflow.check import problems_of
from pegboard_workflow.layout import layers, layout
from pegboard_workflow.model import data_of
from pegboard_workflow.picture import mermaid, svg, text
from pegboard_workflow.plugin import Plugin


class Says(Agent):
    """An agent that wraps its input, or fails."""

    async def execute(self, ctx: Any, state: Any, turns: Any) -> Any:
        if self.name.startswith("bad"):
            raise ValueError("no")
        return evolve(state, output={self.name: ctx.input})


@pytest.fixture
async def board(make_board: MakeBoard) -> Pegboard:
    return await make_board(plugins=[Plugin()])


async def output_of(board: Pegboard, workflow: Workflow, given: Any = "x") -> Any:
    return (await board.run(WorkflowAgent(workflow), given)).output


async def test_pipeline(board: Pegboard) -> None:
    """Each takes what the one before gave."""
    assert await output_of(board, pipeline("p", [Says("a"), Says("b")])) == {"b": {"a": "x"}}


async def test_review_chain(board: Pegboard) -> None:
    """Security and performance see the review, the approval sees all; one that may fail is null to it."""
    chain = review_chain(
        review=Says("r"), security=Says("s"), performance=Says("bad"), approval=Says("ok"), optional=["performance"]
    )
    output = await output_of(board, chain, "diff")

    review = {"r": {"change": "diff"}}
    security = {"s": {"change": "diff", "review": review}}
    everything = {"review": review, "security": security, "performance": None}
    assert output == {**everything, "approval": {"ok": {"change": "diff", **everything}}}


async def test_fan_out(board: Pegboard) -> None:
    """One for each item, and one for all."""
    workflow = fan_out("f", items="$input.list", worker=Says("w"), join=len)

    assert await output_of(board, workflow, {"list": [1, 2, 3]}) == 3


async def test_loop_until(board: Pegboard) -> None:
    """Until the condition holds, and never beyond the bound."""
    workflow = loop_until("l", worker=Says("w"), until="$output.w.last is present", at_most=3)

    assert await output_of(board, workflow) == {"w": {"input": "x", "last": {"w": {"input": "x", "last": None}}}}


def test_patterns_are_sound() -> None:
    """By themselves; agents are found when they run."""
    patterns = [
        pipeline("p", {"a": "x", "b": "y"}),
        review_chain(),
        fan_out("f", items="$input", worker="w"),
        loop_until("l", worker="w", until="$output.ok", at_most=2),
    ]
    for workflow in patterns:
        assert problems_of(workflow) == []
        assert workflow_of(data_of(workflow)) == workflow


def test_the_builder_writes_what_yaml_would() -> None:
    """References become text, inside f-strings too."""
    flow = Flow("f", input={"type": "object"})
    a = flow.add("a", agent="x", inputs={"path": flow.input["path"], "text": f"about {flow.input['path']}"})
    flow.add("b", agent="y", foreach=a["files"], inputs=flow.item["name"], when=f"{a!s} is present", needs=[a])
    flow.output = {"b": a["odd key"].or_none()}

    assert data_of(flow.build()) == {
        "name": "f",
        "input": {"type": "object"},
        "nodes": {
            "a": {"agent": "x", "inputs": {"path": "$input.path", "text": "about ${input.path}"}},
            "b": {
                "agent": "y",
                "foreach": "$nodes.a.files",
                "inputs": "$item.name",
                "when": "$nodes.a is present",
                "needs": ["a"],
            },
        },
        "output": {"b": '$nodes.a["odd key"]?'},
    }


def test_a_reference_is_not_gone_over_in_python() -> None:
    """What it stands for is known when the workflow runs."""
    with pytest.raises(TypeError, match="foreach"):
        list(Flow("f").input)  # type: ignore[call-overload]  # that is the point


# --- pictures ----------------------------------------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m"


def drawing(nodes: dict[str, Any], **fields: Any) -> Workflow:
    return workflow_of({"nodes": nodes, **fields}, "drawing")


DIAMOND = drawing(
    {
        "start": {"agent": "a"},
        "left": {"agent": "b", "inputs": "$nodes.start", "required": False},
        "right": {"agent": "c", "inputs": "$nodes.start", "when": "$nodes.start.ok"},
        "end": {"agent": "d", "inputs": ["$nodes.left?", "$nodes.right?", "$nodes.start"]},
    }
)


def test_layers_are_by_the_longest_way() -> None:
    """A node stands behind everything that it needs."""
    assert layers({"a": [], "b": ["a"], "c": ["a", "b"], "x": []}) == {"a": 0, "b": 1, "c": 2, "x": 0}


def test_edges_go_around_what_stands_between() -> None:
    """One that spans columns has a point in each."""
    found = layout({"a": [], "b": ["a"], "c": ["a", "b"]})

    assert [("a",), ("a", "c", "1"), ("c",)] in found.edges
    assert [len(column) for column in found.columns] == [1, 2, 1]


def test_mermaid() -> None:
    """Optional nodes are rounded, conditional edges dotted."""
    assert mermaid(DIAMOND) == (
        "flowchart LR\n"
        '    n0["start<br/><small>a</small>"]\n'
        '    n1("left<br/><small>b</small>")\n'
        '    n2["right<br/><small>c</small>"]\n'
        '    n3["end<br/><small>d</small>"]\n'
        "    n0 --> n1\n    n0 -.-> n2\n    n1 --> n3\n    n2 --> n3\n    n0 --> n3\n"
    )


def test_text() -> None:
    """Each node with what it waits for."""
    assert text(DIAMOND).splitlines() == [
        "drawing",
        "4 nodes, 16 at once",
        "- start: a",
        "  - left: b, after start, optional",
        "  - right: c, after start, when $nodes.start.ok",
        "    - end: d, after left, right, start",
    ]


def test_svg_is_one_file_that_needs_nothing_else() -> None:
    """It is sound XML, has light and dark, and names no address but its own namespace."""
    picture = svg(DIAMOND)
    root = ET.fromstring(picture)

    assert root.attrib["role"] == "img"
    assert "prefers-color-scheme:dark" in picture
    assert re.findall(r"https?://[^\"]+", picture) == [root.tag[1:].partition("}")[0]]
    assert len(root.findall("{*}g")) == 4
    assert len(root.findall("{*}path[@class='edge']")) == 5


def test_texts_of_others_are_escaped_in_every_picture() -> None:
    """Names of agents and conditions can neither leave their place nor move a cursor."""
    workflow = drawing({"a": {"agent": HOSTILE}, "b": {"agent": HOSTILE * 9, "needs": ["a"]}}, description=HOSTILE)
    picture = svg(workflow)

    ET.fromstring(picture)
    assert "<script" not in picture
    assert html.escape("<script>") in picture
    assert "\x1b" not in picture + text(workflow) + mermaid(workflow)
    assert "<script" not in mermaid(workflow)


@pytest.mark.parametrize("count", [1, 30])
def test_boxes_do_not_lie_on_one_another(count: int) -> None:
    """Thirty nodes with long edges are still told apart."""
    needs = {i: [f"n{j}" for j in (i - 1, i - 3, i // 2) if 0 <= j < i] for i in range(count)}
    nodes = {f"n{i}": {"agent": "x", "needs": needs[i]} for i in range(count)}
    boxes = [
        tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        for box in ET.fromstring(svg(drawing(nodes))).iter()
        if box.attrib.get("class", "").startswith("node")
    ]

    assert len(boxes) == count
    for number, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, *_ in boxes[number + 1 :]:
            assert abs(x - other_x) >= width or abs(y - other_y) >= height


def test_a_large_graph_is_drawn_in_reasonable_time() -> None:
    """A thousand nodes, wide and deep."""
    wide = {"n0": {"agent": "x"}, **{f"n{i}": {"agent": "x", "needs": ["n0"]} for i in range(1, 1000)}}
    deep = {f"n{i}": {"agent": "x", "needs": [f"n{i - 1}"] if i else []} for i in range(1000)}

    for nodes in (wide, deep):
        assert svg(drawing(nodes)).count("<g>") == 1000
