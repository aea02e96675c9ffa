"""`peg plugins lock` and `verify`: the set of plugins on paper, and whether it still is that. No plugin is imported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from pegboard.cli.contract import Answer, command, option
from pegboard.cli.inventory import Inventory
from pegboard.errors import ConfigError, PluginError
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.packages import files, lockfile

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
    records = list(Inventory().selection.ready.values())
    found = {**lockfile.plugin_set(records), "contents": files.contents(records)}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    count = len(found["plugins"])
    return Answer({**found, "file": str(file)}, f"locked {count} plugins in {file}\ndigest {found['digest']}")


@command("verify")
@_FILE
def verify(file: Path) -> Answer:
    """Compare what is installed, and every file of it, with the lock file; a difference is exit code 3."""
    locked = _read(file)
    records = list(Inventory().selection.ready.values())
    found = lockfile.plugin_set(records)
    changed = {record.id: list(files.changed(record)) for record in records}
    different = [
        *lockfile.differences(locked, found),
        *(text for texts in changed.values() for text in texts),
        *_other_contents(locked, files.contents(records)),
    ]
    data = {"digest": found["digest"], "locked": locked.get("digest"), "differences": different}
    if not different:
        return Answer(data, f"as locked: digest {found['digest']}")
    broken = next((record for record in records if changed[record.id]), None)
    error = PluginError(f"the plugins are not as locked: {len(different)} differences", hint=_hint(broken))
    return Answer(data, "\n".join(different), error=error)


def _other_contents(locked: Mapping[str, Any], found: Mapping[str, str]) -> Iterator[str]:
    """What nobody installed from a wheel and is not as it was when the lock file was written."""
    before: Mapping[str, str] = locked.get("contents", {})
    for plugin in sorted(found.keys() & locked.get("plugins", {}).keys()):
        if plugin not in before:
            yield f"plugin `{plugin}` is linked: not verifiable, since it was not when it was locked"
        elif before[plugin] != found[plugin]:
            yield f"plugin `{plugin}`: files of its linked folder have changed"


def _hint(broken: PluginRecord | None) -> str:
    if broken is None:
        return "peg plugins list"
    return f"pip install --force-reinstall --no-deps {broken.dist}=={broken.version}"


def _read(file: Path) -> dict[str, Any]:
    try:
        locked = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no lock file `{file}`", hint="peg plugins lock") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"`{file}` is no lock file: {error}", hint="peg plugins lock") from error
    if not isinstance(locked, dict) or locked.get("schema") != lockfile.LOCK_SCHEMA:
        raise ConfigError(f"`{file}` is no lock file of this version", hint="peg plugins lock")
    return locked
