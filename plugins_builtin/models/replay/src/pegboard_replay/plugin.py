"""The plugin: models by name. Everything else of this distribution is used as a library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pegboard import hookimpl
from pegboard.interfaces import HostContext
from pegboard.model import ModelBase
from pegboard.types import ModelListing

from pegboard_replay.demo import DemoModel
from pegboard_replay.recording import ReplayModel

_DEMO: Final = "scripted:demo"


class Plugin:
    """Offers `scripted:demo` and `replay:PATH`; never chosen for `auto`."""

    @hookimpl
    def provide_model(self, ctx: HostContext, name: str) -> ModelBase | None:
        """The demo model, or a cassette by its path."""
        provider, _, rest = name.partition(":")
        if provider == "replay" and rest:
            return ReplayModel(rest)
        return DemoModel() if name == _DEMO else None

    @hookimpl
    def list_models(self, ctx: HostContext, remote: bool) -> Sequence[ModelListing]:
        """Both are always there."""
        return [
            ModelListing(provider="scripted", ready="yes", why="it needs no key", models=(_DEMO,)),
            ModelListing(provider="replay", ready="yes", why="it plays the recording at a path, `replay:PATH`"),
        ]
