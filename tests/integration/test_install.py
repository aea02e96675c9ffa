"""`peg plugins install`, `update` and `uninstall` with real wheels, in a fresh environment, without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pegboard.errors import PluginInstallError
from pegboard.plugins.packages import wheels as wheels_of_core
from pegboard.plugins.packages.placing import Installed

MakeEnvironment = Callable[[str], Any]

PLUGIN = """
class Plugin:
    pass
"""


def make_wheel(
    folder: Path,
    id: str = "sample",
    *,
    version: str = "1.0.0",
    manifest: str = "",
    plugin: str = PLUGIN,
    files: Mapping[str, str] | None = None,
    requires: str = "",
    api: str = ">=1.0,<2",
    record: bool = True,
) -> Path:
    """A wheel of a plugin, as a build back end makes it."""
    package = f"pegboard_{id}"
    info = f"{package}-{version}.dist-info"
    head = f'schema = 1\nid = "{id}"\nsummary = "A sample"\napi = "{api}"\nentry = "{package}.plugin:Plugin"\n'
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    contents = {
        f"{package}/__init__.py": "",
        f"{package}/plugin.py": plugin,
        f"{package}/pegboard.toml": head + manifest,
        **(files or {}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: pegboard-{id}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[pegboard.plugins]\n{id} = {package}\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
        rows = [f"{name},{_hash(text)},{len(text.encode())}" for name, text in contents.items()]
        archive.writestr(f"{info}/RECORD", "\n".join([*(rows if record else []), f"{info}/RECORD,,"]) + "\n")
    return path


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Host:
    """A fresh environment with core in it, and what `peg` says there."""

    def __init__(self, environment: Any) -> None:
        self.environment = environment

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = self.environment.peg(
            *map(str, arguments), PIP_NO_INDEX="1", UV_OFFLINE="1"
        )
        return done

    def json(self, *arguments: str | Path) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self(*arguments, "--json").stdout)
        return value

    def states(self) -> dict[str, str]:
        """State by plugin."""
        return {row["id"]: row["state"] for row in self.json("plugins", "list")["data"]["plugins"]}


@pytest.fixture(scope="module")
def shared(fresh_environment: MakeEnvironment, wheels: Mapping[str, Path]) -> Host:
    """One environment for the tests of this module; each leaves it as it found it."""
    environment = fresh_environment("install")
    environment.install(wheels["pegboard"])
    return Host(environment)


@pytest.fixture
def host(shared: Host) -> Host:
    """The environment, and afterwards a check that it is empty of plugins again."""
    for plugin in shared.states():
        shared("plugins", "uninstall", plugin)
    assert shared.states() == {}
    return shared


def test_install_shows_everything_and_then_installs(host: Host, tmp_path: Path) -> None:
    """What is installed, with hash, files, permissions and environment, is told before it happens."""
    wheel = make_wheel(tmp_path, manifest='[permissions]\nnet = ["example.org:443"]\n')

    done = host("plugins", "install", wheel, "--yes")

    assert done.returncode == 0, done.stderr
    for told in ("sha256 ", "net: example.org:443", "file pegboard_sample/plugin.py", str(host.environment.folder)):
        assert told in done.stderr
    assert host.states() == {"sample": "ready"}


def test_what_was_shown_is_granted(host: Host, tmp_path: Path) -> None:
    """The permissions that the person agreed to are granted, and no others."""
    host("plugins", "install", make_wheel(tmp_path, manifest='[permissions]\nexec = ["git"]\n'), "--yes")

    assert host.json("plugins", "info", "sample")["data"]["granted"] == {"exec": ["git"]}


def test_nothing_is_installed_without_consent(host: Host, tmp_path: Path) -> None:
    """Without a terminal and without `--yes`, exit code 7 with the whole request, and nothing has happened."""
    done = host("plugins", "install", make_wheel(tmp_path), "--json")
    value = json.loads(done.stdout)

    assert done.returncode == 7
    assert value["data"]["request"]["wheels"][0]["name"] == "pegboard-sample"
    assert value["error"]["hint"].endswith("--yes")
    assert host.states() == {}


def test_dry_run_changes_nothing(host: Host, tmp_path: Path) -> None:
    """`--dry-run` tells the plan as data and installs nothing."""
    value = host.json("plugins", "install", make_wheel(tmp_path), "--dry-run")

    assert (value["ok"], value["data"]["installed"]) == (True, False)
    assert value["data"]["wheels"][0]["plugins"][0]["id"] == "sample"
    assert host.states() == {}


HERE = Installed(
    owners={"pegboard/__init__.py": "pegboard"}, packages={"pegboard": "pegboard"}, scripts={"peg": "pegboard"}
)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        pytest.param({"files": {"evil.pth": "import os\n"}}, "at every start of Python", id="pth"),
        pytest.param({"files": {"sitecustomize.py": ""}}, "at every start of Python", id="sitecustomize"),
        pytest.param({"files": {"x-1.data/purelib/evil.pth": ""}}, "at every start of Python", id="pth in data"),
        pytest.param({"files": {"../evil.py": ""}}, "outside of its folder", id="escape"),
        pytest.param({"files": {"/evil.py": ""}}, "outside of its folder", id="absolute"),
        pytest.param({"files": {"json/__init__.py": ""}}, "hide a module of Python", id="stdlib"),
        pytest.param({"files": {"pegboard/__init__.py": ""}}, "belongs to `pegboard`", id="overwrite"),
        pytest.param({"files": {"pegboard/extra.py": ""}}, "is a package of `pegboard`", id="squatting"),
        pytest.param({"files": {"x-1.data/scripts/peg": ""}}, "command `peg` belongs to `pegboard`", id="script"),
        pytest.param({"record": False}, "not listed in RECORD", id="record"),
    ],
)
def test_what_a_wheel_must_not_do_is_seen(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    """A wheel that would run code at start, write elsewhere or take what is not its own is seen through."""
    found = wheels_of_core.inspect(make_wheel(tmp_path, **more), HERE)

    assert reason in "; ".join(found.problems)


def test_a_harmless_wheel_has_no_problems(tmp_path: Path) -> None:
    """A wheel as build back ends make them has no problems, and its plugin is described."""
    found = wheels_of_core.inspect(make_wheel(tmp_path, requires="click>=8"), HERE)

    assert (found.problems, found.requires) == ((), ("click>=8",))
    assert [(plugin.id, plugin.problems) for plugin in found.plugins] == [("sample", ())]


def test_a_changed_file_is_seen(tmp_path: Path) -> None:
    """A file whose content is not what RECORD says is a problem."""
    wheel = make_wheel(tmp_path)
    text = wheel.read_bytes().replace(b"class Plugin", b"class Plugim")
    wheel.write_bytes(text)

    with pytest.raises(PluginInstallError, match="no readable wheel"):
        wheels_of_core.inspect(wheel, HERE)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        pytest.param({"files": {"evil.pth": "import os\n"}}, "at every start of Python", id="hostile"),
        pytest.param({"api": ">=9"}, "needs the hook API >=9", id="api"),
        pytest.param({"manifest": "nonsense = 1\n"}, "unknown key", id="manifest"),
    ],
)
def test_bad_wheels_are_refused(host: Host, tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    """A wheel with a problem is refused with the reason, whatever was agreed to."""
    done = host("plugins", "install", make_wheel(tmp_path, **more), "--yes", "--json")
    error = json.loads(done.stdout)["error"]

    assert (done.returncode, error["code"]) == (3, "plugin.install")
    assert reason in error["message"]
    assert host.states() == {}


def test_conflicting_dependency_is_found_before(host: Host, tmp_path: Path) -> None:
    """A requirement that cannot hold here is an error before anything is installed."""
    done = host("plugins", "install", make_wheel(tmp_path, requires="pegboard>=9"), "--yes", "--json")

    assert done.returncode == 3
    assert host.states() == {}


@pytest.mark.parametrize(
    "plugin",
    ["raise ImportError('broken')", "import os; os._exit(9)", "class Other: pass"],
    ids=["raise", "exit", "class"],
)
def test_what_does_not_work_is_rolled_back(host: Host, tmp_path: Path, plugin: str) -> None:
    """A plugin that cannot be activated is taken out again, and nothing of it is left."""
    before = host.environment.files()
    done = host("plugins", "install", make_wheel(tmp_path, plugin=plugin), "--yes", "--json")

    assert done.returncode == 3
    assert "does not work" in json.loads(done.stdout)["error"]["message"]
    assert host.environment.files() == before


def test_broken_upgrade_brings_the_old_version_back(host: Host, tmp_path: Path) -> None:
    """When a new version does not work, the version before it is there again and works."""
    host("plugins", "install", make_wheel(tmp_path), "--yes")
    before = host.environment.files()

    done = host("plugins", "install", make_wheel(tmp_path, version="2.0.0", plugin="raise SystemExit"), "--yes")

    assert done.returncode == 3
    assert host.environment.files() == before
    assert host.json("plugins", "info", "sample")["data"]["version"] == "1.0.0"
    assert host("plugins", "enable", "sample", "--test").returncode == 0


def test_update_takes_the_newest_wheel(host: Host, tmp_path: Path) -> None:
    """`update` replaces a version by a newer one, and says so when there is none."""
    host("plugins", "install", make_wheel(tmp_path), "--yes")
    make_wheel(tmp_path, version="1.1.0")
    find = {"PIP_FIND_LINKS": str(tmp_path), "PIP_NO_INDEX": "1"}

    done = host.environment.peg("plugins", "update", "sample", "--yes", **find)
    again = host.environment.peg("plugins", "update", "sample", "--yes", **find)

    assert done.returncode == 0, done.stderr
    assert host.json("plugins", "info", "sample")["data"]["version"] == "1.1.0"
    assert again.stdout == "everything is up to date\n"


def test_installing_again_with_other_content_replaces_it(host: Host, tmp_path: Path) -> None:
    """A wheel of the same version with other content is installed: content decides, not the version."""
    host("plugins", "install", make_wheel(tmp_path), "--yes")
    again = make_wheel(tmp_path / "again", manifest='[permissions]\nexec = ["git"]\n')

    done = host("plugins", "install", again, "--yes")

    assert done.returncode == 0, done.stderr
    assert host.json("plugins", "info", "sample")["data"]["permissions"] == {"exec": ["git"]}


def test_uninstall_leaves_nothing(host: Host, tmp_path: Path) -> None:
    """Files, permissions and settings are gone; with `--keep-config` the settings stay."""
    before = host.environment.files()
    host("plugins", "install", make_wheel(tmp_path, manifest='[permissions]\nexec = ["git"]\n'), "--yes")
    host("config", "set", "plugins.sample.enabled", "true")

    done = host("plugins", "uninstall", "pegboard-sample")

    assert done.returncode == 0, done.stderr
    assert host.environment.files() == before
    assert host.json("config", "explain", "plugins.sample.enabled")["data"] is None or not host.json("config", "show")[
        "data"
    ]["settings"].get("plugins")


def test_uninstall_works_on_a_broken_plugin(host: Host, tmp_path: Path) -> None:
    """A plugin whose module cannot be imported is uninstalled without importing it."""
    host("plugins", "install", make_wheel(tmp_path), "--yes")
    site = next(host.environment.folder.glob("venv/lib/python*/site-packages"))
    (site / "pegboard_sample" / "plugin.py").write_text("raise SystemExit(9)")
    (site / "pegboard_sample" / "pegboard.toml").write_text("not toml at all [")

    assert host("plugins", "uninstall", "sample").returncode == 0
    assert not (site / "pegboard_sample").exists()


def test_orphaned_metadata_can_be_uninstalled(host: Host) -> None:
    """What an uninstall left over is found, and removed by the command that the finding names."""
    site = next(host.environment.folder.glob("venv/lib/python*/site-packages"))
    info = site / "pegboard_gone-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pegboard-gone\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pegboard.plugins]\ngone = pegboard_gone\n")
    (finding,) = [row for row in host.json("plugins", "doctor")["data"]["findings"] if row["status"] == "fail"]

    done = host(*finding["fix"].split()[1:])

    assert done.returncode == 0, done.stderr
    assert not info.exists()


def test_isolated_is_refused_plainly(host: Host, tmp_path: Path) -> None:
    """`--isolated` is refused with a way on, as long as nothing can isolate."""
    done = host("plugins", "install", make_wheel(tmp_path), "--isolated")

    assert done.returncode == 3
    assert "hint: run `peg plugins install" in done.stderr


def test_a_wheel_that_is_no_plugin_is_refused(host: Host, tmp_path: Path) -> None:
    """`peg plugins install` installs plugins; for anything else there is pip."""
    wheel = tmp_path / "other-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
        archive.writestr("other-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("other-1.0.dist-info/RECORD", "")

    assert "no plugin is in it" in host("plugins", "install", wheel, "--yes").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 7)], ids=["yes", "no"])
def test_on_a_terminal_a_person_decides(host: Host, tmp_path: Path, answer: str, code: int) -> None:
    """On a terminal the question is asked, and only a yes installs."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(host.environment.python.parent / "peg"), "plugins", "install", str(make_wheel(tmp_path))],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=host.environment.home,
        env={**os.environ, "HOME": str(host.environment.home), "PIP_NO_INDEX": "1", "UV_OFFLINE": "1"},
    )
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 1024)
    os.write(ours, answer.encode())
    process.wait(timeout=120)
    os.close(ours)

    assert process.returncode == code
