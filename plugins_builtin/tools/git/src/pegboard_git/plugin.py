"""The plugin: offers the git tools with its settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from pegboard import hookimpl
from pegboard.interfaces import HostContext, Tool
from pegboard.lazy import LazyModule

from pegboard_git.config import Settings

if TYPE_CHECKING:
    from pegboard_git import tools
else:
    tools = LazyModule("pegboard_git.tools")  # pydantic comes with it


class Plugin:
    """Tools for git repositories in the workspace; they run nothing that a repository brings."""

    def __init__(self) -> None:
        self._settings = Settings()

    def activate(self, ctx: HostContext) -> None:
        """Read the settings."""
        self._settings = msgspec.convert(ctx.config or {}, Settings)

    @hookimpl
    def provide_tools(self, ctx: HostContext) -> Sequence[Tool]:
        """The tools that the manifest lists."""
        return tools.GitTools(self._settings).all()
