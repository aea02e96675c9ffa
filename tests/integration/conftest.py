"""The wheels of the workspace, and fresh environments to install them into; nothing is fetched from a network."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

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
