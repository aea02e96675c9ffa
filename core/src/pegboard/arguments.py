"""What a host program hands to a board, checked before anything is made of it: a mistake is told where it was made.

Only what was given is looked at, so that a board with nothing in it costs nothing here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FunctionType, NoneType
from typing import Any

from pegboard.errors import BoardArgumentError
from pegboard.model import ModelBase
from pegboard.types import Agent

_PLAIN = frozenset({str, bytes, bool, int, float, dict, list, tuple, set, NoneType, FunctionType})
_STORE = ("durable", "append", "load", "runs", "put_blob", "get_blob")


def check_plugin(plugin: object) -> None:
    """Refuse plain values: they are never plugins, and nobody would notice that nothing comes of them.

    Raises:
        BoardArgumentError: it is one.
    """
    if type(plugin) in _PLAIN:
        raise BoardArgumentError(
            f"`plugins` holds {_shown(plugin)}; a plugin is an object, a class or a module with functions that are "
            "marked `@hookimpl`, and installed ones come with `autoload=True`"
        )


def check_many(name: str, values: object) -> None:
    """Refuse what is no row of things, and a text, which would be taken for a row of letters.

    Raises:
        BoardArgumentError: it is one of these.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise BoardArgumentError(f"`{name}` must be a list, and is {_shown(values)}")


def agents_of(given: Any) -> tuple[Agent, ...]:
    """The agents. Raises `BoardArgumentError` for what is none."""
    check_many("agents", given)
    agents = tuple(given)
    for agent in agents:
        if not isinstance(agent, Agent):
            raise BoardArgumentError(f"`agents` must hold agents, and holds {_shown(agent)}")
    return agents


def folders_of(given: Any) -> tuple[str | Path, ...]:
    """The folders, which are looked into later. Raises `BoardArgumentError` for what is no path."""
    check_many("folders", given)
    folders = tuple(given)
    for folder in folders:
        _check_path("folders", folder)
    return folders


def check_config(config: object) -> None:
    """Refuse what are no settings. Raises `BoardArgumentError`."""
    if not isinstance(config, Mapping):
        raise BoardArgumentError(f"`config` must be a mapping or a `Config`, and is {_shown(config)}")


def check_model(model: object) -> None:
    """Refuse what is no model and no name of one. Raises `BoardArgumentError`."""
    if not isinstance(model, str | ModelBase):
        raise BoardArgumentError(f"`model` must be a model or a name, and is {_shown(model)}")


def check_store(store: object) -> None:
    """Refuse what is no store. Raises `BoardArgumentError`."""
    missing = [name for name in _STORE if not hasattr(store, name)]
    if missing:
        raise BoardArgumentError(
            f"`store` must be a store, and {_shown(store)} has no `{'`, `'.join(missing)}`; "
            'a driver is chosen by name with `config={"drivers": {"store": NAME}}`'
        )


def check_workspace(workspace: Any) -> None:
    """Refuse what is no folder. Raises `BoardArgumentError`."""
    _check_path("workspace", workspace)
    if not Path(workspace).is_dir():
        raise BoardArgumentError(f"`workspace` must be a folder, and `{os.fspath(workspace)}` is none")


def _check_path(name: str, value: object) -> None:
    if not isinstance(value, str | os.PathLike):
        raise BoardArgumentError(f"`{name}`: {_shown(value)} is no path")


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} `{text if len(text) <= 60 else text[:59] + '…'}`"
