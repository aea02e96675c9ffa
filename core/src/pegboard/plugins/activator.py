"""Brings one plugin to life and to rest: admission, requirements, settings, import, registration, offers, undo.

Several callers wait for one activation. Whatever it raises sidelines the plugin alone, and is raised as a typed error
to whoever needed it.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import Protocol

from pegboard.config import Config
from pegboard.errors import (
    PegboardError,
    PluginCollisionError,
    PluginConsentError,
    PluginCycleError,
    PluginKindError,
    PluginLoadError,
    PluginManifestError,
    PluginRequiresError,
    PluginTimeoutError,
)
from pegboard.interfaces import Clock
from pegboard.plugins.discovery import select
from pegboard.plugins.discovery.index import file_stamp
from pegboard.plugins.dispatch.attribution import CallRecord
from pegboard.plugins.dispatch.calls import goes_up
from pegboard.plugins.dispatch.dispatcher import Dispatcher
from pegboard.plugins.faults import FaultLog
from pegboard.plugins.loading import ABANDON_AFTER_S, DEACTIVATE_WITHIN_S, Loader, absent_imports
from pegboard.plugins.offers import KINDS, Kind, Offers
from pegboard.plugins.peg import Peg
from pegboard.plugins.roster import Roster
from pegboard.plugins.services import PluginContext
from pegboard.types import Allow, Ask, Deny, PluginCandidate, Verdict

ACTIVATION = "activation"
"""What stands for the hook in the record of a fault that no hook call made."""

_chain: ContextVar[tuple[str, ...]] = ContextVar("pegboard_activating", default=())
_log = logging.getLogger("pegboard.plugins")


class Host(Protocol):
    """What is needed of the host."""

    config: Config
    clock: Clock
    dispatcher: Dispatcher
    offers: Offers

    @property
    def roster(self) -> Roster:
        """Who is on the board."""

    @property
    def faults(self) -> FaultLog:
        """What plugins did wrong."""

    def context_of(self, peg: Peg) -> PluginContext:
        """The plugin's context, made at its first use, with its settings validated."""

    def board_context(self) -> PluginContext:
        """The board's own context."""

    def change(self, peg: Peg, state: str, reason: str = "", message: str = "", hint: str = "") -> None:
        """A plugin changes its state."""


class Activator:
    """Activates and deactivates the plugins of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loader = Loader(host.clock)
        self._waits: dict[str, str] = {}
        """Plugin being activated → the plugin that it waits for."""
        self.order: list[Peg] = []
        """Those that are active, in the order in which they became so."""

    async def activate(self, peg: Peg) -> None:
        """Activate a plugin, or wait until that is done.

        Raises:
            PluginCycleError: it is needed for its own activation.
            PegboardError: it is in a state that does not allow it, or its activation failed.
        """
        if peg.active:
            return
        if peg.state not in (select.READY, select.ACTIVATING):
            raise peg.refusal()
        chain = _chain.get()
        self._check_circle(peg, chain)
        if peg.task is None:
            token = _chain.set((*chain, peg.id))
            peg.task = asyncio.create_task(self._run(peg), name=f"activate plugin {peg.id}")
            _chain.reset(token)
        if chain:
            self._waits[chain[-1]] = peg.id
        try:
            await asyncio.shield(peg.task)
        finally:
            if chain:
                self._waits.pop(chain[-1], None)
        if not peg.active:
            raise peg.refusal()

    async def deactivate(
        self,
        peg: Peg,
        state: str,
        reason: str,
        message: str = "",
        hint: str = "",
        *,
        because: PegboardError | None = None,
    ) -> None:
        """Take an active plugin from the board: its hooks first, then `deactivate(ctx)`, then its undo functions.

        With `because` it did not go by anybody's wish, and what guards stays closed.
        """
        host = self._host
        host.dispatcher.unregister(peg.id, because=because)
        host.offers.withdraw(peg)
        if peg in self.order:
            self.order.remove(peg)
        host.change(peg, state, reason, message, hint)
        try:
            await self._loader.call(peg, "deactivate", DEACTIVATE_WITHIN_S, [])
        except BaseException as exc:
            if goes_up(exc):
                raise
            self._charge(peg, "deactivate", exc)
        await self._undo(peg)

    async def provide(self, peg: Peg, kind: Kind) -> None:
        """Ask a plugin for its tools, modules or agents.

        Raises:
            PluginContributionsError: they are not those of its manifest.
            PluginCollisionError: a name is taken.
        """
        call = self._host.dispatcher.only(f"provide_{kind}", (peg.id,))
        if call is None:
            return
        before = self._host.faults.count
        found = await call(self._host.context_of(peg))
        failed = self._host.faults.since(before)
        if found.missing and failed:
            raise failed[-1].error
        self._host.offers.add(peg, kind, [value for _, values in found for value in values])
        for error in self._host.offers.faulty(peg).values() if kind == "tools" else ():
            self._charge(peg, "provide_tools", error)
            _log.warning("%s; %s", error.message, f"peg plugins info {peg.id}")

    def close(self) -> None:
        """Let idle threads end."""
        self._loader.close()

    # --- one activation, step by step --------------------------------------------------------------------------------

    async def _run(self, peg: Peg) -> None:
        host = self._host
        started = host.clock.monotonic()
        host.change(peg, select.ACTIVATING)
        try:
            await self._admit(peg)
            await self._requirements(peg)
            await self._bring_in(peg)
        except BaseException as exc:  # SystemExit too: a plugin does not end the host
            if goes_up(exc):
                host.change(peg, select.READY)
                raise
            await self._sideline(peg, exc)
        else:
            peg.activation_ms = (host.clock.monotonic() - started) * 1000
            peg.stamp = file_stamp(peg.record.manifest_path) if peg.record.manifest_path else None
            self.order.append(peg)
            self._settle(peg)
        finally:
            peg.task = None

    async def _admit(self, peg: Peg) -> None:
        gate = self._host.dispatcher.hooks.admit_plugin
        if gate is None or peg.record.source == "object":
            return
        record = peg.record
        candidate = PluginCandidate(
            plugin=peg.id, dist=peg.dist, version=peg.version, manifest=peg.manifest, path=record.package_path
        )
        said = await gate(self._host.board_context(), candidate)
        if isinstance(said.verdict, Ask | Deny):
            reasons = "; ".join(text for _, opinion in said.opinions if (text := _reason(opinion)))
            raise PluginConsentError(
                f"plugin `{peg.id}` ({peg.owner}) was not admitted: {reasons or 'a policy denied it'}",
                hint=f"peg plugins info {peg.id}",
                plugin=peg.id,
                dist=peg.dist,
                version=peg.version,
            )

    async def _requirements(self, peg: Peg) -> None:
        for name in self._host.roster.requirements(peg):
            needed = self._host.roster.get(name)
            try:
                if needed is not None:
                    await self.activate(needed)
            except PluginCycleError:
                raise
            except PegboardError as exc:
                raise PluginRequiresError(
                    f"plugin `{peg.id}` requires plugin `{name}`, which is not there: {exc.message}", hint=exc.hint
                ) from exc

    async def _bring_in(self, peg: Peg) -> None:
        host = self._host
        if _runtime(peg, host.config) == "subprocess":
            raise _no_process(peg)
        dependants = host.roster.dependants(peg.id)
        context = host.context_of(peg)
        context.validate()
        if peg.object is None:
            peg.object = await self._loader.load(peg, dependants)
        if peg.object is None:
            return
        await self._loader.call(peg, "activate", ABANDON_AFTER_S, dependants)
        host.dispatcher.register(
            peg.id,
            peg.object,
            dist=peg.dist,
            version=peg.version,
            options=peg.options(),
            provides=select.provides(peg.record),
            context=context,
        )
        for kind in KINDS:
            await self.provide(peg, kind)

    def _settle(self, peg: Peg) -> None:
        absent = absent_imports(peg.record)
        if faulty := self._host.offers.faulty(peg):
            text = "; ".join(error.message for error in faulty.values())
            self._host.change(peg, select.DEGRADED, "tools", text, f"peg plugins info {peg.id}")
            return
        if not absent:
            self._host.change(peg, select.ACTIVE)
            return
        text = ", ".join(f"`{module}`" for module in absent)
        hint = f"pip install {' '.join(repr(wanted) for wanted in absent.values())}"
        self._host.change(peg, select.DEGRADED, "imports", f"without the optional {text}", hint)

    # --- when it fails -----------------------------------------------------------------------------------------------

    async def _sideline(self, peg: Peg, cause: BaseException) -> None:
        """Keep a plugin from being called, with the reason; what guards stays closed."""
        error = self._typed(peg, cause)
        peg.error = error
        self._host.dispatcher.unregister(peg.id, because=error)
        self._host.offers.withdraw(peg)
        state, reason = _resting_place(error)
        self._host.change(peg, state, reason, error.message, error.hint or "")
        self._charge(peg, ACTIVATION, error)
        _log.warning("%s", peg.told())  # a plugin that is skipped in silence is as bad as a crash
        if isinstance(error, PluginTimeoutError) and peg.record.source == "entry_point":
            self.remember_quarantine(peg, error.message)
        await self._undo(peg)
        if peg.record.source != "object":
            peg.object = None

    def remember_quarantine(self, peg: Peg, reason: str) -> None:
        """Keep this version of a plugin from being started again."""
        try:
            self._host.roster.state_file.put_in_quarantine(peg.record, reason, self._host.clock.time())
        except OSError:
            _log.warning("the quarantine of plugin `%s` could not be written", peg.id)

    def _typed(self, peg: Peg, cause: BaseException) -> PegboardError:
        # An error class of the plugin's own may lack what ours have.
        if not isinstance(cause, PegboardError) or not isinstance(getattr(cause, "message", None), str):
            error: PegboardError = PluginLoadError.from_cause(
                peg.id, peg.dist, peg.version, cause, imported=peg.object is not None
            )
            error.__cause__ = cause
            return error
        cause.plugin = cause.plugin or peg.id
        cause.dist = cause.dist or peg.dist
        cause.version = cause.version or peg.version
        return cause

    def _charge(self, peg: Peg, hook: str, error: BaseException) -> None:
        record = CallRecord(
            hook=hook,
            plugin=peg.id,
            dist=peg.dist,
            version=peg.version,
            outcome="timeout" if isinstance(error, PluginTimeoutError) else "error",
            error_code=getattr(error, "code", "plugin.error"),
        )
        self._host.faults.fault(record, error)

    async def _undo(self, peg: Peg) -> None:
        if peg.context is None:
            return
        for function in peg.context.undone():
            try:
                await self._loader.undo(peg, function)
            except BaseException as exc:
                if goes_up(exc):
                    raise
                self._charge(peg, "undo", exc)
        peg.context = None

    def _check_circle(self, peg: Peg, chain: tuple[str, ...]) -> None:
        """Refuse to wait for what waits, directly or through others, for one of those that are being activated here."""
        way = [peg.id]
        while way[-1] not in chain and way[-1] in self._waits:
            way.append(self._waits[way[-1]])
        if way[-1] in chain:
            circle = " → ".join((*chain[chain.index(way[-1]) :], *way))
            raise PluginCycleError(
                f"activating plugin `{way[-1]}` needs plugin `{way[-1]}`: {circle}",
                hint=f"peg plugins disable {peg.id}",
                plugin=peg.id,
                dist=peg.dist,
                version=peg.version,
            )


_RESTING_PLACES: tuple[tuple[type[PegboardError], str, str], ...] = (
    (PluginConsentError, select.BLOCKED, "admission"),
    (PluginCollisionError, select.REJECTED, "collision"),
    (PluginKindError, select.REJECTED, "kind"),
    (PluginManifestError, select.REJECTED, "schema"),
    (PluginRequiresError, select.REJECTED, "requires"),
)


def _resting_place(error: PegboardError) -> tuple[str, str]:
    """The state, and the reason in a word, of a plugin whose activation failed."""
    found = ((state, reason) for kind, state, reason in _RESTING_PLACES if isinstance(error, kind))
    return next(found, (select.QUARANTINED, error.code))


def _reason(verdict: Verdict) -> str:
    match verdict:
        case Deny(reason):
            return reason
        case Ask(prompt):
            return prompt
        case Allow():
            return ""


def _runtime(peg: Peg, config: Config) -> str:
    """Where it runs, by the settings, else by its manifest."""
    if peg.record.source == "object":
        return "in-process"
    chosen = config.plugin_core(peg.id).get("runtime")
    if chosen is None and config.get("third_party_runtime") == "subprocess" and peg.record.source == "entry_point":
        chosen = "subprocess"
    runtime: str = chosen or peg.manifest.get("runtime", "in-process")
    return runtime


def _no_process(peg: Peg) -> PluginRequiresError:
    return PluginRequiresError(
        f"plugin `{peg.id}` ({peg.owner}) is to run in a process of its own, and nothing here can do that",
        hint="peg plugins list --all",
        plugin=peg.id,
        dist=peg.dist,
        version=peg.version,
    )
