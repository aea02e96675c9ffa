"""`scripted:demo` and the plugin that offers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from pegboard import Agent, HostContext, Message, tool
from pegboard.types import ModelRequest, ModelResponse, ToolSpec
from pegboard_replay import DemoModel, RecordingModel, ReplayModel, ScriptedModel
from pegboard_replay.demo import fill_arguments
from pegboard_replay.plugin import Plugin


@tool(effect="pure", inline=True)
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


async def answer(*messages: Message, tools: tuple[ToolSpec, ...] = ()) -> ModelResponse:
    return await DemoModel().send(ModelRequest(model="scripted:demo", messages=messages, tools=tools), lambda e: None)


def spec(**properties: Any) -> ToolSpec:
    return ToolSpec("t", "", {"type": "object", "properties": properties, "required": list(properties)})


async def test_it_calls_a_tool_and_says_what_it_answered() -> None:
    """The first turn calls the tool with numbers of the task, the second one reports."""
    model, agent = DemoModel(), Agent("adder", tools=[add])

    first = await model.get_response(agent, "What is 19 plus 23?")
    second = await model.get_response(agent, first.messages)

    assert second.output == "The tool `add` answered: 42"


async def test_it_gives_the_same_answer_every_time() -> None:
    """Nothing but the request decides."""
    question = Message.user("add 1 and two")

    assert await answer(question, tools=(add.spec,)) == await answer(question, tools=(add.spec,))


async def test_the_tool_that_speaks_like_the_task_is_called() -> None:
    """Not the first one that happens to take a text, which may delete what it names."""
    properties = {"path": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["path"]}
    tools = tuple(
        ToolSpec(name, text, schema) for name, text in [("x.delete", "Delete a file."), ("x.count", "Count.")]
    )

    response = await answer(Message.user("Count the words of 'a b'"), tools=tools)

    assert response.tool_calls[0].name == "x.count"


async def test_without_a_tool_that_fits_it_says_so() -> None:
    """No tool is called with invented arguments."""
    response = await answer(Message.user("Hello?"), tools=(add.spec,))

    assert response.text.startswith('You asked "Hello?".')


async def test_a_later_task_is_a_new_one() -> None:
    """Results of an earlier task do not count for the current one."""
    model, agent = DemoModel(), Agent("adder", tools=[add])
    first = await model.get_response(agent, "1 + 2")

    again = await model.get_response(agent, [*first.messages, Message.user("3 + 4")])

    assert again.messages[-1].parts[0].structured == 7  # type: ignore[union-attr]  # a tool result


async def test_structured_output_is_filled_in() -> None:
    """Where `final_output` is offered it is called last, with what the task holds."""
    wanted = ToolSpec("final_output", "", spec(count={"type": "integer"}, note={"type": "string"}).input_schema)

    response = await answer(Message.user("count to 3"), tools=(wanted,))

    assert response.tool_calls[0].arguments["count"] == 3
    assert "count to 3" in response.tool_calls[0].arguments["note"]


async def test_usage_is_marked_as_estimated() -> None:
    """Words are counted, and nobody is told that they are tokens of a provider."""
    response = await answer(Message.user("one two three"))

    assert (response.usage.input_tokens, response.usage.source) == (3, "estimated")


@pytest.mark.parametrize(
    ("tool", "task", "arguments"),
    [
        (spec(a={"type": "integer"}, b={"type": "number"}), "add 2 and 2.5", {"a": 2, "b": 2.5}),
        (spec(a={"type": "integer"}), "nothing here", None),
        (spec(name={"type": "string"}), "greet 'Ada'", {"name": "Ada"}),
        (spec(path={"type": "string"}), "read src/main.py please", {"path": "src/main.py"}),
        (spec(path={"type": "string"}), "what is in this folder?", {"path": "."}),
        (spec(query={"type": "string"}), "find me", {"query": "find me"}),
        (spec(name={"type": "string"}), "greet", None),
        (spec(deep={"type": "boolean"}, mode={"enum": ["a", "b"]}), "x", {"deep": False, "mode": "a"}),
        (spec(n={"type": "integer", "default": 5}), "x", {"n": 5}),
        (spec(items={"type": "array"}), "x", None),
        (ToolSpec("t", "", {"type": "object"}), "x", {}),
    ],
    ids=["numbers", "no number", "quoted", "path", "here", "whole", "no string", "closed", "default", "array", "none"],
)
def test_arguments_come_from_the_task(tool: ToolSpec, task: str, arguments: dict[str, Any] | None) -> None:
    """Each required argument is found in the task or by default; else the tool does not fit."""
    assert fill_arguments(tool, task) == arguments


async def test_the_plugin_offers_models_by_name(tmp_path: Path) -> None:
    """`scripted:demo` and `replay:PATH` are ours; any other name and `auto` are not."""
    path = tmp_path / "c.json"
    await RecordingModel(ScriptedModel(["x"]), path).send(
        ModelRequest(model="scripted:script", messages=(Message.user("hi"),)), lambda event: None
    )
    ctx = cast(HostContext, None)

    names = ("scripted:demo", f"replay:{path}", "auto", "demo", "scripted:other", "replay:")
    models = [Plugin().provide_model(ctx, name) for name in names]

    assert [type(model) for model in models[:2]] == [DemoModel, ReplayModel]
    assert models[2:] == [None] * 4
