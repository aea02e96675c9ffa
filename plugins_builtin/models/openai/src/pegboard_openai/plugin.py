"""The plugin: makes models by name, and one for `auto` where there is a key."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from pegboard import hookimpl
from pegboard.errors import CredentialsMissingError
from pegboard.interfaces import HostContext
from pegboard.listing import find_key, listing_by_key
from pegboard.model import ModelBase
from pegboard.types import ModelListing

from pegboard_openai.config import Settings
from pegboard_openai.model import OpenAIModel


class Plugin:
    """Offers `openai:MODEL`."""

    def __init__(self) -> None:
        self._settings = Settings()

    def activate(self, ctx: HostContext) -> None:
        """Read the settings."""
        self._settings = msgspec.convert(ctx.config or {}, Settings)

    @hookimpl
    async def provide_model(self, ctx: HostContext, name: str) -> ModelBase | None:
        """The model of a name; for `auto` the configured one, where there is a key."""
        why = ""
        if name == "auto":
            try:
                await find_key(ctx, "api_key")
            except CredentialsMissingError:
                return None
            name, why = self._settings.default_model, "there is a key of OpenAI"
        model = self._model(ctx, name.removeprefix("openai:"))
        model.why = why
        return model

    @hookimpl
    async def list_models(self, ctx: HostContext, remote: bool) -> Sequence[ModelListing]:
        """Whether there is a key, and the default model; with `remote` what OpenAI offers for it."""
        default = self._settings.default_model
        asked = self._model(ctx, default) if remote else None
        return [await listing_by_key(ctx, "openai", "api_key", known=default, ask=asked)]

    def _model(self, ctx: HostContext, name: str) -> OpenAIModel:
        async def key() -> str:
            return (await find_key(ctx, "api_key")).secret.reveal()

        return OpenAIModel(name, key=key, settings=self._settings)
