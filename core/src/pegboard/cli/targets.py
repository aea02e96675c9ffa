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

from pegboard.errors import AgentError, UsageError, describe
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
    if word.endswith(".py"):
        _refuse_python_file(Path(word))
    return None


def _refuse_python_file(path: Path) -> None:
    """A file of Python that is there, where `module:object` is meant."""
    if not path.is_file():
        return
    named = re.search(r"^(\w+)\s*=\s*\w*Agent\(", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    meant = f"{'.'.join(path.with_suffix('').parts)}:{named[1] if named else 'agent'}"
    raise UsageError(f"`{path}` is a file of Python; did you mean `{meant}`?", hint=f'peg run {meant} "…"')


def _from_file(name: str) -> Agent:
    if not Path(name).is_file():
        raise UsageError(f"there is no file `{name}`", hint=f"peg run -- {name}")
    raise AgentError(
        f"`{name}`: an agent in such a file needs a plugin that reads it, and none is installed",
        hint="peg plugins list --all",
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
        module = import_module(module_name)
    except Exception as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]
        hint = f"peg run -- {target}" if absent else f'python -c "import {module_name}"'
        raise AgentError(f"`{target}` could not be loaded: {_told(error)}", hint=hint) from error
    found: object = module
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        agents = [name for name, value in vars(module).items() if isinstance(value, Agent)]
        raise AgentError(
            f"`{target}` could not be loaded: {describe(error)} ({getattr(module, '__file__', None) or 'no file'})"
            + (f"; its agents are {', '.join(f'`{name}`' for name in agents)}" if agents else ""),
            hint=f"peg run {module_name}:{agents[0]}" if agents else f"peg run -- {target}",
        ) from error
    if not isinstance(found, Agent):
        raise AgentError(f"`{target}` is no agent but a {type(found).__name__}", hint="peg init")
    return found


def _told(error: Exception) -> str:
    """What was raised, and in which line of whose file: what cannot be parsed has no frame, and says so itself."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {describe(error)}{place}"


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
