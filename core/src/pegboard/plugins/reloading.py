"""What becomes of a plugin whose files change under a running board.

One under development is taken from the board and brought back with its new code before the next run, as long as no run
is under way. Of every other one the old code goes on, and its state says that a restart is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pegboard.interfaces import Clock
from pegboard.plugins.discovery import select
from pegboard.plugins.discovery.index import PluginRecord, file_stamp
from pegboard.plugins.peg import Peg
from pegboard.plugins.roster import Roster

if TYPE_CHECKING:
    from pegboard.plugins.discovery.index import Stamp
    from pegboard.plugins.discovery.select import Decision

CHECK_EVERY_S = 5.0
"""How often the manifests of plugins that are not under development are looked at, at most."""
_RESTART = "start this program again"
_log = logging.getLogger("pegboard.plugins")


class Host(Protocol):
    """What is needed of the host."""

    clock: Clock

    @property
    def roster(self) -> Roster:
        """Who is on the board."""

    def active(self) -> Sequence[Peg]:
        """Those that are active, in the order in which they became so."""

    def change(self, peg: Peg, state: str, reason: str = "", message: str = "", hint: str = "") -> None:
        """A plugin changes its state."""

    def drivers_of(self, peg: Peg) -> list[str]:
        """The drivers of a plugin that the board has made."""

    async def put_away(self, peg: Peg) -> None:
        """Deactivate a plugin, and close what it made."""

    async def bring_back(self, peg: Peg, decision: Decision | None, *, at_once: bool) -> None:
        """Have a plugin on the board again as it is now. What goes wrong with it is its own."""


class FileWatch:
    """Looks whether files of plugins have changed; nothing watches in the background."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._trees: dict[Peg, frozenset[Stamp]] = {}
        """Of each plugin under development, its files as they were when its code was last looked at."""
        self._next_s = 0.0
        self._lock = asyncio.Lock()

    def begin(self) -> None:
        """Remember the files of those under development, before any of them is imported."""
        self._trees = {
            peg: tree(peg.record) for peg in self._host.roster.pegs if self._host.roster.under_development(peg)
        }

    @property
    def is_due(self) -> bool:
        """Whether `look` has anything to do now; asked before every run."""
        return bool(self._trees) or self._host.clock.monotonic() >= self._next_s

    async def look(self, live: int) -> None:
        """Before a run: reload what is under development and changed; `live` runs are under way."""
        if self._host.clock.monotonic() >= self._next_s:
            self.check_manifests()
        if not self._trees:
            return
        async with self._lock:
            now = {peg: tree(peg.record) for peg in self._trees}
            changed = [peg for peg in now if now[peg] != self._trees[peg]]
            if not changed or self._refused(changed, live):
                return
            self._trees.update(now)
            await self._reload(changed)

    def check_manifests(self) -> list[Peg]:
        """Say of active plugins whose manifest changed that a restart is needed; these are told."""
        self._next_s = self._host.clock.monotonic() + CHECK_EVERY_S
        changed = [peg for peg in self._host.active() if peg not in self._trees and _is_stale(peg)]
        for peg in changed:
            self._host.change(
                peg, select.NEEDS_RESTART, "files", "its files changed while it was running", hint=_RESTART
            )
            _log.warning("%s", peg.told())
        return changed

    def _refused(self, changed: Sequence[Peg], live: int) -> bool:
        """Whether old code has to go on; the reason stands in the state of those that are active."""
        reason = self._obstacle(changed, live)
        for peg in changed if reason else ():
            if peg.active and peg.message != reason:
                self._host.change(peg, select.NEEDS_RESTART, "files", reason, hint=_RESTART)
                _log.warning("%s", peg.told())
        return bool(reason)

    def _obstacle(self, changed: Sequence[Peg], live: int) -> str:
        if live:
            runs = "a run is" if live == 1 else f"{live} runs are"
            return f"its files changed while {runs} under way; a run that begins alone reloads it"
        for peg in changed:
            if drivers := self._host.drivers_of(peg):
                return f"its files changed, and the board works with its driver `{drivers[0]}`"
            for other in self._host.active():
                if other not in changed and peg.id in self._host.roster.requirements(other):
                    return f"its files changed, and plugin `{other.id}`, which is active, was built on it"
        return ""

    async def _reload(self, changed: Sequence[Peg]) -> None:
        active = [peg for peg in self._host.active() if peg in changed]
        for peg in reversed(active):
            await self._host.put_away(peg)
        for peg in changed:
            forget_modules(peg.record)
        roster = self._host.roster
        for peg in changed:
            roster.release(peg)
        roster.look()
        for peg in changed:
            await self._host.bring_back(peg, roster.decision(peg), at_once=peg in active)
            _log.info("plugin `%s` was reloaded: it is %s", peg.id, peg.state)


def tree(record: PluginRecord) -> frozenset[Stamp]:
    """The files of a plugin's package, each with what tells that it is unchanged."""
    found: list[Stamp] = []
    for folder, names, files in os.walk(_root(record)):
        names[:] = [name for name in names if _counts(name)]
        found += [file_stamp(f"{folder}{os.sep}{name}") for name in files if _counts(name)]
    return frozenset(found)


def forget_modules(record: PluginRecord) -> None:
    """Have the next import of a plugin read its files again."""
    entry = (record.manifest or {}).get("entry", "")
    packages = {record.package, entry.partition(":")[0].partition(".")[0]} - {""}
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        spec = getattr(sys.modules.pop(name), "__spec__", None)
        _forget_bytecode(getattr(spec, "cached", None))
    importlib.invalidate_caches()


def _forget_bytecode(path: str | None) -> None:
    # Bytecode is taken for fresh when the source has the same second and the same size.
    if path is not None:
        with contextlib.suppress(OSError):
            Path(path).unlink()


def _root(record: PluginRecord) -> Path:
    """The top-level package; the manifest of one plugin of several lies in a folder of it."""
    folder = Path(record.package_path or record.location)
    return next((each for each in (folder, *folder.parents) if each.name == record.package), folder)


def _counts(name: str) -> bool:
    """Not what editors and the interpreter leave."""
    return name != "__pycache__" and not name.startswith(".") and not name.endswith("~")


def _is_stale(peg: Peg) -> bool:
    return peg.state != select.NEEDS_RESTART and peg.stamp is not None and file_stamp(peg.stamp[0]) != peg.stamp
