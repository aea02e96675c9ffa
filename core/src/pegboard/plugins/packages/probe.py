"""Activates one plugin in a process of its own and says in one line of JSON how that went.

`python -P -m pegboard.plugins.packages.probe ID`. Used where nobody knows yet what the plugin does: after an install,
and before it is let out of quarantine. Whatever it prints goes to stderr, and its threads are not waited for.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from pegboard import config
from pegboard.errors import describe
from pegboard.plugins.discovery import index
from pegboard.plugins.discovery.select import provides
from pegboard.plugins.host import PluginHost

if TYPE_CHECKING:
    from pegboard.plugins.discovery.index import PluginRecord, Requirement


async def probe(plugin: str) -> dict[str, Any]:
    """Activate a plugin; never raises for a fault of the plugin."""
    host = PluginHost(autoload=True, config=config.load(tolerant=True))
    try:
        await host.start()
        failed = host.peg(plugin).error
        if failed is not None:  # at the start already; a second try of an import that hangs takes as long again
            raise failed
        await host.activate(plugin, force=True)
    except Exception as error:
        return {"ok": False, "reason": describe(error)}
    return {"ok": True, "reason": "", "state": host.state(plugin)}


def needed(plugin: str) -> set[str]:
    """A plugin and all that it requires: the only ones that take part, since a fault of others is not its own."""
    records = index.load().plugins
    found: set[str] = set()
    open_ids = [plugin]
    while open_ids:
        name = open_ids.pop()
        if name not in found:
            found.add(name)
            wanted = [need for record in records if record.id == name for need in record.requires]
            open_ids += [other.id for other in records if any(_meets(other, need) for need in wanted)]
    return found


def _meets(record: PluginRecord, need: Requirement) -> bool:
    kind, name, _, _ = need
    return record.id == name if kind == "plugin" else name in provides(record)


def main() -> None:
    """Try the plugin that is named on the command line."""
    answer = os.fdopen(os.dup(1), "wb", 0)
    os.dup2(2, 1)
    os.environ["PEGBOARD_PLUGINS"] = ",".join(sorted(needed(sys.argv[1])))
    answer.write(msgspec.json.encode(asyncio.run(probe(sys.argv[1]))) + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
