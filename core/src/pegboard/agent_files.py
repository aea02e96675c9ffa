"""Agents in files: who is asked to read one, and what is said when nobody does. What is in it, plugins know."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from pegboard.agent_names import is_file
from pegboard.errors import AgentFileError, AgentReaderError, PegboardError
from pegboard.folders import PROJECT_FOLDER
from pegboard.regular import read_regular

if TYPE_CHECKING:
    from pathlib import Path

    from pegboard.config import Config
    from pegboard.plugins.host import PluginHost
    from pegboard.types import Agent

MAX_BYTES: Final = 1024 * 1024
_HOOK: Final = "read_agent"


async def read(host: PluginHost, path: str) -> Agent:
    """The agent in a file, from the first plugin that reads such files.

    Raises:
        AgentFileError: there is no such file, or it holds no sound agent.
        AgentReaderError: no plugin on the board reads such files.
        PegboardError: the plugin that does cannot be used.
    """
    content = _content(path)
    before = host.faults.count
    layer = host.hooks.read_agent
    found = await layer(host.context(), _whole(path), content) if layer is not None else None
    if isinstance(found, AgentFileError):
        raise found
    if found is None:
        raise _nobody(host, path, before)
    return found


def of_setting(config: Config) -> str | None:
    """The whole path of the file that the setting `agent` names; a relative one starts where the setting is."""
    found = config.explain("agent")
    if found is None or not is_file(found.value):
        return None
    return _whole(os.path.join(_folder_of(found.file), os.path.expanduser(found.value)))  # noqa: PTH111, PTH118  # as below


def for_setting(path: str, settings: Path) -> str:
    """How a file that a person names in the working folder is written into a file of settings.

    Whole, or as it lies in the project that the settings are of, so that whoever clones it has the same.

    Raises:
        AgentFileError: there is no such file, and every run would be refused.
    """
    whole = _whole(os.path.expanduser(path))  # noqa: PTH111  # as below
    if not os.path.isfile(whole):  # noqa: PTH113  # as below
        raise AgentFileError(f"there is no file `{path}`", hint="peg agents list")
    project, name = os.path.split(os.path.dirname(_whole(str(settings))))  # noqa: PTH120  # as below
    within = whole.startswith(os.path.join(project, ""))  # noqa: PTH118  # as below
    return os.path.relpath(whole, project) if name == PROJECT_FOLDER and within else whole


def _folder_of(settings: str | None) -> str:
    """The folder that a file of settings is for; of a variable or an option the working folder."""
    if settings is None or settings.startswith("$"):
        return ""
    here = os.path.dirname(settings)  # noqa: PTH120  # as below
    above, name = os.path.split(here)
    return above if name == PROJECT_FOLDER else here


def _whole(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100  # `pathlib` is dear


def _content(path: str) -> bytes:
    try:
        return read_regular(path, MAX_BYTES)
    except FileNotFoundError as error:
        raise AgentFileError(f"there is no file `{path}`", hint="peg agents list") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise AgentFileError(
            f"`{path}` cannot be read: {reason[:1].lower()}{reason[1:]}", hint=f"ls -l {path}"
        ) from error


def _nobody(host: PluginHost, path: str, before: int) -> PegboardError:
    """The error when no plugin made an agent of it: what went wrong with one that would have, where there is one."""
    failed = [fault.error for fault in host.faults.since(before) if fault.record.hook == _HOOK]
    if failed and isinstance(failed[0], PegboardError):
        return failed[0]
    off = next((peg for peg in host.records() if not peg.usable and _HOOK in peg.manifest.get("hooks", {})), None)
    if off is not None:
        return off.refusal()
    cause = f": {failed[0]}" if failed else " (a workflow is run by `peg workflow run FILE` of pegboard-workflow)"
    # Without autoload an installed plugin is not on the board, and to install it again would not help.
    hint = None if host.autoload else "`Pegboard(autoload=True)` has the installed plugins"
    return AgentReaderError(f"`{path}`: no plugin here reads an agent from such a file{cause}", hint=hint)
