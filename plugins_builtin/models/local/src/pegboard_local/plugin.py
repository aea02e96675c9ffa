"""The plugin: makes models by name, and one for `auto` where a server is ready and has a model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from pegboard import hookimpl
from pegboard.errors import ConfigError, CredentialsInvalidError, CredentialsMissingError
from pegboard.interfaces import HostContext
from pegboard.listing import find_key
from pegboard.model import ModelBase
from pegboard.types import ModelListing
from pegboard.wire import usable_key

from pegboard_local.config import Settings
from pegboard_local.finding import all_models, first_ready
from pegboard_local.listings import UNSET, answered, not_asked, without_key
from pegboard_local.model import LocalModel
from pegboard_local.servers import CONFIGURED, Server, servers_of


class Plugin:
    """Offers `ollama:MODEL`, `llamacpp:MODEL`, `vllm:MODEL`, `lmstudio:MODEL` and `local:MODEL`."""

    def __init__(self) -> None:
        self._settings = Settings()

    def activate(self, ctx: HostContext) -> None:
        """Read the settings."""
        self._settings = msgspec.convert(ctx.config or {}, Settings)

    @hookimpl(band=40)
    async def provide_model(self, ctx: HostContext, name: str) -> ModelBase | None:
        """The model of a name, of which nobody is asked yet; for `auto` the first that is ready, which says why."""
        servers = list(servers_of(self._settings, os.environ))
        if name == "auto":
            return await self._first(ctx, servers)
        provider, _, model = name.partition(":")
        if provider == CONFIGURED.name and not self._settings.base_url:
            raise ConfigError(
                "`local:MODEL` is a model of the server at `plugins.local.base_url`, which is not set",
                hint="peg config set plugins.local.base_url http://127.0.0.1:8000/v1",
            )
        server = next((server for server in servers if server.name == provider), None)
        return self._model(ctx, server, model) if server is not None else None

    @hookimpl
    async def list_models(self, ctx: HostContext, remote: bool) -> Sequence[ModelListing]:
        """What the servers of this machine have; with `remote` also those that the configuration has elsewhere."""
        servers = list(servers_of(self._settings, os.environ))
        asked = [server for server in servers if server.is_loopback or remote]
        listings = [] if self._settings.base_url else [UNSET]
        try:
            keys = await self._keys(ctx)
        except (
            CredentialsMissingError,
            CredentialsInvalidError,
        ) as error:  # of the one server that is configured; the others need none
            listings, keys = [without_key(error)], {}
            servers, asked = _known(servers), _known(asked)
        listings += [answered(server, models) for server, models in await all_models(asked, keys)]
        return listings + [not_asked(server) for server in servers if server not in asked]

    async def _first(self, ctx: HostContext, servers: Iterable[Server]) -> ModelBase | None:
        found = await first_ready(servers, await self._keys(ctx))
        if found is None:
            return None
        model = self._model(ctx, found.server, found.model)
        model.why = f"{found.server.preset.title} at {found.server.host} is the first server that is ready"
        return model

    def _model(self, ctx: HostContext, server: Server, name: str) -> ModelBase:
        async def key() -> str:
            return await self._key(ctx)

        has_key = server.preset is CONFIGURED and self._settings.api_key
        return LocalModel(name, server, key=key if has_key else None, settings=self._settings)

    async def _keys(self, ctx: HostContext) -> Mapping[str, str]:
        return {CONFIGURED.name: await self._key(ctx)} if self._settings.api_key else {}

    async def _key(self, ctx: HostContext) -> str:
        return usable_key((await find_key(ctx, "api_key")).secret.reveal())


def _known(servers: Iterable[Server]) -> list[Server]:
    return [server for server in servers if server.preset is not CONFIGURED]
