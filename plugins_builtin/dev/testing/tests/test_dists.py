"""Distributions that tests install: they are what an installer would have left."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from pegboard_testing import PluginDist, on_path, plugin_dist


def test_it_is_found_by_its_entry_point(tmp_path: Path) -> None:
    """The standard library sees a distribution with an entry point, a version and dependencies."""
    plugin_dist(tmp_path, {"id": "git"}, version="2.1", requires=["pegboard>=0.1"])

    with on_path(tmp_path):
        (point,) = (p for p in metadata.entry_points(group="pegboard.plugins") if p.name == "git")
        assert point.dist is not None
        assert (point.value, point.dist.name, point.dist.version) == ("pegboard_git", "pegboard-git", "2.1")
        assert metadata.requires("pegboard-git") == ["pegboard>=0.1"]


def test_a_manifest_is_completed(tmp_path: Path) -> None:
    """What a mapping leaves out is filled in, and what it says stays."""
    made = plugin_dist(tmp_path, {"id": "git", "api": ">=1.5", "hooks": {"on_event": {"band": 60}}})

    manifest = tomllib.loads(made.manifest.read_text())

    assert manifest["entry"] == "pegboard_git.plugin:Plugin"
    assert (manifest["api"], manifest["hooks"]["on_event"]["band"]) == (">=1.5", 60)


@pytest.mark.parametrize("given", ["not toml ][", b"\xff\xfe"])
def test_a_broken_manifest_is_written_as_it_is(tmp_path: Path, given: str | bytes) -> None:
    """Text and bytes are not touched."""
    made = plugin_dist(tmp_path, given, plugin="git")

    assert made.manifest.read_bytes() == (given if isinstance(given, bytes) else given.encode())


def test_no_manifest_is_possible(tmp_path: Path) -> None:
    """`None` leaves the file out."""
    assert not plugin_dist(tmp_path, None, plugin="git").manifest.exists()


def test_the_record_is_true(tmp_path: Path) -> None:
    """Every file is listed with its digest and size."""
    made = plugin_dist(tmp_path, {"id": "git"}, {"data/x.txt": "x"})

    with on_path(tmp_path):
        files = metadata.files("pegboard-git") or []
    hashed = [file for file in files if file.hash is not None]
    assert {str(file) for file in hashed} >= {"pegboard_git/data/x.txt", "pegboard_git/pegboard.toml"}
    assert all(file.size == (tmp_path / file).stat().st_size for file in hashed)
    assert len(files) == sum(path.is_file() for path in tmp_path.rglob("*"))
    assert made.info.is_dir()


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    """As an uninstall would; what others put there stays."""
    other = plugin_dist(tmp_path, {"id": "other"})

    plugin_dist(tmp_path, {"id": "git"}, {"deep/er/x.txt": "x"}).remove()

    assert {path.name for path in tmp_path.iterdir()} == {other.package, other.info.name}


def test_one_distribution_can_have_several_plugins(tmp_path: Path) -> None:
    """Entry points can be given in full."""
    points = {"pegboard.plugins": {"ctx/a": "ctx_a", "ctx/b": "ctx_b"}, "pegboard.drivers.store": {"x": "ctx_a:X"}}
    made = plugin_dist(tmp_path, {"id": "ctx/a"}, package="ctx_a", entry_points=points)

    assert made.name == "pegboard-ctx"
    with on_path(tmp_path):
        own = {point.name for point in metadata.distribution("pegboard-ctx").entry_points}
    assert own == {"ctx/a", "ctx/b", "x"}


def test_modules_are_forgotten_with_the_path(tmp_path: Path) -> None:
    """The next test can install another plugin of the same name."""
    for number in (1, 2):
        site = tmp_path / str(number)
        plugin_dist(site, {"id": "again"}, {"plugin.py": f"VALUE = {number}"})
        with on_path(site):
            module = importlib.import_module("pegboard_again.plugin")
        found = module.VALUE
        assert found == number
        assert str(site) not in sys.path


def test_the_fixture_installs_into_the_path(plugin_dist: Callable[..., PluginDist]) -> None:
    """What the fixture installs can be imported."""
    plugin_dist({"id": "fixture"}, {"plugin.py": "VALUE = 1"})

    assert importlib.import_module("pegboard_fixture.plugin").VALUE == 1
