"""Every wheel, alone with core in a fresh environment: it fits, it works, and it leaves without a trace."""

from __future__ import annotations

import json
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from pegboard_testing.environments import uv

if TYPE_CHECKING:
    from tests.integration.conftest import FreshEnvironment, MakeEnvironment

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins_builtin/*/*/pyproject.toml"))]
PROJECTS = [tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"] for source in SOURCES]
PLUGINS = [project for project in PROJECTS if "entry-points" in project]
"""Core and libraries are none."""

ACTIVATE = """
import asyncio, sys
from pegboard import Pegboard

async def main(plugin: str) -> None:
    async with Pegboard(autoload=True, strict=True) as board:
        await board.plugins.activate(plugin)
        print(board.plugins.state(plugin))

asyncio.run(main(sys.argv[1]))
"""


def file_name(project: dict[str, Any]) -> str:
    """How the files of a distribution begin."""
    return f"{project['name'].replace('-', '_')}-{project['version']}"


def plugin_id(project: dict[str, Any]) -> str:
    (name,) = project["entry-points"]["pegboard.plugins"]
    return str(name)


class Alone:
    """A fresh environment with core and what the plugin depends on, then with the plugin beside it."""

    def __init__(self, environment: FreshEnvironment, project: dict[str, Any], wheels: dict[str, Path]) -> None:
        self.environment = environment
        self.id = plugin_id(project)
        needs = {Requirement(need).name: need for need in project["dependencies"]}
        environment.install(wheels["pegboard"], *(wheels.get(name, need) for name, need in needs.items()))
        self.files_before = environment.files()
        environment.install(wheels[project["name"]])


@pytest.fixture(scope="module", params=PLUGINS, ids=lambda project: project["name"])
def alone(request: pytest.FixtureRequest, fresh_environment: MakeEnvironment, wheels: dict[str, Path]) -> Alone:
    """Each plugin in turn; its tests share one environment."""
    return Alone(fresh_environment(request.param["name"]), request.param, wheels)


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project["name"])
def test_wheel_has_what_it_needs(project: dict[str, Any], wheels: dict[str, Path]) -> None:
    """Licence, types marker and, for a plugin, the manifest; no tests."""
    names = zipfile.ZipFile(wheels[project["name"]]).namelist()
    package = project["name"].replace("-", "_")
    needed = {f"{file_name(project)}.dist-info/licenses/LICENSE", f"{package}/py.typed"}
    needed |= {f"{package}/pegboard.toml"} if project in PLUGINS else set()
    assert needed - set(names) == set()
    assert [name for name in names if name.startswith("tests/")] == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_sdist_has_what_it_needs(source: Path, tmp_path: Path) -> None:
    """The source distribution has the sources, the tests, the README and the licence."""
    uv("build", "--sdist", "--no-build-isolation", "--python", sys.executable, "--out-dir", tmp_path, source)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames() if len(Path(name).parts) > 1}
    assert {"src", "tests", "README.md", "LICENSE", "pyproject.toml"} - tops == set()


def test_core_alone_works(fresh_environment: MakeEnvironment, wheels: dict[str, Path]) -> None:
    """Core without any plugin installs, fits together, and answers."""
    environment = fresh_environment("pegboard")
    environment.install(wheels["pegboard"])
    environment.check()
    done = environment.peg("plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["plugins"] == []


def test_dependencies_fit(alone: Alone) -> None:
    """What the plugin needs and what core needs do not contradict each other."""
    alone.environment.check()


def test_plugin_is_found(alone: Alone) -> None:
    """Installing it was enough."""
    done = alone.environment.peg("plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    states = {plugin["id"]: plugin["state"] for plugin in json.loads(done.stdout)["data"]["plugins"]}
    assert states[alone.id] == "ready"


def test_plugin_activates(alone: Alone) -> None:
    """It becomes active with an empty configuration."""
    done = alone.environment.run(alone.environment.python, "-c", ACTIVATE, alone.id)
    assert (done.returncode, done.stdout.strip()) == (0, "active"), done.stderr


def test_uninstall_leaves_nothing(alone: Alone) -> None:
    """After `peg plugins uninstall` the environment is as before; the last test, since the plugin is gone."""
    done = alone.environment.peg("plugins", "uninstall", alone.id, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert alone.environment.files() == alone.files_before


@pytest.fixture(scope="module")
def together(fresh_environment: MakeEnvironment, wheels: dict[str, Path]) -> FreshEnvironment:
    """An environment with every distribution of the workspace."""
    environment = fresh_environment("together")
    environment.install(*wheels.values())
    return environment


def test_all_fit_together(together: FreshEnvironment) -> None:
    """No two distributions contradict each other."""
    together.check()


@pytest.mark.parametrize("project", PLUGINS, ids=lambda project: project["name"])
def test_plugin_conforms(project: dict[str, Any], together: FreshEnvironment) -> None:
    """The plugins that we ship pass the conformance suite that we ask others to pass."""
    done = together.peg("plugins", "check", plugin_id(project), "--tier", "silver")
    assert done.returncode == 0, done.stdout + done.stderr
