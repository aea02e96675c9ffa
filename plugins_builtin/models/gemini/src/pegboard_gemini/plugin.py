"""The plugin: makes models by name, and one for `auto` where there is a key."""

from __future__ import annotations

import msgspec
from pegboard import hookimpl
from pegboard.errors import CredentialsMissingError
from pegboard.interfaces import HostContext
from pegboard.model import ModelBase

from pegboard_gemini.config import Settings
from pegboard_gemini.model import GeminiModel


class Plugin:
    """Offers `gemini:MODEL`."""

    def __init__(self) -> None:
        self._settings = Settings()

    def activate(self, ctx: HostContext) -> None:
        """Read the settings."""
        self._settings = msgspec.convert(ctx.config or {}, Settings)

    @hookimpl
    async def provide_model(self, ctx: HostContext, name: str) -> ModelBase | None:
        """The model of a name; for `auto` the configured one, where there is a key."""

        async def key() -> str:
            return await _key(ctx)

        why = ""
        if name == "auto":
            try:
                await key()
            except CredentialsMissingError:
                return None
            name, why = self._settings.default_model, "there is a key of Gemini"
        model = GeminiModel(name.removeprefix("gemini:"), key=key, settings=self._settings)
        model.why = why
        return model


async def _key(ctx: HostContext) -> str:
    """The key, from the first place that has one; the error speaks of the first place."""
    try:
        return (await ctx.secrets.get("api_key", purpose="models", destination="gemini")).reveal()
    except CredentialsMissingError as missing:
        try:
            return (await ctx.secrets.get("other_api_key", purpose="models", destination="gemini")).reveal()
        except CredentialsMissingError:
            raise missing from None
