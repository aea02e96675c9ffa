"""The drivers that a board works with: of each kind the one that the configuration names, or the only one there is.

Each is made once, when it is first asked for, and closed with the board.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from pegboard.config import Config, join_key
from pegboard.errors import DriverMissingError, describe
from pegboard.lazy import LazyModule
from pegboard.plugins.peg import Peg
from pegboard.plugins.roster import Roster
from pegboard.plugins.services import PluginContext

if TYPE_CHECKING:
    from pegboard.plugins import drivers
else:
    drivers = LazyModule("pegboard.plugins.drivers")  # stevedore, not before the first driver


_log = logging.getLogger("pegboard.plugins")


class Host(Protocol):
    """What is needed of the host."""

    config: Config

    @property
    def roster(self) -> Roster:
        """Who is on the board."""

    def context(self, plugin: str | None = None) -> PluginContext:
        """The context of a plugin, or the board's own."""


class ChosenDrivers:
    """The drivers of one board."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._made: dict[tuple[str, str], Any] = {}

    def get(self, kind: str, name: str | None = None) -> Any:
        """The driver of a kind. Its factory is called with the context of the plugin that announces it, or the board's.

        Raises:
            DriverMissingError: none is installed, or several and none is configured, or the configured one is missing.
        """
        host = self._host
        chosen = name or self.name(kind)
        if chosen is None:
            raise DriverMissingError(f"no {kind} driver is installed", hint="peg plugins list --all")
        if (kind, chosen) not in self._made:
            factory = drivers.load_driver(kind, chosen, host.roster.drivers())
            self._made[kind, chosen] = factory(host.context(self._owner(kind, chosen)))
        return self._made[kind, chosen]

    def name(self, kind: str) -> str | None:
        """The driver of a kind that `get` gives, or `None` where none is installed.

        Raises:
            DriverMissingError: several are installed and none is configured.
        """
        configured: str | None = self._host.config.get(join_key(("drivers", kind)))
        if configured is not None:
            return configured
        names = sorted({entry["name"] for entry in self._host.roster.drivers() if entry["kind"] == kind})
        if len(names) > 1:
            raise DriverMissingError(
                f"there are several {kind} drivers ({', '.join(names)}), and none is configured",
                hint=f"peg config set drivers.{kind} {names[0]}",
            )
        return names[0] if names else None

    def of(self, peg: Peg) -> list[str]:
        """Those of a plugin that were made, as `kind:name`."""
        return [f"{kind}:{name}" for kind, name in self._made if self._owner(kind, name) == peg.id]

    async def close(self) -> None:
        """Close those that were made and have an `aclose`, newest first, and forget them."""
        while self._made:
            (kind, name), driver = self._made.popitem()
            close = getattr(driver, "aclose", None)
            try:
                if close is not None:
                    await close()
            except Exception as error:
                _log.warning("the %s driver `%s` could not be closed: %s", kind, name, describe(error))

    def _owner(self, kind: str, name: str) -> str | None:
        return self._host.roster.selection.claims.get(f"driver:{kind}:{name}")
