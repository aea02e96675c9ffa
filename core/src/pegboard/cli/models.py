"""`peg models list`: what can be named as a model on this machine now, and what is missing for the rest.

Names and patterns are in manifests. Plugins say whether a key is there and which servers answer; no SDK is imported,
and no provider is asked, unless `--remote` is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pegboard import config
from pegboard.cli.contract import Answer, command, option
from pegboard.cli.render import escaped, table
from pegboard.config import Config, Value, join_key
from pegboard.errors import PegboardError, describe
from pegboard.plugins.discovery.manifest import contributed
from pegboard.types import ModelListing

if TYPE_CHECKING:
    from pegboard.plugins.peg import Peg
    from pegboard.runtime import Pegboard

_ALIASES = "models.aliases"


class ListedProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as its manifest announces it, and what its plugin says of it."""

    plugin: str
    patterns: tuple[str, ...]
    summary: str
    listing: ModelListing

    def to_json(self) -> dict[str, Any]:
        """All of it in one object."""
        own = {"plugin": self.plugin, "patterns": self.patterns, "summary": self.summary}
        return {**own, **msgspec.to_builtins(self.listing)}


@command("list")
@option("--remote", is_flag=True, help="Also ask providers for their lists, where there is a key. It is free.")
def list_models(remote: bool) -> Answer:
    """List what can be named as a model now: providers, models, aliases, the default, and what `auto` would choose.

    Servers of this machine are looked for; nobody else is asked without --remote.
    """
    settings = config.load()
    data = asyncio.run(_found(settings, remote=remote))
    return Answer(data, _text(data))


async def _found(settings: Config, *, remote: bool) -> dict[str, Any]:
    from pegboard.runtime import Pegboard

    async with Pegboard(autoload=True, config=settings) as board:
        providers = await providers_of(board, remote=remote)
        return {
            "providers": [provider.to_json() for provider in providers],
            "aliases": list(_aliases(settings)),
            "default": default_of(settings),
            "auto": await _auto(board),
        }


async def providers_of(board: Pegboard, *, remote: bool) -> Sequence[ListedProvider]:
    """Every provider that a manifest names, by plugin, with what its plugin says; also those that are off, and why."""
    pegs = [peg for peg in board.plugins.records() if "provide_model" in (peg.record.manifest or {}).get("hooks", {})]
    listings = await listings_of(board, remote=remote)
    return [provider for peg in pegs for provider in _announced(peg, listings.get(peg.id, ()))]


async def listings_of(
    board: Pegboard, *, remote: bool, only: Iterable[str] | None = None
) -> dict[str, Sequence[ModelListing]]:
    """What plugins say of their models, by plugin, all or `only` those; they are asked at the same time."""
    plugins = list(board.plugins.dispatcher.plugins_of("list_models") if only is None else only)
    said = await asyncio.gather(*(_said(board, plugin, remote=remote) for plugin in plugins))
    return dict(zip(plugins, said, strict=True))


async def _said(board: Pegboard, plugin: str, *, remote: bool) -> Sequence[ModelListing]:
    """What one plugin says; where it failed, that, in a listing without a provider."""
    layer = board.plugins.dispatcher.only("list_models", [plugin])
    if layer is None:
        return ()
    before = board.plugins.faults.count
    answers = await layer(board.host_context, remote)
    errors = [fault.error for fault in board.plugins.faults.since(before) if fault.record.plugin == plugin]
    failed = [_failed(errors[-1] if errors else None, code) for _, code in answers.missing]
    return failed or [listing for _, listings in answers for listing in listings]


def _failed(error: BaseException | None, code: str) -> ModelListing:
    why = "its plugin failed" if error is None else describe(error)
    hint = error.hint if isinstance(error, PegboardError) else None
    return ModelListing(provider="", ready="no", why=why, setup=hint or "", code=code)


def _announced(peg: Peg, listings: Sequence[ModelListing]) -> Iterator[ListedProvider]:
    said = {listing.provider: listing for listing in listings}
    # One that announces no provider may make a model of any name.
    for item in contributed(peg.record.manifest, "models") or [{"name": name} for name in said] or [{"name": ""}]:
        listing = said.get(item["name"]) or said.get("") or ModelListing(provider="", why="its plugin does not say")
        if not peg.usable:
            listing = _failed(peg.refusal(), peg.refusal().code)
        setup = "" if listing.ready == "yes" else listing.setup or item.get("setup", "")
        yield ListedProvider(
            plugin=peg.id,
            patterns=(f"{item['name']}:*" if item["name"] else "*", *item.get("patterns", ())),
            summary=item.get("summary", ""),
            listing=msgspec.structs.replace(listing, provider=item["name"], setup=setup),
        )


# --- what is configured --------------------------------------------------------------------------------------------


def default_of(settings: Config) -> dict[str, Any]:
    """The model of agents that name none, and where that is said."""
    return {"name": settings.get("model") or "auto", "set_in": place_of(settings, "model")}


def place_of(settings: Config, key: str) -> str:
    """Where a setting comes from, for people."""
    found = settings.explain(key)
    return Value(found.value, found.layer, found.file, found.line).where if found is not None else "the defaults"


def _aliases(settings: Config) -> Iterator[dict[str, Any]]:
    for name, model in sorted(settings.get(_ALIASES, {}).items()):
        yield {"name": name, "model": model, "set_in": place_of(settings, join_key((*_ALIASES.split("."), name)))}


async def _auto(board: Pegboard) -> dict[str, Any]:
    """What would be taken where nothing is configured, and why; nothing is sent for it."""
    try:
        model = await board.plugins.model("auto")
    except PegboardError as error:
        return {"model": None, "why": error.message, "hint": error.hint}
    return {"model": model.id, "why": model.why, "hint": None}


# --- for people ----------------------------------------------------------------------------------------------------


def _text(data: dict[str, Any]) -> str:
    rows = [row for provider in data["providers"] for row in _rows(provider)]
    rows += [[alias["name"], "", "", f"stands for {alias['model']}; {alias['set_in']}"] for alias in data["aliases"]]
    default = data["default"]
    shown = [[escaped(cell) for cell in row] for row in rows]
    return "\n".join(
        [
            table(["NAME", "PLUGIN", "READY", "ABOUT"], shown) if shown else "no installed plugin has models",
            "",
            f"default: {default['name']}; {default['set_in']}",
            f"auto: {escaped(_because(data['auto']))}",
        ]
    )


def _rows(provider: dict[str, Any]) -> Iterator[list[str]]:
    about = [provider["why"], f"type `{provider['setup']}`" if provider["setup"] else ""]
    yield [", ".join(provider["patterns"]), provider["plugin"], provider["ready"], "; ".join(filter(None, about))]
    for model in provider["models"]:
        yield [f"  {model}", "", "", ""]


def _because(auto: dict[str, Any]) -> str:
    if auto["model"] is None:
        return "none of them is ready"
    return f"{auto['model']}, since {auto['why']}" if auto["why"] else str(auto["model"])
