"""What is found wrong before anything runs: all of it, each with its place and its code."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pegboard import Agent, Pegboard
from pegboard_testing import MakeBoard
from pegboard_workflow import Flow, Problem, WorkflowAgent, WorkflowInvalidError, workflow_of
from pegboard_workflow.check import problems_of
from pegboard_workflow.errors import MOST_TOLD, PROBLEMS
from pegboard_workflow.plugin import Plugin

STRING = {"type": "string"}


def found(data: dict[str, Any]) -> list[Problem]:
    """The problems of a workflow that is given as data."""
    try:
        return problems_of(workflow_of(data))
    except WorkflowInvalidError as error:
        return list(error.problems)


def node(**fields: Any) -> dict[str, Any]:
    """A workflow of one node."""
    return {"nodes": {"a": fields}}


@pytest.mark.parametrize(
    ("data", "code", "place", "said"),
    [
        ([], "schema", None, "a workflow is a mapping, and this is a list"),
        ({"nodes": {}}, "schema", None, "must be a mapping of nodes"),
        ({"nodes": {"a": {"transform": "text"}}, "ouptut": 1}, "schema", None, "did you mean `output`?"),
        (node(agnet="x"), "schema", "a", "there is no key `agnet`; did you mean `agent`?"),
        (node(agent="x", timeout_s="soon"), "schema", "a", "`timeout_s`: expected `float | null`"),
        (node(agent="x", retry={"attempts": 0}), "schema", "a", "expected `int` >= 1"),
        (node(run="os.system"), "schema", "a", "there is no key `run`"),
        (node(), "schema", "a", "nothing to do"),
        (node(agent=5), "schema", "a", "`5` is no agent"),
        ({"nodes": {"a b": {"transform": "text"}}}, "schema", "a b", "is no name of a node"),
        (node(transform="text", foreach=[1], repeat={"until": "true", "at_most": 1}), "schema", "a", "both"),
        (node(transform="text", needs=["b"]), "needs", "a", "needs `b`, which is not there"),
        (node(transform="text", inputs="$nodes.b"), "reference", "a", "there is no node `b`"),
        (node(transform="text", inputs="$nods.b"), "reference", "a", "`$nods.b` is no reference"),
        (node(transform="text", inputs={"x": ["${input.}"]}), "reference", "a", "is no reference"),
        (node(transform="text", inputs="$item"), "reference", "a", "is there only with foreach"),
        (node(transform="text", when="$round > 1"), "reference", "a", "is there only with repeat"),
        ({**node(transform="text"), "output": "$nodes.c"}, "reference", None, "there is no node `c`"),
        (node(transform="text", when="1 +"), "condition", "a", "`+` cannot be read"),
        (node(transform="text", when="__import__('os')"), "condition", "a", "cannot be read"),
        (node(transform="shout"), "transform", "a", "there is no transform `shout`; did you mean"),
        (node(transform="text", inputs="$nodes.a"), "cycle", "a", "a -> a"),
        (node(agent={"nodes": {"b": {}}}), "schema", "a/b", "nothing to do"),
    ],
)
def test_a_problem_has_code_place_and_words(data: Any, code: str, place: str | None, said: str) -> None:
    """What is wrong, and in which node."""
    (problem,) = [problem for problem in found(data) if said in problem.message]

    assert (problem.code, problem.node) == (f"workflow.{code}", place)
    assert problem.code in PROBLEMS


def test_all_problems_are_told_at_once() -> None:
    """One round of mending is enough."""
    data = {"nodes": {"a": {"agnet": "x", "timeout_s": -1}, "b": {"transform": "shout", "needs": ["c"]}}}

    assert len(found(data)) == 2  # what has the wrong shape comes first
    del data["nodes"]["a"]
    assert len(found(data)) == 2


def test_a_circle_is_printed_in_the_order_of_its_data() -> None:
    """`a -> b -> c -> a`, each circle once, and not what only waits for it."""
    nodes = {
        "c": {"transform": "text", "inputs": "$nodes.b"},
        "a": {"transform": "text", "inputs": "$nodes.c"},
        "b": {"transform": "text", "needs": ["a"]},
        "waits": {"transform": "text", "inputs": "$nodes.a"},
        "x": {"transform": "text", "when": "$nodes.y"},
        "y": {"transform": "text", "inputs": "${nodes.x}!"},
    }
    messages = [problem.message for problem in found({"nodes": nodes})]

    assert messages == [
        "nodes need one another in a circle: a -> b -> c -> a",
        "nodes need one another in a circle: x -> y -> x",
    ]


def test_a_function_must_take_the_inputs() -> None:
    """Names and number are compared before it is called."""
    flow = Flow("flow")
    flow.add("a", run=lambda x: x, inputs={"y": 1})
    (problem,) = problems_of(flow.build())

    assert (problem.code, problem.node) == ("workflow.function", "a")


def test_a_name_given_twice_in_python() -> None:
    """The second is not silently the first."""
    flow = Flow("flow")
    flow.add("a", transform="text")
    flow.add("a", transform="text")

    with pytest.raises(WorkflowInvalidError, match="a second node has the name `a`"):
        flow.build()


def test_a_long_list_of_problems_is_cut_in_the_message_only() -> None:
    """All of them are in `problems` and in the JSON."""
    error = WorkflowInvalidError("w", found({"nodes": {f"n{i}": {} for i in range(50)}}))

    assert f"and {50 - MOST_TOLD} more" in error.message
    assert len(error.to_json()["problems"]) == 50


# --- with agents -------------------------------------------------------------------------------------------------


@pytest.fixture
async def board(make_board: MakeBoard) -> Pegboard:
    return await make_board(plugins=[Plugin()])


async def judged(board: Pegboard, data: dict[str, Any]) -> list[Problem]:
    """What is wrong with a workflow whose agents are on the board."""
    try:
        await WorkflowAgent(workflow_of(data)).bound(board.find_agent)
    except WorkflowInvalidError as error:
        return list(error.problems)
    return []


async def test_unknown_agents_are_found_everywhere(board: Pegboard) -> None:
    """As the agent, as a fallback, in a nested workflow; each with its node."""
    await board.add_agent(Agent("known"))
    nodes = {
        "a": {"agent": "konwn"},
        "b": {"agent": "known", "fallback": ["nobody"]},
        "c": {"agent": {"nodes": {"d": {"agent": "no-one"}}}},
    }
    problems = await judged(board, {"nodes": nodes})

    assert [(problem.code, problem.node) for problem in problems] == [
        ("workflow.agent", "a"), ("workflow.agent", "b"), ("workflow.agent", "c/d")
    ]  # fmt: skip
    assert "`known`" in problems[0].message


async def test_an_agent_named_as_module_and_object(board: Pegboard) -> None:
    """Only where whoever made the board said how it is found: to import it would run code."""
    nodes = {"nodes": {"a": {"agent": "crew:reviewer", "inputs": {"n": 1}}}}
    (refused,) = await judged(board, nodes)
    schema: dict[str, Any] = {"type": "object", "properties": {"path": STRING}, "required": ["path"]}
    board.locate_agents({"crew:reviewer": Agent("reviewer", input_schema=schema)}.__getitem__)
    (misfit,) = await judged(board, nodes)

    assert (refused.code, refused.hint) == ("workflow.agent", 'python -c "import crew"')
    assert "the input of agent `reviewer`" in misfit.message


async def test_workflows_that_run_one_another_in_a_circle(board: Pegboard) -> None:
    """The circle is printed, whether it is of one or of several."""
    await board.add_agent(Agent("one", workflow={"nodes": {"a": {"agent": "two"}}}))
    await board.add_agent(Agent("two", workflow={"nodes": {"b": {"agent": "one"}}}))
    (circle,) = await judged(board, {"name": "one", "nodes": {"a": {"agent": "two"}}})
    (itself,) = await judged(board, {"name": "one", "nodes": {"a": {"agent": "one"}}})

    assert (circle.node, "one -> two -> one" in circle.message) == ("a/b", True)
    assert "one -> one" in itself.message


async def test_data_that_does_not_fit_is_found(board: Pegboard) -> None:
    """On each edge: from agent to agent, from the workflow's input, into its output; a transform bridges."""
    given = {"type": "object", "properties": {"lines": {"type": "array", "items": STRING}}, "required": ["lines"]}
    await board.add_agent(Agent("gives", output=given))
    taken = {"type": "object", "properties": {"text": STRING}, "required": ["text"]}
    await board.add_agent(Agent("takes", input_schema=taken))
    nodes: dict[str, Any] = {
        "gives": {"agent": "gives"},
        "list": {"agent": "takes", "inputs": {"text": "$nodes.gives.lines"}},
        "item": {"agent": "takes", "inputs": {"text": "$nodes.gives.lines[0]"}},
        "gone": {"agent": "takes", "inputs": {"text": "$nodes.gives.words"}},
        "none": {"agent": "takes", "inputs": {}},
        "input": {"agent": "takes", "inputs": {"text": "$input.number"}},
        "bridge": {"transform": "join", "inputs": "$nodes.gives.lines"},
        "fits": {"agent": "takes", "inputs": {"text": "$nodes.bridge"}},
    }
    workflow = {
        "nodes": nodes,
        "input": {"type": "object", "properties": {"number": {"type": "integer"}}},
        "output": {"n": "$input.number"},
        "output_schema": {"type": "object", "properties": {"n": STRING}},
    }
    problems = await judged(board, workflow)

    assert {problem.node: problem.message.partition(": ")[2] for problem in problems} == {
        "list": "`text` is array, and must be string",
        "gone": "there is no `words`; there is `lines`",
        "none": "`text` is missing",
        "input": "`text` is integer, and must be string",
        None: "`n` is integer, and must be string",
    }
    assert {problem.code for problem in problems} == {"workflow.type"}


@pytest.mark.parametrize(
    ("transform", "inputs", "said"),
    [
        ("json", "$input", "the transform `json`: it is object, and must be string"),
        ("keys", "$input.text", "the transform `keys`: it is string, and must be object"),
        (["keys", "json"], "$input", "the transform `json`: it is array, and must be string"),
        ("count", "$input.number", "the transform `count`: it is integer, and must be string or array or object"),
        ("json", "$input.text", None),
        (["json", "keys"], "$input.text", None),
        ("text", "$input", None),
    ],
)
async def test_a_transform_of_what_it_does_not_take_is_found(
    board: Pegboard, transform: Any, inputs: str, said: str | None
) -> None:
    """Of its node's input where it stands alone, and of what the transform before it gives."""
    workflow = {
        "input": {"type": "object", "properties": {"number": {"type": "integer"}, "text": STRING}},
        "nodes": {"a": {"transform": transform, "inputs": inputs}},
    }
    problems = await judged(board, workflow)

    assert [problem.message for problem in problems] == ([said] if said else [])


async def test_a_transform_of_what_an_agent_gives_is_judged_too(board: Pegboard) -> None:
    """The same, behind an agent."""
    await board.add_agent(Agent("gives", output={"type": "object"}))
    (problem,) = await judged(board, {"nodes": {"a": {"agent": "gives", "transform": "json"}}})

    assert (problem.code, problem.node) == ("workflow.type", "a")


async def test_foreach_over_what_is_no_list_is_found(board: Pegboard) -> None:
    """And its items have the type that the list says."""
    output = {"type": "object", "properties": {"n": {"type": "integer"}, "names": {"type": "array", "items": STRING}}}
    await board.add_agent(Agent("gives", output={**output, "required": ["n", "names"]}))
    taken = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    await board.add_agent(Agent("takes", input_schema=taken))
    nodes = {
        "gives": {"agent": "gives"},
        "number": {"transform": "text", "foreach": "$nodes.gives.n"},
        "names": {"agent": "takes", "foreach": "$nodes.gives.names", "inputs": {"n": "$item"}},
    }
    problems = {problem.node: problem.message for problem in await judged(board, {"nodes": nodes})}

    assert problems == {
        "number": "`foreach`: it is integer, and must be array",
        "names": "the input of agent `takes`: `n` is string, and must be integer",
    }


async def test_nothing_runs_that_is_wrong(board: Pegboard) -> None:
    """The run fails with every problem, and no node began."""
    data = {"nodes": {"fine": {"transform": "text"}, "wrong": {"agent": "nobody"}}}
    result = await board.run(WorkflowAgent(workflow_of(data)), "go", check=False)

    assert isinstance(result.error, WorkflowInvalidError)
    assert [event for event in result.events if event.kind.startswith("workflow.")] == []


# --- size --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["wide", "deep", "circle"])
def test_ten_thousand_nodes_are_checked_in_reasonable_time(shape: str) -> None:
    """Also in one chain, and where the chain is a circle: nothing recurses, nothing is quadratic."""
    count = 10_000
    nodes: dict[str, Any] = {"n0": {"transform": "text", "inputs": "$nodes.n9999" if shape == "circle" else "$input"}}
    for number in range(1, count):
        before = "n0" if shape == "wide" else f"n{number - 1}"
        nodes[f"n{number}"] = {"transform": "text", "inputs": f"$nodes.{before}"}
    began = time.process_time()
    problems = found({"nodes": nodes})

    assert time.process_time() - began < 10
    assert [problem.code for problem in problems] == (["workflow.cycle"] if shape == "circle" else [])


@pytest.mark.parametrize("shape", ["wide", "deep"])
async def test_ten_thousand_nodes_run(board: Pegboard, shape: str) -> None:
    """Wide and deep; a skip goes through a chain of them without recursion."""

    async def next_number(n: int) -> int:
        return n + 1

    flow = Flow("many")
    last = flow.add("n0", run=next_number, inputs={"n": 0})
    first = last
    for number in range(1, 10_000):
        last = flow.add(f"n{number}", run=next_number, inputs={"n": first if shape == "wide" else last})
    flow.output = last

    assert (await board.run(flow.agent())).output == (2 if shape == "wide" else 10_000)


async def test_a_chain_of_ten_thousand_is_skipped(board: Pegboard) -> None:
    """What goes through the whole graph is a queue and no recursion."""
    nodes: dict[str, Any] = {"n0": {"transform": "text", "when": "false"}}
    for number in range(1, 10_000):
        nodes[f"n{number}"] = {"transform": "text", "inputs": f"$nodes.n{number - 1}"}
    data = {"nodes": nodes, "output": {"last": "$nodes.n9999?"}}

    assert (await board.run(WorkflowAgent(workflow_of(data)), "x")).output == {"last": None}
