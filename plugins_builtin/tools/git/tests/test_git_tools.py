"""The git tools on real repositories, each call in a run on a real board."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pegboard.types import ToolResult
from pegboard_testing import MakeBoard, use_tool

Use = Callable[..., Awaitable[ToolResult]]
Git = Callable[..., str]


# --- looking


async def test_status_tells_what_is_changed(use: Use, repository: Path, git: Git) -> None:
    """Staged, unstaged, renamed and new files, and the branch."""
    (repository / "b.txt").write_text("x\n" * 20)
    (repository / "c d.txt").write_text("c")
    git("add", ".")
    git("commit", "-q", "-m", "more")
    git("mv", "b.txt", "moved.txt")
    (repository / "a.txt").write_text("changed")
    (repository / "new.txt").touch()

    answer = await use("status")

    head = git("rev-parse", "HEAD")
    assert answer.text.splitlines() == [
        f"branch main, at {head[:12]}",
        ".M changed a.txt",
        "R. renamed moved.txt",
        ".. untracked new.txt",
    ]
    assert answer.structured["changes"][1]["origin"] == "b.txt"
    assert answer.structured["commit"] == head


async def test_status_of_a_clean_repository(use: Use, repository: Path) -> None:
    """Says so."""
    assert (await use("status")).text.endswith("\nnothing is changed")


@pytest.mark.parametrize(
    ("options", "added"),
    [({}, 1), ({"staged": True}, 2), ({"ref": "HEAD"}, 3), ({"ref": "HEAD~1..HEAD"}, 1), ({"ref": "HEAD~1..."}, 1)],
    ids=["unstaged", "staged", "against a commit", "range", "since"],
)
async def test_diff_compares_what_is_asked(
    use: Use, repository: Path, git: Git, options: dict[str, object], added: int
) -> None:
    """With counts for code, and the patch for a model."""
    (repository / "a.txt").write_text("one\ntwo\n3\n4\n")
    git("add", ".")
    (repository / "a.txt").write_text("one\ntwo\n3\n4\n5\n")

    answer = await use("diff", **options)

    assert answer.structured["files"] == [{"path": "a.txt", "added": added, "removed": 0, "origin": None}]
    assert answer.text.startswith(f"a.txt: +{added} -0\n\ndiff --git a/a.txt b/a.txt\n")


async def test_diff_can_be_of_some_files(use: Use, repository: Path) -> None:
    """Names are taken as they are, also those that git would take for a pattern."""
    for name in ("a.txt", "*.txt"):
        (repository / name).write_text("x")

    assert [item["path"] for item in (await use("diff", files=["a.txt"])).structured["files"]] == ["a.txt"]
    assert (await use("diff", files=["*.txt"])).text == "no differences"


async def test_binary_files_have_no_lines(use: Use, repository: Path, git: Git) -> None:
    """Their counts are unknown, and not 0."""
    (repository / "a.bin").write_bytes(b"\0\1")
    git("add", ".")

    answer = await use("diff", staged=True)

    assert answer.structured["files"] == [{"path": "a.bin", "added": None, "removed": None, "origin": None}]


async def test_a_huge_diff_is_cut_and_that_is_said(use: Use, repository: Path, settings: dict[str, object]) -> None:
    """The counts are those of all of it."""
    settings["patch_bytes"] = 1000
    (repository / "a.txt").write_text("line\n" * 100_000)

    answer = await use("diff")

    assert answer.structured["truncated"] is True
    assert answer.text.endswith("[cut; there is more]")
    assert len(answer.structured["patch"]) <= 1000
    assert answer.structured["files"][0]["added"] == 100_000


async def test_log_lists_commits(use: Use, repository: Path, git: Git) -> None:
    """The newest first, with what code needs."""
    answer = await use("log", max=1)

    (commit,) = answer.structured["commits"]
    assert (commit["subject"], commit["body"], commit["author"], commit["email"]) == (
        "Write 8 bytes", "As was agreed.", "Ada", "ada@example.org",
    )  # fmt: skip
    assert list(commit["parents"]) == [git("rev-parse", "HEAD~1")]
    assert answer.text == f"{commit['commit'][:12]} 2026-01-02 Ada: Write 8 bytes\n[cut; there is more]"
    assert len((await use("log", ref="HEAD~1..HEAD")).structured["commits"]) == 1
    assert (await use("log", files=["none"])).text == "no commits"


async def test_show_tells_a_commit_and_its_patch(use: Use, repository: Path) -> None:
    """Or a file as it was."""
    answer = await use("show", ref="HEAD")

    assert "Write 8 bytes\n\nAs was agreed.\n" in answer.text
    assert "+two" in answer.structured["patch"]
    assert (await use("show", ref="HEAD~1", path="a.txt")).structured["text"] == "one\n"
    assert (await use("show", ref="HEAD", path="none")).code == "git.failed"


async def test_a_merge_is_shown_against_its_first_parent(use: Use, repository: Path, git: Git) -> None:
    """Else it would be empty."""
    git("switch", "-q", "-c", "side", "HEAD~1")
    (repository / "b.txt").write_text("b\n")
    git("add", ".")
    git("commit", "-q", "-m", "b")
    git("switch", "-q", "main")
    git("merge", "-q", "--no-edit", "side")

    assert (await use("show")).structured["files"] == [{"path": "b.txt", "added": 1, "removed": 0, "origin": None}]


async def test_branches_are_listed(use: Use, repository: Path, git: Git) -> None:
    """With the one that is checked out."""
    git("branch", "side", "HEAD~1")

    answer = await use("branches")

    assert {(each["name"], each["current"]) for each in answer.structured["branches"]} == {
        ("main", True), ("side", False),
    }  # fmt: skip
    assert (await use("branches", max=1)).structured["truncated"] is True


async def test_blame_tells_who_wrote_a_line(use: Use, repository: Path, git: Git) -> None:
    """Lines are those of the file as it is now."""
    answer = await use("blame", file="a.txt")

    assert [line["commit"] for line in answer.structured["lines"]] == [
        git("rev-parse", "HEAD~1"), git("rev-parse", "HEAD"),
    ]  # fmt: skip
    assert answer.text.splitlines()[1].endswith(" Ada: two")
    assert len((await use("blame", file="a.txt", start_line=2, end_line=2)).structured["lines"]) == 1
    assert (await use("blame", file="a.txt", ref="HEAD~1")).structured["lines"][-1]["line"] == 1


async def test_looking_changes_nothing(use: Use, repository: Path) -> None:
    """Not even the index, which git refreshes on its own."""
    (repository / "a.txt").touch()
    before = (repository / ".git" / "index").read_bytes()

    for tool in ("status", "diff"):
        await use(tool)

    assert (repository / ".git" / "index").read_bytes() == before


# --- changing


async def test_files_are_staged_and_committed(use: Use, repository: Path, git: Git) -> None:
    """Deleted ones too."""
    (repository / "a.txt").unlink()
    (repository / "b.txt").write_text("b")

    assert (await use("add", files=["."])).status == "ok"
    answer = await use("commit", message="Swap\n\nfor good")

    assert answer.text == f"committed {git('rev-parse', 'HEAD')[:12]}: Swap"
    assert git("ls-files") == "b.txt"


async def test_a_commit_can_be_of_some_files(use: Use, repository: Path, git: Git) -> None:
    """Whatever else is staged."""
    for name in ("a.txt", "b.txt"):
        (repository / name).write_text("new")
    git("add", ".")

    await use("commit", message="only a", files=["a.txt"])

    assert git("show", "--name-only", "--format=") == "a.txt"


async def test_nothing_to_commit_is_said(use: Use, repository: Path) -> None:
    """By a code of its own, also before the first commit."""
    assert (await use("commit", message="x")).code == "git.nothing"
    assert (await use("commit", message=" ")).code == "git.failed"


async def test_without_a_name_git_says_what_to_type(use: Use, repository: Path, home: Path) -> None:
    """The hint is the command."""
    (home / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    (repository / "a.txt").write_text("x")

    answer = await use("commit", message="x", files=["a.txt"])

    assert "git config --global user.name" in answer.text


async def test_branches_are_made_switched_and_deleted(use: Use, repository: Path, git: Git) -> None:
    """One that is not merged only by force."""
    await use("branch", branch="old", ref="HEAD~1")
    assert (await use("checkout", branch="new", create=True)).structured["branch"] == "new"
    (repository / "a.txt").write_text("new")
    git("commit", "-q", "-am", "new")
    assert (await use("checkout", branch="main")).structured["branch"] == "main"
    assert (await use("checkout", ref="HEAD~1")).structured["branch"] is None

    assert (await use("branch", branch="new", delete=True)).code == "git.failed"
    assert (await use("branch", branch="new", delete=True, force=True)).status == "ok"
    assert (await use("checkout", branch="gone")).code == "git.failed"
    assert git("branch", "--format=%(refname:short)").split("\n")[-2:] == ["main", "old"]


async def test_changes_are_put_aside_and_taken_back(use: Use, repository: Path) -> None:
    """New files too."""
    (repository / "a.txt").write_text("changed")
    (repository / "new.txt").write_text("new")

    await use("stash", message="later")
    assert (repository / "a.txt").read_text() == "one\ntwo\n"
    assert not (repository / "new.txt").exists()
    assert "later" in (await use("stash", action="list")).text
    await use("stash", action="pop")

    assert (repository / "a.txt").read_text() == "changed"
    assert (await use("stash", action="pop")).code == "git.failed"


async def test_changes_are_given_up(use: Use, repository: Path, git: Git) -> None:
    """In the index, in the working tree, or back to a commit."""
    (repository / "a.txt").write_text("changed")
    git("add", ".")

    assert (await use("restore", files=["a.txt"], staged=True)).structured["changes"][0]["staged"] == "."
    assert (await use("restore", files=["a.txt"])).structured["changes"] == []
    await use("restore", files=["a.txt"], ref="HEAD~1")
    assert (repository / "a.txt").read_text() == "one\n"


async def test_a_conflict_is_told_and_given_up(use: Use, repository: Path, git: Git) -> None:
    """With the files, so that a model can mend them."""
    git("switch", "-q", "-c", "side", "HEAD~1")
    (repository / "a.txt").write_text("one\nother\n")
    git("commit", "-q", "-am", "other")

    answer = await use("merge", ref="main")

    assert (answer.status, answer.code, answer.structured) == ("error", "git.conflict", {"conflicts": ["a.txt"]})
    assert (await use("status")).structured["changes"][0]["kind"] == "conflict"
    assert (await use("merge", abort=True)).status == "ok"
    assert (await use("merge", ref="HEAD")).text == "merged HEAD"


# --- strange places


async def test_no_repository_is_a_typed_error(use: Use, workspace: Path) -> None:
    """Also one that begins above the workspace."""
    assert (await use("status")).code == "git.no_repository"
    assert (await use("status", repository="none")).code == "git.no_repository"


async def test_a_repository_above_the_workspace_is_none(use: Use, workspace: Path, tmp_path: Path, git: Git) -> None:
    """Its files lie outside."""
    git("init", "-q", cwd=tmp_path)

    assert (await use("status")).code == "git.no_repository"


async def test_a_folder_of_the_workspace_can_be_a_repository(use: Use, workspace: Path, git: Git) -> None:
    """And a folder of one belongs to it; what lies outside is denied."""
    git("init", "-q", "sub")
    (workspace / "sub" / "deep").mkdir()

    assert (await use("status", repository="sub/deep")).structured["branch"] == "main"
    assert (await use("status", repository=str(workspace / "sub"))).status == "ok"
    for path in ("..", "/"):
        assert (await use("status", repository=path)).code == "files.denied"


async def test_an_empty_repository_is_told(use: Use, workspace: Path, git: Git) -> None:
    """It has a status, and no commits."""
    git("init", "-q")
    (workspace / "a.txt").write_text("a\n")

    assert (await use("status")).text.startswith("branch main, no commit yet\n")
    for tool, arguments in [("log", {}), ("show", {}), ("diff", {"ref": "HEAD"}), ("blame", {"file": "a.txt"})]:
        assert (await use(tool, **arguments)).code == "git.empty", tool
    assert (await use("branches")).text == "no branches"
    git("add", ".")
    assert (await use("diff", staged=True)).structured["files"] == [
        {"path": "a.txt", "added": 1, "removed": 0, "origin": None}
    ]
    assert (await use("commit", message="first")).status == "ok"


async def test_without_git_the_error_says_so(
    use: Use, workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And what to try."""
    monkeypatch.setenv("PATH", str(tmp_path))

    answer = await use("status")

    assert (answer.code, "git --version" in answer.text) == ("git.missing", True)


async def test_names_that_are_no_utf8_are_escaped(use: Use, repository: Path, git: Git) -> None:
    """In every list."""
    with open(os.fsencode(repository) + b"/caf\xe9", "w") as file:  # noqa: ASYNC230, PTH123  # bytes
        file.write("x\n")

    assert (await use("status")).structured["changes"][0]["path"] == "caf\\xe9"
    git("add", ".")
    assert (await use("diff", staged=True)).structured["files"][0]["path"] == "caf\\xe9"


async def test_names_with_line_feeds_and_tabs_are_whole(use: Use, repository: Path) -> None:
    """Nothing is split at them."""
    (repository / "a\nb\tc").touch()

    assert (await use("status")).structured["changes"][0]["path"] == "a\nb\tc"


@pytest.mark.parametrize("ref", ["-x", "--output=x", "none", "a b", "HEAD^{tree}", "", "a\0b", ":/x", "HEAD:a.txt"])
async def test_what_names_no_commit_is_refused(use: Use, repository: Path, ref: str) -> None:
    """Above all what git would take for an option."""
    for tool in ("log", "show", "diff", "merge"):
        assert (await use(tool, ref=ref)).code == "git.ref", tool
    assert not (repository / "x").exists()


@pytest.mark.parametrize("name", ["-x", "a..b", "a b", "x.lock", "@{", "a~b"])
async def test_what_can_be_no_branch_is_refused(use: Use, repository: Path, name: str) -> None:
    """Before anything is made."""
    for tool, options in [("branch", {}), ("checkout", {"create": True})]:
        assert (await use(tool, branch=name, **options)).code in ("git.ref", "git.failed")


async def test_files_are_never_options(use: Use, repository: Path) -> None:
    """Nor do they lead out."""
    assert (await use("add", files=["--force"])).code == "git.failed"
    assert (await use("add", files=["../outside"])).code == "git.failed"
    assert (await use("diff", files=["a\0b"])).code == "git.failed"
    assert (await use("diff", files=["x"] * 1001)).code == "git.failed"


async def test_a_run_without_a_workspace_has_no_repository(make_board: MakeBoard, home: Path) -> None:
    """A typed error, and not the folder that the program happens to be in."""
    board = await make_board(autoload=True, config={"drivers": {"files": "local"}})

    assert (await use_tool(board, "git.status")).code == "git.no_workspace"
