"""`peg workflow`: which workflows there are, what one looks like, whether they are sound, and running one."""

from __future__ import annotations

import asyncio
import os
import shlex
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from pegboard import Pegboard, config
from pegboard.cli.contract import Answer, Output, command, option
from pegboard.cli.fields import fields
from pegboard.cli.inputs import Commands
from pegboard.cli.render import table
from pegboard.cli.run import GIVEN, Given
from pegboard.cli.run import run as run_agent
from pegboard.cli.targets import agent_object
from pegboard.errors import PegboardError
from pegboard.shape import near
from pegboard.types import Agent

from pegboard_workflow import library, picture
from pegboard_workflow.agent import WorkflowAgent
from pegboard_workflow.errors import Problem, WorkflowInvalidError, WorkflowNotFoundError
from pegboard_workflow.model import data_of

_PICTURES: Final[dict[str, Callable[[Any], str]]] = {
    "text": picture.text,
    "mermaid": picture.mermaid,
    "svg": picture.svg,
}
_SHOWN: Final = 50
"""Problems that are printed for people; all of them are in `--json`."""


@command("list")
def list_workflows() -> Answer:
    """List the workflows that can be run by name, of plugins and of files."""
    rows = asyncio.run(_on_board(_rows))
    shown = [[row["name"], row["plugin"] or "", str(row["nodes"]), row["description"]] for row in rows]
    nothing = "there are no workflows; put one into `.pegboard/workflows`, or install a plugin that has some"
    return Answer({"workflows": rows}, table(["NAME", "FROM", "NODES", "DESCRIPTION"], shown) if shown else nothing)


@command("show")
@click.argument("target", metavar="NAME|FILE")
@option("--format", "kind", type=click.Choice(list(_PICTURES)), default="text", help="What to make of it.")
def show(target: str, kind: str) -> Answer:
    """Show a workflow: its nodes and what each waits for, as text, Mermaid or SVG."""
    agent = asyncio.run(_on_board(lambda board: _found(board, target)))
    if agent.problems:
        raise _unsound(target, agent.name, agent.problems)
    drawn = _PICTURES[kind](agent.workflow)
    if kind == "text" and agent.workflow.input is not None:
        drawn += f"\n\ninput:\n{textwrap.indent(fields(agent.workflow.input), '  ')}"
    graph = agent.plan.graph if agent.plan is not None else []
    data = {"name": agent.name, "nodes": graph, "format": kind, "picture": drawn, "workflow": data_of(agent.workflow)}
    return Answer(data, drawn)


@command("check")
@click.argument("targets", metavar="[NAME|FILE]...", nargs=-1)
def check(targets: tuple[str, ...]) -> Answer:
    """Check workflows whole: keys, references, circles, agents, and whether data fits. Nothing is run.

    Without a name, all that can be run by name, and those of the project whether or not it is trusted. The module of an
    agent that is named as `module:object` is imported.
    """
    problems = asyncio.run(_on_board(lambda board: _judged(board, targets)))
    lines = [line for name, found in problems.items() for line in _verdict(name, found)]
    data = {"workflows": [{"name": name, "problems": msgspec.to_builtins(found)} for name, found in problems.items()]}
    unsound = {name: found for name, found in problems.items() if found}
    error = None
    if unsound:
        name, found = next(iter(unsound.items()))
        error = _unsound(name, name, found)
        error.message = f"{len(unsound)} of {len(problems)} workflows are not sound"
    return Answer(data, "\n".join(lines) or "there are no workflows to check", error=error)


@command("run", stream=True, context_settings={"ignore_unknown_options": True})
@click.argument("target", metavar="NAME|FILE")
@click.argument("words", metavar="[INPUT]... [OPTIONS OF peg run]", nargs=-1, type=click.UNPROCESSED)
def run(target: str, words: tuple[str, ...]) -> Answer:
    """Run a workflow; INPUT is text, or JSON where the workflow has an input schema.

    A workflow with a name is run as `peg run NAME` would, with the same options. A file that is named here is run
    without asking whether its folder is trusted.
    """
    here = click.get_current_context()
    if _is_file(target):
        here.meta[GIVEN] = _given(target)
    else:
        words = (asyncio.run(_on_board(lambda board: _found(board, target))).name, *words)
    with run_agent.make_context("peg workflow run", [*words], parent=here) as context:
        assert run_agent.callback is not None
        answer: Answer = run_agent.callback(**context.params)
    return answer


def _unsound(target: str, name: str, problems: Sequence[Problem]) -> WorkflowInvalidError:
    """The error with the command that helps: what is wrong is told already, and is mended in the file."""
    error = WorkflowInvalidError(name, problems)
    error.hint = config.edit_hint(target) if _is_file(target) else f"peg help {problems[0].code}"
    return error


def _given(file: str) -> Given:
    """The workflow of a file, as the agent to run. Raises `WorkflowInvalidError`."""
    try:
        workflow = library.load_workflow(file)
    except WorkflowInvalidError as error:
        raise _unsound(file, Path(file).stem, error.problems) from error
    # As data: the plugin makes it into what runs, here and in whatever process goes on with the run.
    agent: Agent = Agent(workflow.name, version=workflow.version, workflow=data_of(workflow))
    shown = shlex.quote(file)
    commands = Commands(file, f"peg workflow run {shown}", f"peg workflow show {shown}")
    return Given(agent, str(Path(file).absolute()), commands)


# --- finding -----------------------------------------------------------------------------------------------------


async def _on_board(work: Callable[[Pegboard], Any]) -> Any:
    async with Pegboard(autoload=True, config=config.load()) as board:
        board.locate_agents(agent_object)
        return await work(board)


async def _found(board: Pegboard, target: str) -> WorkflowAgent:
    """The workflow of a file or name. Raises `WorkflowNotFoundError`."""
    if _is_file(target):
        found = await board.add_agent(library.look_at(Path(target)).agent(max_parallel=_max_parallel()))
    elif target not in board.plugins.agents():
        names = [row["name"] for row in await _rows(board)]
        raise WorkflowNotFoundError(f"there is no workflow `{target}`{near(target, names)}")
    else:
        found = await board.find_agent(target)
    if not isinstance(found, WorkflowAgent):
        raise WorkflowNotFoundError(f"`{target}` is an agent, and no workflow", hint=f"peg agents info {target}")
    return found


async def _rows(board: Pegboard) -> list[dict[str, Any]]:
    """Every workflow among the agents of the board. An agent that cannot be loaded is none."""
    rows = []
    for name, plugin in board.plugins.agents().items():
        try:
            agent = await board.find_agent(name)
        except PegboardError as error:
            Output.current().warn(f"agent `{name}`: {error.message}")
            continue
        if isinstance(agent, WorkflowAgent):
            rows.append(
                {
                    "name": name,
                    "plugin": plugin,
                    "nodes": len(agent.workflow.nodes),
                    "description": agent.config.description,
                    "sound": not agent.problems,
                }
            )
    return rows


async def _judged(board: Pegboard, targets: Sequence[str]) -> dict[str, Sequence[Problem]]:
    names = list(targets) or [row["name"] for row in await _rows(board)]
    problems: dict[str, Sequence[Problem]] = {}
    for name in names:
        agent = await _found(board, name)
        try:
            await agent.bound(board.find_agent)
            problems[name] = ()
        except WorkflowInvalidError as error:
            problems[name] = error.problems
    if not targets:
        problems |= {str(path): found for path, found in _of_project(names)}
    return problems


def _of_project(known: Sequence[str]) -> list[tuple[Path, Sequence[Problem]]]:
    """The project's files that are no agents here, since it is not trusted."""
    folder = library.project_folder()
    found = library.in_paths([str(folder)]) if folder is not None else []
    return [(each.path, each.problems) for each in found if each.name not in known]


def _verdict(name: str, problems: Sequence[Problem]) -> list[str]:
    if not problems:
        return [f"{name}: sound"]
    more = len(problems) - _SHOWN
    lines = [f"{name}: {problem}" for problem in problems[:_SHOWN]]
    return [*lines, f"{name}: and {more} more"] if more > 0 else lines


def _is_file(target: str) -> bool:
    return target.endswith(library.SUFFIXES) or os.sep in target


def _max_parallel() -> int:
    most: int = config.load(tolerant=True).get("plugins.workflow.max_parallel", 64)
    return most
