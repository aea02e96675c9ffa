"""The plugin: makes models by name, and one for `auto` where there is a key."""

from __future__ import annotations

import msgspec
from pegboard import hookimpl
from pegboard.errors import CredentialsMissingError
from pegboard.interfaces import HostContext
from pegboard.model import ModelBase

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

        async def key() -> str:
            return (await ctx.secrets.get("api_key", purpose="models", destination="openai")).reveal()

        why = ""
        if name == "auto":
            try:
                await key()
            except CredentialsMissingError:
                return None
            name, why = self._settings.default_model, "there is a key of OpenAI"
        model = OpenAIModel(name.removeprefix("openai:"), key=key, settings=self._settings)
        model.why = why
        return model
