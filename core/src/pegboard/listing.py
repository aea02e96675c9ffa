"""What model plugins share to answer `list_models`: whether there is a key, where it is, and what is offered for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pegboard.errors import CredentialsMissingError, ModelStreamMalformedError, PegboardError
from pegboard.interfaces import HostContext
from pegboard.model import ModelBase, classified
from pegboard.types import ModelListing, Secret


class FoundKey(NamedTuple):
    """A key, and the reference that led to it."""

    secret: Secret
    place: str
    """As in `env:ANTHROPIC_API_KEY`."""


class ListedModel(ModelBase):
    """A model whose provider lists what it offers."""

    async def names(self) -> Sequence[str]:
        """The models that the provider offers for the key, without `provider:`; free of charge."""
        raise NotImplementedError(f"{type(self).__name__}.names")


async def find_key(ctx: HostContext, *settings: str) -> FoundKey:
    """The key of a provider, from the first of these settings of its plugin that leads to one.

    Raises:
        CredentialsMissingError: none of them does; it speaks of the first.
    """
    missing: CredentialsMissingError | None = None
    for name in settings:
        try:
            return FoundKey(await ctx.secrets.get(name, purpose="models", destination=ctx.plugin), ctx.config[name])
        except CredentialsMissingError as error:
            missing = missing or error
    raise missing or CredentialsMissingError(f"plugin `{ctx.plugin}` has no setting for a key")


async def listing_by_key(
    ctx: HostContext, provider: str, *settings: str, ask: ListedModel | None = None
) -> ModelListing:
    """The listing of a provider that wants a key.

    Args:
        ctx: of the plugin
        provider: its name, as in `provider:model`
        settings: where its key may be, the first one first
        ask: a model of the provider, which is asked for the list and closed; without it nobody is asked
    """
    try:
        found = await find_key(ctx, *settings)
    except CredentialsMissingError as error:
        return _unready(provider, error)
    why = f"there is a key at `{found.place}`"
    if ask is None:
        return ModelListing(provider=provider, ready="yes", why=why)
    try:
        names = await ask.names()
        if not names:
            raise ModelStreamMalformedError("the answer lists no model", phase="parse")
    except Exception as exc:
        return _unready(provider, exc if isinstance(exc, PegboardError) else classified(ask, exc))
    finally:
        await ask.aclose()
    models = tuple(f"{provider}:{name}" for name in names)
    return ModelListing(provider=provider, ready="yes", why=why, models=models, source="provider")


def _unready(provider: str, error: PegboardError) -> ModelListing:
    return ModelListing(provider=provider, ready="no", why=error.message, setup=error.hint or "", code=error.code)


__all__ = ["FoundKey", "ListedModel", "find_key", "listing_by_key"]
