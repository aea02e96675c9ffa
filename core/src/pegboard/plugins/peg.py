"""A peg: one plugin on the board, with its state and everything that belongs to it while it is there."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from pegboard.errors import (
    PegboardError,
    PluginApiError,
    PluginCollisionError,
    PluginConsentError,
    PluginError,
    PluginKindError,
    PluginLoadError,
    PluginManifestError,
    PluginQuarantinedError,
    PluginRequiresError,
)
from pegboard.hookspecs import SPECS, ImplOptions
from pegboard.plugins.discovery import select
from pegboard.plugins.discovery.manifest import BOARD_LIFE

if TYPE_CHECKING:
    from pegboard.plugins.discovery.index import PluginRecord, Stamp
    from pegboard.plugins.discovery.select import Decision
    from pegboard.plugins.services import PluginContext

_ERRORS: dict[str, type[PluginError]] = {
    "api": PluginApiError,
    "python": PluginApiError,
    "platform": PluginApiError,
    "schema": PluginManifestError,
    "collision": PluginCollisionError,
    "requires": PluginRequiresError,
    "kind": PluginKindError,
    "files": PluginLoadError,
}
_PROVIDERS = {"provide_tools": "tools", "provide_modules": "modules", "provide_agents": "agents"}
# Called by the host itself, for one plugin at a time and after it was activated.
_NEVER_STUBBED = BOARD_LIFE | {"admit_plugin", "on_event", "provide_model", *_PROVIDERS}


class Peg:
    """One plugin on the board."""

    __slots__ = (
        "activation_ms",
        "context",
        "error",
        "hint",
        "message",
        "object",
        "reason",
        "record",
        "stamp",
        "state",
        "task",
    )

    def __init__(self, decision: Decision, given: object = None) -> None:
        self.record: PluginRecord = decision.record
        self.state = decision.state
        self.reason = decision.reason
        self.message = decision.message
        self.hint = decision.hint
        self.error: PegboardError | None = None
        """Why its activation failed."""
        self.object: Any = given
        """The plugin itself: from the start where the host program gave it, else once it is imported."""
        self.context: PluginContext | None = None
        self.activation_ms: float | None = None
        self.task: asyncio.Task[None] | None = None
        """The activation that is under way."""
        self.stamp: Stamp | None = None
        """Of its manifest when it was activated."""

    @property
    def id(self) -> str:
        """The plugin's id."""
        return self.record.id

    @property
    def dist(self) -> str | None:
        """Its distribution; `None` where the host program gave it."""
        return self.record.dist

    @property
    def version(self) -> str | None:
        """The distribution's version."""
        return self.record.version

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest; empty where there is none."""
        return self.record.manifest or {}

    @property
    def code_root(self) -> str | None:
        """The folder that its code lies in; of an object of the host program, the file of its class."""
        if self.record.package_path is not None:
            return self.record.package_path
        kind = self.object if isinstance(self.object, type) else type(self.object)
        return getattr(sys.modules.get(kind.__module__), "__file__", None)

    @property
    def active(self) -> bool:
        """Whether its hooks are called; also while old code runs and its files are new."""
        return self.state in (select.ACTIVE, select.DEGRADED, select.NEEDS_RESTART)

    @property
    def usable(self) -> bool:
        """Whether its hooks are called, or will be when something of it is used."""
        return self.active or self.state in (select.READY, select.ACTIVATING)

    @property
    def owner(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.dist} {self.version}" if self.dist else "given in code"

    def renew(self, decision: Decision | None) -> None:
        """Forget its code, and have it be what was found in its place."""
        self.object = self.context = self.stamp = self.activation_ms = None
        if decision is not None:
            self.record = decision.record

    def refusal(self) -> PegboardError:
        """The error for a use of it in a state that does not allow it."""
        if self.error is not None:
            return self.error
        kind: type[PluginError] = PluginError
        if self.state == select.REJECTED:
            kind = _ERRORS.get(self.reason, PluginError)
        elif self.state == select.QUARANTINED:
            kind = PluginQuarantinedError
        elif self.state == select.BLOCKED:
            kind = PluginConsentError
        word = f"{self.state}({self.reason})" if self.reason else self.state
        return kind(
            f"plugin `{self.id}` ({self.owner}) is {word}: {self.message or 'it cannot be used now'}",
            hint=self.hint or f"peg plugins info {self.id}",
            plugin=self.id,
            dist=self.dist,
            version=self.version,
        )

    def told(self) -> str:
        """Why it cannot be used, whose it is, and what to type: a line for the log."""
        error = self.refusal()
        whose = "" if self.owner in error.message else f"plugin `{self.id}` ({self.owner}): "
        return f"{whose}{error.message}; {error.hint or f'peg plugins info {self.id}'}"

    def options(self) -> dict[str, ImplOptions] | None:
        """What the manifest says of its hooks; `None` without a manifest, where the code says it."""
        if self.record.manifest is None:
            return None
        after = tuple(self.manifest.get("after", ()))
        return {name: _options(table, after) for name, table in self.manifest.get("hooks", {}).items()}

    def stubbed_hooks(self) -> list[str]:
        """The hooks whose first call activates it.

        With `activation`, those that it names; but what guards is always asked, whatever the list says.
        """
        events = self.manifest.get("activation")
        names = []
        for name in self.manifest.get("hooks", {}):
            spec = SPECS[name]
            guards = spec.kind == "gate" or spec.on_error == "closed"
            if name not in _NEVER_STUBBED and (guards or events is None or f"onHook:{name}" in events):
                names.append(name)
        return names

    def is_eager(self) -> bool:
        """Whether it is activated at the start of the board, because nothing later could do it in time."""
        if self.record.source == "object" or self.record.manifest is None:
            return True
        hooks = self.manifest.get("hooks", {})
        contributes = self.manifest.get("contributes", {})
        return (
            "onStartup" in self.manifest.get("activation", ())
            or "on_event" in hooks
            or "admit_plugin" in hooks
            or any(hook in hooks and not contributes.get(kind) for hook, kind in _PROVIDERS.items())
        )

    def __repr__(self) -> str:
        return f"<peg {self.id}: {self.state}>"


def _options(table: dict[str, Any], after: tuple[str, ...]) -> ImplOptions:
    return ImplOptions(
        band=table.get("band", 0),
        before=tuple(table.get("before", ())),
        after=(*table.get("after", ()), *after),
        timeout_s=table.get("timeout_s"),
        blocking=table.get("blocking", False),
        position=table.get("position"),
        kinds=tuple(table.get("kinds", ())),
    )
