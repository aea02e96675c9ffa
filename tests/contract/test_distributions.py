"""Every distribution has what a distribution needs, and the workspace knows it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "core"
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins_builtin/*/*/pyproject.toml"))
every_distribution = pytest.mark.parametrize("folder", [CORE, *PLUGINS], ids=lambda path: path.name)

LIBRARIES = {"pegboard-chatwire", "pegboard-plainyaml"}
"""No plugins, but what several of them share and core does not know; any plugin may depend on one."""
MAY_DEPEND = {"pegboard-testing": {"pegboard-replay"}}
"""The one distribution that may depend on a plugin: test authors need its scripted models."""


def project(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    return data


def is_library(folder: Path) -> bool:
    return project(folder)["project"]["name"] in LIBRARIES


every_plugin = pytest.mark.parametrize(
    "folder", [folder for folder in PLUGINS if not is_library(folder)], ids=lambda path: path.name
)
every_library = pytest.mark.parametrize("folder", [*filter(is_library, PLUGINS)], ids=lambda path: path.name)


def package(folder: Path) -> Path:
    """The import package of a distribution."""
    return folder / "src" / str(project(folder)["project"]["name"]).replace("-", "_")


@every_distribution
def test_files_are_there(folder: Path) -> None:
    """Licence, README, types marker, package and tests."""
    needed = [folder / "LICENSE", folder / "README.md", package(folder) / "__init__.py", package(folder) / "py.typed"]
    assert [str(path.relative_to(ROOT)) for path in needed if not path.is_file()] == []
    assert list((folder / "tests").glob("**/test_*.py")), "no tests"


@every_distribution
def test_readme_says_something(folder: Path) -> None:
    """A README is more than its title: it is the page that people see before they install."""
    assert len((folder / "README.md").read_text(encoding="utf-8").split()) > 10


@every_distribution
def test_licence_is_the_repositorys(folder: Path) -> None:
    """The licence text is the same everywhere, since each wheel carries its own."""
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@every_distribution
def test_project_table(folder: Path) -> None:
    """hatchling, Apache-2.0, Python 3.11, and a version of its own."""
    data = project(folder)
    table = data["project"]
    assert data["build-system"]["build-backend"] == "hatchling.build"
    assert (table["license"], table["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert table["requires-python"] == ">=3.11"
    assert re.fullmatch(r"\d+\.\d+\.\d+", table["version"])
    assert "Typing :: Typed" in table["classifiers"]


@every_plugin
def test_plugin_depends_on_core_only(folder: Path) -> None:
    """A bounded range of core and of libraries, and no other plugin."""
    needs = own_needs(folder)
    bounds = {
        name: {spec.operator for spec in needs[name].specifier} for name in needs.keys() & {"pegboard", *LIBRARIES}
    }
    assert bounds == {name: {">=", "<"} for name in bounds}
    assert set(needs) - LIBRARIES - {"pegboard"} == MAY_DEPEND.get(project(folder)["project"]["name"], set())


@every_library
def test_library_is_no_plugin(folder: Path) -> None:
    """Nothing finds it as one; it depends on nothing of ours but core, and some plugin needs it."""
    table = project(folder)["project"]
    assert "entry-points" not in table
    assert not (package(folder) / "pegboard.toml").exists()
    assert set(own_needs(folder)) <= {"pegboard"}
    assert [plugin for plugin in PLUGINS if table["name"] in own_needs(plugin)]


def own_needs(folder: Path) -> dict[str, Requirement]:
    """What a distribution needs of ours, by name."""
    needs = map(Requirement, project(folder)["project"]["dependencies"])
    return {need.name: need for need in needs if need.name.startswith("pegboard")}


@every_plugin
def test_plugin_is_found_by_its_entry_point(folder: Path) -> None:
    """The entry point names the package, the package holds the manifest, and the manifest has the same id."""
    points = project(folder)["project"]["entry-points"]["pegboard.plugins"]
    assert len(points) == 1
    ((plugin_id, target),) = points.items()
    manifest = tomllib.loads((folder / "src" / target / "pegboard.toml").read_text(encoding="utf-8"))
    assert manifest["id"] == plugin_id == project(folder)["project"]["name"].removeprefix("pegboard-")


@every_distribution
def test_workspace_knows_it(folder: Path) -> None:
    """The type checker, tox and uv find every distribution."""
    workspace = project(ROOT)
    where = folder.relative_to(ROOT).as_posix()
    assert f"$MYPY_CONFIG_FILE_DIR/{where}/src" in workspace["tool"]["mypy"]["mypy_path"]
    assert project(folder)["project"]["name"] in workspace["tool"]["uv"]["sources"]
    assert re.search(rf"^\s+-e {re.escape(where)}$", (ROOT / "tox.ini").read_text(encoding="utf-8"), re.MULTILINE)
