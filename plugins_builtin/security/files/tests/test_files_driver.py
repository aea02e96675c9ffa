"""The driver `files:local`, in both of its ways: the kernel's and the walk."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from pegboard.errors import FilesDeniedError
from pegboard.interfaces import HostContext
from pegboard_files import driver, kernel
from pegboard_files.beneath import Kernel, Walk
from pegboard_files.driver import LocalFiles, Settings, local_files
from pegboard_files.folder import LocalFolder
from pegboard_files.protected import PROTECTED, Protected
from pegboard_testing.conformance.roles import FilesSuite, ManifestSuite

WAYS = [Walk, *([Kernel] if kernel.has_openat2() else [])]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__.lower())
def files(request: pytest.FixtureRequest) -> LocalFiles:
    """The driver, in each of its ways."""
    return LocalFiles(way=request.param)


class TestLocalFiles(FilesSuite):
    """The rules for every driver of this kind."""

    @pytest.fixture
    def files(self, files: LocalFiles) -> LocalFiles:
        return files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root, with a secret beside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def folder(files: LocalFiles, root: Path) -> LocalFolder:
    """What the driver makes of it."""
    return files.beneath(root)


def read(folder: LocalFolder, path: str) -> bytes:
    with folder.open(path) as file:
        return file.read()


def opened_beneath(root: Path) -> set[str]:
    """What this process has open there, where that can be seen; threads of other tests may open files elsewhere."""
    found = set()
    for descriptor in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):  # closed meanwhile
            found.add(str(descriptor.readlink()))
    return {path for path in found if path.startswith(str(root))}


def test_openat2_is_used_where_it_is() -> None:
    """The kernel of this machine decides, once."""
    expected = Kernel if kernel.has_openat2() else Walk
    assert LocalFiles()._way is expected


def test_a_folder_closes_what_it_opened(files: LocalFiles, root: Path) -> None:
    """Nothing stays open when nobody holds it, whatever was refused."""
    (root / "loop").symlink_to("loop")
    folder = files.beneath(root)
    assert opened_beneath(root) or not Path("/proc/self/fd").exists()
    folder.replace("a/b/c.txt", b"x")
    read(folder, "a/b/../b/c.txt")
    for path in ("../x", "loop", "a/b/c.txt/d", "none", "a", ".git/x"):
        with pytest.raises((FilesDeniedError, FileNotFoundError)):
            folder.open(path)
        with pytest.raises((FilesDeniedError, FileNotFoundError)):
            folder.move(path, "a/b/c.txt/d")
    del folder
    gc.collect()  # the errors that were caught hold on to the frames that they went through

    assert opened_beneath(root) == set()


def test_dots_inside_are_followed(folder: LocalFolder) -> None:
    """`..` goes where the system would go."""
    folder.replace("a/b/c.txt", b"x")

    assert read(folder, "./a/b/../../a//b/c.txt") == b"x"


def test_dots_behind_a_link_are_those_of_its_target(folder: LocalFolder, root: Path) -> None:
    """`link/..` is the folder above the target, and not the one above the link."""
    folder.replace("deep/er/here.txt", b"x")
    folder.replace("deep/near.txt", b"near")
    (root / "link").symlink_to("deep/er")

    assert read(folder, "link/../near.txt") == b"near"
    folder.replace("link/../near.txt", b"new")
    assert (root / "deep" / "near.txt").read_bytes() == b"new"


def test_a_missing_folder_is_not_stepped_out_of(folder: LocalFolder) -> None:
    """`none/..` does not exist, and nothing is made on the way."""
    with pytest.raises(FileNotFoundError):
        folder.replace("none/../x.txt", b"x")
    assert folder.list() == []


def test_a_link_is_written_through(folder: LocalFolder, root: Path) -> None:
    """The target changes, and the link stays one; also when the target is yet to be made."""
    folder.replace("real.txt", b"old")
    (root / "sub").mkdir()
    (root / "sub" / "link").symlink_to("../real.txt")
    (root / "new").symlink_to("made.txt")

    folder.replace("sub/link", b"new")
    folder.replace("new", b"made")

    assert (root / "real.txt").read_bytes() == b"new"
    assert (root / "sub" / "link").is_symlink()
    assert (root / "made.txt").read_bytes() == b"made"


@pytest.mark.parametrize(
    "target", ["../outside/secret", "/etc/hostname", "sub/../../outside/secret", "{root}/real.txt"]
)
def test_a_link_that_leads_out_is_refused(folder: LocalFolder, root: Path, target: str) -> None:
    """To read and to write; an absolute one leads out wherever it points."""
    (root / "sub").mkdir()
    (root / "real.txt").write_text("x")
    (root / "link").symlink_to(target.format(root=root))

    for act in (lambda: folder.open("link"), lambda: folder.replace("link", b"x")):
        with pytest.raises(FilesDeniedError, match="leads out") as raised:
            act()
        assert "outside" not in str(raised.value)


def test_links_that_go_round_are_refused(folder: LocalFolder, root: Path) -> None:
    """After as many as the kernel follows."""
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")

    for act in (lambda: folder.open("a"), lambda: folder.replace("a/x", b"x"), lambda: folder.list("a/x")):
        with pytest.raises(FilesDeniedError, match="links"):
            act()


def test_magic_links_are_not_followed(files: LocalFiles) -> None:
    """What the kernel only shows as links leads anywhere."""
    if not Path("/proc/self/root").exists():
        pytest.skip("no procfs here")
    with pytest.raises(FilesDeniedError):
        files.beneath("/proc/self").list("root")


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_what_is_no_file_is_refused_at_once(folder: LocalFolder, root: Path, kind: str) -> None:
    """Nothing waits for the other end of a pipe."""
    path = root / "thing"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        os.chdir(root)
        server.bind("thing")
        server.close()
    else:
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root makes devices")

    assert folder.stat("thing").kind == "other"
    acts: list[Callable[[], object]] = [
        lambda: folder.open("thing"),
        lambda: folder.replace("thing", b"x"),
        lambda: folder.move("thing", "other"),
        lambda: folder.remove("thing"),
    ]
    for act in acts:
        with pytest.raises(FilesDeniedError, match="neither a file nor a folder"):
            act()


@pytest.fixture(autouse=True)
def _same_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_file_with_a_second_name_is_not_written(folder: LocalFolder, root: Path) -> None:
    """It could be a file of somewhere else."""
    os.link(root.parent / "outside" / "secret", root / "hard")

    with pytest.raises(FilesDeniedError, match="hard link"):
        folder.replace("hard", b"x")
    assert (root.parent / "outside" / "secret").read_text() == "secret"


def test_a_read_only_file_is_not_written(folder: LocalFolder, root: Path) -> None:
    """Renaming over it would not ask."""
    (root / "kept.txt").write_text("x")
    (root / "kept.txt").chmod(0o444)

    with pytest.raises(FilesDeniedError, match="read-only"):
        folder.replace("kept.txt", b"y")


def test_the_mode_is_kept_without_lent_rights(folder: LocalFolder, root: Path) -> None:
    """A script stays executable; whoever rewrites a program does not get its owner's rights."""
    (root / "run.sh").write_text("x")
    (root / "run.sh").chmod(0o4754)

    folder.replace("run.sh", b"y")

    assert stat.S_IMODE((root / "run.sh").stat().st_mode) == 0o754


def test_a_new_file_follows_the_umask(folder: LocalFolder, root: Path) -> None:
    """As any program would make it."""
    before = os.umask(0o027)
    try:
        folder.replace("new.txt", b"x")
    finally:
        os.umask(before)

    assert stat.S_IMODE((root / "new.txt").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "path",
    ["nul\0byte", "n" * 256, "é" * 128, "d/" * 2048 + "x", "\ud800"],
    ids=["nul", "long name", "long in bytes", "long path", "no name"],
)
def test_impossible_names_are_refused(folder: LocalFolder, path: str) -> None:
    """Before the system is asked, with a text that can be shown."""
    acts: list[Callable[[], object]] = [
        lambda: folder.open(path),
        lambda: folder.stat(path),
        lambda: folder.replace(path, b"x"),
        lambda: folder.make(path),
        lambda: folder.move(path, "x"),
        lambda: folder.remove(path),
    ]
    for act in acts:
        with pytest.raises(FilesDeniedError) as raised:
            act()
        assert raised.value.message.isprintable()
        assert len(raised.value.message) < 400


PLACES = [
    ".git/hooks/pre-commit", ".git/config", ".git", "sub/.git/config", ".GIT/config", ".gi\u200ct/config",
    ".git./config", ".gitmodules", ".bashrc", ".config/fish/config.fish", ".vscode/tasks.json",
    ".mcp.json", ".claude/settings.json",
    ".pegboard/config.toml", "a/../.idea/x", "link/config", "own/kept/x",
]  # fmt: skip


@pytest.mark.parametrize("path", PLACES)
def test_protected_paths_are_never_written(files: LocalFiles, root: Path, path: str) -> None:
    """Whatever the spelling, through links too, and even when they are absent; nothing is made on the way."""
    driver = LocalFiles(Protected(["own/kept"]), way=files._way)
    folder = driver.beneath(root)
    (root / "a").mkdir()
    (root / "from.txt").write_text("x")
    (root / "link").symlink_to(".git")
    before = sorted(root.rglob("*"))

    acts: list[Callable[[], object]] = [
        lambda: folder.replace(path, b"x"),
        lambda: folder.make(path),
        lambda: folder.move("from.txt", path),
        lambda: folder.remove(path),
    ]
    for act in acts:
        with pytest.raises((FilesDeniedError, FileNotFoundError)):
            act()
    with pytest.raises(FilesDeniedError, match="protected"):
        folder.replace(path, b"x")
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(
    "path", [".gitignore", ".github/workflows/ci.yml", "git/config", "src/.git_keep", "config/fish"]
)
def test_names_that_only_look_alike_are_free(folder: LocalFolder, path: str) -> None:
    """A name is compared whole."""
    folder.replace(path, b"x")

    assert read(folder, path) == b"x"


def test_protected_paths_can_be_read(folder: LocalFolder, root: Path) -> None:
    """Only writing is refused."""
    (root / ".git").mkdir()
    (root / ".git" / "HEAD").write_text("ref")

    assert read(folder, ".git/HEAD") == b"ref"


def test_no_renaming_makes_or_moves_a_protected_path(folder: LocalFolder, root: Path) -> None:
    """Neither the path, nor a folder that holds it, nor one that would hold it by its new name."""
    (root / "repo" / "deep" / ".git").mkdir(parents=True)
    (root / "plain" / "hooks").mkdir(parents=True)
    (root / "conf" / "fish").mkdir(parents=True)

    for source, target in [
        ("repo/deep/.git", "free"),
        ("repo", "moved"),
        ("plain", ".git"),
        ("plain", "repo/deep/.git/x"),
        ("conf", ".config"),
    ]:
        with pytest.raises(FilesDeniedError, match="protected"):
            folder.move(source, target)
    folder.move("plain", "repo/plain")
    assert folder.list("repo/plain") == ["hooks"]


def test_every_built_in_rule_holds() -> None:
    """At the root, below, and for what lies inside."""
    protected = Protected()
    for rule in PROTECTED:
        parts = rule.split("/")
        assert protected.holds(parts)
        assert protected.holds(["src", *parts, "x"])


def test_moving_does_not_overwrite(folder: LocalFolder, root: Path) -> None:
    """Files, folders and links that are there stay."""
    (root / "a.txt").write_text("a")
    (root / "b.txt").write_text("b")
    (root / "link").symlink_to("none")

    for target in ("b.txt", "link"):
        with pytest.raises(FileExistsError):
            folder.move("a.txt", target)
    assert (root / "b.txt").read_text() == "b"


def test_moving_without_the_system_call_does_not_overwrite(
    folder: LocalFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is on systems and file systems that lack it."""
    monkeypatch.setattr(kernel, "_RENAMEAT2", {})
    (root / "a.txt").write_text("a")
    (root / "b.txt").write_text("b")

    with pytest.raises(FileExistsError):
        folder.move("a.txt", "b.txt")
    folder.move("a.txt", "c.txt")
    assert folder.list() == ["b.txt", "c.txt"]


def test_moving_to_or_from_nowhere_names_the_right_path(folder: LocalFolder, root: Path) -> None:
    """The error speaks of what is missing."""
    (root / "a.txt").write_text("a")

    with pytest.raises(FileNotFoundError) as raised:
        folder.move("a.txt", "none/b.txt")
    assert raised.value.filename == "none/b.txt"
    with pytest.raises(FileNotFoundError) as raised:
        folder.move("gone.txt", "b.txt")
    assert raised.value.filename == "gone.txt"


def test_a_folder_is_not_moved_into_itself(folder: LocalFolder) -> None:
    """The system refuses, and it is said."""
    folder.make("a/b")

    with pytest.raises(FilesDeniedError):
        folder.move("a", "a/b/c")


@pytest.mark.parametrize("path", [".", "", "a/..", "./"])
def test_the_folder_itself_stays(folder: LocalFolder, path: str) -> None:
    """It is not written, moved or deleted; making it is nothing to do."""
    folder.make("a")

    acts: list[Callable[[], object]] = [
        lambda: folder.replace(path, b"x"),
        lambda: folder.move(path, "b"),
        lambda: folder.move("a", path),
        lambda: folder.remove(path),
    ]
    for act in acts:
        with pytest.raises(FilesDeniedError):
            act()
    folder.make(path)
    assert folder.list(path) == ["a"]


def test_removing_a_link_leaves_its_target(folder: LocalFolder, root: Path) -> None:
    """Also one that leads out: the link itself lies inside."""
    (root / "link").symlink_to("../outside")

    folder.remove("link")

    assert (root.parent / "outside" / "secret").exists()


def test_a_full_folder_is_not_removed(folder: LocalFolder) -> None:
    """Only empty ones."""
    folder.replace("a/b.txt", b"x")

    with pytest.raises(FilesDeniedError, match="not empty"):
        folder.remove("a")


def test_files_and_folders_are_not_confused(folder: LocalFolder) -> None:
    """Each wrong use is told."""
    folder.replace("d/f.txt", b"x")

    acts: list[tuple[Callable[[], object], str]] = [
        (lambda: folder.open("d"), "is a folder"),
        (lambda: folder.list("d/f.txt"), "no folder"),
        (lambda: folder.replace("d", b"x"), "is a folder"),
        (lambda: folder.make("d/f.txt"), "no folder"),
        (lambda: folder.make("d/f.txt/x"), "no folder"),
        (lambda: folder.open("d/f.txt/x"), "no folder"),
    ]
    for act, reason in acts:
        with pytest.raises(FilesDeniedError, match=reason):
            act()


def test_names_that_are_no_utf8_survive(folder: LocalFolder, root: Path) -> None:
    """They are listed as Python decodes them, and found by that again."""
    raw = os.fsencode(root) + b"/caf\xe9"
    with open(raw, "w") as file:  # noqa: PTH123  # bytes
        file.write("x")

    (name,) = folder.list()

    assert read(folder, name) == b"x"
    with pytest.raises(FilesDeniedError) as raised:
        folder.list(name)
    json.dumps(raised.value.message).encode()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_write_that_fails_leaves_the_old_file(
    folder: LocalFolder, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Whole, and nothing beside it; the error is the system's."""
    folder.replace("a.txt", b"old")

    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"a\.txt") as raised:
        folder.replace("a.txt", b"new")

    assert raised.value.errno == code
    assert (root / "a.txt").read_bytes() == b"old"
    assert folder.list() == ["a.txt"]


def test_short_writes_are_continued(folder: LocalFolder, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take a part of what it is given."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:3])))

    folder.replace("a.txt", b"0123456789")

    assert (root / "a.txt").read_bytes() == b"0123456789"


def test_two_folders_are_apart(files: LocalFiles, root: Path) -> None:
    """A folder of a subfolder cannot reach its parent."""
    (root / "sub").mkdir()
    (root / "a.txt").write_text("x")

    with pytest.raises(FilesDeniedError):
        files.beneath(root / "sub").open("../a.txt")


@pytest.mark.parametrize("root", ["none", "file", "nul\0"])
def test_what_is_no_folder_is_none(files: LocalFiles, tmp_path: Path, root: str) -> None:
    """Said when it is asked for, and not later."""
    (tmp_path / "file").write_text("x")

    with pytest.raises(FilesDeniedError, match="cannot be used as a folder"):
        files.beneath(tmp_path / root)


def test_a_system_without_descriptors_of_folders_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rather than promise what cannot be kept."""
    monkeypatch.setattr(os, "supports_dir_fd", set())

    with pytest.raises(FilesDeniedError, match="this system"):
        LocalFiles().beneath(tmp_path)


class Context:
    def __init__(self, **config: Any) -> None:
        self.config = config


def test_settings_add_protected_paths(tmp_path: Path) -> None:
    """And never take one away."""
    made = local_files(cast(HostContext, Context(protected=["LICENSE"]))).beneath(tmp_path)

    for path in ("LICENSE", ".git/config"):
        with pytest.raises(FilesDeniedError, match="protected"):
            made.replace(path, b"x")
    with pytest.raises(msgspec.ValidationError):
        local_files(cast(HostContext, Context(protect=[])))


class TestFilesManifest(ManifestSuite):
    @pytest.fixture
    def package(self) -> Path:
        return Path(driver.__file__).parent

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings
