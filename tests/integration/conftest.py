"""The wheels of the workspace, fresh environments to install them into, and places for processes of `peg`.

Nothing is fetched from a network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pegboard_testing import InstalledHost, Wheelhouse
from pegboard_testing.environments import uv

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins_builtin/*/*/pyproject.toml"))]


class FreshEnvironment(InstalledHost):
    """An environment with nothing in it, and a home of its own."""

    def check(self) -> None:
        """Fail where what is installed contradicts itself."""
        uv("pip", "check", "--python", self.python)

    def files(self) -> set[str]:
        """Every file that packages own, relative to the environment; what Python caches beside them does not count."""
        library = self.folder / "venv" / "lib"
        paths = [path for path in [*library.rglob("*"), *self.python.parent.iterdir()] if path.is_file()]
        return {str(path.relative_to(self.folder)) for path in paths if "__pycache__" not in path.parts}


MakeEnvironment = Callable[[str], FreshEnvironment]


@pytest.fixture(scope="session")
def wheels(wheelhouse: Wheelhouse) -> dict[str, Path]:
    """The wheel of every distribution of the workspace, by its name."""
    projects = {source: tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8")) for source in SOURCES}
    return {project["project"]["name"]: wheelhouse.add(source) for source, project in projects.items()}


@pytest.fixture(scope="session")
def fresh_environment(tmp_path_factory: pytest.TempPathFactory) -> MakeEnvironment:
    """Makes environments; the argument is a part of the folder's name."""
    return lambda name: FreshEnvironment(tmp_path_factory.mktemp(name))


DEADLINE_S = 30.0


class Place:
    """A working folder with files, and `peg` in processes that share one home."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        for name, text in files.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        self.home = folder / "home"
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A process that goes on."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PEGBOARD")}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pegboard", *arguments],
            cwd=self.folder,
            env={**environment, "PEGBOARD_HOME": str(self.home), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def peg(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a process that ends."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=DEADLINE_S)
        return process.returncode, out.strip(), err

    def json(self, *arguments: str) -> Any:
        """The object that it prints."""
        return json.loads(self.peg(*arguments, "--json")[1])

    def stop(self) -> None:
        """End what still runs."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


MakePlace = Callable[[Mapping[str, str]], Place]


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[MakePlace]:
    """Makes the place of a test, of files by their names; whatever runs there is ended with the test."""
    made: list[Place] = []

    def make(files: Mapping[str, str]) -> Place:
        made.append(Place(tmp_path, files))
        return made[-1]

    yield make
    for place in made:
        place.stop()


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)
