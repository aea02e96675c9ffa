"""The shape of the repository, and what must not be in it."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP_LEVEL = {
    "AGENTS.md",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "changelog.d",
    "constraints.txt",
    "core",
    "docs",
    "plugin_template",
    "plugins_builtin",
    "pyproject.toml",
    "tests",
    "tox.ini",
}
KNOWN_HOSTS = re.compile(
    r"^(?:[\w.-]+\.)?(?:example(?:\.com|\.org)?|invalid|test|localhost|github\.com|apache\.org|json-schema\.org)$"
    r"|^www\.w3\.org$|^docs\.oasis-open\.org$"  # the names of SVG and of SARIF's schema, which nobody fetches
)
"""Hosts that documentation needs, and names that are reserved for examples."""
ADDRESS = re.compile(r"https?://([^/\s\"'`:)>\]}]+)")
MACHINE_PATH = re.compile(r"(?<![\w.:/~-])/(?:roo[t]|wor[k]|User[s])/\w[\w.-]*/")
LOOPBACK = re.compile(r"^(?:127\.[\d.]+|\[|0\.0\.0\.0|testserver|\{|\$|h\b|host\b|x\b|\.\.\.|…)")


def text_of(path: Path) -> str:
    """The text of a file, or nothing for one that is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def requirements(root: Path) -> list[Requirement]:
    """What every distribution and every dependency group asks for from outside."""
    found: list[str] = []
    for path in [
        root / "pyproject.toml",
        root / "core/pyproject.toml",
        *root.glob("plugins_builtin/*/*/pyproject.toml"),
    ]:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        found += data["project"].get("dependencies", [])
        found += [item for extra in data["project"].get("optional-dependencies", {}).values() for item in extra]
        groups = data.get("dependency-groups", {}).values()
        found += [item for group in groups for item in group if isinstance(item, str)]
    return [need for need in map(Requirement, found) if not need.name.startswith("pegboard")]


def pinned(constraints: str) -> dict[str, list[str]]:
    """The versions that `constraints.txt` allows, by normalised name."""
    pins: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", constraints, re.MULTILINE):
        pins.setdefault(canonicalize_name(name), []).append(version)
    return pins


def test_top_level_is_the_agreed_one(repository_files: list[Path]) -> None:
    """Nothing but the agreed names stands at the top, beside dot files."""
    found = {path.parts[0] for path in repository_files if not path.parts[0].startswith(".")}
    assert found - TOP_LEVEL == set(), "not agreed"
    assert TOP_LEVEL - found == set(), "missing"


def test_no_lock_with_addresses(repository_files: list[Path]) -> None:
    """A lock file that records download addresses is not committed."""
    assert [path for path in repository_files if path.name in {"uv.lock", "poetry.lock", "pdm.lock"}] == []


def test_constraints_name_no_address(root: Path) -> None:
    """`constraints.txt` says what, never from where."""
    assert "://" not in (root / "constraints.txt").read_text(encoding="utf-8")


def test_every_constraint_has_a_hash(root: Path) -> None:
    """Each pinned version lists the hashes of its files."""
    entries = re.split(r"\n(?=\S)", (root / "constraints.txt").read_text(encoding="utf-8").strip())
    assert [entry.partition(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_constraints_cover_every_requirement(root: Path) -> None:
    """What a distribution or a group asks for is pinned to a version that it accepts; else `tox run -e constraints`."""
    pins = pinned((root / "constraints.txt").read_text(encoding="utf-8"))
    unmet = [
        str(need)
        for need in requirements(root)
        if not any(need.specifier.contains(version) for version in pins.get(canonicalize_name(need.name), []))
    ]
    assert unmet == []


def test_no_machine_path(root: Path, repository_files: list[Path]) -> None:
    """No file names a folder of the machine that it was written on."""
    here = re.compile(f"{MACHINE_PATH.pattern}|{re.escape(str(root))}|{re.escape(str(Path.home()))}/")
    found = [f"{path}: {match[0]}" for path in repository_files for match in here.finditer(text_of(root / path))]
    assert found == []


def test_addresses_are_known(root: Path, repository_files: list[Path]) -> None:
    """Files name no host but the few that documentation needs; above all no package registry."""
    found = {
        f"{path}: {host}"
        for path in repository_files
        for host in ADDRESS.findall(text_of(root / path))
        if not KNOWN_HOSTS.match(host) and not LOOPBACK.match(host)
    }
    assert found == set()


def test_test_files_have_unique_names(repository_files: list[Path]) -> None:
    """Two test files never share a base name, so that a report names one place."""
    names = Counter(path.name for path in repository_files if re.match(r"test_.*\.py$", path.name))
    in_template = {path.name for path in repository_files if path.parts[0] == "plugin_template"}
    assert [name for name, count in names.items() if count > 1 and name not in in_template] == []


@pytest.mark.parametrize("step", ["try_it", "test_it"])
def test_ci_runs_the_commands_of_the_readme(root: Path, step: str) -> None:
    """`.ci/run` sets up, runs and tests exactly as the README tells a person to."""
    script = (root / ".ci/run").read_text(encoding="utf-8")
    command = re.search(rf"{step}\(\) \{{.*\n\s+(.+)\n\}}", script)
    assert command is not None
    assert f"$ {command[1]}\n" in (root / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    ["/roo" + "t/project/x", "see `/User" + "s/ada/peg/x`", '"/wor' + 'k/main/core"'],
    ids=["bare", "prose", "code"],
)
def test_machine_path_is_seen(text: str) -> None:
    """The search finds a path in each place where one is written."""
    assert MACHINE_PATH.search(text)
