"""Another life of a recorded run: its agent must be found again, wherever it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pegboard.agent_names import is_module_object
from pegboard.cli import targets
from pegboard.cli.contract import Output
from pegboard.errors import AgentError, AgentNotFoundError, RunBusyError, UsageError
from pegboard.interfaces import RunRow, StoreControl
from pegboard.runtime import Pegboard
from pegboard.types import Agent, ResourceLimits, RunResult


async def bring_agent(board: Pegboard, found: RunRow) -> None:
    """Have the agent of a recorded run on the board; one of `module:object` or a file is looked for there again.

    Raises:
        AgentNotFoundError: it is not where it was; the hint says what may help.
    """
    if board.store is None:
        return
    row, _, _ = await board.store.load(found.run)  # with its input, which rows that are looked up leave out
    options = row.input["options"] if row.input else {}
    try:
        target = options.get("target")
        if target is None:
            await board.find_agent(row.agent)
        else:
            await board.add_agent(await _there(board, row, target))
    except AgentError as error:
        raise _gone(row, options, error) from error


async def _there(board: Pegboard, row: RunRow, target: str) -> Agent:
    """The agent that `module:object` or a file holds now; the graph of a workflow as it was when the run began."""
    if is_module_object(target):
        return targets.agent_object(target)
    graph = row.input.get("workflow") if isinstance(row.input, dict) else None
    if isinstance(graph, dict):  # what is recorded fits no other one
        _warn_if_written(row, target, "the run goes on with the workflow as it was when it began")
        return Agent(row.agent, version=str(graph.get("version", "0")), workflow=graph)
    agent = await board.read_agent(target)
    if agent.name != row.agent:
        raise AgentNotFoundError(f"`{target}` holds agent `{agent.name}` now, and the run began with `{row.agent}`")
    _warn_if_written(row, target, "if it tells the model anything else now, the run cannot go on")
    return agent


def _warn_if_written(row: RunRow, file: str, consequence: str) -> None:
    if Path(file).is_file() and Path(file).stat().st_mtime > row.at:
        Output.current().warn(f"`{file}` was written since; {consequence}")


def _gone(row: RunRow, options: dict[str, Any], error: AgentError) -> AgentNotFoundError:
    target = options.get("target")
    decision = targets.off_board(row.agent) if target is None else None
    message, hint = error.message, error.hint
    if decision is not None:
        message = f"it is of plugin `{decision.id}`, which is not on the board: {decision.message or 'it was left out'}"
        hint = decision.hint or f"peg plugins info {decision.id}"
    elif target is not None:
        there = options.get("workspace") or "."
        is_elsewhere = is_module_object(target) and Path(there) != Path.cwd()
        hint = f"cd {there}" if is_elsewhere else f"peg runs show {row.run}"
    return AgentNotFoundError(f"the agent of run `{row.run}` is not there: {message}", hint=hint)


async def resume(board: Pegboard, run: str, limits: ResourceLimits | None = None) -> RunResult:
    """Go on with a run, under other limits where some are given.

    Raises:
        UsageError: it is a child run, which goes on with the run that started it.
        RunBusyError: another process drives it.
    """
    row = await _row(board, run)
    if row is not None:
        await _check_free(board, row)
        await bring_agent(board, row)
    result = await board.resume(run, check=False, limits=limits)
    if isinstance(result.error, RunBusyError):  # since then
        result.error.hint = _follow(run)
    return result


async def _row(board: Pegboard, run: str) -> RunRow | None:
    rows = await board.store.runs(prefix=run, limit=1) if board.store is not None else ()
    return rows[0] if rows and rows[0].run == run else None


async def _check_free(board: Pegboard, row: RunRow) -> None:
    if row.root != row.run:
        raise UsageError(
            f"`{row.run}` is a child run, which goes on with run `{row.root}`", hint=f"peg runs resume {row.root}"
        )
    if isinstance(board.store, StoreControl) and await board.store.driven([row.run]):
        raise RunBusyError(f"run `{row.run}` is being driven by another process", hint=_follow(row.run), run=row.run)


def _follow(run: str) -> str:
    return f"peg runs events {run} --follow"


def board_here() -> Pegboard:
    """A board of every installed plugin, which works in the current folder; not open yet."""
    board = Pegboard(autoload=True, workspace=Path.cwd())
    board.locate_agents(targets.agent_object)
    return board
