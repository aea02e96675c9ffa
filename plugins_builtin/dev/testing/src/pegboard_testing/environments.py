"""Wheels built once and environments to install them into: for tests about packaging only, since both take seconds.

Nothing is fetched from a network: what is not in uv's cache already is an error.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

_NOT_SOURCE: Final = frozenset({"__pycache__", "dist", "build"})


def uv(*arguments: str | Path) -> str:
    """What uv prints.

    Raises:
        RuntimeError: it failed; the message is what it wrote to stderr.
    """
    command = ["uv", *map(str, arguments), "--offline", "--quiet"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{done.stderr}")
    return done.stdout


class Wheelhouse:
    """A folder of wheels, each built once for the content it was built of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._built: dict[str, Path] = {}

    def add(self, source: Path) -> Path:
        """The wheel of a source tree; built only when its content was not built before."""
        key = content_digest(source)
        if key not in self._built:
            into = self.folder / key[:16]
            uv("build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", into, source)
            (self._built[key],) = into.glob("*.whl")
        return self._built[key]

    @property
    def wheels(self) -> Sequence[Path]:
        """What was built."""
        return tuple(self._built.values())


class InstalledHost:
    """A throw-away environment with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.python = folder / "venv" / "bin" / "python"
        self.home.mkdir(parents=True)
        uv("venv", "--python", sys.executable, folder / "venv")

    def install(self, *what: str | Path) -> None:
        """Install wheels by path, and requirements that uv has in its cache."""
        uv("pip", "install", "--python", self.python, *what)

    def uninstall(self, *names: str) -> None:
        """Remove distributions."""
        uv("pip", "uninstall", "--python", self.python, *names)

    def run(
        self, *command: str | Path, env: Mapping[str, str] | None = None, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, as a person with an empty home would."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PEGBOARD", "XDG_", "PYTEST"))}
        own |= {"HOME": str(self.home), "PATH": f"{self.python.parent}{os.pathsep}{own.get('PATH', '')}", **(env or {})}
        return subprocess.run(
            [*map(str, command)],
            cwd=self.home,
            env=own,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def peg(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `peg`."""
        return self.run(self.python.parent / "peg", *arguments, env=env)


def content_digest(source: Path) -> str:
    """A digest of every file of a source tree, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(_sources(source)):
        digest.update(path.relative_to(source).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _sources(source: Path) -> Iterator[Path]:
    for path in source.rglob("*"):
        parts = path.relative_to(source).parts
        if path.is_file() and not any(part in _NOT_SOURCE or part.startswith(".") for part in parts):
            yield path


__all__ = ["InstalledHost", "Wheelhouse", "content_digest", "uv"]
