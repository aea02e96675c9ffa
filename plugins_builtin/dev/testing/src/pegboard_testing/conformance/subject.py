"""The plugin that is checked: what is known of it without running it, and what a process of its own found out."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

GROUP: Final = "pegboard.plugins"
PROBE_LIMIT_S: Final = 30.0


class UnknownPluginError(LookupError):
    """No installed plugin or distribution has this name, or a distribution has several plugins."""


class ProbeError(Exception):
    """The process that tried the plugin ended badly; the message says how."""


class Subject:
    """One installed plugin."""

    def __init__(self, plugin: str, dist: metadata.Distribution, package: str) -> None:
        self.plugin = plugin
        self.dist = dist
        self.package = package
        self._probed: dict[str, dict[str, Any]] = {}

    @property
    def folder(self) -> Path:
        """The folder of its package; its code is not run to find it."""
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise UnknownPluginError(f"`{self.package}` is no package that can be imported")
        return Path(next(iter(spec.submodule_search_locations)))

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest; empty where it is missing or unreadable, which is a rule of its own."""
        try:
            return tomllib.loads((self.folder / "pegboard.toml").read_text("utf-8"))
        except (OSError, ValueError):
            return {}

    @property
    def source(self) -> Path | None:
        """The source tree it was installed from in editable form; `None` for a wheel."""
        text = self.dist.read_text("direct_url.json")
        data = json.loads(text) if text else {}
        if not data.get("dir_info", {}).get("editable"):
            return None
        return Path(unquote(urlsplit(data["url"]).path))

    @property
    def exempt(self) -> Mapping[str, str]:
        """Rules that its manifest says do not apply, with the reason."""
        exempt: Mapping[str, str] = self.manifest.get("quality", {}).get("exempt", {})
        return exempt

    def modules(self) -> Iterator[tuple[Path, ast.Module]]:
        """Its source files, parsed; what cannot be parsed is left to the import to complain about."""
        for path in sorted(self.folder.rglob("*.py")):
            try:
                yield path.relative_to(self.folder), ast.parse(path.read_bytes())
            except SyntaxError:
                continue

    def probe(self, stage: str, *, again: bool = False) -> dict[str, Any]:
        """What a fresh process finds out about the plugin; each stage is run once.

        Raises:
            ProbeError: the process ended without an answer, or took too long.
        """
        if again or stage not in self._probed:
            self._probed[stage] = self._run_probe(stage)
        return self._probed[stage]

    def peg(self, *arguments: str) -> dict[str, Any]:
        """What `peg … --json` answers."""
        with tempfile.TemporaryDirectory(prefix="pegboard-check-") as home:
            command = [sys.executable, "-P", "-m", "pegboard", *arguments, "--json"]
            done = _run(command, _environment(self, Path(home)))
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError as exc:
            raise ProbeError(f"`peg {' '.join(arguments)}` gave no JSON: {_last_line(done.stderr)}") from exc
        return answer

    def _run_probe(self, stage: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="pegboard-check-") as home:
            command = [sys.executable, "-P", "-m", "pegboard_testing.conformance.probe", stage, self.plugin]
            done = _run(command, _environment(self, Path(home)))
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError as exc:
            raise ProbeError(f"its process ended with {done.returncode}: {_last_line(done.stderr)}") from exc
        return answer


def find_subject(name: str) -> Subject:
    """The plugin of this id, or the only one of the distribution of this name.

    Raises:
        UnknownPluginError: there is none, or more than one.
    """
    points = [point for point in metadata.entry_points(group=GROUP) if point.dist is not None]
    found = [point for point in points if point.name == name]
    found = found or [point for point in points if point.dist and _same(point.dist.name, name)]
    if not found:
        raise UnknownPluginError(f"no installed plugin or distribution is named `{name}`")
    if len({point.name for point in found}) > 1:
        raise UnknownPluginError(f"`{name}` has several plugins: {', '.join(sorted(point.name for point in found))}")
    point = found[0]
    assert point.dist is not None
    return Subject(point.name, point.dist, point.value)


def _environment(subject: Subject, home: Path) -> dict[str, str]:
    """The plugin alone, with those it requires, in an empty home."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PEGBOARD")}
    needed = [need for need in subject.manifest.get("requires", ()) if not need.startswith("cap:")]
    names = [subject.plugin, *(_bare(need) for need in needed)]
    return {**own, "PEGBOARD_HOME": str(home), "PEGBOARD_PLUGINS": ",".join(names), "NO_COLOR": "1"}


def _run(command: list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROBE_LIMIT_S
        )
    except subprocess.TimeoutExpired as exc:
        raise ProbeError(f"its process did not finish within {PROBE_LIMIT_S:g} s") from exc


def _bare(requirement: str) -> str:
    return requirement.strip().split(" ")[0].rstrip("<>=!~.0123456789,")


def _same(one: str, other: str) -> bool:
    return one.lower().replace("_", "-").replace(".", "-") == other.lower().replace("_", "-").replace(".", "-")


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


__all__ = ["GROUP", "PROBE_LIMIT_S", "ProbeError", "Subject", "UnknownPluginError", "find_subject"]
