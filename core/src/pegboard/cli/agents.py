"""`peg agents`: which agents there are, what one is made of, and whether agents are sound."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from pegboard.cli.contract import Answer, command
from pegboard.cli.inventory import Inventory
from pegboard.cli.render import table
from pegboard.errors import AgentError, PegboardError
from pegboard.types import Agent


@command("list")
def list_agents() -> Answer:
    """List the agents that plugins offer, from their manifests; no plugin is imported."""
    rows = [
        {**agent, "plugin": record.id}
        for record in Inventory().selection.ready.values()
        for agent in (record.manifest or {}).get("contributes", {}).get("agents", ())
    ]
    rows.sort(key=lambda row: row["name"])
    shown = [[row["name"], row["plugin"], row.get("summary", "")] for row in rows]
    nothing = "no installed plugin offers an agent; one in code is run by `peg run module:object`"
    return Answer({"agents": rows}, table(["NAME", "PLUGIN", "SUMMARY"], shown) if shown else nothing)


@command("info")
@click.argument("target", metavar="NAME|MODULE:OBJECT")
def info(target: str) -> Answer:
    """Show one agent: its model, tools, limits and dependencies."""
    agent = asyncio.run(_load([target]))[0]
    if isinstance(agent, PegboardError):
        raise agent
    data = agent_json(agent)
    return Answer(data, "\n".join(f"{name}: {_shown(value)}" for name, value in data.items() if _shown(value)))


@command("validate")
@click.argument("targets", metavar="[NAME|MODULE:OBJECT]...", nargs=-1)
def validate(targets: tuple[str, ...]) -> Answer:
    """Check agents: names, versions, dependencies and conflicts. Without a name, all that plugins offer."""
    names = list(targets) or _offered()
    found = asyncio.run(_load(names))
    faults = {name: agent for name, agent in zip(names, found, strict=True) if isinstance(agent, PegboardError)}
    lines = [f"{name}: {faults[name].message if name in faults else 'sound'}" for name in names]
    data = {"agents": [{"name": name, "error": faults[name].to_json() if name in faults else None} for name in names]}
    error = AgentError(f"{len(faults)} of {len(names)} agents are not sound", hint="peg help agent.invalid")
    return Answer(data, "\n".join(lines) or "there are no agents to check", error=error if faults else None)


def _offered() -> list[str]:
    ready = Inventory().selection.ready.values()
    return [a["name"] for r in ready for a in (r.manifest or {}).get("contributes", {}).get("agents", ())]


async def _load(names: Sequence[str]) -> list[Agent | PegboardError]:
    """Each agent, or what is wrong with it, after it passed registration on one board."""
    from pegboard import config
    from pegboard.cli.targets import agent_object
    from pegboard.runtime import Pegboard

    found: list[Agent | PegboardError] = []
    async with Pegboard(autoload=True, config=config.load()) as board:
        for name in names:
            try:
                agent = await (board.add_agent(agent_object(name)) if ":" in name else board.find_agent(name))
            except PegboardError as error:
                found.append(error)
            else:
                found.append(agent)
    return found


def agent_json(agent: Agent) -> dict[str, Any]:
    """An agent's configuration as plain JSON; tools and modules by their names."""
    config = agent.config
    names = {"tools": [_name(tool) for tool in config.tools], "modules": [_name(item) for item in config.modules]}
    data: dict[str, Any] = msgspec.to_builtins(
        msgspec.structs.replace(config, tools=(), modules=(), output=None), enc_hook=repr
    )
    return {**data, **names, "output": None if config.output is None else _name(config.output)}


def _name(thing: object) -> str:
    name = thing if isinstance(thing, str) else getattr(thing, "name", None) or getattr(thing, "__name__", None)
    return str(name or repr(thing))


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items() if _shown(inner))
    return "" if value is None else str(value)
