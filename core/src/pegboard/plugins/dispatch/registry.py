"""Registration through pluggy: which functions of a plugin are implementations, and whether they fit their hooks.

Only pluggy's public API. It owns markers, validation and the list of plugins; calling is not its business here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any

import pluggy

from pegboard.errors import PluginCollisionError, PluginKindError
from pegboard.hookspecs import FAMILIES, SPECS, ImplOptions, Spec, options_of
from pegboard.plugins.dispatch.implementation import Implementation, Pool, inspected
from pegboard.plugins.dispatch.order import HIGHEST_BAND, LOWEST_BAND, OPERATOR_BANDS

_PLUGGY_BAND = 50
"""What pluggy's own `tryfirst` and `trylast` mean in bands, without and with a minus."""

_UNMARKED_HINT = "add `@hookimpl` from `pegboard`"
Inspect = Callable[[Spec, Callable[..., Any], ImplOptions], Implementation]


class Registry(pluggy.PluginManager):
    """The plugins that are registered, by id."""

    def __init__(self, pool: Pool) -> None:
        super().__init__("pegboard")
        for family in FAMILIES:
            self.add_hookspecs(family)
        self._pool = pool
        self._joining: _Joining | None = None

    def join(
        self,
        plugin: str,
        obj: object,
        *,
        dist: str | None,
        version: str | None,
        options: Mapping[str, ImplOptions] | None,
        operator: bool,
        context: object | None,
    ) -> list[Implementation]:
        """Register `obj` and return its implementations.

        Raises:
            PluginKindError: an implementation does not fit; nothing of `obj` is registered then.
            PluginCollisionError: the id or the object is registered already.
        """
        if self.has_plugin(plugin) or self.is_registered(obj):
            raise PluginCollisionError(f"plugin `{plugin}` is registered already", plugin=plugin, dist=dist)

        def inspect(spec: Spec, function: Callable[..., Any], chosen: ImplOptions) -> Implementation:
            return inspected(spec, plugin, function, chosen, self._pool, dist=dist, version=version, context=context)

        in_code = dist is None and options is None
        self._joining = joining = _Joining(plugin, options, operator, inspect, in_code=in_code)
        try:
            self.register(obj, plugin)
            self.check_pending()
            joining.check_complete()
        except BaseException as error:
            if self.has_plugin(plugin):
                self.unregister(name=plugin)
            if isinstance(error, PluginKindError) and joining.in_code:
                error.hint = error.hint if error.hint == _UNMARKED_HINT else "peg help plugin.kind"
            raise
        finally:
            self._joining = None
        return list(joining.found.values())

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """Asked for each name of a plugin; nothing is looked up for names that its manifest does not list."""
        joining = self._joining
        if joining is None or not joining.wants(name):
            return None
        marks = super().parse_hookimpl_opts(plugin, name)
        if marks is not None:
            joining.add(name, getattr(plugin, name), marks)
        elif joining.in_code and name in SPECS:
            joining.check_unmarked(name, getattr(plugin, name))
        return marks


class _Joining:
    """One plugin while it is being registered."""

    def __init__(
        self,
        plugin: str,
        options: Mapping[str, ImplOptions] | None,
        operator: bool,
        inspect: Inspect,
        *,
        in_code: bool,
    ) -> None:
        self.in_code = in_code
        """Whether the host program gave it: there is no manifest and no distribution that `peg` could look into."""
        self._plugin = plugin
        self._options = options
        self._operator = operator
        self._inspect = inspect
        self.found: dict[str, Implementation] = {}

    def wants(self, name: str) -> bool:
        """Whether the manifest lists the name; without a manifest, every marked function counts."""
        return self._options is None or name in self._options

    def add(self, name: str, function: Callable[..., Any], marks: Mapping[str, Any]) -> None:
        """Take one implementation on."""
        hook = marks.get("specname") or name
        if hook not in SPECS:
            raise self._refused(f"implements `{hook}`, which is no hook{_near(hook)}")
        if marks.get("wrapper") or marks.get("hookwrapper"):
            raise self._refused(f"marks `{hook}` as a pluggy wrapper; use `call_next` of an `around` hook")
        options = self._options[name] if self._options is not None else options_of(function) or _from_marks(marks)
        self._check_band(hook, options.band)
        self.found[hook] = self._inspect(SPECS[hook], function, options)

    def check_unmarked(self, name: str, function: object) -> None:
        """A method with the name of a hook is meant as one; a gate that is not called would stand open unseen."""
        if callable(function):
            error = self._refused(f"has a method `{name}`, the name of a hook, without `@hookimpl`")
            error.hint = _UNMARKED_HINT
            raise error

    def check_complete(self) -> None:
        """Every hook that the manifest lists must have an implementation, or a gate could be missing unseen."""
        missing = sorted(set(self._options or ()) - set(self.found))
        if missing:
            name = missing[0]
            problem = f"has no `@hookimpl` function `{name}`" if name in SPECS else f"lists `{name}`, which is no hook"
            raise self._refused(f"{problem}{'' if name in SPECS else _near(name)}, although its manifest lists it")

    def _check_band(self, hook: str, band: int) -> None:
        if not LOWEST_BAND <= band <= HIGHEST_BAND:
            raise self._refused(f"wants band {band} in `{hook}`; bands go from {LOWEST_BAND} to {HIGHEST_BAND}")
        if band in OPERATOR_BANDS and not self._operator:
            raise self._refused(f"wants band {band} in `{hook}`, which only the operator's configuration may give")

    def _refused(self, problem: str) -> PluginKindError:
        hint = f"peg plugins validate {self._plugin}"
        return PluginKindError(f"plugin `{self._plugin}` {problem}", hint=hint, plugin=self._plugin)


def _from_marks(marks: Mapping[str, Any]) -> ImplOptions:
    if marks.get("tryfirst"):
        return ImplOptions(band=-_PLUGGY_BAND)
    return ImplOptions(band=_PLUGGY_BAND if marks.get("trylast") else 0)


def _near(name: str) -> str:
    near: Collection[str] = get_close_matches(name, SPECS, n=3)
    return f"; near: {', '.join(f'`{each}`' for each in near)}" if near else ""
