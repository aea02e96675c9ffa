"""A clean place for each test of the command line, and plugins that are installed there for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pegboard.cli.app import peg as root
from pegboard_testing import PluginDist, on_path, plugin_dist


class Peg:
    """Calls `peg` in this process."""

    def __call__(self, *arguments: str, input: str | None = None, **environment: str) -> Result:
        return CliRunner().invoke(root, list(arguments), input=input, env=environment)

    def json(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """The one object that `--json` prints."""
        result = self(*arguments, "--json", **environment)
        assert result.stdout.count("\n") == 1, result.output
        value: dict[str, Any] = json.loads(result.stdout)
        return value


class Site:
    """A folder on the path of a process, with plugins in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plugin(
        self, id: str, manifest: Mapping[str, Any] | None = None, files: Mapping[str, str] | None = None, **more: Any
    ) -> PluginDist:
        """Install a plugin."""
        return plugin_dist(self.folder, {"id": id, **(manifest or {})}, files, **more)

    def peg(self, *arguments: str, input: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `peg` in a process that sees these plugins."""
        return self.python("-m", "pegboard", *arguments, input=input, **environment)

    def python(self, *arguments: str, input: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python in a process that sees these plugins."""
        return subprocess.run(
            [sys.executable, "-P", *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(self.folder), **environment},
        )


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with settings and caches of its own."""
    work = tmp_path / "work"
    work.mkdir()
    for name in [name for name in os.environ if name.startswith("PEGBOARD")]:
        monkeypatch.delenv(name)
    for name in ("PEGBOARD_QUIET", "PEGBOARD_NO_PLUGINS"):  # options set them, and would for the tests after this one
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def peg() -> Peg:
    """`peg`, in this process."""
    return Peg()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder to install plugins into, which this process sees too."""
    folder = tmp_path / "site"
    folder.mkdir()
    with on_path(folder):
        yield Site(folder)
