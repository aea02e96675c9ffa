"""Projects and repositories to analyse, a workshop with a cache of its own, and a board with the plugin."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pegboard_codeanalysis
import pytest
from pegboard_codeanalysis.work.workshop import Workshop

PLUGIN = Path(pegboard_codeanalysis.__file__).parent
Write = Callable[[Mapping[str, str | bytes]], Path]
Git = Callable[..., str]

SOUND = {
    "README.md": "# Shop\n",
    "pyproject.toml": '[project]\nname = "shop"\nversion = "1.2"\ndescription = "Sells things"\n'
    'dependencies = ["click"]\n',
    "shop/__init__.py": '"""A shop."""\n',
    "shop/cart.py": '"""Carts."""\n\nfrom shop import prices\n\n\ndef total(items):\n    """The sum."""\n'
    "    return sum(prices.of(item) for item in items)\n",
    "shop/prices.py": '"""Prices."""\n\n\ndef of(item):\n    """Its price."""\n    return len(item)\n',
    "tests/test_cart.py": "from shop import cart\n\n\ndef test_total():\n    assert cart.total(['ab']) == 2\n",
}
"""A project in which there is nothing to find."""
FAULTY = {
    **SOUND,
    "shop/faulty.py": "import os\nimport subprocess\n\n\ndef run(name, seen=[]):\n    seen.append(name)\n"
    "    subprocess.call('ls ' + name, shell=True)\n    return undefined_thing\n    print('never')\n\n\n"
    "def _forgotten():\n    return 1\n",
    "shop/broken.py": "def broken(:\n    pass\n",
}
"""With faults of which each tool finds one."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of whoever runs the tests is read or written."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PEGBOARD_HOME", str(folder / "pegboard"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files below a new folder."""

    def write(files: Mapping[str, str | bytes]) -> Path:
        root = tmp_path / "project"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return root

    return write


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Runs git as a person would."""

    def git(*arguments: str, cwd: Path | None = None) -> str:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            ["git", *identity, *arguments],
            cwd=cwd or tmp_path / "project",
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return git


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    """A workshop, closed at the end."""
    made = Workshop(lambda: tmp_path / "cache")
    yield made
    await made.aclose()
