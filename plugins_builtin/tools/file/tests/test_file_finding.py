"""Listing, finding by name and by content: what is left out, and when it stops."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pegboard.types import ToolResult
from pegboard_file import finding
from pegboard_file.finding import Limits, globbed, searched, walked
from pegboard_file.workspace import Workspace
from pegboard_files.driver import LocalFiles

Use = Callable[..., Awaitable[ToolResult]]


@pytest.fixture
def files(workspace: Path) -> Workspace:
    """The workspace as the tools see it."""
    return Workspace(LocalFiles().beneath(workspace), str(workspace))


def fill(workspace: Path, *paths: str, text: str = "x\n") -> None:
    for path in paths:
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_text(text)


def limits(most: int = 1000, seconds: float = 10.0) -> Limits:
    return Limits(most, seconds)


def paths(files: Workspace, **options: bool) -> list[str]:
    return [path for path, _ in walked(files, ".", limits(), ignored=options.get("ignored", False))]


async def test_a_folder_is_listed_with_kinds_and_sizes(use: Use, workspace: Path) -> None:
    """Sorted, one thing in a line."""
    fill(workspace, "b.txt", "a/x.txt")
    (workspace / "link").symlink_to("b.txt")

    assert (await use("list")).text == "a/\nb.txt  2\nlink@"
    assert (await use("list", path="a")).structured["entries"] == [{"path": "a/x.txt", "kind": "file", "size_bytes": 2}]


async def test_what_is_cut_is_said(use: Use, workspace: Path) -> None:
    """The model is told that there is more."""
    fill(workspace, *(f"{n:03}.txt" for n in range(20)))

    answers = [
        await use("list", max=5),
        await use("glob", pattern="*.txt", max=5),
        await use("search", pattern="x", max=5),
    ]

    for answer in answers:
        assert answer.text.endswith("[stopped at 5 results; there are more]")
        assert answer.structured["truncated"] is True
    assert (await use("list", max=20)).structured["truncated"] is False


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.py", ["top.py"]),
        ("**/*.py", ["top.py", "src/a.py", "src/deep/b.py"]),
        ("src/**", ["src/a.py", "src/deep", "src/deep/b.py", "src"]),
        ("src/*/b.py", ["src/deep/b.py"]),
        ("**/d?ep", ["src/deep"]),
        ("[st]*", ["src", "top.py"]),
        ("none", []),
    ],
)
def test_a_pattern_is_compared_name_by_name(files: Workspace, workspace: Path, pattern: str, found: list[str]) -> None:
    """`*` stays within a name, `**` is any number of folders."""
    fill(workspace, "src/a.py", "src/deep/b.py", "top.py", "read.me")

    entries = globbed(files, pattern, ".", limits(), ignored=False)

    assert sorted(entry.path for entry in entries) == sorted(found)


def test_git_ignore_files_are_obeyed(files: Workspace, workspace: Path) -> None:
    """Those of each folder, the nearest first; what is no longer ignored is shown; folders of tools never are."""
    fill(
        workspace, "a.log", "keep.log", "src/a.py", "src/b.tmp", "src/in/c.tmp", "build/x", "src/build/y", ".git/config"
    )
    fill(workspace, ".gitignore", text="*.log\n!keep.log\n/build/\n*.tmp\n# note\n")
    fill(workspace, "src/in/.gitignore", text="!c.tmp\n")

    assert paths(files) == [
        ".gitignore", "keep.log", "src", "src/a.py", "src/build", "src/in",
        "src/build/y", "src/in/.gitignore", "src/in/c.tmp",
    ]  # fmt: skip
    assert ".git/config" in paths(files, ignored=True)


def test_links_are_not_followed(files: Workspace, workspace: Path) -> None:
    """A loop ends, and nothing is found twice."""
    fill(workspace, "a/x.txt")
    (workspace / "a" / "loop").symlink_to("..")

    assert paths(files) == ["a", "a/loop", "a/x.txt"]


async def test_lines_are_found(use: Use, workspace: Path) -> None:
    """By text or by regular expression, in all files or in some."""
    fill(workspace, "a.py", "b.txt", text="one\nTwo (2)\n")

    assert (await use("search", pattern="wo (2)")).text == "a.py:2: Two (2)\nb.txt:2: Two (2)"
    assert (await use("search", pattern="^o.e$", regex=True, glob="*.py")).text == "a.py:1: one"
    assert (await use("search", pattern="TWO", ignore_case=True, path="b.txt")).text == "b.txt:2: Two (2)"
    assert (await use("search", pattern="none")).text == "no line has it"
    assert (await use("search", pattern="(", regex=True)).code == "file.pattern"
    assert (await use("search", pattern="x" * 1001)).code == "file.pattern"


def test_binary_and_huge_files_are_not_searched(files: Workspace, workspace: Path) -> None:
    """A huge one is named."""
    (workspace / "a.bin").write_bytes(b"\0needle")
    (workspace / "big.txt").write_text("needle" + "x" * finding.SEARCHED_BYTES)
    bounds = limits()

    hits = searched(files, "needle", ".", bounds, is_regex=False, ignore_case=False, glob=None)

    assert hits == []
    assert bounds.remarks() == [f"1 skipped, larger than {finding.SEARCHED_BYTES} bytes: big.txt"]


def test_a_long_line_is_shown_around_the_hit(files: Workspace, workspace: Path) -> None:
    """And not as a whole."""
    fill(workspace, "a.txt", text="x" * 5000 + "needle" + "y" * 5000)

    (hit,) = searched(files, "needle", ".", limits(), is_regex=False, ignore_case=False, glob=None)

    assert "needle" in hit.text
    assert len(hit.text) <= 202


def test_a_pattern_that_never_ends_is_stopped(files: Workspace, workspace: Path) -> None:
    """What was found until then is given, and that it was stopped."""
    fill(workspace, "a.txt", text="aa!\n")
    fill(workspace, "b.txt", text="a" * 60 + "!\n")
    bounds = limits(seconds=0.2)

    searched(files, r"^(a|a)+$", ".", bounds, is_regex=True, ignore_case=False, glob=None)

    assert bounds.stopped is not None
    assert "stopped" in bounds.stopped


def test_patterns_of_the_repository_are_stopped_too(files: Workspace, workspace: Path) -> None:
    """A `.gitignore` comes with what somebody cloned."""
    fill(workspace, ".gitignore", text="*" + "a*" * 60 + "b\n")
    fill(workspace, "a" * 200)

    assert len(paths(files)) == 2


def test_globs_take_no_exponential_time(files: Workspace, workspace: Path) -> None:
    """Neither within a name nor over folders."""
    fill(workspace, "/".join(["a" * 5] * 40) + "/" + "a" * 200)

    for pattern in ("**/" * 40 + "b", "*a" * 100 + "b"):
        assert globbed(files, pattern, ".", limits(), ignored=False) == []


def test_time_is_limited(files: Workspace, workspace: Path) -> None:
    """What comes later is not looked at, and that is said."""
    fill(workspace, *(f"{n}.txt" for n in range(10)))
    clock = iter(range(1000))
    bounds = Limits(1000, 5.0, lambda: float(next(clock)))

    found = list(walked(files, ".", bounds, ignored=False))

    assert 0 < len(found) < 10
    assert bounds.remarks() == ["stopped after 5 s; what comes later was not looked at"]


def test_what_cannot_be_read_is_named(files: Workspace, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the rest is found."""
    fill(workspace, "a/x.txt", "b/x.txt")
    real = os.listdir
    refused = (workspace / "a").stat().st_ino

    def listdir(descriptor: int) -> list[str]:
        if os.fstat(descriptor).st_ino == refused:
            raise PermissionError(13, "Permission denied")
        return real(descriptor)

    monkeypatch.setattr(os, "listdir", listdir)
    bounds = limits()

    assert [path for path, _ in walked(files, ".", bounds, ignored=False)] == ["a", "b", "b/x.txt"]
    assert bounds.remarks() == ["1 skipped, cannot be read: a"]


def test_strange_names_are_shown_escaped(files: Workspace, workspace: Path) -> None:
    """A result must be JSON."""
    with open(os.fsencode(workspace) + b"/caf\xe9.txt", "w") as file:  # noqa: PTH123  # bytes
        file.write("x")

    (entry,) = globbed(files, "*", ".", limits(), ignored=False)

    assert entry.path == "caf\\xe9.txt"
