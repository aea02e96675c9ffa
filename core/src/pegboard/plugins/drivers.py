"""Named drivers, where exactly one implementation is chosen by its name in the configuration.

stevedore loads them; which there are comes from our index, since its own two caches can be stale and cannot say which
distribution an entry point belongs to (seen in 5.10). This module imports stevedore, so it is imported only when a
driver is asked for.
"""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint
from typing import Any

from stevedore.driver import DriverManager

from pegboard.errors import DriverCollisionError, DriverLoadError, DriverMissingError, describe
from pegboard.plugins.discovery import index

GROUP = "pegboard.drivers."


class Drivers(DriverManager[Any]):
    """A `DriverManager` over the index, which is checked against the disk at each look-up."""

    def __init__(self, kind: str, name: str, known: list[dict[str, Any]]) -> None:
        self._known = known
        super().__init__(GROUP + kind, name)

    def list_entry_points(self) -> list[EntryPoint]:
        """The entry points of this kind, from our index."""
        return [EntryPoint(item["name"], item["value"], self.namespace) for item in self._known]


def load_driver(kind: str, name: str, entries: list[dict[str, Any]] | None = None) -> Any:
    """The class or factory of the driver of this kind and name; who asked makes the object.

    Args:
        kind: for example `store`.
        name: as in the configuration.
        entries: the index's drivers, where they are known already; else it is read, and so never stale.

    Raises:
        DriverMissingError: no installed distribution provides it.
        DriverCollisionError: two distributions provide it.
        DriverLoadError: its module cannot be imported.
    """
    drivers = index.load().drivers if entries is None else entries
    known = [item for item in drivers if item["kind"] == kind]
    named = [item for item in known if item["name"] == name]
    if not named:
        raise _missing(kind, name, known)
    if len(named) > 1:
        # stevedore would import both before it noticed.
        owners = " and ".join(f"{item['dist']} {item['version']}" for item in named)
        raise DriverCollisionError(
            f"the {kind} driver `{name}` is provided by {owners}", hint=f"peg plugins uninstall {named[-1]['dist']}"
        )
    try:
        return Drivers(kind, name, named).driver
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as exc:  # SystemExit too: a driver does not end the host
        item = named[0]
        raise DriverLoadError(
            f"the {kind} driver `{name}` of {item['dist']} {item['version']} could not be loaded: {describe(exc)}",
            dist=item["dist"],
            version=item["version"],
        ) from exc


def _missing(kind: str, name: str, known: list[dict[str, Any]]) -> DriverMissingError:
    names = sorted(item["name"] for item in known)
    near = difflib.get_close_matches(name, names, n=1)
    there = f"; did you mean `{near[0]}`?" if near else f"; there are {', '.join(names)}" if names else ""
    return DriverMissingError(
        f"no installed distribution provides the {kind} driver `{name}`{there}",
        hint=f"peg config set drivers.{kind} {near[0]}" if near else "peg plugins list --all",
    )
