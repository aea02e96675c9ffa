"""Wheelhouse and installed host: real wheels in a real environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pegboard_testing import InstalledHost, Wheelhouse
from pegboard_testing.environments import content_digest, uv

CORE = Path(__file__).resolve().parents[4] / "core"
REPLAY = Path(__file__).resolve().parents[3] / "models" / "replay"


def tree(folder: Path, text: str) -> Path:
    """A source tree of one package."""
    (folder / "src" / "tiny").mkdir(parents=True, exist_ok=True)
    (folder / "src" / "tiny" / "__init__.py").write_text(text)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
        '[project]\nname = "tiny"\nversion = "1.0"\n\n[tool.hatch.build.targets.wheel]\npackages = ["src/tiny"]\n'
    )
    return folder


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    """Caches and hidden files do not count, names and bytes do."""
    source = tree(tmp_path, "x = 1")
    before = content_digest(source)

    (source / "src" / "tiny" / "__pycache__").mkdir()
    (source / "src" / "tiny" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (source / ".hidden").write_text("x")
    assert content_digest(source) == before
    tree(tmp_path, "x = 2")
    assert content_digest(source) != before


@pytest.mark.packaging
def test_a_wheel_is_built_once(tmp_path: Path) -> None:
    """Per content; a change makes another one."""
    house, source = Wheelhouse(tmp_path / "house"), tree(tmp_path / "source", "x = 1")

    first, again = house.add(source), house.add(source)
    changed = house.add(tree(tmp_path / "source", "x = 2"))

    assert first == again != changed
    assert list(house.wheels) == [first, changed]


def test_a_failure_of_uv_is_shown(tmp_path: Path) -> None:
    """With what it wrote."""
    with pytest.raises(RuntimeError, match="failed:"):
        uv("build", tmp_path / "nothing")


@pytest.mark.packaging
def test_a_host_has_what_was_installed(installed_host: Callable[..., InstalledHost]) -> None:
    """`peg` there sees the plugin, and no longer when it was uninstalled; its home is empty."""
    host = installed_host(CORE, REPLAY)

    listed = json.loads(host.peg("plugins", "list", "--json").stdout)
    answered = host.peg("run", "-m", "scripted:demo", "hello")
    host.uninstall("pegboard-replay")
    after = json.loads(host.peg("plugins", "list", "--json").stdout)

    assert [plugin["id"] for plugin in listed["data"]["plugins"]] == ["replay"]
    assert answered.stdout.startswith('You asked "hello".')
    assert after["data"]["plugins"] == []
