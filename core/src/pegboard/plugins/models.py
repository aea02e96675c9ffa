"""Which plugin makes a model of a name: aliases, `provider:model`, patterns of bare names, `auto`.

Only the plugin that a name belongs to is activated. What a model can do is not known here.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

from pegboard.config import Config, join_key
from pegboard.errors import (
    ConfigError,
    ModelAmbiguousError,
    ModelNoneError,
    ModelNotFoundError,
    PegboardError,
)
from pegboard.plugins.discovery.manifest import contributed

if TYPE_CHECKING:
    from pegboard.model import ModelBase
    from pegboard.plugins.faults import FaultLog
    from pegboard.plugins.peg import Peg

AUTO = "auto"
DEMO = "scripted:demo"
"""For hints only: a model that needs neither key nor network."""
_SCRIPTED = "with scripted models"
_KNOWN = {
    "for Anthropic": ("claude-*", "anthropic:*"),
    "for OpenAI": ("gpt-*", "o[0-9]*", "openai:*"),
    "for Gemini": ("gemini-*", "gemini:*"),
    "for models on this machine": ("ollama:*", "llamacpp:*", "vllm:*", "lmstudio:*", "local:*"),
    _SCRIPTED: ("scripted:*", "replay:*"),
}
"""For messages only: which kind of plugin is missing. A distribution that is not ours is never named for installation:
whoever registers the name first would be installed."""


class Asker(Protocol):
    """What the look-up needs of the host."""

    config: Config

    @property
    def autoload(self) -> bool:
        """Whether installed plugins are on the board."""

    @property
    def faults(self) -> FaultLog:
        """What plugins did wrong."""

    def records(self) -> Sequence[Peg]:
        """Every plugin that was found."""

    def model_plugins(self) -> Sequence[Peg]:
        """The plugins that can make models and may run, by id."""

    async def ask_for_model(self, pegs: Sequence[Peg], name: str) -> ModelBase | None:
        """Activate these plugins and ask them for a model, in the order of the hook."""


class Models:
    """The models of a board, each made once."""

    def __init__(self, host: Asker) -> None:
        self._host = host
        self._made: dict[str, tuple[Peg | None, ModelBase]] = {}

    async def get(self, name: str) -> ModelBase:
        """The model of a name.

        Raises:
            ModelNoneError: `auto`, and no plugin has a model to offer.
            ModelNotFoundError: no installed plugin knows the name.
            ModelAmbiguousError: the patterns of two plugins match a bare name.
            PluginError: the plugin that the name belongs to is broken, or off.
        """
        name = self.resolve_alias(name)
        made = self._made.get(name)
        if made is not None:
            return made[1]
        pegs = self.candidates(name)
        before = self._host.faults.count
        model = await self._host.ask_for_model(pegs, name)
        if model is None:
            raise self._nobody(name, pegs, before)
        self._made[name] = (pegs[0] if len(pegs) == 1 else None, model)
        return model

    def check(self, name: str) -> None:
        """Refuse a name that no plugin could be asked for, without activating one. Raises as `get` does."""
        name = self.resolve_alias(name)
        if name != AUTO and not self.candidates(name):
            raise self._nobody(name, (), self._host.faults.count)

    def resolve_alias(self, name: str) -> str:
        """The name behind an alias of the configuration, followed to its end."""
        return resolve_alias(self._host.config, name)

    def forget(self, peg: Peg) -> None:
        """Ask again for what a plugin made."""
        self._made = {name: made for name, made in self._made.items() if made[0] is not peg}

    async def close(self, peg: Peg | None = None) -> list[BaseException]:
        """Close every model that was made, or those that one plugin may have made; what each raised."""
        errors: list[BaseException] = []
        closed = {name: made for name, made in self._made.items() if peg is None or made[0] in (peg, None)}
        for _, model in closed.values():
            close: Callable[[], Awaitable[None]] | None = getattr(model, "aclose", None)
            try:
                if close is not None:
                    await close()
            except (Exception, SystemExit) as exc:
                errors.append(exc)
        for name in closed:
            self._made.pop(name, None)
        return errors

    def candidates(self, name: str) -> Sequence[Peg]:
        """Whom to ask; those that announce nothing are asked for every name that nobody has announced."""
        pegs = self._host.model_plugins()
        if name == AUTO:
            return pegs
        provider, colon, _ = name.partition(":")
        if colon:
            named = [peg for peg in pegs if provider in _providers(peg)]
            if named:
                return named
        matching = [peg for peg in pegs if any(fnmatchcase(name, pattern) for pattern in _patterns(peg))]
        if len(matching) > 1:
            raise _ambiguous(name, matching)
        return matching or [peg for peg in pegs if not contributed(peg.record.manifest, "models")]

    def _nobody(self, name: str, pegs: Sequence[Peg], before: int) -> PegboardError:
        """The error when no plugin made a model: what the one that was asked said, where it said something."""
        faults = [fault.error for fault in self._host.faults.since(before) if fault.record.hook == "provide_model"]
        told = next((error for error in faults if isinstance(error, PegboardError)), None)
        if told is not None:
            return told
        cause = f"; plugin `{pegs[0].id}` failed: {faults[0]}" if faults and pegs else ""
        if name == AUTO:
            return _no_default(pegs, cause, autoload=self._host.autoload)
        off = next((peg for peg in self._host.records() if peg not in pegs and _announces(peg, name)), None)
        if off is not None:
            return off.refusal()
        near = difflib.get_close_matches(name, self._known_names(), n=3)
        text = f"; near: {', '.join(f'`{found}`' for found in near)}" if near else ""
        return ModelNotFoundError(
            f"no installed plugin knows the model `{name}`{text or _missing(name, pegs)}{cause}", hint=_hint(name, pegs)
        )

    def _known_names(self) -> list[str]:
        names = list(self._host.config.get("models.aliases", {}))
        for peg in self._host.model_plugins():
            names += [f"{provider}:" for provider in _providers(peg)] + _patterns(peg)
        return names


def resolve_alias(config: Config, name: str) -> str:
    """The name behind an alias of the configuration, followed to its end.

    Raises:
        ConfigError: the aliases form a circle.
    """
    aliases = config.get("models.aliases", {})
    way = [name]
    while way[-1] in aliases:
        way.append(aliases[way[-1]])
        if way[-1] in way[:-1]:
            key = join_key(("models", "aliases", way[-2]))
            found = config.explain(key)
            where = f" ({found.file}:{found.line})" if found and found.file else ""
            raise ConfigError(
                f"the model alias `{name}` goes round in a circle: {' → '.join(way)}{where}",
                hint=f"peg config explain {key}",
            )
    return way[-1]


def can_serve(manifest: Mapping[str, Any], name: str) -> bool:
    """Whether a plugin may make this model, as far as its manifest tells; one that lists no models may make any.

    Scripted models are for tests, and none of them is chosen for `auto`.
    """
    if "provide_model" not in manifest.get("hooks", {}):
        return False
    listed = contributed(manifest, "models")
    if name == AUTO:
        return not listed or any(not _fits(f"{item['name']}:", _KNOWN[_SCRIPTED]) for item in listed)
    provider, colon, _ = name.partition(":")
    named = bool(colon) and any(provider == item["name"] for item in listed)
    return not listed or named or any(_fits(name, item.get("patterns", ())) for item in listed)


def _no_default(pegs: Sequence[Peg], cause: str, *, autoload: bool) -> ModelNoneError:
    """None for `auto`; what could be named instead, where there is anything."""
    offered = [pattern for peg in pegs for pattern in _patterns(peg) or [f"{name}:*" for name in _providers(peg)]]
    if not offered:
        # Without autoload an installed plugin is not on the board, and to install it again would not help.
        hint = None if autoload else "`Pegboard(autoload=True)` has the installed plugins; or give the agent a `model`"
        return ModelNoneError(f"no model is configured, and no plugin on this board offers one{cause}", hint=hint)
    names = ", ".join(f"`{pattern}`" for pattern in offered)
    return ModelNoneError(
        f"no model is configured, and no installed plugin has one for `auto`; there are {names}{cause}",
        hint=_setup(pegs, offered),
    )


def _setup(pegs: Sequence[Peg], offered: Sequence[str]) -> str:
    """What to type: what the plugins say of themselves, or to name a model."""
    named = f"peg config set model {DEMO}" if _fits(DEMO, offered) else "peg models list"
    setups = [item["setup"] for peg in pegs for item in contributed(peg.record.manifest, "models") if "setup" in item]
    return " or ".join(f"`{command}`" for command in (*setups, named)) if setups else named


def _providers(peg: Peg) -> list[str]:
    return [item["name"] for item in contributed(peg.record.manifest, "models")]


def _patterns(peg: Peg) -> list[str]:
    return [pattern for item in contributed(peg.record.manifest, "models") for pattern in item.get("patterns", ())]


def _announces(peg: Peg, name: str) -> bool:
    provider, colon, _ = name.partition(":")
    return bool(colon and provider in _providers(peg)) or _fits(name, _patterns(peg))


def _kind(name: str) -> str | None:
    return next((kind for kind, patterns in _KNOWN.items() if _fits(name, patterns)), None)


def _missing(name: str, asked: Sequence[Peg]) -> str:
    kind = None if asked else _kind(name)
    return f"; a model plugin {kind} is missing" if kind else ""


def _hint(name: str, asked: Sequence[Peg]) -> str:
    scripted = not asked and _kind(name) == _SCRIPTED
    return "peg plugins install pegboard-replay" if scripted else "peg models list"


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _ambiguous(name: str, pegs: Sequence[Peg]) -> ModelAmbiguousError:
    both = " and ".join(f"`{peg.id}` ({peg.owner})" for peg in pegs)
    provider = _providers(pegs[0])[0]
    return ModelAmbiguousError(f"the model `{name}` fits plugin {both}; write `{provider}:{name}` or the other's name")
