"""A place of its own for each scenario: plugins that are really installed there, and real processes that see them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from pegboard_testing import Fault, InstalledHost, PluginDist, Wheelhouse, broken_plugin, plugin_dist

HOST = Path(__file__).with_name("host.py")
ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120.0
Done = subprocess.CompletedProcess[str]
INSTALLED = {point.name for point in entry_points(group="pegboard.plugins")}
OTHERS = sorted(INSTALLED & {"console", "sqlite", "workflow"})
"""Plugins that act on every board; where we are developed they are installed too."""

PLUGIN_HEAD = (
    "import asyncio, os, sys, threading, time\nfrom pathlib import Path\nfrom pegboard import hookimpl\n\n"
    "class Plugin:\n    @hookimpl\n"
)
SOUND = {
    "id": "sound",
    "hooks": {"provide_tools": {}},
    "contributes": {"tools": [{"name": "sound.double", "effect": "pure"}]},
}
SOUND_CODE = '''
from pegboard import hookimpl, tool


@tool(name="sound.double", effect="pure", inline=True)
def double(value: int) -> int:
    """Double it."""
    return 2 * value


class Plugin:
    @hookimpl
    def provide_tools(self):
        return [double]
'''


# Not `-X importtime`, nor a look at `sys.modules`: one does not see what `importlib` imports, the other forgets what
# failed. Whatever code runs, an audit hook sees it.
SPY = """
import os, sys


def watch(event, arguments):
    file = arguments[0].co_filename if event == "exec" else arguments[1] if event == "compile" else ""
    if "/pegboard_" in str(file):
        os.write(2, f"RAN {file}\\n".encode())


sys.addaudithook(watch)
"""


class Place:
    """A home, a folder with plugins that is on the path of every process started here, and a folder to work in."""

    sound_call = ["sound.double", {"value": 21}]
    sound_result = ["ok", "42"]
    """What the tool of the plugin gives that is not broken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.site, self.work = (folder / name for name in ("home", "site", "work"))
        for each in (self.home, self.site, self.work):
            each.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PEGBOARD", "XDG_"))},
            "PEGBOARD_HOME": str(self.home),
            "PEGBOARD_DISABLE_PLUGINS": ",".join(OTHERS),
            "PYTHONPATH": str(self.site),
        }

    # --- plugins

    def plugin(
        self,
        manifest: Mapping[str, Any] | str | bytes | None,
        files: Mapping[str, str | bytes] | None = None,
        **more: Any,
    ) -> PluginDist:
        """Install a plugin; see `pegboard_testing.plugin_dist`."""
        return plugin_dist(self.site, manifest, files, **more)

    def hooking(self, id: str, function: str, *, version: str = "1.0.0", **options: Any) -> PluginDist:
        """Install a plugin with one hook.

        Args:
            id: its id.
            function: the hook with its `def`, in lines that begin at the margin.
            version: of the distribution.
            options: what the manifest says of the hook.
        """
        hook = function.partition("(")[0].split()[-1]
        code = PLUGIN_HEAD + "".join(f"    {line}\n" for line in function.strip().splitlines())
        return self.plugin({"id": id, "hooks": {hook: options}}, {"plugin.py": code}, version=version)

    def broken(self, fault: Fault, **more: Any) -> PluginDist:
        """Install a plugin that is broken; see `pegboard_testing.broken_plugin`."""
        return broken_plugin(self.site, fault, **more)

    def sound(self) -> PluginDist:
        """Install a plugin that is not: `sound_call` gives `sound_result`."""
        return self.plugin(SOUND, {"plugin.py": SOUND_CODE})

    # --- processes

    def start(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        """Start Python here."""
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.work,
            env={**self.environment, **environment},
        )

    def python(self, *arguments: str | Path, **environment: str) -> Done:
        """Run Python here, to its own end."""
        with self.start(*arguments, **environment) as process:
            try:
                stdout, stderr = process.communicate(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def peg(self, *arguments: str | Path, **environment: str) -> Done:
        """Run `peg` here."""
        return self.python("-P", "-m", "pegboard", *arguments, **environment)

    def json(self, *arguments: str | Path, **environment: str) -> dict[str, Any]:
        """The one object that `peg … --json` prints."""
        done = self.peg(*arguments, "--json", **environment)
        assert done.stdout.count("\n") == 1, (done.stdout, done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def rows(self, **environment: str) -> dict[str, dict[str, Any]]:
        """What `peg plugins list --json` says, by plugin; of several that claim one id, the last."""
        return {row["id"]: row for row in self.json("plugins", "list", **environment)["data"]["plugins"]}

    def ran(self, *arguments: str) -> tuple[Done, set[str]]:
        """Run `peg`, and the packages of plugins whose code ran meanwhile, or was about to."""
        (self.folder / "spy").mkdir(exist_ok=True)
        (self.folder / "spy" / "sitecustomize.py").write_text(SPY, encoding="utf-8")
        both = os.pathsep.join(map(str, (self.folder / "spy", self.site)))
        done = self.peg(*arguments, PYTHONPATH=both)
        files = [line.partition(" ")[2] for line in done.stderr.splitlines() if line.startswith("RAN ")]
        return done, {part for file in files for part in Path(file).parts if part.startswith("pegboard_")}

    def state(self, plugin: str = "broken", **environment: str) -> str:
        """State and reason of a plugin as `peg plugins list` tells them: `rejected(schema)`."""
        row = self.rows(**environment)[plugin]
        return f"{row['state']}({row['reason']})" if row["reason"] else row["state"]

    def try_host(self, *do: Sequence[Any], speed: float = 1, board: Any = None, **environment: str) -> Done:
        """Run the host program, however it ends; its board's clock goes `speed` times as fast."""
        order = json.dumps({"do": do, "speed": speed, "board": board or {}})
        return self.python(HOST, order, **environment)

    def host(self, *do: Sequence[Any], **options: Any) -> dict[str, Any]:
        """Run the host program, and what it tells."""
        done = self.try_host(*do, **options)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty place."""
    return Place(tmp_path)


def zipped(made: PluginDist, folder: Path) -> Path:
    """A wheel of what stands in a folder as if it had been installed."""
    names = [line.split(",")[0] for line in (made.info / "RECORD").read_text(encoding="utf-8").splitlines()]
    wheel = folder / f"{made.package}-{made.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            if not name.endswith("/INSTALLER"):
                archive.write(made.site / name, name)
    return wheel


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[[PluginDist], Path]:
    """Makes wheels of installed plugins."""
    return lambda made: zipped(made, tmp_path)


@pytest.fixture(scope="session")
def wheel_place(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Wheelhouse) -> InstalledHost:
    """An environment with core in it and nothing else, for scenarios that need a real installer."""
    environment = InstalledHost(tmp_path_factory.mktemp("environment"))
    environment.install(wheelhouse.add(ROOT / "core"))
    return environment
