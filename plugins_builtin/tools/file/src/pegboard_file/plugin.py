"""The plugin: offers the file tools with its settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from pegboard import hookimpl
from pegboard.interfaces import HostContext, Tool
from pegboard.lazy import LazyModule

from pegboard_file.config import Settings

if TYPE_CHECKING:
    from pegboard_file import tools
else:
    tools = LazyModule("pegboard_file.tools")  # pydantic comes with it


class Plugin:
    """Tools for files, inside the workspace of the run, through the driver `files`."""

    def __init__(self) -> None:
        self._settings = Settings()

    def activate(self, ctx: HostContext) -> None:
        """Read the settings."""
        self._settings = msgspec.convert(ctx.config or {}, Settings)

    @hookimpl
    def provide_tools(self, ctx: HostContext) -> Sequence[Tool]:
        """The tools that the manifest lists."""
        return tools.FileTools(self._settings).all()
