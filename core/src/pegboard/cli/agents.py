"""`peg agents`: which agents there are, what one is made of, and whether agents are sound."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pegboard.agent_names import is_file, is_plain
from pegboard.cli.contract import Answer, command
from pegboard.cli.fields import fields
from pegboard.cli.inventory import Inventory
from pegboard.cli.render import table
from pegboard.errors import AgentError, PegboardError
from pegboard.types import Agent

if TYPE_CHECKING:
    from pegboard.plugins.offers import Kind
    from pegboard.runtime import Pegboard

_SCHEMAS = ("input_schema", "output", "answer")


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
@click.argument("target", metavar="NAME|MODULE:OBJECT|FILE")
def info(target: str) -> Answer:
    """Show one agent: its model, tools, limits and dependencies."""
    data = agent_json(asyncio.run(_load(target)))
    shown = {name: _block(value) if name in _SCHEMAS else _shown(value) for name, value in data.items()}
    shown["workflow"] = _nodes(data["workflow"])
    lines = (f"{name}:{text}" if text.startswith("\n") else f"{name}: {text}" for name, text in shown.items() if text)
    return Answer(data, "\n".join(lines))


@command("validate")
@click.argument("targets", metavar="[NAME|MODULE:OBJECT|FILE]...", nargs=-1)
def validate(targets: tuple[str, ...]) -> Answer:
    """Check agents: names, versions, dependencies, tools, modules, model. Without a name, all that plugins offer."""
    names = list(targets) or _offered()
    faults = dict(zip(names, asyncio.run(_judge(names)), strict=True))
    lines = [f"{name}: {text}" for name in names for text in [fault.message for fault in faults[name]] or ["sound"]]
    data = {"agents": [{"name": name, "errors": [fault.to_json() for fault in faults[name]]} for name in names]}
    unsound = sum(bool(faults[name]) for name in names)
    error = AgentError(
        f"{unsound} of {len(names)} agents {'is' if unsound == 1 else 'are'} not sound",
        hint=next((fault.hint for name in names for fault in faults[name] if fault.hint), None),
    )
    return Answer(data, "\n".join(lines) or "there are no agents to check", error=error if unsound else None)


def _offered() -> list[str]:
    ready = Inventory().selection.ready.values()
    return [a["name"] for r in ready for a in (r.manifest or {}).get("contributes", {}).get("agents", ())]


async def _load(name: str) -> Agent:
    async with _board() as board:
        return await _registered(board, name)


async def _judge(names: Sequence[str]) -> list[list[PegboardError]]:
    """What is wrong with each agent, after registration on one board."""
    async with _board() as board:
        return [await _faults(board, name) for name in names]


async def _faults(board: Pegboard, name: str) -> list[PegboardError]:
    try:
        agent = await _registered(board, name)
    except PegboardError as error:
        return [error]
    return [*_name_faults(agent), *_offer_faults(board, agent), *_model_faults(board, agent)]


def _board() -> Pegboard:
    from pegboard import config
    from pegboard.runtime import Pegboard

    return Pegboard(autoload=True, config=config.load())


async def _registered(board: Pegboard, name: str) -> Agent:
    from pegboard.cli.targets import agent_object

    if is_file(name):
        return await board.add_agent(await board.read_agent(name))
    return await (board.add_agent(agent_object(name)) if ":" in name else board.find_agent(name))


def _name_faults(agent: Agent) -> Iterator[PegboardError]:
    if not is_plain(agent.name):
        yield AgentError(
            f"the name `{agent.name}` must be letters, digits and `._/-`, and begin with a letter or digit, "
            "and not end as the name of a file does"
        )


def _offer_faults(board: Pegboard, agent: Agent) -> Iterator[PegboardError]:
    """Names of tools and modules that no plugin offers; `git.*` may fit none, as in a run."""
    from pegboard.shape import near

    wanted: dict[Kind, tuple[Any, ...]] = {"tools": agent.config.tools, "modules": agent.config.modules}
    for kind, given in wanted.items():
        known = list(board.plugins.offers.names(kind))
        for name in given:
            if isinstance(name, str) and name not in known and not (kind == "tools" and name.endswith("*")):
                yield AgentError(f"no plugin provides the {kind[:-1]} `{name}`{near(name, known)}")


def _model_faults(board: Pegboard, agent: Agent) -> Iterator[PegboardError]:
    """Of the model and of what is fallen back to, which may be agents."""
    config = agent.config
    for name in (config.model, *config.fallbacks):
        if isinstance(name, str) and name.startswith("agent:"):
            yield from _absent_agents(board, name.removeprefix("agent:"))
        elif isinstance(name, str):
            try:
                board.plugins.check_model(name)
            except PegboardError as error:
                yield error


def _absent_agents(board: Pegboard, name: str) -> Iterator[PegboardError]:
    from pegboard.shape import near

    known = [*board.plugins.agents(), *(agent.name for agent in board.agents)]
    if name not in known and not is_file(name):
        yield AgentError(f"`fallbacks` names the agent `{name}`, which is not there{near(name, known)}")


def agent_json(agent: Agent) -> dict[str, Any]:
    """An agent's configuration as plain JSON; tools and modules by their names."""
    config = agent.config
    names = {"tools": [_name(tool) for tool in config.tools], "modules": [_name(item) for item in config.modules]}
    data: dict[str, Any] = msgspec.to_builtins(
        msgspec.structs.replace(config, tools=(), modules=(), output=None, answer=None), enc_hook=repr
    )
    shapes = {"output": config.output, "answer": config.answer}
    return {**data, **names, **{key: _schema(value) for key, value in shapes.items()}}


def _schema(shape: Any) -> Any:
    """A JSON Schema as it is, a type by its name."""
    return shape if shape is None or isinstance(shape, Mapping) else _name(shape)


def _block(value: Any) -> str:
    """A schema as a table below its name; the name of a type as it is."""
    if not isinstance(value, Mapping):
        return _shown(value)
    told = fields(value)
    return textwrap.indent(f"\n{told}", "  ") if "\n" in told else told


def _nodes(graph: Any) -> str:
    """The nodes of a workflow by their names; what they are is for whoever runs workflows to show."""
    return ", ".join(map(str, graph.get("nodes", ()))) if isinstance(graph, Mapping) else ""


def _name(thing: object) -> str:
    name = thing if isinstance(thing, str) else getattr(thing, "name", None) or getattr(thing, "__name__", None)
    return str(name or repr(thing))


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items() if _shown(inner))
    return "" if value is None else str(value)
