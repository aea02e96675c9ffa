"""The plugin host: which plugins a board has, in what state, and what they offer.

Plugins come from the host program, from the index of installed ones, and by path. Nothing of an installed plugin is
imported before something of it is used; whatever goes wrong with one is its own fault, and the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pegboard.clock import SYSTEM_CLOCK
from pegboard.config import Config
from pegboard.errors import (
    AgentNotFoundError,
    ConfigError,
    PegboardError,
    PluginKindError,
    PluginManifestError,
    PluginNotFoundError,
    PluginQuarantinedError,
    ToolNotFoundError,
)
from pegboard.hookspecs import SPECS
from pegboard.lazy import LazyModule
from pegboard.plugins.activator import Activator
from pegboard.plugins.chosen import ChosenDrivers
from pegboard.plugins.discovery import select
from pegboard.plugins.discovery.state import quarantine_key
from pegboard.plugins.dispatch.dispatcher import Dispatcher
from pegboard.plugins.dispatch.watchdog import Watchdog
from pegboard.plugins.faults import Fault, FaultLog, OnCalled, OnFault
from pegboard.plugins.models import Models
from pegboard.plugins.offers import KINDS, Kind, Offers, read_schema
from pegboard.plugins.peg import Peg
from pegboard.plugins.permissions import Permissions, permissions_of
from pegboard.plugins.reloading import FileWatch
from pegboard.plugins.roster import Given, Roster
from pegboard.plugins.services import PluginContext, Refreshed
from pegboard.plugins.undeclared import Recorder, Use
from pegboard.types import Agent, Secret, SecretRef

if TYPE_CHECKING:
    from pegboard.interfaces import Clock, Module, Tool
    from pegboard.model import ModelBase
    from pegboard.plugins.discovery.index import PluginRecord
    from pegboard.plugins.discovery.select import Decision
    from pegboard.plugins.dispatch.hooks import Hooks
    from pegboard.plugins.packages import lockfile
else:
    lockfile = LazyModule("pegboard.plugins.packages.lockfile")  # only for runs that are kept

OnState = Callable[[str, str, str, str], object]
"""`on_state(plugin, old, new, reason)`."""
BOARD = "pegboard"
"""The name that the board's own context goes by."""
_log = logging.getLogger("pegboard.plugins")


class PluginHost:
    """The plugins of one board. Nothing is looked for, read or imported before `start`.

    Args:
        plugins: objects or classes of the host program; they are activated at the start.
        autoload: whether installed plugins count.
        folders: each holds the `pegboard.toml` of a plugin under development.
        config: the settings; none by default.
        clock: time for deadlines and pauses.
        strict: raise what would be isolated, for tests.
        explain: time every call of every hook.
        on_state: told of each change of a plugin's state.
        on_fault: told of each failure of an implementation or activation.
        on_called: told of each call of a timed implementation.
        on_undeclared: told of each thing that a plugin did without permission, once.
        workspace: the folder that relative paths of plugins start from.
    """

    def __init__(
        self,
        plugins: Sequence[object] = (),
        *,
        autoload: bool = False,
        folders: Sequence[str | Path] = (),
        config: Config | None = None,
        clock: Clock = SYSTEM_CLOCK,
        strict: bool = False,
        explain: bool = False,
        on_state: OnState | None = None,
        on_fault: OnFault | None = None,
        on_called: OnCalled | None = None,
        on_undeclared: Callable[[Use], object] | None = None,
        workspace: Callable[[], str | Path] = Path.cwd,
    ) -> None:
        self.config = config if config is not None else Config()
        self.clock = clock
        self.strict = strict
        self.offers = Offers()
        self._log = FaultLog(on_fault, on_called)
        self.dispatcher = Dispatcher(self._log, clock, explain=explain, strict=strict, quarantine=self._tripped)
        self._given = Given(plugins, folders)
        self.autoload = autoload
        """Whether installed plugins are on the board."""
        self._on_state = on_state
        self._workspace = workspace
        self._roster: Roster | None = None
        self._activator = Activator(self)
        self._models = Models(self)
        self._files = FileWatch(self)
        # An audit hook stays for as long as the process, so a program that embeds us is asked first.
        records = self.config.get("record_undeclared", autoload)
        self._recorder = Recorder(self, on_undeclared) if records else None
        self._board = PluginContext(BOARD, self, Permissions(BOARD, {}, {}, {}))
        self._drivers = ChosenDrivers(self)
        self._stale: dict[tuple[str, Refreshed], None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._roots: dict[str, str] = {}
        self._watchdog: Watchdog | None = None
        self._set: tuple[list[PluginRecord], str, dict[str, str]] | None = None
        """What can be used, the digest of that, and versions."""
        self._started = False

    # --- the life of the board -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Find out who is there, activate who cannot wait, and tell all that the board has started.

        Raises:
            ConfigError: a hook that the configuration requires has no implementation.
            PluginKindError: a plugin that the host program gave implements a hook wrongly.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    def look(self) -> None:
        """Find out who is there and activate nobody; enough to ask for a driver. `start` begins with it."""
        self._roster = Roster(self._given, self.config, autoload=self.autoload, environ=os.environ)

    async def _start(self) -> None:
        self.look()
        self._files.begin()
        for text in (*self.roster.warnings, *(peg.told() for peg in self.failed)):
            _log.warning("%s", text)
        ready = self.roster.ready()
        for peg in ready:
            self._announce(peg)
        for peg in self.roster.pegs:
            if peg.state == select.QUARANTINED:
                self._shut_guards(peg)
        await self._activate_eager([peg for peg in ready if peg.is_eager()])
        self._check_required()
        self._started = True
        if (call := self.hooks.board_started) is not None:
            await call(self.context())

    async def stop(self) -> None:
        """Tell all that the board stops, then deactivate in the reverse order of activation. May be called twice."""
        if self._started and (call := self.hooks.board_stopping) is not None:
            await call(self.context())
        self._started = False
        for error in await self._models.close():
            _log.warning("a model could not be closed: %s", error)
        await self._settle_tasks()
        for peg in reversed(self._activator.order.copy()):
            await self._activator.deactivate(peg, select.READY, "stopped")
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None
        if self._recorder is not None:
            self._recorder.close()
        await self._drivers.close()
        self._activator.close()
        self.dispatcher.close()

    async def activate(self, plugin: str, *, force: bool = False) -> None:
        """Activate a plugin now. With `force` also one that is disabled or in quarantine, to try it.

        Raises:
            PluginNotFoundError: there is none.
            PegboardError: why it cannot be used.
        """
        peg = self._peg(plugin)
        if force and peg.state in (select.DISABLED, select.QUARANTINED):
            self._make_ready(peg)
        await self._wake(peg)

    @property
    def wants_before_run(self) -> bool:
        """Whether `before_run` has anything to do now."""
        return self._recorder is not None or self._files.is_due

    async def before_run(self, live: int) -> None:
        """Notice plugins whose files changed; reload those under development, unless `live` runs are under way."""
        if self._recorder is not None:
            self._recorder.remember()
        await self._files.look(live)

    async def disable(self, plugin: str, reason: str = "host") -> None:
        """Switch a plugin off on this board; calls that are under way come to their end."""
        peg = self._peg(plugin)
        hint = f"peg plugins enable {peg.id}"
        if peg.active:
            await self._activator.deactivate(peg, select.DISABLED, reason, hint=hint)
        else:
            self.dispatcher.unregister(peg.id)
            self.offers.withdraw(peg)
            self.change(peg, select.DISABLED, reason, hint=hint)

    async def enable(self, plugin: str) -> None:
        """Let a plugin be used that was disabled, or failed; it is tried at once when it cannot wait."""
        peg = self._peg(plugin)
        if peg.active or peg.state in (select.REJECTED, select.BLOCKED):
            return
        self._make_ready(peg)
        if peg.is_eager():
            await self._wake(peg)

    # --- what there is ---------------------------------------------------------------------------------------------

    @property
    def hooks(self) -> Hooks:
        """The hooks; read an attribute anew for each call."""
        return self.dispatcher.hooks

    @property
    def roster(self) -> Roster:
        """Who is on the board; only after `start`."""
        if self._roster is None:
            raise PegboardError("the plugin host was not started", hint="await host.start()")
        return self._roster

    @property
    def faults(self) -> FaultLog:
        """What plugins did wrong, newest last: `faults.kept`."""
        return self._log

    def records(self) -> Sequence[Peg]:
        """Every plugin that was found, also those that cannot run."""
        return self.roster.pegs

    @property
    def failed(self) -> list[Peg]:
        """Those that are wanted and cannot be used."""
        return [peg for peg in self.roster.pegs if peg.state in (select.REJECTED, select.BLOCKED, select.QUARANTINED)]

    def state(self, plugin: str) -> str:
        """The state of a plugin. Raises `PluginNotFoundError`."""
        return self._peg(plugin).state

    def peg(self, plugin: str) -> Peg:
        """The plugin of an id. Raises `PluginNotFoundError`."""
        return self._peg(plugin)

    def digest(self) -> str:
        """That of the plugin set in `peg plugins lock`, made once for each set; what the program gives is not in it."""
        return self._plugin_set()[1]

    def versions(self) -> Mapping[str, str]:
        """The versions of the same plugins, by id."""
        return self._plugin_set()[2]

    def _plugin_set(self) -> tuple[list[PluginRecord], str, dict[str, str]]:
        usable = [peg.record for peg in self.roster.pegs if peg.usable and peg.record.source != "object"]
        if self._set is None or self._set[0] != usable:
            self._set = usable, lockfile.plugin_set(usable)["digest"], lockfile.versions(usable)
        return self._set

    def context(self, plugin: str | None = None) -> PluginContext:
        """The context of a plugin; without one the board's own, which has no permissions."""
        return self._board if plugin is None else self.context_of(self._peg(plugin))

    def owner(self, kind: str, name: str) -> str | None:
        """The plugin that provides the tool, agent, module, command, model or driver (`store:sqlite`) of a name."""
        for each in KINDS:
            if each == f"{kind}s" and (peg := self.offers.owner(each, name)) is not None:
                return peg.id
        return self.roster.selection.claims.get(f"{kind}:{name}")

    # --- what they offer -------------------------------------------------------------------------------------------

    def tools(self) -> Mapping[str, Tool]:
        """Every tool by name; of a plugin that is not active a proxy, which activates it when it is called."""
        return MappingProxyType(self.offers.tools())

    async def tool(self, name: str) -> Tool:
        """The tool of a name; its plugin is activated. Raises `ToolNotFoundError`, or why the plugin cannot be used."""
        return await self._offered("tools", name, ToolNotFoundError, "peg plugins list")  # type: ignore[no-any-return]

    def agents(self) -> Mapping[str, str]:
        """Names of the agents that plugins provide, each with the plugin."""
        return {name: peg.id for name, peg in self.offers.names("agents").items()}

    async def agent(self, name: str) -> Agent:
        """The agent of a name; its plugin is activated. Raises as `tool` does, with `AgentNotFoundError`."""
        return await self._offered("agents", name, AgentNotFoundError, "peg agents list")  # type: ignore[no-any-return]

    async def modules(self, names: Iterable[str] | None = None) -> Mapping[str, Module]:
        """Modules by name, all or those that are named; their plugins are activated."""
        wanted = list(self.offers.names("modules") if names is None else names)
        return {name: await self._offered("modules", name, PluginNotFoundError, "peg plugins list") for name in wanted}

    async def model(self, name: str) -> ModelBase:
        """The model of a name, made once and closed by `stop`. See `Models.get` for what it raises."""
        return await self._models.get(name)

    def check_model(self, name: str) -> None:
        """Refuse the name of a model that no plugin could be asked for; none is activated. Raises as `model` does."""
        self._models.check(name)

    def makers(self, model: str) -> Sequence[Peg]:
        """The plugins that are asked for a model of this name. Raises `ModelAmbiguousError`."""
        return self._models.candidates(model)

    def driver(self, kind: str, name: str | None = None) -> Any:
        """The driver of a kind, made once; the one that the configuration names unless a name is given.

        Its factory is called with the context of the plugin that announces it, or with the board's own.

        Raises:
            DriverMissingError: none is configured, or that one is not installed.
        """
        return self._drivers.get(kind, name)

    def has_driver(self, kind: str) -> bool:
        """Whether `driver` has one to give. Raises `DriverMissingError` where several are there to choose from."""
        return self._drivers.name(kind) is not None

    @property
    def stale(self) -> bool:
        """Whether a plugin asked to be asked again; the runner calls `apply_refreshes` at a turn boundary."""
        return bool(self._stale)

    async def apply_refreshes(self) -> None:
        """Ask those plugins again; what goes wrong is theirs, and what they gave before stays."""
        while self._stale:
            plugin, what = next(iter(self._stale))
            del self._stale[plugin, what]
            peg = self._peg(plugin)
            if what == "models":
                self._models.forget(peg)
            elif peg.active:
                try:
                    await self._activator.provide(peg, what)
                except PegboardError as exc:
                    _log.warning("plugin `%s`: its %s stay as they were: %s", peg.id, what, exc.message)

    # --- for the services of plugins: the protocol `services.Board` ------------------------------------------------

    def workspace(self) -> Path:
        """The folder that relative paths start from."""
        return Path(self._workspace())

    def refresh(self, plugin: str, what: Refreshed) -> None:
        """Remember that a plugin wants to be asked again."""
        self._stale[plugin, what] = None

    async def resolve_secret(
        self, context: PluginContext, ref: SecretRef, purpose: str, destination: str
    ) -> Secret | None:
        """What the plugins that keep secrets answer."""
        call = self.hooks.resolve_secret
        return await call(context, ref, purpose, destination) if call is not None else None

    # --- for what watches the files ----------------------------------------------------------------------------------

    def active(self) -> Sequence[Peg]:
        """Those that are active, in the order in which they became so."""
        return tuple(self._activator.order)

    def drivers_of(self, peg: Peg) -> list[str]:
        """The drivers of a plugin that the board has made, as `kind:name`."""
        return self._drivers.of(peg)

    async def put_away(self, peg: Peg) -> None:
        """Deactivate a plugin, and close its models."""
        for error in await self._models.close(peg):
            _log.warning("a model of plugin `%s` could not be closed: %s", peg.id, error)
        await self._activator.deactivate(peg, select.READY, "reload")

    async def bring_back(self, peg: Peg, decision: Decision | None, *, at_once: bool) -> None:
        """Have a plugin on the board again as it is now. What goes wrong with it is its own."""
        peg.renew(decision)
        if decision is not None and decision.state == select.READY:
            self._make_ready(peg)
            if at_once or peg.is_eager():
                with contextlib.suppress(PegboardError):
                    await self._wake(peg)
            return
        self.dispatcher.unregister(peg.id)
        self.offers.withdraw(peg)
        gone = (select.REJECTED, "files", "it is not there any more", "peg plugins list --all")
        self.change(peg, *(decision.why if decision is not None else gone))

    # --- for the activator and the models ----------------------------------------------------------------------------

    def board_context(self) -> PluginContext:
        """The board's own context."""
        return self._board

    def context_of(self, peg: Peg) -> PluginContext:
        """A plugin's context, made at its first use."""
        if peg.context is None:
            permissions = permissions_of(peg.record, self.roster.state, self.config.plugin_core(peg.id))
            peg.context = PluginContext(peg.id, self, permissions, lambda: self._settings(peg))
        return peg.context

    def change(self, peg: Peg, state: str, reason: str = "", message: str = "", hint: str = "") -> None:
        """A plugin changes its state."""
        old, peg.state = peg.state, state
        peg.reason, peg.message, peg.hint = reason, message, hint
        self._watch_over(peg)
        if self._recorder is not None and state == select.ACTIVATING:
            self._recorder.watch(peg)
        if self._on_state is not None:
            self._on_state(peg.id, old, state, message or reason)

    def _watch_over(self, peg: Peg) -> None:
        """Have the watchdog know the code of an active plugin; it starts with the first one."""
        root = peg.code_root
        if root is None:
            return
        if peg.active:
            self._roots[root] = peg.id
        else:
            self._roots.pop(root, None)
        if self._roots and self._watchdog is None:
            self._watchdog = Watchdog(self._roots, self.dispatcher.trip)
            self._watchdog.start()

    def model_plugins(self) -> Sequence[Peg]:
        """The plugins that can make models and may run."""
        return [
            peg
            for peg in self.roster.pegs
            if peg.usable and ("provide_model" in peg.manifest.get("hooks", {}) or self._provides_models(peg))
        ]

    async def ask_for_model(self, pegs: Sequence[Peg], name: str) -> ModelBase | None:
        """Activate these plugins and ask them for a model, in the order of the hook."""
        for peg in pegs:
            try:
                await self._wake(peg)
            except PegboardError:
                if len(pegs) == 1:
                    raise
        call = self.dispatcher.only("provide_model", [peg.id for peg in pegs if peg.active])
        return await call(self.context(), name) if call is not None else None

    # --- inside ------------------------------------------------------------------------------------------------------

    def _peg(self, plugin: str) -> Peg:
        peg = self.roster.get(plugin)
        if peg is None:
            near = difflib.get_close_matches(plugin, [each.id for each in self.roster.pegs], n=1)
            text = f"; did you mean `{near[0]}`?" if near else ""
            raise PluginNotFoundError(f"there is no plugin `{plugin}`{text}", plugin=plugin)
        return peg

    def _settings(self, peg: Peg) -> dict[str, Any]:
        table = peg.manifest.get("config", {})
        return self.config.plugin_settings(peg.id, read_schema(peg, table.get("schema")), table.get("secrets", ()))

    def _provides_models(self, peg: Peg) -> bool:
        return peg.record.manifest is None and peg.id in self.dispatcher.plugins_of("provide_model")

    def _announce(self, peg: Peg) -> None:
        """What a ready plugin has before it is active: names of what it offers, and stubs for its hooks."""
        if peg.record.manifest is None:
            return
        try:
            self.offers.announce(peg, self.tool)
        except PluginManifestError as exc:
            peg.error = exc
            self.change(peg, select.REJECTED, "schema", exc.message, exc.hint or "")
            _log.warning("%s", peg.told())
            self._shut_guards(peg)
            return
        # Also where it is activated at once: should that fail, its gates are there to be shut.
        if hooks := peg.stubbed_hooks():
            self.dispatcher.stub(peg.id, hooks, lambda: self._wake(peg), provides=select.provides(peg.record))

    def _shut_guards(self, peg: Peg) -> None:
        """A plugin that stays in quarantine still guards: its gates deny, since leaving them out would open them."""
        if hooks := peg.stubbed_hooks():
            self.dispatcher.stub(peg.id, hooks, lambda: self._wake(peg))
            self.dispatcher.unregister(peg.id, because=peg.refusal())

    async def _settle_tasks(self) -> None:
        """Give up activations that are under way, and let what was begun in the background come to its end."""
        activations = [peg.task for peg in self._roster.pegs if peg.task is not None] if self._roster else []
        for task in activations:
            task.cancel()
        await asyncio.gather(*activations, *self._tasks, return_exceptions=True)

    def _make_ready(self, peg: Peg) -> None:
        peg.error = None
        self.dispatcher.unregister(peg.id)
        self.offers.withdraw(peg)
        self.change(peg, select.READY)
        self._announce(peg)

    async def _activate_eager(self, pegs: Sequence[Peg]) -> None:
        """One after another, so that a start that dies has one culprit, whose name is on the disk by then."""
        marked = False
        for peg in pegs:
            if peg.state != select.READY:
                continue
            if peg.record.source == "entry_point":
                self._mark_start(peg)
                marked = True
            try:
                await self._activator.activate(peg)
            except (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
                self._write_state(self.roster.state_file.interrupted)
                raise
            except PegboardError as exc:
                # A hook that a given object misses is the host program's own mistake, and may be a gate left open.
                if self.strict or (isinstance(exc, PluginKindError) and peg.record.source == "object"):
                    raise
        if marked:
            self._mark_start(None)

    def _mark_start(self, peg: Peg | None) -> None:
        """Note on the disk which plugin is being activated; `None` when all that could kill the start is over."""
        file = self.roster.state_file
        if peg is None:
            self._write_state(file.started)
        else:
            self._write_state(partial(file.starting, peg.id, quarantine_key(peg.record)))

    @staticmethod
    def _write_state(write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as exc:
            _log.warning("the state of plugins could not be written: %s", exc)

    async def _wake(self, peg: Peg) -> None:
        """Activate a plugin in the course of the board's life; it is told then that the board has started."""
        if peg.active:
            return
        await self._activator.activate(peg)
        if self._started:
            await self.dispatcher.replay(peg.id)

    async def _offered(self, kind: Kind, name: str, missing: type[PegboardError], hint: str) -> Any:
        value = self.offers.get(kind, name)
        if value is not None:
            return value
        peg = self.offers.owner(kind, name) or self._failed_owner(kind, name)
        if peg is None:
            near = difflib.get_close_matches(name, list(self.offers.names(kind)), n=1)
            text = f"no plugin provides the {kind[:-1]} `{name}`{f'; did you mean `{near[0]}`?' if near else ''}"
            raise self.offers.fault(kind, name) or missing(text, hint=hint)
        await self._wake(peg)
        value = self.offers.get(kind, name)
        if value is None:
            text = f"plugin `{peg.id}` ({peg.owner}) does not provide the {kind[:-1]} `{name}`"
            raise self.offers.fault(kind, name) or missing(text, hint=hint)
        return value

    def _failed_owner(self, kind: Kind, name: str) -> Peg | None:
        """The plugin that had announced a name and failed since; what went wrong says more than that it is gone."""
        peg = self.roster.get(self.roster.selection.claims.get(f"{kind[:-1]}:{name}", ""))
        return peg if peg is not None and peg.error is not None else None

    def _check_required(self) -> None:
        for hook in self.config.get("required_hooks", ()):
            if hook not in SPECS or not self.dispatcher.plugins_of(hook):
                text = "no plugin implements it" if hook in SPECS else "there is no such hook"
                raise ConfigError(
                    f"the configuration requires the hook `{hook}`, and {text}",
                    hint="peg config explain required_hooks",
                )

    def _tripped(self, plugin: str) -> None:
        """The breaker opened for the whole plugin. Called in the middle of a dispatch, so the rest happens after it."""
        peg = self.roster.get(plugin)
        if peg is None or not peg.active:
            return
        message = "its hooks failed again and again"
        self._activator.remember_quarantine(peg, message)
        self._later(self._quarantine(peg, message))

    async def _quarantine(self, peg: Peg, message: str) -> None:
        if not peg.active:
            return
        hint = f"peg plugins enable {peg.id} --test"
        error = PluginQuarantinedError(
            f"plugin `{peg.id}` ({peg.owner}) is in quarantine: {message}",
            hint=hint,
            plugin=peg.id,
            dist=peg.dist,
            version=peg.version,
        )
        peg.error = error
        await self._activator.deactivate(peg, select.QUARANTINED, "breaker", message, hint, because=error)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


__all__ = ["BOARD", "Fault", "OnState", "PluginHost"]
