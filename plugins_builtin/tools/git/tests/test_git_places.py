"""A repository whose own folder leads elsewhere, or is a trap: it is refused before git writes anything."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pegboard.types import ToolResult
from pegboard_git import places
from pegboard_git import repository as opening
from pegboard_git.errors import GitError

Use = Callable[..., Awaitable[ToolResult]]
Git = Callable[..., str]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder outside of the workspace."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def contents(folder: Path) -> list[tuple[Path, bytes]]:
    return [(path, path.read_bytes() if path.is_file() else b"") for path in sorted(folder.rglob("*"))]


@pytest.mark.parametrize(
    "name",
    [
        "COMMIT_EDITMSG", "config", "FETCH_HEAD", "HEAD", "index", "index.lock", "info/exclude", "logs", "logs/HEAD",
        "logs/refs/heads/main", "MERGE_MSG", "objects", "objects/ab", "objects/info", "objects/pack", "ORIG_HEAD",
        "packed-refs", "refs", "refs/heads", "refs/heads/a/b", "refs/heads/hooks", "refs/stash", "worktrees/a/HEAD",
    ],
)  # fmt: skip
async def test_a_link_inside_of_git_is_refused(use: Use, repository: Path, elsewhere: Path, name: str) -> None:
    """Wherever git would write through it; what it leads to is as it was."""
    link = repository / ".git" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.exists():
        link.rename(elsewhere / "it")
    victim = elsewhere / "it"
    before = contents(elsewhere)
    link.symlink_to(victim)

    said = [await use("add", files=["a.txt"]), await use("commit", message="x"), await use("status")]

    assert {each.code for each in said} == {"git.outside"}
    assert f".git/{name}` is a link" in said[0].text
    assert contents(elsewhere) == before


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
async def test_objects_are_borrowed_only_inside(
    use: Use, repository: Path, git: Git, elsewhere: Path, inside: bool
) -> None:
    """Objects of another repository are those of a neighbour, or refused."""
    other = repository / "other" if inside else elsewhere
    other.mkdir(exist_ok=True)
    git("init", "-q", cwd=other)
    (other / "secret").write_text("secret")
    git("add", ".", cwd=other)
    git("commit", "-q", "-m", "s", cwd=other)
    (repository / ".git/objects/info").mkdir(exist_ok=True)
    (repository / ".git/objects/info/alternates").write_text(f"# a comment\n{other}/.git/objects\n")

    said = await use("show", ref=git("rev-parse", "HEAD", cwd=other), path="secret")

    assert (said.text == "secret", said.code) == ((True, None) if inside else (False, "git.outside"))


@pytest.mark.parametrize(
    "text",
    ['"../../other"\n', "{other}\n", "../../../elsewhere\n", "a\0b\n", "x" * 100_000],
    ids=["quoted", "absolute", "relative", "nul", "long"],
)
async def test_borrowing_that_may_lead_out_is_refused(use: Use, repository: Path, elsewhere: Path, text: str) -> None:
    """However it is written, and also where the objects that are borrowed borrow again."""
    (repository / "near/info").mkdir(parents=True)
    (repository / "near/info/alternates").write_text(text.format(other=elsewhere) if "{" in text else text)
    (repository / ".git/objects/info").mkdir(exist_ok=True)
    (repository / ".git/objects/info/alternates").write_text("../../near\n")

    assert (await use("log")).code == "git.outside"


async def test_links_among_hooks_are_no_matter(use: Use, repository: Path, elsewhere: Path) -> None:
    """People link their hooks, and git writes none."""
    shutil.rmtree(repository / ".git/hooks")
    (repository / ".git/hooks").symlink_to(elsewhere)

    assert (await use("status")).status == "ok"


@pytest.mark.parametrize("name", ["config", "HEAD", "index", "objects/info/alternates", "refs/heads/x"])
async def test_a_pipe_inside_of_git_is_not_waited_for(use: Use, repository: Path, name: str) -> None:
    """Nobody opens it."""
    path = repository / ".git" / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    before = time.monotonic()

    said = await use("status")

    assert (said.code, f".git/{name}` is neither a file nor a folder" in said.text) == ("git.failed", True)
    assert time.monotonic() - before < 8


async def test_git_that_is_a_pipe_is_not_waited_for(use: Use, workspace: Path) -> None:
    """A pipe in the place of the whole repository."""
    os.mkfifo(workspace / ".git")

    assert "neither a file nor a folder" in (await use("status")).text


async def test_a_configuration_that_waits_costs_little(
    use: Use, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that includes a pipe is given up long before what a call of git may take."""
    monkeypatch.setattr(opening, "_JUDGE_S", 0.5)
    os.mkfifo(repository / "pipe")
    with (repository / ".git/config").open("a") as file:
        file.write("[include]\n\tpath = ../pipe\n")

    said = await use("status")

    assert (said.code, said.text.endswith("`git rev-parse` did not finish within 0.5 s")) == ("git.timeout", True)


def test_looking_through_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository with more files than any has is refused, not counted for an hour."""
    for number in range(9):
        (tmp_path / str(number)).touch()
    monkeypatch.setattr(places, "MOST_ENTRIES", 8)

    with pytest.raises(GitError, match="too many files"):
        places.check(str(tmp_path), str(tmp_path))


def gone(objects: Path) -> None:
    shutil.rmtree(objects)
    objects.mkdir()


def broken(objects: Path) -> None:
    for path in filter(Path.is_file, list(objects.rglob("*"))):
        path.chmod(0o644)
        path.write_bytes(b"zz")


@pytest.mark.parametrize("damage", [gone, broken])
@pytest.mark.parametrize(("tool", "arguments"), [("log", {}), ("show", {}), ("show", {"ref": "main"}), ("diff", {})])
async def test_a_damaged_repository_is_told(
    use: Use, repository: Path, tool: str, arguments: dict[str, str], damage: Callable[[Path], None]
) -> None:
    """Objects that are gone or broken are neither a missing commit nor no difference."""
    damage(repository / ".git/objects")

    assert (await use(tool, **arguments)).code == "git.damaged"


async def test_an_id_of_no_commit_is_no_damage(use: Use, repository: Path) -> None:
    """A sound repository just does not have it."""
    assert (await use("show", ref="a" * 40)).code == "git.ref"


async def test_a_tag_of_a_file_is_no_damage(use: Use, repository: Path, git: Git) -> None:
    """It is just no commit."""
    git("tag", "file", "HEAD:a.txt")

    assert (await use("log", ref="file")).code == "git.ref"
