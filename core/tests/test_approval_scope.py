"""For what an approval holds: one call, or every further call of the tool in a run and its child runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from pegboard import Agent, ToolContext, tool
from pegboard.types import Action, Approval, ApprovalRequest, Ask
from pegboard_replay import ScriptedModel, call

if TYPE_CHECKING:
    from core.tests.conftest import Bench


@tool
async def deploy(target: str) -> str:
    """Deploy."""
    return target


@tool
async def remove(target: str) -> str:
    """Remove."""
    return target


class Person:
    """Grants everything with one scope, and counts."""

    def __init__(self, scope: Literal["once", "run", "project"], granted: bool = True) -> None:
        self.scope, self.granted = scope, granted
        self.asked: list[str] = []

    def answer(self, request: ApprovalRequest) -> Approval:
        self.asked.append(request.action.resource)
        return Approval(id=request.id, granted=self.granted, scope=self.scope)


def careful(action: Action) -> Ask | None:
    return Ask("sure?") if action.verb == "tool.call" else None


CALLS: list[Any] = [call("deploy", target="a"), call("deploy", target="b"), call("remove", target="a"), "done"]


@pytest.mark.parametrize(
    ("scope", "asked"),
    [("once", ["deploy", "deploy", "remove"]), ("run", ["deploy", "remove"]), ("project", ["deploy", "remove"])],
)
async def test_a_scope_says_how_often_a_person_is_asked(bench: Bench, scope: Any, asked: list[str]) -> None:
    """`run` is this tool with any arguments, and no other tool; core keeps `project` as long."""
    person = Person(scope)
    bench.plug(authorize=careful, request_approval=lambda request: person.answer(request))

    result = await bench.run(ScriptedModel(CALLS), tools=[deploy, remove])

    assert (result.output, person.asked) == ("done", asked)


async def test_a_refusal_holds_once(bench: Bench) -> None:
    """Whatever scope it came with: the next call may be another."""
    person = Person("run", granted=False)
    bench.plug(authorize=careful, request_approval=lambda request: person.answer(request))

    await bench.run(ScriptedModel(CALLS), tools=[deploy, remove])

    assert person.asked == ["deploy", "deploy", "remove"]


async def test_another_plugin_that_asks_is_another_question(bench: Bench) -> None:
    """What one rule asked does not answer a stricter one."""
    person = Person("run")
    bench.plug("first", authorize=careful, request_approval=lambda request: person.answer(request))
    bench.plug("strict", authorize=lambda action: Ask("really?") if action.arguments == {"target": "b"} else None)

    await bench.run(ScriptedModel([*CALLS[:2], "done"]), tools=[deploy])

    assert person.asked == ["deploy", "deploy"]


async def test_child_runs_have_what_was_granted_above_them(bench: Bench) -> None:
    """And what a child was granted ends with it."""
    person = Person("run")
    bench.plug(authorize=careful, request_approval=lambda request: person.answer(request))

    @tool(effect="pure")
    async def ask(ctx: ToolContext) -> str:
        """Ask a child."""
        child = Agent(
            name="child",
            model=ScriptedModel([call("deploy", target="c"), call("remove", target="c"), "ok"]),
            tools=[deploy, remove],
        )
        return str((await ctx.run.call_agent(child, "x")).output)

    script: list[Any] = [call("ask"), call("deploy", target="a"), call("ask"), "done"]
    await bench.run(ScriptedModel(script), tools=[deploy, ask])

    assert person.asked == ["ask", "deploy", "remove", "deploy", "remove"]


async def test_a_resumed_run_remembers(bench: Bench) -> None:
    """The recorded answer holds for what the other life did not come to."""
    person = Person("run")
    bench.plug(authorize=careful, request_approval=lambda request: person.answer(request))
    before = await bench.run(ScriptedModel([call("deploy", target="a")]), tools=[deploy])

    after = await bench.resume(before, ScriptedModel([call("deploy", target="b"), "done"]), tools=[deploy])

    assert (after.output, person.asked) == ("done", ["deploy"])
