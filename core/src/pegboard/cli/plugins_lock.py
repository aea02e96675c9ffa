"""`peg plugins lock` and `verify`: the set of plugins on paper, and whether it still is that. No plugin is imported."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pegboard.cli.contract import Answer, command, option
from pegboard.cli.inventory import Inventory
from pegboard.errors import ConfigError, PluginError
from pegboard.plugins import lockfile

_FILE = option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".pegboard/plugins.lock.json"),
    help="The lock file.",
)


@command("lock")
@_FILE
def lock(file: Path) -> Answer:
    """Write plugins, versions, hashes and the order of every hook to a lock file."""
    found = lockfile.plugin_set(Inventory().selection.ready.values())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    count = len(found["plugins"])
    return Answer({**found, "file": str(file)}, f"locked {count} plugins in {file}\ndigest {found['digest']}")


@command("verify")
@_FILE
def verify(file: Path) -> Answer:
    """Compare what is installed with the lock file; a difference is exit code 3."""
    locked = _read(file)
    found = lockfile.plugin_set(Inventory().selection.ready.values())
    different = lockfile.differences(locked, found)
    data = {"digest": found["digest"], "locked": locked.get("digest"), "differences": different}
    if not different:
        return Answer(data, f"as locked: digest {found['digest']}")
    error = PluginError(f"the plugins are not as locked: {len(different)} differences", hint="peg plugins lock")
    return Answer(data, "\n".join(different), error=error)


def _read(file: Path) -> dict[str, object]:
    try:
        locked = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no lock file `{file}`", hint="peg plugins lock") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"`{file}` is no lock file: {error}", hint="peg plugins lock") from error
    if not isinstance(locked, dict) or locked.get("schema") != lockfile.LOCK_SCHEMA:
        raise ConfigError(f"`{file}` is no lock file of this version", hint="peg plugins lock")
    return locked
