"""What a plugin may do through the checked services: what it declares, was granted, and the settings leave of it.

In-process this is accounting and refusal inside core's own services; Python code that goes around them is not
prevented from anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pegboard.errors import PermissionDeniedError
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.discovery.state import State

KINDS = ("fs_read", "fs_write", "net", "exec", "env", "secrets")


class Permissions:
    """The permissions of one plugin that hold."""

    __slots__ = ("_allowed", "_declared", "_dist", "_plugin", "unlimited")

    def __init__(
        self,
        plugin: str,
        declared: Mapping[str, Sequence[str]],
        granted: Mapping[str, Sequence[str]],
        narrowed: Mapping[str, Sequence[str]],
        dist: str | None = None,
        *,
        unlimited: bool = False,
    ) -> None:
        self.unlimited = unlimited
        """For what the host program gave without a manifest: who wrote the program decided."""
        self._plugin = plugin
        self._dist = dist
        self._declared = declared
        self._allowed = {kind: _remaining(kind, declared, granted, narrowed) for kind in KINDS}

    def __getitem__(self, kind: str) -> tuple[str, ...]:
        return self._allowed[kind]

    @property
    def not_granted(self) -> dict[str, list[str]]:
        """What was declared and does not hold, by kind."""
        missing = {
            kind: [item for item in self._declared.get(kind, ()) if item not in self._allowed[kind]] for kind in KINDS
        }
        return {kind: items for kind, items in missing.items() if items}

    def denied(self, kind: str, what: str) -> PermissionDeniedError:
        """The error for a use that is not covered."""
        if self.not_granted.get(kind):
            text, hint = "nobody has granted it, or the settings took it away", f"peg plugins grant {self._plugin}"
        else:
            text, hint = "its manifest does not declare it", f"peg plugins info {self._plugin}"
        return PermissionDeniedError(
            f"plugin `{self._plugin}` has no permission `{kind}` for `{what}`: {text}",
            hint=hint,
            plugin=self._plugin,
            dist=self._dist,
        )

    def path(self, path: str | Path, folders: Mapping[str, Path], *, write: bool) -> Path:
        """The real path, where it is covered. Links are followed first, so none leads out.

        A folder below `workspace` is meant as it is called there: who made the workspace may have put links into it.

        Args:
            path: relative to the workspace, or absolute.
            folders: what `workspace`, `data` and `cache` stand for.
            write: whether the file is to be changed.

        Raises:
            PermissionDeniedError: it lies outside.
        """
        real = Path(os.path.realpath(folders["workspace"] / Path(path)))
        if self.unlimited:
            return real
        # Its own two folders need no permission.
        for rule in (*(() if write else self["fs_read"]), *self["fs_write"], "data", "cache"):
            root = _root(rule, folders)
            if root is not None and real.is_relative_to(root):
                return real
        raise self.denied("fs_write" if write else "fs_read", str(path))

    def address(self, host: str, port: int) -> None:
        """Raises `PermissionDeniedError` unless the address is covered."""
        for rule in ("*:*",) if self.unlimited else self["net"]:
            wanted, _, number = rule.rpartition(":")
            if number in ("*", str(port)) and _host_fits(host.lower().rstrip("."), wanted.lower()):
                return
        raise self.denied("net", f"{host}:{port}")

    def program(self, name: str) -> None:
        """Raises `PermissionDeniedError` unless the program is covered: by name as on `PATH`, or by its whole path."""
        if not self.unlimited and name not in self["exec"]:
            raise self.denied("exec", name)

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment variables that its programs may see."""
        rules = ("*",) if self.unlimited else self["env"]
        return {name: value for name, value in environ.items() if any(fnmatchcase(name, rule) for rule in rules)}

    def secret(self, name: str) -> None:
        """Raises `PermissionDeniedError` unless the secret is covered."""
        if not self.unlimited and name not in self["secrets"]:
            raise self.denied("secrets", name)


def permissions_of(record: PluginRecord, state: State, settings: Mapping[str, Any]) -> Permissions:
    """The permissions of an installed plugin.

    What the host program or `--plugin PATH` gives needs no grant: who wrote the program decided.
    """
    declared = (record.manifest or {}).get("permissions", {})
    granted: Mapping[str, Sequence[str]] = declared
    if record.source == "entry_point":
        granted = (state.grant(record.id, record.dist) or {}).get("permissions", {})
    free = record.source == "object" and record.manifest is None
    return Permissions(record.id, declared, granted, settings.get("permissions", {}), record.dist, unlimited=free)


def not_granted(record: PluginRecord, state: State) -> dict[str, list[str]]:
    """What an installed plugin declares and nobody granted; a newcomer is granted it at its first start."""
    if record.source != "entry_point" or state.known_dist(record.id) is None:
        return {}
    return permissions_of(record, state, {}).not_granted


def _remaining(
    kind: str,
    declared: Mapping[str, Sequence[str]],
    granted: Mapping[str, Sequence[str]],
    narrowed: Mapping[str, Sequence[str]],
) -> tuple[str, ...]:
    allowed = [item for item in declared.get(kind, ()) if item in granted.get(kind, ())]
    return tuple(item for item in allowed if kind not in narrowed or item in narrowed[kind])


def _root(rule: str, folders: Mapping[str, Path]) -> Path | None:
    """The real folder that a rule means; `None` for one that is not absolute."""
    name, _, below = rule.partition("/")
    if name in folders:
        return Path(os.path.realpath(folders[name])) / below
    root = Path(rule).expanduser()
    return Path(os.path.realpath(root)) if root.is_absolute() else None


def _host_fits(host: str, rule: str) -> bool:
    if rule.startswith("*."):
        return host.endswith(rule[1:]) and len(host) > len(rule) - 1
    return rule in ("*", host)
