"""The plugin: models by name. Everything else of this distribution is used as a library."""

from __future__ import annotations

from pegboard import hookimpl
from pegboard.interfaces import HostContext
from pegboard.model import ModelBase

from pegboard_replay.demo import DemoModel
from pegboard_replay.recording import ReplayModel


class Plugin:
    """Offers `scripted:demo` and `replay:PATH`; never chosen for `auto`."""

    @hookimpl
    def provide_model(self, ctx: HostContext, name: str) -> ModelBase | None:
        """The demo model, or a cassette by its path."""
        provider, _, rest = name.partition(":")
        if provider == "replay" and rest:
            return ReplayModel(rest)
        return DemoModel() if name == "scripted:demo" else None
