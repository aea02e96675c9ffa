"""The index of installed plugins: what is found, what is wrong with it, and when the cache is believed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pegboard.plugins.discovery import index
from pegboard.plugins.discovery.index import Index, PluginRecord
from pegboard_testing import PluginDist, plugin_dist, startup_imports

Age = Callable[[Path], None]
HEAVY = (
    "asyncio", "attr", "click", "hashlib", "importlib.metadata", "json", "msgspec", "pathlib", "platformdirs", "pluggy",
    "pydantic", "re", "tomllib", "typing",
)  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def only(found: Index) -> PluginRecord:
    [record] = found.plugins
    return record


def reasons(record: PluginRecord) -> list[str]:
    return [reason for reason, _, _ in record.problems]


# --- what is found -------------------------------------------------------------------------------------------------


def test_a_plugin_is_found_with_its_manifest(site: Path) -> None:
    """Id, distribution, version and the parsed manifest are known without an import."""
    plugin_dist(site, {"id": "demo", "summary": "Shows things"}, version="1.2")

    record = only(index.load([str(site)]))

    assert (record.id, record.dist, record.version, record.problems) == ("demo", "pegboard-demo", "1.2", ())
    assert record.manifest is not None
    assert record.manifest["summary"] == "Shows things"
    assert "pegboard_demo" not in sys.modules


def test_a_distribution_without_our_entry_points_is_no_plugin(site: Path) -> None:
    """Other distributions are not read beyond their entry points."""
    plugin_dist(site, None, entry_points={"console_scripts": {"demo": "pegboard_demo:main"}})

    assert index.load([str(site)]).plugins == []


def test_one_distribution_may_ship_several_plugins(site: Path) -> None:
    """Each has its own entry point and, in a folder of its name, its own manifest."""
    made = plugin_dist(
        site,
        {"id": "demo"},
        entry_points={"pegboard.plugins": {"demo": "pegboard_demo", "demo/extra": "pegboard_demo"}},
    )
    made.write("extra/pegboard.toml", 'schema = 1\nid = "demo/extra"\napi = ">=1.0"\nsummary = "More"\n')

    found = index.load([str(site)]).plugins

    assert [(record.id, record.problems) for record in found] == [("demo", ()), ("demo/extra", ())]


def test_the_first_distribution_on_the_path_wins(tmp_path: Path) -> None:
    """One distribution twice on `sys.path`: the first counts, as for the import system, the other is reported."""
    for name, version in (("first", "1.0"), ("second", "2.0")):
        plugin_dist(tmp_path / name, {"id": "demo"}, version=version)

    found = index.load([str(tmp_path / "first"), str(tmp_path / "second")])

    assert only(found).version == "1.0"
    assert [(item["dist"], item["version"]) for item in found.shadowed] == [("pegboard-demo", "2.0")]


def test_named_drivers_are_found(site: Path) -> None:
    """Entry points in `pegboard.drivers.<kind>` come with their distribution."""
    plugin_dist(site, None, dist="my-store", entry_points={"pegboard.drivers.store": {"mine": "my_store:Store"}})

    assert index.load([str(site)]).drivers == [
        {"kind": "store", "name": "mine", "value": "my_store:Store", "dist": "my-store", "version": "1.0.0"}
    ]


def test_a_plugin_inside_a_zip_file_is_found(tmp_path: Path, site: Path) -> None:
    """Zip files on `sys.path` are asked through importlib.metadata, and the manifest is read from inside."""
    plugin_dist(site, {"id": "demo"})
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in site.rglob("*"):
            file.write(path, path.relative_to(site))

    record = only(index.load([str(archive)]))

    assert record.manifest is not None, record.problems
    assert record.id == "demo"


def test_an_egg_info_folder_is_found(site: Path) -> None:
    """A development install of old tools counts like any other."""
    made = plugin_dist(site, {"id": "demo"})
    made.info.rename(site / "pegboard_demo.egg-info")
    (site / "pegboard_demo.egg-info" / "METADATA").rename(site / "pegboard_demo.egg-info" / "PKG-INFO")

    record = only(index.load([str(site)]))

    assert (record.dist, record.version) == ("pegboard-demo", "1.0.0")


def test_distributions_of_a_foreign_finder_are_found(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finder of somebody else is asked, each time, since nothing tells when its answer changes."""
    import importlib.metadata

    plugin_dist(site, {"id": "demo"})
    found = list(importlib.metadata.distributions(path=[str(site)]))

    class Finder:
        def find_distributions(self, context: object) -> Sequence[importlib.metadata.Distribution]:
            return found

        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            return None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    index.load([])

    result = index.load([])

    assert [record.id for record in result.plugins] == ["demo"]
    assert not result.from_cache


# --- what is wrong -------------------------------------------------------------------------------------------------


def broken_orphan(site: Path) -> PluginDist:
    made = plugin_dist(site, {"id": "demo"})
    for file in sorted((site / made.package).rglob("*"), reverse=True):
        file.unlink()
    (site / made.package).rmdir()
    return made


@pytest.mark.parametrize(
    ("make", "reason", "words"),
    [
        (broken_orphan, "files", "is not there"),
        (lambda site: plugin_dist(site, b"\xff\xfe = 1"), "schema", "is not UTF-8"),
        (lambda site: plugin_dist(site, "this is not toml"), "schema", "is not TOML"),
        (lambda site: plugin_dist(site, "x = " + "[" * 100_000), "schema", "nested too deeply"),
        (lambda site: plugin_dist(site, b"#" * 50_000_000), "schema", "larger than 256 KiB"),
        (lambda site: plugin_dist(site, {"id": 5}, plugin="demo"), "schema", "must be a string"),
        (lambda site: plugin_dist(site, {"id": "demo", "colour": "red"}), "schema", "unknown key"),
        (lambda site: plugin_dist(site, {"id": "demo", "api": ">=99"}), "api", "needs the hook API >=99"),
        (lambda site: plugin_dist(site, {"id": "demo", "api": "<1"}), "api", "needs the hook API <1"),
        (lambda site: plugin_dist(site, {"id": "demo", "api": "soon"}), "schema", "no version range"),
        (lambda site: plugin_dist(site, {"id": "demo", "python": ">=9"}), "python", "needs Python >=9"),
        (lambda site: plugin_dist(site, {"id": "demo"}, dist="somebody"), "schema", "does not fit the distribution"),
        (lambda site: plugin_dist(site, {"id": "demo"}, dist="pegboard-other"), "schema", "does not fit"),
        (
            lambda site: plugin_dist(site, {"id": "demo"}, entry_points={"pegboard.plugins": {"demo": "a.b"}}),
            "schema",
            "top-level package",
        ),
        (lambda site: plugin_dist(site, {"id": "demo", "hooks": {"tool_cal": {}}}), "kind", "did you mean `tool_call`"),
    ],
    ids=str,
)  # fmt: skip
def test_a_broken_plugin_is_a_record_with_a_reason(
    site: Path, make: Callable[[Path], PluginDist], reason: str, words: str
) -> None:
    """Whatever is wrong is reported with the distribution, and never raised."""
    made = make(site)

    record = only(index.load([str(site)]))

    assert reasons(record) == [reason], record.problems
    assert words in record.problems[0][1]
    assert record.dist == made.name


def test_a_broken_plugin_hides_no_other(site: Path) -> None:
    """The others are found as if it were not there."""
    plugin_dist(site, "this is not toml", plugin="bad")
    plugin_dist(site, {"id": "good"})

    found = {record.id: bool(record.problems) for record in index.load([str(site)]).plugins}

    assert found == {"bad": True, "good": False}


def test_a_missing_manifest_is_a_warning(site: Path) -> None:
    """Such a plugin still loads; that it costs something and that its permissions are unknown is said."""
    plugin_dist(site, None)

    record = only(index.load([str(site)]))

    assert (record.manifest, record.problems) == (None, ())
    assert "no manifest" in record.warnings[0]


def test_a_newer_schema_is_a_warning(site: Path) -> None:
    """A manifest from the future is read as far as it is understood."""
    plugin_dist(site, {"id": "demo", "schema": 2, "novelty": True})

    record = only(index.load([str(site)]))

    assert record.problems == ()
    assert "newer" in record.warnings[0]
    assert "novelty" in record.warnings[1]


# --- when the cache is believed --------------------------------------------------------------------------------------


@pytest.fixture
def cached(site: Path, age: Age) -> Callable[[], Index]:
    """Loads the index of `site`."""
    return lambda: index.load([str(site)])


def test_an_unchanged_environment_is_read_from_the_cache(site: Path, cached: Callable[[], Index], age: Age) -> None:
    """The second start scans nothing, and sees the same."""
    plugin_dist(site, {"id": "demo"})
    age(site)
    first = cached()

    second = cached()

    assert (first.from_cache, second.from_cache) == (False, True)
    assert [record.to_dict() for record in second.plugins] == [record.to_dict() for record in first.plugins]


@pytest.mark.parametrize("fresh", ["folder", "manifest", "entry points"])
def test_a_fresh_change_is_not_trusted(site: Path, cached: Callable[[], Index], age: Age, fresh: str) -> None:
    """What changed within two seconds of writing the cache could change again without a trace."""
    made = plugin_dist(site, {"id": "demo"})
    age(site)
    os.utime({"folder": site, "manifest": made.manifest, "entry points": made.info / "entry_points.txt"}[fresh])
    cached()

    assert not cached().from_cache


@pytest.mark.parametrize(
    "change",
    [
        lambda site, made: plugin_dist(site, {"id": "other"}),
        lambda site, made: made.remove(),
        lambda site, made: made.write("pegboard.toml", made.manifest.read_text() + "\n# edited\n"),
        lambda site, made: made.manifest.unlink(),
        lambda site, made: (made.info / "entry_points.txt").write_text("[pegboard.plugins]\n"),
    ],
    ids=["install", "uninstall", "edit-manifest", "remove-manifest", "edit-entry-points"],
)
def test_a_change_is_seen_at_once(site: Path, cached: Callable[[], Index], age: Age, change: Any) -> None:
    """Install, uninstall and edits in place are never answered from a stale cache."""
    made = plugin_dist(site, {"id": "demo"})
    age(site)
    cached()

    change(site, made)

    found = cached()
    assert not found.from_cache
    assert [record.to_dict() for record in found.plugins] == [
        record.to_dict() for record in index.load([str(site)], cache=False).plugins
    ]


def test_a_reinstall_in_one_clock_tick_is_seen(site: Path, cached: Callable[[], Index]) -> None:
    """Same time stamps, other content: the cache that was written in between is not believed."""
    made = plugin_dist(site, {"id": "demo", "summary": "old"})
    stamps = {path: path.stat() for path in (site, made.manifest, made.info / "entry_points.txt")}
    cached()

    made.remove()
    plugin_dist(site, {"id": "demo", "summary": "new"})
    for path, stat in stamps.items():
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    manifest = only(cached()).manifest
    assert manifest is not None
    assert manifest["summary"] == "new"


@pytest.mark.parametrize("damage", [b"", b"PEGX", b"garbage" * 100, "half"], ids=["empty", "short", "garbage", "half"])
def test_a_damaged_cache_is_replaced(
    site: Path, home: Path, cached: Callable[[], Index], age: Age, damage: bytes | str
) -> None:
    """A cache that is truncated or overwritten costs a scan and nothing else."""
    plugin_dist(site, {"id": "demo"})
    age(site)
    cached()
    [file] = (home / "cache" / "index").iterdir()
    raw = file.read_bytes()
    file.write_bytes(damage if isinstance(damage, bytes) else raw[: len(raw) // 2])

    assert not cached().from_cache
    assert cached().from_cache


def test_a_cache_that_was_altered_is_not_believed(
    site: Path, home: Path, cached: Callable[[], Index], age: Age
) -> None:
    """Also where it can still be read."""
    plugin_dist(site, {"id": "demo"})
    age(site)
    cached()
    [file] = (home / "cache" / "index").iterdir()
    file.write_bytes(file.read_bytes().replace(b"pegboard-demo", b"pegboard-evil"))

    assert only(cached()).dist == "pegboard-demo"


def test_a_cache_that_others_can_write_is_not_read(
    site: Path, home: Path, cached: Callable[[], Index], age: Age
) -> None:
    """The content decides what runs, so it must be ours alone."""
    plugin_dist(site, {"id": "demo"})
    age(site)
    cached()
    (home / "cache" / "index").chmod(0o777)

    assert not cached().from_cache


def test_the_cache_folder_is_private(site: Path, home: Path, cached: Callable[[], Index]) -> None:
    """Folder 0700, file 0600."""
    cached()

    folder = home / "cache" / "index"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in folder.iterdir()] == [0o600]


def test_without_a_place_for_the_cache_there_is_none(
    site: Path, cached: Callable[[], Index], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cache folder that cannot be made is no error."""
    plugin_dist(site, {"id": "demo"})
    (tmp_path / "file").touch()
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path / "file"))

    assert only(cached()).id == "demo"


def test_json_is_used_where_marshal_is_refused(
    site: Path, home: Path, cached: Callable[[], Index], age: Age, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An audit hook that forbids marshal costs speed and nothing else."""

    def refuse(data: bytes) -> object:
        raise RuntimeError("marshal is forbidden")

    monkeypatch.setattr("marshal.loads", refuse)
    plugin_dist(site, {"id": "demo"})
    age(site)
    first = cached()

    second = cached()

    assert second.from_cache
    assert [record.to_dict() for record in second.plugins] == [record.to_dict() for record in first.plugins]


def test_clear_removes_the_cache(site: Path, cached: Callable[[], Index], age: Age) -> None:
    """`peg plugins reindex` starts anew."""
    age(site)
    cached()

    assert index.clear() == 1
    assert not cached().from_cache


def test_cold_starts_at_once_leave_one_valid_index(site: Path, home: Path, age: Age) -> None:
    """Processes that start together with no cache do not disturb one another."""
    plugin_dist(site, {"id": "demo"})
    age(site)
    code = f"from pegboard.plugins.discovery import index; print([r.id for r in index.load([{str(site)!r}]).plugins])"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = [process.communicate(timeout=60)[0].strip() for process in running]

    assert said == ["['demo']"] * 8
    assert [file.suffix for file in (home / "cache" / "index").iterdir()] == [".bin"]


def loading(site: Path, *, warm: bool) -> str:
    """A program that loads the index of a folder with a plugin, which is on its path, too."""
    return (
        "from pegboard.plugins.discovery import index\n"
        f"found = index.load([{str(site)!r}])\n"
        f"assert (found.from_cache, 'demo' in [record.id for record in found.plugins]) == ({warm}, True)\n"
    )


def test_the_warm_path_imports_nothing_heavy(site: Path, age: Age) -> None:
    """A start that finds a valid cache pays for `os`, `sys` and `marshal`; a plugin that could be imported is not."""
    plugin_dist(site, {"id": "demo"})
    age(site)
    env = {"PYTHONPATH": str(site)}
    startup_imports(loading(site, warm=False), env=env)

    startup_imports(loading(site, warm=True), forbidden=(*HEAVY, "pegboard_demo"), env=env)


def test_judging_imports_neither_pydantic_nor_jsonschema(site: Path) -> None:
    """A scan after an install stays affordable."""
    plugin_dist(site, {"id": "demo"})
    dear = ("pydantic", "jsonschema", "stevedore", "pegboard_demo")

    startup_imports(loading(site, warm=False), forbidden=dear, env={"PYTHONPATH": str(site)})
