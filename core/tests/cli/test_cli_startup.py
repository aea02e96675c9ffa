"""What a start of `peg` may import: users feel imports, so the warm path is held by name."""

from __future__ import annotations

import os
from typing import Any

import pytest

DEAR = {
    "asyncio",
    "attrs",
    "importlib.metadata",
    "json",
    "jsonschema",
    "msgspec",
    "packaging",
    "platformdirs",
    "pluggy",
    "pydantic",
    "stevedore",
    "tomlkit",
    "tomllib",
}
PROBE = """
import atexit, sys
before = set(sys.modules)
sys.argv = ["peg", *{arguments!r}]
atexit.register(lambda: print("MODULES", *sorted(set(sys.modules) - before), file=sys.stderr))
from pegboard.__main__ import main
main()
"""


def imported(site: Any, *arguments: str) -> set[str]:
    """The modules that `peg` imports beyond those of a bare interpreter."""
    done = site.python("-c", PROBE.format(arguments=list(arguments)))
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("MODULES")[2].split())


@pytest.fixture
def plugins(site: Any) -> Any:
    """Three plugins that contribute a command and a hook each; the index has seen them."""
    for number in range(3):
        command = {"name": f"more-{number}", "target": f"pegboard_p{number}.plugin:command", "help": "More."}
        site.plugin(f"p{number}", {"hooks": {"on_event": {}}, "contributes": {"commands": [command]}})
    # The index does not trust what was changed just now.
    for path in (site.folder, *site.folder.rglob("*")):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60))
    site.peg("plugins", "list")
    return site


def test_version_needs_neither_click_nor_re(site: Any) -> None:
    """`peg --version` is answered before anything dear is imported."""
    assert imported(site, "--version") & {"click", "re", "typing", "enum", *DEAR} == set()


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("arguments", [("--help",), ("plugins", "--help"), ("plugins", "list")], ids=" ".join)
def test_warm_path_is_click_and_cheap_things(site: Any, arguments: tuple[str, ...]) -> None:
    """`--help` and `plugins list` import nothing dear, and no module of a plugin."""
    found = imported(site, *arguments)

    assert "click" in found
    assert found & DEAR == set()
    assert [name for name in found if name.startswith("pegboard_p")] == []


@pytest.mark.usefixtures("plugins")
def test_help_imports_no_command(site: Any) -> None:
    """`--help` shows the table and imports no command module of core."""
    commands = {"run", "init", "agents", "settings", "doctor", "pages", "completion", "plugins_list"}

    assert {name.removeprefix("pegboard.cli.") for name in imported(site, "--help")} & commands == set()


def test_import_of_pegboard_does_nothing(site: Any) -> None:
    """`import pegboard` imports no other module of pegboard, and nothing dear."""
    done = site.python("-c", "import sys, pegboard; print(*[m for m in sys.modules if m.startswith('pegboard')])")

    assert done.stdout.split() == ["pegboard"]
