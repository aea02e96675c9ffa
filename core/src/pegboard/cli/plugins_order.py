"""`peg plugins order` and `trace`: in which order a hook runs, and how its calls go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import click
import msgspec

from pegboard.cli.contract import Answer, Output, command, option
from pegboard.cli.inventory import Inventory
from pegboard.errors import UsageError
from pegboard.hookspecs import SPECS, Spec
from pegboard.plugins.packages import lockfile


@command("order")
@click.argument("hook")
def order(hook: str) -> Answer:
    """Show in which order the implementations of HOOK run, and why. No plugin is imported."""
    spec = _spec(hook)
    found = lockfile.arrangement(hook, Inventory().selection.ready.values())
    lines = [f"{hook} ({spec.kind}), {'outermost' if spec.kind == 'around' else 'earliest'} first"]
    lines += [f"  {number}. {row.plugin}: {'; '.join(row.reasons)}" for number, row in enumerate(found.rows, 1)]
    lines += [f"  warning: these wishes contradict one another: {' → '.join(cycle)}" for cycle in found.cycles]
    if not found.rows:
        lines.append(f"  nobody: {spec.nobody or 'nothing happens'}")
    data = {"hook": hook, "kind": spec.kind, "nobody": spec.nobody, **msgspec.to_builtins(found)}
    return Answer(data, "\n".join(lines))


def _spec(hook: str) -> Spec:
    if hook not in SPECS:
        near = get_close_matches(hook, SPECS, n=3)
        meant = f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""
        raise UsageError(f"there is no hook `{hook}`{meant}", hint="peg plugins order --help")
    return SPECS[hook]


@command("trace")
@click.argument("hook")
@click.argument("task", nargs=-1, required=True)
@option("-m", "--model", help="The model to run with.", show_default="the setting `model`")
def trace(hook: str, task: tuple[str, ...], model: str | None) -> Answer:
    """Run TASK as `peg run` would, and show each call of HOOK as it happens.

    Hooks that provide something to the board, and `on_event`, are not traced.
    """
    from pegboard.cli.watch import hook_lines

    spec = _spec(hook)
    if hook == "on_event" or spec.family == "providers":
        raise UsageError(
            f"`{hook}` cannot be traced: it is called for the board and not inside a run, or for every event",
            hint=f"peg plugins order {hook}",
        )
    out = Output.current()
    calls: list[Mapping[str, Any]] = []

    def tell(call: Mapping[str, Any]) -> None:
        calls.append(call)
        out.write("\n".join(hook_lines([call])) + "\n")

    return asyncio.run(_traced(hook, task, model, tell, calls))


async def _traced(
    hook: str, task: tuple[str, ...], model: str | None, tell: Any, calls: list[Mapping[str, Any]]
) -> Answer:
    from pegboard.cli import targets
    from pegboard.cli.approve import Approver
    from pegboard.cli.inputs import inputs_for
    from pegboard.cli.run import answer_of_run, settings_of
    from pegboard.cli.watch import HookWatcher
    from pegboard.runtime import Pegboard

    settings = settings_of({"model": model, "agent": None})
    async with Pegboard(
        autoload=True, config=settings, plugins=[Approver(Output.current()), HookWatcher(hook, tell)]
    ) as board:
        board.locate_agents(targets.agent_object)
        agent, start, _ = await targets.resolve(board, task, len(task))
        result = await board.run(agent, inputs_for(agent, task[start:]), check=False, explain=True)
        answer = answer_of_run(result, Output.current(), summary=False)
    answer.data = {"hook": hook, "calls": calls, "run": answer.data}
    answer.text = "" if calls else f"`{hook}` was not called, or nobody implements it"
    return answer
