"""The transaction of `peg plugins install` in this process; pip and uv themselves are met in `tests/integration/`."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import shutil
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pegboard.errors import PluginInstallError
from pegboard.plugins.packages import installer, placing, programs, wheels
from pegboard.plugins.packages.placing import Installed
from pegboard.plugins.packages.programs import Wanted

MakeWheel = Callable[..., Path]
INFO = "pegboard_sample-{version}.dist-info"


def digest(text: str) -> str:
    """A hash as RECORD has it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def wheel(tmp_path: Path) -> MakeWheel:
    """Makes the wheel of a plugin `sample`."""

    def make(
        version: str = "1.0.0",
        *,
        plugin: str = "class Plugin: ...\n",
        permissions: str = "",
        files: Mapping[str, str] | None = None,
        metadata: str = "",
        manifest: str | None = None,
        name: str | None = None,
    ) -> Path:
        info = INFO.format(version=version)
        text = 'schema = 1\nid = "sample"\nsummary = "x"\napi = ">=1.0,<2"\nentry = "pegboard_sample.plugin:Plugin"\n'
        contents = {
            "pegboard_sample/__init__.py": "",
            "pegboard_sample/plugin.py": plugin,
            "pegboard_sample/pegboard.toml": text + permissions if manifest is None else manifest,
            **(files or {}),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: pegboard-sample\nVersion: {version}\n{metadata}",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": (
                "[console_scripts]\nsample = pegboard_sample.plugin:main\n"
                "[pegboard.plugins]\nsample = pegboard_sample\n"
            ),
        }
        rows = [f"{path},{digest(content)},{len(content)}" for path, content in contents.items()]
        contents[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
        made = tmp_path / (name or f"pegboard_sample-{version}-py3-none-any.whl")
        with zipfile.ZipFile(made, "w") as archive:
            for path, content in contents.items():
                archive.writestr(path, content)
        return made

    return make


@pytest.fixture
def target(site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets wheels be unpacked into a folder of the test instead of this environment."""

    def install(files: Sequence[str], *, lock: int | None) -> None:
        for file in files:
            uninstall([Path(file).name.partition("-")[0]])
            with zipfile.ZipFile(file) as archive:
                archive.extractall(site.folder)

    def uninstall(names: Sequence[str], *, lock: int | None = None) -> None:
        for name in names:
            for info in site.folder.glob(f"{name.replace('-', '_')}-*.dist-info"):
                installer._remove_by_record(info)

    roots = dict.fromkeys(("purelib", "platlib", "data"), str(site.folder))
    roots |= {"scripts": str(site.folder / "bin"), "headers": str(site.folder / "include")}
    monkeypatch.setattr(placing, "roots", lambda: roots)
    monkeypatch.setattr(programs, "install", install)
    monkeypatch.setattr(programs, "uninstall", uninstall)
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    return site


def files_of(site: Any) -> list[str]:
    """Every file below a folder, but what Python caches."""
    return sorted(str(path) for path in site.folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def test_install_grants_what_was_shown(peg: Any, target: Any, wheel: MakeWheel) -> None:
    """A plan is shown with hashes, files and permissions, then the plugin is there and has what was shown."""
    result = peg("plugins", "install", str(wheel(permissions='[permissions]\nexec = ["git"]\n')), "--yes")
    info = peg.json("plugins", "info", "sample")["data"]

    assert result.exit_code == 0, result.output
    for told in ("sha256 ", "exec: git", "file pegboard_sample/plugin.py", "commands: sample"):
        assert told in result.stderr
    assert (info["state"], info["granted"]) == ("ready", {"exec": ["git"]})


def test_dry_run_and_missing_consent_change_nothing(peg: Any, target: Any, wheel: MakeWheel) -> None:
    """`--dry-run` only shows; without `--yes` and without a terminal it is exit code 7."""
    assert peg("plugins", "install", str(wheel()), "--dry-run").exit_code == 0
    assert peg("plugins", "install", str(wheel())).exit_code == 7
    assert files_of(target) == []


@pytest.mark.parametrize("plugin", ["raise ImportError('broken')", "import os; os._exit(9)", "class Other: ..."])
def test_what_does_not_work_is_taken_out_again(peg: Any, target: Any, wheel: MakeWheel, plugin: str) -> None:
    """When the trial fails nothing is left, and the reason is told."""
    result = peg("plugins", "install", str(wheel(plugin=plugin)), "--yes")

    assert result.exit_code == 3
    assert "plugin `sample` does not work" in result.stderr
    assert files_of(target) == []


def test_broken_upgrade_brings_the_old_files_back(peg: Any, target: Any, wheel: MakeWheel) -> None:
    """The files of the version before are there again when the new one does not work."""
    peg("plugins", "install", str(wheel()), "--yes")
    before = files_of(target)

    result = peg("plugins", "install", str(wheel("2.0.0", plugin="raise SystemExit")), "--yes")

    assert result.exit_code == 3
    assert "(replaces 1.0.0)" in result.stderr
    assert files_of(target) == before


def test_update_installs_what_is_newer(
    peg: Any, target: Any, wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`update` takes what the resolver offers, and says so when that is nothing."""
    peg("plugins", "install", str(wheel()), "--yes")
    newer = wheel("1.1.0")
    offer = Wanted("pegboard-sample", "1.1.0", newer.as_uri(), wheels.sha256_of(newer))
    monkeypatch.setattr(programs, "resolve", lambda spec, folder, upgrade: [offer])
    assert peg("plugins", "update", "sample", "--yes").exit_code == 0
    assert peg.json("plugins", "info", "sample")["data"]["version"] == "1.1.0"

    monkeypatch.setattr(programs, "resolve", lambda spec, folder, upgrade: [])
    assert peg("plugins", "update", "--yes").stdout == "everything is up to date\n"


def test_uninstall_forgets_everything(peg: Any, target: Any, wheel: MakeWheel) -> None:
    """Files, permissions and settings go; what needs the distribution is named."""
    peg("plugins", "install", str(wheel(permissions='[permissions]\nexec = ["git"]\n')), "--yes")
    peg("config", "set", "plugins.sample.enabled", "true")
    target.plugin("needy", {}, requires=["pegboard-sample"])

    result = peg("plugins", "uninstall", "sample")

    assert "`pegboard-needy` will miss `pegboard-sample`" in result.stderr
    assert [path for path in files_of(target) if "sample" in path] == []
    assert "plugins" not in peg.json("config", "show")["data"]["settings"]
    assert peg("plugins", "info", "sample").exit_code == 2


def test_uninstall_can_keep_settings(peg: Any, target: Any, wheel: MakeWheel) -> None:
    """`--keep-config` leaves the settings where they are."""
    peg("plugins", "install", str(wheel()), "--yes")
    peg("config", "set", "plugins.sample.enabled", "true")
    peg("plugins", "uninstall", "sample", "--keep-config")

    assert peg.json("config", "explain", "plugins.sample.enabled")["data"]["value"] is True


def test_what_an_uninstall_left_over_is_removed(peg: Any, site: Any) -> None:
    """Metadata whose package is gone is found by the doctor and removed by the command that it names."""
    made = site.plugin("gone", {})
    for path in (site.folder / "pegboard_gone").iterdir():
        path.unlink()
    (made.info / "RECORD").unlink()
    result = peg("plugins", "doctor", "--json")
    (finding,) = [item for item in json.loads(result.stdout)["data"]["findings"] if item["status"] == "fail"]

    assert peg(*finding["fix"].split()[1:]).exit_code == 0
    assert not made.info.exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        pytest.param({"files": {"a.pth": ""}}, "at every start of Python", id="pth"),
        pytest.param({"files": {"json/x.py": ""}}, "hide a module of Python itself", id="stdlib"),
        pytest.param({"files": {"pegboard_sample-1.0.0.data/scripts/peg": ""}}, "command `peg`", id="script"),
        pytest.param({"metadata": "Requires-Dist: click>=99\n"}, "needs `click>=99`", id="conflict"),
        pytest.param({"metadata": "Requires-Dist: no-such-thing\n"}, "which is missing", id="missing"),
        pytest.param({"manifest": "not toml ["}, "its manifest is not TOML", id="manifest"),
    ],
)
def test_refused_with_the_reason(
    peg: Any, target: Any, wheel: MakeWheel, more: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with a wheel is told before anything is installed."""
    monkeypatch.setattr(programs, "resolve", lambda spec, folder, upgrade: [])
    result = peg("plugins", "install", str(wheel(**more)), "--yes")

    assert result.exit_code == 3
    assert told in result.stderr
    assert files_of(target) == []


def test_what_is_no_wheel_is_told(tmp_path: Path, wheel: MakeWheel) -> None:
    """A file that is no wheel, or is not named like one, is an error that says so."""
    (tmp_path / "x-1.0-py3-none-any.whl").write_text("no zip")
    with pytest.raises(PluginInstallError, match="no readable wheel"):
        wheels.inspect(tmp_path / "x-1.0-py3-none-any.whl")
    with pytest.raises(PluginInstallError, match="not named as a wheel"):
        wheels.inspect(tmp_path / "x.whl")
    with pytest.raises(PluginInstallError, match=r"0 `.dist-info` folders"):
        wheels.inspect(_zip(tmp_path / "y-1.0-py3-none-any.whl", {"y.py": ""}))


def _zip(path: Path, contents: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
    return path


def test_a_plugin_without_a_manifest_is_shown_as_unknown(tmp_path: Path) -> None:
    """What a plugin without a manifest may do is said to be unknown."""
    info = "pegboard_bare-1.0.dist-info"
    contents = {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: pegboard-bare\nVersion: 1.0\n",
        "pegboard_bare/__init__.py": "",
        f"{info}/entry_points.txt": "[pegboard.plugins]\nbare = pegboard_bare\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{name},{digest(text)},0\n" for name, text in contents.items())
    found = wheels.inspect(_zip(tmp_path / "pegboard_bare-1.0-py3-none-any.whl", contents))

    assert (found.plugins[0].manifest, found.plugins[0].warnings) == (None, ("it has no manifest",))


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path, wheel: MakeWheel) -> None:
    """What was fetched must have the hash that was resolved."""
    offer = Wanted("pegboard-sample", "1.0.0", wheel().as_uri(), "0" * 64)

    with pytest.raises(PluginInstallError, match="its hash differs"):
        programs.fetch([offer], tmp_path)


def test_what_is_offered_without_a_hash_is_refused(tmp_path: Path) -> None:
    """Nothing is downloaded that could not be checked."""
    offer = Wanted("x", "1", "https://example.org/x-1-py3-none-any.whl", None)

    with pytest.raises(PluginInstallError, match="without a hash"):
        programs.fetch([offer], tmp_path)


def test_a_source_distribution_is_refused(tmp_path: Path) -> None:
    """A source distribution would run code while it is built."""
    source = tmp_path / "x-1.tar.gz"
    source.write_bytes(b"")
    folder = tmp_path / "into"
    folder.mkdir()

    with pytest.raises(PluginInstallError, match="has no wheel"):
        programs.fetch([Wanted("x", "1", source.as_uri(), None)], folder)


def test_requirements_that_do_not_hold_are_named(site: Any) -> None:
    """What an installed distribution needs and does not have is named; what holds is not."""
    site.plugin("wants", {}, requires=["click>=99", "msgspec", "nothing-like-this", 'x; python_version < "3"'])

    assert programs.unmet("pegboard-wants") == [
        f"`pegboard-wants` needs `click>=99`, and it would be {programs.installed_versions()['click']}",
        "`pegboard-wants` needs `nothing-like-this`, which is missing",
    ]


def test_failure_of_pip_is_told_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip calls an error is the reason in ours."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(PluginInstallError, match=r"could not be resolved: .*No matching distribution found"):
        programs.resolve("pegboard-no-such-plugin", tmp_path)


def find_nothing(*names: str) -> Callable[..., Any]:
    """`find_spec` of an environment without some modules."""
    real = importlib.util.find_spec
    return lambda name, *more: None if name in names else real(name, *more)


def test_the_pip_of_the_environment_is_used_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pip is installed it resolves and installs."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())

    assert programs.pip().command == (sys.executable, "-m", "pip")
    assert programs.installing_tool().name == "pip"


def test_the_pip_that_python_brings_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pip, that of `ensurepip` resolves, and uv installs where it is there."""
    monkeypatch.setattr(importlib.util, "find_spec", find_nothing("pip"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")

    assert programs.pip().environment["PYTHONPATH"].endswith(".whl")
    assert programs.installing_tool().command == ("/bin/uv", "pip")


def test_uv_lends_a_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """With neither pip nor ensurepip, uv lends one; without uv too, the error says so."""
    monkeypatch.setattr(importlib.util, "find_spec", find_nothing("pip", "ensurepip"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    assert programs.pip().name == "pip lent by uv"

    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(PluginInstallError, match="neither pip nor uv"):
        programs.pip()


def test_a_folder_of_wheels_is_resolved_and_fetched(tmp_path: Path, wheel: MakeWheel, monkeypatch: Any) -> None:
    """pip resolves names in a folder of wheels without a network, and each file is fetched with its hash."""
    made = wheel()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.parent))
    folder = tmp_path / "into"
    folder.mkdir()

    wanted = programs.resolve("pegboard-sample", folder)
    (file,) = programs.fetch(wanted, folder)

    assert [(item.name, item.version) for item in wanted] == [("pegboard-sample", "1.0.0")]
    assert wheels.sha256_of(file) == wheels.sha256_of(made)


def test_wheel_whose_record_lies_is_seen(tmp_path: Path) -> None:
    """What RECORD does not list, lists wrongly, or lists without need is a problem."""
    info = "x-1.0.dist-info"
    record = f"x.py,sha256=wrong,1\ngone.py,,\n{info}/METADATA,{digest('')},0\n"
    found = wheels.inspect(
        _zip(
            tmp_path / "x-1.0-py3-none-any.whl",
            {"x.py": "1", "extra.py": "", "../up.py": "", f"{info}/METADATA": "", f"{info}/RECORD": record},
        ),
        Installed({"extra.py": "other"}, {}, {}),
    )

    told = "; ".join(found.problems)
    for part in ("`x.py` is not what RECORD says", "lists `gone.py`, which is missing", "`extra.py` is not listed"):
        assert part in told
    assert "`../up.py` would be written outside" in told
    assert "`extra.py` belongs to `other`" in told


def test_install_of_a_folder_names_link(peg: Any, tmp_path: Path) -> None:
    """A folder is a usage error whose hint is the command that uses it in place."""
    result = peg("plugins", "install", str(tmp_path))

    assert result.exit_code == 2
    assert f"peg plugins link {tmp_path}" in result.stderr


@pytest.mark.parametrize(
    ("path", "told"),
    [
        pytest.param("site-packages/evil.pth", "at every start of Python", id="pth"),
        pytest.param("site-packages/sitecustomize/__init__.py", "at every start of Python", id="sitecustomize"),
        pytest.param("site-packages/click/__init__.py", "belongs to `click`", id="owned"),
        pytest.param("bin/peg", "command `peg` belongs to `pegboard`", id="command"),
        pytest.param("pyvenv.cfg", "is there already and would be overwritten", id="there"),
    ],
)
def test_a_member_is_judged_by_where_it_lands(
    wheel: MakeWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, told: str
) -> None:
    """The scheme `data` leads to the whole environment: what it puts there is judged as what it is there."""
    roots = {name: str(tmp_path / "env" / "site-packages") for name in ("purelib", "platlib")}
    roots |= {"scripts": str(tmp_path / "env" / "bin"), "data": str(tmp_path / "env"), "headers": str(tmp_path / "h")}
    monkeypatch.setattr(placing, "roots", lambda: roots)
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    owned = Installed({"click/__init__.py": "click"}, {"click": "click"}, {"peg": "pegboard"})

    found = wheels.inspect(wheel(files={f"pegboard_sample-1.0.0.data/data/{path}": ""}), owned)

    assert told in "; ".join(found.problems)
    assert wheels.inspect(wheel(files={"pegboard_sample-1.0.0.data/data/share/x.txt": ""}), owned).problems == ()


@pytest.mark.parametrize("member", ["x.data/nothing/a", "x.data/data/../a", "x.data/a"])
def test_what_lands_nobody_knows_where_is_refused(wheel: MakeWheel, member: str) -> None:
    """A scheme that does not exist, or a path that leaves it."""
    found = wheels.inspect(wheel(files={member: ""}))

    assert "would be written" in "; ".join(found.problems)


@pytest.mark.parametrize("more", ["Name: pegboard-other\n", "Version: 9\n"])
def test_metadata_must_be_that_of_the_file(wheel: MakeWheel, more: str) -> None:
    """An installer goes by METADATA, a person by the name of the file; they must say the same, and say it once."""
    found = wheels.inspect(wheel(metadata=more))

    assert "its METADATA has the" in "; ".join(found.problems)


@pytest.mark.parametrize("victim", ["METADATA", "RECORD", "entry_points.txt", "pegboard.toml"])
def test_a_member_that_unpacks_to_much_is_not_unpacked(tmp_path: Path, wheel: MakeWheel, victim: str) -> None:
    """What would fill the memory is refused by its size."""
    made = wheel()
    with zipfile.ZipFile(made) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    (name,) = [name for name in contents if name.endswith(f"/{victim}")]
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, content in {**contents, name: b"\n" * 2**26}.items():
            archive.writestr(each, content)

    tracemalloc.start()
    try:
        with pytest.raises(PluginInstallError, match=f"{victim} has 65536 KiB"):
            wheels.inspect(made)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("limit", ["_MAX_SIZE_BYTES", "_MAX_INDEX_BYTES"])
def test_a_wheel_as_a_whole_is_bounded(wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """All members together, and the table of them, are bounded before one of them is read."""
    monkeypatch.setattr(wheels, limit, 100)

    with pytest.raises(PluginInstallError, match="is refused"):
        wheels.inspect(wheel())


def test_what_is_not_packed_with_deflate_is_refused(wheel: MakeWheel) -> None:
    """Other methods are unpacked in one piece, however little is asked for."""
    made = wheel()
    with zipfile.ZipFile(made, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("pegboard_sample/x.bin", b"x")

    with pytest.raises(PluginInstallError, match="is not packed with deflate"):
        wheels.inspect(made)


def test_a_wheel_that_is_not_there_is_told(peg: Any) -> None:
    """The path of no file is a usage error that says so, and not a requirement that cannot be parsed."""
    result = peg("plugins", "install", "nofile.whl")

    assert result.exit_code == 2
    assert "there is no file `nofile.whl`" in result.stderr


def test_broken_metadata_of_others_is_in_nobodys_way(peg: Any, target: Any, wheel: MakeWheel) -> None:
    """Metadata without a name, and what a pip that was killed left behind, are no distributions."""
    (target.folder / "other-1.0.dist-info").mkdir()
    stash = target.plugin("gone", {}).info
    stash.rename(stash.with_name("~egboard_gone-1.0.0.dist-info"))

    assert peg("plugins", "install", str(wheel()), "--yes").exit_code == 0
    assert "pegboard-gone" not in programs.installed_versions()
    assert "gone" not in [row["id"] for row in peg.json("plugins", "list")["data"]["plugins"]]


def test_broken_metadata_of_what_is_replaced_is_told(peg: Any, target: Any, wheel: MakeWheel) -> None:
    """What cannot be put back is not replaced; the hint removes it."""
    info = target.folder / "pegboard_sample-0.9.dist-info"
    info.mkdir()
    result = peg("plugins", "install", str(wheel()), "--yes")

    assert result.exit_code == 3
    assert f"hint: run `rm -r '{info}'`" in result.stderr
    assert not (target.folder / "pegboard_sample").exists()
