"""What `peg run X` means: a file, `module:object`, the name of an agent, else the task for the default agent."""

from __future__ import annotations

import glob
import re
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from pegboard import agent_files, folders
from pegboard.agent_names import FILE_SUFFIXES, is_file, is_module_object, is_plain
from pegboard.cli.contract import Output
from pegboard.cli.inventory import Inventory
from pegboard.config import PROJECT_FOLDER, find_project, load
from pegboard.errors import AgentError, AgentNotFoundError, UntrustedConfigError, UsageError, describe
from pegboard.plugins.discovery.select import Decision
from pegboard.runtime import Pegboard
from pegboard.types import Agent

_NEAR = 0.8
_LEFT_OUT = "it was left out"


class Target(NamedTuple):
    """The agent to run, and what the words are beside it."""

    agent: Agent
    start: int
    """The number of the word that the task begins with."""
    lasting: str | None
    """Where another process finds the agent; `None` is by its name."""


async def resolve(board: Pegboard, words: Sequence[str], looked_up: int) -> Target:
    """The agent of the first word, else the default one; the first `looked_up` words may name it."""
    if looked_up > 0:
        found = await _named(board, words[0])
        if found is not None:
            return found
        _refuse_absent(words[0])
        _refuse_untrusted(words[0])
        _warn_if_near(board, words[0])
    return await _default(board)


async def _named(board: Pegboard, word: str) -> Target | None:
    if (file := _file_of(word)) is not None:
        return Target(await board.find_agent(word), 1, file)
    if is_module_object(word):
        return Target(agent_object(word), 1, word)
    if word in board.plugins.agents() or word in board.agents:
        return Target(await board.find_agent(word), 1, None)
    if word.endswith(".py"):
        _refuse_python_file(Path(word))
    return None


async def _default(board: Pegboard) -> Target:
    """The agent of `--agent` or of the setting, else that of those that name none."""
    agent = await board.find_agent(None)
    file = agent_files.of_setting(board.config)
    named = board.config.get("agent")
    code = named if named and is_module_object(named) else None
    return Target(agent, 0, file or code)


def _file_of(word: str) -> str | None:
    """The whole path of the file that a word names; a sentence about a file is none."""
    if not is_file(word) or (any(map(str.isspace, word)) and not Path(word).is_file()):
        return None
    if not Path(word).exists():
        raise UsageError(f"there is no file `{word}`", hint=f"peg run -- {word}")
    return str(Path(word).absolute())


def _refuse_absent(word: str) -> None:
    """The name of an agent whose plugin is not on the board: nobody means it as a task."""
    decision = off_board(word)
    if decision is not None:
        raise AgentNotFoundError(
            f"agent `{word}` is of plugin `{decision.id}`, which is not on the board: {decision.message or _LEFT_OUT} "
            "(as a task, write it after `--`)",
            hint=decision.hint or f"peg plugins info {decision.id}",
        )


def _refuse_untrusted(word: str) -> None:
    """What has this name in a project that nobody trusts: as a task, its name would be paid for."""
    project = find_project() if is_plain(word) else None
    if project is None or load(tolerant=True).trusted:
        return
    folder = project / PROJECT_FOLDER
    found = [path for suffix in FILE_SUFFIXES for path in folder.glob(f"*/{glob.escape(word)}{suffix}")]
    if found:
        raise UntrustedConfigError(
            f"`{word}` is {found[0]}, and what is in a project may only be run by name in a trusted folder "
            "(as a task, write it after `--`)",
            hint=f"peg config set trusted_folders '[\"{project}\"]'",
        )


def off_board(agent: str) -> Decision | None:
    """What was decided about the plugin that an agent is of, where that was not found on the board."""
    for decision in Inventory().selection.decisions if is_plain(agent) else ():
        agents = (decision.record.manifest or {}).get("contributes", {}).get("agents", ())
        if any(contributed["name"] == agent for contributed in agents):
            return decision
    return None


def _warn_if_near(board: Pegboard, word: str) -> None:
    """A name that was mistyped would be paid for as a task."""
    known = [*board.plugins.agents(), *(agent.name for agent in board.agents)]
    near = get_close_matches(word, known, n=1, cutoff=_NEAR) if is_plain(word) else []
    if near:
        Output.current().warn(f"`{word}` is no agent and becomes part of the task; did you mean `{near[0]}`?")


def _refuse_python_file(path: Path) -> None:
    """A file of Python that is there, where `module:object` is meant."""
    if not path.is_file():
        return
    named = re.search(r"^(\w+)\s*=\s*\w*Agent\(", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    meant = f"{'.'.join(path.with_suffix('').parts)}:{named[1] if named else 'agent'}"
    raise UsageError(f"`{path}` is a file of Python; did you mean `{meant}`?", hint=f'peg run {meant} "…"')


def agent_object(target: str) -> Agent:
    """Import `module:object`, with the working folder and that of the project in front of the path.

    Raises:
        AgentError: the module or the object is not there, or is no agent, or raised.
    """
    module_name, _, attribute = target.partition(":")
    _look_here_too()
    try:
        module = import_module(module_name)
    except Exception as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]
        as_task = f"if these words are the task itself, run `peg run -- {target}`"
        hint = as_task if absent else f'python -c "import {module_name}"'
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


def _look_here_too() -> None:
    """In the working folder, then beside the project's `.pegboard`, as its settings are."""
    for folder in (folders.project_dir(), str(Path.cwd())):
        if folder and folder not in sys.path:
            sys.path.insert(0, folder)


def _told(error: Exception) -> str:
    """What was raised, and in which line of whose file: what cannot be parsed has no frame, and says so itself."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {describe(error)}{place}"
