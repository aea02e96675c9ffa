"""The set of plugins as data: who, which version, which files, in which order. A run records its digest.

Two boards with equal digests call the same code in the same order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pegboard import __version__
from pegboard.hookspecs import HOOK_API, SPECS, ImplOptions
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.discovery.select import provides
from pegboard.plugins.dispatch.order import Arrangement, Place, arrange

LOCK_SCHEMA = 1


def plugin_set(records: Iterable[PluginRecord]) -> dict[str, Any]:
    """The plugins, and the order of every hook that at least one of them implements."""
    records = sorted(records, key=lambda record: record.id)
    content = {
        "schema": LOCK_SCHEMA,
        "core": __version__,
        "api": HOOK_API,
        "plugins": {record.id: _identity(record) for record in records},
        "order": {
            hook: [row.plugin for row in found.rows]
            for hook in sorted(SPECS)
            if (found := arrangement(hook, records)).rows
        },
    }
    return {**content, "digest": digest(content)}


def versions(records: Iterable[PluginRecord]) -> dict[str, str]:
    """The version of each plugin, and the beginning of a digest that also tells two builds of one version apart."""
    by_id = sorted(records, key=lambda record: record.id)
    return {record.id: f"{record.version} ({digest(_identity(record))[:8]})" for record in by_id}


def arrangement(hook: str, records: Iterable[PluginRecord]) -> Arrangement:
    """The order of the implementations of a hook, known from the manifests alone."""
    return arrange(
        Place(
            plugin=record.id,
            options=impl_options(record.manifest, hook),
            provides=frozenset(provides(record)),
        )
        for record in records
        if record.manifest and hook in record.manifest.get("hooks", {})
    )


def impl_options(manifest: Mapping[str, Any], hook: str) -> ImplOptions:
    """What a manifest says of its implementation of a hook."""
    said = manifest["hooks"][hook]
    after = [*manifest.get("after", ()), *said.get("after", ())]
    return msgspec.convert({**said, "after": after}, ImplOptions)


def digest(content: Mapping[str, Any]) -> str:
    """A hash over everything that decides what is called."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def differences(locked: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """How what is installed differs from what was locked, in words."""
    lines = []
    if locked.get("core") != found["core"]:
        lines.append(f"core is {found['core']}, locked is {locked.get('core')}")
    before: Mapping[str, Any] = locked.get("plugins", {})
    now: Mapping[str, Any] = found["plugins"]
    lines += [
        f"plugin `{plugin}` is locked and cannot run or is missing" for plugin in sorted(before.keys() - now.keys())
    ]
    lines += [f"plugin `{plugin}` is here and not locked" for plugin in sorted(now.keys() - before.keys())]
    for plugin in sorted(before.keys() & now.keys()):
        lines += [
            f"plugin `{plugin}`: {name} is {now[plugin][name]}, locked is {before[plugin].get(name)}"
            for name in now[plugin]
            if before[plugin].get(name) != now[plugin][name]
        ]
    for hook in sorted(locked.get("order", {}).keys() & found["order"].keys()):
        if locked["order"][hook] != found["order"][hook]:
            lines.append(f"hook `{hook}` runs in the order {', '.join(found['order'][hook])}, locked is another one")
    return lines


def _identity(record: PluginRecord) -> dict[str, Any]:
    return {
        "dist": record.dist,
        "version": record.version,
        "manifest_hash": record.manifest_hash,
        "file_hash": record.file_hash,
    }
