"""The dispatcher: which implementations a hook has, in which order, and the functions that call them.

The functions are made at the first call and dropped whenever plugins come, go, fail or recover. Importing this module
imports neither pluggy nor the hook specifications; making a `Dispatcher` does.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from pegboard.lazy import LazyModule
from pegboard.plugins.dispatch.activation import Activate, Stubs
from pegboard.plugins.dispatch.attribution import CallRecord, Report
from pegboard.plugins.dispatch.breaker import Breaker
from pegboard.plugins.dispatch.calls import code_of
from pegboard.plugins.dispatch.compose import Dispatch, compose
from pegboard.plugins.dispatch.hooks import Hooks
from pegboard.plugins.dispatch.implementation import Implementation
from pegboard.plugins.dispatch.order import Arrangement, OrderRow, Place, arrange
from pegboard.plugins.dispatch.results import Collected, Verdicts
from pegboard.threads import DaemonPool

if TYPE_CHECKING:
    from pegboard import hookspecs
    from pegboard.hookspecs import ImplOptions, Spec
    from pegboard.interfaces import Clock
    from pegboard.plugins.dispatch import registry
else:
    hookspecs = LazyModule("pegboard.hookspecs")
    registry = LazyModule("pegboard.plugins.dispatch.registry")

__all__ = ["CallRecord", "Collected", "Dispatcher", "Hooks", "OrderRow", "Report", "Verdicts"]

_SHUT_CODE = "plugin.quarantined"
_log = logging.getLogger("pegboard.plugins")


class Dispatcher:
    """The implementations of all hooks of one board.

    Args:
        report: is told of faults, and of every call of a timed hook.
        clock: when a plugin that failed is tried again.
        explain: every hook is timed and says what was changed, also through `hooks`.
        strict: errors of implementations are raised instead of isolated, for tests.
        quarantine: called with the id of a plugin that has to be switched off altogether.
    """

    def __init__(
        self,
        report: Report,
        clock: Clock,
        *,
        explain: bool = False,
        strict: bool = False,
        quarantine: Callable[[str], object] = lambda plugin: None,
    ) -> None:
        self.report = report
        self.strict = strict
        self.hooks = Hooks()
        self._explain = explain
        self._explaining: Hooks | None = None
        self._clock = clock
        self._pool = DaemonPool(name="pegboard-hook")
        self._registry = registry.Registry(self._pool.run)
        self._specs: Mapping[str, Spec] = hookspecs.SPECS
        self._implementations: dict[str, dict[str, Implementation]] = {name: {} for name in self._specs}
        self._provides: dict[str, frozenset[str]] = {}
        self._breaker = Breaker(clock, quarantine)
        self._stubs = Stubs(self._activated)
        self._subsets: dict[str, dict[frozenset[str], Dispatch | None]] = {name: {} for name in self._specs}
        self._cycles: set[tuple[str, tuple[str, ...]]] = set()
        self._last: dict[str, tuple[Any, ...]] = {}
        """The arguments of the last call of hooks with `replay`."""
        self._refresh(self._specs)

    # --- who is there --------------------------------------------------------------------------------------------

    def register(
        self,
        plugin_id: str,
        obj: object,
        *,
        dist: str | None = None,
        version: str | None = None,
        options: Mapping[str, ImplOptions] | None = None,
        operator: bool = False,
        provides: Collection[str] = (),
        context: object | None = None,
    ) -> None:
        """Take on the implementations of a plugin object.

        Args:
            plugin_id: its id, also in every report.
            obj: the object whose methods are the implementations.
            dist: its distribution, and
            version: the version of that, for reports.
            options: by hook name, from the manifest. Then these hooks are registered and no others, and what the code
                says of them does not count. Without it every function that is marked with `hookimpl` counts.
            operator: whether the operator's configuration places it; the outermost bands are open to nobody else.
            provides: capabilities, which others may name in `before` and `after` as `cap:<name>`.
            context: the plugin's `HostContext`. Its implementations of hooks that take a `HostContext` get this one.

        Raises:
            PluginKindError: an implementation does not fit its hook; nothing was registered.
            PluginCollisionError: the id is taken.
        """
        found = self._registry.join(
            plugin_id, obj, dist=dist, version=version, options=options, operator=operator, context=context
        )
        changed = self._drop(plugin_id)
        for implementation in found:
            self._implementations[implementation.hook][plugin_id] = implementation
        self._provides[plugin_id] = frozenset(provides)
        self._refresh({*changed, *(implementation.hook for implementation in found)})

    def unregister(self, plugin_id: str, *, because: BaseException | None = None) -> None:
        """Let a plugin go, whether it is registered, a stub, or neither.

        With `because` it did not go by anybody's wish: its gates deny, and what fails closed stays closed, until it
        is registered or unregistered again.
        """
        if self._registry.has_plugin(plugin_id):
            self._registry.unregister(name=plugin_id)
        gone = self._drop(plugin_id)
        self._provides.pop(plugin_id, None)
        if because is not None:
            self._shut(plugin_id, gone, because)
        self._refresh(gone)

    def stub(
        self, plugin_id: str, hook_names: Iterable[str], activate: Activate, *, provides: Collection[str] = ()
    ) -> None:
        """Let a plugin that is not imported stand for hooks; the first call of one of them awaits `activate()`.

        `activate` is to register the plugin. Where it fails, the plugin's gates deny, as in `unregister`.
        `on_event` cannot wait: the first event starts the activation and is not seen by the plugin.
        """
        known = [name for name in hook_names if name in self._specs]
        self._stubs.add(plugin_id, known, activate)
        self._provides[plugin_id] = frozenset(provides)
        self._refresh(known)

    def order(self, hook: str) -> Sequence[OrderRow]:
        """The implementations in the order in which they are called, first or outermost first, each with reasons."""
        return self._arrangement(hook).rows

    def plugins_of(self, hook: str) -> tuple[str, ...]:
        """Ids of the plugins that implement a hook: the registered ones in order, then those that are not active."""
        return (*(row.plugin for row in self.order(hook)), *self._stubs.of(hook))

    # --- how they are called -------------------------------------------------------------------------------------

    @property
    def explaining(self) -> Hooks:
        """The same hooks, every call timed and reported with what it changed."""
        if self._explaining is None:
            self._explaining = Hooks()
            self._refresh(self._specs)
        return self._explaining

    def only(self, hook: str, plugins: Collection[str]) -> Any:
        """The function of a hook for some plugins only; `None` when none of them implements it."""
        wanted = frozenset(plugins)
        known = self._subsets[hook]
        if wanted not in known:
            known[wanted] = self._entrance(hook, self._explain, wanted)
        return known[wanted]

    async def replay(self, plugin_id: str) -> None:
        """Hand a plugin that was activated late the last value of each hook that its spec says to repeat."""
        for hook, arguments in self._last.items():
            call = self.only(hook, (plugin_id,))
            if call is not None:
                await call(*arguments)

    def trip(self, plugin_id: str, function: str, error: BaseException) -> None:
        """Charge a plugin from outside, as the watchdog does, and stop asking it.

        In the hook `function`, or in all of its hooks where `function` is none of them.
        """
        hooks = [name for name, found in self._implementations.items() if plugin_id in found]
        for hook in [function] if function in hooks else hooks:
            implementation = self._implementations[hook][plugin_id]
            record = CallRecord(
                hook=hook,
                plugin=plugin_id,
                dist=implementation.dist,
                version=implementation.version,
                outcome="timeout",
                error_code=code_of(error),
            )
            self.report.fault(record, error)
            self._breaker.trip(plugin_id, hook, error)
            self._refresh((hook,))

    def close(self) -> None:
        """Let the idle threads of blocking implementations end."""
        self._pool.close()

    # --- what the dispatchers tell: the protocol `calls.Watch` -----------------------------------------------------

    def wants_success(self, implementation: Implementation) -> bool:
        """Whether a success of it closes a circuit."""
        return self._breaker.state(implementation.plugin, implementation.hook) != "closed"

    def failed(self, implementation: Implementation, error: BaseException) -> None:
        """Count a failure, and make the dispatcher anew when that changes who is asked."""
        plugin, hook = implementation.plugin, implementation.hook
        if self.strict or self._implementations[hook].get(plugin) is not implementation:
            return
        before = self._breaker.state(plugin, hook)
        self._breaker.failed(plugin, hook, error)
        if self._breaker.state(plugin, hook) != before:
            self._refresh((hook,))

    def succeeded(self, implementation: Implementation) -> None:
        """Forget its failures."""
        self._breaker.succeeded(implementation.plugin, implementation.hook)
        self._refresh((implementation.hook,))

    # --- inside --------------------------------------------------------------------------------------------------

    def _drop(self, plugin: str) -> set[str]:
        """Forget all of a plugin; the hooks that it was in."""
        self._breaker.forget(plugin)
        hooks = set(self._stubs.discard(plugin))
        for hook, found in self._implementations.items():
            if found.pop(plugin, None) is not None:
                hooks.add(hook)
        return hooks

    def _activated(self, plugin: str, hooks: Collection[str], error: BaseException | None) -> None:
        """An activation came to its end; `hooks` are those that the plugin did not register."""
        if error is not None:
            for hook in sorted(hooks)[:1]:
                record = CallRecord(hook=hook, plugin=plugin, outcome="error", error_code=code_of(error))
                self.report.fault(record, error)
        self._shut(plugin, hooks, error)
        self._refresh(hooks)

    def _shut(self, plugin: str, hooks: Iterable[str], error: BaseException | None) -> None:
        code = _SHUT_CODE if error is None else code_of(error)
        for hook in hooks:
            if _is_closed_on_error(self._specs[hook]):
                implementation = Implementation(self._specs[hook], plugin, hookspecs.ImplOptions())
                self._implementations[hook][plugin] = implementation.closed_off(code)

    def _refresh(self, hooks: Iterable[str]) -> None:
        """Drop the functions of these hooks; they are made anew at their next call."""
        for hook in hooks:
            self._subsets[hook].clear()
            setattr(self.hooks, hook, self._entrance(hook, self._explain, None))
            if self._explaining is not None:
                setattr(self._explaining, hook, self._entrance(hook, True, None))

    def _entrance(self, hook: str, explain: bool, wanted: frozenset[str] | None) -> Dispatch | None:
        """What stands for a hook until its first call; `None` when nobody implements it."""
        spec = self._specs[hook]
        if self._is_empty(hook, wanted):
            return None
        enter = _enter_plain if spec.sync_only else _enter_stream if spec.kind == "stream" else _enter
        return enter(partial(self._awake, hook, wanted), partial(self._build, hook, explain, wanted))

    def _is_empty(self, hook: str, wanted: frozenset[str] | None) -> bool:
        present = {*self._implementations[hook], *self._stubs.of(hook)}
        return not (present if wanted is None else present & wanted) and not self._specs[hook].replay

    def _waiting(self, hook: str, wanted: frozenset[str] | None) -> list[str]:
        """Plugins that must be activated first."""
        return [plugin for plugin in self._stubs.of(hook) if wanted is None or plugin in wanted]

    def _awake(self, hook: str, wanted: frozenset[str] | None) -> Awaitable[None] | None:
        waiting = self._waiting(hook, wanted)
        if not self._specs[hook].sync_only:
            return self._stubs.awake(waiting) if waiting else None
        for plugin in waiting:
            self._stubs.start(plugin)
        return None

    def _build(self, hook: str, explain: bool, wanted: frozenset[str] | None) -> Dispatch:
        """Make the function of a hook, and keep it unless plugins of it are still being activated."""
        asked, reopens_at = self._lineup(hook, wanted)
        call = compose(self._specs[hook], asked, self, explain=explain)
        if self._specs[hook].replay:
            call = self._remembering(hook, call)
        if reopens_at is not None:
            call = self._until(reopens_at, call, hook, explain, wanted)
        if not self._waiting(hook, wanted) and not self._is_empty(hook, wanted):
            self._keep(call, hook, explain, wanted)
        return call

    def _keep(self, call: Dispatch, hook: str, explain: bool, wanted: frozenset[str] | None) -> None:
        if wanted is not None:
            self._subsets[hook][wanted] = call
            return
        if explain == self._explain:
            setattr(self.hooks, hook, call)
        if explain and self._explaining is not None:
            setattr(self._explaining, hook, call)

    def _lineup(self, hook: str, wanted: frozenset[str] | None) -> tuple[list[Implementation], float | None]:
        """Who is asked, in order, and when somebody who is left out may be tried again."""
        asked: list[Implementation] = []
        reopen: list[float] = []
        for row in self._arrangement(hook).rows:
            if wanted is not None and row.plugin not in wanted:
                continue
            implementation = self._implementations[hook][row.plugin]
            if self._breaker.state(row.plugin, hook) == "open":
                reopen.append(self._breaker.reopens_at(row.plugin, hook))
                if not _is_closed_on_error(self._specs[hook]):
                    continue
                implementation = implementation.closed_off(_SHUT_CODE)
            asked.append(implementation)
        return asked, min(reopen, default=None)

    def _until(
        self, reopens_at: float, call: Dispatch, hook: str, explain: bool, wanted: frozenset[str] | None
    ) -> Dispatch:
        """`call`, until somebody who is left out may be tried again. Only then is a clock read per call."""

        def dispatch(*arguments: Any) -> Any:
            if self._clock.monotonic() < reopens_at:
                return call(*arguments)
            self._refresh((hook,))
            return self._build(hook, explain, wanted)(*arguments)

        return dispatch

    def _remembering(self, hook: str, call: Dispatch) -> Dispatch:
        def dispatch(*arguments: Any) -> Any:
            self._last[hook] = arguments
            return call(*arguments)

        return dispatch

    def _arrangement(self, hook: str) -> Arrangement:
        arrangement = arrange(
            Place(plugin=plugin, options=each.options, provides=self._provides.get(plugin, frozenset()))
            for plugin, each in self._implementations[hook].items()
        )
        for cycle in arrangement.cycles:
            if (hook, cycle) not in self._cycles:
                self._cycles.add((hook, cycle))
                _log.warning("the order of hook `%s` has a cycle, so wishes were dropped: %s", hook, " → ".join(cycle))
        return arrangement


def _enter(awake: Callable[[], Awaitable[None] | None], build: Callable[[], Dispatch]) -> Dispatch:
    """What stands for a hook until its first call."""

    async def dispatch(*arguments: Any) -> Any:
        waiting = awake()
        if waiting is not None:
            await waiting
        return await build()(*arguments)

    return dispatch


def _enter_plain(awake: Callable[[], Awaitable[None] | None], build: Callable[[], Dispatch]) -> Dispatch:
    def dispatch(*arguments: Any) -> Any:
        awake()
        return build()(*arguments)

    return dispatch


def _enter_stream(awake: Callable[[], Awaitable[None] | None], build: Callable[[], Dispatch]) -> Dispatch:
    async def dispatch(ctx: Any, stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
        waiting = awake()
        if waiting is not None:
            await waiting
        async with aclosing(build()(ctx, stream)) as items:
            async for item in items:
                yield item

    return dispatch


def _is_closed_on_error(spec: Spec) -> bool:
    return spec.kind == "gate" or spec.on_error == "closed"
