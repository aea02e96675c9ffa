"""What `peg run X` means: a file, `module:object`, the name of an agent, else the task for the default agent."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pegboard.errors import AgentError, UsageError
from pegboard.runtime import Pegboard
from pegboard.types import Agent

_SUFFIXES = (".yaml", ".yml", ".md")
_MODULE_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


async def resolve(board: Pegboard, words: Sequence[str], looked_up: int, default: str | None) -> tuple[Agent, int]:
    """The agent to run, and the number of the word that the task begins with."""
    if looked_up > 0:
        agent = await _target(board, words[0])
        if agent is not None:
            return agent, 1
    return await board.find_agent(default or board.config.get("agent")), 0


async def _target(board: Pegboard, word: str) -> Agent | None:
    if word.endswith(_SUFFIXES) and not any(map(str.isspace, word)):
        return _from_file(word)
    if _MODULE_OBJECT.fullmatch(word):
        return agent_object(word)
    if word in board.plugins.agents() or word in board.agents:
        return await board.find_agent(word)
    return None


def _from_file(name: str) -> Agent:
    if not Path(name).is_file():
        raise UsageError(f"there is no file `{name}`", hint=f"peg run -- {name}")
    raise AgentError(
        f"`{name}`: agents in files need the plugin `agentplug`, which is not installed",
        hint="peg plugins install pegboard-agentplug",
    )


def agent_object(target: str) -> Agent:
    """Import `module:object`, with the working folder in front of the path.

    Raises:
        AgentError: the module or the object is not there, or is no agent, or raised.
    """
    module_name, _, attribute = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise AgentError(f"`{target}` could not be loaded: {_told(error)}", hint=f"peg run -- {target}") from error
    if not isinstance(found, Agent):
        raise AgentError(f"`{target}` is no agent but a {type(found).__name__}", hint="peg init")
    return found


def _told(error: Exception) -> str:
    """What was raised, and in which line of whose file."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {error}{place}"


def inputs_for(agent: Agent, task: str) -> Any:
    """The task; for an agent with an input schema, the JSON in it.

    Raises:
        UsageError: the agent wants JSON and this is none.
    """
    if agent.config.input_schema is None:
        return task
    try:
        return json.loads(task)
    except ValueError as error:
        raise UsageError(
            f"agent `{agent.name}` takes JSON, and the task is none: {error}", hint=f"peg agents info {agent.name}"
        ) from error
