"""What model plugins share to answer `list_models`: whether there is a key, where it is, and what is offered for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from pegboard.errors import (
    CredentialsInvalidError,
    CredentialsMissingError,
    ModelFault,
    ModelStreamMalformedError,
    ModelTimeoutError,
    PegboardError,
)
from pegboard.interfaces import HostContext
from pegboard.model import ModelBase, classified
from pegboard.types import ModelListing, Secret
from pegboard.wire import MOST_NAMES, told, usable_key

LISTED_WITHIN_S: Final = 20.0
"""For the whole list of a provider, however many pages it has."""


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
    """The key of a provider without white space around it, from the first of these settings that leads to one.

    Raises:
        CredentialsMissingError: none of them does; it speaks of the first.
    """
    missing: CredentialsMissingError | None = None
    for name in settings:
        try:
            secret = await ctx.secrets.get(name, purpose="models", destination=ctx.plugin)
        except CredentialsMissingError as error:
            missing = missing or error
            continue
        if key := secret.reveal().strip():
            return FoundKey(Secret(key), ctx.config[name])
        missing = missing or CredentialsMissingError(f"the key at `{ctx.config[name]}` is empty", plugin=ctx.plugin)
    raise missing or CredentialsMissingError(f"plugin `{ctx.plugin}` has no setting for a key")


async def listing_by_key(
    ctx: HostContext, provider: str, *settings: str, known: str, ask: ListedModel | None = None
) -> ModelListing:
    """The listing of a provider that wants a key.

    Args:
        ctx: of the plugin
        provider: its name, as in `provider:model`
        settings: where its key may be, the first one first
        known: a model of it that is named where nobody is asked
        ask: a model of the provider, which is asked for the list and closed; without it nobody is asked
    """
    try:
        found = await find_key(ctx, *settings)
        usable_key(found.secret.reveal())
    except (CredentialsMissingError, CredentialsInvalidError) as error:
        return _unready(provider, error)
    why = f"there is a key at `{found.place}`"
    if ask is None:
        return ModelListing(provider=provider, ready="yes", why=why, models=(f"{provider}:{known}",))
    try:
        names = await _asked(ask)
    except Exception as exc:
        return _unready(provider, _told(ask, exc))
    finally:
        await ask.aclose()
    if len(names) > MOST_NAMES:
        names, why = names[:MOST_NAMES], f"{why}; its list was cut after {MOST_NAMES} models"
    models = tuple(f"{provider}:{name}" for name in names)
    return ModelListing(provider=provider, ready="yes", why=why, models=models, source="provider")


def _told(model: ListedModel, exc: Exception) -> PegboardError:
    if isinstance(exc, ModelFault):
        return told(exc, model.secrets())
    return exc if isinstance(exc, PegboardError) else classified(model, exc)


async def _asked(model: ListedModel) -> Sequence[str]:
    try:
        async with asyncio.timeout(LISTED_WITHIN_S) as clock:
            names = await model.names()
    except TimeoutError as late:
        if not clock.expired():
            raise
        raise ModelTimeoutError(f"the list of models did not end within {LISTED_WITHIN_S:g} s") from late
    if not names:
        raise ModelStreamMalformedError("the answer lists no model", phase="parse")
    return names


def _unready(provider: str, error: PegboardError) -> ModelListing:
    return ModelListing(provider=provider, ready="no", why=error.message, setup=error.hint or "", code=error.code)


__all__ = ["LISTED_WITHIN_S", "FoundKey", "ListedModel", "find_key", "listing_by_key"]
